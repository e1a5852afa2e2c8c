//! The example repository in a local cluster: a control plane, the charts installed by Helm, the operator with the rights
//! of the chart, and a phone. Gone when this ends.
//!
//! Alone it shows each step as a command and runs until Ctrl-C. With a command it runs that against the cluster instead
//! and ends with it: `cluster-demo kubectl -n shop get channels.sluice.dev`.

use std::{
    env,
    ffi::OsStr,
    io::{self, Write as _, stderr, stdout},
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use sluice_test_parts::Demo;

/// The project's root.
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

#[tokio::main]
async fn main() -> io::Result<ExitCode> {
    let program = program()?;
    let mut command = env::args_os().skip(1);
    let Some(tool) = command.next() else {
        let demo = Demo::start(&program, &mut stdout()).await?;
        let mut out = stdout();
        writeln!(out, "# It stays like this until Ctrl-C. To look further, in another terminal:")?;
        writeln!(out, "export KUBECONFIG={}", demo.kubeconfig().display())?;
        writeln!(out, "kubectl -n shop describe channels.sluice.dev shop-production")?;
        writeln!(out, "kubectl -n shop events")?;
        writeln!(out, "kubectl explain channels.sluice.dev.spec")?;
        writeln!(out, "curl -s http://{}/readyz", demo.admin())?;
        writeln!(
            out,
            "# A release is a push; the operator looks from time to time, and at once when it is asked to:"
        )?;
        writeln!(out, "{}", demo.clone_command())?;
        writeln!(
            out,
            "kubectl -n shop annotate --overwrite repositories.sluice.dev shop sluice.dev/requestedAt=\"$(date -Is)\""
        )?;
        writeln!(out, "# No pod runs here, so that `kubectl sluice` is told where the operator is:")?;
        writeln!(
            out,
            "kubectl -n sluice-system create token sluice-reader --audience=sluice > token && \\\n  sluice status --admin-url http://{} --token-file token",
            demo.admin()
        )?;
        writeln!(out, "less {}", demo.log().display())?;
        writeln!(
            out,
            "# kubectl and helm, where they are not installed: PATH={}",
            path(OsStr::new("$PATH")).display()
        )?;
        tokio::signal::ctrl_c().await?;
        return Ok(ExitCode::SUCCESS);
    };
    // What the command prints stands alone.
    let demo = Demo::start(&program, &mut stderr()).await?;
    let status = tokio::process::Command::new(tool)
        .args(command)
        .env("KUBECONFIG", demo.kubeconfig())
        .env("PATH", path(&env::var_os("PATH").unwrap_or_default()))
        .kill_on_drop(true)
        .status()
        .await?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}

/// The search path, with kubectl and Helm behind what is installed.
fn path(installed: &OsStr) -> PathBuf {
    let mut path = installed.to_owned();
    for folder in Demo::tools() {
        path.push(":");
        path.push(folder);
    }
    path.into()
}

/// Builds `sluice`, and says where it is.
fn program() -> io::Result<PathBuf> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let build =
        ["build", "--package", "sluice", "--bin", "sluice", "--message-format", "json-render-diagnostics"];
    let output = Command::new(cargo)
        .current_dir(Path::new(ROOT))
        .args(build)
        .stderr(std::process::Stdio::inherit())
        .output()?;
    let messages = String::from_utf8_lossy(&output.stdout);
    let mut executable = messages.lines().filter_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        message["executable"].as_str().map(PathBuf::from)
    });
    executable
        .next_back()
        .filter(|_| output.status.success())
        .ok_or_else(|| io::Error::other("sluice could not be built"))
}

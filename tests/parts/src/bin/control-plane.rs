//! A scratch control plane for trying things out, gone when this ends.
//!
//! Alone it prints how to reach it and runs until Ctrl-C. With a command it runs that against the control plane and
//! ends with it: `control-plane kubectl get namespaces`.

use std::{
    io::{Write as _, stdout},
    process::ExitCode,
};

use sluice_test_parts::ControlPlane;

#[tokio::main]
async fn main() -> std::io::Result<ExitCode> {
    let control_plane = ControlPlane::builder().with_controllers().start().await;
    let kubeconfig = control_plane.kubeconfig();

    let mut command = std::env::args_os().skip(1);
    if let Some(program) = command.next() {
        let status = tokio::process::Command::new(program)
            .args(command)
            .env("KUBECONFIG", kubeconfig)
            .kill_on_drop(true)
            .status()
            .await?;
        let code = status.code().and_then(|code| u8::try_from(code).ok());
        return Ok(code.map_or(ExitCode::FAILURE, ExitCode::from));
    }

    writeln!(stdout(), "export KUBECONFIG={}", kubeconfig.display())?;
    tokio::signal::ctrl_c().await?;
    Ok(ExitCode::SUCCESS)
}

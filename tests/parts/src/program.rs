//! Where programs are, and the tools among them.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use crate::ControlPlane;

/// Builds what is missing, and knows where everything is kept.
const BUILD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/build");

/// Who runs a program.
#[derive(Clone, Copy, Debug)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

impl User {
    /// The user of this name when root runs the tests, whom some servers refuse; nobody else can become another user.
    pub(crate) fn instead_of_root(name: &str) -> Option<Self> {
        if fs::metadata("/proc/self").is_ok_and(|this| this.uid() != 0) {
            return None;
        }
        let id = |of| {
            let output = Command::new("id").args([of, name]).output().ok()?;
            String::from_utf8(output.stdout).ok()?.trim().parse().ok()
        };
        match (id("-u"), id("-g")) {
            (Some(uid), Some(gid)) => Some(Self { uid, gid }),
            _ => panic!("there is no user {name}; tests/run installs the package that makes it"),
        }
    }
}

/// The program of a part that `tests/parts/build` builds.
pub fn part(name: &str) -> PathBuf {
    let output = Command::new(BUILD).args(["--path", name]).output();
    let output = output.unwrap_or_else(|error| panic!("{BUILD}: {error}"));
    assert!(
        output.status.success(),
        "{name} is missing, run tests/parts/build: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).trim().into()
}

/// Helm, as the administrator of this control plane, with caches and settings of its own.
pub fn helm(control_plane: &ControlPlane) -> Command {
    let mut command = tool("helm", control_plane.folder());
    command.env("KUBECONFIG", control_plane.kubeconfig());
    command
}

/// kubectl, as the administrator of this control plane, with caches and settings of its own.
pub fn kubectl(control_plane: &ControlPlane) -> Command {
    let mut command = tool("kubectl", control_plane.folder());
    command.env("KUBECONFIG", control_plane.kubeconfig());
    command
}

/// promtool, which checks and tests alerting rules.
pub fn promtool() -> Command {
    tool("promtool", &std::env::temp_dir())
}

/// A tool that finds nothing of the machine's own settings.
fn tool(name: &str, home: &Path) -> Command {
    let mut command = Command::new(part(name));
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", home);
    command
}

//! Runs a test again on a small file system of its own, in a mount namespace that nobody else sees.

use std::process::Command;

/// The environment variable that names the mounted folder to the test that runs there.
pub(crate) const FOLDER: &str = "SLUICE_TEST_SMALL_DISK";

/// Runs the ignored test `test` (its full path) with a file system of `size` (as `mount` takes it) at [`FOLDER`].
///
/// Panics when the test fails, or when no file system can be mounted: it is not skipped.
pub(crate) fn run(test: &str, size: &str) {
    let folder = tempfile::tempdir().unwrap();
    let mounted = format!(
        "mount -t tmpfs -o size={size} none \"$0\" && exec \"$1\" \"$2\" --exact --nocapture --ignored"
    );
    let output = Command::new("unshare")
        .args(["-rm", "sh", "-c", &mounted])
        .arg(folder.path())
        .arg(std::env::current_exe().unwrap())
        .arg(test)
        .env(FOLDER, folder.path())
        .output()
        .unwrap_or_else(|e| panic!("`unshare` (util-linux) mounts a small file system: {e}"));
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

//! Temporary folders that go away with the process.

use std::{
    fs,
    os::unix::{
        fs::{MetadataExt as _, PermissionsExt as _, chown},
        process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use crate::program::User;

/// Removes the folder once its input ends. Servers in it may be writing for a moment longer.
const REMOVE: &str = r#"
read -r _
tries=0
while ! rm -rf -- "$1" 2>/dev/null && [ "$tries" -lt 100 ]; do sleep 0.1; tries=$((tries + 1)); done
"#;

/// A temporary folder, removed when this is dropped and when the process ends without dropping it.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    user: Option<User>,
    remover: Child,
}

impl Folder {
    /// Makes one that is `user`'s, or of the user who runs the tests.
    pub(crate) fn new(part: &str, user: Option<User>) -> Self {
        let parent = match user {
            None => std::env::temp_dir(),
            Some(_) => reachable_by_all(),
        };
        let path = tempfile::Builder::new()
            .prefix(&format!("sluice-{part}-"))
            // It holds keys and passwords.
            .permissions(fs::Permissions::from_mode(0o700))
            .tempdir_in(&parent)
            .unwrap_or_else(|error| panic!("a folder in {}: {error}", parent.display()))
            .keep();
        give(&path, user);
        let remover = Command::new("sh")
            .args(["-c", REMOVE, "remove"])
            .arg(&path)
            .stdin(Stdio::piped())
            // A Ctrl-C in the terminal is for the tests; this one follows when they have ended.
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("sh: {error}"));
        Self { path, user, remover }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file into it, which belongs to whom the folder belongs to.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path.join(name);
        fs::write(&path, content).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        give(&path, self.user);
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(self.remover.stdin.take());
        let _ = self.remover.wait();
    }
}

fn give(path: &Path, user: Option<User>) {
    if let Some(User { uid, gid }) = user {
        chown(path, Some(uid), Some(gid))
            .unwrap_or_else(|error| panic!("owner of {}: {error}", path.display()));
    }
}

/// A folder for temporary files into which every user may look for what is theirs.
fn reachable_by_all() -> PathBuf {
    let open = |path: &Path| {
        path.ancestors().all(|path| fs::metadata(path).is_ok_and(|data| data.mode() & 0o001 != 0))
    };
    [std::env::temp_dir(), "/tmp".into(), "/var/tmp".into()]
        .into_iter()
        .find(|path| open(path))
        .unwrap_or_else(|| panic!("no temporary folder that another user could enter"))
}

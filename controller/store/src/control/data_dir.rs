//! The data directory of one process: bundle store, Git mirrors and the SQL file, under an exclusive lock.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Seek as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataDirError {
    /// Another process has it.
    #[error("{} is in use by another process{}", path.display(), pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default())]
    InUse {
        /// The directory.
        path: PathBuf,
        /// The other process, as it wrote itself down.
        pid: Option<u32>,
    },
    /// The file system refused.
    #[error("{doing} {}: {source}", path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// With what.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// A data directory that is ours until this is dropped or the process ends, however it ends.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    _lock: File,
}

impl DataDir {
    /// Makes the directory if need be (mode 0700), and takes its lock.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, DataDirError> {
        let path = path.into();
        let failed = |doing, path: &Path, source| DataDirError::Io { doing, path: path.to_owned(), source };
        private_dir(&path).map_err(|e| failed("creating", &path, e))?;
        let file = path.join("lock");
        let mut lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .mode(0o600)
            .open(&file)
            .map_err(|e| failed("opening", &file, e))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => {
                let mut text = String::new();
                let pid = lock.read_to_string(&mut text).ok().and_then(|_| text.trim().parse().ok());
                return Err(DataDirError::InUse { path, pid });
            }
            Err(fs::TryLockError::Error(e)) => return Err(failed("locking", &file, e)),
        }
        // For people who look at the file; on a full disk the lock holds all the same.
        let _ = lock
            .set_len(0)
            .and_then(|()| lock.rewind())
            .and_then(|()| writeln!(lock, "{}", std::process::id()));
        let opened = Self { path, _lock: lock };
        for folder in [opened.store(), opened.mirrors()] {
            private_dir(&folder).map_err(|e| failed("creating", &folder, e))?;
        }
        Ok(opened)
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the bundle store is.
    pub fn store(&self) -> PathBuf {
        self.path.join("store")
    }

    /// Where Git mirrors are.
    pub fn mirrors(&self) -> PathBuf {
        self.path.join("mirrors")
    }

    /// The SQL file of the fleet store.
    pub fn fleet(&self) -> PathBuf {
        self.path.join("fleet.db")
    }
}

/// Made private; one that exists keeps its owner but loses everybody else's rights.
fn private_dir(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    let mode = fs::metadata(path)?.permissions().mode();
    if mode & 0o077 == 0 { Ok(()) } else { fs::set_permissions(path, fs::Permissions::from_mode(0o700)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_process_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data");
        let first = DataDir::open(&path).unwrap();
        for made in [path.clone(), first.store(), first.mirrors()] {
            assert_eq!(
                fs::metadata(&made).unwrap().permissions().mode() & 0o777,
                0o700,
                "{}",
                made.display()
            );
        }
        // A second opening of the file counts as another process would.
        let error = DataDir::open(&path).unwrap_err();
        let expected =
            format!("{} is in use by another process (pid {})", path.display(), std::process::id());
        assert_eq!(error.to_string(), expected);
        drop(first);
        DataDir::open(&path).unwrap();
    }

    #[test]
    fn a_directory_that_others_could_read_is_closed() {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let _open = DataDir::open(folder.path()).unwrap();
        assert_eq!(fs::metadata(folder.path()).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn what_is_no_directory_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = DataDir::open(file.path()).unwrap_err();
        assert!(error.to_string().starts_with("creating "), "{error}");
    }
}

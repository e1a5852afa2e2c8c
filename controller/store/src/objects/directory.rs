//! Objects as files of one directory.
//!
//! A write goes to a temporary file, is synced, and then linked (create-only) or renamed (replace) to its place, whose
//! folder is synced as well. Replacing compares under an exclusive `flock`, so that several tasks and several processes
//! are safe from each other. The version of an object is the SHA-256 of its content.
//!
//! Temporary files are in `.tmp/<random>/`, one folder per opener that holds a lock in it. Opening removes the folders
//! whose lock is free: their processes are gone.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Seek as _, Write as _},
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use sluice_core::digest::Digest;
use tempfile::NamedTempFile;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};

use super::{Access, Content, Etag, Fetched, Meta, Objects, ObjectsError, Reading, check_key, cut};

const TEMPORARY: &str = ".tmp";
const LOCK: &str = ".lock";

/// A bundle store in a local directory.
#[derive(Debug, Clone)]
pub struct Directory {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    root: PathBuf,
    temporary: PathBuf,
    /// Held as long as this opener lives, so that others leave `temporary` alone.
    _claim: File,
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Left behind, it is removed by the next opener.
        let _ = fs::remove_dir_all(&self.temporary);
    }
}

impl Directory {
    /// Opens, and makes if need be, the store in `root`. Removes what killed processes left unfinished.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, ObjectsError> {
        let root = root.into();
        let doing = |what: &str| format!("{what} {}", root.display());
        fs::create_dir_all(root.join(TEMPORARY)).map_err(|e| ObjectsError::io(doing("creating"), e))?;
        let lock = exclusive(&root).map_err(|e| ObjectsError::io(doing("locking"), e))?;
        remove_abandoned(&root.join(TEMPORARY)).map_err(|e| ObjectsError::io(doing("tidying"), e))?;
        let temporary = root.join(TEMPORARY).join(uuid::Uuid::new_v4().to_string());
        let claim = fs::create_dir(&temporary)
            .and_then(|()| File::create(temporary.join("claim")))
            .and_then(|claim| claim.lock().map(|()| claim))
            .map_err(|e| ObjectsError::io(doing("preparing"), e))?;
        drop(lock);
        Ok(Self { inner: Arc::new(Inner { root, temporary, _claim: claim }) })
    }

    fn path(&self, key: &str) -> Result<PathBuf, ObjectsError> {
        check_key(key)?;
        Ok(self.inner.root.join(key))
    }

    /// Runs `work` where blocking is allowed. Once started it ends even if the caller is dropped.
    async fn blocking<T: Send + 'static>(
        &self,
        doing: &'static str,
        key: &str,
        work: impl FnOnce(&Inner, &Path, &str) -> Result<T, ObjectsError> + Send + 'static,
    ) -> Result<T, ObjectsError> {
        let (inner, path, key) = (self.inner.clone(), self.path(key)?, key.to_owned());
        let shown = format!("{doing} {key}");
        tokio::task::spawn_blocking(move || work(&inner, &path, &key))
            .await
            .unwrap_or_else(|e| Err(ObjectsError::io(shown, io::Error::other(e))))
    }
}

impl Inner {
    /// A synced temporary file that holds `content`.
    fn staged(&self, content: &Bytes) -> io::Result<NamedTempFile> {
        let mut file = NamedTempFile::new_in(&self.temporary)?;
        file.write_all(content)?;
        file.as_file().sync_all()?;
        Ok(file)
    }

    /// Makes the folder of `path`, durably.
    fn make_parent(&self, path: &Path) -> io::Result<()> {
        let parent = path.parent().unwrap_or(&self.root);
        if parent.is_dir() {
            return Ok(());
        }
        fs::create_dir_all(parent)?;
        let mut folder = parent;
        while folder != self.root {
            let Some(above) = folder.parent() else { break };
            sync_folder(above)?;
            folder = above;
        }
        Ok(())
    }

    /// Puts something into the folder of `path`, which somebody else may be removing because it was empty.
    fn in_place(&self, path: &Path, put: impl Fn() -> io::Result<()>) -> io::Result<()> {
        let mut result = Ok(());
        for _ in 0..8 {
            self.make_parent(path)?;
            result = put();
            if !matches!(&result, Err(e) if e.kind() == io::ErrorKind::NotFound) {
                break;
            }
        }
        result
    }

    /// Removes the folders that have become empty, and syncs the first one that has not.
    fn remove_empty(&self, path: &Path) -> io::Result<()> {
        let mut folder = path.parent().unwrap_or(&self.root);
        while folder != self.root && fs::remove_dir(folder).is_ok() {
            folder = folder.parent().unwrap_or(&self.root);
        }
        missing_is_none(sync_folder(folder)).map(drop)
    }

    fn create(&self, path: &Path, content: Content) -> io::Result<()> {
        let file = match content {
            Content::Bytes(bytes) => self.staged(&bytes)?,
            Content::File(file) => {
                file.as_file().sync_all()?;
                file
            }
        };
        match self.in_place(path, || fs::hard_link(file.path(), path)) {
            // A scratch file of another store, or a file system without links: copy, then try again.
            Err(e) if matches!(e.kind(), io::ErrorKind::CrossesDevices | io::ErrorKind::Unsupported) => {
                let mut copy = NamedTempFile::new_in(&self.temporary)?;
                let mut from = file.reopen()?;
                from.rewind()?;
                io::copy(&mut from, copy.as_file_mut())?;
                copy.as_file().sync_all()?;
                copy.persist_noclobber(path).map_err(|e| e.error)?;
            }
            linked => linked?,
        }
        // Gone with the object when somebody deleted it at once.
        missing_is_none(sync_folder(path.parent().unwrap_or(&self.root))).map(drop)
    }

    fn replace(
        &self,
        path: &Path,
        key: &str,
        content: &Bytes,
        expected: Option<&Etag>,
    ) -> Result<Etag, ObjectsError> {
        let failed = |e| ObjectsError::io(format!("writing {key}"), e);
        let staged = self.staged(content).map_err(failed)?;
        let _lock = exclusive(&self.root).map_err(failed)?;
        if let Some(expected) = expected {
            let current = missing_is_none(fs::read(path)).map_err(failed)?;
            if current.map(|bytes| etag(&bytes)).as_ref() != Some(expected) {
                return Err(ObjectsError::Conflict(key.to_owned()));
            }
        }
        let staged = staged.into_temp_path();
        self.in_place(path, || fs::rename(&staged, path)).map_err(failed)?;
        missing_is_none(sync_folder(path.parent().unwrap_or(&self.root))).map_err(failed)?;
        Ok(etag(content))
    }
}

#[async_trait]
impl Objects for Directory {
    async fn get(&self, key: &str) -> Result<Option<(Bytes, Etag)>, ObjectsError> {
        self.blocking("reading", key, |_, path, key| {
            let bytes =
                missing_is_none(fs::read(path)).map_err(|e| ObjectsError::io(format!("reading {key}"), e))?;
            Ok(bytes.map(|bytes| {
                let etag = etag(&bytes);
                (Bytes::from(bytes), etag)
            }))
        })
        .await
    }

    async fn get_if_changed(&self, key: &str, known: &Etag) -> Result<Fetched, ObjectsError> {
        Ok(match self.get(key).await? {
            None => Fetched::Missing,
            Some((_, etag)) if etag == *known => Fetched::Unchanged,
            Some((bytes, etag)) => Fetched::Changed(bytes, etag),
        })
    }

    async fn head(&self, key: &str) -> Result<Option<Meta>, ObjectsError> {
        self.blocking("looking at", key, |_, path, key| {
            let found = missing_is_none(fs::metadata(path))
                .map_err(|e| ObjectsError::io(format!("looking at {key}"), e))?;
            Ok(found.filter(fs::Metadata::is_file).map(|found| meta(key.to_owned(), &found)))
        })
        .await
    }

    async fn create(&self, key: &str, content: Content) -> Result<(), ObjectsError> {
        self.blocking("writing", key, |inner, path, key| {
            inner.create(path, content).map_err(|e| match e.kind() {
                io::ErrorKind::AlreadyExists => ObjectsError::AlreadyExists(key.to_owned()),
                _ => ObjectsError::io(format!("writing {key}"), e),
            })
        })
        .await
    }

    async fn replace(
        &self,
        key: &str,
        content: Bytes,
        expected: Option<&Etag>,
    ) -> Result<Etag, ObjectsError> {
        let expected = expected.cloned();
        self.blocking("writing", key, move |inner, path, key| {
            inner.replace(path, key, &content, expected.as_ref())
        })
        .await
    }

    async fn delete(&self, key: &str) -> Result<bool, ObjectsError> {
        self.blocking("deleting", key, |inner, path, key| {
            let deleted = missing_is_none(fs::remove_file(path)).and_then(|found| match found {
                None => Ok(false),
                Some(()) => inner.remove_empty(path).map(|()| true),
            });
            deleted.map_err(|e| ObjectsError::io(format!("deleting {key}"), e))
        })
        .await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Meta>, ObjectsError> {
        let prefix = prefix.trim_end_matches('/').to_owned();
        if !prefix.is_empty() {
            check_key(&prefix)?;
        }
        let inner = self.inner.clone();
        tokio::task::spawn_blocking(move || {
            let mut found = Vec::new();
            walk(&inner.root.join(&prefix), &prefix, &mut found)
                .map_err(|e| ObjectsError::io(format!("listing {prefix}"), e))?;
            found.sort_unstable_by(|a, b| a.key.cmp(&b.key));
            Ok(found)
        })
        .await
        .unwrap_or_else(|e| Err(ObjectsError::io("listing", io::Error::other(e))))
    }

    async fn read(&self, key: &str, range: Option<Range<u64>>) -> Result<Option<Reading>, ObjectsError> {
        const CHUNK: usize = 1 << 16;
        let path = self.path(key)?;
        let key = key.to_owned();
        let failed = move |e| ObjectsError::io(format!("reading {key}"), e);
        let Some(mut file) = missing_is_none(tokio::fs::File::open(&path).await).map_err(&failed)? else {
            return Ok(None);
        };
        let found = file.metadata().await.map_err(&failed)?;
        if !found.is_file() {
            return Ok(None);
        }
        let range = cut(range, found.len());
        file.seek(io::SeekFrom::Start(range.start)).await.map_err(&failed)?;
        let wanted = file.take(range.end - range.start);
        let chunks = tokio_util::io::ReaderStream::with_capacity(wanted, CHUNK).map_err(failed).boxed();
        Ok(Some(Reading { size: found.len(), range, chunks }))
    }

    async fn presigned(&self, _: Access, key: &str, _: Duration) -> Result<Option<String>, ObjectsError> {
        check_key(key).map(|()| None)
    }

    fn local_path(&self, key: &str) -> Option<PathBuf> {
        self.path(key).ok()
    }

    fn scratch(&self) -> Result<NamedTempFile, ObjectsError> {
        NamedTempFile::new_in(&self.inner.temporary)
            .map_err(|e| ObjectsError::io("making a temporary file", e))
    }
}

/// The store-wide lock; released when the file is dropped.
fn exclusive(root: &Path) -> io::Result<File> {
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(root.join(LOCK))?;
    file.lock()?;
    Ok(file)
}

/// Removes the temporary folders of openers that live no more. Runs under the store-wide lock, so that none is in the
/// middle of being made.
fn remove_abandoned(temporary: &Path) -> io::Result<()> {
    for entry in fs::read_dir(temporary)? {
        let path = entry?.path();
        let alive = match File::open(path.join("claim")) {
            Ok(claim) => claim.try_lock().is_err(),
            Err(_) => false,
        };
        if !alive {
            fs::remove_dir_all(&path)
                .or_else(|e| if e.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(e) })?;
        }
    }
    Ok(())
}

fn walk(folder: &Path, prefix: &str, found: &mut Vec<Meta>) -> io::Result<()> {
    let Some(entries) = missing_is_none(fs::read_dir(folder))? else { return Ok(()) };
    for entry in entries {
        let entry = entry?;
        // What is not a key is not ours: the lock, temporary files, `lost+found`, …
        let Ok(name) = entry.file_name().into_string() else { continue };
        let key = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
        if check_key(&key).is_err() {
            continue;
        }
        let kind = entry.file_type()?;
        if kind.is_dir() {
            walk(&entry.path(), &key, found)?;
        } else if kind.is_file()
            && let Some(metadata) = missing_is_none(entry.metadata())?
        {
            found.push(meta(key, &metadata));
        }
    }
    Ok(())
}

fn meta(key: String, found: &fs::Metadata) -> Meta {
    let modified = found.modified().ok().and_then(|t| jiff::Timestamp::try_from(t).ok());
    Meta { key, size: found.len(), modified: modified.map_or(0, jiff::Timestamp::as_second) }
}

fn etag(content: &[u8]) -> Etag {
    Etag { tag: Some(Digest::of(content).to_string()), version: None }
}

fn missing_is_none<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(e) => Err(e),
    }
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests;

//! A small object store: create-only writes, compare-and-swap, ranges.
//!
//! Everything that must not be forgotten goes through [`Objects`]. Two back ends pass one conformance suite: a
//! [`Directory`] of this program's own, because `object_store`'s local back end has neither conditional updates nor
//! fsync, and [`Remote`] over any `object_store` back end.
//!
//! A key is a path of segments `[A-Za-z0-9._-]+` that do not start with a dot. No key is a folder of another one.

use std::{fmt, io, ops::Range, path::PathBuf, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use tempfile::NamedTempFile;

mod directory;
mod open;
mod remote;

pub use directory::Directory;
pub use open::{InvalidStoreUrl, OpenError, StoreUrl, open};
pub use remote::Remote;

/// A version of an object's content, as the back end counts them.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Etag {
    pub(crate) tag: Option<String>,
    pub(crate) version: Option<String>,
}

impl fmt::Debug for Etag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.tag.as_deref().or(self.version.as_deref()).unwrap_or("-"))
    }
}

/// What is known of an object without reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meta {
    /// Its key.
    pub key: String,
    /// Bytes.
    pub size: u64,
    /// When it was last written, in seconds since 1970, by the clock of the back end.
    pub modified: i64,
}

/// The answer to a conditional read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fetched {
    /// There is no such object.
    Missing,
    /// It is as it was.
    Unchanged,
    /// The content, and its version.
    Changed(Bytes, Etag),
}

/// What to write.
#[derive(Debug)]
pub enum Content {
    /// Bytes in memory.
    Bytes(Bytes),
    /// A finished file, made by [`Objects::scratch`]; a directory moves it, others upload it.
    File(NamedTempFile),
}

impl From<Vec<u8>> for Content {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes.into())
    }
}

/// What a presigned URL is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Reading the content, or a part of it.
    Get,
    /// Looking at it.
    Head,
}

/// An object that is read in pieces.
pub struct Reading {
    /// Bytes of the whole object.
    pub size: u64,
    /// The requested range, cut at the end of the object.
    pub range: Range<u64>,
    /// The bytes of the range.
    pub chunks: BoxStream<'static, Result<Bytes, ObjectsError>>,
}

impl fmt::Debug for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reading")
            .field("size", &self.size)
            .field("range", &self.range)
            .finish_non_exhaustive()
    }
}

/// Why the store could not do what it was asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ObjectsError {
    /// Not a key.
    #[error("`{0}` is not an object key")]
    InvalidKey(String),
    /// Create-only, and there is one.
    #[error("object {0} exists already")]
    AlreadyExists(String),
    /// Compare-and-swap, and it is another version or none.
    #[error("object {0} was changed by somebody else")]
    Conflict(String),
    /// No space, or no quota.
    #[error("the bundle store is full (while {doing})")]
    Full {
        /// What was being done.
        doing: String,
    },
    /// The file system failed.
    #[error("{doing}: {source}")]
    Io {
        /// What was being done.
        doing: String,
        /// Why.
        source: io::Error,
    },
    /// The remote store failed.
    #[error("{doing}: {source}")]
    Remote {
        /// What was being done.
        doing: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl ObjectsError {
    pub(crate) fn io(doing: impl Into<String>, source: io::Error) -> Self {
        let doing = doing.into();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full { doing },
            _ => Self::Io { doing, source },
        }
    }
}

/// A store of objects by key. What was written is durable when the call returns, and an object is never seen half.
#[async_trait]
pub trait Objects: fmt::Debug + Send + Sync {
    /// The content and its version.
    async fn get(&self, key: &str) -> Result<Option<(Bytes, Etag)>, ObjectsError>;

    /// The content, unless it is still the version `known`.
    async fn get_if_changed(&self, key: &str, known: &Etag) -> Result<Fetched, ObjectsError>;

    /// Size and time of an object.
    async fn head(&self, key: &str) -> Result<Option<Meta>, ObjectsError>;

    /// Writes an object that must not exist yet; [`ObjectsError::AlreadyExists`] when it does. A [`Content::File`] that is
    /// large can be written by two at one time: its key must follow from its content.
    async fn create(&self, key: &str, content: Content) -> Result<(), ObjectsError>;

    /// Writes an object that must be the version `expected`, else [`ObjectsError::Conflict`]. Without `expected` it is
    /// written whatever is there.
    async fn replace(&self, key: &str, content: Bytes, expected: Option<&Etag>)
    -> Result<Etag, ObjectsError>;

    /// Removes an object; says whether there was one (a remote store may not know and say yes).
    async fn delete(&self, key: &str) -> Result<bool, ObjectsError>;

    /// Every object below the folder `prefix` (`""`: all), sorted by key.
    async fn list(&self, prefix: &str) -> Result<Vec<Meta>, ObjectsError>;

    /// The bytes of `range`, or all, in pieces. A range is cut at the end of the object.
    async fn read(&self, key: &str, range: Option<Range<u64>>) -> Result<Option<Reading>, ObjectsError>;

    /// A URL by which anybody can read the object for a while, without asking whether it exists; `None` for back ends
    /// that have no such thing.
    async fn presigned(
        &self,
        access: Access,
        key: &str,
        valid: Duration,
    ) -> Result<Option<String>, ObjectsError>;

    /// Where the object is as a file, for back ends that have files. The object need not exist.
    fn local_path(&self, key: &str) -> Option<PathBuf>;

    /// A temporary file on the store's own file system, for [`Content::File`]. Deleted when it is dropped.
    fn scratch(&self) -> Result<NamedTempFile, ObjectsError>;
}

/// Refuses what is not a key.
pub(crate) fn check_key(key: &str) -> Result<(), ObjectsError> {
    let segment = |s: &str| {
        (1..=200).contains(&s.len())
            && !s.starts_with('.')
            && s.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
    };
    if key.len() <= 600 && key.split('/').all(segment) {
        Ok(())
    } else {
        Err(ObjectsError::InvalidKey(key.escape_debug().take(200).collect()))
    }
}

/// Cuts a range at the end of an object.
pub(crate) fn cut(range: Option<Range<u64>>, size: u64) -> Range<u64> {
    let range = range.unwrap_or(0..size);
    let start = range.start.min(size);
    start..range.end.clamp(start, size)
}

#[cfg(test)]
pub(crate) mod tests;

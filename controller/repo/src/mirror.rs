//! Reading commits out of a mirror or a local repository, without a checkout.
//!
//! Everything here blocks: call it from a blocking task. A [`Reader`] is opened per task, because one that is kept does
//! not let go of packs that were replaced.

mod history;
mod paths;
mod restore;
pub(crate) mod tree;

use std::{path::PathBuf, sync::Arc};

use git2::{ErrorCode, ObjectType, Oid, Repository};

pub use self::{
    history::{CommitInfo, Messages},
    paths::PathFilter,
    restore::NotExact,
    tree::{Cache, Change, Entry, Finder, Kind},
};
use crate::{
    error::ReadError,
    ids::{CommitId, ObjectId},
};

/// What a Git LFS pointer begins with.
const LFS_POINTER: &[u8] = b"version https://git-lfs.github.com/spec/";
/// Pointers are shorter than this.
const LFS_POINTER_SIZE: usize = 1024;

/// A mirror on disk.
#[derive(Debug, Clone)]
pub struct Mirror {
    path: PathBuf,
    cache: Arc<Cache>,
}

/// An open repository.
pub struct Reader {
    path: PathBuf,
    repository: Repository,
    cache: Arc<Cache>,
}

impl Mirror {
    pub(crate) fn new(path: PathBuf, cache: Arc<Cache>) -> Self {
        Self { path, cache }
    }

    /// Opens it for one task.
    pub fn open(&self) -> Result<Reader, ReadError> {
        let repository = Repository::open_bare(&self.path).map_err(|error| open_error(&error))?;
        Ok(Reader { path: self.path.clone(), repository, cache: Arc::clone(&self.cache) })
    }

    /// The commit that was found last, also by an earlier process: what to serve while the server is away.
    pub fn current(&self) -> Result<Option<CommitId>, ReadError> {
        let reader = self.open()?;
        Ok(crate::worker::current(&reader.repository).map(CommitId::from_git))
    }
}

impl Reader {
    /// Opens a repository of this machine, bare or with a work tree, at or above `folder`. The text is the path of
    /// `folder` inside it, empty for its root.
    pub fn discover(folder: &std::path::Path) -> Result<(Self, String), ReadError> {
        crate::sys::init();
        let repository = Repository::discover(folder).map_err(|error| open_error(&error))?;
        let inside = repository
            .workdir()
            .and_then(|root| {
                let root = root.canonicalize().ok()?;
                Some(folder.canonicalize().ok()?.strip_prefix(root).ok()?.to_str()?.to_owned())
            })
            .unwrap_or_default();
        let path = repository.path().to_owned();
        Ok((Self { path, repository, cache: Arc::default() }, inside))
    }

    /// Whether the repository at or above `folder` has a work tree, in which somebody may be working.
    pub fn has_work_tree(folder: &std::path::Path) -> bool {
        crate::sys::init();
        Repository::discover(folder).is_ok_and(|repository| !repository.is_bare())
    }

    /// The commit that a revision names: an id, a branch, a tag, `HEAD~3`.
    pub fn resolve(&self, revision: &str) -> Result<CommitId, ReadError> {
        self.repository
            .revparse_single(revision)
            .and_then(|object| object.peel_to_commit())
            .map(|commit| CommitId::from_git(commit.id()))
            .map_err(|_| ReadError::NoSuchRevision(revision.to_owned()))
    }

    /// The content of a file. Its id is verified against the content.
    pub fn read(&self, id: ObjectId, limit: u64) -> Result<Vec<u8>, ReadError> {
        let size = self.size(id)?;
        if size > limit {
            return Err(ReadError::TooLarge { size, limit });
        }
        self.object(id, ObjectType::Blob)
    }

    /// The size of a file.
    pub fn size(&self, id: ObjectId) -> Result<u64, ReadError> {
        let (size, kind) = self.retry(id.git(), |repository| repository.odb()?.read_header(id.git()))?;
        if kind != ObjectType::Blob {
            return Err(ReadError::Object { id: id.to_string(), detail: "it is not a file".to_owned() });
        }
        Ok(size as u64)
    }

    pub(crate) fn object(&self, id: ObjectId, expected: ObjectType) -> Result<Vec<u8>, ReadError> {
        let (kind, data) = self.retry(id.git(), |repository| {
            let odb = repository.odb()?;
            let object = odb.read(id.git())?;
            Ok((object.kind(), object.data().to_vec()))
        })?;
        if kind != expected {
            return Err(ReadError::Object {
                id: id.to_string(),
                detail: format!("it is not a {}", expected.str()),
            });
        }
        Ok(data)
    }

    /// Asks again with a fresh handle when something is not found: packs may have been replaced meanwhile, and libgit2
    /// also says "not found" when it is out of descriptors.
    pub(crate) fn retry<T>(
        &self,
        id: Oid,
        ask: impl Fn(&Repository) -> Result<T, git2::Error>,
    ) -> Result<T, ReadError> {
        let failed = |error: &git2::Error| ReadError::Object {
            id: id.to_string(),
            detail: error.message().to_owned(),
        };
        match ask(&self.repository) {
            Ok(found) => Ok(found),
            Err(error) if matches!(error.code(), ErrorCode::NotFound | ErrorCode::GenericError) => {
                let fresh = Repository::open(&self.path).map_err(|error| open_error(&error))?;
                ask(&fresh).map_err(|error| failed(&error))
            }
            Err(error) => Err(failed(&error)),
        }
    }

    pub(crate) fn path(&self) -> &std::path::Path {
        &self.path
    }

    pub(crate) fn git(&self) -> &Repository {
        &self.repository
    }

    pub(crate) fn cache(&self) -> &Cache {
        &self.cache
    }
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").finish_non_exhaustive()
    }
}

fn open_error(error: &git2::Error) -> ReadError {
    ReadError::Open(error.message().to_owned())
}

/// Whether a file holds a Git LFS pointer instead of its content.
pub fn is_lfs_pointer(content: &[u8]) -> bool {
    content.len() <= LFS_POINTER_SIZE && content.starts_with(LFS_POINTER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lfs_pointers_are_recognised() {
        let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n";
        assert!(is_lfs_pointer(pointer));
        assert!(!is_lfs_pointer(b"version: 1\n"));
        let mut long = pointer.to_vec();
        long.resize(4096, b'x');
        assert!(!is_lfs_pointer(&long));
    }
}

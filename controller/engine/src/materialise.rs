//! Makes the bundle of one release: from a directory or zip of the commit, or from a download.

use std::{
    fs::File,
    io::{self, Cursor, Read},
};

use sluice_bundle::{
    BundleError, DownloadError, DownloadLimits, FileMeta, Files, Limits, Packed, ZipFiles,
    address::AddressPolicy, pack,
};
use sluice_core::{diagnostic::Code, digest::Digest, plan::Need, record::Zip, release::Source};
use sluice_repo::{CommitId, Kind, Mirror, ObjectId, ReadError, Reader, mirror::is_lfs_pointer};
use sluice_store::control::{BundleIndex, BundleStore, ControlError};
use tokio::io::AsyncWriteExt as _;

/// Limits and addresses for bundles.
#[derive(Debug, Clone, Default)]
pub struct BundlePolicy {
    /// Limits of a bundle's content.
    pub limits: Limits,
    /// Limits of a download.
    pub download: DownloadLimits,
    /// Which addresses may be downloaded from.
    pub addresses: AddressPolicy,
}

/// Why a bundle could not be made.
#[derive(Debug, thiserror::Error)]
pub enum MakeError {
    /// It is not a bundle, or could not be packed.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// It could not be downloaded.
    #[error(transparent)]
    Download(#[from] DownloadError),
    /// Git's objects could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The path leads nowhere in the commit that is being applied.
    #[error("there is no `{0}` in this commit; commit the web build there, or correct the path")]
    Missing(String),
    /// Files that Git does not hold.
    #[error("`{path}` is {what}; a bundle is made of plain files")]
    NotAFile {
        /// The entry.
        path: String,
        /// What it is.
        what: &'static str,
    },
    /// The store refused it.
    #[error("the bundle could not be stored: {0}")]
    Store(#[from] ControlError),
    /// A scratch file could not be used.
    #[error("the bundle could not be written: {0}")]
    Scratch(#[from] io::Error),
    /// A kind of source that is not supported yet.
    #[error("OCI sources are not supported yet; use `path` or `https`")]
    Unsupported,
    /// The task that packs ended early.
    #[error("packing was interrupted")]
    Interrupted,
}

impl MakeError {
    /// The code under which it is reported.
    pub fn code(&self) -> Code {
        match self {
            Self::Bundle(error) => error.code(),
            Self::Download(error) => error.code(),
            Self::Read(_) | Self::Interrupted => Code::Unreadable,
            Self::Missing(_) => Code::BundleNotFound,
            Self::Unsupported => Code::SourceNotSupported,
            Self::NotAFile { what: LFS, .. } => Code::LfsPointer,
            Self::NotAFile { .. } => Code::BundleFormat,
            Self::Store(_) | Self::Scratch(_) => Code::BundleNotStored,
        }
    }

    /// Whether the same source may succeed later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Bundle(error) => error.is_transient(),
            Self::Download(error) => error.is_transient(),
            Self::Read(_) | Self::Store(_) | Self::Scratch(_) | Self::Interrupted => true,
            Self::Missing(_) | Self::NotAFile { .. } | Self::Unsupported => false,
        }
    }
}

const LFS: &str = "a Git LFS pointer";

/// Makes the bundle that `need` asks for and stores it. Nothing is bound to a version yet.
///
/// Returns the digest of the bundle and the zip that stands for it: the first one that was ever made.
pub(crate) async fn make(
    need: &Need,
    mirror: &Mirror,
    commit: CommitId,
    store: &BundleStore,
    policy: &BundlePolicy,
) -> Result<(Digest, Zip), MakeError> {
    let scratch = store.objects().scratch().map_err(ControlError::from)?;
    let limits = policy.limits;
    let (packed, scratch) = match &need.source {
        Source::Path(path) => {
            let (mirror, path) = (mirror.clone(), path.clone());
            blocking(move || {
                let mut out = scratch.reopen()?;
                Ok((from_git(&mirror.open()?, commit, &path, &limits, &mut out)?, scratch))
            })
            .await?
        }
        Source::Https { url, sha256 } => {
            let archive = store.objects().scratch().map_err(ControlError::from)?;
            let mut into = tokio::fs::File::from_std(archive.reopen()?);
            sluice_bundle::download(url, *sha256, &policy.download, &policy.addresses, &mut into).await?;
            into.flush().await?;
            blocking(move || {
                let mut files = ZipFiles::open(archive.reopen()?, &limits)?;
                let mut out = scratch.reopen()?;
                Ok((pack(&mut files, &limits, &mut out)?, scratch))
            })
            .await?
        }
        Source::Oci { .. } => return Err(MakeError::Unsupported),
    };
    let Packed { digest, files, zip } = packed;
    let standing = match store.bundle(&digest).await? {
        Some(known) => known,
        None => BundleIndex { digest, files, zip: zip.clone() },
    };
    // The zip that phones may know already stays, unless its bytes are gone and these are the same ones.
    if standing.zip.sha256 == zip.sha256 {
        store.put_artefact(&zip.sha256, scratch).await?;
    }
    let standing = store.put_bundle(&standing).await?;
    Ok((digest, standing.zip))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, MakeError> + Send + 'static,
) -> Result<T, MakeError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| MakeError::Interrupted)?
}

/// Packs the directory or zip at `path` of a commit into `out`.
pub fn from_git(
    reader: &Reader,
    commit: CommitId,
    path: &str,
    limits: &Limits,
    out: &mut File,
) -> Result<Packed, MakeError> {
    let entry = reader.find(commit, path)?.ok_or_else(|| MakeError::Missing(path.to_owned()))?;
    if entry.kind != Kind::Tree {
        let bytes = reader.read(entry.oid, limits.total_bytes)?;
        if is_lfs_pointer(&bytes) {
            return Err(MakeError::NotAFile { path: path.to_owned(), what: LFS });
        }
        return Ok(pack(&mut ZipFiles::open(Cursor::new(bytes), limits)?, limits, out)?);
    }
    let mut files = GitFiles { reader, metas: Vec::new(), oids: Vec::new() };
    for file in reader.files(entry.oid)? {
        let what = match file.kind {
            Kind::Blob | Kind::Executable | Kind::Tree => None,
            Kind::Symlink => Some("a symbolic link"),
            Kind::Submodule => Some("a submodule"),
            Kind::Unnameable => Some("named by something that is not text"),
        };
        if let Some(what) = what {
            return Err(MakeError::NotAFile { path: format!("{path}/{}", file.path), what });
        }
        let size = reader.size(file.oid)?;
        // Pointers are small, so looking at small files finds all of them.
        if size <= 1024 && is_lfs_pointer(&reader.read(file.oid, size)?) {
            return Err(MakeError::NotAFile { path: format!("{path}/{}", file.path), what: LFS });
        }
        files.metas.push(FileMeta { path: file.path, size, crc32: None });
        files.oids.push(file.oid);
    }
    Ok(pack(&mut files, limits, out)?)
}

/// The files of one folder of a commit.
struct GitFiles<'a> {
    reader: &'a Reader,
    metas: Vec<FileMeta>,
    oids: Vec<ObjectId>,
}

impl Files for GitFiles<'_> {
    fn list(&self) -> &[FileMeta] {
        &self.metas
    }

    fn open(&mut self, index: usize) -> Result<Box<dyn Read + '_>, BundleError> {
        let FileMeta { path, size, .. } = &self.metas[index];
        let bytes = self
            .reader
            .read(self.oids[index], *size)
            .map_err(|e| BundleError::read(path, io::Error::other(e)))?;
        Ok(Box::new(Cursor::new(bytes)))
    }
}

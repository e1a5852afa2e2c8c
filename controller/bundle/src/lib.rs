//! Bytes in, bytes out: files or a zip become one deterministic zip that every client generation can install, together
//! with the digests that identify it; zips are downloaded from public addresses only.

pub mod address;
mod archive;
pub mod download;
mod error;
mod files;
mod limits;
mod names;
mod pack;
mod writer;

pub use archive::ZipFiles;
pub use download::{DownloadError, DownloadLimits, download};
pub use error::BundleError;
pub use files::{FileList, FileMeta, Files};
pub use limits::Limits;
pub use names::NameProblem;
pub use pack::{Packed, check, pack};

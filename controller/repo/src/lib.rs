//! Git: mirrors of watched repositories, reading commits out of them, and the webhooks that say "look now".
//!
//! A [`Source`] follows one reference of one repository. Everything that touches the network happens in a worker
//! process with a total deadline, because libgit2 can wait for ever and cannot be told to stop; everything that is read
//! is read from the object database of a bare mirror, never from a checkout. What is written is a [`Draft`] first, a value,
//! and then a [`Push`] that changes one branch, and only from the commit that it was planned on. libgit2 stands behind this crate's own
//! types: no other crate needs it to read a repository.

pub mod access;
mod bare;
mod draft;
mod error;
pub mod hooks;
mod ids;
pub mod mirror;
mod process;
mod push;
mod reference;
mod signing;
pub mod source;
mod sys;
#[cfg(feature = "testing")]
pub mod testing;
pub mod trailers;
mod url;
pub mod worker;

pub use access::{Access, Credentials, Proxy};
pub use bare::{Bare, WriteError};
pub use draft::{Committer, Content, Draft, Edit, Identity};
pub use error::{ReadError, RepoError, SettingsError};
pub use ids::{CommitId, ObjectId};
pub use mirror::{Change, CommitInfo, Entry, Finder, Kind, Messages, Mirror, NotExact, PathFilter, Reader};
pub use process::Launch;
pub use push::{Push, Pushed, Refusal};
pub use reference::Reference;
pub use signing::{InvalidSigningKey, SigningKey};
pub use source::{Mirrors, Poll, Source, SourceSettings};
pub use sys::init;
pub use url::{RepositoryUrl, Transport};

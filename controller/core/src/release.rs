//! A release: one immutable bundle of one app, with a version and what it requires.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    digest::Digest,
    ids::{AppId, Version},
    native::NativeRange,
};

/// What a `Release` document says, checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// `metadata.name`.
    pub name: String,
    /// The app.
    pub app: AppId,
    /// The version; devices see it as the bundle's name.
    pub version: Version,
    /// Where the bundle's bytes come from.
    pub source: Source,
    /// Native versions that can run it; `None`: every one.
    pub native: Option<NativeRange>,
    /// Whether devices may be sent back from it.
    pub rollback: RollbackPolicy,
    /// Release notes, sent to devices that show them.
    pub notes: Option<String>,
    /// A page about the release, sent to devices that show it.
    pub link: Option<String>,
    /// Free labels.
    pub labels: BTreeMap<String, String>,
}

/// Where the bytes of a bundle come from.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Source {
    /// A directory or zip of the same commit; the path is from the repository's root.
    Path(String),
    /// A zip that is downloaded and must have this digest.
    Https {
        /// The URL.
        url: String,
        /// SHA-256 of the downloaded file.
        sha256: Digest,
    },
    /// An OCI artifact by digest.
    Oci {
        /// Registry and repository.
        image: String,
        /// `sha256:…` of the manifest.
        digest: String,
    },
}

/// Whether devices may be sent back from a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum RollbackPolicy {
    /// Devices may be returned to an older release.
    #[default]
    Allowed,
    /// Data was migrated: new devices are stopped, nobody is sent back.
    StopOnly,
}

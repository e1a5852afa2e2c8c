//! Looks after what is stored: artefacts that devices are offered are there and have the bytes they are named by.
//!
//! Digests are verified when a bundle is made and here, never per download.

use std::collections::BTreeSet;

use sluice_core::{digest::Digest, snapshot::App};
use sluice_store::control::{BundleStore, ControlError, Verified};

/// How closely artefacts are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Depth {
    /// Whether they are there.
    Present,
    /// Whether every byte is right.
    Bytes,
}

/// The artefacts that `apps` offer and that are lost.
pub(crate) async fn lost<'a>(
    apps: impl Iterator<Item = &'a App>,
    store: &BundleStore,
    depth: Depth,
) -> Result<BTreeSet<Digest>, ControlError> {
    let zips = apps.flat_map(App::bundles).map(|bundle| bundle.offer.zip.clone());
    let sizes: std::collections::BTreeMap<Digest, u64> = zips.map(|zip| (zip.sha256, zip.size)).collect();
    let mut lost = BTreeSet::new();
    for (sha256, size) in sizes {
        let good = match depth {
            Depth::Present => store.artefact_size(&sha256).await? == Some(size),
            Depth::Bytes => store.verify(&sha256).await? == Verified::Good,
        };
        if !good {
            tracing::error!(artefact = %sha256, "an artefact that devices are offered is missing or damaged; it is made again");
            lost.insert(sha256);
        }
    }
    Ok(lost)
}

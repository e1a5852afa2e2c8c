//! Artefacts and the lists of what is in them. Both are written once; a damaged artefact is written again, with the
//! bytes that its name demands.

use futures::TryStreamExt as _;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use sluice_core::{
    digest::{BundleFile, Digest},
    record::Zip,
};
use tempfile::NamedTempFile;

use super::{BundleStore, ControlError, encode, read};
use crate::objects::{Content, ObjectsError, Reading};

/// What a bundle is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BundleIndex {
    /// Identity of the set of files.
    pub digest: Digest,
    /// The files, sorted by path.
    pub files: Vec<BundleFile>,
    /// The zip that holds them.
    pub zip: Zip,
}

/// What re-reading an artefact showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verified {
    /// Its bytes have the digest that it is named by.
    Good,
    /// There is no such artefact.
    Missing,
    /// Its bytes have another digest.
    Damaged {
        /// Which one.
        found: Digest,
    },
}

impl BundleStore {
    /// The object key of an artefact.
    pub fn artefact_key(sha256: &Digest) -> String {
        format!("artefacts/{sha256}.zip")
    }

    /// Stores an artefact whose SHA-256 the caller has computed from the finished file. One that is there already is
    /// re-read, and replaced when it is damaged.
    pub async fn put_artefact(&self, sha256: &Digest, file: NamedTempFile) -> Result<(), ControlError> {
        let key = Self::artefact_key(sha256);
        if let Verified::Damaged { .. } = self.verify(sha256).await? {
            tracing::warn!(artefact = %sha256, "replacing a damaged artefact");
            self.objects.delete(&key).await?;
        }
        match self.objects.create(&key, Content::File(file)).await {
            Ok(()) | Err(ObjectsError::AlreadyExists(_)) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }

    /// Size of an artefact, when it is there.
    pub async fn artefact_size(&self, sha256: &Digest) -> Result<Option<u64>, ControlError> {
        Ok(self.objects.head(&Self::artefact_key(sha256)).await?.map(|meta| meta.size))
    }

    /// Reads a part of an artefact.
    pub async fn read_artefact(
        &self,
        sha256: &Digest,
        range: Option<std::ops::Range<u64>>,
    ) -> Result<Option<Reading>, ControlError> {
        Ok(self.objects.read(&Self::artefact_key(sha256), range).await?)
    }

    /// Re-reads an artefact and compares its digest: the scrubber's step.
    pub async fn verify(&self, sha256: &Digest) -> Result<Verified, ControlError> {
        let Some(mut reading) = self.read_artefact(sha256, None).await? else { return Ok(Verified::Missing) };
        let mut hash = Sha256::new();
        while let Some(chunk) = reading.chunks.try_next().await? {
            hash.update(&chunk);
        }
        let found = Digest::from_bytes(hash.finalize().into());
        Ok(if found == *sha256 { Verified::Good } else { Verified::Damaged { found } })
    }

    /// Every artefact, sorted by digest.
    pub async fn artefacts(&self) -> Result<Vec<Digest>, ControlError> {
        let name = |key: &str| key.strip_prefix("artefacts/")?.strip_suffix(".zip")?.parse().ok();
        Ok(self.objects.list("artefacts").await?.iter().filter_map(|meta| name(&meta.key)).collect())
    }

    /// What a bundle is made of, when it is known.
    pub async fn bundle(&self, digest: &Digest) -> Result<Option<BundleIndex>, ControlError> {
        read(&*self.objects, &bundle_key(digest)).await
    }

    /// Records what a bundle is made of. The first record stays: a bundle is never packed twice into different bytes.
    /// Returns the one that stands.
    pub async fn put_bundle(&self, index: &BundleIndex) -> Result<BundleIndex, ControlError> {
        let key = bundle_key(&index.digest);
        match self.objects.create(&key, encode(index).into()).await {
            Ok(()) => Ok(index.clone()),
            Err(ObjectsError::AlreadyExists(_)) => {
                read(&*self.objects, &key).await?.ok_or(ControlError::Missing(key))
            }
            Err(e) => Err(e.into()),
        }
    }
}

fn bundle_key(digest: &Digest) -> String {
    format!("bundles/{digest}.json")
}

//! Documents of the engine that only it understands, such as the inventory of a repository.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Serialize, de::DeserializeOwned};
use sluice_core::digest::Digest;

use super::{BundleStore, ControlError, decode, encode, prune::KEPT_SECONDS, read_addressed};
use crate::objects::{Etag, ObjectsError};

impl BundleStore {
    /// The document `name` (key segments), when there is one, and its version.
    pub async fn document<T: DeserializeOwned>(&self, name: &str) -> Result<Option<(T, Etag)>, ControlError> {
        let key = key(name);
        self.objects.get(&key).await?.map(|(bytes, etag)| Ok((decode(&key, &bytes)?, etag))).transpose()
    }

    /// Writes the document `name` over the version `over`, as the leader of term `epoch`. Whoever else changed it
    /// meanwhile is overwritten only if their term is not later (rule 3).
    pub async fn put_document<T: Serialize + Sync>(
        &self,
        epoch: u64,
        name: &str,
        value: &T,
        over: Option<&Etag>,
    ) -> Result<Etag, ControlError> {
        let (key, bytes) = (key(name), bytes::Bytes::from(encode(value)));
        if let Some(over) = over {
            match self.objects.replace(&key, bytes.clone(), Some(over)).await {
                Ok(etag) => return Ok(etag),
                Err(ObjectsError::Conflict(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.leads(epoch).await?;
        Ok(self.objects.replace(&key, bytes, None).await?)
    }

    /// Removes the document `name`, as the leader of term `epoch`. One that is not there is no mistake.
    pub async fn remove_document(&self, epoch: u64, name: &str) -> Result<(), ControlError> {
        self.leads(epoch).await?;
        self.objects.delete(&key(name)).await?;
        Ok(())
    }

    /// Fails when a later leader than that of `epoch` has published.
    async fn leads(&self, epoch: u64) -> Result<(), ControlError> {
        match self.root().await? {
            Some((root, _)) if root.epoch > epoch => {
                Err(ControlError::Deposed { found: root.epoch, held: epoch })
            }
            _ => Ok(()),
        }
    }

    /// Writes a part of the document `name`, which the document then names by its digest. A part that is there is not
    /// written again.
    pub async fn put_part<T: Serialize + Sync>(&self, name: &str, part: &T) -> Result<Digest, ControlError> {
        let bytes = encode(part);
        let digest = Digest::of(&bytes);
        self.put_addressed(&part_key(name, &digest), &digest, bytes).await?;
        Ok(digest)
    }

    /// A part of the document `name`.
    pub async fn part<T: DeserializeOwned>(&self, name: &str, digest: &Digest) -> Result<T, ControlError> {
        let key = part_key(name, digest);
        decode(&key, &read_addressed(&*self.objects, &key, digest).await?)
    }

    /// Removes the parts of the document `name` that are not `kept` and older than ten minutes: a document that names
    /// a younger one may be on its way. Returns how many went.
    pub async fn prune_parts(
        &self,
        name: &str,
        kept: &BTreeSet<Digest>,
        now: Timestamp,
    ) -> Result<usize, ControlError> {
        let kept: BTreeSet<String> = kept.iter().map(|digest| part_key(name, digest)).collect();
        let mut removed = 0;
        for part in self.objects.list(&folder(name)).await? {
            let old = part.modified < now.as_second() - KEPT_SECONDS;
            if old && !kept.contains(&part.key) && self.objects.delete(&part.key).await? {
                removed += 1;
            }
        }
        Ok(removed)
    }
}

fn key(name: &str) -> String {
    format!("inventory/{name}.json")
}

fn part_key(name: &str, digest: &Digest) -> String {
    format!("{}/{digest}.json", folder(name))
}

/// Of no name the document: a Repository may be called `shop.json`.
fn folder(name: &str) -> String {
    format!("inventory/{name}.parts")
}

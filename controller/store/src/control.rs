//! The bundle store: what is kept as objects, where, and under which rules.
//!
//! | key | written | holds |
//! | --- | --- | --- |
//! | `format.json` | compare-and-swap | format number, and the oldest format whose programs can read the store |
//! | `installation.json` | once | random id of the installation |
//! | `root.json` | compare-and-swap | head of the snapshot (`sluice_core::snapshot::Root`) |
//! | `roots/<generation>.json` | once each | the roots of the last ten minutes, for pruning |
//! | `shards/<digest>.json` | once each | one app of a snapshot |
//! | `apps/<app>/record.json` | once, then compare-and-swap | owner, bindings and lines of an app |
//! | `apps/<app>/decisions/<n>.json` | once each | the decision log of an app |
//! | `artefacts/<sha256>.zip` | once each | what devices download |
//! | `bundles/<digest>.json` | once each | the files of a bundle, and its zip |
//! | `brakes/apps/<app>/<id>.json` | once each | who stopped which bundle where, and why |
//! | `brakes/index.json` | compare-and-swap | all of them without their evidence (`sluice_core::brake::BrakeIndex`) |
//! | `rollbacks/<app>/<id>.json` | once, then compare-and-swap | how far Git is told of a brake (`sluice_core::rollback`) |
//! | `inventory/<name>.json` | replaced | documents of the engine |
//!
//! What gateways and the leader pass each other is in [`crate::relay`].
//!
//! Readers ignore unknown fields everywhere; the record keeps the ones it does not know when it is rewritten, so that
//! going back one release loses nothing.

use std::sync::Arc;

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sluice_core::{
    digest::Digest,
    ids::AppId,
    snapshot::{InvalidShard, Root},
};

use crate::objects::{Objects, ObjectsError};

mod artefacts;
mod brakes;
mod data_dir;
mod decisions;
mod documents;
mod follower;
mod prune;
mod records;
mod rollbacks;
mod served;
mod snapshots;

pub use artefacts::{BundleIndex, Verified};
pub use brakes::{BRAKES_EVERY, BrakeWatch, Braked, ChannelNames, NewBrake};
pub use data_dir::{DataDir, DataDirError};
pub use decisions::Audit;
pub use follower::{FollowError, Follower, Freshness, ROOT_EVERY};
pub use served::{Older, advance};
pub use snapshots::{Loaded, Published};

/// The format that this program writes.
pub const FORMAT: u32 = 1;
/// The oldest format whose programs can read what this program writes.
const READABLE_FROM: u32 = 1;

const FORMAT_KEY: &str = "format.json";
const INSTALLATION_KEY: &str = "installation.json";

/// Why the bundle store refused or failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// The objects could not be read or written.
    #[error(transparent)]
    Objects(#[from] ObjectsError),
    /// A program of a later release wrote the store.
    #[error(
        "the store has format {found} and needs a program that reads it, this one reads up to {FORMAT}; use the release that wrote it, or a newer one"
    )]
    TooNew {
        /// The format, or the oldest reader's.
        found: u32,
    },
    /// Nothing was ever written there.
    #[error("there is no bundle store; the controller makes it when it first starts")]
    NotInitialised,
    /// An object is not what it should be.
    #[error("object {key} is damaged: {reason}")]
    Damaged {
        /// The object.
        key: String,
        /// How.
        reason: String,
    },
    /// An object that another one refers to is not there.
    #[error("object {0} is missing")]
    Missing(String),
    /// A shard contradicts itself.
    #[error(transparent)]
    Shard(#[from] InvalidShard),
    /// Somebody with a later term, or a newer root, is publishing (rule 3).
    #[error("the published snapshot (epoch {}, generation {}) is newer", .0.epoch, .0.generation)]
    Superseded(Box<Root>),
    /// A later leader wrote here already (rule 3).
    #[error("a leader of term {found} has written since, and this one's term is {held}")]
    Deposed {
        /// The term of what stands.
        found: u64,
        /// The term of whoever wants to write.
        held: u64,
    },
    /// Another writer was always faster.
    #[error("object {0} is changed by somebody else all the time")]
    Contended(String),
    /// The app belongs to somebody else (rule 13).
    #[error("app {app} belongs to {owner}")]
    OwnedBy {
        /// The app.
        app: AppId,
        /// Its owner.
        owner: String,
    },
    /// The app has no record.
    #[error("app {0} was never published")]
    Unowned(AppId),
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Format {
    format: u32,
    readable_from: u32,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Installation {
    id: String,
}

/// The bundle store of one installation.
#[derive(Debug, Clone)]
pub struct BundleStore {
    objects: Arc<dyn Objects>,
    installation: Arc<str>,
    /// Publishing and pruning exclude each other: pruning must not remove a shard that is about to be referred to.
    publishing: Arc<tokio::sync::Mutex<()>>,
}

impl BundleStore {
    /// Opens the store; makes it when it is empty, with `fresh_id` as the id of the installation.
    pub async fn open(objects: Arc<dyn Objects>, fresh_id: &str) -> Result<Self, ControlError> {
        claim_format(&*objects).await?;
        // Looked for first: a start on a full disk writes nothing that is there.
        if objects.head(INSTALLATION_KEY).await?.is_none() {
            let id = Installation { id: fresh_id.to_owned() };
            match objects.create(INSTALLATION_KEY, encode(&id).into()).await {
                Ok(()) | Err(ObjectsError::AlreadyExists(_)) => {}
                Err(e) => return Err(e.into()),
            }
        }
        let store = Self::open_existing(objects).await?;
        store.mend_root().await?;
        Ok(store)
    }

    /// Opens a store that somebody else made, without writing.
    pub async fn open_existing(objects: Arc<dyn Objects>) -> Result<Self, ControlError> {
        let format: Format = read(&*objects, FORMAT_KEY).await?.ok_or(ControlError::NotInitialised)?;
        check_format(&format)?;
        let Installation { id } =
            read(&*objects, INSTALLATION_KEY).await?.ok_or(ControlError::NotInitialised)?;
        Ok(Self { objects, installation: id.into(), publishing: Arc::default() })
    }

    /// The id of the installation, made once.
    pub fn installation(&self) -> &str {
        &self.installation
    }

    /// The objects underneath.
    pub fn objects(&self) -> &Arc<dyn Objects> {
        &self.objects
    }
}

fn check_format(format: &Format) -> Result<(), ControlError> {
    if format.readable_from > FORMAT {
        Err(ControlError::TooNew { found: format.readable_from })
    } else {
        Ok(())
    }
}

/// Writes our format, unless a later one stands there that we can read.
async fn claim_format(objects: &dyn Objects) -> Result<(), ControlError> {
    let ours = encode(&Format { format: FORMAT, readable_from: READABLE_FROM });
    if objects.head(FORMAT_KEY).await?.is_none() {
        match objects.create(FORMAT_KEY, ours.clone().into()).await {
            Ok(()) => return Ok(()),
            Err(ObjectsError::AlreadyExists(_)) => {}
            Err(e) => return Err(e.into()),
        }
    }
    let (bytes, etag) =
        objects.get(FORMAT_KEY).await?.ok_or_else(|| ControlError::Missing(FORMAT_KEY.into()))?;
    let found: Format = decode(FORMAT_KEY, &bytes)?;
    check_format(&found)?;
    if found.format >= FORMAT {
        return Ok(());
    }
    match objects.replace(FORMAT_KEY, ours.into(), Some(&etag)).await {
        // Whoever was faster runs this program or a later one.
        Ok(_) | Err(ObjectsError::Conflict(_)) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

/// JSON with a final line feed, for people who look at the store.
impl BundleStore {
    /// Writes an object that is named by the SHA-256 of its content. One that is there with other bytes was damaged,
    /// and is replaced.
    async fn put_addressed(&self, key: &str, digest: &Digest, bytes: Vec<u8>) -> Result<(), ControlError> {
        match self.objects.create(key, bytes.clone().into()).await {
            Ok(()) => Ok(()),
            Err(ObjectsError::AlreadyExists(_)) => {
                if read_addressed(&*self.objects, key, digest).await.is_err() {
                    tracing::warn!(key, "replacing a damaged object");
                    self.objects.replace(key, bytes.into(), None).await?;
                }
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }
}

fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = serde_json::to_vec(value).expect("the types of the store have text keys and cannot fail");
    bytes.push(b'\n');
    bytes
}

fn decode<T: DeserializeOwned>(key: &str, bytes: &[u8]) -> Result<T, ControlError> {
    serde_json::from_slice(bytes)
        .map_err(|e| ControlError::Damaged { key: key.to_owned(), reason: e.to_string() })
}

async fn read<T: DeserializeOwned>(objects: &dyn Objects, key: &str) -> Result<Option<T>, ControlError> {
    objects.get(key).await?.map(|(bytes, _)| decode(key, &bytes)).transpose()
}

/// Reads an object that is named by the SHA-256 of its content.
async fn read_addressed(
    objects: &dyn Objects,
    key: &str,
    digest: &Digest,
) -> Result<bytes::Bytes, ControlError> {
    let (bytes, _) = objects.get(key).await?.ok_or_else(|| ControlError::Missing(key.to_owned()))?;
    let found = Digest::of(&bytes);
    if found == *digest {
        Ok(bytes)
    } else {
        Err(ControlError::Damaged { key: key.to_owned(), reason: format!("its SHA-256 is {found}") })
    }
}

#[cfg(test)]
mod tests;

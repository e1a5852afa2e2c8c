//! Writing and reading brakes: a record each, written once, and one index of all of them, replaced by compare-and-swap.
//!
//! The record comes first, then the index, then the index is read back. Whoever is cut short in between has written a
//! record, and the next one who lists the records puts it into the index. So nobody needs a lease, nothing is lost when
//! many brake at once, and the index can be made again from the records (rule 6).

use jiff::Timestamp;
use sluice_core::{
    brake::{self, Brake, BrakeId, BrakeIndex, Devices, Scope, short_text},
    digest::Digest,
    ids::{AppId, Version},
};

use super::{BundleStore, ControlError, decode, encode, snapshots::milliseconds};
use crate::objects::{Etag, ObjectsError};

mod watch;

pub use watch::{BRAKES_EVERY, BrakeWatch, ChannelNames};

const INDEX: &str = "brakes/index.json";
/// Beside the index and not around it: an app may be called `index.json`.
const RECORDS: &str = "brakes/apps";
const ATTEMPTS: usize = 64;

/// A brake that somebody wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewBrake {
    /// The app.
    pub app: AppId,
    /// The bundle.
    pub digest: Digest,
    /// The version that devices know it by.
    pub release: Option<Version>,
    /// Where.
    pub scope: Scope,
    /// What becomes of the devices that run it.
    pub devices: Devices,
    /// Who.
    pub by: String,
    /// Why.
    pub why: String,
    /// When.
    pub at: Timestamp,
    /// What it rests on.
    pub evidence: Option<serde_json::Value>,
    /// Whether Git is told, too.
    pub rollback: bool,
    /// Ids that Git lifts in that scope: with one of them the bundle would go on being offered.
    pub lifted: Vec<String>,
}

/// A brake that is in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Braked {
    /// It.
    pub brake: Brake,
    /// Whether it was written now; otherwise it stood there.
    pub fresh: bool,
    /// The index with it.
    pub index: BrakeIndex,
}

impl NewBrake {
    fn into_brake(self) -> Brake {
        let Self { app, digest, release, scope, devices, by, why, at, evidence, rollback, lifted } = self;
        let id = (0..=u32::MAX)
            .map(|nth| BrakeId::derive(&app, &digest, &scope, devices, nth))
            .find(|id| lifted.iter().all(|lifted| lifted != id.as_str()))
            .expect("there are more numbers than lifted brakes");
        let (by, why) = (short_text(&by), short_text(&why));
        Brake { id, app, digest, release, scope, devices, by, why, at, evidence, rollback }
    }
}

impl BundleStore {
    /// Stops a bundle. The same twice is one brake, and one that does no more than a standing one is that one. When this
    /// returns, everybody who reads the index finds it there.
    pub async fn brake(&self, wanted: NewBrake) -> Result<Braked, ControlError> {
        let lifted = wanted.lifted.clone();
        let wanted = wanted.into_brake();
        if let Some((Ok(index), _)) = self.raw_index().await? {
            let standing = index.iter().find(|known| {
                known.app == wanted.app
                    && known.covers(&wanted.digest, &wanted.scope, wanted.devices)
                    && lifted.iter().all(|id| id != known.id.as_str())
            });
            if let Some(brake) = standing.cloned() {
                return Ok(Braked { brake, fresh: false, index });
            }
        }
        let (brake, fresh) = self.put_record(wanted).await?;
        let index = self.put_index(std::slice::from_ref(&brake)).await?;
        // Read back: what a store acknowledged and does not have is not in force.
        let (read, _) = self.brakes().await?;
        if read.iter().all(|known| known.id != brake.id) {
            return Err(ControlError::Missing(format!("{INDEX} with brake {}", brake.id)));
        }
        Ok(Braked { brake, fresh, index: if read.generation >= index.generation { read } else { index } })
    }

    /// Every brake of the installation, and the version of the index. An index that is lost or damaged is made from the
    /// records, and has no version.
    pub async fn brakes(&self) -> Result<(BrakeIndex, Option<Etag>), ControlError> {
        match self.raw_index().await? {
            Some((Ok(index), etag)) => Ok((index, Some(etag))),
            Some((Err(error), _)) => {
                tracing::error!(%error, "the brakes are read from their records");
                Ok((self.index_of_records().await?, None))
            }
            None => Ok((self.index_of_records().await?, None)),
        }
    }

    /// The whole record of a brake, with its evidence.
    pub async fn brake_record(&self, app: &AppId, id: &BrakeId) -> Result<Option<Brake>, ControlError> {
        let key = record_key(app, id);
        self.objects.get(&key).await?.map(|(bytes, _)| decode(&key, &bytes)).transpose()
    }

    /// Puts into the index what only the records have: a writer was cut short, or the index was lost. Returns how many
    /// there were.
    pub async fn mend_brakes(&self) -> Result<usize, ControlError> {
        let index = match self.raw_index().await? {
            Some((Ok(index), _)) => index,
            _ => BrakeIndex::default(),
        };
        let missing = self.brake_records(|id| index.iter().any(|known| known.id == *id)).await?;
        if !missing.is_empty() {
            self.put_index(&missing).await?;
            tracing::warn!(brakes = missing.len(), "brakes that the index did not have are in force again");
        }
        Ok(missing.len())
    }

    /// Every record that is not `known` and can be read. One that cannot is one brake's problem.
    async fn brake_records(&self, known: impl Fn(&BrakeId) -> bool) -> Result<Vec<Brake>, ControlError> {
        let id = |key: &str| -> Option<BrakeId> {
            key.rsplit('/').next()?.strip_suffix(".json")?.to_owned().try_into().ok()
        };
        let mut records: Vec<Brake> = Vec::new();
        let mut listed = self.objects.list(RECORDS).await?;
        listed.retain(|meta| id(&meta.key).is_none_or(|id| !known(&id)));
        for meta in listed {
            let Some((bytes, _)) = self.objects.get(&meta.key).await? else { continue };
            match decode::<Brake>(&meta.key, &bytes) {
                Ok(record) => records.push(record),
                Err(error) => tracing::error!(%error, "the record of a brake cannot be read"),
            }
        }
        records.sort_by(|a, b| (a.at, &a.id).cmp(&(b.at, &b.id)));
        Ok(records)
    }

    async fn index_of_records(&self) -> Result<BrakeIndex, ControlError> {
        let mut index = BrakeIndex::default();
        for record in self.brake_records(|_| false).await? {
            index.add(&record);
        }
        Ok(index)
    }

    /// Writes the record, or finds that somebody wrote it before. Says whether it is new.
    async fn put_record(&self, brake: Brake) -> Result<(Brake, bool), ControlError> {
        let key = record_key(&brake.app, &brake.id);
        match self.objects.create(&key, encode(&brake).into()).await {
            Ok(()) => return Ok((brake, true)),
            Err(ObjectsError::AlreadyExists(_)) => {}
            Err(error) => return Err(error.into()),
        }
        match self.brake_record(&brake.app, &brake.id).await {
            Ok(Some(standing)) => Ok((standing, false)),
            Ok(None) => Err(ControlError::Missing(key)),
            Err(ControlError::Damaged { .. }) => {
                tracing::warn!(key, "replacing a damaged object");
                self.objects.replace(&key, encode(&brake).into(), None).await?;
                Ok((brake, true))
            }
            Err(error) => Err(error),
        }
    }

    /// Adds brakes to the index, over whatever others add at the same time. Returns what stands then.
    async fn put_index(&self, brakes: &[Brake]) -> Result<BrakeIndex, ControlError> {
        for _ in 0..ATTEMPTS {
            let (mut index, etag, whole) = match self.raw_index().await? {
                Some((Ok(index), etag)) => (index, Some(etag), true),
                Some((Err(_), etag)) => (self.index_of_records().await?, Some(etag), false),
                None => (self.index_of_records().await?, None, false),
            };
            let mut added = false;
            for brake in brakes {
                added |= index.add(brake);
            }
            if !added && whole {
                return Ok(index);
            }
            index.format = index.format.max(brake::FORMAT);
            index.generation = index.generation.saturating_add(1).max(milliseconds(Timestamp::now()));
            let written = match &etag {
                Some(etag) => {
                    self.objects.replace(INDEX, encode(&index).into(), Some(etag)).await.map(|_| ())
                }
                None => self.objects.create(INDEX, encode(&index).into()).await,
            };
            match written {
                Ok(()) => return Ok(index),
                Err(ObjectsError::Conflict(_) | ObjectsError::AlreadyExists(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(ControlError::Contended(INDEX.into()))
    }

    async fn raw_index(&self) -> Result<Option<(Result<BrakeIndex, ControlError>, Etag)>, ControlError> {
        let found = self.objects.get(INDEX).await?;
        Ok(found.map(|(bytes, etag)| (decode(INDEX, &bytes), etag)))
    }
}

fn record_key(app: &AppId, id: &BrakeId) -> String {
    format!("{RECORDS}/{app}/{id}.json")
}

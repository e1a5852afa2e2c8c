//! The leader publishes device memory: only the shards of devices whose memory changed are written, and the index only
//! when it says something else.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    sync::Arc,
};

use futures::{StreamExt as _, stream};
use jiff::{SignedDuration, Timestamp};
use sluice_core::{digest::Digest, ids::AppId};

use super::{
    ingest::Taken,
    memory::{self, Entry, FORMAT, INDEX, Index, SHARDS, Shard, place, shard_key, shards_for},
};
use crate::{
    fleet::{Fleet, remembered::Touched},
    objects::{Etag, Objects, ObjectsError},
};

/// A gateway that read the index has so long to read its shards.
const KEPT: SignedDuration = SignedDuration::from_mins(10);
/// Shards that are written at a time.
const AT_ONCE: usize = 8;

/// Why device memory could not be published. The next attempt publishes the same.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The bundle store failed.
    #[error("device memory could not be published: {0}")]
    Objects(#[from] ObjectsError),
    /// A shard could not be made.
    #[error("device memory could not be written down: {0}")]
    Io(#[from] std::io::Error),
}

/// Publishes device memory.
#[derive(Debug)]
pub struct Publisher {
    objects: Arc<dyn Objects>,
    fleet: Arc<Fleet>,
    /// What stands, as far as it is known.
    standing: Option<(Index, Option<Etag>)>,
    /// Shards that no index refers to any more, and since when.
    retired: VecDeque<(Timestamp, Digest)>,
}

/// Device memory to be written: the devices of each shard of each changed app.
type Changed = BTreeMap<AppId, (usize, BTreeMap<usize, Shard>)>;

impl Publisher {
    /// From a fleet store into a bundle store.
    pub fn new(objects: Arc<dyn Objects>, fleet: Arc<Fleet>) -> Self {
        Self { objects, fleet, standing: None, retired: VecDeque::new() }
    }

    /// Publishes what changed. `taken` is read before device memory, so that whatever it counts is in there.
    pub(super) async fn publish(&mut self, taken: &Taken, now: Timestamp) -> Result<(), PublishError> {
        let begun = self.standing.is_none();
        let (standing, etag) = match self.standing.take() {
            Some(standing) => standing,
            None => self.find(now).await?,
        };
        let mut index = Index {
            format: FORMAT,
            custom_id_key: hex::encode(self.fleet.custom_id_key()),
            gateways: taken.iter().map(|(gateway, (number, _))| (gateway.text(), *number)).collect(),
            apps: standing.apps.clone(),
        };
        let touched = self.fleet.take_touched(begun);
        let written = self.write(&mut index, &touched, begun).await;
        let put = match written {
            Ok(()) if index == standing => Ok(etag),
            Ok(()) => self.put(&index, etag.as_ref()).await.map(Some),
            Err(error) => Err(error),
        };
        match put {
            Ok(etag) => {
                self.retire(&standing, &index, now);
                self.standing = Some((index, etag));
                self.remove_retired(now).await
            }
            Err(error) => {
                // Whatever stands is looked at again, by whomever it was written.
                self.fleet.give_back_touched(touched);
                Err(error)
            }
        }
    }

    /// What stands. Shards that it does not refer to go, after a while.
    async fn find(&mut self, now: Timestamp) -> Result<(Index, Option<Etag>), PublishError> {
        let found = self.objects.get(INDEX).await?;
        let etag = found.as_ref().map(|(_, etag)| etag.clone());
        // One that is damaged or of a later format is written anew.
        let index = found.and_then(|(bytes, _)| serde_json::from_slice::<Index>(&bytes).ok());
        let index = index.filter(|index| index.format == FORMAT).unwrap_or_default();
        let used: HashSet<&Digest> = index.apps.values().flatten().flatten().collect();
        self.retired.clear();
        for meta in self.objects.list(SHARDS).await? {
            let name =
                meta.key.strip_prefix(SHARDS).and_then(|k| k.strip_prefix('/')?.strip_suffix(".json.gz"));
            let digest: Option<Digest> = name.and_then(|name| name.parse().ok());
            self.retired.extend(digest.filter(|digest| !used.contains(digest)).map(|digest| (now, digest)));
        }
        Ok((index, etag))
    }

    /// Writes the shards of what changed, and puts them into the index. With `all`, that is everything there is.
    async fn write(&self, index: &mut Index, touched: &Touched, all: bool) -> Result<(), PublishError> {
        let changed = self.fleet.changed_memory(touched, |app| index.apps.get(app).map_or(0, Vec::len));
        index.apps.retain(|app, _| !all || changed.contains_key(app));
        let mut writes = Vec::new();
        for (app, (count, shards)) in changed {
            let places = index.apps.entry(app.clone()).or_default();
            if places.len() != count {
                *places = vec![None; count];
            }
            for (number, shard) in shards {
                if shard.devices.is_empty() {
                    places[number] = None;
                } else {
                    writes.push((app.clone(), number, memory::encode(&shard)?));
                }
            }
        }
        let mut writing = stream::iter(writes)
            .map(|(app, number, bytes)| async move {
                let digest = Digest::of(&bytes);
                match self.objects.create(&shard_key(&digest), bytes.into()).await {
                    Ok(()) | Err(ObjectsError::AlreadyExists(_)) => Ok((app, number, digest)),
                    Err(error) => Err(error),
                }
            })
            .buffer_unordered(AT_ONCE);
        while let Some(written) = writing.next().await {
            let (app, number, digest) = written?;
            if let Some(places) = index.apps.get_mut(&app) {
                places[number] = Some(digest);
            }
        }
        index.apps.retain(|_, places| places.iter().any(Option::is_some));
        Ok(())
    }

    async fn put(&self, index: &Index, etag: Option<&Etag>) -> Result<Etag, PublishError> {
        let bytes = serde_json::to_vec(index).map_err(std::io::Error::from)?;
        if let Some(etag) = etag {
            return Ok(self.objects.replace(INDEX, bytes.into(), Some(etag)).await?);
        }
        self.objects.create(INDEX, bytes.into()).await?;
        let found = self.objects.get(INDEX).await?;
        Ok(found.map(|(_, etag)| etag).ok_or_else(|| ObjectsError::Conflict(INDEX.to_owned()))?)
    }

    fn retire(&mut self, before: &Index, after: &Index, now: Timestamp) {
        let used: HashSet<&Digest> = after.apps.values().flatten().flatten().collect();
        self.retired.retain(|(_, digest)| !used.contains(digest));
        let gone = before.apps.values().flatten().flatten().filter(|digest| !used.contains(digest));
        self.retired.extend(gone.map(|digest| (now, *digest)));
    }

    async fn remove_retired(&mut self, now: Timestamp) -> Result<(), PublishError> {
        while let Some((since, digest)) = self.retired.front()
            && now.duration_since(*since) >= KEPT
        {
            self.objects.delete(&shard_key(digest)).await?;
            self.retired.pop_front();
        }
        Ok(())
    }
}

impl Fleet {
    /// What changed since the last time; everything when `all` is asked for.
    fn take_touched(&self, all: bool) -> Touched {
        let remembered = &self.shared.remembered;
        let mut touched = remembered.take_touched();
        if all {
            remembered.each(|key, _, _| touched.add(key));
        }
        touched
    }

    fn give_back_touched(&self, touched: Touched) {
        self.shared.remembered.give_back(touched);
    }

    /// The devices of the shards that hold what was touched. `present` says how many shards an app has.
    fn changed_memory(&self, touched: &Touched, present: impl Fn(&AppId) -> usize) -> Changed {
        let shared = &self.shared;
        let mut names: HashMap<u32, AppId> = HashMap::new();
        for app in shared.registry.apps() {
            names.extend(app.name.parse().ok().map(|name| (app.id, name)));
        }
        let mut devices: HashMap<u32, usize> = touched.apps().map(|app| (app, 0)).collect();
        if devices.is_empty() {
            return Changed::new();
        }
        shared.remembered.each(|key, _, _| {
            if let Some(n) = devices.get_mut(&key.app) {
                *n += 1;
            }
        });
        // For each app: how many shards, and which of them.
        let mut wanted: HashMap<u32, (usize, HashSet<usize>)> = HashMap::new();
        for (app, n) in devices {
            let Some(name) = names.get(&app) else { continue };
            let present = present(name);
            let count = shards_for(n, present);
            let all = count != present;
            let numbers = (0..=255_u8).filter(|byte| all || touched.has(app, *byte));
            wanted.insert(app, (count, numbers.map(|byte| usize::from(byte) & (count - 1)).collect()));
        }
        let mut changed = Changed::new();
        for (app, (count, numbers)) in &wanted {
            let Some(name) = names.get(app) else { continue };
            let shards = numbers.iter().map(|number| (*number, Shard::default())).collect();
            changed.insert(name.clone(), (*count, shards));
        }
        shared.remembered.each(|key, memory, expires| {
            let Some((count, numbers)) = wanted.get(&key.app) else { return };
            let number = place(&key.device, *count);
            if numbers.contains(&number)
                && let Some((_, shards)) = names.get(&key.app).and_then(|name| changed.get_mut(name))
                && let Some(shard) = shards.get_mut(&number)
            {
                let device = hex::encode(key.device.as_bytes());
                shard.devices.insert(device, Entry::of(memory, expires));
            }
        });
        changed
    }
}

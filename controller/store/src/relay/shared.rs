//! A gateway's copy of the device memory that the leader publishes.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use arc_swap::ArcSwap;
use futures::{StreamExt as _, stream};
use sluice_core::{digest::Digest, memory::DeviceMemory, request::DeviceKey};

use super::{
    memory::{self, FORMAT, INDEX, Index, place, shard_key},
    segment::Gateway,
};
use crate::{
    fleet::hash::Seed,
    objects::{Etag, Fetched, Objects, ObjectsError},
};

/// Shards that are fetched at a time.
const AT_ONCE: usize = 8;

/// What is remembered of one device, and when its channel ends.
#[derive(Debug, Clone)]
pub(super) struct Remembered {
    pub(super) memory: Arc<DeviceMemory>,
    pub(super) expires: Option<i64>,
}

#[derive(Debug)]
struct Shard {
    digest: Digest,
    devices: HashMap<DeviceKey, Remembered, Seed>,
}

/// Everything that the leader remembers.
#[derive(Debug, Default)]
pub(super) struct Shared {
    apps: HashMap<String, Vec<Option<Arc<Shard>>>>,
    devices: usize,
    pub(super) custom_id_key: Option<[u8; 32]>,
}

impl Shared {
    pub(super) fn is_empty(&self) -> bool {
        self.devices == 0
    }

    pub(super) fn len(&self) -> usize {
        self.devices
    }

    pub(super) fn get(&self, app: &str, device: &DeviceKey) -> Option<&Remembered> {
        let shards = self.apps.get(app)?;
        shards[place(device, shards.len())].as_ref()?.devices.get(device)
    }
}

/// Keeps the copy at what is published.
#[derive(Debug)]
pub(super) struct Reader {
    objects: Arc<dyn Objects>,
    gateway: Gateway,
    seed: Seed,
    shared: ArcSwap<Shared>,
    etag: Mutex<Option<Etag>>,
}

/// Device memory that could not be read. What was read before stays.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    #[error(transparent)]
    Objects(#[from] ObjectsError),
    #[error("object {key} is damaged or of a later release: {reason}")]
    Damaged { key: String, reason: String },
}

impl Reader {
    pub(super) fn new(objects: Arc<dyn Objects>, gateway: Gateway, seed: Seed) -> Self {
        Self { objects, gateway, seed, shared: ArcSwap::default(), etag: Mutex::default() }
    }

    pub(super) fn load(&self) -> arc_swap::Guard<Arc<Shared>> {
        self.shared.load()
    }

    /// Looks once. Returns the number of this gateway's newest segment that is in what was read, when that changed.
    pub(super) async fn look(&self) -> Result<Option<u64>, ReadError> {
        let known = self.etag().clone();
        let fetched = match &known {
            Some(etag) => self.objects.get_if_changed(INDEX, etag).await?,
            None => match self.objects.get(INDEX).await? {
                Some((bytes, etag)) => Fetched::Changed(bytes, etag),
                None => Fetched::Missing,
            },
        };
        // Missing is never published, or lost: what is known stays (rule 5).
        let Fetched::Changed(bytes, etag) = fetched else { return Ok(None) };
        let damaged = |reason: String| ReadError::Damaged { key: INDEX.to_owned(), reason };
        let index: Index = serde_json::from_slice(&bytes).map_err(|e| damaged(e.to_string()))?;
        if index.format > FORMAT {
            return Err(damaged(format!("format {}", index.format)));
        }
        let (shared, problem) = self.assemble(&index).await;
        self.shared.store(Arc::new(shared));
        if let Some(problem) = problem {
            return Err(problem);
        }
        *self.etag() = Some(etag);
        Ok(index.gateways.get(&self.gateway.text()).copied())
    }

    /// What the index says; shards that are there already are not fetched again, and one that cannot be read stays as it
    /// was if there was one.
    async fn assemble(&self, index: &Index) -> (Shared, Option<ReadError>) {
        let before = self.shared.load_full();
        let mut apps: HashMap<String, Vec<Option<Arc<Shard>>>> = HashMap::with_capacity(index.apps.len());
        let mut wanted = Vec::new();
        for (app, digests) in &index.apps {
            // Never indexed with another mask than the writer's.
            if !digests.len().is_power_of_two() || digests.len() > memory::MOST_SHARDS {
                continue;
            }
            let old = before.apps.get(app.as_str()).filter(|old| old.len() == digests.len());
            let mut shards = Vec::with_capacity(digests.len());
            for (number, digest) in digests.iter().enumerate() {
                let old = old.and_then(|old| old[number].clone());
                if let Some(digest) = digest
                    && old.as_ref().is_none_or(|old| old.digest != *digest)
                {
                    wanted.push((app.as_str().to_owned(), number, *digest));
                }
                shards.push(digest.and(old));
            }
            apps.insert(app.as_str().to_owned(), shards);
        }
        let mut problem = None;
        let mut fetching = stream::iter(wanted)
            .map(|(app, number, digest)| async move { (app, number, self.fetch(digest).await) })
            .buffer_unordered(AT_ONCE);
        while let Some((app, number, fetched)) = fetching.next().await {
            match fetched {
                Ok(shard) => {
                    // Not those of an app that stays as it was.
                    let shards = apps.get_mut(&app).filter(|shards| shards.len() == index.apps_len(&app));
                    if let Some(shards) = shards {
                        shards[number] = Some(Arc::new(shard));
                    }
                }
                Err(error) => {
                    // With another number of shards the old ones are only of use together.
                    let old = before.apps.get(&app).filter(|old| old.len() != index.apps_len(&app));
                    if let Some(old) = old {
                        apps.insert(app, old.clone());
                    }
                    problem = Some(error);
                }
            }
        }
        let devices = apps.values().flatten().flatten().map(|shard| shard.devices.len()).sum();
        let mut key = [0; 32];
        let custom_id_key = hex::decode_to_slice(&index.custom_id_key, &mut key).ok().map(|()| key);
        (Shared { apps, devices, custom_id_key }, problem)
    }

    async fn fetch(&self, digest: Digest) -> Result<Shard, ReadError> {
        let key = shard_key(&digest);
        let damaged = |reason: String| ReadError::Damaged { key: key.clone(), reason };
        let Some((bytes, _)) = self.objects.get(&key).await? else {
            return Err(damaged("it is missing".to_owned()));
        };
        if Digest::of(&bytes) != digest {
            return Err(damaged("its SHA-256 is another one".to_owned()));
        }
        let decoding = tokio::task::spawn_blocking(move || memory::decode(&bytes));
        let decoded: Result<BTreeMap<_, _>, _> =
            decoding.await.unwrap_or_else(|e| Err(std::io::Error::other(e)));
        let decoded = decoded.map_err(|e| damaged(e.to_string()))?;
        let mut devices = HashMap::with_capacity_and_hasher(decoded.len(), self.seed);
        devices.extend(decoded.into_iter().map(|(device, memory::Entry { channel, expires, failed })| {
            (device, Remembered { memory: Arc::new(DeviceMemory { channel, failed }), expires })
        }));
        Ok(Shard { digest, devices })
    }

    fn etag(&self) -> std::sync::MutexGuard<'_, Option<Etag>> {
        self.etag.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

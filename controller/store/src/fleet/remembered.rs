//! Device memory in memory: only devices with an override or a failed bundle have an entry, and the decision asks for
//! it on every request.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use sluice_core::memory::{DeviceMemory, FAILED_FOR_SECONDS, Failed, Override};

use super::{hash::Seed, hot::Key};

const SHARDS: usize = 64;

/// More failed bundles than this are not remembered of one device: the newest count.
pub(crate) const MOST_FAILED: usize = 16;

/// A change of a device's memory that has been committed.
#[derive(Debug, Clone)]
pub(crate) enum Learned {
    /// It was put on a channel, until a time.
    Override(Override, Option<i64>),
    /// It is on no channel of its own any more.
    NoOverride,
    /// A bundle failed on it.
    Failed(Failed),
    /// Nothing is to be remembered of it.
    Forgotten,
}

#[derive(Clone, Default)]
struct Entry {
    memory: Arc<DeviceMemory>,
    /// When the override ends.
    expires: Option<i64>,
}

/// Devices whose memory changed, by app and the first byte of their key.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Touched(HashMap<u32, [u64; 4]>);

impl Touched {
    /// Adds a device.
    pub(crate) fn add(&mut self, key: &Key) {
        let byte = usize::from(key.device.as_bytes()[0]);
        self.0.entry(key.app).or_default()[byte / 64] |= 1 << (byte % 64);
    }

    /// Adds all of another one.
    pub(crate) fn join(&mut self, other: Self) {
        for (app, bytes) in other.0 {
            let ours = self.0.entry(app).or_default();
            ours.iter_mut().zip(bytes).for_each(|(ours, theirs)| *ours |= theirs);
        }
    }

    /// The apps.
    pub(crate) fn apps(&self) -> impl Iterator<Item = u32> {
        self.0.keys().copied()
    }

    /// Whether devices of this app whose key begins so have changed.
    pub(crate) fn has(&self, app: u32, byte: u8) -> bool {
        self.0.get(&app).is_some_and(|bytes| bytes[usize::from(byte) / 64] >> (byte % 64) & 1 == 1)
    }
}

/// All device memories.
pub(crate) struct Remembered {
    shards: Box<[RwLock<HashMap<Key, Entry, Seed>>]>,
    touched: Mutex<Touched>,
    entries: AtomicUsize,
    most: usize,
}

impl Remembered {
    pub(crate) fn new(seed: Seed, most: usize) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| RwLock::new(HashMap::with_hasher(seed))).collect(),
            touched: Mutex::default(),
            entries: AtomicUsize::new(0),
            most,
        }
    }

    /// What is remembered of a device.
    pub(crate) fn get(&self, key: &Key) -> Option<Arc<DeviceMemory>> {
        let shard = self.shard(key).read().unwrap_or_else(PoisonError::into_inner);
        shard.get(key).map(|entry| Arc::clone(&entry.memory))
    }

    /// Takes in what was committed. Failed bundles of further devices are not held once the bound is reached; overrides
    /// always are.
    pub(crate) fn learn(&self, key: Key, learned: Learned) {
        let mut shard = self.shard(&key).write().unwrap_or_else(PoisonError::into_inner);
        let known = shard.get(&key).cloned();
        let fresh = known.is_none();
        if fresh && matches!(learned, Learned::Failed(_)) && self.len() >= self.most {
            return;
        }
        self.touched().add(&key);
        let mut entry = known.unwrap_or_default();
        let memory = Arc::make_mut(&mut entry.memory);
        match learned {
            Learned::Override(chosen, expires) => {
                memory.channel = Some(chosen);
                entry.expires = expires;
            }
            Learned::NoOverride => {
                memory.channel = None;
                entry.expires = None;
            }
            Learned::Forgotten => {
                *memory = DeviceMemory::default();
                entry.expires = None;
            }
            Learned::Failed(failed) => {
                memory.failed.retain(|f| f.digest != failed.digest);
                memory.failed.insert(0, failed);
                memory.failed.truncate(MOST_FAILED);
            }
        }
        if memory.is_empty() {
            if shard.remove(&key).is_some() {
                self.entries.fetch_sub(1, Ordering::Relaxed);
            }
        } else {
            shard.insert(key, entry);
            self.entries.fetch_add(usize::from(fresh), Ordering::Relaxed);
        }
    }

    /// Whether a bundle is already known to have failed on a device with the same native version, not long ago.
    pub(crate) fn knows(&self, key: &Key, failed: &Failed) -> bool {
        self.get(key).is_some_and(|memory| {
            memory.failed.iter().any(|f| {
                f.digest == failed.digest
                    && f.native == failed.native
                    && (0..3600).contains(&(failed.at - f.at))
            })
        })
    }

    /// Drops overrides and failures whose time is over.
    pub(crate) fn expire(&self, now: i64) {
        for shard in &self.shards {
            let mut shard = shard.write().unwrap_or_else(PoisonError::into_inner);
            let before = shard.len();
            shard.retain(|key, entry| {
                let over = entry.expires.is_some_and(|at| at <= now);
                let stale = entry.memory.failed.iter().any(|f| now - f.at >= FAILED_FOR_SECONDS);
                if over || stale {
                    self.touched().add(key);
                    let memory = Arc::make_mut(&mut entry.memory);
                    memory.failed.retain(|f| now - f.at < FAILED_FOR_SECONDS);
                    if over {
                        memory.channel = None;
                        entry.expires = None;
                    }
                }
                !entry.memory.is_empty()
            });
            self.entries.fetch_sub(before - shard.len(), Ordering::Relaxed);
        }
    }

    /// Takes what was changed since it was last asked.
    pub(crate) fn take_touched(&self) -> Touched {
        std::mem::take(&mut *self.touched())
    }

    /// Gives back what could not be told to others.
    pub(crate) fn give_back(&self, touched: Touched) {
        self.touched().join(touched);
    }

    /// Hands out every entry, and when its override ends.
    pub(crate) fn each(&self, mut each: impl FnMut(&Key, &Arc<DeviceMemory>, Option<i64>)) {
        for shard in &self.shards {
            let shard = shard.read().unwrap_or_else(PoisonError::into_inner);
            for (key, entry) in shard.iter() {
                each(key, &entry.memory, entry.expires);
            }
        }
    }

    fn touched(&self) -> MutexGuard<'_, Touched> {
        self.touched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.load(Ordering::Relaxed)
    }

    fn shard(&self, key: &Key) -> &RwLock<HashMap<Key, Entry, Seed>> {
        &self.shards[(usize::from(key.device.as_bytes()[15]) ^ key.app as usize) % SHARDS]
    }
}

#[cfg(test)]
mod tests {
    use sluice_core::{digest::Digest, memory::OverrideBy, native::NativeVersion, request::DeviceKey};

    use super::*;

    const DAY: i64 = 24 * 3600;

    fn key(n: u8) -> Key {
        Key { app: 1, device: DeviceKey::from_bytes([n; 16]) }
    }

    fn failed(n: u8, at: i64) -> Learned {
        Learned::Failed(Failed { digest: Digest::of(&[n]), native: NativeVersion(1, 0, 0), at })
    }

    fn chosen(expires: Option<i64>) -> Learned {
        let channel = "beta".parse().unwrap();
        Learned::Override(Override { channel, by: OverrideBy::Support }, expires)
    }

    #[test]
    fn entries_come_and_go() {
        let all = Remembered::new(Seed::random(), 10);
        all.learn(key(1), failed(1, 0));
        all.learn(key(1), chosen(Some(DAY)));
        all.learn(key(2), chosen(None));
        all.learn(key(2), Learned::NoOverride);
        assert_eq!((all.len(), all.get(&key(2))), (1, None));
        all.expire(DAY);
        assert!(all.get(&key(1)).is_some_and(|m| m.channel.is_none() && m.failed.len() == 1));
        all.expire(30 * DAY);
        assert_eq!((all.len(), all.get(&key(1))), (0, None));
    }

    #[test]
    fn failures_are_bounded_and_overrides_are_not() {
        let all = Remembered::new(Seed::random(), 2);
        for n in 0..5 {
            all.learn(key(n), failed(n, 0));
        }
        assert_eq!(all.len(), 2);
        all.learn(key(9), chosen(None));
        assert!(all.get(&key(9)).is_some());
        for n in 0..40 {
            all.learn(key(0), failed(n, i64::from(n)));
        }
        assert_eq!(all.get(&key(0)).unwrap().failed.len(), MOST_FAILED);
        assert_eq!(all.get(&key(0)).unwrap().failed[0].digest, Digest::of(&[39]));
    }
}

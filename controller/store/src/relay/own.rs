//! What a gateway wrote itself and the leader has not said yet that it knows.

use std::{
    collections::HashMap,
    sync::{
        PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicUsize, Ordering},
    },
};

use sluice_core::memory::{DeviceMemory, Failed, Override};

use super::shared::Remembered;
use crate::fleet::{
    hash::Seed,
    hot::Key,
    remembered::{Learned, MOST_FAILED},
};

/// The leader is taken to be gone for good after this many seconds: what was written then is told by nobody else.
const KEPT: i64 = 24 * 3600;
/// Devices with failed bundles that are held. Channels always are.
const MOST: usize = 200_000;

/// The writes of one device.
#[derive(Debug, Clone, Default)]
struct Writes {
    /// The channel that it was put on, or that it was taken off.
    channel: Option<Noted<(Option<Override>, Option<i64>)>>,
    failed: Vec<Noted<Failed>>,
}

#[derive(Debug, Clone)]
struct Noted<T> {
    what: T,
    /// The segment that it is in.
    number: u64,
    at: i64,
}

/// The own writes.
#[derive(Debug)]
pub(super) struct Own {
    devices: RwLock<HashMap<Key, Writes, Seed>>,
    len: AtomicUsize,
}

impl Own {
    pub(super) fn new(seed: Seed) -> Self {
        Self { devices: RwLock::new(HashMap::with_hasher(seed)), len: AtomicUsize::new(0) }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len.load(Ordering::Relaxed) == 0
    }

    /// Notes what segment `number` says, once it is written.
    pub(super) fn learn(&self, number: u64, at: i64, learned: impl IntoIterator<Item = (Key, Learned)>) {
        let mut devices = self.write();
        for (key, learned) in learned {
            let full = devices.len() >= MOST && !devices.contains_key(&key);
            if full && matches!(learned, Learned::Failed(_)) {
                continue;
            }
            let writes = devices.entry(key).or_default();
            match learned {
                Learned::Override(chosen, expires) => {
                    writes.channel = Some(Noted { what: (Some(chosen), expires), number, at });
                }
                Learned::NoOverride => writes.channel = Some(Noted { what: (None, None), number, at }),
                Learned::Failed(failed) => {
                    writes.failed.retain(|known| known.what.digest != failed.digest);
                    writes.failed.insert(0, Noted { what: failed, number, at });
                    writes.failed.truncate(MOST_FAILED);
                }
                Learned::Forgotten => *writes = Writes::default(),
            }
        }
        self.len.store(devices.len(), Ordering::Relaxed);
    }

    /// Forgets what the leader knows by now, and what is too old.
    pub(super) fn forget(&self, known: Option<u64>, now: i64) {
        if self.is_empty() {
            return;
        }
        let over = |number: u64, at: i64| known.is_some_and(|known| number <= known) || now - at > KEPT;
        let mut devices = self.write();
        devices.retain(|_, writes| {
            writes.channel.take_if(|noted| over(noted.number, noted.at));
            writes.failed.retain(|noted| !over(noted.number, noted.at));
            writes.channel.is_some() || !writes.failed.is_empty()
        });
        self.len.store(devices.len(), Ordering::Relaxed);
    }

    /// What is remembered of a device when `shared` is what the leader says; `None` when nothing was written here.
    pub(super) fn over(&self, key: &Key, shared: Option<&Remembered>) -> Option<Remembered> {
        let devices = self.read();
        let writes = devices.get(key)?;
        let mut memory = shared.map(|shared| DeviceMemory::clone(&shared.memory)).unwrap_or_default();
        let mut expires = shared.and_then(|shared| shared.expires);
        if let Some(Noted { what: (chosen, until), .. }) = &writes.channel {
            memory.channel.clone_from(chosen);
            expires = *until;
        }
        for Noted { what: failed, .. } in writes.failed.iter().rev() {
            memory.failed.retain(|known| known.digest != failed.digest);
            memory.failed.insert(0, failed.clone());
        }
        Some(Remembered { memory: memory.into(), expires })
    }

    fn read(&self) -> RwLockReadGuard<'_, HashMap<Key, Writes, Seed>> {
        self.devices.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<Key, Writes, Seed>> {
        self.devices.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use sluice_core::{digest::Digest, memory::OverrideBy, native::NativeVersion, request::DeviceKey};

    use super::*;

    fn key(n: u8) -> Key {
        Key { app: 1, device: DeviceKey::from_bytes([n; 16]) }
    }

    fn chosen(name: &str) -> Learned {
        Learned::Override(Override { channel: name.parse().unwrap(), by: OverrideBy::Device }, None)
    }

    fn failed(n: u8) -> Failed {
        Failed { digest: Digest::of(&[n]), native: NativeVersion(1, 0, 0), at: 0 }
    }

    #[test]
    fn own_writes_win_until_the_leader_has_them() {
        let own = Own::new(Seed::random());
        let memory = DeviceMemory {
            channel: Some(Override { channel: "old".parse().unwrap(), by: OverrideBy::Support }),
            failed: vec![failed(1), failed(2)],
        };
        let shared = Remembered { memory: memory.into(), expires: Some(9) };
        assert!(own.over(&key(1), Some(&shared)).is_none());
        own.learn(1, 0, [(key(1), chosen("beta"))]);
        own.learn(2, 0, [(key(1), Learned::Failed(failed(2))), (key(1), Learned::Failed(failed(3)))]);
        let seen = own.over(&key(1), Some(&shared)).unwrap();
        assert_eq!(seen.memory.channel.as_ref().unwrap().channel.as_str(), "beta");
        let order: Vec<Digest> = seen.memory.failed.iter().map(|f| f.digest).collect();
        assert_eq!((order, seen.expires), (vec![failed(3).digest, failed(2).digest, failed(1).digest], None));
        own.learn(3, 0, [(key(1), Learned::NoOverride)]);
        assert_eq!(own.over(&key(1), Some(&shared)).unwrap().memory.channel, None);
        assert_eq!(own.over(&key(1), None).unwrap().memory.failed.len(), 2);

        own.forget(Some(2), 0);
        let seen = own.over(&key(1), Some(&shared)).unwrap();
        assert_eq!((seen.memory.channel.clone(), seen.memory.failed.len()), (None, 2));
        own.forget(Some(3), 0);
        assert!(own.is_empty() && own.over(&key(1), Some(&shared)).is_none());
    }

    #[test]
    fn a_leader_that_is_gone_for_good_is_not_waited_for() {
        let own = Own::new(Seed::random());
        own.learn(1, 0, [(key(1), chosen("beta"))]);
        own.forget(None, KEPT);
        assert!(!own.is_empty());
        own.forget(None, KEPT + 1);
        assert!(own.is_empty());
    }
}

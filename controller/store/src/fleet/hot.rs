//! The last written state of recently seen devices: what makes a check-in that changes nothing cost one look-up.

use std::{
    collections::HashMap,
    hash::{BuildHasher, Hasher},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use sluice_core::request::DeviceKey;

use super::{
    hash::Seed,
    registry::KnownVersion,
    trials::QUIET_SECONDS,
    types::{CheckIn, SESSION_SECONDS},
};

const SHARDS: usize = 64;

/// After this many seconds on a new version without a failure it counts as started. Twice the default
/// `appReadyTimeout` (10 s), and more than most apps set.
pub(crate) const CONFIRM_SECONDS: i64 = 30;

/// A device of an app.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) app: u32,
    pub(crate) device: DeviceKey,
}

/// What was last written of a device.
struct Entry {
    /// Over everything but the times.
    print: u64,
    /// Latest contact.
    seen: u32,
    /// Latest contact that was written.
    written: u32,
    /// When to look again whether the running version started; 0 when there is nothing to confirm.
    confirm: u32,
    /// Of the running version.
    running: u32,
    /// Of the trial that it is in; 0 for none.
    trial: u32,
    /// When a contact shows for the first time that an enrolled device is not silent; 0 when it has.
    watch: u32,
    offer: Option<Arc<KnownVersion>>,
}

/// Why a check-in has to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Change {
    /// The latest contact that is known in memory.
    pub(crate) since: Option<i64>,
}

/// Two generations per shard: when the young one is full it becomes the old one, and the old one is forgotten. What is
/// used moves back. A forgotten device costs one look into the database at its next change.
struct Shard {
    young: HashMap<Key, Entry, Seed>,
    old: HashMap<Key, Entry, Seed>,
}

/// The cache.
pub(crate) struct Hot {
    shards: Box<[Mutex<Shard>]>,
    generation: usize,
    seed: Seed,
}

impl Hot {
    pub(crate) fn new(seed: Seed, most: usize) -> Self {
        let shard =
            || Mutex::new(Shard { young: HashMap::with_hasher(seed), old: HashMap::with_hasher(seed) });
        Self { shards: (0..SHARDS).map(|_| shard()).collect(), generation: (most / SHARDS / 2).max(1), seed }
    }

    /// The fingerprint of everything in a check-in whose change is worth writing.
    pub(crate) fn print(&self, c: &CheckIn<'_>) -> u64 {
        let mut hash = self.seed.build_hasher();
        hash.write_u8(c.platform as u8 | u8::from(c.production) << 4 | u8::from(c.emulator) << 5);
        for text in [c.plugin, c.native, c.os, c.running] {
            hash.text(text);
        }
        for text in [c.channel, c.custom_id, c.offered.map(|o| o.version)] {
            match text {
                Some(text) => hash.text(text),
                None => hash.write_u64(u64::MAX),
            }
        }
        if let Some(offer) = c.offered {
            hash.write(offer.digest.as_bytes());
        }
        hash.write_u32(self.trial(c));
        hash.finish()
    }

    /// The fingerprint of the trial that a check-in speaks of; 0 for none. A network prefix changes with the street.
    fn trial(&self, c: &CheckIn<'_>) -> u32 {
        let Some(trial) = &c.trial else { return 0 };
        let mut hash = self.seed.build_hasher();
        hash.text(trial.channel);
        hash.text(trial.line);
        hash.write_u64(trial.membership.serial);
        hash.write_u32(trial.membership.level);
        #[expect(clippy::cast_possible_truncation, reason = "a fingerprint")]
        let print = hash.finish() as u32;
        print | 1
    }

    /// Compares a check-in with what was written: `None` when it changes nothing, after noting the contact. `touch` is
    /// called with the offer of such a device.
    pub(crate) fn changed(
        &self,
        key: &Key,
        print: u64,
        at: i64,
        touch: impl FnOnce(&Arc<KnownVersion>),
    ) -> Option<Change> {
        let mut shard = self.shard(key);
        // The usual case first, with one look-up.
        if let Some(entry) = shard.young.get_mut(key) {
            return entry.compare(print, at, touch);
        }
        match shard.get(key, self.generation) {
            Some(entry) => entry.compare(print, at, touch),
            None => Some(Change { since: None }),
        }
    }

    /// Notes what was handed to the writer. `running` is given when it is a version that was ever offered: when it is
    /// new on the device, the device is looked at again [`CONFIRM_SECONDS`] later. So is a device that enrolled, because
    /// its next contact shows that it is not silent.
    pub(crate) fn store(
        &self,
        key: Key,
        print: u64,
        check_in: &CheckIn<'_>,
        running: Option<&str>,
        offer: Option<Arc<KnownVersion>>,
    ) {
        let (at, trial) = (check_in.at, self.trial(check_in));
        #[expect(clippy::cast_possible_truncation, reason = "a fingerprint")]
        let running = running.map_or(0, |running| self.seed.hash_one(running) as u32 | 1);
        let mut shard = self.shard(&key);
        let known = shard.get(&key, self.generation);
        let (mut confirm, mut watch) = (0, 0);
        match &known {
            Some(entry) if entry.running == running => {
                confirm = if i64::from(entry.confirm) > at { entry.confirm } else { 0 };
            }
            _ if running != 0 => confirm = short(at + CONFIRM_SECONDS),
            _ => {}
        }
        match &known {
            _ if trial != 0 && known.as_ref().is_none_or(|entry| entry.trial != trial) => {
                watch = short(at + QUIET_SECONDS + 1);
            }
            Some(entry) if i64::from(entry.watch) > at => watch = entry.watch,
            _ => {}
        }
        let entry =
            Entry { print, seen: short(at), written: short(at), confirm, running, trial, watch, offer };
        shard.put(key, entry, self.generation);
    }

    /// Notes a contact by other means than a check-in. True when it has to be written: the device is not cached, or a
    /// new session began, or the written time is old.
    pub(crate) fn contact(&self, key: &Key, at: i64) -> Contact {
        let mut shard = self.shard(key);
        let Some(entry) = shard.get(key, self.generation) else { return Contact::Unknown };
        let seen = i64::from(entry.seen);
        entry.seen = entry.seen.max(short(at));
        let watched = entry.watch != 0 && at >= i64::from(entry.watch);
        if watched || at > i64::from(entry.written) + SESSION_SECONDS {
            entry.watch = if watched { 0 } else { entry.watch };
            entry.written = short(at);
            return Contact::Write { since: seen };
        }
        Contact::Nothing
    }

    /// Whether a device is cached, and what it was last offered.
    pub(crate) fn last_offer(&self, key: &Key) -> (bool, Option<Arc<KnownVersion>>) {
        let mut shard = self.shard(key);
        let entry = shard.get(key, self.generation);
        (entry.is_some(), entry.and_then(|entry| entry.offer.clone()))
    }

    /// Forgets a device, so that its next check-in is written whatever it says.
    pub(crate) fn forget(&self, key: &Key) {
        let mut shard = self.shard(key);
        shard.young.remove(key);
        shard.old.remove(key);
    }

    /// How many devices are cached.
    pub(crate) fn len(&self) -> usize {
        self.shards
            .iter()
            .map(|shard| {
                let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
                shard.young.len() + shard.old.len()
            })
            .sum()
    }

    fn shard(&self, key: &Key) -> MutexGuard<'_, Shard> {
        let hash = usize::from(key.device.as_bytes()[15]) ^ key.app as usize;
        self.shards[hash % SHARDS].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a contact by other means than a check-in needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Contact {
    Unknown,
    Write { since: i64 },
    Nothing,
}

impl Entry {
    fn compare(&mut self, print: u64, at: i64, touch: impl FnOnce(&Arc<KnownVersion>)) -> Option<Change> {
        let (seen, written) = (i64::from(self.seen), i64::from(self.written));
        // A clock that jumped back by more than a session is believed, and the times start again.
        let quiet = (written - SESSION_SECONDS..=written + SESSION_SECONDS).contains(&at)
            && at <= seen + SESSION_SECONDS;
        let due = |time: u32| time != 0 && at >= i64::from(time);
        if self.print == print && quiet && !due(self.confirm) && !due(self.watch) {
            self.seen = self.seen.max(short(at));
            if let Some(offer) = &self.offer {
                touch(offer);
            }
            return None;
        }
        Some(Change { since: Some(seen) })
    }
}

impl Shard {
    fn get(&mut self, key: &Key, generation: usize) -> Option<&mut Entry> {
        if !self.young.contains_key(key) {
            let entry = self.old.remove(key)?;
            self.put(*key, entry, generation);
        }
        self.young.get_mut(key)
    }

    fn put(&mut self, key: Key, entry: Entry, generation: usize) {
        self.old.remove(&key);
        if self.young.len() >= generation && !self.young.contains_key(&key) {
            let empty = HashMap::with_hasher(*self.young.hasher());
            self.old = std::mem::replace(&mut self.young, empty);
        }
        self.young.insert(key, entry);
    }
}

/// Seconds since 1970 that fit until 2106.
fn short(at: i64) -> u32 {
    u32::try_from(at.max(0)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use sluice_core::trial::{Arm, Membership};

    use super::*;
    use crate::fleet::{Enrolling, testing::check};

    fn key(n: u8) -> Key {
        Key { app: 1, device: DeviceKey::from_bytes([n, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]) }
    }

    #[test]
    fn what_is_used_stays_and_the_rest_is_forgotten() {
        // All in one shard, two generations of four.
        let hot = Hot::new(Seed::random(), SHARDS * 8);
        let known = |n: u8| hot.changed(&key(n), 7, 1_000, |_| {}).is_none();
        for n in 0..100 {
            hot.store(key(n), 7, &check(1, 1_000, "", None), None, None);
            assert!(known(0), "used all the time, forgotten after {n}");
            assert!(hot.len() <= 8 + 1);
        }
        assert!(known(99) && !known(1));
        hot.forget(&key(99));
        assert!(!known(99));
    }

    #[test]
    fn a_new_version_is_looked_at_again_once() {
        let hot = Hot::new(Seed::random(), 1_000);
        let quiet = |print, at| hot.changed(&key(1), print, at, |_| {}).is_none();
        hot.store(key(1), 1, &check(1, 1_000, "", None), Some("2.0.0"), None);
        assert!(quiet(1, 1_000 + CONFIRM_SECONDS - 1));
        // Another field changes before the time has come: it stays due.
        hot.store(key(1), 2, &check(1, 1_010, "", None), Some("2.0.0"), None);
        assert!(quiet(2, 1_011) && !quiet(2, 1_000 + CONFIRM_SECONDS));
        hot.store(key(1), 2, &check(1, 1_000 + CONFIRM_SECONDS, "", None), Some("2.0.0"), None);
        assert!(quiet(2, 1_000 + 2 * CONFIRM_SECONDS));
        assert!(!quiet(2, 1_000 + CONFIRM_SECONDS + SESSION_SECONDS + 1), "a new session");
    }

    #[test]
    fn the_first_contact_after_an_enrolment_is_written_once() {
        let membership = Membership { serial: 1, level: 0, arm: Arm::Control };
        let trial = |level, prefix| Enrolling {
            channel: "production",
            line: "*",
            membership: Membership { level, ..membership },
            candidate: "2.0.0",
            started: 0,
            prefix,
        };
        let hot = Hot::new(Seed::random(), 1_000);
        let comes = |at: i64, trial| CheckIn { trial: Some(trial), ..check(1, at, "", None) };
        // Whether it is written; as the store does it.
        let written = |check: &CheckIn<'_>| {
            let print = hot.print(check);
            let changed = hot.changed(&key(1), print, check.at, |_| {}).is_some();
            if changed {
                hot.store(key(1), print, check, None, None);
            }
            changed
        };
        assert!(written(&comes(1_000, trial(0, None))));
        assert!(!written(&comes(1_000 + QUIET_SECONDS, trial(0, Some(5)))), "another street");
        assert!(written(&comes(1_001 + QUIET_SECONDS, trial(0, None))));
        assert!(!written(&comes(1_500, trial(0, None))));
        assert!(written(&comes(1_501, trial(1, None))), "the next level");
        assert_eq!(hot.contact(&key(1), 1_550), Contact::Nothing);
        assert_eq!(
            hot.contact(&key(1), 1_600),
            Contact::Write { since: 1_550 },
            "a report is a contact as well"
        );
        assert!(!written(&comes(1_601, trial(1, None))));
    }
}

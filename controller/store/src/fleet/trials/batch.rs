//! What check-ins and events do to enrolments. No database: rows are loaded before and written after.

use std::collections::{BTreeSet, HashMap};

use sluice_core::{
    channel::Platform,
    trial::{Arm, Discount, Entry, Metric, Traits},
};

use super::{EnrolmentRow, QUIET_SECONDS, Trial, Trials, sql};
use crate::fleet::{
    dialect::Connection,
    hot::Key,
    model::{About, DeviceRow},
    queue::Pending,
};

/// A device is young for so long, in seconds.
const YOUNG: i64 = 7 * 24 * 3600;

/// Young devices of one network prefix that weigh in any case, and the part of all enrolments that they may be.
const CROWD: u64 = 20;
const CROWD_SHARE: u64 = 20;

/// Gaps between sessions that must be known before silence says anything.
const GAPS: usize = 3;
const SHORTEST_PATIENCE: i64 = 3600;
const LONGEST_PATIENCE: i64 = 72 * 3600;

/// A device's clock may be off by so much, in seconds, and what it reports is still taken for later than its enrolment.
const SKEW: i64 = 60;

/// What a new event says about the device and the bundle that it is about, whether or not the same was said before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts")]
pub(crate) struct Said {
    /// The app is not well, whatever runs.
    pub(crate) ill: bool,
    /// The bundle did not start.
    pub(crate) launch_failed: bool,
    /// The bundle could not be installed.
    pub(crate) install_failed: bool,
    /// The bundle started.
    pub(crate) started: bool,
}

/// When something was reported.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    /// By our clock.
    pub(crate) received: i64,
    /// When it happened; nothing when the device's clock says something that cannot be.
    pub(crate) happened: Option<i64>,
}

/// What devices did in a batch.
#[derive(Clone, Copy)]
pub(crate) struct Seen<'a> {
    /// Their rows, after it.
    pub(crate) devices: &'a HashMap<Key, DeviceRow>,
    /// Check-ins, in order.
    pub(crate) check_ins: &'a [&'a Pending],
    /// Contacts by reports: who, since when memory knew the device, and when.
    pub(crate) contacts: &'a [(Key, Option<i64>, i64)],
}

/// Young devices of one network prefix that enrolled in a rollout.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Prefix {
    pub(crate) enrolled: u64,
    pub(crate) at: i64,
}

/// The enrolments that a batch is about.
#[derive(Debug, Default)]
pub(crate) struct Enrolments {
    /// In rollouts that have not ended.
    pub(super) rows: HashMap<Key, Vec<EnrolmentRow>>,
    pub(super) changed: BTreeSet<(Key, i64)>,
    pub(super) prefixes: HashMap<(i64, u64), Prefix>,
    pub(super) changed_prefixes: BTreeSet<(i64, u64)>,
    /// Our clock. Nothing is later in a journal, whatever the clocks of gateways say.
    now: i64,
    /// Since when contacts are taken in without a break.
    up_since: i64,
}

impl Enrolments {
    pub(crate) fn new(now: i64, up_since: i64) -> Self {
        Self { now, up_since, ..Self::default() }
    }

    /// Reads what the devices of a batch are enrolled in, and takes in that they were here, and who enrols. `reporting` are
    /// devices with reports that may concern a trial.
    pub(crate) async fn take_in(
        &mut self,
        connection: &mut Connection,
        trials: &mut Trials,
        seen: &Seen<'_>,
        reporting: impl Iterator<Item = Key>,
    ) -> Result<(), sqlx::Error> {
        let Seen { devices, check_ins, contacts } = *seen;
        let asking = check_ins.iter().filter(|c| c.trial.is_some() || trials.any(c.key.app)).map(|c| c.key);
        let others = contacts.iter().map(|(key, ..)| *key).chain(reporting).filter(|key| trials.any(key.app));
        let concerned: BTreeSet<Key> = asking.chain(others).collect();
        let concerned: Vec<Key> = concerned.into_iter().collect();
        self.load(connection, trials, &concerned).await?;
        let enrolling =
            check_ins.iter().filter_map(|c| Some((*c, c.trial.as_deref()?, devices.get(&c.key)?)));
        self.load_prefixes(connection, trials, enrolling).await?;
        for pending in check_ins {
            self.contact(pending.key, pending.at);
            if let (Some(trial), Some(device)) = (&pending.trial, devices.get(&pending.key)) {
                self.enrol(trials, pending.key, trial, pending.at, device);
            }
        }
        for (key, _, at) in contacts {
            self.contact(*key, *at);
        }
        Ok(())
    }

    /// Reads what devices are enrolled in.
    async fn load(
        &mut self,
        connection: &mut Connection,
        trials: &Trials,
        keys: &[Key],
    ) -> Result<(), sqlx::Error> {
        for (key, row) in sql::enrolments(connection, keys).await? {
            if trials.running(row.rollout).is_some() {
                self.rows.entry(key).or_default().push(row);
            }
        }
        Ok(())
    }

    /// Reads how many there are already of the network prefixes that young devices come from.
    async fn load_prefixes<'a>(
        &mut self,
        connection: &mut Connection,
        trials: &mut Trials,
        enrolling: impl Iterator<Item = (&'a Pending, &'a Trial, &'a DeviceRow)>,
    ) -> Result<(), sqlx::Error> {
        let mut keys = BTreeSet::new();
        for (pending, trial, device) in enrolling {
            if is_young(device, pending.at)
                && let Some(prefix) = trial.prefix
                && let Some(rollout) = trials.resolve(pending.key.app, trial)
            {
                keys.insert((rollout, prefix));
            }
        }
        let keys: Vec<_> = keys.into_iter().collect();
        self.prefixes = sql::prefixes(connection, &keys).await?;
        Ok(())
    }

    /// Notes a contact: the device is not silent.
    fn contact(&mut self, key: Key, at: i64) {
        for row in self.rows.get_mut(&key).into_iter().flatten() {
            let in_time = row.due(self.up_since).is_some_and(|due| at <= due);
            if in_time && at > row.at + QUIET_SECONDS {
                row.silence_due = None;
                self.changed.insert((key, row.rollout));
            }
        }
    }

    /// Enrols a device in the level that it says, unless it is in that one or a later one.
    fn enrol(&mut self, trials: &mut Trials, key: Key, trial: &Trial, at: i64, device: &DeviceRow) {
        let Some(rollout) = trials.resolve(key.app, trial) else { return };
        let at = at.min(self.now);
        let (level, arm) = (trial.membership.level, trial.membership.arm);
        let rows = self.rows.entry(key).or_default();
        let before = rows.iter().position(|row| row.rollout == rollout);
        if let Some(before) = before {
            if rows[before].level >= level {
                return;
            }
            let before = rows.swap_remove(before);
            if let Some(ordinal) = before.ordinal {
                trials.note(rollout, Entry::Left { level: before.level, ordinal });
            }
        }
        let discount = self.discount(trials, rollout, trial, at, device);
        let ordinal = trials.place(rollout, level, discount);
        trials.note(
            rollout,
            match discount {
                None => Entry::Enrolled { level, arm, traits: traits(&device.about), at },
                Some(why) => Entry::Discounted { level, arm, why },
            },
        );
        let patience = ordinal.and_then(|_| patience(&device.gaps));
        let silence_due = patience.map(|patience| at + patience);
        let row = EnrolmentRow {
            rollout,
            level,
            arm,
            at,
            ordinal,
            discount,
            failed: 0,
            launched_at: None,
            patience,
            silence_due,
        };
        self.rows.entry(key).or_default().push(row);
        self.changed.insert((key, rollout));
    }

    /// Why an enrolment weighs nothing.
    fn discount(
        &mut self,
        trials: &Trials,
        rollout: i64,
        trial: &Trial,
        at: i64,
        device: &DeviceRow,
    ) -> Option<Discount> {
        let of = trials.running(rollout)?;
        if !device.about.production || device.about.emulator {
            return Some(Discount::NotProduction);
        }
        if device.first_seen >= of.started {
            return Some(Discount::New);
        }
        if is_young(device, at)
            && let Some(prefix) = trial.prefix
        {
            let enrolled: u64 = of.levels.values().map(|level| u64::from(level.enrolled)).sum();
            let counted = self.prefixes.entry((rollout, prefix)).or_default();
            if counted.enrolled >= CROWD.max(enrolled / CROWD_SHARE) {
                return Some(Discount::Crowd);
            }
            *counted = Prefix { enrolled: counted.enrolled + 1, at };
            self.changed_prefixes.insert((rollout, prefix));
        }
        None
    }

    /// Takes in what a new event says. `version` is what it is about, when that is known.
    pub(crate) fn said(
        &mut self,
        trials: &mut Trials,
        key: Key,
        said: Said,
        version: Option<&str>,
        when: Moment,
    ) {
        for row in self.rows.get_mut(&key).into_iter().flatten() {
            let Some(of) = trials.running(row.rollout) else { continue };
            let at = |row: &EnrolmentRow| {
                when.happened.unwrap_or(when.received).max(row.at).min(self.now.max(row.at))
            };
            let soon = when
                .happened
                .is_some_and(|at| (row.at - SKEW..=row.at.saturating_add(of.horizon)).contains(&at));
            let later = when.happened.unwrap_or(when.received) >= row.at - SKEW;
            let of_candidate = row.arm == Arm::Treatment && version == Some(&*of.candidate) && later;
            let entries = [
                (said.ill && soon).then(|| row.fail(Metric::Health, at(row))),
                (said.launch_failed && of_candidate).then(|| row.fail(Metric::Launch, at(row))),
                (said.install_failed && of_candidate).then(|| row.fail(Metric::Install, at(row))),
                (said.started && of_candidate).then(|| row.launch(at(row))),
            ];
            for entry in entries.into_iter().flatten().flatten() {
                self.changed.insert((key, row.rollout));
                trials.note(row.rollout, entry);
            }
        }
    }

    /// A device asked while it ran a version that is known to have started on it.
    pub(crate) fn runs(&mut self, trials: &mut Trials, key: Key, version: &str, at: i64) {
        for row in self.rows.get_mut(&key).into_iter().flatten() {
            let Some(of) = trials.running(row.rollout) else { continue };
            if row.arm == Arm::Treatment
                && of.candidate == version
                && at > row.at
                && let Some(entry) = row.launch(at.min(self.now.max(row.at)))
            {
                self.changed.insert((key, row.rollout));
                trials.note(row.rollout, entry);
            }
        }
    }
}

/// Whether a network prefix has only so many of its kind.
fn is_young(device: &DeviceRow, at: i64) -> bool {
    at - device.first_seen < YOUNG
}

/// How long the device may be silent, in seconds: three times the median of its gaps.
fn patience(gaps: &[u32]) -> Option<i64> {
    if gaps.len() < GAPS {
        return None;
    }
    let mut gaps = gaps.to_vec();
    gaps.sort_unstable();
    let (low, high) = (gaps[(gaps.len() - 1) / 2], gaps[gaps.len() / 2]);
    let median_twice = i64::from(low) + i64::from(high);
    Some((3 * median_twice / 2).clamp(SHORTEST_PATIENCE, LONGEST_PATIENCE))
}

fn traits(about: &About) -> Traits {
    let digits: String = about.os.chars().take_while(char::is_ascii_digit).collect();
    Traits {
        // Whatever is in a row was written from a platform.
        platform: Platform::from_name(about.platform).unwrap_or(Platform::Android),
        os: digits.parse().unwrap_or(0),
        native: about.native.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_is_three_median_gaps() {
        const HOUR: u32 = 3600;
        assert_eq!(patience(&[HOUR, HOUR]), None);
        assert_eq!(patience(&[10 * HOUR, HOUR, 2 * HOUR]), Some(6 * 3600));
        assert_eq!(patience(&[HOUR, 2 * HOUR, 3 * HOUR, 100 * HOUR]), Some(3600 * 15 / 2));
        assert_eq!(patience(&[1801, 1801, 1801]), Some(5403));
        assert_eq!(patience(&[1000, 1000, 1000]), Some(3600));
        assert_eq!(patience(&[u32::MAX; 8]), Some(72 * 3600));
    }
}

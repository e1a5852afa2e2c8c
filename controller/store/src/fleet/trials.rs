//! Rollouts as trials: who enrols, and what becomes of it, in the transaction of what caused it.
//!
//! The writer holds the rollouts and the sizes of their levels in memory, so that an enrolment gets its place without a
//! look, and drops what it holds whenever a transaction fails: what is read again is what was committed.
//!
//! What makes a device fail are its reports, and not its outcomes. An outcome is the first of its kind for a version, and
//! the version of a control device may have failed on it long before it enrolled.

mod batch;
mod read;
mod retention;
mod silence;
mod sql;

use std::collections::{BTreeSet, HashMap};

use serde::{Deserialize, Serialize};
use sluice_core::trial::{Arm, Discount, Entry, Membership, Metric};

pub use self::read::{EnrolmentView, LevelView, RolloutView};
pub(crate) use self::{
    batch::{Enrolments, Moment, Said, Seen},
    read::Journals,
    retention::Cleanup,
    silence::{TOLERATED, judge, keep_up, up_since},
    sql::{erase, load},
};
use super::{MOST_TEXT, hash::keyed_hash, model::cut, types::Enrolling};

/// In seconds: how long after its enrolment bad health of a device counts (`evidence-gate` section 2).
pub const HORIZON_SECONDS: i64 = 30 * 60;

/// In seconds: contacts this soon after an enrolment belong to it, and are no sign that the device is well.
pub(crate) const QUIET_SECONDS: i64 = 60;

/// What a check-in says of the trial that the device is in, to be kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the fields are those of an `Enrolling`")]
pub struct Trial {
    pub channel: String,
    pub line: String,
    pub membership: Membership,
    pub candidate: String,
    pub started: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<u64>,
}

impl Trial {
    /// The same, to be kept: the network prefix as a hash with the key of the installation, and without one not at all.
    pub(crate) fn of(enrolling: &Enrolling<'_>, key: Option<&[u8; 32]>) -> Self {
        let hashed = |(prefix, key): (u64, &[u8; 32])| {
            let hash = keyed_hash(key, &prefix.to_be_bytes());
            hash[..8].iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
        };
        let Enrolling { channel, line, membership, candidate, started, prefix } = *enrolling;
        Self {
            channel: channel.to_owned(),
            line: line.to_owned(),
            membership,
            candidate: cut(candidate, MOST_TEXT).to_owned(),
            started,
            prefix: prefix.zip(key).map(hashed),
        }
    }
}

/// What names a rollout here.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Name {
    pub(crate) app: u32,
    pub(crate) channel: String,
    pub(crate) line: String,
    pub(crate) serial: u64,
}

/// A rollout.
#[derive(Debug)]
pub(crate) struct Rollout {
    name: Name,
    candidate: String,
    started: i64,
    horizon: i64,
    ended: Option<i64>,
    /// Number of the newest entry of its journal.
    entries: u64,
    levels: HashMap<u32, Level>,
}

/// A level of a rollout.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Level {
    /// Enrolments that weigh: the place of the next one.
    enrolled: u32,
    /// Those that do not, by [`discount_number`].
    discounted: [u64; 3],
}

/// Every rollout, as the writer knows it.
#[derive(Debug, Default)]
pub(crate) struct Trials {
    rollouts: HashMap<i64, Rollout>,
    names: HashMap<Name, i64>,
    /// How many rollouts of an app have not ended.
    running: HashMap<u32, usize>,
    /// What the next commit has to write.
    changed: BTreeSet<i64>,
    changed_levels: BTreeSet<(i64, u32)>,
    journal: Vec<(i64, u64, Entry)>,
}

impl Trials {
    fn add(&mut self, id: i64, rollout: Rollout) {
        if rollout.ended.is_none() {
            *self.running.entry(rollout.name.app).or_default() += 1;
        }
        self.names.insert(rollout.name.clone(), id);
        self.rollouts.insert(id, rollout);
    }

    /// Whether any rollout of an app has not ended.
    pub(crate) fn any(&self, app: u32) -> bool {
        self.running.get(&app).is_some_and(|running| *running > 0)
    }

    /// Whether any rollout has not ended.
    pub(crate) fn any_at_all(&self) -> bool {
        self.running.values().any(|running| *running > 0)
    }

    /// The rollout, unless it ended.
    fn running(&self, id: i64) -> Option<&Rollout> {
        self.rollouts.get(&id).filter(|rollout| rollout.ended.is_none())
    }

    /// The number of the rollout that a check-in speaks of, which begins with the first one. Nothing when it ended.
    pub(crate) fn resolve(&mut self, app: u32, trial: &Trial) -> Option<i64> {
        let Trial { channel, line, membership, candidate, started, prefix: _ } = trial;
        let name = Name { app, channel: channel.clone(), line: line.clone(), serial: membership.serial };
        if let Some(id) = self.names.get(&name) {
            return self.running(*id).is_some().then_some(*id);
        }
        Some(self.begin(name, candidate.clone(), *started, None))
    }

    fn begin(&mut self, name: Name, candidate: String, started: i64, ended: Option<i64>) -> i64 {
        let id = self.rollouts.keys().max().map_or(1, |id| id + 1);
        let (horizon, levels) = (HORIZON_SECONDS, HashMap::new());
        self.add(id, Rollout { name, candidate, started, horizon, ended, entries: 0, levels });
        self.changed.insert(id);
        id
    }

    /// Nobody enrols in it any more, also when nobody has yet.
    pub(crate) fn end(&mut self, name: &Name, now: i64) {
        let Some(id) = self.names.get(name).copied() else {
            self.begin(name.clone(), String::new(), now, Some(now));
            return;
        };
        let Some(rollout) = self.rollouts.get_mut(&id).filter(|rollout| rollout.ended.is_none()) else {
            return;
        };
        rollout.ended = Some(now);
        if let Some(running) = self.running.get_mut(&rollout.name.app) {
            *running -= 1;
        }
        self.changed.insert(id);
    }

    /// Ends those that began before `old`: nobody did, and what they have would stay for ever.
    pub(crate) fn end_before(&mut self, old: i64, now: i64) {
        let is_over = |rollout: &&Rollout| rollout.ended.is_none() && rollout.started < old;
        let over: Vec<Name> =
            self.rollouts.values().filter(is_over).map(|rollout| rollout.name.clone()).collect();
        for name in &over {
            self.end(name, now);
        }
    }

    /// Gives an enrolment its place in a level, or counts one that weighs nothing.
    fn place(&mut self, id: i64, level: u32, discount: Option<Discount>) -> Option<u32> {
        let level_of = self.rollouts.get_mut(&id)?.levels.entry(level).or_default();
        self.changed_levels.insert((id, level));
        if let Some(why) = discount {
            level_of.discounted[discount_number(why)] += 1;
            return None;
        }
        level_of.enrolled += 1;
        Some(level_of.enrolled - 1)
    }

    /// Appends to the journal of a rollout.
    fn note(&mut self, id: i64, entry: Entry) {
        if let Some(rollout) = self.rollouts.get_mut(&id) {
            rollout.entries += 1;
            self.journal.push((id, rollout.entries, entry));
        }
    }

    /// Writes what changed. What it returns is to be told to [`Journals`] once it is durable.
    pub(crate) async fn write(
        &mut self,
        connection: &mut super::dialect::Connection,
    ) -> Result<Vec<(Name, i64, u64)>, sqlx::Error> {
        let journal = std::mem::take(&mut self.journal);
        let changed = std::mem::take(&mut self.changed);
        let levels = std::mem::take(&mut self.changed_levels);
        sql::write_rollouts(connection, self, &changed).await?;
        sql::write_levels(connection, self, &levels).await?;
        sql::write_journal(connection, &journal).await?;
        let touched: BTreeSet<i64> = journal.iter().map(|(id, ..)| *id).chain(changed).collect();
        let said = |id: &i64| self.rollouts.get(id).map(|r| (r.name.clone(), *id, r.entries));
        Ok(touched.iter().filter_map(said).collect())
    }
}

/// A row of `enrolments`, without its device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EnrolmentRow {
    rollout: i64,
    level: u32,
    arm: Arm,
    at: i64,
    ordinal: Option<u32>,
    discount: Option<Discount>,
    /// Bits of what failed, see [`metric_bit`].
    failed: i64,
    launched_at: Option<i64>,
    patience: Option<i64>,
    silence_due: Option<i64>,
}

impl EnrolmentRow {
    /// When the silence is too long, given since when contacts are taken in without a break. A contact may have been lost
    /// in a break, and the device gets its time again after it.
    fn due(&self, up_since: i64) -> Option<i64> {
        let due = self.silence_due?;
        if self.at >= up_since {
            return Some(due);
        }
        Some(due.max(up_since + self.patience.unwrap_or_default()))
    }

    /// Notes the first failure of a kind of an enrolment that weighs; nothing when it is known.
    fn fail(&mut self, metric: Metric, at: i64) -> Option<Entry> {
        let ordinal = self.ordinal?;
        if self.has_failed(metric) {
            return None;
        }
        self.failed |= metric_bit(metric);
        Some(Entry::Failed { level: self.level, ordinal, metric, at })
    }

    fn has_failed(&self, metric: Metric) -> bool {
        self.failed & metric_bit(metric) != 0
    }

    /// Notes that the candidate runs.
    fn launch(&mut self, at: i64) -> Option<Entry> {
        let ordinal = self.ordinal?;
        if self.launched_at.is_some() || self.has_failed(Metric::Launch) {
            return None;
        }
        self.launched_at = Some(at);
        Some(Entry::Launched { level: self.level, ordinal, at })
    }
}

/// The column `arm`.
fn arm_number(arm: Arm) -> i64 {
    match arm {
        Arm::Treatment => 0,
        Arm::Control => 1,
    }
}

/// The column `arm`.
fn arm_of(number: i64) -> Arm {
    if number == 0 { Arm::Treatment } else { Arm::Control }
}

/// The column `discount`, and the place in [`Level::discounted`].
fn discount_number(why: Discount) -> usize {
    match why {
        Discount::New => 0,
        Discount::NotProduction => 1,
        Discount::Crowd => 2,
    }
}

fn discount_of(number: i64) -> Option<Discount> {
    [Discount::New, Discount::NotProduction, Discount::Crowd].get(usize::try_from(number).ok()?).copied()
}

const METRICS: [Metric; 4] = [Metric::Health, Metric::Silence, Metric::Launch, Metric::Install];

/// The bit of a metric in the column `failed`.
fn metric_bit(metric: Metric) -> i64 {
    match metric {
        Metric::Health => 1,
        Metric::Silence => 2,
        Metric::Launch => 4,
        Metric::Install => 8,
    }
}

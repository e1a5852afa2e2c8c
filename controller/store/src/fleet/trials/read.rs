//! Questions about trials: the journal for the gate, and what people want to know.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, PoisonError},
};

use serde::Serialize;
use sluice_core::{
    request::DeviceKey,
    trial::{Arm, Discount, Entry, Metric, RolloutId},
};

use super::{METRICS, Name, Trials, metric_bit, sql};
use crate::fleet::{Fleet, dialect::Row, error::FleetError, hot::Key, queue::Job, sql::small};

/// How far the journals are that are durable, so that asking for news costs nothing when there are none.
#[derive(Debug, Default)]
pub(crate) struct Journals(Mutex<HashMap<Name, (i64, u64)>>);

impl Journals {
    /// Takes in what was committed.
    pub(crate) fn tell(&self, news: Vec<(Name, i64, u64)>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.extend(news.into_iter().map(|(name, id, newest)| (name, (id, newest))));
    }

    /// Takes in what was read.
    pub(crate) fn load(&self, trials: &Trials) {
        self.tell(trials.rollouts.iter().map(|(id, r)| (r.name.clone(), *id, r.entries)).collect());
    }

    fn get(&self, name: &Name) -> Option<(i64, u64)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(name).copied()
    }
}

/// A rollout, as far as the store knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RolloutView {
    /// Which.
    pub id: RolloutId,
    /// The version that is rolled out.
    pub candidate: String,
    /// When it began, in seconds since 1970.
    pub started: i64,
    /// When it ended.
    pub ended: Option<i64>,
    /// Its levels, by number.
    pub levels: BTreeMap<u32, LevelView>,
}

/// Who enrolled in a level.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LevelView {
    /// Devices that weigh.
    pub enrolled: u64,
    /// Devices first seen after the rollout began.
    pub new: u64,
    /// Emulators and development builds.
    pub not_production: u64,
    /// Young devices of a network prefix with too many of them.
    pub crowd: u64,
}

/// A device's enrolment in a rollout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EnrolmentView {
    /// The rollout.
    pub rollout: RolloutId,
    /// The version that is rolled out.
    pub candidate: String,
    /// When the rollout ended.
    pub ended: Option<i64>,
    /// The level.
    pub level: u32,
    /// The arm.
    pub arm: Arm,
    /// When it enrolled, in seconds since 1970.
    pub at: i64,
    /// Place in its level; nothing when it weighs nothing.
    pub ordinal: Option<u32>,
    /// Why it weighs nothing.
    pub discount: Option<Discount>,
    /// What failed since.
    pub failed: Vec<Metric>,
    /// When it ran the candidate.
    pub launched_at: Option<i64>,
    /// Until when a contact must come, or the device counts as silent; nothing once one came, or when too little is known
    /// of its habits.
    pub silence_due: Option<i64>,
}

impl Fleet {
    /// The entries of a rollout's journal after the `after`-th, at most `most`, each with its number: from 1, without a
    /// gap. What is returned is durable, and is the same for ever.
    pub async fn journal(
        &self,
        rollout: &RolloutId,
        after: u64,
        most: usize,
    ) -> Result<Vec<(u64, Entry)>, FleetError> {
        Ok(self.news(&[(rollout, after)], most).await?.pop().unwrap_or_default())
    }

    /// The same of many rollouts, each with a number of its own, in one question: what is found stands in their order.
    pub async fn news(
        &self,
        of: &[(&RolloutId, u64)],
        most: usize,
    ) -> Result<Vec<Vec<(u64, Entry)>>, FleetError> {
        let mut news: Vec<Vec<(u64, Entry)>> = vec![Vec::new(); of.len()];
        let (mut wanted, mut places) = (Vec::new(), HashMap::new());
        for (place, (rollout, after)) in of.iter().enumerate() {
            let Some(name) = self.name(rollout) else { continue };
            let Some((id, newest)) = self.shared.journals.get(&name) else { continue };
            // Numbers have no gap.
            let until = newest.min(after.saturating_add(most as u64));
            if until > *after {
                wanted.push((id, *after, until));
                places.insert(id, place);
            }
        }
        if wanted.is_empty() {
            return Ok(news);
        }
        let mut connection = self.shared.readers.acquire().await?;
        let find = sql::journals(&mut connection, &wanted, |id, number, entry| {
            if let Some(place) = places.get(&id) {
                news[*place].push((number, entry));
            }
        });
        find.await?;
        for entries in &mut news {
            entries.sort_unstable_by_key(|(number, _)| *number);
        }
        Ok(news)
    }

    /// Every rollout that is known, with what enrolled in it. Costs a row of each level.
    pub async fn rollouts(&self) -> Result<Vec<RolloutView>, FleetError> {
        let mut connection = self.shared.readers.acquire().await?;
        let rollouts = "SELECT r.id, a.name, r.channel, r.line, r.serial, r.candidate, r.ended, r.started \
                        FROM rollouts AS r JOIN apps AS a ON a.id = r.app ORDER BY r.id";
        let mut found: BTreeMap<i64, RolloutView> = BTreeMap::new();
        for row in connection.fetch(rollouts, |_| {}).await? {
            let Some(id) = id_of(&row, 1)? else { continue };
            let view = RolloutView {
                id,
                candidate: row.try_get(5)?,
                started: row.try_get(7)?,
                ended: row.try_get(6)?,
                levels: BTreeMap::new(),
            };
            found.insert(row.try_get(0)?, view);
        }
        let levels = "SELECT rollout, level, enrolled, new, not_production, crowd FROM levels";
        for row in connection.fetch(levels, |_| {}).await? {
            let Some(rollout) = found.get_mut(&row.try_get(0)?) else { continue };
            let count = |column| row.try_get::<i64>(column).map(i64::cast_unsigned);
            let level = LevelView {
                enrolled: count(2)?,
                new: count(3)?,
                not_production: count(4)?,
                crowd: count(5)?,
            };
            rollout.levels.insert(small(row.try_get(1)?)?, level);
        }
        Ok(found.into_values().collect())
    }

    /// Ends a rollout, durably: nobody enrols in it any more, and nothing is noted of who did. What it has stays for as
    /// long as [`Limits::keep_trials`](crate::fleet::Limits::keep_trials) says.
    pub async fn end_rollout(&self, rollout: &RolloutId) -> Result<(), FleetError> {
        let RolloutId { app, channel, line, serial } = rollout;
        // Also of an app of which nobody was seen: a check-in that still comes finds the rollout ended.
        let app = self.shared.registry.app_or_new(app.as_str()).ok_or(FleetError::Busy)?.id;
        let name = Name { app, channel: channel.as_str().to_owned(), line: line.clone(), serial: *serial };
        self.ask(|reply| Job::EndRollout(name, reply)).await
    }

    /// What a device is enrolled in, and what became of it, as far as it is written: see [`Fleet::flush`].
    pub async fn enrolment(&self, app: &str, device: DeviceKey) -> Result<Vec<EnrolmentView>, FleetError> {
        let Some(app) = self.shared.registry.app_id(app) else { return Ok(Vec::new()) };
        let key = Key { app, device };
        let mut connection = self.shared.readers.acquire().await?;
        let mut views = Vec::new();
        for (_, row) in sql::enrolments(&mut connection, &[key]).await? {
            let of = "SELECT a.name, r.channel, r.line, r.serial, r.candidate, r.ended FROM rollouts AS r \
                      JOIN apps AS a ON a.id = r.app WHERE r.id = $1";
            let rollout = connection.fetch(of, |values| _ = values.add(row.rollout)).await?;
            let Some(rollout) = rollout.first() else { continue };
            let Some(id) = id_of(rollout, 0)? else { continue };
            views.push(EnrolmentView {
                rollout: id,
                candidate: rollout.try_get(4)?,
                ended: rollout.try_get(5)?,
                level: row.level,
                arm: row.arm,
                at: row.at,
                ordinal: row.ordinal,
                discount: row.discount,
                failed: METRICS.into_iter().filter(|m| row.failed & metric_bit(*m) != 0).collect(),
                launched_at: row.launched_at,
                silence_due: row.silence_due,
            });
        }
        views.sort_by(|a, b| a.at.cmp(&b.at).then_with(|| a.rollout.cmp(&b.rollout)));
        Ok(views)
    }

    /// Judges now which devices are silent, as far as everything is taken in, and returns how many were found. It is also
    /// done in the background, bite by bite.
    pub async fn judge_silence(&self) -> Result<u64, FleetError> {
        self.ask(Job::Judge).await
    }

    fn name(&self, rollout: &RolloutId) -> Option<Name> {
        let RolloutId { app, channel, line, serial } = rollout;
        Some(Name {
            app: self.shared.registry.app_id(app.as_str())?,
            channel: channel.as_str().to_owned(),
            line: line.clone(),
            serial: *serial,
        })
    }
}

/// The four columns that name a rollout. Names that a newer release allowed and this one does not are as good as none.
fn id_of(row: &Row, column: usize) -> Result<Option<RolloutId>, sqlx::Error> {
    let names = (row.try_get::<&str>(column)?.parse(), row.try_get::<&str>(column + 1)?.parse());
    let (Ok(app), Ok(channel)) = names else { return Ok(None) };
    let (line, serial) = (row.try_get(column + 2)?, row.try_get::<i64>(column + 3)?.cast_unsigned());
    Ok(Some(RolloutId { app, channel, line, serial }))
}

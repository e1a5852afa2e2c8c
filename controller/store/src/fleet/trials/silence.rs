//! Devices that stay away for longer than they ever do.
//!
//! Silence is judged up to the time until which every contact has been taken in, and an outage of ours is no silence of
//! theirs: who enrolled before a break gets its whole time again after it. Breaks shorter than [`TOLERATED`] are let pass,
//! because a device has three of its gaps, and both arms lose the same.

use sluice_core::trial::Metric;

use super::{EnrolmentRow, Enrolments, Trials, sql};
use crate::fleet::{dialect::Connection, hot::Key};

/// A restart or a fault that is over sooner, in seconds, is no break.
pub(crate) const TOLERATED: i64 = 180;

/// What a bite of the judgement found.
pub(crate) struct Judged {
    /// Devices that are silent.
    pub(crate) silent: u64,
    /// There is more to look at.
    pub(crate) more: bool,
}

/// Judges the enrolments whose time is over at `until`, at most `most` of them.
pub(crate) async fn judge(
    connection: &mut Connection,
    trials: &mut Trials,
    up_since: i64,
    until: i64,
    most: u32,
) -> Result<Judged, sqlx::Error> {
    let mut due: Vec<(Key, EnrolmentRow)> = sql::silent(connection, until, most).await?;
    let more = due.len() == most as usize;
    let mut silent = 0;
    for (_, row) in &mut due {
        let later = row.due(up_since).filter(|due| *due > until);
        if later.is_none()
            && trials.running(row.rollout).is_some()
            && let Some(at) = row.silence_due
            && let Some(entry) = row.fail(Metric::Silence, at)
        {
            trials.note(row.rollout, entry);
            silent += 1;
        }
        // Of a rollout that ended nothing is noted any more.
        row.silence_due = later.filter(|_| trials.running(row.rollout).is_some());
    }
    due.sort_unstable_by_key(|(key, row)| (*key, row.rollout));
    let rows: Vec<(Key, &EnrolmentRow)> = due.iter().map(|(key, row)| (*key, row)).collect();
    sql::write_enrolments(connection, &rows).await?;
    Ok(Judged { silent, more })
}

/// Writes down that contacts are taken in without a break since `up_since`, and until now.
pub(crate) async fn keep_up(connection: &mut Connection, up_since: i64, now: i64) -> Result<(), sqlx::Error> {
    let keep = "INSERT INTO meta (name, value) VALUES ('up', $1) \
                ON CONFLICT (name) DO UPDATE SET value = excluded.value";
    connection.execute(keep, |values| _ = values.add(format!("{up_since} {now}"))).await.map(drop)
}

/// Since when contacts are taken in without a break, for a store that is opened now.
pub(crate) async fn up_since(connection: &mut Connection, now: i64) -> Result<i64, sqlx::Error> {
    let rows = connection.fetch("SELECT value FROM meta WHERE name = 'up'", |_| {}).await?;
    let Some(row) = rows.first() else { return Ok(now) };
    let text: &str = row.try_get(0)?;
    let times =
        text.split_once(' ').and_then(|(since, until)| Some((since.parse().ok()?, until.parse().ok()?)));
    let (since, until): (i64, i64) = times.unwrap_or((now, now));
    Ok(if (until..=until + TOLERATED).contains(&now) { since } else { now })
}

impl Enrolments {
    /// What changed, in the order of the table.
    pub(crate) fn changed_rows(&self) -> Vec<(Key, &EnrolmentRow)> {
        let row = |(key, rollout): &(Key, i64)| {
            let row = self.rows.get(key)?.iter().find(|row| row.rollout == *rollout)?;
            Some((*key, row))
        };
        self.changed.iter().filter_map(row).collect()
    }

    /// Writes what changed.
    pub(crate) async fn write(&self, connection: &mut Connection) -> Result<(), sqlx::Error> {
        sql::write_enrolments(connection, &self.changed_rows()).await?;
        let prefix = |key: &(i64, u64)| Some((*key, *self.prefixes.get(key)?));
        let prefixes: Vec<_> = self.changed_prefixes.iter().filter_map(prefix).collect();
        sql::write_prefixes(connection, &prefixes).await
    }
}

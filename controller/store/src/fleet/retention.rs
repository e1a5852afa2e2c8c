//! Removing what is old, in bites that are small beside a commit.

use super::{
    census,
    dialect::{Connection, Values},
    sql::{DELETE_DEVICES, DELETE_EVENTS, DELETE_OUTCOMES},
    trials,
    types::Limits,
};

/// Minutes between the device's clock and ours beyond which an event is looked for in the future.
const FUTURE_SLOTS: i64 = 24 * 60;

/// How long a segment that was taken in is known at most: longer than any object of it is there.
const KEEP_SEGMENTS: i64 = 30 * 24 * 3600;

/// How far the clean-up is.
///
/// Events are walked in the order of their slots. The walk over neutral ones never goes back (what was left behind it
/// falls to the walk over all), so that a round does not read the meaningful ones again and again.
#[derive(Default)]
pub(crate) struct Cleanup {
    neutral: Option<Cursor>,
    all: Option<Cursor>,
    future: Option<Cursor>,
    device: Option<(i64, Vec<u8>)>,
    outcome: Option<(i64, String, Vec<u8>)>,
    trials: trials::Cleanup,
    /// The day when sums were cleaned up last, and the minute when coverage was looked at.
    summed: Option<i64>,
    covered: Option<i64>,
}

type Cursor = (i64, Vec<u8>);

/// What one bite did.
pub(crate) struct Bite {
    pub(crate) removed: u64,
    /// There is more to do at once.
    pub(crate) more: bool,
}

impl Cleanup {
    /// Takes one bite of everything. Each part is a transaction of its own.
    pub(crate) async fn bite(
        &mut self,
        connection: &mut Connection,
        limits: &Limits,
        now: i64,
    ) -> Result<Bite, sqlx::Error> {
        let (neutral, old) = (now - limits.keep_neutral, now - limits.keep_events);
        let slot = |seconds: i64| seconds.div_euclid(60);
        let walks = [
            (&mut self.neutral, i64::MIN, slot(neutral), neutral, true, false),
            (&mut self.all, i64::MIN, slot(old), old, false, true),
            (&mut self.future, slot(now) + FUTURE_SLOTS, i64::MAX, old, false, true),
        ];
        let mut bite = Bite { removed: 0, more: false };
        for (cursor, from, to, received, only_neutral, again) in walks {
            let walk = Walk { from, to, received, only_neutral };
            let (removed, full) = walk.bite(connection, cursor, limits.bite).await?;
            bite.removed += removed;
            bite.more |= full;
            if again && !full {
                *cursor = None;
            }
        }
        let old = now - limits.keep_devices;
        bite.removed += self.devices(connection, limits.bite, old).await?;
        bite.removed += self.outcomes(connection, limits.bite, old).await?;
        let (removed, more) = self.trials.bite(connection, limits, now).await?;
        bite.removed += removed;
        bite.more |= more;
        let old_segments = now - KEEP_SEGMENTS;
        let failed = now - sluice_core::memory::FAILED_FOR_SECONDS;
        bite.removed += delete(connection, "DELETE FROM failed WHERE at <= $1", failed).await?;
        bite.removed += delete(connection, "DELETE FROM overrides WHERE expires <= $1", now).await?;
        bite.removed += delete(connection, "DELETE FROM acts WHERE at <= $1", old).await?;
        // Usually forgotten when their object is removed; this is for those whose object somebody else removed.
        bite.removed += delete(connection, "DELETE FROM segments WHERE ingested <= $1", old_segments).await?;
        self.sums(connection, old, now).await?;
        Ok(bite)
    }

    /// Sums that no device stands in any more, once a day, and how far releases have come, once a minute.
    async fn sums(&mut self, connection: &mut Connection, old: i64, now: i64) -> Result<(), sqlx::Error> {
        let (hour, minute) = (Some(now.div_euclid(3_600)), Some(now.div_euclid(60)));
        if self.summed != hour {
            let before = old.div_euclid(census::DAY);
            delete(connection, "DELETE FROM census WHERE day < $1", before).await?;
            // What devices say of themselves is free text: where none is any more, no row stays.
            delete(connection, "DELETE FROM census WHERE devices = $1 AND seen = $1", 0).await?;
            delete(connection, "DELETE FROM funnel WHERE day < $1", before).await?;
            delete(connection, "DELETE FROM traffic WHERE day < $1", before).await?;
            delete(connection, "DELETE FROM coverage WHERE at < $1", old).await?;
            self.summed = hour;
        }
        if self.covered != minute {
            census::cover(connection, now).await?;
            self.covered = minute;
        }
        Ok(())
    }

    /// Looks at the next devices; a round takes as many clean-ups as there are bites in the table.
    async fn devices(
        &mut self,
        connection: &mut Connection,
        most: u32,
        old: i64,
    ) -> Result<u64, sqlx::Error> {
        let (app, device) = self.device.take().unwrap_or((i64::MIN, Vec::new()));
        let next = "SELECT app, device, last_seen FROM devices WHERE (app, device) > ($1, $2) \
                    ORDER BY app, device LIMIT $3";
        let rows = connection.fetch(next, |v| _ = v.add(app).add(device).add(i64::from(most))).await?;
        let mut gone = Vec::new();
        for row in &rows {
            let key: (i64, Vec<u8>) = (row.try_get(0)?, row.try_get(1)?);
            if row.try_get::<i64>(2)? < old {
                gone.push(key.clone());
            }
            self.device = Some(key);
        }
        if rows.len() < most as usize {
            self.device = None;
        }
        DELETE_DEVICES
            .write(connection, &gone, |(app, device), values| {
                values.add(*app).add(&device[..]);
            })
            .await
    }

    async fn outcomes(
        &mut self,
        connection: &mut Connection,
        most: u32,
        old: i64,
    ) -> Result<u64, sqlx::Error> {
        let (app, version, device) = self.outcome.take().unwrap_or((i64::MIN, String::new(), Vec::new()));
        let next = "SELECT app, version, device, trial_at, success_at, launch_failed_at, install_failed_at, \
                    health_failed_at, install_last_at / 1000, offered_at, downloaded_at, ran_at, rolled_back_at, refused_at \
                    FROM outcomes WHERE (app, version, device) > ($1, $2, $3) \
                    ORDER BY app, version, device LIMIT $4";
        let bind = |v: &mut Values| _ = v.add(app).add(version).add(device).add(i64::from(most));
        let rows = connection.fetch(next, bind).await?;
        let mut gone = Vec::new();
        for row in &rows {
            let key: (i64, String, Vec<u8>) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
            let mut newest = i64::MIN;
            for column in 3..=13 {
                newest = newest.max(row.try_get::<Option<i64>>(column)?.unwrap_or(i64::MIN));
            }
            if newest < old {
                gone.push(key.clone());
            }
            self.outcome = Some(key);
        }
        if rows.len() < most as usize {
            self.outcome = None;
        }
        DELETE_OUTCOMES
            .write(connection, &gone, |(app, version, device), values| {
                values.add(*app).add(&**version).add(&device[..]);
            })
            .await
    }
}

/// A range of slots, and what of it is removed.
struct Walk {
    from: i64,
    to: i64,
    /// Only what was received before this.
    received: i64,
    only_neutral: bool,
}

impl Walk {
    /// Looks at the next rows. Returns how many it removed, and whether it stopped before the end.
    async fn bite(
        &self,
        connection: &mut Connection,
        cursor: &mut Option<Cursor>,
        most: u32,
    ) -> Result<(u64, bool), sqlx::Error> {
        let (slot, key) = cursor.clone().unwrap_or((self.from, Vec::new()));
        let next = "SELECT slot, key, received, neutral FROM events WHERE (slot, key) > ($1, $2) AND slot < $3 \
                    ORDER BY slot, key LIMIT $4";
        let bind = |v: &mut Values| _ = v.add(slot).add(key).add(self.to).add(i64::from(most));
        let rows = connection.fetch(next, bind).await?;
        let mut gone: Vec<Cursor> = Vec::new();
        for row in &rows {
            let key: Cursor = (row.try_get(0)?, row.try_get(1)?);
            let old = row.try_get::<i64>(2)? < self.received;
            if old && (!self.only_neutral || row.try_get::<i64>(3)? != 0) {
                gone.push(key.clone());
            }
            *cursor = Some(key);
        }
        let removed = DELETE_EVENTS
            .write(connection, &gone, |(slot, key), values| {
                values.add(*slot).add(&key[..]);
            })
            .await?;
        Ok((removed, rows.len() == most as usize))
    }
}

async fn delete(connection: &mut Connection, sql: &'static str, before: i64) -> Result<u64, sqlx::Error> {
    connection.execute(sql, |values| _ = values.add(before)).await
}

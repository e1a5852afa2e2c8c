//! Removing what is left of rollouts that ended, in bites.
//!
//! Enrolments are in the order of devices. They are walked only while there is a rollout to clear, and from one end of the
//! table to the other.

use crate::fleet::{
    active,
    dialect::{Connection, ListStatement},
    types::Limits,
};

/// How long a network prefix is kept after its last device enrolled, in seconds.
const KEEP_PREFIXES: i64 = 24 * 3600;

static DELETE: ListStatement =
    ListStatement { head: "DELETE FROM enrolments WHERE (app, device, rollout) IN (", columns: 3, tail: ")" };

type EnrolmentKey = (i64, Vec<u8>, i64);

/// How far the clean-up is.
#[derive(Debug, Default)]
pub(crate) struct Cleanup {
    walk: Option<Walk>,
}

#[derive(Debug)]
struct Walk {
    /// What is cleared.
    rollouts: Vec<i64>,
    /// The enrolment that was looked at last.
    last: EnrolmentKey,
    /// Every enrolment was looked at.
    all: bool,
}

impl Cleanup {
    /// Takes one bite. Returns how many entries and enrolments went, and whether there is more to do at once.
    pub(crate) async fn bite(
        &mut self,
        connection: &mut Connection,
        limits: &Limits,
        now: i64,
    ) -> Result<(u64, bool), sqlx::Error> {
        let old_prefixes = now - KEEP_PREFIXES;
        connection.execute("DELETE FROM prefixes WHERE at <= $1", |v| _ = v.add(old_prefixes)).await?;
        let oldest = active::oldest(now);
        connection.execute("DELETE FROM active WHERE day < $1", |v| _ = v.add(oldest)).await?;
        let Some(walk) = self.walk(connection, now - limits.keep_trials).await? else {
            forget(connection, now - limits.keep_devices).await?;
            return Ok((0, false));
        };
        let entries = walk.entries(connection, limits.bite).await?;
        let enrolments = if walk.all { 0 } else { walk.enrolments(connection, limits.bite).await? };
        if walk.all && entries == 0 {
            for rollout in &walk.rollouts {
                let cleared = "UPDATE rollouts SET cleared = $1 WHERE id = $2";
                connection.execute(cleared, |values| _ = values.add(now).add(*rollout)).await?;
            }
            self.walk = None;
        }
        Ok((entries + enrolments, true))
    }

    /// The walk that was begun, or a new one when there is something to clear.
    async fn walk(
        &mut self,
        connection: &mut Connection,
        old: i64,
    ) -> Result<Option<&mut Walk>, sqlx::Error> {
        if self.walk.is_none() {
            let over = "SELECT id FROM rollouts WHERE cleared IS NULL AND ended <= $1";
            let rows = connection.fetch(over, |values| _ = values.add(old)).await?;
            let rollouts = rows.iter().map(|row| row.try_get(0)).collect::<Result<Vec<i64>, _>>()?;
            if !rollouts.is_empty() {
                self.walk = Some(Walk { rollouts, last: (i64::MIN, Vec::new(), i64::MIN), all: false });
            }
        }
        Ok(self.walk.as_mut())
    }
}

impl Walk {
    async fn entries(&self, connection: &mut Connection, most: u32) -> Result<u64, sqlx::Error> {
        let delete = "DELETE FROM journal WHERE rollout = $1 \
                      AND seq < (SELECT MIN(seq) FROM journal WHERE rollout = $2) + $3";
        let mut removed = 0;
        for rollout in &self.rollouts {
            let bind = |values: &mut crate::fleet::dialect::Values| {
                values.add(*rollout).add(*rollout).add(i64::from(most));
            };
            removed += connection.execute(delete, bind).await?;
        }
        Ok(removed)
    }

    async fn enrolments(&mut self, connection: &mut Connection, most: u32) -> Result<u64, sqlx::Error> {
        let next = "SELECT app, device, rollout FROM enrolments WHERE (app, device, rollout) > ($1, $2, $3) \
                    ORDER BY app, device, rollout LIMIT $4";
        let (app, device, rollout) = self.last.clone();
        let rows = connection
            .fetch(next, |values| _ = values.add(app).add(device).add(rollout).add(i64::from(most)))
            .await?;
        let mut gone: Vec<EnrolmentKey> = Vec::new();
        for row in &rows {
            let key: EnrolmentKey = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
            if self.rollouts.contains(&key.2) {
                gone.push(key.clone());
            }
            self.last = key;
        }
        self.all = rows.len() < most as usize;
        let bind = |(app, device, rollout): &EnrolmentKey, values: &mut crate::fleet::dialect::Values| {
            values.add(*app).add(&device[..]).add(*rollout);
        };
        DELETE.write(connection, &gone, bind).await
    }
}

/// Forgets rollouts themselves. Until then a check-in that comes late finds them ended.
async fn forget(connection: &mut Connection, old: i64) -> Result<(), sqlx::Error> {
    let rollouts = "DELETE FROM rollouts WHERE cleared IS NOT NULL AND ended <= $1";
    if connection.execute(rollouts, |values| _ = values.add(old)).await? > 0 {
        let levels = "DELETE FROM levels WHERE rollout NOT IN (SELECT id FROM rollouts)";
        connection.execute(levels, |_| {}).await?;
    }
    Ok(())
}

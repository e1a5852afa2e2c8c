//! The statements of trials.

use std::collections::{BTreeSet, HashMap};

use sluice_core::{
    channel::Platform,
    trial::{Entry, Traits},
};

use super::{
    EnrolmentRow, Level, METRICS, Name, Rollout, Trials, arm_number, arm_of, batch::Prefix, discount_number,
    discount_of, metric_bit,
};
use crate::fleet::{
    dialect::{Connection, ListStatement, Row, Values},
    hot::Key,
    sql::{bind_key, key_of, small},
};

type Result<T> = std::result::Result<T, sqlx::Error>;

static ROLLOUTS: ListStatement = ListStatement {
    head: "INSERT INTO rollouts (id, app, channel, line, serial, candidate, started, horizon, ended)",
    columns: 9,
    tail: "ON CONFLICT (id) DO UPDATE SET ended = excluded.ended",
};

static LEVELS: ListStatement = ListStatement {
    head: "INSERT INTO levels (rollout, level, enrolled, new, not_production, crowd)",
    columns: 6,
    tail: "ON CONFLICT (rollout, level) DO UPDATE SET enrolled = excluded.enrolled, new = excluded.new, \
           not_production = excluded.not_production, crowd = excluded.crowd",
};

static ENROLMENTS: ListStatement = ListStatement {
    head: "INSERT INTO enrolments (app, device, rollout, level, arm, at, ordinal, discount, failed, launched_at, \
           patience, silence_due)",
    columns: 12,
    tail: "ON CONFLICT (app, device, rollout) DO UPDATE SET level = excluded.level, arm = excluded.arm, \
           at = excluded.at, ordinal = excluded.ordinal, discount = excluded.discount, failed = excluded.failed, \
           launched_at = excluded.launched_at, patience = excluded.patience, silence_due = excluded.silence_due",
};

static FIND_ENROLMENTS: ListStatement = ListStatement {
    head: "SELECT e.app, e.device, e.rollout, e.level, e.arm, e.at, e.ordinal, e.discount, e.failed, e.launched_at, \
           e.patience, e.silence_due FROM (",
    columns: 2,
    tail: ") AS k CROSS JOIN enrolments AS e WHERE e.app = k.column1 AND e.device = k.column2",
};

static DELETE_ENROLMENTS: ListStatement =
    ListStatement { head: "DELETE FROM enrolments WHERE (app, device) IN (", columns: 2, tail: ")" };

static JOURNAL: ListStatement = ListStatement {
    head: "INSERT INTO journal (rollout, seq, kind, level, ordinal, arm, what, at, platform, os, native)",
    columns: 11,
    tail: "",
};

static FIND_JOURNALS: ListStatement = ListStatement {
    head: "SELECT j.seq, j.kind, j.level, j.ordinal, j.arm, j.what, j.at, j.platform, j.os, j.native, j.rollout FROM (",
    columns: 3,
    tail: ") AS k CROSS JOIN journal AS j \
           WHERE j.rollout = k.column1 AND j.seq > k.column2 AND j.seq <= k.column3",
};

static PREFIXES: ListStatement = ListStatement {
    head: "INSERT INTO prefixes (rollout, prefix, enrolled, at)",
    columns: 4,
    tail: "ON CONFLICT (rollout, prefix) DO UPDATE SET enrolled = excluded.enrolled, at = excluded.at",
};

static FIND_PREFIXES: ListStatement = ListStatement {
    head: "SELECT p.rollout, p.prefix, p.enrolled, p.at FROM (",
    columns: 2,
    tail: ") AS k CROSS JOIN prefixes AS p WHERE p.rollout = k.column1 AND p.prefix = k.column2",
};

/// Reads what the writer holds in memory.
pub(crate) async fn load(connection: &mut Connection) -> Result<Trials> {
    let mut trials = Trials::default();
    let rollouts = "SELECT r.id, r.app, r.channel, r.line, r.serial, r.candidate, r.started, r.horizon, r.ended, \
                    (SELECT j.seq FROM journal AS j WHERE j.rollout = r.id ORDER BY j.seq DESC LIMIT 1) \
                    FROM rollouts AS r";
    for row in connection.fetch(rollouts, |_| {}).await? {
        let name = Name {
            app: small(row.try_get(1)?)?,
            channel: row.try_get(2)?,
            line: row.try_get(3)?,
            serial: row.try_get::<i64>(4)?.cast_unsigned(),
        };
        let rollout = Rollout {
            name,
            candidate: row.try_get(5)?,
            started: row.try_get(6)?,
            horizon: row.try_get(7)?,
            ended: row.try_get(8)?,
            entries: row.try_get::<Option<i64>>(9)?.map_or(0, i64::cast_unsigned),
            levels: HashMap::new(),
        };
        trials.add(row.try_get(0)?, rollout);
    }
    let levels = "SELECT rollout, level, enrolled, new, not_production, crowd FROM levels";
    for row in connection.fetch(levels, |_| {}).await? {
        let Some(rollout) = trials.rollouts.get_mut(&row.try_get(0)?) else { continue };
        let discounted = |column| row.try_get::<i64>(column).map(i64::cast_unsigned);
        let level = Level {
            enrolled: small(row.try_get(2)?)?,
            discounted: [discounted(3)?, discounted(4)?, discounted(5)?],
        };
        rollout.levels.insert(small(row.try_get(1)?)?, level);
    }
    Ok(trials)
}

pub(super) async fn write_rollouts(
    connection: &mut Connection,
    trials: &Trials,
    changed: &BTreeSet<i64>,
) -> Result<()> {
    let rows: Vec<(i64, &Rollout)> =
        changed.iter().filter_map(|id| Some((*id, trials.rollouts.get(id)?))).collect();
    let write = ROLLOUTS.write(connection, &rows, |(id, row), values| {
        let Rollout { name, candidate, started, horizon, ended, entries: _, levels: _ } = row;
        values.add(*id).add(i64::from(name.app)).add(&*name.channel).add(&*name.line);
        values.add(name.serial.cast_signed()).add(&**candidate).add(*started).add(*horizon).add(*ended);
    });
    write.await.map(drop)
}

pub(super) async fn write_levels(
    connection: &mut Connection,
    trials: &Trials,
    changed: &BTreeSet<(i64, u32)>,
) -> Result<()> {
    let row = |key: &(i64, u32)| Some((*key, trials.rollouts.get(&key.0)?.levels.get(&key.1).copied()?));
    let rows: Vec<((i64, u32), Level)> = changed.iter().filter_map(row).collect();
    let write = LEVELS.write(connection, &rows, |((rollout, level), row), values| {
        values.add(*rollout).add(i64::from(*level)).add(i64::from(row.enrolled));
        for discounted in row.discounted {
            values.add(discounted.cast_signed());
        }
    });
    write.await.map(drop)
}

/// The enrolments of devices, also in rollouts that ended.
pub(crate) async fn enrolments(
    connection: &mut Connection,
    keys: &[Key],
) -> Result<Vec<(Key, EnrolmentRow)>> {
    let mut found = Vec::new();
    FIND_ENROLMENTS
        .read(connection, keys, bind_key, |row| {
            found.push(enrolment_of(row)?);
            Ok(())
        })
        .await?;
    Ok(found)
}

/// Enrolments whose silence is too long at `until`, the longest first.
pub(super) async fn silent(
    connection: &mut Connection,
    until: i64,
    most: u32,
) -> Result<Vec<(Key, EnrolmentRow)>> {
    let silent = "SELECT app, device, rollout, level, arm, at, ordinal, discount, failed, launched_at, patience, \
                  silence_due FROM enrolments WHERE silence_due IS NOT NULL AND silence_due <= $1 \
                  ORDER BY silence_due LIMIT $2";
    let rows = connection.fetch(silent, |values| _ = values.add(until).add(i64::from(most))).await?;
    rows.iter().map(enrolment_of).collect()
}

pub(super) async fn write_enrolments(
    connection: &mut Connection,
    rows: &[(Key, &EnrolmentRow)],
) -> Result<()> {
    let write = ENROLMENTS.write(connection, rows, |(key, row), values| {
        let EnrolmentRow {
            rollout,
            level,
            arm,
            at,
            ordinal,
            discount,
            failed,
            launched_at,
            patience,
            silence_due,
        } = row;
        bind_key(key, values);
        values.add(*rollout).add(i64::from(*level)).add(arm_number(*arm)).add(*at);
        values.add(ordinal.map(i64::from));
        values.add(discount.and_then(|why| i64::try_from(discount_number(why)).ok()));
        values.add(*failed).add(*launched_at).add(*patience).add(*silence_due);
    });
    write.await.map(drop)
}

/// Removes the enrolments of devices, which thereby leave their trials.
pub(crate) async fn erase(connection: &mut Connection, trials: &mut Trials, keys: &[Key]) -> Result<u64> {
    for (_, row) in enrolments(connection, keys).await? {
        if let Some(ordinal) = row.ordinal.filter(|_| trials.running(row.rollout).is_some()) {
            trials.note(row.rollout, Entry::Left { level: row.level, ordinal });
        }
    }
    DELETE_ENROLMENTS.write(connection, keys, bind_key).await
}

pub(crate) async fn prefixes(
    connection: &mut Connection,
    keys: &[(i64, u64)],
) -> Result<HashMap<(i64, u64), Prefix>> {
    let mut found = HashMap::new();
    let bind = |key: &(i64, u64), values: &mut Values| _ = values.add(key.0).add(key.1.cast_signed());
    FIND_PREFIXES
        .read(connection, keys, bind, |row| {
            let key = (row.try_get(0)?, row.try_get::<i64>(1)?.cast_unsigned());
            found.insert(
                key,
                Prefix { enrolled: row.try_get::<i64>(2)?.cast_unsigned(), at: row.try_get(3)? },
            );
            Ok(())
        })
        .await?;
    Ok(found)
}

pub(super) async fn write_prefixes(connection: &mut Connection, rows: &[((i64, u64), Prefix)]) -> Result<()> {
    let write = PREFIXES.write(connection, rows, |((rollout, prefix), row), values| {
        values.add(*rollout).add(prefix.cast_signed()).add(row.enrolled.cast_signed()).add(row.at);
    });
    write.await.map(drop)
}

pub(super) async fn write_journal(connection: &mut Connection, rows: &[(i64, u64, Entry)]) -> Result<()> {
    let write = JOURNAL.write(connection, rows, |(rollout, seq, entry), values| {
        values.add(*rollout).add(seq.cast_signed());
        let numbered = |values: &mut Values, kind: i64, level: u32, ordinal: Option<u32>| {
            values.add(kind).add(i64::from(level)).add(ordinal.map(i64::from));
        };
        let no_traits = |values: &mut Values| _ = values.add(None::<&str>).add(None::<i64>).add(None::<&str>);
        match entry {
            Entry::Enrolled { level, arm, traits, at } => {
                numbered(values, 0, *level, None);
                values.add(Some(arm_number(*arm))).add(None::<i64>).add(Some(*at));
                values.add(Some(traits.platform.name())).add(Some(i64::from(traits.os)));
                values.add(Some(&*traits.native));
            }
            Entry::Discounted { level, arm, why } => {
                numbered(values, 1, *level, None);
                values.add(Some(arm_number(*arm))).add(i64::try_from(discount_number(*why)).ok());
                values.add(None::<i64>);
                no_traits(values);
            }
            Entry::Failed { level, ordinal, metric, at } => {
                numbered(values, 2, *level, Some(*ordinal));
                values.add(None::<i64>).add(Some(metric_bit(*metric))).add(Some(*at));
                no_traits(values);
            }
            Entry::Launched { level, ordinal, at } => {
                numbered(values, 3, *level, Some(*ordinal));
                values.add(None::<i64>).add(None::<i64>).add(Some(*at));
                no_traits(values);
            }
            Entry::Left { level, ordinal } => {
                numbered(values, 4, *level, Some(*ordinal));
                values.add(None::<i64>).add(None::<i64>).add(None::<i64>);
                no_traits(values);
            }
        }
    });
    write.await.map(drop)
}

/// The entries of journals after a number and up to another, in any order.
pub(super) async fn journals(
    connection: &mut Connection,
    wanted: &[(i64, u64, u64)],
    mut each: impl FnMut(i64, u64, Entry),
) -> Result<()> {
    let bind = |(rollout, after, until): &(i64, u64, u64), values: &mut Values| {
        values.add(*rollout).add(after.cast_signed()).add(until.cast_signed());
    };
    FIND_JOURNALS
        .read(connection, wanted, bind, |row| {
            each(row.try_get(10)?, row.try_get::<i64>(0)?.cast_unsigned(), entry_of(row)?);
            Ok(())
        })
        .await
}

fn entry_of(row: &Row) -> Result<Entry> {
    let odd = || sqlx::Error::Decode("no entry of a journal".into());
    let level = small(row.try_get(2)?)?;
    let number = |column: usize| row.try_get::<Option<i64>>(column);
    let ordinal = || small(number(3)?.ok_or_else(odd)?);
    let arm = || Ok::<_, sqlx::Error>(arm_of(number(4)?.ok_or_else(odd)?));
    let at = || number(6)?.ok_or_else(odd);
    Ok(match row.try_get::<i64>(1)? {
        0 => {
            let platform = row.try_get::<Option<&str>>(7)?.and_then(Platform::from_name);
            let traits = Traits {
                platform: platform.ok_or_else(odd)?,
                os: small(number(8)?.unwrap_or(0))?,
                native: row.try_get::<Option<String>>(9)?.unwrap_or_default(),
            };
            Entry::Enrolled { level, arm: arm()?, traits, at: at()? }
        }
        1 => {
            let why = number(5)?.and_then(discount_of).ok_or_else(odd)?;
            Entry::Discounted { level, arm: arm()?, why }
        }
        2 => {
            let bit = number(5)?.ok_or_else(odd)?;
            let metric = METRICS.into_iter().find(|metric| metric_bit(*metric) == bit).ok_or_else(odd)?;
            Entry::Failed { level, ordinal: ordinal()?, metric, at: at()? }
        }
        3 => Entry::Launched { level, ordinal: ordinal()?, at: at()? },
        4 => Entry::Left { level, ordinal: ordinal()? },
        _ => return Err(odd()),
    })
}

fn enrolment_of(row: &Row) -> Result<(Key, EnrolmentRow)> {
    let enrolment = EnrolmentRow {
        rollout: row.try_get(2)?,
        level: small(row.try_get(3)?)?,
        arm: arm_of(row.try_get(4)?),
        at: row.try_get(5)?,
        ordinal: row.try_get::<Option<i64>>(6)?.map(small).transpose()?,
        discount: row.try_get::<Option<i64>>(7)?.and_then(discount_of),
        failed: row.try_get(8)?,
        launched_at: row.try_get(9)?,
        patience: row.try_get(10)?,
        silence_due: row.try_get(11)?,
    };
    Ok((key_of(row, 0, 1)?, enrolment))
}

//! The statements: rows in, rows out. All decisions are made elsewhere.

use std::collections::{HashMap, HashSet};

use super::{
    census::Standing,
    dialect::{Connection, ListStatement, Row, Values},
    hot::Key,
    model::{
        About, DeviceRow, EventId, EventRow, FailedRow, First, OutcomeRow, OverrideRow, Steps, chosen_by,
        gaps_from_bytes, gaps_to_bytes,
    },
    registry::{Dirty, KnownVersion, Registry},
    remembered::{Learned, Remembered},
};
use sluice_core::{
    digest::Digest,
    ids::ChannelName,
    memory::{Failed, Override, OverrideBy},
    native::NativeVersion,
    outcome::Attempts,
    request::DeviceKey,
};

type Result<T> = std::result::Result<T, sqlx::Error>;

static APPS: ListStatement =
    ListStatement { head: "INSERT INTO apps (id, name)", columns: 2, tail: "ON CONFLICT DO NOTHING" };

static VERSIONS: ListStatement = ListStatement {
    head: "INSERT INTO versions (app, version, digest, first_offered, last_offered)",
    columns: 5,
    tail: "ON CONFLICT (app, version) DO UPDATE SET digest = excluded.digest, last_offered = excluded.last_offered",
};

static DEVICES: ListStatement = ListStatement {
    head: "INSERT INTO devices (app, device, first_seen, last_seen, sessions, gaps, platform, plugin, native, os, \
           running, channel, production, emulator, custom_id, offered_version, offered_at, standing)",
    columns: 18,
    tail: "ON CONFLICT (app, device) DO UPDATE SET first_seen = excluded.first_seen, \
           last_seen = excluded.last_seen, sessions = excluded.sessions, gaps = excluded.gaps, \
           platform = excluded.platform, plugin = excluded.plugin, native = excluded.native, os = excluded.os, \
           running = excluded.running, channel = excluded.channel, production = excluded.production, \
           emulator = excluded.emulator, custom_id = excluded.custom_id, \
           offered_version = excluded.offered_version, offered_at = excluded.offered_at, \
           standing = excluded.standing",
};

static FIND_DEVICES: ListStatement = ListStatement {
    head: "SELECT d.app, d.device, d.first_seen, d.last_seen, d.sessions, d.gaps, d.platform, d.plugin, d.native, \
           d.os, d.running, d.channel, d.production, d.emulator, d.custom_id, d.offered_version, d.offered_at, \
           d.standing FROM (",
    columns: 2,
    tail: ") AS k CROSS JOIN devices AS d WHERE d.app = k.column1 AND d.device = k.column2",
};

static EVENTS: ListStatement = ListStatement {
    head: "INSERT INTO events (slot, key, app, device, action, version, sent_at, received, neutral)",
    columns: 9,
    tail: "ON CONFLICT (slot, key) DO UPDATE SET received = excluded.received",
};

static FIND_EVENTS: ListStatement = ListStatement {
    head: "SELECT e.slot, e.key, e.received FROM (",
    columns: 2,
    tail: ") AS k CROSS JOIN events AS e WHERE e.slot = k.column1 AND e.key = k.column2",
};

static OUTCOMES: ListStatement = ListStatement {
    head: "INSERT INTO outcomes (app, version, device, trial_at, success_at, launch_failed_at, launch_failure, \
           install_failed_at, install_failure, install_attempts, install_last_at, health_failed_at, health_failure, \
           evidence, offered_at, downloaded_at, ran_at, rolled_back_at, refused_at, refusal)",
    columns: 20,
    tail: "ON CONFLICT (app, version, device) DO UPDATE SET trial_at = excluded.trial_at, \
           success_at = excluded.success_at, launch_failed_at = excluded.launch_failed_at, \
           launch_failure = excluded.launch_failure, install_failed_at = excluded.install_failed_at, \
           install_failure = excluded.install_failure, install_attempts = excluded.install_attempts, \
           install_last_at = excluded.install_last_at, health_failed_at = excluded.health_failed_at, \
           health_failure = excluded.health_failure, evidence = excluded.evidence, \
           offered_at = excluded.offered_at, downloaded_at = excluded.downloaded_at, ran_at = excluded.ran_at, \
           rolled_back_at = excluded.rolled_back_at, refused_at = excluded.refused_at, refusal = excluded.refusal",
};

static FIND_OUTCOMES: ListStatement = ListStatement {
    head: "SELECT o.app, o.version, o.device, o.trial_at, o.success_at, o.launch_failed_at, o.launch_failure, \
           o.install_failed_at, o.install_failure, o.install_attempts, o.install_last_at, o.health_failed_at, \
           o.health_failure, o.evidence, o.offered_at, o.downloaded_at, o.ran_at, o.rolled_back_at, o.refused_at, \
           o.refusal FROM (",
    columns: 3,
    tail: ") AS k CROSS JOIN outcomes AS o \
           WHERE o.app = k.column1 AND o.version = k.column2 AND o.device = k.column3",
};

static FAILED: ListStatement = ListStatement {
    head: "INSERT INTO failed (app, device, digest, native, at)",
    columns: 5,
    tail: "ON CONFLICT (app, device, digest) DO UPDATE SET native = excluded.native, at = excluded.at",
};

static OVERRIDES: ListStatement = ListStatement {
    head: "INSERT INTO overrides (app, device, channel, chosen_by, at, expires, who, why)",
    columns: 8,
    tail: "ON CONFLICT (app, device) DO UPDATE SET channel = excluded.channel, chosen_by = excluded.chosen_by, \
           at = excluded.at, expires = excluded.expires, who = excluded.who, why = excluded.why",
};

static FIND_SEGMENTS: ListStatement = ListStatement {
    head: "SELECT s.id FROM (",
    columns: 1,
    tail: ") AS k CROSS JOIN segments AS s WHERE s.id = k.column1",
};

static DELETE_SEGMENTS: ListStatement =
    ListStatement { head: "DELETE FROM segments WHERE id IN (", columns: 1, tail: ")" };

/// Removes devices by their keys.
pub(crate) static DELETE_DEVICES: ListStatement =
    ListStatement { head: "DELETE FROM devices WHERE (app, device) IN (", columns: 2, tail: ")" };

/// Removes events by their ids.
pub(crate) static DELETE_EVENTS: ListStatement =
    ListStatement { head: "DELETE FROM events WHERE (slot, key) IN (", columns: 2, tail: ")" };

/// Removes outcomes by their keys.
pub(crate) static DELETE_OUTCOMES: ListStatement =
    ListStatement { head: "DELETE FROM outcomes WHERE (app, version, device) IN (", columns: 3, tail: ")" };

/// An outcome's key.
pub(crate) type OutcomeKey = (Key, String);

pub(crate) async fn write_names(connection: &mut Connection, dirty: &Dirty) -> Result<()> {
    APPS.write(connection, &dirty.apps, |app, values| {
        values.add(i64::from(app.id)).add(&*app.name);
    })
    .await?;
    // A version that got another bundle stands there twice, and one statement changes a row once: the last one counts.
    let mut latest: HashMap<(u32, &str), &KnownVersion> = HashMap::with_capacity(dirty.versions.len());
    latest.extend(dirty.versions.iter().map(|known| ((known.app, &*known.version), &**known)));
    let mut latest: Vec<&KnownVersion> = latest.into_values().collect();
    latest.sort_unstable_by(|a, b| (a.app, &a.version).cmp(&(b.app, &b.version)));
    VERSIONS
        .write(connection, &latest, |known, values| {
            values.add(i64::from(known.app)).add(&*known.version).add(&known.digest.as_bytes()[..]);
            values.add(known.first).add(known.last());
        })
        .await?;
    Ok(())
}

pub(crate) async fn devices(connection: &mut Connection, keys: &[Key]) -> Result<HashMap<Key, DeviceRow>> {
    let mut found = HashMap::with_capacity(keys.len());
    FIND_DEVICES
        .read(connection, keys, bind_key, |row| {
            found.insert(key_of(row, 0, 1)?, device_of(row)?);
            Ok(())
        })
        .await?;
    Ok(found)
}

pub(crate) async fn write_devices(connection: &mut Connection, rows: &[(Key, &DeviceRow)]) -> Result<()> {
    let write = DEVICES.write(connection, rows, |(key, row), values| {
        let DeviceRow { first_seen, last_seen, sessions, gaps, about, offered, standing } = row;
        bind_key(key, values);
        values.add(*first_seen).add(*last_seen).add(*sessions).add(gaps_to_bytes(gaps));
        values
            .add(about.platform)
            .add(&*about.plugin)
            .add(&*about.native)
            .add(&*about.os)
            .add(&*about.running);
        values.add(about.channel.as_deref()).add(i64::from(about.production)).add(i64::from(about.emulator));
        values.add(about.custom_id.as_ref().map(|hash| &hash[..]));
        values.add(offered.as_ref().map(|(version, _)| &**version)).add(offered.as_ref().map(|(_, at)| *at));
        values.add(standing.map(Standing::number));
    });
    write.await.map(drop)
}

/// Which of these events are there, and when they were received.
pub(crate) async fn events(connection: &mut Connection, ids: &[EventId]) -> Result<HashMap<EventId, i64>> {
    let mut found = HashMap::new();
    FIND_EVENTS
        .read(
            connection,
            ids,
            |id, values| {
                values.add(id.slot).add(&id.hash[..]);
            },
            |row| {
                let hash = sixteen(row.try_get(1)?)?;
                found.insert(EventId { slot: row.try_get(0)?, hash }, row.try_get(2)?);
                Ok(())
            },
        )
        .await?;
    Ok(found)
}

pub(crate) async fn write_events(connection: &mut Connection, rows: &[EventRow]) -> Result<()> {
    let write = EVENTS.write(connection, rows, |row, values| {
        let EventRow { id, key, action, version, sent_at, received, neutral } = row;
        values.add(id.slot).add(&id.hash[..]);
        bind_key(key, values);
        values.add(&**action).add(&**version).add(*sent_at).add(*received).add(i64::from(*neutral));
    });
    write.await.map(drop)
}

pub(crate) async fn outcomes(
    connection: &mut Connection,
    keys: &[OutcomeKey],
) -> Result<HashMap<OutcomeKey, OutcomeRow>> {
    let mut found = HashMap::with_capacity(keys.len());
    FIND_OUTCOMES
        .read(
            connection,
            keys,
            |(key, version), values| {
                values.add(i64::from(key.app)).add(&**version).add(&key.device.as_bytes()[..]);
            },
            |row| {
                found.insert((key_of(row, 0, 2)?, row.try_get(1)?), outcome_of(row)?);
                Ok(())
            },
        )
        .await?;
    Ok(found)
}

pub(crate) async fn write_outcomes(
    connection: &mut Connection,
    rows: &[(&OutcomeKey, &OutcomeRow)],
) -> Result<()> {
    fn first(first: Option<&First>, values: &mut Values) {
        values.add(first.map(|f| f.at)).add(first.map(|f| &*f.action));
    }
    let write = OUTCOMES.write(connection, rows, |((key, version), row), values| {
        let OutcomeRow { trial_at, success_at, launch, install, attempts, health, evidence, steps } = row;
        values.add(i64::from(key.app)).add(&**version).add(&key.device.as_bytes()[..]);
        values.add(*trial_at).add(*success_at);
        first(launch.as_ref(), values);
        first(install.as_ref(), values);
        values.add(i64::from(attempts.count)).add(attempts.last);
        first(health.as_ref(), values);
        values.add(i64::from(*evidence));
        values.add(steps.offered_at).add(steps.downloaded_at).add(steps.ran_at).add(steps.rolled_back_at);
        first(steps.refused.as_ref(), values);
    });
    write.await.map(drop)
}

pub(crate) async fn write_failed(connection: &mut Connection, rows: &[FailedRow]) -> Result<()> {
    let write = FAILED.write(connection, rows, |row, values| {
        bind_key(&row.key, values);
        values.add(&row.digest.as_bytes()[..]).add(row.native.to_string()).add(row.at);
    });
    write.await.map(drop)
}

pub(crate) async fn write_overrides(connection: &mut Connection, rows: &[OverrideRow]) -> Result<()> {
    let write = OVERRIDES.write(connection, rows, |row, values| {
        bind_key(&row.key, values);
        values.add(row.chosen.channel.as_str()).add(chosen_by(row.chosen.by)).add(row.at).add(row.expires);
        let author = row.author.as_ref();
        values.add(author.map(|author| &*author.who)).add(author.map(|author| &*author.why));
    });
    write.await.map(drop)
}

/// Notes that a segment is taken in; false when it was before.
pub(crate) async fn admit_segment(connection: &mut Connection, id: &[u8; 16], now: i64) -> Result<bool> {
    let admit = "INSERT INTO segments (id, ingested) VALUES ($1, $2) ON CONFLICT DO NOTHING";
    let added = connection.execute(admit, |values| _ = values.add(&id[..]).add(now)).await?;
    Ok(added == 1)
}

/// Which of these segments were taken in.
pub(crate) async fn known_segments(
    connection: &mut Connection,
    ids: &[[u8; 16]],
) -> Result<HashSet<[u8; 16]>> {
    let mut found = HashSet::new();
    let bind = |id: &[u8; 16], values: &mut Values| _ = values.add(&id[..]);
    FIND_SEGMENTS
        .read(connection, ids, bind, |row| {
            found.insert(sixteen(row.try_get(0)?)?);
            Ok(())
        })
        .await?;
    Ok(found)
}

/// Forgets segments whose objects are gone.
pub(crate) async fn forget_segments(connection: &mut Connection, ids: &[[u8; 16]]) -> Result<()> {
    let forget = DELETE_SEGMENTS.write(connection, ids, |id, values| _ = values.add(&id[..]));
    forget.await.map(drop)
}

pub(crate) async fn delete_override(connection: &mut Connection, key: &Key) -> Result<()> {
    connection
        .execute("DELETE FROM overrides WHERE app = $1 AND device = $2", |values| bind_key(key, values))
        .await
        .map(drop)
}

/// What is held in memory from the first request on: names, overrides, failed bundles.
pub(crate) struct Loaded {
    apps: Vec<(u32, String)>,
    versions: Vec<(u32, String, Digest, i64, i64)>,
    learned: Vec<(Key, Learned)>,
}

/// Reads what is held in memory.
pub(crate) async fn load(connection: &mut Connection, now: i64) -> Result<Loaded> {
    let mut loaded = Loaded { apps: Vec::new(), versions: Vec::new(), learned: Vec::new() };
    for row in connection.fetch("SELECT id, name FROM apps", |_| {}).await? {
        loaded.apps.push((small(row.try_get(0)?)?, row.try_get(1)?));
    }
    let versions = "SELECT app, version, digest, first_offered, last_offered FROM versions";
    for row in connection.fetch(versions, |_| {}).await? {
        let (app, digest) = (small(row.try_get(0)?)?, digest(row.try_get(2)?)?);
        loaded.versions.push((app, row.try_get(1)?, digest, row.try_get(3)?, row.try_get(4)?));
    }
    loaded.learned = learned(connection, now).await?;
    Ok(loaded)
}

/// Reads what is remembered of devices.
pub(crate) async fn learned(connection: &mut Connection, now: i64) -> Result<Vec<(Key, Learned)>> {
    let mut learned = Vec::new();
    let chosen = "SELECT app, device, channel, chosen_by, expires FROM overrides";
    for row in connection.fetch(chosen, |_| {}).await? {
        let by = if row.try_get::<&str>(3)? == "device" { OverrideBy::Device } else { OverrideBy::Support };
        // A name that a newer release allowed and this one does not is as good as none.
        let Ok(channel) = row.try_get::<&str>(2)?.parse::<ChannelName>() else { continue };
        let chosen = Learned::Override(Override { channel, by }, row.try_get(4)?);
        learned.push((key_of(&row, 0, 1)?, chosen));
    }
    let failed = "SELECT app, device, digest, native, at FROM failed WHERE at > $1 ORDER BY at";
    let since = now - sluice_core::memory::FAILED_FOR_SECONDS;
    for row in connection.fetch(failed, |values| _ = values.add(since)).await? {
        let native = row.try_get::<&str>(3)?.parse().unwrap_or(NativeVersion::ZERO);
        let failed = Failed { digest: digest(row.try_get(2)?)?, native, at: row.try_get(4)? };
        learned.push((key_of(&row, 0, 1)?, Learned::Failed(failed)));
    }
    Ok(learned)
}

impl Loaded {
    /// Hands it over.
    pub(crate) fn fill(self, registry: &Registry, remembered: &Remembered, now: i64) {
        for (id, name) in &self.apps {
            registry.load_app(*id, name);
        }
        let apps: HashMap<u32, _> = registry.apps().into_iter().map(|app| (app.id, app)).collect();
        for (app, version, digest, first, last) in &self.versions {
            if let Some(app) = apps.get(app) {
                app.load_version(version, *digest, *first, *last);
            }
        }
        for (key, learned) in self.learned {
            remembered.learn(key, learned);
        }
        remembered.expire(now);
    }
}

pub(crate) fn bind_key(key: &Key, values: &mut Values) {
    values.add(i64::from(key.app)).add(&key.device.as_bytes()[..]);
}

pub(crate) fn key_of(row: &Row, app: usize, device: usize) -> Result<Key> {
    Ok(Key { app: small(row.try_get(app)?)?, device: DeviceKey::from_bytes(sixteen(row.try_get(device)?)?) })
}

fn device_of(row: &Row) -> Result<DeviceRow> {
    let custom_id = row.try_get::<Option<&[u8]>>(14)?.map(sixteen).transpose()?;
    let about = About {
        platform: sluice_core::channel::Platform::from_name(row.try_get(6)?).map_or("", |p| p.name()),
        plugin: row.try_get(7)?,
        native: row.try_get(8)?,
        os: row.try_get(9)?,
        running: row.try_get(10)?,
        channel: row.try_get(11)?,
        production: row.try_get::<i64>(12)? != 0,
        emulator: row.try_get::<i64>(13)? != 0,
        custom_id,
    };
    Ok(DeviceRow {
        first_seen: row.try_get(2)?,
        last_seen: row.try_get(3)?,
        sessions: row.try_get(4)?,
        gaps: gaps_from_bytes(row.try_get(5)?),
        about,
        offered: row.try_get::<Option<String>>(15)?.zip(row.try_get::<Option<i64>>(16)?),
        standing: row.try_get::<Option<i64>>(17)?.and_then(Standing::of_number),
    })
}

fn outcome_of(row: &Row) -> Result<OutcomeRow> {
    let first = |at: usize| -> Result<Option<First>> {
        let action: Option<String> = row.try_get(at + 1)?;
        Ok(row.try_get::<Option<i64>>(at)?.map(|at| First { at, action: action.unwrap_or_default() }))
    };
    Ok(OutcomeRow {
        trial_at: row.try_get(3)?,
        success_at: row.try_get(4)?,
        launch: first(5)?,
        install: first(7)?,
        attempts: Attempts { count: small(row.try_get(9)?)?, last: row.try_get(10)? },
        health: first(11)?,
        evidence: row.try_get::<i64>(13)? != 0,
        steps: Steps {
            offered_at: row.try_get(14)?,
            downloaded_at: row.try_get(15)?,
            ran_at: row.try_get(16)?,
            rolled_back_at: row.try_get(17)?,
            refused: first(18)?,
        },
    })
}

/// A digest column.
pub(crate) fn digest(bytes: &[u8]) -> Result<Digest> {
    bytes.try_into().map(Digest::from_bytes).map_err(|e| sqlx::Error::Decode(Box::new(e)))
}

pub(crate) fn sixteen(bytes: &[u8]) -> Result<[u8; 16]> {
    bytes.try_into().map_err(|e| sqlx::Error::Decode(Box::new(e)))
}

pub(crate) fn small(number: i64) -> Result<u32> {
    u32::try_from(number).map_err(|e| sqlx::Error::Decode(Box::new(e)))
}

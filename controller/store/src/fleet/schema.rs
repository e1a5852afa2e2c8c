//! Opening a store: the lock, the format, and the migrations.

use std::{
    fs::{File, TryLockError},
    path::Path,
};

use sqlx::{
    SqlSafeStr as _,
    migrate::{Migration, MigrationType, Migrator},
};

use super::{dialect::Connection, error::FleetError, place::Place, types::Limits};

/// The newest format that this program knows: the number of the last migration.
pub(crate) const SCHEMA: i64 = 6;

type Migrations = [(i64, &'static str, &'static str); 6];

const SQLITE: Migrations = [
    (1, "fleet", include_str!("../../migrations/sqlite/0001_fleet.sql")),
    (2, "segments", include_str!("../../migrations/sqlite/0002_segments.sql")),
    (3, "trials", include_str!("../../migrations/sqlite/0003_trials.sql")),
    (4, "acts", include_str!("../../migrations/sqlite/0004_acts.sql")),
    (5, "census", include_str!("../../migrations/sqlite/0005_census.sql")),
    (6, "traffic", include_str!("../../migrations/sqlite/0006_traffic.sql")),
];

const POSTGRES: Migrations = [
    (1, "fleet", include_str!("../../migrations/postgres/0001_fleet.sql")),
    (2, "segments", include_str!("../../migrations/postgres/0002_segments.sql")),
    (3, "trials", include_str!("../../migrations/postgres/0003_trials.sql")),
    (4, "acts", include_str!("../../migrations/postgres/0004_acts.sql")),
    (5, "census", include_str!("../../migrations/postgres/0005_census.sql")),
    (6, "traffic", include_str!("../../migrations/postgres/0006_traffic.sql")),
];

/// Keeps others off the store while it lives, and is gone when the process is, however it ends. A server keeps its lock
/// by itself, with the connection.
pub(crate) struct Lock {
    _file: Option<File>,
}

/// Who writes: a random number that a server's store holds, so that a process whose connection broke finds out whether
/// another one wrote meanwhile. What it has in memory would be old then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Holder([u8; 16]);

impl Holder {
    pub(crate) fn random() -> Self {
        Self(rand::random())
    }
}

/// Takes the lock.
pub(crate) fn lock(place: &Place) -> Result<Lock, FleetError> {
    match place {
        Place::File(path) => lock_file(place, path),
        Place::Server(_) => Ok(Lock { _file: None }),
    }
}

/// Brings a store to the format of this program.
pub(crate) async fn prepare(
    connection: &mut Connection,
    place: &Place,
    holder: Holder,
) -> Result<(), FleetError> {
    let opening = |error: sqlx::Error| FleetError::opening(place, &error);
    refuse_newer(connection, place).await?;
    let migrated = match &mut *connection {
        Connection::Sqlite(c) => migrator(SQLITE).run_direct(None, &mut **c, false).await,
        Connection::Postgres(c) => migrator(POSTGRES).run_direct(None, &mut **c, false).await,
    };
    migrated.map_err(|error| match error {
        sqlx::migrate::MigrateError::Execute(error)
        | sqlx::migrate::MigrateError::ExecuteMigration(error, _) => opening(error),
        other => FleetError::Open { place: place.to_string(), reason: other.to_string() },
    })?;
    if matches!(place, Place::Server(_)) {
        let claim = "INSERT INTO meta (name, value) VALUES ('holder', $1) \
                     ON CONFLICT (name) DO UPDATE SET value = excluded.value";
        connection.execute(claim, |v| _ = v.add(hex::encode(holder.0))).await.map_err(opening)?;
    }
    Ok(())
}

/// Opens the connection that writes again, after it broke.
pub(crate) async fn reopen(
    place: &Place,
    holder: Holder,
    limits: &Limits,
) -> Result<Option<Connection>, sqlx::Error> {
    let mut connection = Connection::open(place, limits).await?;
    if matches!(place, Place::Server(_)) {
        let rows = connection.fetch("SELECT value FROM meta WHERE name = 'holder'", |_| {}).await?;
        let found = rows.first().map(|row| row.try_get::<String>(0)).transpose()?;
        if found != Some(hex::encode(holder.0)) {
            // Gives the lock back to whom it belongs.
            drop(connection.close().await);
            return Ok(None);
        }
    }
    Ok(Some(connection))
}

fn lock_file(place: &Place, path: &Path) -> Result<Lock, FleetError> {
    let refuse = |reason: String| FleetError::Open { place: place.to_string(), reason };
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let file = File::options().create(true).truncate(false).write(true).open(name);
    let file = file.map_err(|e| refuse(format!("its lock file: {e}")))?;
    match file.try_lock() {
        Ok(()) => Ok(Lock { _file: Some(file) }),
        Err(TryLockError::WouldBlock) => Err(FleetError::InUse { place: place.to_string() }),
        Err(TryLockError::Error(e)) => Err(refuse(format!("its lock file: {e}"))),
    }
}

/// Migrations that this program does not know are left alone: a newer release made them in a way that this one can
/// live with, or [`refuse_newer`] has spoken.
fn migrator(migrations: Migrations) -> Migrator {
    let migrations = migrations
        .into_iter()
        .map(|(version, name, sql)| {
            Migration::new(version, name.into(), MigrationType::Simple, sql.into_sql_str(), false)
        })
        .collect();
    let mut migrator = Migrator::with_migrations(migrations);
    migrator.set_ignore_missing(true);
    migrator
}

async fn refuse_newer(connection: &mut Connection, place: &Place) -> Result<(), FleetError> {
    let opening = |error: sqlx::Error| FleetError::opening(place, &error);
    let is_there = match connection {
        Connection::Sqlite(_) => "SELECT name FROM sqlite_master WHERE name = 'meta'",
        Connection::Postgres(_) => {
            "SELECT tablename::text FROM pg_tables WHERE schemaname = current_schema() AND tablename = 'meta'"
        }
    };
    if connection.fetch(is_there, |_| {}).await.map_err(opening)?.is_empty() {
        return Ok(());
    }
    let (mut found, mut readable_by) = (SCHEMA, SCHEMA);
    let rows = connection
        .fetch("SELECT name, value FROM meta WHERE name IN ('schema', 'readable_by')", |_| {})
        .await
        .map_err(opening)?;
    for row in rows {
        let (name, value): (String, String) =
            (row.try_get(0).map_err(opening)?, row.try_get(1).map_err(opening)?);
        let number = value.parse().map_err(|_| FleetError::Corrupt {
            place: place.to_string(),
            reason: "its format is not a number".to_owned(),
        })?;
        match &*name {
            "schema" => found = number,
            _ => readable_by = number,
        }
    }
    if readable_by > SCHEMA {
        let place = place.to_string();
        return Err(FleetError::Newer { place, found, readable_by, understood: SCHEMA });
    }
    Ok(())
}

/// The key for hashes of custom ids, made at the first start.
pub(crate) async fn custom_id_key(
    connection: &mut Connection,
    fresh: [u8; 32],
) -> Result<[u8; 32], sqlx::Error> {
    let make = "INSERT INTO meta (name, value) VALUES ('custom_id_key', $1) ON CONFLICT (name) DO NOTHING";
    connection.execute(make, |v| _ = v.add(hex::encode(fresh))).await?;
    let rows = connection.fetch("SELECT value FROM meta WHERE name = 'custom_id_key'", |_| {}).await?;
    let row = rows.first().ok_or(sqlx::Error::RowNotFound)?;
    let mut key = [0; 32];
    hex::decode_to_slice(row.try_get::<&str>(0)?, &mut key).map_err(|e| sqlx::Error::Decode(Box::new(e)))?;
    Ok(key)
}

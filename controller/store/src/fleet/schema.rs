//! Opening the file: the lock, the format, and the migrations.

use std::{
    fs::{File, TryLockError},
    path::Path,
};

use sqlx::{
    Row as _, SqlSafeStr as _,
    migrate::{Migration, MigrationType, Migrator},
};

use super::{
    dialect::{self, Connection},
    error::FleetError,
    types::Limits,
};

/// The newest format that this program knows: the number of the last migration.
pub(crate) const SCHEMA: i64 = 1;

const MIGRATIONS: [(i64, &str, &str); 1] =
    [(1, "fleet", include_str!("../../migrations/sqlite/0001_fleet.sql"))];

/// Keeps others off the file while it lives, and is gone when the process is, however it ends.
pub(crate) struct Lock {
    _file: File,
}

/// Takes the lock, opens the file, and brings it to the format of this program.
pub(crate) async fn open(path: &Path, limits: &Limits) -> Result<(Connection, Lock), FleetError> {
    let lock = lock(path)?;
    let opening = |error: sqlx::Error| FleetError::opening(path, &error);
    let mut connection = dialect::connect(path, limits).await.map_err(opening)?;
    refuse_newer(&mut connection, path).await?;
    migrator().run_direct(None, &mut connection, false).await.map_err(|error| match error {
        sqlx::migrate::MigrateError::Execute(error)
        | sqlx::migrate::MigrateError::ExecuteMigration(error, _) => opening(error),
        other => FleetError::Open { path: path.to_path_buf(), reason: other.to_string() },
    })?;
    Ok((connection, lock))
}

fn lock(path: &Path) -> Result<Lock, FleetError> {
    let refuse = |reason: String| FleetError::Open { path: path.to_path_buf(), reason };
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let file = File::options().create(true).truncate(false).write(true).open(name);
    let file = file.map_err(|e| refuse(format!("its lock file: {e}")))?;
    match file.try_lock() {
        Ok(()) => Ok(Lock { _file: file }),
        Err(TryLockError::WouldBlock) => Err(FleetError::InUse { path: path.to_path_buf() }),
        Err(TryLockError::Error(e)) => Err(refuse(format!("its lock file: {e}"))),
    }
}

/// Migrations that this program does not know are left alone: a newer release made them in a way that this one can
/// live with, or [`refuse_newer`] has spoken.
fn migrator() -> Migrator {
    let migrations = MIGRATIONS
        .into_iter()
        .map(|(version, name, sql)| {
            Migration::new(version, name.into(), MigrationType::Simple, sql.into_sql_str(), false)
        })
        .collect();
    let mut migrator = Migrator::with_migrations(migrations);
    migrator.set_ignore_missing(true);
    migrator
}

async fn refuse_newer(connection: &mut Connection, path: &Path) -> Result<(), FleetError> {
    let opening = |error: sqlx::Error| FleetError::opening(path, &error);
    let rows =
        sqlx::query("SELECT name FROM sqlite_master WHERE name = 'meta'").fetch_all(&mut *connection).await;
    if rows.map_err(opening)?.is_empty() {
        return Ok(());
    }
    let (mut found, mut readable_by) = (SCHEMA, SCHEMA);
    let rows = sqlx::query("SELECT name, value FROM meta WHERE name IN ('schema', 'readable_by')");
    for row in rows.fetch_all(connection).await.map_err(opening)? {
        let number = row.get::<String, _>(1).parse().map_err(|_| FleetError::Corrupt {
            path: path.to_path_buf(),
            reason: "its format is not a number".to_owned(),
        })?;
        match row.get::<&str, _>(0) {
            "schema" => found = number,
            _ => readable_by = number,
        }
    }
    if readable_by > SCHEMA {
        return Err(FleetError::Newer { path: path.to_path_buf(), found, readable_by, understood: SCHEMA });
    }
    Ok(())
}

/// The key for hashes of custom ids, made at the first start.
pub(crate) async fn custom_id_key(
    connection: &mut Connection,
    fresh: [u8; 32],
) -> Result<[u8; 32], sqlx::Error> {
    sqlx::query("INSERT INTO meta (name, value) VALUES ('custom_id_key', $1) ON CONFLICT (name) DO NOTHING")
        .bind(hex::encode(fresh))
        .execute(&mut *connection)
        .await?;
    let row =
        sqlx::query("SELECT value FROM meta WHERE name = 'custom_id_key'").fetch_one(connection).await?;
    let mut key = [0; 32];
    hex::decode_to_slice(row.try_get::<&str, _>(0)?, &mut key)
        .map_err(|e| sqlx::Error::Decode(Box::new(e)))?;
    Ok(key)
}

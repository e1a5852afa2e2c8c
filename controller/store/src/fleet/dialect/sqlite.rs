//! The embedded file.

use std::{path::Path, time::Duration};

use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous},
};

use crate::fleet::types::Limits;

/// What every connection to the file has in common, before the file is read.
fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .busy_timeout(Duration::from_secs(5))
        .statement_cache_capacity(256)
        .disable_statement_logging()
}

/// 32 MiB of pages, and a checkpoint per 16 MiB of log.
const SETTINGS: &str = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA temp_store = memory; \
    PRAGMA cache_size = -32768; PRAGMA wal_autocheckpoint = 4000; PRAGMA journal_size_limit = 67108864;";

/// Opens the file. When that fails, it is not open any more: a connection that ended later would take the log away from
/// whatever stands under the name by then.
pub(super) async fn connect(path: &Path, limits: &Limits) -> Result<SqliteConnection, sqlx::Error> {
    let mut connection = options(path).create_if_missing(true).connect().await?;
    let pages = limits.max_pages.map(|pages| format!("PRAGMA max_page_count = {pages};"));
    // The settings are the first that reads the file.
    let settings = AssertSqlSafe(format!("{SETTINGS}{}", pages.unwrap_or_default()));
    match connection.execute(settings).await {
        Ok(_) => Ok(connection),
        Err(error) => {
            drop(connection.close().await);
            Err(error)
        }
    }
}

pub(super) fn readers(path: &Path) -> SqlitePool {
    SqlitePoolOptions::new()
        .max_connections(4)
        .min_connections(0)
        .idle_timeout(Duration::from_mins(1))
        // A file does not go away, and the gate asks often.
        .test_before_acquire(false)
        .connect_lazy_with(
            options(path)
                .journal_mode(SqliteJournalMode::Wal)
                .synchronous(SqliteSynchronous::Full)
                .read_only(true),
        )
}

//! The embedded file.

use std::{path::Path, time::Duration};

use sqlx::{
    ConnectOptions as _, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous},
};

use crate::fleet::types::Limits;

/// The options of every connection to the file.
fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(Duration::from_secs(5))
        .statement_cache_capacity(256)
        .disable_statement_logging()
}

pub(super) async fn connect(path: &Path, limits: &Limits) -> Result<SqliteConnection, sqlx::Error> {
    let mut options = options(path)
        .create_if_missing(true)
        .pragma("temp_store", "memory")
        // 32 MiB of pages, and a checkpoint per 16 MiB of log.
        .pragma("cache_size", "-32768")
        .pragma("wal_autocheckpoint", "4000")
        .pragma("journal_size_limit", "67108864");
    if let Some(pages) = limits.max_pages {
        options = options.pragma("max_page_count", pages.to_string());
    }
    options.connect().await
}

pub(super) fn readers(path: &Path) -> SqlitePool {
    SqlitePoolOptions::new()
        .max_connections(2)
        .min_connections(0)
        .idle_timeout(Duration::from_mins(1))
        .connect_lazy_with(options(path).read_only(true))
}

//! The one place where SQL dialects differ: connections, placeholders, and pragmas.
//!
//! Statements are written for SQLite and Postgres alike: many rows per statement as `VALUES` lists, `ON CONFLICT`, and
//! look-ups that join a `VALUES` list (whose columns both call `column1`, `column2`, …).

use std::{
    collections::HashMap,
    path::Path,
    sync::{Arc, LazyLock, Mutex, PoisonError},
    time::Duration,
};

use sqlx::{
    Arguments as _, AssertSqlSafe, ConnectOptions as _, SqliteConnection,
    error::BoxDynError,
    sqlite::{
        SqliteArguments, SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteRow,
        SqliteSynchronous,
    },
};

use super::{error::FleetError, types::Limits};

/// A connection.
pub(crate) type Connection = SqliteConnection;
/// A row.
pub(crate) type Row = SqliteRow;
/// Connections for reading.
pub(crate) type Readers = SqlitePool;
/// Values of a statement, in the order of its placeholders.
#[derive(Default)]
pub(crate) struct Values(SqliteArguments, Option<BoxDynError>);

/// Rows per statement: few sizes, so that every statement is prepared once.
const CHUNKS: [usize; 4] = [128, 32, 8, 1];

/// A statement over a list of rows: `head VALUES-list tail`.
pub(crate) struct ListStatement {
    /// Text before the list.
    pub(crate) head: &'static str,
    /// Columns of a row of the list.
    pub(crate) columns: usize,
    /// Text after the list.
    pub(crate) tail: &'static str,
}

impl Values {
    /// Adds a value.
    pub(crate) fn add<'t, T>(&mut self, value: T) -> &mut Self
    where
        T: sqlx::Encode<'t, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>,
    {
        if let Err(error) = self.0.add(value) {
            self.1.get_or_insert(error);
        }
        self
    }

    fn finish(self) -> Result<SqliteArguments, BoxDynError> {
        self.1.map_or(Ok(self.0), Err)
    }
}

impl ListStatement {
    /// The text for a number of rows. Only constants go into it.
    fn text(&'static self, rows: usize) -> AssertSqlSafe<Arc<str>> {
        type Texts = HashMap<(usize, usize), Arc<str>>;
        static TEXTS: LazyLock<Mutex<Texts>> = LazyLock::new(Mutex::default);
        let mut texts = TEXTS.lock().unwrap_or_else(PoisonError::into_inner);
        let text = texts.entry((std::ptr::from_ref(self).addr(), rows)).or_insert_with(|| {
            let row = format!("({})", vec!["?"; self.columns].join(", "));
            format!("{} VALUES {} {}", self.head, vec![row; rows].join(", "), self.tail).into()
        });
        AssertSqlSafe(Arc::clone(text))
    }

    /// Runs it for all rows, and returns how many rows it changed.
    pub(crate) async fn write<T>(
        &'static self,
        connection: &mut Connection,
        rows: &[T],
        bind: impl Fn(&T, &mut Values),
    ) -> Result<u64, sqlx::Error> {
        let mut changed = 0;
        for chunk in chunks(rows) {
            let values = self.values(chunk, &bind);
            let query = sqlx::query_with(self.text(chunk.len()), values.map_err(sqlx::Error::Encode)?);
            changed += query.execute(&mut *connection).await?.rows_affected();
        }
        Ok(changed)
    }

    /// Runs it for all keys, and hands every row found to `each`.
    pub(crate) async fn read<T>(
        &'static self,
        connection: &mut Connection,
        keys: &[T],
        bind: impl Fn(&T, &mut Values),
        mut each: impl FnMut(&Row) -> Result<(), sqlx::Error>,
    ) -> Result<(), sqlx::Error> {
        for chunk in chunks(keys) {
            let values = self.values(chunk, &bind);
            let query = sqlx::query_with(self.text(chunk.len()), values.map_err(sqlx::Error::Encode)?);
            for row in query.fetch_all(&mut *connection).await? {
                each(&row)?;
            }
        }
        Ok(())
    }

    fn values<T>(&self, rows: &[T], bind: impl Fn(&T, &mut Values)) -> Result<SqliteArguments, BoxDynError> {
        let mut values = Values::default();
        values.0.reserve(rows.len() * self.columns, 0);
        for row in rows {
            bind(row, &mut values);
        }
        values.finish()
    }
}

/// Cuts a list into pieces of the sizes in [`CHUNKS`].
fn chunks<T>(mut rows: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let size = CHUNKS.into_iter().find(|size| *size <= rows.len())?;
        let (chunk, rest) = rows.split_at(size);
        rows = rest;
        Some(chunk)
    })
}

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

/// The connection that writes. There is one.
pub(crate) async fn connect(path: &Path, limits: &Limits) -> Result<Connection, sqlx::Error> {
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

/// Connections that read.
pub(crate) fn readers(path: &Path) -> Readers {
    SqlitePoolOptions::new()
        .max_connections(2)
        .min_connections(0)
        .idle_timeout(Duration::from_mins(1))
        .connect_lazy_with(options(path).read_only(true))
}

/// Starts, ends or gives up a transaction. Plain statements, so that a transaction that the database gave up by itself
/// (a full disk) does not confuse a counter.
pub(crate) async fn begin(connection: &mut Connection) -> Result<(), sqlx::Error> {
    sqlx::query("BEGIN IMMEDIATE").execute(connection).await.map(drop)
}

/// Makes the transaction durable.
pub(crate) async fn commit(connection: &mut Connection) -> Result<(), sqlx::Error> {
    sqlx::query("COMMIT").execute(connection).await.map(drop)
}

/// Moves the log into the file.
pub(crate) async fn checkpoint(connection: &mut Connection) -> Result<(), FleetError> {
    sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)")
        .execute(connection)
        .await
        .map(drop)
        .map_err(FleetError::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_cover_every_row_once() {
        for n in [0, 1, 7, 8, 9, 127, 128, 300] {
            let rows: Vec<usize> = (0..n).collect();
            let cut: Vec<usize> = chunks(&rows).flatten().copied().collect();
            assert_eq!(cut, rows);
        }
    }
}

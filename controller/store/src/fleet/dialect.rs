//! The one place where databases differ: connections, placeholders, values, and what only one of them has.
//!
//! Statements are written for SQLite and Postgres alike: many rows per statement as `VALUES` lists, `ON CONFLICT`, and
//! look-ups that join a `VALUES` list (whose columns both call `column1`, `column2`, …). Every number is a 64-bit one.

use std::{
    collections::HashMap,
    ops::{Deref, DerefMut},
    sync::{Arc, LazyLock, Mutex, PoisonError},
};

use sqlx::{
    AssertSqlSafe, Connection as _, Database, Decode, Executor as _, Postgres, Row as _, Sqlite, Type,
    pool::PoolConnection, postgres::PgRow, sqlite::SqliteRow,
};

mod postgres;
mod readers;
mod sqlite;
mod values;

pub(crate) use self::{
    postgres::{PATIENCE, Server, taken, within},
    readers::Readers,
    values::Values,
};
use super::{error::FleetError, place::Place, types::Limits};

type Result<T> = std::result::Result<T, sqlx::Error>;

/// A connection, its own or one of a pool's.
pub(crate) enum Connection {
    /// To a file.
    Sqlite(Held<Sqlite>),
    /// To a server.
    Postgres(Held<Postgres>),
}

/// Who has it when it is not used any more.
pub(crate) enum Held<D: Database> {
    /// Nobody.
    Own(D::Connection),
    /// A pool.
    Pooled(PoolConnection<D>),
}

impl<D: Database> Deref for Held<D> {
    type Target = D::Connection;

    fn deref(&self) -> &D::Connection {
        match self {
            Self::Own(connection) => connection,
            Self::Pooled(connection) => connection,
        }
    }
}

impl<D: Database> DerefMut for Held<D> {
    fn deref_mut(&mut self) -> &mut D::Connection {
        match self {
            Self::Own(connection) => connection,
            Self::Pooled(connection) => connection,
        }
    }
}

/// A row.
pub(crate) enum Row {
    /// Of a file.
    Sqlite(SqliteRow),
    /// Of a server.
    Postgres(PgRow),
}

impl Row {
    /// The value of a column.
    pub(crate) fn try_get<'r, T>(&'r self, column: usize) -> Result<T>
    where
        T: Decode<'r, Sqlite> + Type<Sqlite> + Decode<'r, Postgres> + Type<Postgres>,
    {
        match self {
            Self::Sqlite(row) => row.try_get(column),
            Self::Postgres(row) => row.try_get(column),
        }
    }
}

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

impl ListStatement {
    /// The text for a number of rows. Only constants go into it. SQLite takes numbered placeholders as well, and has to
    /// look each up; the anonymous ones are faster.
    fn text(&'static self, rows: usize, numbered: bool) -> AssertSqlSafe<Arc<str>> {
        type Texts = HashMap<(usize, usize, bool), Arc<str>>;
        static TEXTS: LazyLock<Mutex<Texts>> = LazyLock::new(Mutex::default);
        let mut texts = TEXTS.lock().unwrap_or_else(PoisonError::into_inner);
        let text = texts.entry((std::ptr::from_ref(self).addr(), rows, numbered)).or_insert_with(|| {
            let place = |n: usize| if numbered { format!("${n}") } else { "?".to_owned() };
            let row = |row: usize| {
                let places: Vec<String> = (1..=self.columns).map(|n| place(row * self.columns + n)).collect();
                format!("({})", places.join(", "))
            };
            let list: Vec<String> = (0..rows).map(row).collect();
            format!("{} VALUES {} {}", self.head, list.join(", "), self.tail).into()
        });
        AssertSqlSafe(Arc::clone(text))
    }

    /// Runs it for all rows, and returns how many rows it changed.
    pub(crate) async fn write<T>(
        &'static self,
        connection: &mut Connection,
        rows: &[T],
        bind: impl Fn(&T, &mut Values),
    ) -> Result<u64> {
        let mut changed = 0;
        for chunk in chunks(rows) {
            let values = self.values(connection, chunk, &bind);
            changed += match connection {
                Connection::Sqlite(c) => {
                    let query = sqlx::query_with(self.text(chunk.len(), false), values.sqlite()?);
                    query.execute(&mut **c).await?.rows_affected()
                }
                Connection::Postgres(c) => {
                    let query = sqlx::query_with(self.text(chunk.len(), true), values.postgres()?);
                    query.execute(&mut **c).await?.rows_affected()
                }
            };
        }
        Ok(changed)
    }

    /// Runs it for all keys, and hands every row found to `each`.
    pub(crate) async fn read<T>(
        &'static self,
        connection: &mut Connection,
        keys: &[T],
        bind: impl Fn(&T, &mut Values),
        mut each: impl FnMut(&Row) -> Result<()>,
    ) -> Result<()> {
        for chunk in chunks(keys) {
            let values = self.values(connection, chunk, &bind);
            match connection {
                Connection::Sqlite(c) => {
                    let query = sqlx::query_with(self.text(chunk.len(), false), values.sqlite()?);
                    for row in query.fetch_all(&mut **c).await? {
                        each(&Row::Sqlite(row))?;
                    }
                }
                Connection::Postgres(c) => {
                    let query = sqlx::query_with(self.text(chunk.len(), true), values.postgres()?);
                    for row in query.fetch_all(&mut **c).await? {
                        each(&Row::Postgres(row))?;
                    }
                }
            }
        }
        Ok(())
    }

    fn values<T>(&self, connection: &Connection, rows: &[T], bind: impl Fn(&T, &mut Values)) -> Values {
        let mut values = connection.values();
        values.reserve(rows.len() * self.columns);
        for row in rows {
            bind(row, &mut values);
        }
        values
    }
}

impl Connection {
    /// The connection that writes. There is one.
    pub(crate) async fn open(place: &Place, limits: &Limits) -> Result<Self> {
        match place {
            Place::File(path) => sqlite::connect(path, limits).await.map(|c| Self::Sqlite(Held::Own(c))),
            Place::Server(server) => Box::pin(server.connect()).await.map(|c| Self::Postgres(Held::Own(c))),
        }
    }

    fn values(&self) -> Values {
        match self {
            Self::Sqlite(_) => Values::for_sqlite(),
            Self::Postgres(_) => Values::for_postgres(),
        }
    }

    /// Runs a statement with numbered placeholders, and returns its rows.
    pub(crate) async fn fetch(
        &mut self,
        sql: &'static str,
        bind: impl FnOnce(&mut Values),
    ) -> Result<Vec<Row>> {
        let mut values = self.values();
        bind(&mut values);
        match self {
            Self::Sqlite(c) => {
                let rows = sqlx::query_with(sql, values.sqlite()?).fetch_all(&mut **c).await?;
                Ok(rows.into_iter().map(Row::Sqlite).collect())
            }
            Self::Postgres(c) => {
                let rows = sqlx::query_with(sql, values.postgres()?).fetch_all(&mut **c).await?;
                Ok(rows.into_iter().map(Row::Postgres).collect())
            }
        }
    }

    /// Runs a statement with numbered placeholders, and returns how many rows it changed.
    pub(crate) async fn execute(&mut self, sql: &'static str, bind: impl FnOnce(&mut Values)) -> Result<u64> {
        let mut values = self.values();
        bind(&mut values);
        match self {
            Self::Sqlite(c) => {
                let done = sqlx::query_with(sql, values.sqlite()?).execute(&mut **c).await?;
                Ok(done.rows_affected())
            }
            Self::Postgres(c) => {
                let done = sqlx::query_with(sql, values.postgres()?).execute(&mut **c).await?;
                Ok(done.rows_affected())
            }
        }
    }

    /// Starts a transaction. Plain statements, so that a transaction that the database gave up by itself (a full disk)
    /// does not confuse a counter.
    pub(crate) async fn begin(&mut self) -> Result<()> {
        match self {
            Self::Sqlite(c) => c.execute("BEGIN IMMEDIATE").await.map(drop),
            Self::Postgres(c) => c.execute("BEGIN").await.map(drop),
        }
    }

    /// Makes the transaction durable.
    pub(crate) async fn commit(&mut self) -> Result<()> {
        match self {
            Self::Sqlite(c) => c.execute("COMMIT").await.map(drop),
            Self::Postgres(c) => c.execute("COMMIT").await.map(drop),
        }
    }

    /// Before the last connection is closed: moves the log into the file, or gives a server's lock free, which it otherwise
    /// does only when it notices the end.
    pub(crate) async fn checkpoint(&mut self) -> std::result::Result<(), FleetError> {
        match self {
            Self::Sqlite(c) => Ok(c.execute("PRAGMA wal_checkpoint(TRUNCATE)").await.map(drop)?),
            Self::Postgres(c) => Ok(c.execute("SELECT pg_advisory_unlock_all()").await.map(drop)?),
        }
    }

    /// Ends it, which gives up an open transaction.
    pub(crate) async fn close(self) -> Result<()> {
        match self {
            Self::Sqlite(Held::Own(c)) => c.close().await,
            Self::Postgres(Held::Own(c)) => c.close().await,
            Self::Sqlite(Held::Pooled(_)) | Self::Postgres(Held::Pooled(_)) => Ok(()),
        }
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

    #[test]
    fn placeholders_are_of_the_database() {
        static PAIRS: ListStatement =
            ListStatement { head: "INSERT INTO t", columns: 2, tail: "RETURNING 1" };
        assert_eq!(&*PAIRS.text(2, false).0, "INSERT INTO t VALUES (?, ?), (?, ?) RETURNING 1");
        assert_eq!(&*PAIRS.text(2, true).0, "INSERT INTO t VALUES ($1, $2), ($3, $4) RETURNING 1");
    }
}

//! Connections that read, for questions of people and metrics.

use sqlx::{PgPool, SqlitePool};

use super::{Connection, Held, Result, Row, Values, sqlite};
use crate::fleet::place::Place;

/// A pool of either kind. None of its connections is opened before it is needed.
pub(crate) enum Readers {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

impl Readers {
    pub(crate) fn of(place: &Place) -> Self {
        match place {
            Place::File(path) => Self::Sqlite(sqlite::readers(path)),
            Place::Server(server) => Self::Postgres(server.readers()),
        }
    }

    pub(crate) async fn acquire(&self) -> Result<Connection> {
        Ok(match self {
            Self::Sqlite(pool) => Connection::Sqlite(Held::Pooled(pool.acquire().await?)),
            Self::Postgres(pool) => Connection::Postgres(Held::Pooled(pool.acquire().await?)),
        })
    }

    /// Runs a statement with numbered placeholders, and returns its rows.
    pub(crate) async fn fetch(&self, sql: &'static str, bind: impl FnOnce(&mut Values)) -> Result<Vec<Row>> {
        self.acquire().await?.fetch(sql, bind).await
    }

    pub(crate) async fn close(&self) {
        match self {
            Self::Sqlite(pool) => pool.close().await,
            Self::Postgres(pool) => pool.close().await,
        }
    }
}

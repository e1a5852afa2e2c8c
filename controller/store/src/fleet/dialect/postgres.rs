//! A Postgres server.
//!
//! Tables are in a schema of their own. The connection that writes holds an advisory lock for as long as it lives, so
//! that whatever is written through it was written by the one holder. Connections through a pooler must be whole
//! sessions.

use std::{fmt, io, time::Duration};

use sqlx::{
    ConnectOptions as _, Executor as _, PgConnection, Row as _,
    postgres::{PgConnectOptions, PgPool, PgPoolOptions},
};

/// Settings of every session: our schema, commits that are durable, and a server that finds out soon when this process
/// is gone, because until then it keeps the lock.
const SESSION: &str = "SET search_path = sluice; SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; \
                       SET tcp_keepalives_count = 3; SET idle_in_transaction_session_timeout = '60s'; \
                       SELECT set_config('synchronous_commit', 'on', false) \
                       WHERE current_setting('synchronous_commit') = 'off'";

/// What the writer asks is looked up by keys, with statements that are planned once. Planned while a table was small they
/// would read all of it each time, until the server has counted the table again: a minute in which it may have grown to
/// a million rows. So an index is the only way. Plans that then look dear are not worth compiling.
const WRITER: &str =
    "SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; SET jit = off";

/// People's questions read whole tables, and the gate's a few rows of a long one, of a table that is as long as it is now.
const READER: &str =
    "SET plan_cache_mode = force_custom_plan; SET enable_hashjoin = off; SET enable_mergejoin = off";

/// Locks are per database.
const LOCK: &str = "SELECT pg_try_advisory_lock(hashtextextended('sluice fleet store', 0))";

/// The schema may have been made by somebody with more rights.
const HAS_SCHEMA: &str = "SELECT count(*) FROM pg_namespace WHERE nspname = 'sluice'";

const CONNECT: Duration = Duration::from_secs(10);

/// How long one transaction may take. A network that swallows packets says nothing by itself.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A server and a database of it. Printing it shows neither user nor password.
#[derive(Clone)]
pub(crate) struct Server(Box<PgConnectOptions>);

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Server({self})")
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let database = self.0.get_database().unwrap_or_default();
        match self.0.get_socket() {
            Some(socket) => write!(f, "postgres at {}, database {database}", socket.display()),
            None => write!(f, "postgres://{}:{}/{database}", self.0.get_host(), self.0.get_port()),
        }
    }
}

impl Server {
    /// Reads a URL. The error does not repeat it.
    pub(crate) fn parse(url: &str) -> Option<Self> {
        let options: PgConnectOptions = url.parse().ok()?;
        options.get_database()?;
        let options = options.application_name("sluice").statement_cache_capacity(256);
        Some(Self(Box::new(options.disable_statement_logging())))
    }

    /// The connection that writes, with the lock. [`taken`] tells from the error whether somebody else has it.
    pub(super) async fn connect(&self) -> Result<PgConnection, sqlx::Error> {
        let connecting = async {
            let mut connection = self.0.connect().await?;
            if connection.fetch_one(HAS_SCHEMA).await?.try_get::<i64, _>(0)? == 0 {
                connection.execute("CREATE SCHEMA IF NOT EXISTS sluice").await?;
            }
            connection.execute(sqlx::raw_sql(SESSION)).await?;
            connection.execute(sqlx::raw_sql(WRITER)).await?;
            if connection.fetch_one(LOCK).await?.try_get(0)? { Ok(connection) } else { Err(Taken.into()) }
        };
        within(CONNECT, connecting).await
    }

    pub(super) fn readers(&self) -> PgPool {
        PgPoolOptions::new()
            .max_connections(4)
            .min_connections(0)
            .acquire_timeout(CONNECT)
            .idle_timeout(Duration::from_mins(1))
            .after_connect(|connection, _| {
                Box::pin(async move {
                    connection.execute(sqlx::raw_sql(SESSION)).await?;
                    connection.execute(sqlx::raw_sql(READER)).await.map(drop)
                })
            })
            .connect_lazy_with((*self.0).clone())
    }
}

/// Another process holds the lock.
#[derive(Debug, thiserror::Error)]
#[error("another process has the fleet store")]
pub(crate) struct Taken;

impl From<Taken> for sqlx::Error {
    fn from(taken: Taken) -> Self {
        Self::Io(io::Error::new(io::ErrorKind::WouldBlock, taken))
    }
}

/// Whether a connection was refused because another process holds the lock.
pub(crate) fn taken(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Io(error) if error.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<Taken>))
}

/// Gives up after a while.
pub(crate) async fn within<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    let late = |_| sqlx::Error::Io(io::Error::new(io::ErrorKind::TimedOut, "the database does not answer"));
    tokio::time::timeout(limit, work).await.map_err(late)?
}

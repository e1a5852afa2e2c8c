//! One file per subcommand.

pub(crate) mod brake;
pub(crate) mod check_health;
pub(crate) mod client_config;
pub(crate) mod completions;
pub(crate) mod connect;
pub(crate) mod decisions;
pub(crate) mod demo;
pub(crate) mod device;
pub(crate) mod explain;
pub(crate) mod gateway;
pub(crate) mod generate;
pub(crate) mod operator;
pub(crate) mod report;
pub(crate) mod rollback;
pub(crate) mod serve;
pub(crate) mod simulate;
pub(crate) mod status;
pub(crate) mod validate;
pub(crate) mod wait;

use std::io::{self, Write as _};

/// Writes to standard output; a reader that has gone away (`| head`) is no error.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => Err(e.into()),
        _ => Ok(()),
    }
}

/// A runtime for commands that ask a server one thing.
pub(crate) fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

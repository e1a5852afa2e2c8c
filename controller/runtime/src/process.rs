//! What every long-running command does with its process.

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::exit;

/// Runs `work` until it ends. The token is cancelled when the process is asked to stop; a second signal ends it at once.
pub(crate) fn until_stopped<F, T>(work: impl FnOnce(CancellationToken) -> F) -> anyhow::Result<T>
where
    F: Future<Output = anyhow::Result<T>>,
{
    // Every connection is a descriptor, and the usual soft limit is 1,024. Where it cannot be raised, accepting pauses
    // when they run out.
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(files) => tracing::debug!(files, "limit of open files"),
        Err(error) => tracing::warn!(%error, "the limit of open files could not be raised"),
    }
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start threads")?;
    runtime.block_on(async {
        let stop = CancellationToken::new();
        let (mut interrupt, mut terminate) =
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let asked = stop.clone();
        tokio::spawn(async move {
            for again in [false, true] {
                tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
                if again {
                    std::process::exit(i32::from(exit::FAILED));
                }
                tracing::info!("stopping: requests in work are finished");
                asked.cancel();
            }
        });
        work(stop).await
    })
}

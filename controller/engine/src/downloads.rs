//! Downloads of bundles, beside the six steps: a server that is slow or silent holds up nothing but its own releases.

use std::{collections::HashMap, sync::Arc};

use sluice_core::{digest::Digest, plan::Need, record::Zip};
use sluice_repo::{CommitId, Mirror};
use sluice_store::control::BundleStore;
use tokio::task::{Id, JoinSet};

use crate::materialise::{self, BundlePolicy, MakeError};

/// Downloads at one time.
const MOST: usize = 8;
/// The same while no channel waits for the release: there is always room for one that is waited for.
const MOST_UNWANTED: usize = 2;

/// What came of a need.
pub(crate) type Made = Result<(Digest, Zip), MakeError>;

/// The downloads that run. They end when this is dropped.
#[derive(Debug, Default)]
pub(crate) struct Downloads {
    tasks: JoinSet<Made>,
    running: HashMap<Id, Need>,
}

impl Downloads {
    /// Starts a download unless it runs already. When there are too many, nothing happens: it is asked for again when
    /// one of them ends.
    pub(crate) fn start(
        &mut self,
        need: &Need,
        mirror: Mirror,
        commit: CommitId,
        store: Arc<BundleStore>,
        policy: BundlePolicy,
    ) {
        let most = if need.wanted { MOST } else { MOST_UNWANTED };
        let same = |other: &Need| {
            (&other.app, &other.version, &other.fingerprint) == (&need.app, &need.version, &need.fingerprint)
        };
        if self.running.len() >= most || self.running.values().any(same) {
            return;
        }
        tracing::info!(app = %need.app, version = %need.version, "downloading a bundle");
        let wanted = need.clone();
        let task = self
            .tasks
            .spawn(async move { materialise::make(&wanted, &mirror, commit, &store, &policy).await });
        self.running.insert(task.id(), need.clone());
    }

    /// The next one that ends. Waits for ever while none runs.
    pub(crate) async fn next(&mut self) -> (Need, Made) {
        let Some(ended) = self.tasks.join_next_with_id().await else { return std::future::pending().await };
        let (id, made) = match ended {
            Ok(ended) => ended,
            Err(error) => (error.id(), Err(MakeError::Interrupted)),
        };
        let need = self.running.remove(&id).expect("each task is noted when it is started");
        (need, made)
    }
}

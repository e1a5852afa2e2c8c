//! The engine: from a commit to a published snapshot, in six steps.
//!
//! *Observe* reads what the repository declares, *resolve* and *plan* are ordinary functions of `sluice_core`, *apply*
//! writes records, snapshots and bundles, *verify* reads back what devices will be answered from, and *report* says what
//! came of it. A pass starts from what is known and repeats until nothing is left to do; a newer commit ends it.

mod apply;
mod cycle;
mod downloads;
mod gate;
mod look;
mod materialise;
mod observe;
mod pass;
mod report;
mod resources;
mod retry;
mod rollback;
mod saved;
mod scrub;

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use sluice_core::{channel::Freeze, ids::AppId, resolve::Owner, snapshot::Snapshot, status::Status};
use sluice_repo::{PathFilter, Source};
use sluice_store::{
    control::{BrakeWatch, BundleStore, ControlError},
    fleet::Fleet,
};
use tokio::sync::{Notify, broadcast};

pub use cycle::Engine;
pub use materialise::{BundlePolicy, MakeError, from_git};
pub use observe::files_of_commit;
pub use resources::{Committed, Declared, InForce, Resources, Unavailable};
pub use rollback::{WRITE_DEADLINE, WriteBack, WriteMode};
pub use saved::last_commit;

/// The folder of the repository that is read.
#[derive(Debug, Clone, Default)]
pub struct Folder {
    /// Path from the repository's root; empty for the root.
    pub path: String,
    /// Files below it that are read.
    pub filter: PathFilter,
}

/// What an engine follows, and how.
#[derive(Debug)]
pub struct Settings {
    /// Who publishes; its name is also the name of the inventory.
    pub owner: Owner,
    /// The folder that is read.
    pub folder: Folder,
    /// How often the repository is asked for news. A webhook only makes it sooner.
    pub poll: Duration,
    /// Limits of bundles and downloads.
    pub bundles: BundlePolicy,
    /// Times in which no rollout goes on.
    pub freezes: Arc<Vec<Freeze>>,
}

/// What an engine works with and publishes to.
#[derive(Debug, Clone)]
pub struct Parts {
    /// The followed repository.
    pub source: Arc<Source>,
    /// Where resources live.
    pub resources: Arc<dyn Resources>,
    /// Term of the leader that this process is (rule 3).
    pub epoch: u64,
    /// The bundle store.
    pub store: Arc<BundleStore>,
    /// The fleet store: which channels devices use, and what became of rollouts on them.
    pub fleet: Arc<Fleet>,
    /// What is braked, and what brakes.
    pub brakes: Arc<BrakeWatch>,
    /// How Git is told of brakes; `None`: it is not, and is not said to be.
    pub write: Option<Arc<WriteBack>>,
    /// What devices are answered from.
    pub snapshot: Arc<ArcSwap<Snapshot>>,
    /// What the installation says of itself.
    pub status: Arc<ArcSwap<Status>>,
    /// Wakes the engine: somebody says that there is news.
    pub look: Arc<Notify>,
    /// Told by the engine: the decision log of an app has grown.
    pub decided: broadcast::Sender<AppId>,
}

/// The reason of a condition: something of a commit could not be read.
pub const COMMIT_UNREADABLE: &str = "CommitUnreadable";

/// Why the engine could not do something. It tries again; what was served stays served.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The bundle store failed.
    #[error("the bundle store failed: {0}")]
    Store(#[from] ControlError),
    /// A commit could not be read in full.
    #[error("commit {commit} could not be read in full, nothing follows from it: {source}")]
    Read {
        /// The commit.
        commit: String,
        /// Why.
        source: sluice_repo::ReadError,
    },
    /// What was published does not read back as it was planned.
    #[error("the published snapshot does not read back as planned: generation {found}, expected {expected}")]
    Verify {
        /// What was read.
        found: u64,
        /// What was written.
        expected: u64,
    },
    /// Nothing can be said of what is in force.
    #[error(transparent)]
    Resources(#[from] Unavailable),
    /// A task ended early: the process is ending.
    #[error("the work was interrupted")]
    Interrupted,
}

impl EngineError {
    /// The reason of a condition.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Store(_) => "StoreUnavailable",
            Self::Read { .. } => COMMIT_UNREADABLE,
            Self::Verify { .. } => "SnapshotNotVerified",
            Self::Resources(unavailable) => unavailable.reason,
            Self::Interrupted => "Interrupted",
        }
    }

    /// The term of the later leader that has taken over.
    pub fn later_term(&self) -> Option<u64> {
        match self {
            Self::Store(ControlError::Superseded(root)) => Some(root.epoch),
            Self::Store(ControlError::Deposed { found, .. }) => Some(*found),
            _ => None,
        }
    }

    /// Whether something of the repository could not be read.
    pub(crate) fn is_unreadable(&self) -> bool {
        self.reason() == COMMIT_UNREADABLE
    }

    /// Whether a later leader has taken over, so that this one has nothing more to do.
    pub fn is_deposed(&self) -> bool {
        self.later_term().is_some()
    }
}

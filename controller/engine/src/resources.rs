//! Where resources live between a commit and the plan: in the commit itself, or in the custom resources of a cluster.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    sync::Arc,
};

use async_trait::async_trait;
use sluice_core::{
    diagnostic::Diagnostic,
    ids::{AppId, ChannelName},
    inventory::{Inventory, Located, ObjectKey},
    status::Status,
};
use sluice_repo::{CommitId, Mirror};

/// What a commit declares, and where its documents can be read.
#[derive(Debug, Clone)]
pub struct Declared {
    /// What it declares, Unknown objects included as they were.
    pub inventory: Arc<Inventory>,
    /// The commit.
    pub commit: CommitId,
    /// The mirror that has it.
    pub mirror: Mirror,
    /// The channels of this repository that are served, and the names of the objects that they are served for.
    pub served: BTreeMap<(AppId, ChannelName), String>,
}

/// What is in force after [`Resources::enforce`].
#[derive(Debug, Clone, Default)]
pub struct InForce {
    /// The objects that count; `None`: exactly those that are declared.
    pub objects: Option<Vec<Arc<Located>>>,
    /// Why something is not in force as it is declared.
    pub problems: Vec<Diagnostic>,
    /// Of [`Inventory::leaving`], what is gone now.
    pub gone: BTreeSet<ObjectKey>,
}

/// Why nothing can be said of what is in force. It is tried again.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct Unavailable {
    /// The reason of a condition.
    pub reason: &'static str,
    /// A sentence for people.
    pub message: String,
}

/// Where resources live.
#[async_trait]
pub trait Resources: Debug + Send + Sync + 'static {
    /// What is in force before anything was enforced; `None`: nobody knows yet.
    fn at_start(&self) -> Option<InForce>;

    /// Puts into force what is declared, as far as that is this program's part, and says what is in force then.
    /// Calling it again repeats nothing that is done. One object's refusal is that object's problem; an error means
    /// that nothing is known.
    async fn enforce(&self, declared: &Declared) -> Result<InForce, Unavailable>;

    /// Returns when what is in force may have changed behind the last [`Resources::enforce`].
    async fn disturbed(&self);

    /// Takes note of what the engine says of itself.
    fn report(&self, status: &Arc<Status>);
}

/// Resources that are in force by being committed: embedded mode.
#[derive(Debug, Clone, Copy, Default)]
pub struct Committed;

#[async_trait]
impl Resources for Committed {
    fn at_start(&self) -> Option<InForce> {
        Some(InForce::default())
    }

    async fn enforce(&self, declared: &Declared) -> Result<InForce, Unavailable> {
        Ok(InForce { gone: declared.inventory.leaving.clone(), ..InForce::default() })
    }

    async fn disturbed(&self) {
        std::future::pending::<()>().await;
    }

    fn report(&self, _: &Arc<Status>) {}
}

//! Follows what is published, for those who only answer devices: asks for the root every second, loads what changed, and
//! serves it. It starts when there is no store yet or it cannot be reached, and keeps the last good snapshot through
//! every outage.
//!
//! Nothing is served before the brakes were read once: a process that starts does not offer what was stopped.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use jiff::Timestamp;
use sluice_core::{ids::AppId, snapshot::Snapshot};
use tokio::time::MissedTickBehavior;

use super::{BrakeWatch, BundleStore, ControlError, advance};
use crate::objects::{Etag, Objects, ObjectsError};

/// How often the root is asked for.
pub const ROOT_EVERY: Duration = Duration::from_secs(1);

/// How current the served snapshot is known to be.
#[derive(Debug, Default)]
pub struct Freshness {
    /// Milliseconds since 1970; 0 for never.
    confirmed: AtomicI64,
    up: AtomicBool,
    trouble: Mutex<Option<String>>,
}

impl Freshness {
    /// When the store last said that what is served is what is published.
    pub fn confirmed(&self) -> Option<Timestamp> {
        let at = self.confirmed.load(Ordering::Relaxed);
        if at == 0 { None } else { Timestamp::from_millisecond(at).ok() }
    }

    /// Whether the store answered the last time that it was asked.
    pub fn is_store_up(&self) -> bool {
        self.up.load(Ordering::Relaxed)
    }

    /// What was wrong the last time that the store was asked.
    pub fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, looked: &Result<(), FollowError>, now: Timestamp) {
        let (up, trouble) = match looked {
            Ok(()) => {
                self.confirmed.store(now.as_millisecond(), Ordering::Relaxed);
                (true, None)
            }
            Err(error) => (error.is_an_answer(), Some(error.to_string())),
        };
        self.up.store(up, Ordering::Relaxed);
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }
}

/// Why what is served could not be compared with what is published.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FollowError {
    /// The store failed, or refused.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// What is published is older than what is served (rule 3): a backup was put back, or somebody else's store.
    #[error(
        "the store holds an older snapshot than the one that is served (epoch {epoch}, generation {generation}), which \
         stays until a later one is published"
    )]
    Older {
        /// What is served.
        epoch: u64,
        /// What is served.
        generation: u64,
    },
    /// Some apps are answered as before, or not at all.
    #[error("{count} apps could not be read, the first is {app}: {first}")]
    Incomplete {
        /// How many.
        count: usize,
        /// One of them.
        app: AppId,
        /// What is wrong with it.
        first: ControlError,
    },
}

impl FollowError {
    /// Whether the store answered.
    fn is_an_answer(&self) -> bool {
        let (Self::Control(error) | Self::Incomplete { first: error, .. }) = self else { return true };
        !matches!(
            error,
            ControlError::Objects(
                ObjectsError::Io { .. } | ObjectsError::Remote { .. } | ObjectsError::Full { .. }
            )
        )
    }
}

/// Keeps a served snapshot at what is published.
#[derive(Debug)]
pub struct Follower {
    objects: Arc<dyn Objects>,
    served: Arc<ArcSwap<Snapshot>>,
    freshness: Arc<Freshness>,
    brakes: Arc<BrakeWatch>,
    store: Option<BundleStore>,
    etag: Option<Etag>,
    said: Option<String>,
}

impl Follower {
    /// Will replace `served` by what is published in `objects`, after `brakes` were read there. Those are followed by
    /// whoever made them.
    pub fn new(objects: Arc<dyn Objects>, served: Arc<ArcSwap<Snapshot>>, brakes: Arc<BrakeWatch>) -> Self {
        Self { objects, served, freshness: Arc::default(), brakes, store: None, etag: None, said: None }
    }

    /// How current the served snapshot is.
    pub fn freshness(&self) -> Arc<Freshness> {
        self.freshness.clone()
    }

    /// Follows until it is dropped.
    pub async fn run(mut self) {
        let mut every = tokio::time::interval(ROOT_EVERY);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            every.tick().await;
            // The outcome is in `freshness` and in the log.
            let _ = self.look().await;
        }
    }

    /// Asks once, and says how that ended.
    pub async fn look(&mut self) -> Result<(), FollowError> {
        let looked = self.compare().await;
        self.freshness.note(&looked, Timestamp::now());
        let trouble = looked.as_ref().err().map(ToString::to_string);
        if trouble != self.said {
            if let Some(trouble) = &trouble {
                tracing::warn!(
                    generation = self.served.load().root.generation,
                    trouble,
                    "what is served cannot be compared with what is published; devices are answered as before"
                );
            } else {
                tracing::info!("what is served is what is published again");
            }
            self.said = trouble;
        }
        looked
    }

    async fn compare(&mut self) -> Result<(), FollowError> {
        let store = match &self.store {
            Some(store) => store,
            None => self.store.insert(BundleStore::open_existing(self.objects.clone()).await?),
        };
        if self.brakes.confirmed().is_none() {
            self.brakes.look().await?;
        }
        let before = self.served.load_full();
        let loaded = match &self.etag {
            Some(etag) => store.load_if_changed(&before, etag).await,
            None => store.load(Some(&before)).await.map(Some),
        };
        let loaded = match loaded {
            Ok(Some(loaded)) => loaded,
            Ok(None) => return Ok(()),
            Err(error) => {
                // Whatever comes next is read whole.
                self.etag = None;
                return Err(match error {
                    ControlError::Superseded(root) => {
                        FollowError::Older { epoch: root.epoch, generation: root.generation }
                    }
                    error => error.into(),
                });
            }
        };
        let next = Arc::new(loaded.snapshot);
        if advance(&self.served, &next).is_err() {
            // This process published and served a later one meanwhile. The next look finds that one.
            self.etag = None;
            return Ok(());
        }
        if next.root.generation != before.root.generation {
            tracing::info!(
                epoch = next.root.epoch,
                generation = next.root.generation,
                apps = next.root.apps.len(),
                "a snapshot is served"
            );
        }
        let count = loaded.problems.len();
        match loaded.problems.into_iter().next() {
            None => {
                self.etag = loaded.etag;
                Ok(())
            }
            Some((app, first)) => {
                self.etag = None;
                Err(FollowError::Incomplete { count, app, first })
            }
        }
    }
}

//! Rollbacks at work: tells Git of every brake that asks for it, once, and never by force (rule 7).
//!
//! It has a task of its own, since a Git host may be slow or away for hours, and nothing else waits for it. What is about
//! to be done stands in the bundle store before it is done, so that whoever goes on after a crash repeats nothing: the
//! same plan on the same tip is the same commit, and what was pushed is found in the history.

mod ground;
mod plan;
mod step;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use sluice_core::{
    brake::{BrakeId, Brakes, GATE},
    ids::AppId,
    inventory::Inventory,
    record::AppRecord,
    rollback::{Cause, Phase, Rollback, circuit_opens},
};
use sluice_forge::Forge;
use sluice_repo::{Committer, RepoError, Source};
use sluice_store::{
    control::{BrakeWatch, BundleStore, ControlError},
    objects::Etag,
};
use tokio::{
    sync::{Notify, watch},
    time::{Instant, MissedTickBehavior},
};

use crate::Folder;

/// Total time of one look or push of a [`WriteBack::source`]. Nobody waits for a hanging host as long as for a large fetch.
pub const WRITE_DEADLINE: Duration = Duration::from_mins(1);

/// Between two looks at the brakes.
const LOOK: Duration = Duration::from_millis(200);
/// Between two looks at what others opened.
const LIST: Duration = Duration::from_secs(10);
/// Between two looks whether Git can be written to.
const PROBE: Duration = Duration::from_mins(10);
/// The same while it cannot.
const PROBE_AGAIN: Duration = Duration::from_mins(1);
/// Between two looks whether a proposal was merged.
const PROPOSAL: Duration = Duration::from_secs(15);
/// The first wait after something failed; each one after it is twice as long, up to the last.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LAST_WAIT: Duration = Duration::from_mins(15);
/// How long somebody who asks may take between the brake and its rollback.
const ASKING: SignedDuration = SignedDuration::from_secs(5);

/// How Git is written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteMode {
    /// To the branch that is followed; where that takes no commits of ours, to one of its own that a person merges.
    Auto,
    /// To the branch that is followed.
    Push,
    /// To a branch of its own, which a person merges.
    PullRequest,
    /// Not at all.
    Off,
}

/// How Git is told of brakes.
#[derive(Debug)]
pub struct WriteBack {
    /// The repository. A follower of its own: what it sees is nobody else's news.
    pub source: Arc<Source>,
    /// The branch that is followed; `None`: a tag or a commit is, which no commit of ours can change.
    pub branch: Option<String>,
    /// How it is written to.
    pub mode: WriteMode,
    /// The API of the Git host, for pull requests; without it somebody opens them.
    pub forge: Option<Arc<dyn Forge>>,
    /// Who commits.
    pub committer: Committer,
}

/// What is shown of writing to Git.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Shown {
    /// The rollbacks, the oldest first.
    pub(crate) rollbacks: Vec<Rollback>,
    /// Whether Git can be written to, with a reason and a sentence; `None`: nobody knows yet, or it is not to be.
    pub(crate) ready: Option<(bool, String, String)>,
}

/// What the engine knows, as far as rollbacks are planned from it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Standing {
    pub(crate) inventory: Arc<Inventory>,
    /// The records of the owner's apps.
    pub(crate) records: BTreeMap<AppId, Arc<AppRecord>>,
}

impl Standing {
    /// Whether nothing changed.
    pub(crate) fn is(&self, other: &Self) -> bool {
        let same = |(a, b): (&Arc<AppRecord>, &Arc<AppRecord>)| Arc::ptr_eq(a, b);
        Arc::ptr_eq(&self.inventory, &other.inventory)
            && self.records.len() == other.records.len()
            && self.records.values().zip(other.records.values()).all(same)
    }
}

/// A rollback that is not at its end, and when it is looked at again.
#[derive(Debug)]
struct Open {
    rollback: Rollback,
    etag: Etag,
    due: Instant,
    wait: Duration,
    /// Races that were lost in a row.
    raced: u32,
}

/// Tells Git of the brakes of one owner's apps.
#[derive(Debug)]
pub(crate) struct Reverter {
    store: Arc<BundleStore>,
    watch: Arc<BrakeWatch>,
    write: Arc<WriteBack>,
    folder: Folder,
    standing: watch::Receiver<Standing>,
    /// Wakes the engine: the branch has a new commit.
    look: Arc<Notify>,
    shown: watch::Sender<Arc<Shown>>,
    ready: Option<(bool, String, String)>,
    /// When it is asked again whether Git can be written to.
    probe: Instant,
    open: BTreeMap<BrakeId, Open>,
    ended: BTreeMap<BrakeId, Rollback>,
    brakes: Option<Arc<Brakes>>,
    /// Rollbacks that were opened in this process when the store was read last.
    opened: u64,
    listed: Option<Instant>,
}

impl Reverter {
    pub(crate) fn new(
        store: Arc<BundleStore>,
        watch: Arc<BrakeWatch>,
        (write, folder): (Arc<WriteBack>, Folder),
        standing: watch::Receiver<Standing>,
        (look, shown): (Arc<Notify>, watch::Sender<Arc<Shown>>),
    ) -> Self {
        let (open, ended) = (BTreeMap::new(), BTreeMap::new());
        let (brakes, opened, listed) = (None, 0, None);
        let (ready, probe) = (None, Instant::now());
        Self {
            store,
            watch,
            write,
            folder,
            standing,
            look,
            shown,
            ready,
            probe,
            open,
            ended,
            brakes,
            opened,
            listed,
        }
    }

    /// Works until the returned future is dropped; dropping it loses nothing.
    pub(crate) async fn run(mut self) {
        let mut every = tokio::time::interval(LOOK);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            every.tick().await;
            if let Err(error) = self.turn().await {
                tracing::warn!(%error, "rollbacks wait for the bundle store; what is braked stays braked");
                self.listed = None;
                tokio::time::sleep(FIRST_WAIT).await;
            }
        }
    }

    async fn turn(&mut self) -> Result<(), ControlError> {
        let brakes = self.watch.brakes().load_full();
        let opened = self.watch.rollbacks_opened();
        let braked = self.brakes.as_ref().is_none_or(|known| !Arc::ptr_eq(known, &brakes));
        if braked || opened != self.opened || self.listed.is_none_or(|at| at.elapsed() >= LIST) {
            self.list().await?;
            self.open_asked(&brakes).await?;
            (self.brakes, self.opened) = (Some(brakes), opened);
            self.show();
        }
        let now = Instant::now();
        if self.probe <= now {
            self.probe().await;
            self.show();
        }
        if self.standing.has_changed().unwrap_or(false) {
            self.standing.mark_unchanged();
            // What a person had to mend may be mended.
            self.open
                .values_mut()
                .filter(|open| open.rollback.stall.is_some())
                .for_each(|open| open.due = now);
        }
        let due: Vec<BrakeId> =
            self.open.iter().filter(|(_, open)| open.due <= now).map(|(id, _)| id.clone()).collect();
        for id in due {
            self.step(&id).await?;
            self.show();
        }
        Ok(())
    }

    /// Reads what stands in the store.
    async fn list(&mut self) -> Result<(), ControlError> {
        let records = self.standing.borrow().records.clone();
        for (rollback, etag) in self.store.rollbacks().await? {
            if !records.contains_key(&rollback.app) {
                continue;
            }
            if rollback.phase.is_end() {
                self.open.remove(&rollback.id);
                self.ended.insert(rollback.id.clone(), rollback);
            } else if self.open.get(&rollback.id).is_none_or(|known| known.etag != etag) {
                let (due, wait) = (Instant::now(), FIRST_WAIT);
                self.open.insert(rollback.id.clone(), Open { rollback, etag, due, wait, raced: 0 });
            }
        }
        self.listed = Some(Instant::now());
        Ok(())
    }

    /// Opens what brakes ask for and nobody has opened: a brake is written first, and whoever wrote it may be gone.
    async fn open_asked(&mut self, brakes: &Brakes) -> Result<(), ControlError> {
        let records = self.standing.borrow().records.clone();
        let mut opened: Vec<Rollback> = Vec::new();
        for brake in brakes.iter().filter(|brake| brake.rollback && records.contains_key(&brake.app)) {
            if self.open.contains_key(&brake.id) || self.ended.contains_key(&brake.id) {
                continue;
            }
            let cause = if brake.by == GATE { Cause::GateFailed } else { Cause::Requested };
            // Whoever asks opens it right after the brake, and knows more of what is wanted.
            let age = Timestamp::now().duration_since(brake.at);
            let fresh = !age.is_negative() && age < ASKING;
            if cause == Cause::Requested && fresh {
                continue;
            }
            let Some(mut rollback) = Rollback::of(brake, cause, None) else { continue };
            let others = self.open.values().map(|open| &open.rollback).chain(self.ended.values());
            let others = others.chain(&opened);
            if circuit_opens(&rollback, others) {
                let message = format!(
                    "the gate has rolled {} back too often in a day: its bundle stays braked, and nothing is committed \
                     until a person does",
                    rollback.channel
                );
                rollback.enter(Phase::CircuitOpen, Timestamp::now(), message);
            }
            self.store.open_rollback(&rollback).await?;
            opened.push(rollback);
        }
        if opened.is_empty() { Ok(()) } else { self.list().await }
    }

    /// Asks whether Git can be written to, before it has to be.
    async fn probe(&mut self) {
        let WriteBack { source, branch, mode, .. } = &*self.write;
        let no = |reason: &str, message: String| Some((false, reason.to_owned(), message));
        self.ready = match (mode, branch) {
            (WriteMode::Off, _) => None,
            (_, None) => {
                no("NoBranch", "what is followed is no branch, so rollbacks cannot be committed".into())
            }
            (_, Some(branch)) => match source.probe_push().await {
                Ok(()) => {
                    let to = match mode {
                        WriteMode::PullRequest => "a branch of its own".to_owned(),
                        _ => format!("branch {branch}"),
                    };
                    let message = format!("the server takes pushes; rollbacks are pushed to {to}");
                    Some((true, "PushAllowed".to_owned(), message))
                }
                Err(error @ RepoError::Auth { .. }) => {
                    no("CredentialsRefused", format!("{error}; rollbacks need credentials that may write"))
                }
                Err(error) => no(error.reason(), error.to_string()),
            },
        };
        let well = self.ready.as_ref().is_none_or(|(ready, ..)| *ready);
        self.probe = Instant::now() + if well { PROBE } else { PROBE_AGAIN };
    }

    fn show(&self) {
        let open = self.open.values().map(|open| &open.rollback);
        let mut rollbacks: Vec<Rollback> = open.chain(self.ended.values()).cloned().collect();
        rollbacks.sort_by(|a, b| (a.at, &a.id).cmp(&(b.at, &b.id)));
        let all = Shown { rollbacks, ready: self.ready.clone() };
        self.shown.send_if_modified(|before| {
            let differs = **before != all;
            if differs {
                *before = Arc::new(all);
            }
            differs
        });
    }
}

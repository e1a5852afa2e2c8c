//! The operator: watches, elects a leader, and while this replica leads, follows every Repository.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use jiff::Timestamp;
use kube::{
    Client,
    runtime::events::{Recorder, Reporter},
};
use sluice_core::{snapshot::Snapshot, status::Status};
use sluice_crds::{Channel, Release};
use sluice_engine::BundlePolicy;
use sluice_repo::Mirrors;
use sluice_store::{
    control::{BrakeWatch, BundleStore},
    fleet::{Fleet, FleetError},
    relay::Relay,
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{
    cache::{Cache, lock},
    follow::Follow,
    github_app::Tokens,
    hooks::Hooks,
    leader::{Election, LeaseSettings},
    repositories::Repositories,
    skew::Skew,
    watch::{Scope, watch},
};

/// After a term could not be begun, or was ended by a later one.
const AGAIN: Duration = Duration::from_secs(1);
/// Between two looks at whether everything was listed.
const LOOK: Duration = Duration::from_millis(20);
/// Longest pause after terms that end again and again.
const LONGEST: Duration = Duration::from_secs(30);
/// A term of this length was no failure.
const LASTED: Duration = Duration::from_mins(1);

/// What an operator works with.
#[derive(Clone)]
pub struct OperatorParts {
    /// The API server.
    pub client: Client,
    /// Namespaces that are watched.
    pub scope: Scope,
    /// The lease of the leader.
    pub lease: LeaseSettings,
    /// The bundle store.
    pub store: Arc<BundleStore>,
    /// The fleet store, which the leader has open.
    pub fleet: Arc<dyn FleetSource>,
    /// What is braked, and what brakes.
    pub brakes: Arc<BrakeWatch>,
    /// What devices are answered from.
    pub snapshot: Arc<ArcSwap<Snapshot>>,
    /// What the installation says of itself: all Repositories together.
    pub status: Arc<ArcSwap<Status>>,
    /// Mirrors of repositories.
    pub mirrors: Mirrors,
    /// Limits of bundles and downloads.
    pub bundles: BundlePolicy,
    /// Webhooks, for whoever listens.
    pub hooks: Hooks,
}

/// Opens the fleet store for a leader. One process has it at a time.
#[async_trait]
pub trait FleetSource: Send + Sync {
    /// The store, opened if it is not.
    async fn open(&self) -> Result<Arc<Fleet>, FleetError>;

    /// Lets go of it when the term ends.
    async fn close(&self);
}

/// What everything of one operator shares.
pub(crate) struct Shared {
    pub(crate) client: Client,
    pub(crate) cache: Arc<Cache>,
    pub(crate) repositories: Arc<Repositories>,
    pub(crate) recorder: Recorder,
    /// Name of this replica.
    pub(crate) identity: String,
    pub(crate) store: Arc<BundleStore>,
    pub(crate) fleet: Arc<Fleet>,
    pub(crate) brakes: Arc<BrakeWatch>,
    pub(crate) snapshot: Arc<ArcSwap<Snapshot>>,
    pub(crate) mirrors: Mirrors,
    pub(crate) bundles: BundlePolicy,
    pub(crate) tokens: Tokens,
    pub(crate) hooks: Hooks,
    /// Repositories that lost an app to another one, and have to be followed anew.
    pub(crate) robbed: Mutex<BTreeSet<String>>,
    /// Cancelled when a later leader has written.
    pub(crate) deposed: CancellationToken,
}

/// The statuses of all Repositories, shown as one.
#[derive(Debug, Clone)]
pub(crate) struct Statuses {
    each: Arc<Mutex<BTreeMap<String, Arc<Status>>>>,
    shown: Arc<ArcSwap<Status>>,
}

impl Statuses {
    fn new(shown: Arc<ArcSwap<Status>>) -> Self {
        Self { each: Arc::default(), shown }
    }

    pub(crate) fn set(&self, name: &str, status: &Arc<Status>) {
        let mut each = lock(&self.each);
        each.insert(name.to_owned(), Arc::clone(status));
        self.show(&each);
    }

    fn remove(&self, name: &str) {
        let mut each = lock(&self.each);
        each.remove(name);
        self.show(&each);
    }

    fn show(&self, each: &BTreeMap<String, Arc<Status>>) {
        if let (1, Some(only)) = (each.len(), each.values().next()) {
            return self.shown.store(Arc::clone(only));
        }
        let mut all = Status::default();
        for status in each.values() {
            all.generation = all.generation.max(status.generation);
            all.repositories.extend(status.repositories.iter().cloned());
            all.releases.extend(status.releases.iter().cloned());
            all.channels.extend(status.channels.iter().cloned());
            all.diagnostics.extend(status.diagnostics.iter().cloned());
            all.rollbacks.extend(status.rollbacks.iter().cloned());
        }
        self.shown.store(Arc::new(all));
    }
}

/// How the operator is: for `/readyz` and metrics. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Health(Arc<State>);

#[derive(Debug, Default)]
struct State {
    leads: AtomicBool,
    lease: Mutex<Option<String>>,
    segments: Mutex<Option<Arc<AtomicU64>>>,
    cache: Arc<Cache>,
    repositories: Arc<Repositories>,
    skew: Arc<Skew>,
}

impl Health {
    /// Whether this replica leads.
    pub fn leads(&self) -> bool {
        self.0.leads.load(Ordering::Acquire)
    }

    /// Seconds by which this replica's clock is ahead of the leader's; nothing while it leads itself.
    pub fn clock_skew(&self) -> Option<f64> {
        self.0.skew.seconds()
    }

    /// Objects and statuses that were written.
    pub fn writes(&self) -> u64 {
        self.0.cache.writes()
    }

    /// Segments of gateways that wait for being taken in; nothing before this replica leads.
    pub fn segments(&self) -> Option<u64> {
        lock(&self.0.segments).as_ref().map(|pending| pending.load(Ordering::Relaxed))
    }

    /// The highest term that status shows, once everything was listed or it is known that a list will not come.
    async fn highest_term(&self) -> u64 {
        let State { cache, repositories, .. } = &*self.0;
        while !(cache.has_looked() && repositories.has_looked()) {
            tokio::time::sleep(LOOK).await;
        }
        cache.terms.highest().max(repositories.terms.highest())
    }

    /// What stands between the operator and the API server; nothing while all is well. Devices are answered all the
    /// same.
    pub fn trouble(&self) -> Vec<String> {
        let lease = lock(&self.0.lease).clone().map(|why| format!("the lease: {why}"));
        let watches = self.0.cache.ready().err().map(|unavailable| unavailable.message);
        let watches = watches.or_else(|| self.0.cache.trouble());
        let repositories = self.0.repositories.trouble();
        let mut all: Vec<String> = [lease, watches, repositories].into_iter().flatten().collect();
        all.dedup();
        all
    }
}

/// An operator that has not begun yet.
pub struct Operator {
    parts: OperatorParts,
    health: Health,
}

impl Operator {
    /// An operator of these parts.
    pub fn new(parts: OperatorParts) -> Self {
        Self { parts, health: Health::default() }
    }

    /// How it is, from now on.
    pub fn health(&self) -> Health {
        self.health.clone()
    }

    /// Works until `stop` is cancelled, and then frees the lease.
    pub async fn run(self, stop: CancellationToken) {
        let Self { parts, health } = self;
        let (client, scope) = (&parts.client, &parts.scope);
        let mut watches = JoinSet::new();
        let cache = &health.0.cache;
        watches.spawn(watch::<Release>(client.clone(), scope.clone(), Arc::clone(cache)));
        watches.spawn(watch::<Channel>(client.clone(), scope.clone(), Arc::clone(cache)));
        let repositories = Arc::clone(&health.0.repositories);
        let (watched, within) = (client.clone(), scope.clone());
        watches.spawn(async move { repositories.watch(watched, within).await });

        let election = Election::new(client.clone(), parts.lease.clone(), Arc::clone(&health.0.skew));
        let mut calm = Duration::ZERO;
        while !stop.is_cancelled() {
            let trouble = |why: Option<String>| {
                let mut lease = lock(&health.0.lease);
                if let (None, Some(why)) = (&*lease, &why) {
                    tracing::warn!("the lease cannot be taken: {why}");
                }
                *lease = why;
            };
            let leadership = tokio::select! {
                leadership = election.lead(trouble) => leadership,
                () = stop.cancelled() => break,
            };
            tracing::info!(identity = parts.lease.identity, "this replica leads");
            let lost = leadership.lost().clone();
            let began = Instant::now();
            let deposed = tokio::select! {
                () = term(&parts, &health) => true,
                () = lost.cancelled() => false,
                () = stop.cancelled() => false,
            };
            // What the term's futures did has ended with them.
            health.0.leads.store(false, Ordering::Release);
            parts.status.store(Arc::default());
            tracing::info!(identity = parts.lease.identity, "this replica leads no more");
            parts.fleet.close().await;
            leadership.release().await;
            if deposed {
                calm = pause(calm, began.elapsed());
                tokio::select! { () = tokio::time::sleep(calm) => {}, () = stop.cancelled() => {} }
            }
        }
    }
}

/// How long a replica that found a later term than its own stands back: longer each time, unless the term had lasted.
fn pause(before: Duration, lasted: Duration) -> Duration {
    if lasted > LASTED { AGAIN } else { (before * 2).clamp(AGAIN, LONGEST) }
}

/// What a leader does. Returns when a later leader has taken over.
async fn term(parts: &OperatorParts, health: &Health) {
    let epoch = loop {
        // What the cluster shows may be later than what a restored store knows.
        let shown = health.highest_term().await;
        match parts.store.begin_term(Timestamp::now(), shown).await {
            Ok(epoch) => break epoch,
            Err(error) => {
                tracing::warn!(%error, "the term cannot begin: the bundle store does not answer");
                tokio::time::sleep(AGAIN).await;
            }
        }
    };
    let fleet = loop {
        match parts.fleet.open().await {
            Ok(fleet) => break fleet,
            Err(error) => {
                tracing::warn!(%error, "the term cannot begin: the fleet store cannot be opened");
                tokio::time::sleep(AGAIN).await;
            }
        }
    };
    tracing::info!(epoch, "the term begins");
    let relay = Relay::new(Arc::clone(parts.store.objects()), Arc::clone(&fleet));
    *lock(&health.0.segments) = Some(relay.pending());
    // Both are dropped with the term, and with them everything that a leader does.
    let mut relaying = JoinSet::new();
    relaying.spawn(relay.run());
    let mut following = JoinSet::new();
    health.0.leads.store(true, Ordering::Release);
    let reporter =
        Reporter { controller: "sluice.dev/operator".into(), instance: Some(parts.lease.identity.clone()) };
    let shared = Arc::new(Shared {
        client: parts.client.clone(),
        cache: Arc::clone(&health.0.cache),
        repositories: Arc::clone(&health.0.repositories),
        recorder: Recorder::new(parts.client.clone(), reporter),
        identity: parts.lease.identity.clone(),
        store: Arc::clone(&parts.store),
        fleet,
        brakes: Arc::clone(&parts.brakes),
        snapshot: Arc::clone(&parts.snapshot),
        mirrors: parts.mirrors.clone(),
        bundles: parts.bundles.clone(),
        tokens: Tokens::default(),
        hooks: parts.hooks.clone(),
        robbed: Mutex::default(),
        deposed: CancellationToken::new(),
    });
    let statuses = Statuses::new(Arc::clone(&parts.status));
    let mut known = BTreeMap::new();
    loop {
        let all = shared.repositories.all();
        known.retain(|name: &String, follower: &mut Follower| {
            let same = all.get(name).is_some_and(|object| object.same_channel(&follower.object));
            if !same {
                tracing::info!(repository = name, "the Repository is gone; what it published stays served");
                follower.task.abort();
                shared.hooks.remove(name);
                statuses.remove(name);
            }
            same
        });
        for (name, object) in all {
            if known.contains_key(&name) {
                continue;
            }
            let follow = Follow {
                shared: Arc::clone(&shared),
                epoch,
                object: object.clone(),
                statuses: statuses.clone(),
            };
            let task = following.spawn(follow.run());
            known.insert(name, Follower { object, task });
        }
        tokio::select! {
            () = shared.repositories.changed.notified() => {}
            () = shared.deposed.cancelled() => return,
            Some(ended) = following.join_next() => if let Err(error) = ended && error.is_panic() {
                // The panic hook has said where. The others go on; this one begins again.
                tracing::error!("following a repository panicked");
                known.retain(|_, follower| !follower.task.is_finished());
                tokio::time::sleep(AGAIN).await;
            },
        }
    }
}

/// Who follows one Repository.
struct Follower {
    object: tokio::sync::watch::Receiver<Arc<sluice_crds::Repository>>,
    task: tokio::task::AbortHandle,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_that_end_at_once_do_not_follow_each_other_at_once() {
        let mut calm = Duration::ZERO;
        let mut all = Vec::new();
        for _ in 0..8 {
            calm = pause(calm, Duration::from_secs(2));
            all.push(calm.as_secs());
        }
        assert_eq!(all, [1, 2, 4, 8, 16, 30, 30, 30]);
        assert_eq!(pause(calm, Duration::from_mins(2)), AGAIN);
    }
}

//! What the cluster shows, as a watch tells it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use futures::TryStreamExt as _;
use kube::{
    Api, Client, ResourceExt as _,
    runtime::{
        WatchStreamExt as _,
        watcher::{self, watcher},
    },
};
use sluice_crds::{
    Channel, Release,
    common::{Condition, ConditionStatus},
};
use tokio::sync::Notify;

/// What one object says.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// `metadata.generation`.
    pub generation: i64,
    /// `spec.release` of a channel.
    pub wanted: Option<String>,
    /// `status.release` of a channel.
    pub served: Option<String>,
    /// Whether it says Ready, of this generation.
    pub ready: bool,
}

/// The releases and channels of one namespace, by name.
#[derive(Debug, Clone, Default)]
pub struct Board(Arc<State>);

#[derive(Debug, Default)]
struct State {
    objects: Mutex<HashMap<String, Seen>>,
    changed: Notify,
}

impl Board {
    /// Watches until the process ends.
    pub fn watch(client: &Client, namespace: &str) -> Self {
        let board = Self::default();
        let channels: Api<Channel> = Api::namespaced(client.clone(), namespace);
        let releases: Api<Release> = Api::namespaced(client.clone(), namespace);
        let note = board.clone();
        tokio::spawn(async move {
            let events = watcher(channels, watcher::Config::default()).default_backoff().applied_objects();
            let noting = events.try_for_each(async |channel| {
                let status = channel.status.clone().unwrap_or_default();
                let generation = channel.metadata.generation.unwrap_or_default();
                let ready = ready(&status.conditions, generation);
                let (wanted, served) = (channel.spec.release.clone(), status.release);
                note.note(channel.name_any(), Seen { generation, wanted, served, ready });
                Ok(())
            });
            noting.await.unwrap();
        });
        let note = board.clone();
        tokio::spawn(async move {
            let events = watcher(releases, watcher::Config::default()).default_backoff().applied_objects();
            let noting = events.try_for_each(async |release| {
                let generation = release.metadata.generation.unwrap_or_default();
                let ready = release.status.as_ref().is_some_and(|s| ready(&s.conditions, generation));
                note.note(release.name_any(), Seen { generation, ready, ..Seen::default() });
                Ok(())
            });
            noting.await.unwrap();
        });
        board
    }

    fn note(&self, name: String, seen: Seen) {
        self.0.objects.lock().unwrap().insert(name, seen);
        self.0.changed.notify_one();
    }

    /// What an object says.
    pub fn get(&self, name: &str) -> Option<Seen> {
        self.0.objects.lock().unwrap().get(name).cloned()
    }

    /// How many objects there are, and how many are ready.
    pub fn count(&self) -> (usize, usize) {
        let objects = self.0.objects.lock().unwrap();
        (objects.len(), objects.values().filter(|seen| seen.ready).count())
    }

    /// Waits until it holds, and says when that was. One wait at a time.
    pub async fn until(&self, what: &str, limit: Duration, holds: impl Fn(&Self) -> bool) -> Instant {
        let waiting = async {
            while !holds(self) {
                self.0.changed.notified().await;
            }
        };
        let waited = tokio::time::timeout(limit, waiting).await;
        assert!(waited.is_ok(), "waited {limit:?} until {what}; objects and ready ones: {:?}", self.count());
        Instant::now()
    }
}

fn ready(conditions: &[Condition], generation: i64) -> bool {
    conditions.iter().any(|c| {
        c.type_ == "Ready"
            && c.status == ConditionStatus::True
            && c.observed_generation.is_none_or(|g| g == generation)
    })
}

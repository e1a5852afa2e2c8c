//! Keeps the [`Cache`] up to date.

use std::{collections::HashSet, sync::Arc, time::Duration};

use backon::ExponentialBuilder;
use futures::{Stream, StreamExt as _, stream};
use kube::{
    Api, Client,
    core::DeserializeGuard,
    runtime::{
        WatchStreamExt as _,
        utils::{Backoff, ResetTimerBackoff},
        watcher::{self, Event, watcher},
    },
};

use crate::{
    cache::{Body, Cache, Cached, held, with_body},
    problem::Problem,
};

/// Longest pause between two tries to watch.
const LONGEST: Duration = Duration::from_secs(5);

/// Which namespaces are watched.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Scope {
    /// All of them.
    #[default]
    Cluster,
    /// These.
    Namespaces(Vec<String>),
}

impl Scope {
    /// The namespace of each part; `None`: all of them.
    fn parts(&self) -> Vec<Option<&str>> {
        match self {
            Self::Cluster => vec![None],
            Self::Namespaces(names) => names.iter().map(|name| Some(name.as_str())).collect(),
        }
    }

    /// A handle on each part of the scope.
    pub(crate) fn apis<K>(&self, client: &Client) -> Vec<Api<K>>
    where
        K: kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>,
    {
        let handle = |namespace: Option<&str>| match namespace {
            None => Api::all(client.clone()),
            Some(name) => Api::namespaced(client.clone(), name),
        };
        self.parts().into_iter().map(handle).collect()
    }
}

/// The events of every part of a scope, each with the number of its part. One object that cannot be read is an event
/// like any other.
pub(crate) fn events<K>(
    client: &Client,
    scope: &Scope,
) -> impl Stream<Item = (usize, watcher::Result<Event<DeserializeGuard<K>>>)> + Send + Unpin
where
    K: kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned
        + Send
        + Sync
        + 'static,
{
    let parts = scope.apis::<DeserializeGuard<K>>(client).into_iter().enumerate().map(|(part, api)| {
        let events = watcher(api, watcher::Config::default()).backoff(backoff());
        events.map(move |event| (part, event)).boxed()
    });
    stream::select_all(parts)
}

fn backoff() -> impl Backoff {
    let pauses = ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(200))
        .with_max_delay(LONGEST)
        .with_jitter()
        .without_max_times();
    ResetTimerBackoff::new(watcher::ExponentialBackoff::from(pauses), Duration::from_secs(30))
}

/// Watches one kind until the returned future is dropped.
pub(crate) async fn watch<K: Cached>(client: Client, scope: Scope, cache: Arc<Cache>) {
    let mut events = events::<K>(&client, &scope);
    let parts = scope.parts();
    let mut done = vec![false; parts.len()];
    // What the list of a part has shown until its end: all else of that part is gone.
    let mut seen: Vec<HashSet<(String, String)>> = vec![HashSet::new(); parts.len()];
    while let Some((part, event)) = events.next().await {
        match event {
            Ok(Event::Init) => seen[part].clear(),
            Ok(Event::InitApply(object)) => {
                let (namespace, held) = read(object);
                seen[part].insert((namespace.clone(), held.key.name.clone()));
                cache.note(&namespace, held);
            }
            Ok(Event::InitDone) => {
                cache.listed(K::KIND, parts[part], &std::mem::take(&mut seen[part]));
                done[part] = true;
                if done.iter().all(|done| *done) {
                    cache.listed_all(K::KIND);
                }
            }
            Ok(Event::Apply(object)) => {
                let (namespace, held) = read(object);
                cache.well(K::KIND);
                cache.note(&namespace, held);
            }
            Ok(Event::Delete(object)) => {
                let (namespace, held) = read(object);
                cache.well(K::KIND);
                cache.forget(&namespace, &held.key, &held.substance.uid);
            }
            Err(error) => cache.unwell(K::KIND, problem(&error)),
        }
    }
}

fn read<K: Cached>(object: DeserializeGuard<K>) -> (String, crate::cache::Held) {
    match object.0 {
        Ok(object) => held(object),
        Err(invalid) => with_body(K::KIND, &invalid.metadata, Body::Unreadable(invalid.error)),
    }
}

/// Why a watch does not work.
pub(crate) fn problem(error: &watcher::Error) -> Problem {
    match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => Problem::of(error),
        other => Problem::Away(other.to_string()),
    }
}

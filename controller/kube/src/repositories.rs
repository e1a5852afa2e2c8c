//! The Repositories of the cluster, as a watch tells of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use futures::StreamExt as _;
use kube::{Client, core::DeserializeGuard, runtime::watcher::Event};
use sluice_crds::Repository;
use tokio::sync::{Notify, watch};

use crate::{
    cache::lock,
    plan::name,
    terms::Terms,
    watch::{Scope, events, problem},
};

/// The Repositories by `namespace/name`.
#[derive(Debug, Default)]
pub(crate) struct Repositories {
    known: Mutex<BTreeMap<String, watch::Sender<Arc<Repository>>>>,
    trouble: Mutex<Option<String>>,
    listed: Mutex<bool>,
    /// What status showed of leaders' terms.
    pub(crate) terms: Terms,
    /// One came or went.
    pub(crate) changed: Notify,
}

impl Repositories {
    /// A receiver for each, by name.
    pub(crate) fn all(&self) -> BTreeMap<String, watch::Receiver<Arc<Repository>>> {
        lock(&self.known).iter().map(|(name, sender)| (name.clone(), sender.subscribe())).collect()
    }

    /// Notes one that this program wrote, or that the watch brought.
    pub(crate) fn wrote(&self, repository: Repository) {
        self.terms.saw(repository.status.as_ref().and_then(|status| status.epoch));
        let name = name(&repository);
        let mut known = lock(&self.known);
        let repository = Arc::new(repository);
        match known.get(&name) {
            Some(sender) if sender.borrow().metadata.uid == repository.metadata.uid => {
                let later = version(&sender.borrow()) >= version(&repository);
                if !later {
                    sender.send_replace(repository);
                }
            }
            // A new one, or one that was deleted and made again.
            _ => {
                known.insert(name, watch::Sender::new(repository));
                drop(known);
                self.changed.notify_one();
            }
        }
    }

    /// One by its name.
    pub(crate) fn get(&self, name: &str) -> Option<Arc<Repository>> {
        lock(&self.known).get(name).map(|sender| Arc::clone(&sender.borrow()))
    }

    /// Has whoever follows one look at it, although it did not change.
    pub(crate) fn nudge(&self, name: &str) {
        if let Some(sender) = lock(&self.known).get(name) {
            sender.send_modify(|_| ());
        }
    }

    fn forget(&self, name: &str) {
        if lock(&self.known).remove(name).is_some() {
            self.changed.notify_one();
        }
    }

    /// Why nothing is known, or nothing new.
    pub(crate) fn trouble(&self) -> Option<String> {
        lock(&self.trouble)
            .clone()
            .or_else(|| (!*lock(&self.listed)).then(|| "repositories were not listed yet".to_owned()))
    }

    /// Whether all were listed once, or cannot be.
    pub(crate) fn has_looked(&self) -> bool {
        *lock(&self.listed) || lock(&self.trouble).is_some()
    }

    /// Watches until the returned future is dropped.
    pub(crate) async fn watch(&self, client: Client, scope: Scope) {
        let mut events = events::<Repository>(&client, &scope);
        let mut seen: BTreeMap<usize, BTreeSet<String>> = BTreeMap::new();
        while let Some((part, event)) = events.next().await {
            match event {
                Ok(Event::Init) => _ = seen.insert(part, BTreeSet::new()),
                Ok(Event::InitApply(object)) => {
                    if let Some(repository) = read(object) {
                        seen.entry(part).or_default().insert(name(&repository));
                        self.wrote(repository);
                    }
                }
                Ok(Event::InitDone) => {
                    let all: BTreeSet<&String> = seen.values().flatten().collect();
                    if seen.len() == scope.apis::<Repository>(&client).len() {
                        let gone: Vec<String> =
                            self.all().into_keys().filter(|name| !all.contains(name)).collect();
                        for name in &gone {
                            self.forget(name);
                        }
                        *lock(&self.listed) = true;
                    }
                    self.well();
                }
                Ok(Event::Apply(object)) => {
                    self.well();
                    if let Some(repository) = read(object) {
                        seen.entry(part).or_default().insert(name(&repository));
                        self.wrote(repository);
                    }
                }
                Ok(Event::Delete(object)) => {
                    self.well();
                    if let Some(repository) = read(object) {
                        seen.entry(part).or_default().remove(&name(&repository));
                        self.forget(&name(&repository));
                    }
                }
                Err(error) => *lock(&self.trouble) = Some(problem(&error).to_string()),
            }
        }
    }

    fn well(&self) {
        lock(&self.trouble).take();
    }
}

fn read(object: DeserializeGuard<Repository>) -> Option<Repository> {
    match object.0 {
        Ok(repository) => Some(repository),
        Err(invalid) => {
            let (namespace, name) = (invalid.metadata.namespace, invalid.metadata.name);
            tracing::error!(
                ?namespace,
                ?name,
                error = invalid.error,
                "a Repository cannot be read; it is left alone"
            );
            None
        }
    }
}

fn version(repository: &Repository) -> u128 {
    let version = repository.metadata.resource_version.as_deref().unwrap_or_default();
    version.parse().unwrap_or_default()
}

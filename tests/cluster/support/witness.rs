//! Somebody who watches everything that leaders write, and notes each step backwards.

use std::{
    collections::BTreeMap,
    fmt::Debug,
    pin::pin,
    sync::{Arc, Mutex},
};

use futures::TryStreamExt as _;
use kube::{
    Api,
    api::{ListParams, WatchEvent, WatchParams},
    core::NamespaceResourceScope,
};
use serde::{Serialize, de::DeserializeOwned};
use sluice_crds::{Channel, Release, Repository};
use tokio::task::JoinSet;

use super::{Bucket, World};

/// See the module. It reads root and record of the bucket as fast as it can, and sees each state of the objects of the
/// cluster.
pub struct Witness {
    seen: Arc<Mutex<Seen>>,
    tasks: JoinSet<()>,
}

/// What a witness saw.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// Looks at the bucket.
    pub looks: u64,
    /// Terms that published, in order.
    pub terms: Vec<u64>,
    /// Generations, in order.
    pub generations: Vec<u64>,
    /// States of objects of the cluster.
    pub states: u64,
    record: u64,
    objects: BTreeMap<String, i64>,
    backwards: Vec<String>,
}

impl Seen {
    fn epoch(&mut self, what: &str, last: u64, next: u64) -> bool {
        if next < last {
            self.backwards.push(format!("the epoch of {what} went from {last} to {next}"));
        }
        next != last
    }

    fn root(&mut self, epoch: u64, generation: u64) {
        let (term, last) = (self.terms.last().copied(), self.generations.last().copied());
        if self.epoch("the root", term.unwrap_or(0), epoch) {
            self.terms.push(epoch);
        }
        let last = last.unwrap_or(0);
        if generation < last {
            self.backwards.push(format!("the generation went from {last} to {generation}"));
        }
        if generation != last {
            self.generations.push(generation);
        } else if term.is_some_and(|term| term != epoch) {
            self.backwards.push(format!("generation {generation} is that of two terms"));
        }
    }

    fn object(&mut self, name: String, epoch: Option<i64>) {
        self.states += 1;
        let last = self.objects.get(&name).copied();
        let next = epoch.unwrap_or(-1);
        if next < last.unwrap_or(-1) {
            self.backwards.push(format!("the epoch of {name} went from {last:?} to {epoch:?}"));
        }
        self.objects.insert(name, next);
    }
}

impl Witness {
    /// Watches from now on.
    pub fn of(world: &World, bucket: &Bucket) -> Self {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let mut tasks = JoinSet::new();
        tasks.spawn(look(bucket.clone(), Arc::clone(&seen)));
        let epoch = |object: &Channel| object.status.as_ref().and_then(|status| status.epoch);
        tasks.spawn(watch(world.api::<Channel>(), epoch, Arc::clone(&seen)));
        let epoch = |object: &Release| object.status.as_ref().and_then(|status| status.epoch);
        tasks.spawn(watch(world.api::<Release>(), epoch, Arc::clone(&seen)));
        let epoch = |object: &Repository| object.status.as_ref().and_then(|status| status.epoch);
        tasks.spawn(watch(world.api::<Repository>(), epoch, Arc::clone(&seen)));
        Self { seen, tasks }
    }

    /// What it saw up to now. Fails when anything went backwards.
    pub fn testify(&mut self) -> Seen {
        let ended = self.tasks.try_join_next();
        assert!(ended.is_none(), "it looked away: {ended:?}");
        let seen = self.seen.lock().unwrap().clone();
        assert!(seen.backwards.is_empty(), "{:#?}\n{:?}", seen.backwards, seen.terms);
        assert!(seen.looks > 0 && seen.states > 0, "it has not seen anything: {seen:?}");
        seen
    }
}

async fn look(bucket: Bucket, seen: Arc<Mutex<Seen>>) {
    loop {
        let (root, record) = (bucket.root().await, bucket.record().await);
        let mut seen = seen.lock().unwrap();
        seen.looks += 1;
        if let Some(root) = root {
            seen.root(root.epoch, root.generation);
        }
        if let Some(record) = record {
            let last = seen.record;
            seen.epoch("the record", last, record.epoch);
            seen.record = record.epoch;
        }
    }
}

async fn watch<K>(api: Api<K>, epoch: fn(&K) -> Option<i64>, seen: Arc<Mutex<Seen>>)
where
    K: kube::Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + Debug
        + DeserializeOwned
        + Serialize,
{
    let note = |object: &K| {
        let meta = object.meta();
        let name = format!("{} {:?} {:?}", K::kind(&()), meta.name, meta.uid);
        seen.lock().unwrap().object(name, epoch(object));
    };
    loop {
        // A watch ends after some minutes.
        let list = api.list(&ListParams::default()).await.unwrap();
        list.items.iter().for_each(note);
        let version = list.metadata.resource_version.unwrap();
        let mut events = pin!(api.watch(&WatchParams::default(), &version).await.unwrap());
        while let Some(event) = events.try_next().await.unwrap() {
            match event {
                WatchEvent::Added(object) | WatchEvent::Modified(object) => note(&object),
                WatchEvent::Deleted(_) | WatchEvent::Bookmark(_) => {}
                WatchEvent::Error(error) => panic!("the watch ended: {error:?}"),
            }
        }
    }
}

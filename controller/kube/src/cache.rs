//! What the cluster holds, as watches tell it.
//!
//! One watch per kind serves every Repository. What this program wrote itself is noted at once
//! ([`Cache::wrote`]), so that the next look never sees an older state than its own.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use sluice_core::{
    diagnostic::Code,
    inventory::{Kind, ObjectId, ObjectKey},
};
use sluice_crds::{
    Channel, ChannelSpec, ChannelStatus, FLUX_REQUESTED_AT, REPOSITORY_LABEL, REQUESTED_AT, Release,
    ReleaseSpec, ReleaseStatus,
};
use sluice_engine::Unavailable;
use tokio::sync::watch;

use crate::{by_object::ByObject, problem::Problem, terms::Terms, texts::Texts};

/// An object as the cluster holds it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Held {
    pub(crate) key: ObjectKey,
    pub(crate) resource_version: String,
    pub(crate) substance: Arc<Substance>,
    /// Who wrote a field of the spec last, by field manager.
    pub(crate) writer: Option<String>,
    pub(crate) body: Body,
}

/// What of an object matters to what is in force: all but its status. The spec is told by its generation. Versions of an
/// object that only differ in their status share it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Substance {
    pub(crate) uid: String,
    pub(crate) generation: i64,
    pub(crate) deleting: bool,
    pub(crate) labels: Texts,
    pub(crate) annotations: Texts,
}

/// Spec and status.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Body {
    Release(Box<(ReleaseSpec, ReleaseStatus)>),
    Channel(Box<(ChannelSpec, ChannelStatus)>),
    /// It cannot be read, for example because a newer release of this program wrote it.
    Unreadable(String),
}

impl Held {
    /// The Repository that it is applied for.
    pub(crate) fn repository(&self) -> Option<&str> {
        self.substance.labels.get(REPOSITORY_LABEL)
    }

    /// The term of the leader that wrote its status.
    pub(crate) fn term(&self) -> Option<i64> {
        match &self.body {
            Body::Release(body) => body.1.epoch,
            Body::Channel(body) => body.1.epoch,
            Body::Unreadable(_) => None,
        }
    }

    /// The value that asks for a reconcile.
    pub(crate) fn requested_at(&self) -> Option<&str> {
        REQUESTS.into_iter().find_map(|key| self.substance.annotations.get(key))
    }
}

/// Annotations that ask for a reconcile, ours before Flux's.
const REQUESTS: [&str; 2] = [REQUESTED_AT, FLUX_REQUESTED_AT];

/// The value that asks for a reconcile.
pub(crate) fn requested_at(annotations: &BTreeMap<String, String>) -> Option<&str> {
    REQUESTS.into_iter().find_map(|key| annotations.get(key)).map(String::as_str)
}

/// A kind that the cache holds.
pub(crate) trait Cached:
    kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
    + Clone
    + std::fmt::Debug
    + serde::de::DeserializeOwned
    + Send
    + Sync
    + 'static
{
    const KIND: Kind;
    fn body(self) -> Body;
}

impl Cached for Release {
    const KIND: Kind = Kind::Release;

    fn body(self) -> Body {
        let mut status = self.status.unwrap_or_default();
        // What is parsed has room for more, and stays for as long as the object.
        status.conditions.shrink_to_fit();
        Body::Release(Box::new((self.spec, status)))
    }
}

impl Cached for Channel {
    const KIND: Kind = Kind::Channel;

    fn body(self) -> Body {
        let mut status = self.status.unwrap_or_default();
        status.conditions.shrink_to_fit();
        status.lines.shrink_to_fit();
        Body::Channel(Box::new((self.spec, status)))
    }
}

/// Reads an object of the API.
pub(crate) fn held<K: Cached>(object: K) -> (String, Held) {
    let (namespace, held) = with_body(K::KIND, object.meta(), Body::Unreadable(String::new()));
    (namespace, Held { body: object.body(), ..held })
}

/// The same for one whose spec or status cannot be read.
pub(crate) fn with_body(kind: Kind, meta: &kube::core::ObjectMeta, body: Body) -> (String, Held) {
    let writer = meta
        .managed_fields
        .iter()
        .flatten()
        .filter(|entry| entry.subresource.as_deref().unwrap_or_default().is_empty())
        .max_by(|a, b| a.time.as_ref().map(|t| t.0).cmp(&b.time.as_ref().map(|t| t.0)))
        .and_then(|entry| entry.manager.clone());
    let substance = Substance {
        uid: meta.uid.clone().unwrap_or_default(),
        generation: meta.generation.unwrap_or_default(),
        deleting: meta.deletion_timestamp.is_some(),
        labels: meta.labels.as_ref().map(Texts::from).unwrap_or_default(),
        annotations: meta.annotations.as_ref().map(Texts::from).unwrap_or_default(),
    };
    let held = Held {
        key: ObjectKey { kind, name: meta.name.clone().unwrap_or_default() },
        resource_version: meta.resource_version.clone().unwrap_or_default(),
        substance: Arc::new(substance),
        writer,
        body,
    };
    (meta.namespace.clone().unwrap_or_default(), held)
}

/// What one namespace holds.
#[derive(Debug, Default)]
pub(crate) struct Namespace {
    objects: Mutex<ByObject<Arc<Held>>>,
    /// Objects that this program is writing: a watch may tell of it before the answer comes.
    writing: Mutex<ByObject<()>>,
    /// Something changed that may matter to what is in force. Several Repositories of a namespace wait for it, and none
    /// may miss it.
    changed: watch::Sender<()>,
    /// Something changed, a status perhaps.
    stirred: watch::Sender<()>,
}

/// An object is being written, until this is dropped. Who drops it before the answer came looks at everything again.
pub(crate) struct Writing<'a> {
    space: &'a Namespace,
    key: &'a ObjectKey,
}

impl Writing<'_> {
    /// Ends it, and says what is known of the object by now.
    pub(crate) fn answered(self) -> Option<Arc<Held>> {
        let (space, id) = (self.space, self.key.id());
        drop(self);
        space.get(id)
    }
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        lock(&self.space.writing).remove(self.key.id());
    }
}

impl Namespace {
    /// The object of this kind and name.
    pub(crate) fn get(&self, id: ObjectId<'_>) -> Option<Arc<Held>> {
        lock(&self.objects).get(id).cloned()
    }

    /// Begins to write an object: what a watch tells of it until the end is no news.
    pub(crate) fn write<'a>(&'a self, key: &'a ObjectKey) -> Writing<'a> {
        lock(&self.writing).insert(key.id(), ());
        Writing { space: self, key }
    }

    /// Tells whoever waits that something changed that may matter to what is in force.
    pub(crate) fn tell_changed(&self) {
        self.changed.send_replace(());
    }

    /// Sees every change from now on.
    pub(crate) fn changes(&self) -> Changes {
        Changes(Mutex::new(self.changed.subscribe()))
    }

    /// Sees from now on that something changed, a status perhaps.
    pub(crate) fn stirs(&self) -> watch::Receiver<()> {
        self.stirred.subscribe()
    }

    fn is_writing(&self, id: ObjectId<'_>) -> bool {
        lock(&self.writing).get(id).is_some()
    }

    /// Puts an object in its place, unless a later version of it is there. Says whether its substance is new.
    fn put(&self, mut held: Held) -> Option<bool> {
        let mut objects = lock(&self.objects);
        let known = objects.get(held.key.id());
        if known.is_some_and(|known| known.substance.uid == held.substance.uid && is_later(known, &held)) {
            return None;
        }
        let same = known.filter(|known| known.substance == held.substance);
        let matters = same.is_none();
        if let Some(known) = same {
            held.substance = Arc::clone(&known.substance);
        }
        let held = Arc::new(held);
        objects.insert(held.key.id(), Arc::clone(&held));
        Some(matters)
    }

    /// Every object, in no order.
    pub(crate) fn all(&self) -> Vec<Arc<Held>> {
        lock(&self.objects).values().cloned().collect()
    }
}

/// What one Repository has seen of the changes in its namespace.
#[derive(Debug)]
pub(crate) struct Changes(Mutex<watch::Receiver<()>>);

impl Changes {
    /// Returns when something changed since this returned last. A call that is dropped has seen nothing.
    pub(crate) async fn next(&self) {
        let mut receiver = lock(&self.0).clone();
        if receiver.changed().await.is_err() {
            // A namespace is kept for as long as the process lives.
            std::future::pending::<()>().await;
        }
        *lock(&self.0) = receiver;
    }
}

/// What the cluster holds of both kinds.
#[derive(Debug, Default)]
pub(crate) struct Cache {
    namespaces: Mutex<HashMap<String, Arc<Namespace>>>,
    synced: [AtomicBool; 2],
    trouble: Mutex<[Option<Problem>; 2]>,
    writes: AtomicU64,
    /// What status showed of leaders' terms.
    pub(crate) terms: Terms,
}

fn slot(kind: Kind) -> usize {
    match kind {
        Kind::Release => 0,
        Kind::Channel => 1,
    }
}

impl Cache {
    /// How many objects and statuses this program wrote.
    pub(crate) fn writes(&self) -> u64 {
        self.writes.load(Ordering::Relaxed)
    }

    /// One namespace, for as long as the process lives.
    pub(crate) fn namespace(&self, name: &str) -> Arc<Namespace> {
        Arc::clone(lock(&self.namespaces).entry(name.to_owned()).or_default())
    }

    /// Notes an object that a watch brought, unless a later version of it is known.
    pub(crate) fn note(&self, namespace: &str, held: Held) {
        self.terms.saw(held.term());
        let space = self.namespace(namespace);
        let ours = space.is_writing(held.key.id());
        if let Some(matters) = space.put(held) {
            space.stirred.send_replace(());
            if matters && !ours {
                space.tell_changed();
            }
        }
    }

    /// Notes the answer to a write of this program's own, which is news to nobody.
    pub(crate) fn wrote(&self, namespace: &str, held: Held) {
        self.writes.fetch_add(1, Ordering::Relaxed);
        self.namespace(namespace).put(held);
    }

    /// Notes that an object is gone.
    pub(crate) fn forget(&self, namespace: &str, key: &ObjectKey, uid: &str) {
        let space = self.namespace(namespace);
        let mut objects = lock(&space.objects);
        if objects.get(key.id()).is_some_and(|known| known.substance.uid == uid) {
            objects.remove(key.id());
            drop(objects);
            space.tell_changed();
            space.stirred.send_replace(());
        }
    }

    /// A list of one kind has come, of one namespace or all: what is not in `seen` is gone.
    pub(crate) fn listed(&self, kind: Kind, only: Option<&str>, seen: &HashSet<(String, String)>) {
        let spaces: Vec<(String, Arc<Namespace>)> = lock(&self.namespaces)
            .iter()
            .filter(|(name, _)| only.is_none_or(|only| only == *name))
            .map(|(name, space)| (name.clone(), Arc::clone(space)))
            .collect();
        for (name, space) in spaces {
            let gone = space.all().into_iter().filter(|held| {
                held.key.kind == kind && !seen.contains(&(name.clone(), held.key.name.clone()))
            });
            for held in gone {
                self.forget(&name, &held.key, &held.substance.uid);
            }
        }
    }

    /// Everything of one kind was listed.
    pub(crate) fn listed_all(&self, kind: Kind) {
        if !self.synced[slot(kind)].swap(true, Ordering::AcqRel) {
            self.wake();
        }
        self.well(kind);
    }

    /// The watch of a kind works.
    pub(crate) fn well(&self, kind: Kind) {
        let had = lock(&self.trouble)[slot(kind)].take();
        if had.is_some() {
            tracing::info!(?kind, "the API server is watched again");
            // What failed meanwhile is tried again.
            self.wake();
        }
    }

    fn wake(&self) {
        for space in lock(&self.namespaces).values() {
            space.tell_changed();
            space.stirred.send_replace(());
        }
    }

    /// The watch of a kind does not work.
    pub(crate) fn unwell(&self, kind: Kind, why: Problem) {
        let mut trouble = lock(&self.trouble);
        if trouble[slot(kind)].is_none() {
            tracing::warn!(?kind, "the API server cannot be watched: {why}");
        }
        trouble[slot(kind)] = Some(why);
    }

    /// Whether anything can be said of what the cluster holds.
    pub(crate) fn ready(&self) -> Result<(), Unavailable> {
        if self.is_synced() {
            return Ok(());
        }
        let trouble = self.problem();
        let message = match &trouble {
            Some(why) => format!("releases and channels could not be listed yet: {why}"),
            None => "releases and channels are being listed".to_owned(),
        };
        let missing = matches!(trouble, Some(Problem::Refused(Code::CustomResourcesMissing, _)));
        Err(Unavailable {
            reason: if missing { "CustomResourcesMissing" } else { "ApiUnavailable" },
            message,
        })
    }

    /// Whether both kinds were listed in full once, or one of them cannot be.
    pub(crate) fn has_looked(&self) -> bool {
        self.is_synced() || self.problem().is_some()
    }

    /// Whether both kinds were listed in full once.
    pub(crate) fn is_synced(&self) -> bool {
        self.synced.iter().all(|synced| synced.load(Ordering::Acquire))
    }

    /// Why a watch does not work.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.problem().map(|problem| problem.to_string())
    }

    fn problem(&self) -> Option<Problem> {
        lock(&self.trouble).iter().flatten().next().cloned()
    }
}

/// Resource versions of one object grow (Kubernetes KEP-5504 makes that a promise).
fn is_later(known: &Held, than: &Held) -> bool {
    match (known.resource_version.parse::<u128>(), than.resource_version.parse::<u128>()) {
        (Ok(known), Ok(than)) => known >= than,
        _ => false,
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing is left half-changed under these locks.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    fn substance(uid: &str) -> Substance {
        let (labels, annotations) = (Texts::default(), Texts::default());
        Substance { uid: uid.into(), generation: 1, deleting: false, labels, annotations }
    }

    fn object(version: &str, generation: i64) -> Held {
        Held {
            key: ObjectKey { kind: Kind::Channel, name: "c".into() },
            resource_version: version.into(),
            substance: Arc::new(Substance { generation, ..substance("u") }),
            writer: None,
            body: Body::Unreadable(String::new()),
        }
    }

    #[test]
    fn an_older_state_does_not_replace_a_newer_one() {
        let cache = Cache::default();
        cache.note("n", object("9", 1));
        cache.note("n", object("10", 2));
        cache.note("n", object("9", 1));
        let held = cache.namespace("n").get(object("", 0).key.id()).unwrap();
        assert_eq!(held.substance.generation, 2);
        // An object that was deleted and made again has a history of its own.
        cache.note("n", Held { substance: Arc::new(substance("v")), ..object("3", 1) });
        assert_eq!(cache.namespace("n").get(held.key.id()).unwrap().substance.uid, "v");
        cache.forget("n", &held.key, "u");
        assert!(cache.namespace("n").get(held.key.id()).is_some());
        cache.listed(Kind::Release, None, &HashSet::new());
        cache.listed(Kind::Channel, Some("m"), &HashSet::new());
        assert!(cache.namespace("n").get(held.key.id()).is_some());
        cache.listed(Kind::Channel, Some("n"), &HashSet::new());
        assert!(cache.namespace("n").get(held.key.id()).is_none());
        assert!(!cache.is_synced());
        cache.listed_all(Kind::Release);
        cache.listed_all(Kind::Channel);
        assert!(cache.is_synced());
    }

    fn is_due(changes: &Changes) -> bool {
        changes.next().now_or_never().is_some()
    }

    #[test]
    fn everybody_who_waits_for_a_change_sees_it_once() {
        let cache = Cache::default();
        let space = cache.namespace("n");
        let (one, other) = (space.changes(), space.changes());
        assert!(!is_due(&one) && !is_due(&other));
        cache.note("n", object("1", 1));
        assert!(is_due(&one) && is_due(&other));
        assert!(!is_due(&one) && !is_due(&other));
        cache.note("n", object("2", 1));
        assert!(!is_due(&one), "its status is another one, if anything");
    }

    #[test]
    fn a_write_that_nobody_waited_for_hides_no_later_change() {
        let cache = Cache::default();
        let space = cache.namespace("n");
        let (changes, key) = (space.changes(), object("", 0).key);
        let writing = space.write(&key);
        cache.note("n", object("1", 1));
        assert!(!is_due(&changes), "the answer is to come");
        drop(writing);
        cache.note("n", object("2", 2));
        assert!(is_due(&changes));
        let writing = space.write(&key);
        cache.note("n", object("3", 3));
        assert_eq!(writing.answered().unwrap().substance.generation, 3);
        assert!(!is_due(&changes));
    }
}

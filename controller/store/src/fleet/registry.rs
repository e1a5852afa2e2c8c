//! Apps and versions by name, in memory. There are few of them, and every request names one.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
};

use sluice_core::digest::Digest;

use super::hash::Seed;

/// More apps than this are not tracked: their names come from a snapshot, so this is a bound and not a policy.
const MOST_APPS: usize = 100_000;

/// An app. Its number is the one in the database.
pub(crate) struct App {
    pub(crate) id: u32,
    pub(crate) name: Box<str>,
    versions: RwLock<HashMap<Box<str>, Arc<KnownVersion>, Seed>>,
}

impl App {
    /// What is known of a version.
    pub(crate) fn version(&self, version: &str) -> Option<Arc<KnownVersion>> {
        self.versions.read().unwrap_or_else(PoisonError::into_inner).get(version).cloned()
    }

    pub(crate) fn versions(&self) -> Vec<Arc<KnownVersion>> {
        self.versions.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Puts in what the database has.
    pub(crate) fn load_version(&self, version: &str, digest: Digest, first: i64, last: i64) {
        let known = KnownVersion {
            app: self.id,
            version: version.into(),
            digest,
            first,
            last: AtomicI64::new(last),
            dirty: AtomicBool::new(false),
        };
        self.versions.write().unwrap_or_else(PoisonError::into_inner).insert(version.into(), Arc::new(known));
    }
}

/// A version that was offered or declared.
pub(crate) struct KnownVersion {
    pub(crate) app: u32,
    pub(crate) version: Box<str>,
    pub(crate) digest: Digest,
    pub(crate) first: i64,
    /// Latest offer in seconds, rounded down to a minute.
    last: AtomicI64,
    /// It waits for being written.
    dirty: AtomicBool,
}

impl fmt::Debug for KnownVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KnownVersion").field("version", &self.version).finish_non_exhaustive()
    }
}

impl KnownVersion {
    pub(crate) fn last(&self) -> i64 {
        self.last.load(Ordering::Relaxed)
    }
}

/// All apps and versions.
pub(crate) struct Registry {
    apps: RwLock<HashMap<Box<str>, Arc<App>, Seed>>,
    /// What the next commit has to write.
    dirty: Mutex<Dirty>,
    seed: Seed,
}

/// Names that are not in the database yet.
#[derive(Default)]
pub(crate) struct Dirty {
    pub(crate) apps: Vec<Arc<App>>,
    pub(crate) versions: Vec<Arc<KnownVersion>>,
}

impl Dirty {
    pub(crate) fn is_empty(&self) -> bool {
        self.apps.is_empty() && self.versions.is_empty()
    }
}

impl Registry {
    pub(crate) fn new(seed: Seed) -> Self {
        Self { apps: RwLock::new(HashMap::with_hasher(seed)), dirty: Mutex::default(), seed }
    }

    /// The app, when it is known.
    pub(crate) fn app(&self, name: &str) -> Option<Arc<App>> {
        self.apps.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    pub(crate) fn apps(&self) -> Vec<Arc<App>> {
        self.apps.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// The app's number, without counting references: the hot path.
    pub(crate) fn app_id(&self, name: &str) -> Option<u32> {
        self.apps.read().unwrap_or_else(PoisonError::into_inner).get(name).map(|app| app.id)
    }

    /// The app, made when it is new. Nothing when there are too many.
    pub(crate) fn app_or_new(&self, name: &str) -> Option<Arc<App>> {
        if let Some(app) = self.app(name) {
            return Some(app);
        }
        let mut apps = self.apps.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(app) = apps.get(name) {
            return Some(Arc::clone(app));
        }
        if apps.len() >= MOST_APPS {
            return None;
        }
        let id = apps.values().map(|app| app.id).max().map_or(1, |id| id + 1);
        let app = self.empty_app(id, name);
        apps.insert(name.into(), Arc::clone(&app));
        self.dirty().apps.push(Arc::clone(&app));
        Some(app)
    }

    /// Puts in what the database has.
    pub(crate) fn load_app(&self, id: u32, name: &str) {
        let app = self.empty_app(id, name);
        self.apps.write().unwrap_or_else(PoisonError::into_inner).insert(name.into(), app);
    }

    fn empty_app(&self, id: u32, name: &str) -> Arc<App> {
        Arc::new(App { id, name: name.into(), versions: RwLock::new(HashMap::with_hasher(self.seed)) })
    }

    /// The version with this bundle, made when it is new. Another bundle for a known version replaces the first one: the
    /// bundle store decides what a version means, and says so to everybody.
    pub(crate) fn version_or_new(
        &self,
        app: &App,
        version: &str,
        digest: &Digest,
        at: i64,
    ) -> Arc<KnownVersion> {
        if let Some(known) = app.version(version).filter(|known| known.digest == *digest) {
            return known;
        }
        let mut versions = app.versions.write().unwrap_or_else(PoisonError::into_inner);
        let old = versions.get(version);
        if let Some(known) = old.filter(|known| known.digest == *digest) {
            return Arc::clone(known);
        }
        let known = Arc::new(KnownVersion {
            app: app.id,
            version: version.into(),
            digest: *digest,
            first: old.map_or(at, |old| old.first),
            last: AtomicI64::new(old.map_or(0, |old| old.last())),
            dirty: AtomicBool::new(true),
        });
        versions.insert(version.into(), Arc::clone(&known));
        self.dirty().versions.push(Arc::clone(&known));
        known
    }

    /// Notes an offer. Cheap unless the minute is new.
    pub(crate) fn offered(&self, known: &Arc<KnownVersion>, at: i64) {
        let minute = at - at.rem_euclid(60);
        if known.last() < minute && known.last.fetch_max(minute, Ordering::Relaxed) < minute {
            self.mark(known);
        }
    }

    fn mark(&self, known: &Arc<KnownVersion>) {
        if !known.dirty.swap(true, Ordering::AcqRel) {
            self.dirty().versions.push(Arc::clone(known));
        }
    }

    /// Takes what has to be written. What is offered from now on is marked again.
    pub(crate) fn take_dirty(&self) -> Dirty {
        let dirty = std::mem::take(&mut *self.dirty());
        for known in &dirty.versions {
            known.dirty.store(false, Ordering::Release);
        }
        dirty
    }

    /// Gives back what could not be written.
    pub(crate) fn give_back(&self, back: Dirty) {
        self.dirty().apps.extend(back.apps);
        for known in &back.versions {
            self.mark(known);
        }
    }

    fn dirty(&self) -> std::sync::MutexGuard<'_, Dirty> {
        self.dirty.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

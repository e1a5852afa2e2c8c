//! `apply: Self`: this program applies what Git declares, and what is applied is in force.
//!
//! Only what differs is written. An object that the API server refuses stays as it was, and so does what it serves; the
//! others go on. What somebody changes behind Git's back is put right as soon as the watch tells of it.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use futures::{StreamExt as _, stream};
use sluice_core::{
    diagnostic::{Code, Diagnostic, Location},
    inventory::{Kind, Located, Object, ObjectId, ObjectKey, holders},
    status::Status,
};
use sluice_engine::{Declared, InForce, Resources, Unavailable};

use crate::{
    cache::{Body, Cache, Changes, Held, Namespace, lock},
    declared::{Documents, Holders, as_held, read_files},
    desired::Desired,
    fights::Fights,
    objects::Objects,
    problem::Problem,
    report::Reporter,
};

/// Requests at one time.
const AT_ONCE: usize = 16;
/// After a refusal, the first pause; doubled each time up to [`LONGEST`].
const SHORTEST: Duration = Duration::from_secs(2);
/// See [`SHORTEST`].
const LONGEST: Duration = Duration::from_mins(5);

/// The resources of one Repository, which this program applies.
#[derive(Debug)]
pub(crate) struct Applied {
    /// Name of the Repository.
    repository: String,
    objects: Objects,
    cache: Arc<Cache>,
    space: Arc<Namespace>,
    changes: Changes,
    reporter: Arc<Reporter>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    documents: Documents,
    /// The generation that this program's last write of an object made.
    written: HashMap<ObjectKey, i64>,
    fights: Fights,
    /// Refusals in a row, and when to try again.
    refusals: u32,
    again: Option<Instant>,
}

/// An object that is not as Git wants it.
struct Work {
    key: ObjectKey,
    desired: Arc<Desired>,
    held: Option<Arc<Held>>,
    /// Somebody else changed or deleted it since this program wrote it.
    drifted: bool,
}

impl Applied {
    pub(crate) fn new(
        repository: &str,
        objects: Objects,
        cache: Arc<Cache>,
        reporter: Arc<Reporter>,
    ) -> Self {
        let space = cache.namespace(&objects.namespace);
        let (repository, changes) = (repository.to_owned(), space.changes());
        Self { repository, objects, cache, space, changes, reporter, state: Mutex::default() }
    }

    /// What has to be written, and what must not be.
    fn compare(&self, wanted: &Holders<'_>) -> (Vec<Work>, BTreeMap<ObjectKey, (Code, String)>) {
        let mut work = Vec::new();
        let mut refused = BTreeMap::new();
        let mut state = lock(&self.state);
        let State { documents, written, fights, again, .. } = &mut *state;
        let now = Instant::now();
        for id in wanted.keys() {
            let Some(desired) = documents.get(*id) else { continue };
            let (key, held) = (id.key(), self.space.get(*id));
            if let Some(namespace) = desired.namespace.as_ref().filter(|n| **n != self.objects.namespace) {
                let message = format!(
                    "the document names namespace {namespace}, and repository {} applies into {} only; remove \
                     `metadata.namespace`, or move the document to a repository of that namespace",
                    self.repository, self.objects.namespace
                );
                refused.insert(key, (Code::OtherNamespace, message));
                continue;
            }
            let drifted = written
                .get(&key)
                .is_some_and(|own| held.as_ref().is_none_or(|held| held.substance.generation > *own));
            if let Some(held) = &held {
                match held.repository() {
                    Some(owner) if owner == self.repository => {}
                    owner => {
                        refused.insert(key, (Code::OwnedByAnother, self.owned(*id, owner)));
                        continue;
                    }
                }
                if desired.is(held) {
                    documents.found_right(*id, held);
                    continue;
                }
                // A deletion that has begun raises the generation as well.
                let theirs = drifted && !held.substance.deleting;
                let truce = fights
                    .truce(&key, now)
                    .or_else(|| if theirs { fights.corrected(&key, now) } else { None });
                if let Some(until) = truce {
                    *again = Some(again.map_or(until, |again| again.min(until)));
                    let why = Self::fought(*id, held);
                    refused.insert(key, (Code::FieldConflict, why));
                    continue;
                }
            }
            work.push(Work { key, desired: Arc::clone(desired), held, drifted });
        }
        // Releases before the channels that refer to them.
        work.sort_by(|a, b| a.key.cmp(&b.key));
        (work, refused)
    }

    fn owned(&self, key: ObjectId<'_>, owner: Option<&str>) -> String {
        let whose = match owner {
            Some(owner) => format!("is applied for repository {owner}"),
            None => "was not applied by Sluice".to_owned(),
        };
        format!(
            "{key} exists in namespace {} and {whose}; delete it, or hand it over: kubectl -n {} label {} {} \
             sluice.dev/repository={} --overwrite",
            self.objects.namespace,
            self.objects.namespace,
            match key.kind {
                Kind::Release => "releases.sluice.dev",
                Kind::Channel => "channels.sluice.dev",
            },
            key.name,
            self.repository
        )
    }

    fn fought(key: ObjectId<'_>, held: &Held) -> String {
        let who = held.writer.as_deref().filter(|writer| *writer != crate::objects::MANAGER);
        format!(
            "{key} is changed back again and again by {}; stop that writer. What Git says is served meanwhile",
            who.map_or_else(
                || "another writer or an admission webhook".to_owned(),
                |writer| format!("field manager `{writer}`")
            )
        )
    }

    /// Applies one object.
    async fn apply(&self, work: Work) -> (ObjectKey, Result<(), Problem>) {
        let Work { key, desired, held, drifted } = work;
        if held.as_ref().is_some_and(|held| held.substance.deleting) {
            let gone = "it is being deleted; it is applied again when it is gone".to_owned();
            return (key, Err(Problem::Refused(Code::ApplyRejected, gone)));
        }
        let writing = self.space.write(&key);
        // Until it is answered nobody knows which generation is this program's own.
        lock(&self.state).written.remove(&key);
        let mut applied = self.objects.apply(&key, &desired.patch(&key.name)).await;
        if let Ok(held) = &applied
            && !desired.is(held)
            && let Some(patch) = desired.without_additions(held)
        {
            applied = self.objects.merge(&key, &patch).await;
        }
        let applied = applied.map(|held| {
            // An answer that is not what was sent comes from a webhook that changes what it admits: the next
            // correction is one of a fight, or it would go on without a pause.
            let own = held.substance.generation - i64::from(!desired.is(&held));
            lock(&self.state).written.insert(key.clone(), own);
            self.cache.wrote(&self.objects.namespace, held);
        });
        let known = writing.answered();
        if let Some(known) = known.as_ref().filter(|_| drifted && applied.is_ok()) {
            self.reporter.corrected(known, held.as_deref()).await;
        }
        if applied.is_ok() {
            match known.filter(|known| desired.is(known)) {
                // What thousands of objects shall be is not kept until the last of them is so.
                Some(known) => lock(&self.state).documents.found_right(key.id(), &known),
                // Somebody else wrote it meanwhile.
                None => self.space.tell_changed(),
            }
        }
        (key, applied)
    }

    /// Deletes what Git no longer declares, as far as it is ours. Returns what is gone, and what went wrong.
    async fn prune(&self, declared: &Declared) -> (Vec<ObjectKey>, Vec<Diagnostic>) {
        let (mut gone, mut problems) = (Vec::new(), Vec::new());
        let mut leaving = Vec::new();
        for key in &declared.inventory.leaving {
            match self.space.get(key.id()) {
                Some(held) if held.repository() == Some(&self.repository) => leaving.push(held),
                // Never there, deleted already, or handed over to somebody else.
                _ => gone.push(key.clone()),
            }
        }
        let mut deletions = stream::iter(leaving)
            .map(async |held| (self.objects.delete(&held).await, held))
            .buffer_unordered(AT_ONCE);
        while let Some((deleted, held)) = deletions.next().await {
            match deleted {
                Ok(()) => {
                    self.cache.forget(&self.objects.namespace, &held.key, &held.substance.uid);
                    gone.push(held.key.clone());
                }
                Err(Problem::Refused(_, message) | Problem::Away(message)) => {
                    let file = held
                        .substance
                        .annotations
                        .get(sluice_crds::PATH_ANNOTATION)
                        .unwrap_or_default()
                        .to_owned();
                    let at = Location { file, line: 0, column: 0 };
                    let message = format!("{} could not be deleted from the cluster: {message}", held.key);
                    problems.push(Diagnostic::new(Code::ApplyForbidden, at, message));
                }
                Err(Problem::Gone) => gone.push(held.key.clone()),
            }
        }
        (gone, problems)
    }

    /// What counts of an object that could not be applied: what the cluster has of it, else nothing new.
    fn instead(&self, located: &Arc<Located>, code: Code) -> Option<Arc<Located>> {
        if code == Code::FieldConflict {
            return Some(Arc::clone(located));
        }
        let ours =
            self.space.get(located.object.id()).filter(|held| held.repository() == Some(&self.repository));
        let stands = ours.filter(|held| !matches!(held.body, Body::Unreadable(_)));
        match (stands.and_then(|held| as_held(&held, located)), &located.object) {
            (Some(stands), _) => Some(Arc::new(stands)),
            (None, Object::Channel(_)) => {
                Some(Arc::new(Located { refused: Some(code), ..Located::clone(located) }))
            }
            (None, Object::Release(_)) => None,
        }
    }

    /// When refused objects are tried again.
    fn plan_retry(&self, refused: bool) {
        let mut state = lock(&self.state);
        if !refused {
            state.refusals = 0;
            return;
        }
        let pause = SHORTEST.saturating_mul(1 << state.refusals.min(16)).min(LONGEST);
        state.refusals += 1;
        let again = Instant::now() + pause;
        state.again = Some(state.again.map_or(again, |known| known.min(again)));
    }
}

#[async_trait]
impl Resources for Applied {
    fn at_start(&self) -> Option<InForce> {
        None
    }

    async fn enforce(&self, declared: &Declared) -> Result<InForce, Unavailable> {
        self.cache.ready()?;
        lock(&self.state).again = None;
        let held = holders(declared.inventory.objects());
        let missing = lock(&self.state).documents.missing(&held, declared, &self.space);
        let read = missing.len();
        if read > 0 {
            let found = read_files(missing, &declared.mirror, &self.repository).await?;
            lock(&self.state).documents.put(found);
        }
        let (work, mut refused) = self.compare(&held);
        tracing::debug!(read, wanted = held.len(), "compared with the cluster");

        let mut away = None;
        let mut written = 0usize;
        if !work.is_empty() {
            let mut applying = stream::iter(work).map(|work| self.apply(work)).buffer_unordered(AT_ONCE);
            while let Some((key, outcome)) = applying.next().await {
                match outcome {
                    Ok(()) => written += 1,
                    Err(Problem::Refused(code, message)) => _ = refused.insert(key, (code, message)),
                    // Applying makes what is not there, so only its namespace or kind can be gone.
                    Err(Problem::Gone) => {
                        let message = "it changed while it was applied; it is tried again".to_owned();
                        refused.insert(key, (Code::ApiUnavailable, message));
                    }
                    // The rest would fail alike: what is known of this commit is not enough to serve it.
                    Err(Problem::Away(message)) => {
                        away = Some(message);
                        break;
                    }
                }
            }
        }
        if written > 0 {
            tracing::info!(namespace = %self.objects.namespace, repository = %self.repository, written, "applied");
        }
        if let Some(message) = away {
            return Err(Unavailable { reason: "ApiUnavailable", message });
        }
        let (gone, mut problems) = self.prune(declared).await;
        self.plan_retry(
            !problems.is_empty() || refused.values().any(|(code, _)| *code != Code::FieldConflict),
        );

        let objects = (!refused.is_empty()).then(|| {
            let all = declared.inventory.objects();
            let counts = all.filter_map(|located| match refused.get(&located.object.key()) {
                None => Some(Arc::clone(located)),
                Some((code, _)) => self.instead(located, *code),
            });
            counts.collect()
        });
        for (key, (code, message)) in refused {
            let at = held.get(&key.id()).map(|located| located.at.clone()).unwrap_or_default();
            problems.push(Diagnostic::new(code, at, message));
        }
        self.reporter
            .saw(held.keys().filter_map(|id| Some((*id, self.space.get(*id)?.substance.generation))));
        Ok(InForce { objects, problems, gone: gone.into_iter().collect() })
    }

    async fn disturbed(&self) {
        let again = lock(&self.state).again;
        let retry = async {
            match again {
                Some(again) => tokio::time::sleep_until(again.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.changes.next() => {}
            () = retry => {}
        }
    }

    fn report(&self, status: &Arc<Status>) {
        self.reporter.report(status);
    }
}

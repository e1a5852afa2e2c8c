//! Follows one Repository for as long as this replica leads: an engine with its resources in the cluster, the Secrets it
//! needs, and the status of the Repository itself.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Api, Resource as _, ResourceExt as _,
    api::{Patch, PatchParams},
    runtime::events::{Event, EventType},
};
use sluice_core::status::Status;
use sluice_crds::{
    Repository, RepositoryStatus,
    common::ConditionStatus,
    repository::{Apply, TakeOver},
};
use sluice_engine::{
    Engine, EngineError, Parts, Resources, Settings, WRITE_DEADLINE, WriteBack, last_commit,
};
use sluice_notify::{Target, Teller};
use sluice_repo::{Committer, Identity, Source, SourceSettings};
use sluice_store::control::ControlError;
use tokio::{
    sync::{Notify, broadcast, watch},
    time::Instant,
};

use crate::{
    access::Secrets,
    adopted::{Adopted, Herald},
    announcer::Announcer,
    applied::Applied,
    cache::{lock, requested_at},
    credentials::CredentialsError,
    deleted::Deleted,
    events::publish,
    notifier::{Delivery, Notifier},
    objects::{Objects, STATUS_MANAGER, answer, named},
    operator::{Shared, Statuses},
    plan::{Following, confirmed, name},
    report::{NOTE, Reporter, ready_reason},
    repository::{Said, status},
    rollbacks::Rollbacks,
    status::{cut, patch},
};

/// Between two looks at Secrets that nobody complained about.
const SECRETS: Duration = Duration::from_mins(10);
/// The same while the Git server refuses them.
const REFUSED: Duration = Duration::from_secs(10);
/// Names of apps that wait for who tells of them; with more, all are looked at.
const DECIDED: usize = 256;
/// After a failure that may pass by itself.
const AGAIN: Duration = Duration::from_secs(5);
/// After one that somebody has to mend outside this object.
const MENDED: Duration = Duration::from_secs(30);

/// Why a Repository is not followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trouble {
    /// The reason of a condition.
    pub(crate) reason: &'static str,
    /// A sentence for people.
    pub(crate) message: String,
    /// Whether it may pass by itself.
    pub(crate) passes: bool,
}

impl From<CredentialsError> for Trouble {
    fn from(error: CredentialsError) -> Self {
        Self { reason: error.reason(), message: error.to_string(), passes: error.is_transient() }
    }
}

impl From<EngineError> for Trouble {
    fn from(error: EngineError) -> Self {
        Self { reason: error.reason(), message: error.to_string(), passes: true }
    }
}

/// Why following ended.
enum Ended {
    /// The object changed.
    Changed,
    /// A later leader has taken over.
    Deposed,
    /// It cannot be followed as things are.
    Trouble(Trouble),
}

/// One Repository that is followed.
pub(crate) struct Follow {
    pub(crate) shared: Arc<Shared>,
    pub(crate) epoch: u64,
    pub(crate) object: watch::Receiver<Arc<Repository>>,
    pub(crate) statuses: Statuses,
}

/// The parts of a running engine that the Repository's own affairs need.
struct Running {
    source: Arc<Source>,
    /// The same for writing.
    write: Arc<Source>,
    look: Arc<Notify>,
    adopted: Option<Arc<Adopted>>,
    secrets: Secrets,
    /// Tells whom the Repository names.
    notifier: Option<Notifier>,
    /// These end with it.
    _beside: [AbortOnDrop; 2],
}

impl Follow {
    /// Follows until the object is gone (the future is dropped) or a later leader has taken over.
    pub(crate) async fn run(mut self) {
        // Closed when the object is gone.
        while self.object.has_changed().is_ok() {
            let object = Arc::clone(&self.object.borrow_and_update());
            let name = name(&object);
            if object.spec.suspend {
                self.say(&Said::suspended()).await;
                self.changed(&object, None).await;
                continue;
            }
            let ended = self.follow(&object).await;
            self.shared.hooks.remove(&name);
            match ended {
                Ended::Changed => {
                    tracing::info!(repository = name, "the Repository changed; following it anew");
                }
                Ended::Deposed => return self.shared.deposed.cancel(),
                Ended::Trouble(trouble) => {
                    tracing::warn!(repository = name, reason = trouble.reason, "{}", trouble.message);
                    self.say(&Said::trouble(&trouble)).await;
                    let pause = if trouble.passes { AGAIN } else { MENDED };
                    self.changed(&object, Some(pause)).await;
                }
            }
        }
    }

    /// Waits until the spec is another one, somebody asks for a reconcile, or the time is over.
    async fn changed(&mut self, object: &Repository, most: Option<Duration>) {
        let over = async {
            match most {
                Some(most) => tokio::time::sleep(most).await,
                None => std::future::pending().await,
            }
        };
        let (generation, asked) = (object.metadata.generation, requested_at(object.annotations()));
        let differs = |new: &Arc<Repository>| {
            new.metadata.generation != generation || requested_at(new.annotations()) != asked
        };
        tokio::select! {
            _ = self.object.wait_for(differs) => {}
            () = over => {}
        }
    }

    async fn follow(&mut self, object: &Arc<Repository>) -> Ended {
        let started = self.start(object).await;
        let (engine, reporter, running) = match started {
            Ok(started) => started,
            Err(trouble) => return Ended::Trouble(trouble),
        };
        let mut engine = tokio::spawn(engine.run());
        let abort = AbortOnDrop(engine.abort_handle());
        let ended = tokio::select! {
            ended = &mut engine => match ended {
                Ok(error) if error.is_deposed() => {
                    let later = error.later_term().and_then(|term| i64::try_from(term).ok());
                    self.shared.repositories.terms.saw(later);
                    Ended::Deposed
                }
                Ok(error) => Ended::Trouble(error.into()),
                Err(_) => Ended::Trouble(Trouble {
                    reason: "Internal",
                    message: "following the repository ended unexpectedly; it begins again".to_owned(),
                    passes: true,
                }),
            },
            () = reporter.run() => Ended::Deposed,
            ended = self.attend(object, &reporter, running) => ended,
        };
        drop(abort);
        ended
    }

    /// Everything that an engine needs.
    async fn start(&self, object: &Repository) -> Result<(Engine, Arc<Reporter>, Running), Trouble> {
        let shared = &self.shared;
        let namespace = object.namespace().unwrap_or_default();
        let following = Following::of(object)?;
        let secrets = Secrets::load(&shared.client, &namespace, &object.spec).await?;
        let access = secrets.access(&shared.tokens).await?;
        self.take_over(&following).await?;
        let owner = &following.owner.name;
        let store = &shared.store;
        let mut settings = SourceSettings::new(following.url.clone(), following.reference.clone());
        settings.known = last_commit(store, owner).await?;
        settings.access = access;
        let source = shared.mirrors.source(settings).map_err(|error| Trouble {
            reason: "CredentialsInvalid",
            message: error.to_string(),
            passes: false,
        })?;
        let (source, look) = (Arc::new(source), Arc::new(Notify::new()));
        shared.hooks.set(owner, secrets.webhook()?, following.reference.clone(), &look);

        let objects = Objects::new(shared.client.clone(), &namespace);
        let cache = Arc::clone(&shared.cache);
        let recorder = shared.recorder.clone();
        let reporter =
            Arc::new(Reporter::new(objects.clone(), Arc::clone(&cache), recorder.clone(), self.epoch));
        let (resources, adopted): (Arc<dyn Resources>, _) = match following.apply {
            Apply::Itself => {
                let applied = Applied::new(&object.name_any(), objects, cache, Arc::clone(&reporter));
                (Arc::new(applied), None)
            }
            Apply::External => {
                let status = object.status.as_ref();
                let gone = status.map_or(&[][..], |status| &status.deleted_channels);
                let adopted = Arc::new(Adopted::new(
                    following.owner.clone(),
                    &namespace,
                    cache,
                    Arc::clone(&reporter),
                    confirmed(object),
                    Deleted::new(following.grace, gone),
                    Herald { recorder, repository: reference(object) },
                ));
                (Arc::clone(&adopted) as Arc<dyn Resources>, Some(adopted))
            }
        };
        let decided = broadcast::Sender::new(DECIDED);
        let space = shared.cache.namespace(&namespace);
        let announcer = Announcer::new(shared.client.clone(), space, &namespace, &shared.identity);
        let own = following.owner.clone();
        let teller = Teller::new(Arc::clone(store), self.epoch, own, announcer, decided.subscribe());
        let notifier = object.spec.notifications.as_ref();
        let notifier =
            notifier.map(|n| Notifier::new(shared, self.epoch, &following.owner, &namespace, n, &decided));
        if notifier.is_none() {
            // Whoever is told again later is not told what happened meanwhile.
            let forgotten = Teller::<Target>::forget(store, self.epoch, &following.owner).await;
            forgotten.map_err(EngineError::from)?;
        }
        let write = self.write_back(&following, &secrets, &source).await?;
        let parts = Parts {
            source: Arc::clone(&source),
            resources,
            epoch: self.epoch,
            store: Arc::clone(store),
            fleet: Arc::clone(&shared.fleet),
            brakes: Arc::clone(&shared.brakes),
            write: Some(Arc::clone(&write)),
            snapshot: Arc::clone(&shared.snapshot),
            status: Arc::new(ArcSwap::from_pointee(Status::default())),
            look: Arc::clone(&look),
            decided,
        };
        let settings = Settings {
            owner: following.owner.clone(),
            folder: following.folder.clone(),
            poll: following.interval,
            bundles: shared.bundles.clone(),
            freezes: Arc::clone(&following.freezes),
        };
        let engine = Engine::open(settings, parts).await?;
        let announcing = tokio::spawn(teller.run());
        let told = AbortOnDrop(announcing.abort_handle());
        let place = (namespace.as_str(), owner.as_str());
        let (store, brakes) = (Arc::clone(store), Arc::clone(&shared.brakes));
        let snapshot = Arc::clone(&shared.snapshot);
        let shown =
            Rollbacks::new(shared.client.clone(), place, (store, snapshot), brakes, reporter.status());
        let shown = AbortOnDrop(tokio::spawn(shown.run()).abort_handle());
        let write = Arc::clone(&write.source);
        Ok((
            engine,
            reporter,
            Running { source, write, look, adopted, secrets, notifier, _beside: [told, shown] },
        ))
    }

    /// How Git is told of brakes: a follower of its own, with the credentials for writing.
    async fn write_back(
        &self,
        following: &Following,
        secrets: &Secrets,
        source: &Source,
    ) -> Result<Arc<WriteBack>, Trouble> {
        let shared = &self.shared;
        let mut settings = SourceSettings::new(following.url.clone(), following.reference.clone());
        settings.known = source.commit();
        settings.deadline = WRITE_DEADLINE;
        settings.access = secrets.write_access(&shared.tokens).await?;
        let source = shared.mirrors.source(settings).map_err(|error| Trouble {
            reason: "CredentialsInvalid",
            message: format!("the credentials for writing: {error}"),
            passes: false,
        })?;
        let branch = following.reference.as_branch().map(str::to_owned);
        let identity = Identity { name: "Sluice".to_owned(), email: "sluice@localhost".to_owned() };
        let committer = Committer { identity, key: None };
        let (source, mode) = (Arc::new(source), following.write);
        Ok(Arc::new(WriteBack { source, branch, mode, forge: None, committer }))
    }

    /// Moves apps here that the platform team says move here. Not those that the other one is to take from here: each
    /// would take it again as soon as the other one has it.
    async fn take_over(&self, following: &Following) -> Result<(), Trouble> {
        for entry in &following.take_over {
            let Ok(app) = entry.app.parse() else { continue };
            let theirs = self.shared.repositories.get(&entry.from);
            let back = |other: &TakeOver| other.app == entry.app && other.from == following.owner.name;
            if theirs.is_some_and(|theirs| theirs.spec.take_over.iter().any(back)) {
                let (from, to) = (&entry.from, &following.owner.name);
                tracing::warn!(
                    %app, from, to,
                    "the app moves nowhere: both Repositories take it from each other; remove `takeOver` from the one that \
                     is to lose it, and change the other one after that"
                );
                continue;
            }
            match self.shared.store.transfer(&app, &entry.from, &following.owner.name).await {
                Ok(_) => {
                    let (from, to) = (&entry.from, &following.owner.name);
                    tracing::info!(%app, from, to, "an app was taken over");
                    lock(&self.shared.robbed).insert(from.clone());
                    self.shared.repositories.nudge(from);
                }
                // Moved already, or somebody else's: then its objects say so.
                Err(ControlError::OwnedBy { .. } | ControlError::Unowned(_)) => {}
                Err(error) => return Err(EngineError::from(error).into()),
            }
        }
        Ok(())
    }

    /// The Repository's own affairs while its engine runs: requests, confirmations, Secrets, status.
    async fn attend(&mut self, object: &Arc<Repository>, reporter: &Reporter, running: Running) -> Ended {
        let Running { source, write, look, adopted, mut secrets, mut notifier, _beside } = running;
        let mut said = reporter.status();
        let name = name(object);
        let mut next_secrets = Instant::now() + SECRETS;
        let mut asked = requested_at(object.annotations()).map(str::to_owned);
        // A request from before the start is answered by the first look.
        let mut pending = asked.clone().map(|value| (value, jiff::Timestamp::now()));
        let mut again: Option<Instant> = None;
        if let Some(notifier) = &mut notifier {
            notifier.renew().await;
        }
        let mut delivery = notifier.as_ref().map(Notifier::delivery);
        loop {
            let word = said.borrow_and_update().clone();
            if let Some((status, _)) = &word {
                let contact = status.repositories.first().and_then(|r| r.last_contact);
                let handled = pending
                    .as_ref()
                    .filter(|(_, since)| contact.is_some_and(|at| at >= *since))
                    .map(|(value, _)| value.clone());
                let told = Said::engine(status, &object.spec, handled);
                let told =
                    told.with_deleted(adopted.as_ref().map_or_else(Vec::new, |a| a.deleted().status()));
                let delivered = delivery.as_mut().map(|delivery| delivery.borrow_and_update().clone());
                if let Some(Delivery::Fails { .. }) = delivered {
                    // The Secret may have been mended.
                    next_secrets = next_secrets.min(Instant::now() + MENDED);
                }
                let told = told.with_delivery(delivered.as_ref());
                again = if self.say(&told).await { None } else { Some(Instant::now() + AGAIN) };
                self.statuses.set(&name, status);
                let refused = told.reason() == "AuthenticationFailed";
                if refused {
                    secrets.forget(&self.shared.tokens);
                    next_secrets = next_secrets.min(Instant::now() + REFUSED);
                }
            }
            let delivered = async {
                let changed = match &mut delivery {
                    Some(delivery) => delivery.changed().await.is_ok(),
                    None => false,
                };
                if !changed {
                    std::future::pending::<()>().await;
                }
            };
            let retry = async {
                match again {
                    Some(again) => tokio::time::sleep_until(again).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = said.changed() => if changed.is_err() { return Ended::Deposed },
                changed = self.object.changed() => {
                    if changed.is_err() {
                        return Ended::Changed;
                    }
                    let new = Arc::clone(&self.object.borrow_and_update());
                    let robbed = lock(&self.shared.robbed).remove(&name);
                    if robbed || new.metadata.generation != object.metadata.generation {
                        return Ended::Changed;
                    }
                    if let Some(adopted) = &adopted {
                        adopted.confirm(confirmed(&new));
                    }
                    let now = requested_at(new.annotations()).map(str::to_owned);
                    if now != asked {
                        pending = now.clone().map(|value| (value, jiff::Timestamp::now()));
                        asked = now;
                        // Who asks may have changed the Secret.
                        next_secrets = Instant::now();
                        look.notify_one();
                    }
                }
                () = tokio::time::sleep_until(next_secrets) => {
                    next_secrets = Instant::now() + SECRETS;
                    if let Some(notifier) = &mut notifier {
                        notifier.renew().await;
                        if *notifier.delivery().borrow() != Delivery::Well {
                            next_secrets = Instant::now() + MENDED;
                        }
                    }
                    let namespace = object.namespace().unwrap_or_default();
                    match self.renew(&namespace, object, &secrets, (&source, &write)).await {
                        Ok(None) => {}
                        Ok(Some(fresh)) => {
                            tracing::info!(repository = name, "credentials were read anew");
                            let Ok(keys) = fresh.webhook() else { return Ended::Changed };
                            self.shared.hooks.set(&name, keys, source.settings().reference.clone(), &look);
                            secrets = fresh;
                            look.notify_one();
                        }
                        // The API server being away says nothing about the Secret.
                        Err(trouble) if trouble.passes => next_secrets = Instant::now() + REFUSED,
                        Err(trouble) => return Ended::Trouble(trouble),
                    }
                }
                () = delivered => {}
                () = retry => {}
            }
        }
    }

    /// Reads the Secrets again, and uses them if they changed. A token of a GitHub App is renewed by the way.
    async fn renew(
        &self,
        namespace: &str,
        object: &Repository,
        known: &Secrets,
        (source, write): (&Source, &Source),
    ) -> Result<Option<Secrets>, Trouble> {
        let fresh = Secrets::load(&self.shared.client, namespace, &object.spec).await?;
        let access = fresh.access(&self.shared.tokens).await?;
        let writing = fresh.write_access(&self.shared.tokens).await?;
        let set = source.set_access(access).and_then(|()| write.set_access(writing));
        set.map_err(|error| Trouble {
            reason: "CredentialsInvalid",
            message: error.to_string(),
            passes: false,
        })?;
        Ok((fresh != *known).then_some(fresh))
    }

    /// An Event when `Ready` has another reason.
    async fn tell(&self, object: &Repository, before: &RepositoryStatus, after: &RepositoryStatus) {
        let ready = after.conditions.iter().find(|condition| condition.type_ == "Ready");
        let Some(ready) =
            ready.filter(|_| ready_reason(&before.conditions) != ready_reason(&after.conditions))
        else {
            return;
        };
        let well = ready.status == ConditionStatus::True && ready.reason == "Applied";
        let event = Event {
            type_: if well { EventType::Normal } else { EventType::Warning },
            reason: ready.reason.clone(),
            note: Some(cut(&ready.message, NOTE)),
            action: "Follow".to_owned(),
            secondary: None,
        };
        publish(&self.shared.recorder, &event, &reference(object)).await;
    }

    /// Writes the status of the Repository, if it is not so already. Says whether it is.
    async fn say(&self, said: &Said) -> bool {
        let object = Arc::clone(&self.object.borrow());
        let before = object.status.clone().unwrap_or_default();
        let generation = object.metadata.generation.unwrap_or_default();
        let after = status(said, &before, generation, self.epoch);
        let Some(patch) = patch(&before, &after) else { return true };
        let namespace = object.namespace().unwrap_or_default();
        let api: Api<Repository> = Api::namespaced(self.shared.client.clone(), &namespace);
        let params = PatchParams { field_manager: Some(STATUS_MANAGER.into()), ..PatchParams::default() };
        match answer(api.patch_status(&object.name_any(), &params, &Patch::Merge(&patch))).await {
            Ok(written) => {
                self.shared.repositories.wrote(written);
                self.tell(&object, &before, &after).await;
                true
            }
            Err(problem) if problem.is_deposed() => {
                tracing::warn!("a later leader writes status");
                match answer(api.list(&named(&object.name_any()))).await {
                    Ok(list) => {
                        for newest in list.items {
                            self.shared.repositories.wrote(newest);
                        }
                    }
                    Err(problem) => tracing::debug!(?problem, "the later status could not be read"),
                }
                self.shared.deposed.cancel();
                false
            }
            Err(problem) => {
                tracing::debug!(?problem, "the status of a Repository could not be written");
                false
            }
        }
    }
}

/// The Repository as Events name it: not with its resource version, by which no two would be of the same object.
fn reference(object: &Repository) -> ObjectReference {
    ObjectReference { resource_version: None, ..object.object_ref(&()) }
}

/// Ends a task with its owner.
pub(crate) struct AbortOnDrop(pub(crate) tokio::task::AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

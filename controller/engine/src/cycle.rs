//! The six steps, again and again.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use sluice_core::{
    channel::Channel,
    diagnostic::Diagnostic,
    digest::Digest,
    ids::{AppId, ChannelName, Version},
    inventory::{Inventory, Located, Object},
    observed::{Observed, ObservedApp},
    plan::{Plan, Planner},
    record::{AppRecord, Binding, Zip},
    status::Status,
};
use sluice_repo::CommitId;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{sleep_until, timeout_at},
};

use crate::{
    EngineError, Parts, Settings, apply,
    downloads::Downloads,
    gate::{self, Facts, Gate, Subject},
    report::{Contact, Report, Said},
    resources::InForce,
    retry::Retries,
    rollback::{Reverter, Shown, Standing},
    saved::Saved,
    scrub::{self, Depth},
};

/// Between two looks at what is stored.
const HOUSEKEEPING: Duration = Duration::from_hours(1);
/// From the start to the first of them: nobody knows what happened while the process was away.
const FIRST_HOUSEKEEPING: Duration = Duration::from_secs(30);
/// After a pass that could not be finished.
const AGAIN: Duration = Duration::from_secs(5);

/// Follows one repository.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each says whether one step is owed")]
pub struct Engine {
    pub(crate) settings: Settings,
    pub(crate) parts: Parts,
    /// What the last commit declares.
    pub(crate) inventory: Arc<Inventory>,
    /// What is stored of it.
    pub(crate) saved: Saved,
    /// What of it is in force; `None` while nobody knows.
    pub(crate) in_force: Option<InForce>,
    /// What is in force may have changed since.
    pub(crate) disturbed: bool,
    /// What stands in the bundle store.
    pub(crate) stored: apply::Stored,
    /// What the next plan is made from: what stands, and what was found out since.
    pub(crate) observed: Observed,
    /// Bundles by what they were made from: the same source needs no second look.
    pub(crate) made: HashMap<String, (Digest, Zip)>,
    /// Commit that `inventory` stands for.
    pub(crate) commit: Option<CommitId>,
    /// Whether this process has read that commit.
    pub(crate) read: bool,
    /// The last look at the repository failed.
    pub(crate) away: bool,
    /// Whether files of it were left out because they stand inside a bundle.
    pub(crate) hides: bool,
    /// Whether the inventory was read since it was last written.
    pub(crate) unsaved: bool,
    /// The remote rewrote its history, and the commit that came of it is not read yet.
    pub(crate) rewritten: bool,
    pub(crate) contact: Contact,
    /// Why removals were not carried out.
    pub(crate) prune: Option<Diagnostic>,
    planner: Planner,
    /// The plan that status follows from.
    pub(crate) planned: Plan,
    /// What was said of each app.
    said: Said,
    pub(crate) retries: Retries,
    pub(crate) downloads: Downloads,
    /// Something may have to be done although no new commit came.
    pub(crate) dirty: bool,
    /// What the gate judges.
    pub(crate) subjects: watch::Sender<Arc<Vec<Subject>>>,
    /// The gate, until it has begun.
    gate: Option<Gate>,
    /// What it finds.
    facts: watch::Receiver<Arc<Facts>>,
    /// How far Git is told of brakes.
    rollbacks: Arc<Shown>,
    /// What rollbacks are planned from.
    standing: watch::Sender<Standing>,
    settled: Settled,
}

/// What `observed` says of rollouts follows from these: an app that nothing changed for is not gone through again.
#[derive(Debug, Default)]
struct Settled {
    facts: Arc<Facts>,
    records: BTreeMap<AppId, Arc<AppRecord>>,
}

impl Engine {
    /// Loads what was published before, so that devices are answered although Git is away.
    pub async fn open(settings: Settings, parts: Parts) -> Result<Self, EngineError> {
        let saved = Saved::load(&parts.store, &settings.owner.name).await?;
        let stored = apply::load(&parts).await?;
        let inventory = saved.baseline(stored.channels(&settings.owner.name));
        let commit: Option<CommitId> = inventory.commit.parse().ok();
        let contact = Contact { applied: commit.map(|c| c.to_string()), ..Contact::default() };
        let bindings = stored.records.values().flat_map(|record| record.versions.values());
        let made = bindings.map(|b| (b.source.clone(), (b.digest, b.zip.clone()))).collect();
        let in_force = parts.resources.at_start();
        let (subjects, judged) = watch::channel(Arc::default());
        let (gate, facts) = Gate::new(Arc::clone(&parts.fleet), Arc::clone(&parts.brakes), judged);
        let mut engine = Self {
            settings,
            parts,
            inventory,
            saved,
            in_force,
            disturbed: true,
            stored,
            observed: Observed::default(),
            made,
            commit,
            read: false,
            away: false,
            hides: false,
            unsaved: false,
            rewritten: false,
            contact,
            prune: None,
            planner: Planner::default(),
            planned: Plan::default(),
            said: Said::default(),
            retries: Retries::default(),
            downloads: Downloads::default(),
            dirty: true,
            subjects,
            gate: Some(gate),
            facts,
            rollbacks: Arc::default(),
            standing: watch::Sender::default(),
            settled: Settled::default(),
        };
        engine.settle_observed();
        let lost = engine.scrub(Depth::Present).await?;
        if let Some(plan) = engine.plan() {
            // Of nothing that was ever read nothing follows.
            let known = engine.commit.is_some();
            if lost
                && known
                && let Err(error) = engine.apply(&plan).await
            {
                tracing::warn!(%error, "what is lost goes on being offered until the store can be written");
            }
            engine.planned = plan;
        }
        engine.report();
        Ok(engine)
    }

    /// Follows the repository until the returned future is dropped; dropping it loses nothing, because every step is
    /// repeated from what was written. Returns only when a later leader has taken over.
    pub async fn run(mut self) -> EngineError {
        let mut house = tokio::time::Instant::now() + FIRST_HOUSEKEEPING;
        let resources = Arc::clone(&self.parts.resources);
        let mut gating = JoinSet::new();
        if let Some(mut gate) = self.gate.take() {
            // How many devices there are decides how a release begins: nothing is planned before that is known.
            gate.look().await;
            gating.spawn(gate.run());
        }
        self.settle_facts();
        let (shown, mut rollbacks) = watch::channel(Arc::<Shown>::default());
        if let Some(write) = self.parts.write.clone() {
            let Parts { store, brakes, look, .. } = &self.parts;
            let (store, brakes) = (Arc::clone(store), Arc::clone(brakes));
            let write = (write, self.settings.folder.clone());
            let told = (Arc::clone(look), shown.clone());
            gating.spawn(Reverter::new(store, brakes, write, self.standing.subscribe(), told).run());
        }
        loop {
            let next_poll = tokio::time::Instant::now() + self.settings.poll;
            self.look().await;
            if let Err(deposed) = self.work().await {
                return deposed;
            }
            if house <= tokio::time::Instant::now() {
                self.keep_house().await;
                house = tokio::time::Instant::now() + HOUSEKEEPING;
            }
            loop {
                let mut wake = self.retries.next().map_or(next_poll, |retry| next_poll.min(retry.into()));
                if self.dirty {
                    wake = wake.min(tokio::time::Instant::now() + AGAIN);
                }
                let due = self.planned.wake().map(|due| tokio::time::Instant::now() + until(due));
                tokio::select! {
                    // A step is over, or a window opens.
                    () = sleep_until(due.unwrap_or(wake)), if due.is_some_and(|due| due < wake) => {}
                    // A hint that came meanwhile is kept by `Notify`.
                    _ = timeout_at(wake, self.parts.look.notified()) => break,
                    (need, made) = self.downloads.next() => self.settle(&need, made),
                    () = resources.disturbed() => self.disturbed = true,
                    changed = self.facts.changed() => if changed.is_ok() { self.settle_facts() },
                    Ok(()) = rollbacks.changed() => {
                        self.rollbacks = Arc::clone(&rollbacks.borrow_and_update());
                        self.report();
                        continue;
                    }
                }
                self.dirty = true;
                if let Err(deposed) = self.work().await {
                    return deposed;
                }
            }
        }
    }

    /// Steps two to six, when something may have changed. Fails only when a later leader has taken over.
    async fn work(&mut self) -> Result<(), EngineError> {
        for (app, version) in self.retries.due(Instant::now()) {
            let observed = self.observed.apps.get_mut(&app);
            self.dirty |= observed.is_some_and(|observed| observed.failures.remove(&version).is_some());
        }
        if self.dirty {
            match self.pass().await {
                Ok(()) => self.dirty = false,
                Err(error) if error.is_deposed() => return Err(error),
                // Without the repository there is nothing to read: that it is away is the cause, and stays what is said.
                Err(error) if self.away && error.is_unreadable() => tracing::debug!(%error, "the pass waits"),
                Err(error) => self.trouble(error.reason(), &error.to_string()),
            }
        }
        Ok(())
    }

    /// Verifies what devices are offered, and removes shards that nobody loads any more.
    async fn keep_house(&mut self) {
        if let Err(error) = self.scrub(Depth::Bytes).await {
            tracing::warn!(%error, "artefacts could not be verified");
        }
        match self.parts.store.prune_shards(Timestamp::now()).await {
            Ok(removed) => tracing::debug!(removed, "shards pruned"),
            Err(error) => tracing::warn!(%error, "old shards could not be removed"),
        }
        if let Err(error) = self.saved.prune(&self.parts.store).await {
            tracing::warn!(%error, "old parts of the inventory could not be removed");
        }
    }

    /// Looks for artefacts that are lost, and has them made again from their source. Returns whether there are any.
    async fn scrub(&mut self, depth: Depth) -> Result<bool, EngineError> {
        let snapshot = self.parts.snapshot.load_full();
        let owner = &self.settings.owner.name;
        let mine =
            snapshot.apps().filter(|app| self.observed.record(&app.id).is_some_and(|r| r.owner == *owner));
        let lost = scrub::lost(mine.map(AsRef::as_ref), &self.parts.store, depth).await?;
        if lost.is_empty() {
            return Ok(false);
        }
        let records = self.observed.apps.values_mut().filter_map(|observed| observed.record.as_mut());
        for record in records {
            let is_lost = |binding: &Arc<Binding>| lost.contains(&binding.zip.sha256);
            if !record.versions.values().any(is_lost) {
                continue;
            }
            for binding in Arc::make_mut(record).versions.values_mut().filter(|binding| is_lost(binding)) {
                self.made.remove(&binding.source);
                Arc::make_mut(binding).lose();
            }
        }
        self.dirty = true;
        Ok(true)
    }

    /// Steps two and three: what should be served of what is in force. `None` while that is unknown.
    pub(crate) fn plan(&mut self) -> Option<Plan> {
        self.in_force.as_ref()?;
        let objects = objects(self.in_force.as_ref(), &self.inventory);
        let (owner, now) = (&self.settings.owner, Timestamp::now());
        Some(self.planner.plan(objects, owner, &self.observed, now, &rand::random()))
    }

    /// The objects that count; while nobody knows better, those that are declared.
    pub(crate) fn objects(&self) -> Vec<&Arc<Located>> {
        objects(self.in_force.as_ref(), &self.inventory)
    }

    /// Steps four and five.
    pub(crate) async fn apply(&mut self, plan: &Plan) -> Result<apply::Outcome, EngineError> {
        apply::apply(plan, &self.settings.owner.name, &mut self.stored, &self.parts).await
    }

    /// Step six, for a plan that was applied.
    pub(crate) fn follow(&mut self, plan: Plan) {
        for (app, observed) in &mut self.observed.apps {
            let declared = |version: &Version| {
                let plan = plan.apps.get(app);
                plan.is_some_and(|plan| plan.releases.iter().any(|release| release.id.1 == *version))
            };
            observed.failures.retain(|version, _| declared(version));
        }
        self.planned = plan;
        self.report();
    }

    /// Step six.
    fn report(&mut self) {
        let before = self.parts.status.load_full();
        let found = self.in_force.iter().flat_map(|in_force| &in_force.problems);
        let problems = self.inventory.problems().chain(&self.prune).chain(found).cloned().collect();
        let report = Report {
            name: &self.settings.owner.name,
            url: &self.parts.source.settings().url.to_string(),
            contact: &self.contact,
            generation: self.parts.snapshot.load().root.generation,
            objects: objects(self.in_force.as_ref(), &self.inventory),
            problems,
            rollbacks: &self.rollbacks,
            now: Timestamp::now(),
        };
        let status = report.status(&self.planned, &before, &mut self.said);
        self.publish(status);
    }

    fn publish(&self, status: Status) {
        let status = Arc::new(status);
        self.parts.status.store(Arc::clone(&status));
        self.parts.resources.report(&status);
    }

    /// Notes when the repository answered, also when it had nothing new: who watches over it looks at that time.
    pub(crate) fn answered(&self) {
        let mut status = Status::clone(&self.parts.status.load());
        for repository in &mut status.repositories {
            repository.last_contact = self.contact.at;
        }
        self.publish(status);
    }

    /// Says why nothing new is followed. What is served stays.
    pub(crate) fn trouble(&mut self, reason: &str, message: &str) {
        let trouble = (reason.to_owned(), message.to_owned());
        if self.contact.trouble.as_ref() != Some(&trouble) {
            tracing::warn!(repository = %self.settings.owner.name, reason, "{message}");
        }
        self.contact.trouble = Some(trouble);
        if let Some(plan) = self.plan() {
            self.planned = plan;
        }
        self.report();
    }

    /// The next plan is made from what stands now.
    pub(crate) fn settle_observed(&mut self) {
        for app in self.stored.records.keys().chain(self.stored.shards.keys()) {
            if !self.observed.apps.contains_key(app) {
                self.observed.apps.insert(app.clone(), ObservedApp::default());
            }
        }
        for (app, observed) in &mut self.observed.apps {
            observed.record = self.stored.records.get(app).cloned();
            observed.shard = self.stored.shards.get(app).cloned();
        }
        self.settle_facts();
    }

    /// The next plan is made from what the gate found, and the gate judges what stands.
    fn settle_facts(&mut self) {
        let facts = Arc::clone(&self.facts.borrow_and_update());
        let found_anew = !Arc::ptr_eq(&facts, &self.settled.facts);
        for (app, observed) in &mut self.observed.apps {
            observed.fleet_away = facts.away;
            observed.freezes = Arc::clone(&self.settings.freezes);
            observed.brakes = facts.brakes.get(app).cloned().unwrap_or_default();
            let Some(record) = &observed.record else {
                self.settled.records.remove(app);
                observed.rollouts = Arc::default();
                continue;
            };
            let settled = self.settled.records.insert(app.clone(), Arc::clone(record));
            if !found_anew && settled.is_some_and(|settled| Arc::ptr_eq(&settled, record)) {
                continue;
            }
            let lines = record
                .channels
                .iter()
                .flat_map(|(name, channel)| channel.lines.iter().map(move |(key, line)| (name, key, line)));
            let rollouts = lines
                .map(|(name, key, line)| ((name.clone(), key.clone()), facts.line(app, name, key, line)))
                .collect();
            observed.rollouts = Arc::new(rollouts);
        }
        self.settled.facts = facts;
        let channels: HashMap<(&AppId, &ChannelName), &Channel> = self
            .objects()
            .into_iter()
            .filter_map(|located| match &located.object {
                Object::Channel(channel) => Some(((&channel.app, &channel.channel), &**channel)),
                Object::Release(_) => None,
            })
            .collect();
        let mine = self.stored.records.values().filter(|record| record.owner == self.settings.owner.name);
        let subjects: Vec<Subject> = mine
            .clone()
            .flat_map(|record| gate::subjects(record, |name| channels.get(&(&record.app, name)).copied()))
            .collect();
        let records = mine.map(|record| (record.app.clone(), Arc::clone(record)));
        let standing = Standing { inventory: Arc::clone(&self.inventory), records: records.collect() };
        self.standing.send_if_modified(|before| {
            let differs = !before.is(&standing);
            if differs {
                *before = standing;
            }
            differs
        });
        self.subjects.send_if_modified(|before| {
            let differs = **before != subjects;
            if differs {
                *before = Arc::new(subjects);
            }
            differs
        });
    }
}

/// How long it is until `due`. At least a second, so that a time that has passed and changes nothing costs little.
fn until(due: Timestamp) -> Duration {
    Duration::try_from(due.duration_since(Timestamp::now())).unwrap_or_default().max(Duration::from_secs(1))
}

fn objects<'a>(in_force: Option<&'a InForce>, inventory: &'a Inventory) -> Vec<&'a Arc<Located>> {
    let in_force = in_force.and_then(|in_force| in_force.objects.as_ref());
    in_force.map_or_else(|| inventory.objects().collect(), |objects| objects.iter().collect())
}

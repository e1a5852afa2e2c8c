//! The six steps, again and again.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use sluice_core::{
    diagnostic::{Code, Diagnostic},
    digest::Digest,
    ids::{AppId, ChannelName},
    inventory::{Inventory, Object, PruneGuard},
    plan::{Failure, Need, Observed, Plan, ReleaseId, plan},
    record::{Binding, Zip},
    release::Source,
    resolve::resolve,
    status::Status,
};
use sluice_repo::{CommitId, Poll};
use sluice_store::control::BundleStore;
use tokio::time::timeout_at;

use crate::{
    EngineError, Parts, Settings, apply,
    downloads::{Downloads, Made},
    materialise, observe,
    report::{Contact, Report},
    retry::Retries,
    scrub::{self, Depth},
};

/// Version of the parser: a change of the program may see more in the same bytes.
const PARSER: &str = env!("CARGO_PKG_VERSION");
/// Commits between two polls whose messages are read for trailers.
const MESSAGES: usize = 1_000;
/// After this much making of bundles, those that are ready are published.
const SLICE: Duration = Duration::from_secs(1);
/// Between two looks at what is stored.
const HOUSEKEEPING: Duration = Duration::from_hours(1);
/// From the start to the first of them: nobody knows what happened while the process was away.
const FIRST_HOUSEKEEPING: Duration = Duration::from_secs(30);

/// Follows one repository.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each says whether one step is owed")]
pub struct Engine {
    settings: Settings,
    parts: Parts,
    inventory: Inventory,
    /// What stands in the bundle store.
    stored: apply::Stored,
    /// What the next plan is made from: what stands, and what was found out since.
    observed: Observed,
    /// Bundles by what they were made from: the same source needs no second look.
    made: HashMap<String, (Digest, Zip)>,
    /// Commit that `inventory` stands for.
    commit: Option<CommitId>,
    /// Whether this process has read that commit.
    read: bool,
    /// Whether the inventory was read since it was last written.
    unsaved: bool,
    /// The remote rewrote its history, and the commit that came of it is not read yet.
    rewritten: bool,
    contact: Contact,
    /// Why removals were not carried out.
    prune: Option<Diagnostic>,
    retries: Retries,
    downloads: Downloads,
    /// Something may have to be done although no new commit came.
    dirty: bool,
}

/// The commit that was worked with last, from before a restart: what [`sluice_repo::SourceSettings::known`] asks for.
pub async fn last_commit(store: &BundleStore, owner: &str) -> Result<Option<CommitId>, EngineError> {
    let inventory: Option<Inventory> = apply::readable(store.document(owner).await)?.flatten();
    Ok(inventory.and_then(|inventory| inventory.commit.parse().ok()))
}

impl Engine {
    /// Loads what was published before, so that devices are answered although Git is away.
    pub async fn open(settings: Settings, parts: Parts) -> Result<Self, EngineError> {
        let inventory: Option<Inventory> =
            apply::readable(parts.store.document(&settings.owner.name).await)?.flatten();
        let inventory = inventory.unwrap_or_default();
        let commit: Option<CommitId> = inventory.commit.parse().ok();
        let stored = apply::load(&parts).await?;
        let contact = Contact { applied: commit.map(|c| c.to_string()), ..Contact::default() };
        let observed = Observed {
            records: stored.records.clone(),
            shards: stored.shards.clone(),
            ..Observed::default()
        };
        let bindings = stored.records.values().flat_map(|record| record.versions.values());
        let made = bindings.map(|b| (b.source.clone(), (b.digest, b.zip.clone()))).collect();
        let mut engine = Self {
            settings,
            parts,
            inventory,
            stored,
            observed,
            made,
            commit,
            read: false,
            unsaved: false,
            rewritten: false,
            contact,
            prune: None,
            retries: Retries::default(),
            downloads: Downloads::default(),
            dirty: true,
        };
        let lost = engine.scrub(Depth::Present).await?;
        let plan = engine.plan();
        if lost
            && let Err(error) =
                apply::apply(&plan, &engine.settings.owner.name, &mut engine.stored, &engine.parts).await
        {
            tracing::warn!(%error, "what is lost goes on being offered until the store can be written");
        }
        engine.report(&plan);
        Ok(engine)
    }

    /// Follows the repository until the returned future is dropped. Dropping it loses nothing: every step is repeated
    /// from what was written.
    pub async fn run(mut self) {
        let mut house = tokio::time::Instant::now() + FIRST_HOUSEKEEPING;
        loop {
            let next_poll = tokio::time::Instant::now() + self.settings.poll;
            self.look().await;
            self.work().await;
            if house <= tokio::time::Instant::now() {
                self.keep_house().await;
                house = tokio::time::Instant::now() + HOUSEKEEPING;
            }
            loop {
                let wake = self.retries.next().map_or(next_poll, |retry| next_poll.min(retry.into()));
                tokio::select! {
                    // A hint that came meanwhile is kept by `Notify`.
                    _ = timeout_at(wake, self.parts.look.notified()) => break,
                    (need, made) = self.downloads.next() => self.settle(&need, made),
                }
                self.dirty = true;
                self.work().await;
            }
        }
    }

    /// Steps two to six, when something may have changed.
    async fn work(&mut self) {
        for id in self.retries.due(Instant::now()) {
            self.dirty |= self.observed.failures.remove(&id).is_some();
        }
        if self.dirty {
            match self.pass().await {
                Ok(()) => self.dirty = false,
                Err(error) => self.trouble(error.reason(), &error.to_string()),
            }
        }
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
    }

    /// Looks for artefacts that are lost, and has them made again from their source. Returns whether there are any.
    async fn scrub(&mut self, depth: Depth) -> Result<bool, EngineError> {
        let lost = scrub::lost(&self.parts.snapshot.load_full(), &self.parts.store, depth).await?;
        if lost.is_empty() {
            return Ok(false);
        }
        let bindings = self.observed.records.values_mut().flat_map(|record| record.versions.values_mut());
        for binding in bindings.filter(|binding| lost.contains(&binding.zip.sha256)) {
            self.made.remove(&binding.source);
            binding.lose();
        }
        self.dirty = true;
        Ok(true)
    }

    /// Step one: asks the repository for news and reads what it declares.
    async fn look(&mut self) {
        let found = self.parts.source.poll().await;
        let commit = match found {
            Err(error) => return self.trouble(error.reason(), &error.to_string()),
            Ok(Poll::Unchanged) => self.parts.source.commit(),
            Ok(Poll::Moved { to, .. }) => Some(to),
            Ok(Poll::Rewritten { to, .. }) => {
                self.rewritten = true;
                Some(to)
            }
        };
        self.contact.at = Some(Timestamp::now());
        let Some(commit) = commit else { return };
        self.contact.observed = Some(commit.to_string());
        let unread = self.inventory.problems().any(|p| p.code == Code::Unreadable);
        self.dirty |= self.contact.trouble.take().is_some();
        if self.read && self.commit == Some(commit) && !unread {
            return self.answered();
        }
        match self.read(commit, self.rewritten).await {
            Ok(()) => {
                self.rewritten = false;
                self.dirty = true;
            }
            Err(error) => self.trouble(error.reason(), &error.to_string()),
        }
    }

    /// Reads a commit and steps the inventory.
    async fn read(&mut self, commit: CommitId, rewritten: bool) -> Result<(), EngineError> {
        let mirror = self.parts.source.mirror();
        let folder = self.settings.folder.clone();
        let before = self.inventory.clone();
        let from = self.commit;
        let read = tokio::task::spawn_blocking(move || {
            let reader = mirror.open()?;
            let files = observe::files(&reader, commit, &folder, &before, PARSER)?;
            let step = before.step(commit.to_string(), PARSER.to_owned(), files);
            let allowed = if step.removed.is_empty() || rewritten {
                0
            } else {
                // A commit that the repository does not have any more hides nothing.
                let from = from.filter(|from| reader.has(*from));
                reader.messages(from, commit, MESSAGES)?.allowed_prune().unwrap_or(0)
            };
            Ok((step, allowed))
        });
        let fail = |source| EngineError::Read { commit: commit.to_string(), source };
        let (step, allowed) = read.await.map_err(|_| EngineError::Interrupted)?.map_err(fail)?;

        let in_use = if step.removed.is_empty() { BTreeSet::new() } else { self.in_use().await };
        let guard = PruneGuard { allowed: usize::try_from(allowed).unwrap_or(usize::MAX), in_use };
        let prune = guard.refuse(&self.inventory, &step);
        let keep = prune.is_some() || (rewritten && !step.removed.is_empty());
        let next = if keep { step.keeping_removed().next } else { step.next };
        let wanted = observe::wanted(&next, &self.settings.owner, &self.observed.records);
        let mirror = self.parts.source.mirror();
        let looked =
            tokio::task::spawn_blocking(move || Ok(observe::sources(&mirror.open()?, commit, wanted))).await;
        let (sources, failures) = looked.map_err(|_| EngineError::Interrupted)?.map_err(fail)?;

        self.prune = prune;
        self.inventory = next;
        if rewritten || self.commit != Some(commit) {
            self.contact.rewritten = rewritten.then(|| {
                format!(
                    "history was rewritten: the commit that was served before is not part of {commit}; what that commit \
                     no longer declares is kept until the next one"
                )
            });
        }
        self.read = true;
        self.unsaved = true;
        self.commit = Some(commit);
        self.contact.applied = Some(commit.to_string());
        // A failure outlives the commit while its source is the same.
        self.observed.failures.retain(|id, failure| sources.get(id).is_some_and(|s| *s == failure.source));
        self.observed.failures.extend(failures);
        self.observed.sources = sources;
        Ok(())
    }

    /// Channels that devices used in the last days. When the fleet store cannot say, every channel that is served.
    async fn in_use(&self) -> BTreeSet<(AppId, ChannelName)> {
        let channels = self.inventory.objects().filter_map(|located| match &located.object {
            Object::Channel(channel) => Some((channel.app.clone(), channel.channel.clone())),
            Object::Release(_) => None,
        });
        // What devices said a moment ago may still wait to be written.
        let asked = match self.parts.fleet.flush().await {
            Ok(()) => self.parts.fleet.active_devices().await,
            Err(error) => Err(error),
        };
        match asked {
            Err(_) => channels.collect(),
            Ok(active) => channels
                .filter(|(app, channel)| {
                    active.iter().any(|a| {
                        a.devices > 0
                            && a.app == app.as_str()
                            && a.channel.as_deref() == Some(channel.as_str())
                    })
                })
                .collect(),
        }
    }

    fn plan(&self) -> Plan {
        let owner = &self.settings.owner;
        plan(&resolve(self.inventory.objects(), owner, &self.observed.records), owner, &self.observed)
    }

    /// Steps two to six, until nothing is left to do or a newer commit may be there.
    async fn pass(&mut self) -> Result<(), EngineError> {
        let mut looked = Instant::now();
        loop {
            let plan = self.plan();
            apply::apply(&plan, &self.settings.owner.name, &mut self.stored, &self.parts).await?;
            self.observed.records.clone_from(&self.stored.records);
            self.observed.shards.clone_from(&self.stored.shards);
            if self.unsaved {
                self.parts.store.put_document(&self.settings.owner.name, &self.inventory).await?;
                self.unsaved = false;
            }
            self.report(&plan);

            let remote = |need: &&Need| {
                matches!(need.source, Source::Https { .. }) && !self.made.contains_key(&need.fingerprint)
            };
            let (remote, local): (Vec<&Need>, Vec<&Need>) = plan.needs.iter().partition(remote);
            if let Some(commit) = self.commit {
                for need in remote {
                    let (mirror, store) = (self.parts.source.mirror(), self.parts.store.clone());
                    self.downloads.start(need, mirror, commit, store, self.settings.bundles.clone());
                }
            }
            if local.is_empty() {
                return Ok(());
            }
            tracing::info!(remaining = local.len(), "making bundles");
            let slice = Instant::now();
            for need in local {
                tracing::debug!(app = %need.app, version = %need.version, wanted = need.wanted, "making a bundle");
                self.make(need).await;
                if slice.elapsed() >= SLICE {
                    break;
                }
            }
            // Somebody may have pushed meanwhile; a commit that mends something must not wait for what it replaces.
            let hinted = timeout_at(tokio::time::Instant::now(), self.parts.look.notified()).await.is_ok();
            if hinted || looked.elapsed() >= self.settings.poll {
                self.look().await;
                looked = Instant::now();
            }
        }
    }

    /// Makes one bundle from what is here.
    async fn make(&mut self, need: &Need) {
        let made = match (self.made.get(&need.fingerprint), self.commit) {
            (Some(known), _) => Ok(known.clone()),
            (None, None) => return,
            (None, Some(commit)) => {
                let mirror = self.parts.source.mirror();
                materialise::make(need, &mirror, commit, &self.parts.store, &self.settings.bundles).await
            }
        };
        self.settle(need, made);
    }

    /// Binds the version of a bundle that was made, or notes why it was not.
    fn settle(&mut self, need: &Need, made: Made) {
        let id: ReleaseId = (need.app.clone(), need.version.clone());
        if self.observed.sources.get(&id) != Some(&need.fingerprint) {
            // The release was removed or corrected while the bundle was downloaded.
            return;
        }
        let failure = match made {
            Ok((digest, zip)) => {
                self.made.insert(need.fingerprint.clone(), (digest, zip.clone()));
                let Some(record) = self.observed.records.get_mut(&need.app) else { return };
                match record.versions.get_mut(&need.version) {
                    Some(binding) if binding.digest != digest => Some((
                        Code::VersionBurnt,
                        format!(
                            "version {} of {} was published before with other bytes (bundle {}, now {}): it is burnt, publish \
                             a new version. The first bytes stay served",
                            need.version,
                            need.app,
                            binding.digest.short(),
                            digest.short()
                        ),
                        false,
                    )),
                    Some(binding) => {
                        // The same content from another place. The zip that was recorded is the one that phones know.
                        binding.source.clone_from(&need.fingerprint);
                        None
                    }
                    None => {
                        let (release, source) = (need.release.clone(), need.fingerprint.clone());
                        record
                            .versions
                            .insert(need.version.clone(), Binding { digest, release, source, zip });
                        None
                    }
                }
            }
            Err(error) => {
                tracing::warn!(app = %need.app, version = %need.version, code = %error.code(), %error, "no bundle");
                Some((error.code(), error.to_string(), error.is_transient()))
            }
        };
        match failure {
            None => self.retries.settled(&id),
            Some((code, message, transient)) => {
                if transient {
                    self.retries.failed(id.clone(), Instant::now());
                } else {
                    self.retries.settled(&id);
                }
                let problem = Diagnostic::new(code, need.at.clone(), message);
                self.observed.failures.insert(id, Failure { source: need.fingerprint.clone(), problem });
            }
        }
    }

    /// Step six.
    fn report(&self, plan: &Plan) {
        let before = self.parts.status.load();
        let problems = self.inventory.problems().chain(&self.prune).cloned().collect();
        let report = Report {
            name: &self.settings.owner.name,
            url: &self.parts.source.settings().url.to_string(),
            contact: &self.contact,
            generation: self.parts.snapshot.load().root.generation,
            problems,
            now: Timestamp::now(),
        };
        let status = report.status(plan, &before);
        if **before != status {
            log_transitions(&before, &status);
        }
        self.parts.status.store(status.into());
    }

    /// Notes when the repository answered, also when it had nothing new: who watches over it looks at that time.
    fn answered(&self) {
        let mut status = Status::clone(&self.parts.status.load());
        for repository in &mut status.repositories {
            repository.last_contact = self.contact.at;
        }
        self.parts.status.store(status.into());
    }

    /// Says why nothing new is followed. What is served stays.
    fn trouble(&mut self, reason: &str, message: &str) {
        let trouble = (reason.to_owned(), message.to_owned());
        if self.contact.trouble.as_ref() != Some(&trouble) {
            tracing::warn!(reason, "{message}");
        }
        self.contact.trouble = Some(trouble);
        let plan = self.plan();
        self.report(&plan);
    }
}

/// One line for each thing that became ready or stopped being so.
fn log_transitions(before: &Status, after: &Status) {
    let last: BTreeMap<_, _> = before.channels.iter().map(|c| ((&c.app, &c.name), c)).collect();
    for channel in &after.channels {
        let known = last.get(&(&channel.app, &channel.name));
        if known.is_none_or(|k| k.lines != channel.lines || k.is_ready() != channel.is_ready()) {
            let message = channel.conditions.first().map_or("", |c| c.message.as_str());
            tracing::info!(app = %channel.app, channel = %channel.channel, ready = channel.is_ready(), "{message}");
        }
    }
    for problem in after.diagnostics.iter().filter(|p| !before.diagnostics.contains(p)) {
        tracing::warn!(code = %problem.code, at = %problem.at, "{}", problem.message);
    }
}

//! From what is declared to what is served: puts it into force, plans, publishes, and makes the bundles that are missing.

use std::{
    collections::BTreeMap,
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{StreamExt as _, stream::FuturesUnordered};
use sluice_core::{
    diagnostic::{Code, Diagnostic},
    ids::{AppId, ChannelName},
    inventory::Located,
    observed::{Failure, ReleaseId},
    plan::{Need, Plan},
    record::Binding,
    release::Source,
    rollout::BrakeRequest,
};
use tokio::time::timeout_at;

use crate::{
    Declared, Engine, EngineError, apply::Outcome, downloads::Made, materialise, observe, resources::InForce,
};

/// After this much making of bundles, those that are ready are published.
const SLICE: Duration = Duration::from_secs(1);
/// Bundles that are made at one time.
const AT_ONCE: usize = 8;

impl Engine {
    /// Steps two to six, until nothing is left to do or a newer commit may be there.
    pub(crate) async fn pass(&mut self) -> Result<(), EngineError> {
        let mut looked = Instant::now();
        loop {
            if self.disturbed {
                self.enforce().await?;
            }
            // Before anything was ever read, nothing follows from it.
            let Some(plan) = self.plan().filter(|_| self.commit.is_some()) else { return Ok(()) };
            self.brake(&plan).await;
            let outcome = self.apply(&plan).await?;
            self.settle_observed();
            if outcome == Outcome::Overtaken {
                continue;
            }
            let needs: Vec<Need> = plan.needs().into_iter().cloned().collect();
            self.follow(plan);
            // Last, because nobody waits for it: after a crash before this, the commit is read once more.
            if self.unsaved {
                self.save().await?;
            }

            let remote = |need: &&Need| {
                matches!(need.source, Source::Https { .. }) && !self.made.contains_key(&need.fingerprint)
            };
            let (remote, local): (Vec<&Need>, Vec<&Need>) = needs.iter().partition(remote);
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
            // Several at a time: most of it is waiting for the disk.
            let (mut waiting, mut making) = (local.into_iter(), FuturesUnordered::new());
            loop {
                while making.len() < AT_ONCE && slice.elapsed() < SLICE {
                    let Some(need) = waiting.next() else { break };
                    tracing::debug!(app = %need.app, version = %need.version, wanted = need.wanted, "making a bundle");
                    making.extend(self.make(need));
                }
                let Some((need, made)) = making.next().await else { break };
                self.settle(need, made);
            }
            // Somebody may have pushed meanwhile; a commit that mends something must not wait for what it replaces.
            let hinted = timeout_at(tokio::time::Instant::now(), self.parts.look.notified()).await.is_ok();
            if hinted || looked.elapsed() >= self.settings.poll {
                self.look().await;
                looked = Instant::now();
            }
        }
    }

    /// Writes the brakes that a plan asks for, before anything else of it.
    async fn brake(&self, plan: &Plan) {
        let subjects = self.subjects.borrow().clone();
        for (app, plan) in plan.apps.iter().filter(|(_, plan)| !plan.brakes.is_empty()) {
            for (channel, BrakeRequest { digest, reason, sentence }) in &plan.brakes {
                if let Some(subject) = subjects.iter().find(|subject| subject.is(app, channel, digest)) {
                    subject.stop(&self.parts.brakes, reason, sentence, None).await;
                }
            }
        }
    }

    /// Puts what is declared into force, and looks what its bundles are made from. A newer commit ends it early.
    async fn enforce(&mut self) -> Result<(), EngineError> {
        let look = Arc::clone(&self.parts.look);
        let resources = Arc::clone(&self.parts.resources);
        while let Some(commit) = self.commit {
            let declared = Declared {
                inventory: Arc::clone(&self.inventory),
                commit,
                mirror: self.parts.source.mirror(),
                served: self.served(),
            };
            let mut enforcing = pin!(resources.enforce(&declared));
            let in_force = loop {
                tokio::select! {
                    done = &mut enforcing => break Some(done?),
                    () = look.notified() => {
                        self.look().await;
                        if self.commit != Some(commit) {
                            break None;
                        }
                    }
                }
            };
            let Some(in_force) = in_force else { continue };
            self.came_into_force(in_force);
            if self.read {
                self.look_up_paths().await?;
            }
            // Last: when the paths could not be looked up, nothing is planned with those of an older commit.
            self.disturbed = false;
            return Ok(());
        }
        Ok(())
    }

    /// The channels of this repository that were published, and the names of their objects.
    fn served(&self) -> BTreeMap<(AppId, ChannelName), String> {
        let mine = self.stored.records.iter().filter(|(_, r)| r.owner == self.settings.owner.name);
        let channels = mine.flat_map(|(app, record)| {
            record.channels.iter().map(|(name, channel)| ((app.clone(), name.clone()), channel.name.clone()))
        });
        channels.collect()
    }

    fn came_into_force(&mut self, in_force: InForce) {
        if !in_force.gone.is_empty() {
            Arc::make_mut(&mut self.inventory).leaving.retain(|key| !in_force.gone.contains(key));
            self.unsaved = true;
        }
        self.in_force = Some(in_force);
    }

    /// What the bundle of each release is made from in the commit.
    async fn look_up_paths(&mut self) -> Result<(), EngineError> {
        let Some(commit) = self.commit else { return Ok(()) };
        let objects: Vec<Arc<Located>> = self.objects().into_iter().map(Arc::clone).collect();
        let known = &self.observed.apps;
        let known = known.iter().map(|(app, observed)| (app.clone(), Arc::clone(&observed.paths))).collect();
        let mirror = self.parts.source.mirror();
        let looked =
            tokio::task::spawn_blocking(move || observe::paths(&mirror.open()?, commit, &objects, &known));
        let fail = |source| EngineError::Read { commit: commit.to_string(), source };
        let mut paths = looked.await.map_err(|_| EngineError::Interrupted)?.map_err(fail)?;
        for (app, observed) in &mut self.observed.apps {
            observed.paths = paths.remove(app).unwrap_or_default();
        }
        for (app, paths) in paths {
            self.observed.apps.entry(app).or_default().paths = paths;
        }
        Ok(())
    }

    /// Writes the inventory.
    async fn save(&mut self) -> Result<(), EngineError> {
        self.saved.save(&self.inventory, self.parts.epoch, &self.parts.store).await?;
        self.unsaved = false;
        Ok(())
    }

    /// Makes one bundle from what is here.
    fn make<'n>(&self, need: &'n Need) -> Option<impl Future<Output = (&'n Need, Made)> + use<'n>> {
        let commit = self.commit?;
        let known = self.made.get(&need.fingerprint).cloned();
        let (mirror, store) = (self.parts.source.mirror(), Arc::clone(&self.parts.store));
        let policy = self.settings.bundles.clone();
        Some(async move {
            let made = match known {
                Some(known) => Ok(known),
                None => materialise::make(need, &mirror, commit, &store, &policy).await,
            };
            (need, made)
        })
    }

    /// Binds the version of a bundle that was made, or notes why it was not.
    pub(crate) fn settle(&mut self, need: &Need, made: Made) {
        let id: ReleaseId = (need.app.clone(), need.version.clone());
        let planned = self.planned.apps.get(&need.app).and_then(|plan| plan.need(&need.version));
        if planned.is_none_or(|planned| planned.fingerprint != need.fingerprint) {
            // The release was removed or corrected while the bundle was downloaded.
            return;
        }
        let observed = self.observed.apps.entry(need.app.clone()).or_default();
        let failure = match made {
            Ok((digest, zip)) => {
                self.made.insert(need.fingerprint.clone(), (digest, zip.clone()));
                let Some(record) = observed.record.as_mut().map(Arc::make_mut) else { return };
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
                        Arc::make_mut(binding).source.clone_from(&need.fingerprint);
                        None
                    }
                    None => {
                        let (release, source) = (need.release.clone(), need.fingerprint.clone());
                        let binding = Binding { digest, release, source, zip };
                        record.versions.insert(need.version.clone(), binding.into());
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
                let source = need.fingerprint.clone();
                observed.failures.insert(need.version.clone(), Failure { source, problem });
            }
        }
    }
}

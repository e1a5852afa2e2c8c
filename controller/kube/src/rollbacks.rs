//! The Rollbacks of a namespace: shows how far each of the engine's is, and opens those that people create.
//!
//! The log in the bundle store is the truth; the custom resource is its picture, and a way to ask. With the API server away
//! devices are safe and Git is told all the same, and the resources appear when it is back.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use futures::{StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;
use kube::{
    Api, Client, ResourceExt as _,
    api::{ObjectMeta, Patch, PatchParams, PostParams},
    runtime::{WatchStreamExt as _, watcher},
};
use sluice_core::{
    brake::{Aim, Devices, Known, Wanted, aim},
    channel::Target,
    digest::Digest,
    ids::AppId,
    record::AppRecord,
    rollback::{Cause, Phase, Rollback},
    snapshot::Snapshot,
    status::Condition,
};
use sluice_crds::{
    Rollback as Resource,
    rollback::{LogEntry, Reason, RollbackSpec, RollbackStatus},
};
use sluice_store::control::{BrakeWatch, BundleStore};
use tokio::sync::watch;

use crate::{
    objects::{MANAGER, STATUS_MANAGER, answer},
    report::Reported,
    status::{conditions, cut},
};

/// After something that could not be written.
const AGAIN: Duration = Duration::from_secs(2);
/// How long after its end the resource of a rollback is made that nobody has: whoever deleted it meant that.
const LATELY: jiff::SignedDuration = jiff::SignedDuration::from_hours(1);
/// Characters of a short digest.
const SHORT: usize = 12;
/// Longest text of a log and of a message.
const TEXT: usize = 1_024;

/// See the module.
pub(crate) struct Rollbacks {
    api: Api<Resource>,
    namespace: String,
    owner: String,
    store: Arc<BundleStore>,
    brakes: Arc<BrakeWatch>,
    snapshot: Arc<ArcSwap<Snapshot>>,
    said: watch::Receiver<Reported>,
}

impl Rollbacks {
    pub(crate) fn new(
        client: Client,
        (namespace, owner): (&str, &str),
        (store, snapshot): (Arc<BundleStore>, Arc<ArcSwap<Snapshot>>),
        brakes: Arc<BrakeWatch>,
        said: watch::Receiver<Reported>,
    ) -> Self {
        let api = Api::namespaced(client, namespace);
        Self { api, namespace: namespace.to_owned(), owner: owner.to_owned(), store, brakes, snapshot, said }
    }

    /// Works until the returned future is dropped.
    pub(crate) async fn run(mut self) {
        let mut known: BTreeMap<String, Resource> = BTreeMap::new();
        let mut listing: BTreeMap<String, Resource> = BTreeMap::new();
        let mut events = watcher(self.api.clone(), watcher::Config::default()).default_backoff().boxed();
        let (mut listed, mut again) = (false, None);
        loop {
            let retry = async {
                match again {
                    Some(again) => tokio::time::sleep_until(again).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                event = events.try_next() => match event {
                    Ok(Some(watcher::Event::Init)) => listing.clear(),
                    Ok(Some(watcher::Event::InitApply(object))) => _ = listing.insert(object.name_any(), object),
                    Ok(Some(watcher::Event::InitDone)) => (known, listed) = (std::mem::take(&mut listing), true),
                    Ok(Some(watcher::Event::Apply(object))) => _ = known.insert(object.name_any(), object),
                    Ok(Some(watcher::Event::Delete(object))) => _ = known.remove(&object.name_any()),
                    // It is tried again, with pauses.
                    Err(error) => tracing::debug!(%error, "rollbacks cannot be watched"),
                    Ok(None) => return,
                },
                changed = self.said.changed() => if changed.is_err() { return },
                () = retry => {}
            }
            if listed {
                let failed = self.sync(&mut known).await;
                again = failed.then(|| tokio::time::Instant::now() + AGAIN);
            }
        }
    }

    /// Makes the resources what they should be. Says whether something could not be done.
    async fn sync(&mut self, known: &mut BTreeMap<String, Resource>) -> bool {
        let rollbacks = match &*self.said.borrow_and_update() {
            Some((status, _)) => status.rollbacks.clone(),
            None => return false,
        };
        let mut failed = false;
        for rollback in &rollbacks {
            let id = rollback.id.as_str();
            let shown = known.values().find(|object| {
                object.status.as_ref().and_then(|status| status.id.as_deref()) == Some(id)
                    || object.name_any() == name(rollback)
            });
            let object = match shown.cloned() {
                Some(object) => object,
                None if rollback.phase.is_end() && !is_late(rollback) => continue,
                None => match self.create(rollback).await {
                    Ok(object) => object,
                    Err(problem) => {
                        tracing::debug!(?problem, rollback = id, "a Rollback could not be created");
                        failed = true;
                        continue;
                    }
                },
            };
            failed |= !self.show(&object, &status(rollback, object.status.as_ref()), known).await;
        }
        let asked: Vec<Resource> = known
            .values()
            .filter(|object| object.status.as_ref().is_none_or(|status| status.observed_generation < 0))
            .cloned()
            .collect();
        for object in asked {
            failed |= !self.open(&object, known).await;
        }
        failed
    }

    async fn create(&self, rollback: &Rollback) -> Result<Resource, crate::problem::Problem> {
        let record = self.store.record(&rollback.app).await.ok().flatten();
        let channel = record.and_then(|record| Some(record.channels.get(&rollback.channel)?.name.clone()));
        let object = Resource {
            metadata: ObjectMeta { name: Some(name(rollback)), ..ObjectMeta::default() },
            spec: RollbackSpec {
                channel: channel.unwrap_or_else(|| rollback.channel.to_string()),
                digest: rollback.digest.to_string(),
                to: rollback.to.as_ref().map(ToString::to_string),
                reason: match rollback.cause {
                    Cause::Requested => Reason::Requested,
                    Cause::GateFailed => Reason::GateFailed,
                },
                message: Some(cut(&rollback.why, TEXT)),
                evidence: Vec::new(),
            },
            status: None,
        };
        let params = PostParams { field_manager: Some(MANAGER.into()), ..PostParams::default() };
        answer(self.api.create(&params, &object)).await
    }

    /// Writes a status where it says something else. Says whether it is so now.
    async fn show(
        &self,
        object: &Resource,
        status: &RollbackStatus,
        known: &mut BTreeMap<String, Resource>,
    ) -> bool {
        if object.status.as_ref() == Some(status) {
            return true;
        }
        let params = PatchParams { field_manager: Some(STATUS_MANAGER.into()), ..PatchParams::default() };
        let patch = Patch::Merge(serde_json::json!({ "status": status }));
        match answer(self.api.patch_status(&object.name_any(), &params, &patch)).await {
            Ok(written) => {
                known.insert(written.name_any(), written);
                true
            }
            Err(problem) => {
                tracing::debug!(?problem, "the status of a Rollback could not be written");
                false
            }
        }
    }

    /// Opens what somebody asks for, or says why not. Says whether that could be done.
    async fn open(&self, object: &Resource, known: &mut BTreeMap<String, Resource>) -> bool {
        let refuse = |reason: &str, message: String| {
            let now = Timestamp::now();
            let stalled = |kind: &str, status: bool| Condition {
                r#type: kind.to_owned(),
                status,
                reason: reason.to_owned(),
                message: message.clone(),
                last_transition_time: now,
            };
            let state = [stalled("Ready", false), stalled("Reconciling", false), stalled("Stalled", true)];
            RollbackStatus {
                observed_generation: object.metadata.generation.unwrap_or_default(),
                conditions: conditions(&state, &[], object.metadata.generation.unwrap_or_default()),
                ..RollbackStatus::default()
            }
        };
        let (aim, to) = match self.aim(object).await {
            Ok(Some(aimed)) => aimed,
            // Of another Repository of the namespace, or of one that is not read yet.
            Ok(None) => return true,
            Err(Refused::Never(reason, message)) => {
                return self.show(object, &refuse(reason, message), known).await;
            }
            Err(Refused::Later(message)) => {
                tracing::warn!(rollback = object.name_any(), message, "a Rollback waits");
                return false;
            }
        };
        let by = format!("Rollback {}/{}", self.namespace, object.name_any());
        let why = object.spec.message.clone().unwrap_or_else(|| "asked for with kubectl".to_owned());
        match self.brakes.roll_back(aim, (&by, &why), Timestamp::now(), to).await {
            Ok(Some((_, rollback))) => {
                self.show(object, &status(&rollback, object.status.as_ref()), known).await
            }
            Ok(None) => true,
            Err(error) => {
                tracing::warn!(rollback = object.name_any(), %error, "a Rollback waits for the bundle store");
                false
            }
        }
    }

    /// What somebody asks for; nothing where the channel is not this Repository's.
    async fn aim(&self, object: &Resource) -> Result<Option<(Aim, Option<Target>)>, Refused> {
        let later = |error: &dyn std::fmt::Display| Refused::Later(error.to_string());
        let digest: Digest = object.spec.digest.parse().map_err(|_| {
            Refused::Never("DigestNotServed", "spec.digest is not the digest of a bundle".to_owned())
        })?;
        let mut found: Option<(AppId, AppRecord)> = None;
        for app in self.store.apps().await.map_err(|error| later(&error))? {
            let record = self.store.record(&app).await.map_err(|error| later(&error))?;
            let has = |record: &AppRecord| {
                record.owner == self.owner
                    && record.channels.values().any(|channel| channel.name == object.spec.channel)
            };
            found = found.or_else(|| record.filter(has).map(|record| (app, record)));
        }
        let Some((app, record)) = found else { return Ok(None) };
        let served = record.channels.iter().find(|(_, channel)| channel.name == object.spec.channel);
        let Some((channel, served)) = served else { return Ok(None) };
        let versions = served.lines.values().flat_map(|line| {
            let stable = match &line.stable {
                Some(Target::Release(version)) => Some(version.clone()),
                _ => None,
            };
            let candidate = line.candidate.as_ref().map(|candidate| candidate.release.clone());
            let healthy = line.history.iter().map(|healthy| healthy.release.clone());
            candidate.into_iter().chain(stable).chain(line.kept.iter().cloned()).chain(healthy)
        });
        let is_it = |version: &sluice_core::ids::Version| {
            record.versions.get(version).is_some_and(|binding| binding.digest == digest)
        };
        let Some(release) = versions.into_iter().find(is_it) else {
            let message = format!(
                "{} has not served a bundle with this digest; `kubectl get channel {} -o yaml` shows what it serves",
                object.spec.channel, object.spec.channel
            );
            return Err(Refused::Never("DigestNotServed", message));
        };
        let to = object.spec.to.clone().map(Target::try_from).transpose();
        let to = to.map_err(|error| Refused::Never("InvalidSpec", format!("spec.to: {error}")))?;
        // Which holds Git lifts, and what becomes of devices, is found as for everybody who brakes.
        let (of, release) = (format!("{app}/{channel}"), release.to_string());
        let known = [Known { object: &object.spec.channel, app: &app, channel }];
        let wanted =
            Wanted { app: None, channel: Some(&of), release: Some(&release), devices: Devices::Return };
        let found = aim(&self.snapshot.load(), &known, &wanted).map_err(|error| later(&error))?;
        Ok(Some((Aim { digest: Some(digest), ..found }, to)))
    }
}

/// Why nothing is opened.
enum Refused {
    /// Reason and sentence.
    Never(&'static str, String),
    /// It is tried again.
    Later(String),
}

/// The name of the resource of a rollback that no person created.
fn name(rollback: &Rollback) -> String {
    let channel = rollback.channel.as_str().to_ascii_lowercase();
    let plain: String = channel.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    format!("{}-{}", plain.trim_matches('-'), rollback.id).trim_start_matches('-').to_owned()
}

fn is_late(rollback: &Rollback) -> bool {
    let end = rollback.log.last().map_or(rollback.at, |entry| entry.at);
    Timestamp::now().duration_since(end) < LATELY
}

/// How far a rollback is, as its resource shows it.
fn status(rollback: &Rollback, before: Option<&RollbackStatus>) -> RollbackStatus {
    let Rollback { phase, planned, stall, log, .. } = rollback;
    let last = log.last();
    let at = stall.as_ref().map(|stall| stall.since).or(last.map(|entry| entry.at)).unwrap_or(rollback.at);
    let (reason, message) = match stall {
        Some(stall) => (stall.reason.as_str(), stall.message.as_str()),
        None => (phase.reason(), last.map_or("", |entry| entry.message.as_str())),
    };
    let well = matches!(phase, Phase::Complete | Phase::Superseded);
    let condition = |kind: &str, status: bool| Condition {
        r#type: kind.to_owned(),
        status,
        reason: reason.to_owned(),
        message: message.to_owned(),
        last_transition_time: at,
    };
    let reached = |kind: &str, phase: Phase| {
        let entry = log.iter().find(|entry| entry.phase == phase)?;
        Some(Condition {
            r#type: kind.to_owned(),
            status: true,
            reason: phase.reason().to_owned(),
            message: entry.message.clone(),
            last_transition_time: entry.at,
        })
    };
    let mut state = vec![
        condition("Ready", well),
        condition("Reconciling", !phase.is_end() && stall.is_none()),
        condition("Stalled", stall.is_some() || (phase.is_end() && !well)),
    ];
    state.extend(reached("Braked", Phase::Braked));
    state.extend(reached("Planned", Phase::Planned));
    state.extend(reached("Pushed", Phase::Pushed));
    state.extend(reached("ProposalOpen", Phase::ProposalOpen));
    state.extend(reached("Complete", Phase::Complete));
    let before = before.map_or(&[][..], |before| &before.conditions);
    // A Rollback is immutable: there is one generation.
    RollbackStatus {
        observed_generation: 1,
        conditions: conditions(&state, before, 1),
        bundle: Some(rollback.digest.to_string().chars().take(SHORT).collect()),
        id: Some(rollback.id.to_string()),
        introduced_by: planned.as_ref().map(|planned| planned.introduced_by.clone()),
        commit: planned.as_ref().map(|planned| planned.commit.clone()),
        pull_request: rollback
            .pull_request
            .as_ref()
            .map(|request| request.url.clone())
            .or(rollback.proposal.clone()),
        log: log
            .iter()
            .map(|entry| LogEntry {
                time: entry.at.to_string(),
                step: entry.phase.reason().to_owned(),
                message: Some(cut(&entry.message, TEXT)),
            })
            .collect(),
    }
}

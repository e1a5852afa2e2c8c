//! Steps four and five: writes what a plan says and reads back what devices will be answered from.
//!
//! Records come before shards and shards before the root, so that whatever a device is offered is bound for ever before
//! it is offered. Every write is conditional: applying a plan again changes nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::Timestamp;
use sluice_core::{
    channel::Channel,
    decisions::{Head, Row, rows},
    ids::AppId,
    plan::{AppPlan, Plan},
    record::AppRecord,
    snapshot::{App, Shard, Snapshot},
};
use sluice_store::{
    control::{ControlError, advance},
    fleet::Declared,
};

use crate::{EngineError, Parts};

/// What stands in the bundle store.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stored {
    pub(crate) records: BTreeMap<AppId, Arc<AppRecord>>,
    pub(crate) shards: BTreeMap<AppId, Arc<Shard>>,
}

impl Stored {
    /// The channels of `owner` that are served, each as an object without a word of what it asks for.
    pub(crate) fn channels(&self, owner: &str) -> impl Iterator<Item = Channel> {
        let mine = self.records.values().filter(move |record| record.owner == owner);
        mine.flat_map(|record| {
            let shard = self.shards.get(&record.app);
            let entries = shard.into_iter().flat_map(|shard| &shard.channels);
            entries.filter_map(|entry| {
                let name = record.channels.get(&entry.channel)?.name.clone();
                Some(Channel::new(name, record.app.clone(), entry.channel.clone(), Vec::new(), entry.access))
            })
        })
    }
}

/// Reads what stands, and lets devices be answered from it.
pub(crate) async fn load(parts: &Parts) -> Result<Stored, EngineError> {
    let snapshot = verify(parts, None).await?;
    let mut stored = Stored::default();
    for app in parts.store.apps().await? {
        if let Some(record) = readable(parts.store.record(&app).await)?.flatten() {
            stored.records.insert(app, Arc::new(record));
        }
    }
    // The root that stands: an app whose shard is damaged is not in the snapshot, and is published again.
    let root = parts.store.root().await?.map_or_else(|| snapshot.root.clone(), |(root, _)| root);
    for (app, digest) in &root.apps {
        if let Some(shard) = readable(parts.store.shard(app, digest).await)? {
            stored.shards.insert(app.clone(), Arc::new(shard));
        }
    }
    Ok(stored)
}

/// What could be read; nothing when it is damaged or gone, which concerns one app only and is made again from Git.
pub(crate) fn readable<T>(read: Result<T, ControlError>) -> Result<Option<T>, ControlError> {
    match read {
        Ok(value) => Ok(Some(value)),
        Err(error @ (ControlError::Damaged { .. } | ControlError::Missing(_))) => {
            tracing::error!(%error, "something in the bundle store cannot be read; everything else goes on");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// What came of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It is what stands, as far as it could be written.
    Applied,
    /// Meanwhile somebody else took an app of it. Nothing was published; another plan leaves that app out.
    Overtaken,
}

/// Writes the plan for the apps of `owner` over what is `stored`, which is what stands when this returns, also in part.
pub(crate) async fn apply(
    plan: &Plan,
    owner: &str,
    stored: &mut Stored,
    parts: &Parts,
) -> Result<Outcome, EngineError> {
    let mut unknown = BTreeSet::new();
    let mut overtaken = false;
    for (app, AppPlan { record, .. }) in plan.apps.iter().map(|(app, plan)| (app, &**plan)) {
        if stored.records.get(app) != Some(record) {
            let written = match write_record(parts, app, owner, record).await {
                // Of this app only: the others go on (rule 9).
                Err(ControlError::OwnedBy { owner, .. }) => {
                    tracing::info!(%app, owner, "another repository took the app first");
                    let theirs = readable(parts.store.record(app).await)?.flatten();
                    overtaken |= theirs.is_some();
                    theirs
                }
                written => readable(written)?,
            };
            match written {
                Some(written) => _ = stored.records.insert(app.clone(), Arc::new(written)),
                // What its versions are bound to is not known: the app stays as it is served.
                None => _ = unknown.insert(app.clone()),
            }
        }
    }
    if overtaken {
        return Ok(Outcome::Overtaken);
    }
    let planned = |app: &AppId| plan.apps.get(app).and_then(|plan| plan.shard.as_ref());
    let mut changes: BTreeMap<AppId, Option<Arc<Shard>>> = plan
        .apps
        .iter()
        .filter_map(|(app, plan)| Some((app, plan.shard.as_ref()?)))
        .filter(|(app, shard)| stored.shards.get(*app) != Some(*shard) && !unknown.contains(*app))
        .map(|(app, shard)| (app.clone(), Some(Arc::clone(shard))))
        .collect();
    let mine = |app: &AppId| stored.records.get(app).is_some_and(|record| record.owner == owner);
    let gone = stored.shards.keys().filter(|app| mine(app) && planned(app).is_none());
    changes.extend(gone.map(|app| (app.clone(), None)));
    if changes.is_empty() {
        return Ok(Outcome::Applied);
    }
    let published = parts.store.publish(parts.epoch, &changes, Timestamp::now()).await?;
    verify(parts, Some(published.root.generation)).await?;
    for (app, shard) in changes {
        match shard {
            Some(shard) => stored.shards.insert(app, shard),
            None => stored.shards.remove(&app),
        };
    }
    Ok(Outcome::Applied)
}

/// Reads the published snapshot back and swaps it in. Devices are never answered from what was only meant to be written.
async fn verify(parts: &Parts, expected: Option<u64>) -> Result<Arc<Snapshot>, EngineError> {
    let before = parts.snapshot.load_full();
    let loaded = parts.store.load(Some(&before)).await?;
    for (app, problem) in loaded.problems {
        tracing::error!(%app, error = %problem, "the shard of an app does not read back; it is answered as before");
    }
    let found = loaded.snapshot.root.generation;
    if let Some(expected) = expected.filter(|expected| found < *expected) {
        return Err(EngineError::Verify { found, expected });
    }
    let snapshot = Arc::new(loaded.snapshot);
    if let Err(older) = advance(&parts.snapshot, &snapshot) {
        // Another repository's engine has published and swapped in a later one meanwhile.
        tracing::debug!(%older, "a later snapshot is served already");
    }
    declare(parts, &before, &snapshot);
    Ok(snapshot)
}

/// Tells the fleet store which bytes each served version is, so that reports by name are counted for the right bundle.
fn declare(parts: &Parts, before: &Snapshot, snapshot: &Snapshot) {
    let is_new = |app: &&Arc<App>| before.app(app.id.as_str()).is_none_or(|known| !Arc::ptr_eq(known, app));
    for app in snapshot.apps().filter(is_new) {
        parts.fleet.declare(app.bundles().map(|bundle| Declared {
            app: app.id.as_str(),
            version: &bundle.version,
            digest: bundle.offer.digest,
        }));
    }
}

async fn write_record(
    parts: &Parts,
    app: &AppId,
    owner: &str,
    record: &AppRecord,
) -> Result<AppRecord, ControlError> {
    let standing = parts.store.claim(app, owner).await?;
    // Before the record, which says how far the log goes: what is decided is told, whenever the process dies.
    let head = log(parts, &standing, record).await?;
    parts
        .store
        .update_record(parts.epoch, app, owner, |standing| {
            standing.channels.clone_from(&record.channels);
            standing.decisions = head;
            for (version, binding) in &record.versions {
                // A binding that stands is never given other bytes (rule 4), whoever wrote it.
                let kept =
                    standing.versions.get(version).filter(|known| known.digest != binding.digest).cloned();
                standing.versions.insert(version.clone(), kept.unwrap_or_else(|| binding.clone()));
            }
            Ok::<(), ControlError>(())
        })
        .await
        .inspect(|written| {
            if written.decisions != standing.decisions {
                // Nobody may listen.
                let _ = parts.decided.send(app.clone());
            }
        })
}

/// Tells what changes for rollouts between two states of a record. Returns the end of the log.
async fn log(parts: &Parts, before: &AppRecord, after: &AppRecord) -> Result<Option<Head>, ControlError> {
    let mut rows = rows(before, after);
    if rows.is_empty() {
        return Ok(before.decisions);
    }
    if before.epoch > parts.epoch {
        return Err(ControlError::Deposed { found: before.epoch, held: parts.epoch });
    }
    let app = &before.app;
    let head = parts.store.append_decisions(app, before.decisions, Timestamp::now(), &mut rows).await?;
    for Row { transition, sentence, .. } in rows {
        tracing::info!(%app, channel = %transition.channel, kind = %transition.kind, "{sentence}");
    }
    Ok(head)
}

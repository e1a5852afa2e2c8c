//! Plans what an installation should serve: which bundles to make, what each channel's lines offer, and what to say
//! about it.
//!
//! A plan is a value: it can be printed and compared, and applying the same plan twice changes nothing. It is complete
//! for the apps of one repository, so that what is served follows from it and from nothing else.

mod line;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{
    channel::Target,
    diagnostic::{Code, Diagnostic, Location},
    digest::Digest,
    ids::{AppId, ChannelName, Version},
    inventory::Located,
    record::{AppRecord, Binding, ChannelRecord, LineRecord},
    release::{Release, Source},
    resolve::{Owner, Resolved, ResolvedApp, ResolvedChannel},
    snapshot::{ChannelEntry, LineEntry, Offer, Shard},
    status::LineStatus,
};

/// An app's version, the key of everything that is known about a release.
pub type ReleaseId = (AppId, Version);

/// What was observed outside Git's documents.
#[derive(Debug, Default)]
pub struct Observed {
    /// Record of each app.
    pub records: BTreeMap<AppId, AppRecord>,
    /// Shard last published for each app.
    pub shards: BTreeMap<AppId, Shard>,
    /// What each release's bundle is made from now: a Git object id or the SHA-256 of a download.
    pub sources: BTreeMap<ReleaseId, String>,
    /// Releases whose bundle could not be made.
    pub failures: BTreeMap<ReleaseId, Failure>,
}

/// Why a bundle could not be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The source that failed; another one is tried again.
    pub source: String,
    /// What is wrong.
    pub problem: Diagnostic,
}

/// What should be done and served.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// Bundles to make, the most wanted first.
    pub needs: Vec<Need>,
    /// The shard of every app that serves something.
    pub shards: BTreeMap<AppId, Shard>,
    /// The record of every app.
    pub records: BTreeMap<AppId, AppRecord>,
    /// State of each release.
    pub releases: Vec<ReleaseOutcome>,
    /// State of each channel.
    pub channels: Vec<ChannelOutcome>,
    /// Problems found while resolving and making bundles.
    pub problems: Vec<Diagnostic>,
}

/// A bundle that has to be made, or made again to prove that its version kept its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Need {
    /// The app.
    pub app: AppId,
    /// The version.
    pub version: Version,
    /// Name of the Release.
    pub release: String,
    /// Where the bytes come from.
    pub source: Source,
    /// Identity of the source.
    pub fingerprint: String,
    /// Whether a channel waits for it.
    pub wanted: bool,
    /// Where to report a problem.
    pub at: Location,
}

/// What stands in the way of serving something as asked. Text for machines by [`Hindrance::reason`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hindrance {
    /// The bundle is being made.
    Pending,
    /// A problem that only a change mends.
    Problem(Code),
    /// The channel is suspended.
    Suspended,
    /// Its file cannot be read in this commit, so that nobody knows what is asked.
    Unreadable,
}

impl Hindrance {
    /// The condition reason, in CamelCase.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Pending => "BundlePending",
            Self::Problem(code) => code.name(),
            Self::Suspended => "Suspended",
            Self::Unreadable => "FileUnreadable",
        }
    }
}

/// State of one release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseOutcome {
    /// Object name.
    pub name: String,
    /// App and version.
    pub id: ReleaseId,
    /// Bundle, once known.
    pub digest: Option<Digest>,
    /// Bytes of the zip.
    pub size: Option<u64>,
    /// What stands in the way.
    pub hindrance: Option<Hindrance>,
    /// A sentence for people.
    pub message: String,
}

/// State of one channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelOutcome {
    /// Object name.
    pub name: String,
    /// App.
    pub app: AppId,
    /// The name that devices use.
    pub channel: ChannelName,
    /// Per line.
    pub lines: Vec<LineStatus>,
    /// What stands in the way.
    pub hindrance: Option<Hindrance>,
    /// A sentence for people.
    pub message: String,
}

/// Plans for the apps of `owner`.
pub fn plan(resolved: &Resolved<'_>, owner: &Owner, observed: &Observed) -> Plan {
    let mut plan = Plan { problems: resolved.problems.clone(), ..Plan::default() };
    for (app, declared) in &resolved.apps {
        plan_app(app, declared, owner, observed, &mut plan);
    }
    plan.needs.sort_by_key(|need| !need.wanted);
    plan.problems.sort();
    plan.problems.dedup();
    plan
}

fn plan_app(app: &AppId, declared: &ResolvedApp<'_>, owner: &Owner, observed: &Observed, plan: &mut Plan) {
    let mut record =
        observed.records.get(app).cloned().unwrap_or_else(|| AppRecord::new(app.clone(), owner.name.clone()));
    let shard = observed.shards.get(app);

    let wanted: BTreeSet<&Version> = declared
        .channels
        .values()
        .flat_map(|c| &c.channel.lines)
        .filter_map(|line| match &line.target {
            Target::Release(version) => Some(version),
            Target::Builtin => None,
        })
        .collect();
    let mut states = BTreeMap::new();
    for (version, (release, located)) in declared.releases.iter().rev() {
        let id = (app.clone(), version.clone());
        let state = release_state(&id, release, &record, observed);
        if let ReleaseState::Needed(fingerprint) = &state {
            plan.needs.push(Need {
                app: app.clone(),
                version: version.clone(),
                release: release.name.clone(),
                source: release.source.clone(),
                fingerprint: fingerprint.clone(),
                wanted: wanted.contains(version),
                at: source_location(located),
            });
        }
        if let ReleaseState::Failed(problem) = &state {
            plan.problems.push(problem.clone());
        }
        plan.releases.push(release_outcome(id, release, &record, &state));
        states.insert(version.clone(), state);
    }

    let mut entries: Vec<(&str, ChannelEntry)> = Vec::new();
    let mut channels = BTreeMap::new();
    for (name, channel) in &declared.channels {
        let before = record.channels.get(name);
        let previous = shard.and_then(|s| s.channels.iter().find(|c| c.channel == *name));
        let planned = plan_channel(channel, before, previous, &states, plan);
        if let Some((entry, after)) = planned {
            entries.push((&channel.channel.name, entry));
            channels.insert(name.clone(), after);
        }
    }
    record.channels = channels;
    entries.sort_by_key(|(name, _)| *name);
    let mut shard_after = Shard {
        app: app.clone(),
        offers: BTreeMap::new(),
        channels: entries.into_iter().map(|(_, entry)| entry).collect(),
    };
    add_offers(&mut shard_after, declared, &record, shard);
    if !shard_after.channels.is_empty() {
        plan.shards.insert(app.clone(), shard_after);
    }
    plan.records.insert(app.clone(), record);
}

/// Where a problem of the bundle is reported.
fn source_location(located: &Located) -> Location {
    ["spec.bundle.path", "spec.bundle.https.url", "spec.bundle.https", "spec.bundle"]
        .iter()
        .find_map(|field| located.fields.get(*field))
        .unwrap_or(&located.at)
        .clone()
}

/// How far a release is from being offered.
enum ReleaseState {
    /// Its bundle is known and unchanged.
    Ready,
    /// Its bundle has to be made from the source of this fingerprint.
    Needed(String),
    /// Its source was not observed in this pass; the bundle that is known stays.
    Unobserved,
    /// Its source was not observed in this pass, and no bundle is known.
    Unknown,
    /// It cannot be made.
    Failed(Diagnostic),
    /// The kind of source is not supported.
    Unsupported,
}

fn release_state(id: &ReleaseId, release: &Release, record: &AppRecord, observed: &Observed) -> ReleaseState {
    if matches!(release.source, Source::Oci { .. }) {
        return ReleaseState::Unsupported;
    }
    let failure = observed.failures.get(id);
    let Some(source) = observed.sources.get(id) else {
        return match (failure, record.versions.get(&id.1)) {
            (Some(failure), _) => ReleaseState::Failed(failure.problem.clone()),
            (None, Some(_)) => ReleaseState::Unobserved,
            (None, None) => ReleaseState::Unknown,
        };
    };
    match (record.versions.get(&id.1), failure) {
        (Some(binding), _) if binding.source == *source => ReleaseState::Ready,
        (_, Some(failure)) if failure.source == *source => ReleaseState::Failed(failure.problem.clone()),
        _ => ReleaseState::Needed(source.clone()),
    }
}

fn release_outcome(
    id: ReleaseId,
    release: &Release,
    record: &AppRecord,
    state: &ReleaseState,
) -> ReleaseOutcome {
    let binding = record.versions.get(&id.1);
    let (hindrance, message) = match state {
        ReleaseState::Ready | ReleaseState::Unobserved => {
            (None, "the bundle is stored and can be offered".to_owned())
        }
        ReleaseState::Needed(_) => (Some(Hindrance::Pending), "the bundle is being made".to_owned()),
        ReleaseState::Unknown => (Some(Hindrance::Pending), "the repository is not read yet".to_owned()),
        ReleaseState::Failed(problem) => (Some(Hindrance::Problem(problem.code)), problem.message.clone()),
        ReleaseState::Unsupported => (
            Some(Hindrance::Problem(Code::SourceNotSupported)),
            "OCI sources are not supported yet; use `path` or `https`".to_owned(),
        ),
    };
    ReleaseOutcome {
        name: release.name.clone(),
        id,
        digest: binding.map(|b| b.digest),
        size: binding.map(|b| b.zip.size),
        hindrance,
        message,
    }
}

/// Plans one channel. `None`: nothing may be served under its name.
fn plan_channel(
    channel: &ResolvedChannel<'_>,
    before: Option<&ChannelRecord>,
    previous: Option<&ChannelEntry>,
    states: &BTreeMap<Version, ReleaseState>,
    plan: &mut Plan,
) -> Option<(ChannelEntry, ChannelRecord)> {
    let spec = channel.channel;
    let mut outcome = ChannelOutcome {
        name: spec.name.clone(),
        app: spec.app.clone(),
        channel: spec.channel.clone(),
        lines: Vec::new(),
        hindrance: None,
        message: String::new(),
    };
    if let Some(code) = channel.refused {
        outcome.message = format!(
            "{}; what was served before stays",
            code.explanation().lines().next().unwrap_or("").trim()
        );
        outcome.hindrance = Some(Hindrance::Problem(code));
        plan.channels.push(outcome);
        let before = before.filter(|record| record.name == spec.name)?;
        return Some((previous?.clone(), before.clone()));
    }
    let mut record =
        ChannelRecord { name: spec.name.clone(), public: spec.access.public, lines: BTreeMap::new() };
    let mut entry = ChannelEntry { channel: spec.channel.clone(), access: spec.access, lines: Vec::new() };
    for (index, wanted) in spec.lines.iter().enumerate() {
        let key = wanted.key();
        let last = before
            .and_then(|r| r.lines.get(&key))
            .cloned()
            .unwrap_or_else(|| line::inherit(wanted, previous));
        let (stable, hindrance) = line::next(spec, wanted, last.stable.clone(), states);
        let serial = last.serial + u64::from(stable != last.stable);
        outcome.lines.push(LineStatus {
            key: key.clone(),
            wanted: wanted.target.clone(),
            served: stable.clone(),
        });
        if let (None, Some(hindrance)) = (&outcome.hindrance, hindrance) {
            outcome.message = line::sentence(spec, index, wanted, stable.as_ref(), &hindrance);
            outcome.hindrance = Some(hindrance);
        }
        record.lines.insert(key, LineRecord { stable: stable.clone(), serial });
        entry.lines.push(LineEntry { native: wanted.native.clone(), platforms: wanted.platforms, stable });
    }
    if channel.located.stale {
        outcome.hindrance = Some(Hindrance::Unreadable);
        outcome.message =
            format!("{} cannot be read in this commit; the channel stays as it was", channel.located.at.file);
    }
    if outcome.hindrance.is_none() {
        let targets: Vec<String> = outcome.lines.iter().map(|l| l.wanted.to_string()).collect();
        let verb = if targets.len() == 1 { "is" } else { "are" };
        outcome.message = format!("{} {verb} served as asked", targets.join(" and "));
    }
    plan.channels.push(outcome);
    Some((entry, record))
}

/// Adds the offer of every version that a line refers to; a line without one serves nothing.
fn add_offers(shard: &mut Shard, declared: &ResolvedApp<'_>, record: &AppRecord, previous: Option<&Shard>) {
    for line in shard.channels.iter_mut().flat_map(|c| &mut c.lines) {
        let Some(Target::Release(version)) = &line.stable else { continue };
        let known = previous.and_then(|s| s.offers.get(version));
        let offer = match (declared.releases.get(version), record.versions.get(version)) {
            (_, Some(binding)) if binding.is_lost() => None,
            (Some((release, _)), Some(binding)) => Some(offer(release, binding)),
            _ => known.cloned(),
        };
        match offer {
            Some(offer) => {
                shard.offers.insert(version.clone(), offer);
            }
            None => line.stable = None,
        }
    }
}

fn offer(release: &Release, binding: &Binding) -> Offer {
    Offer {
        digest: binding.digest,
        zip: binding.zip.clone(),
        native: release.native.clone(),
        rollback: release.rollback,
        notes: release.notes.clone(),
        link: release.link.clone(),
        key_id: None,
    }
}

#[cfg(test)]
#[path = "plan/tests.rs"]
mod tests;

//! Plans what an installation should serve: which bundles to make, what each channel's lines offer, and what to say
//! about it.
//!
//! A plan is a value: it can be printed and compared, and applying the same plan twice changes nothing. It is complete
//! for the apps of one repository, so that what is served follows from it and from nothing else.

mod lifted;
mod line;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{
    channel::Target,
    diagnostic::{Code, Diagnostic, Location},
    digest::Digest,
    ids::{AppId, ChannelName, Version},
    inventory::Located,
    observed::{Fleet, Found, Observed, ObservedApp, ReleaseId},
    record::{AppRecord, Binding, ChannelRecord},
    release::{Release, Source},
    resolve::{Owner, ResolvedApp, ResolvedChannel, by_app, resolve_app},
    rollout::{self, BrakeRequest, Facts, Next, Phase},
    snapshot::{ChannelEntry, Offer, Shard},
    status::LineStatus,
};

/// What should be done and served.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// By app. An app that nothing changed for has the same plan as before.
    pub apps: BTreeMap<AppId, Arc<AppPlan>>,
    /// Problems of objects that belong to no app of this repository.
    pub problems: Vec<Diagnostic>,
}

/// What should be done and served of one app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppPlan {
    /// Bundles to make, the highest version first.
    pub needs: Vec<Need>,
    /// What is served; `None`: nothing.
    pub shard: Option<Arc<Shard>>,
    /// Its record.
    pub record: Arc<AppRecord>,
    /// State of each release, the highest version first.
    pub releases: Vec<ReleaseOutcome>,
    /// State of each channel.
    pub channels: Vec<ChannelOutcome>,
    /// Problems found while resolving and making bundles.
    pub problems: Vec<Diagnostic>,
    /// Brakes that must be written, each with its channel.
    pub brakes: Vec<(ChannelName, BrakeRequest)>,
    /// When another plan follows although nothing else changed.
    pub wake: Option<Timestamp>,
}

impl AppPlan {
    /// The need of a version.
    pub fn need(&self, version: &Version) -> Option<&Need> {
        let found = self.needs.binary_search_by(|need| version.cmp(&need.version));
        found.ok().map(|at| &self.needs[at])
    }
}

impl Plan {
    /// Bundles to make, the most wanted first.
    pub fn needs(&self) -> Vec<&Need> {
        let mut needs: Vec<&Need> = self.apps.values().flat_map(|app| &app.needs).collect();
        needs.sort_by_key(|need| !need.wanted);
        needs
    }

    /// When another plan follows although nothing changed.
    pub fn wake(&self) -> Option<Timestamp> {
        self.apps.values().filter_map(|app| app.wake).min()
    }

    /// Every problem, sorted.
    pub fn problems(&self) -> Vec<&Diagnostic> {
        let apps = self.apps.values().flat_map(|app| &app.problems);
        let mut problems: Vec<&Diagnostic> = self.problems.iter().chain(apps).collect();
        problems.sort();
        problems.dedup();
        problems
    }
}

/// Plans for the apps of one repository, and only those anew that something changed for.
#[derive(Debug, Default)]
pub struct Planner {
    apps: BTreeMap<AppId, Planned>,
}

/// A plan, and all that it follows from.
#[derive(Debug)]
struct Planned {
    objects: Vec<Arc<Located>>,
    observed: ObservedApp,
    plan: Arc<AppPlan>,
}

impl Planner {
    /// Plans what `objects` of `owner` ask for. `seed` is random; what was planned before is not planned again for it.
    pub fn plan<'a>(
        &mut self,
        objects: impl IntoIterator<Item = &'a Arc<Located>>,
        owner: &Owner,
        observed: &Observed,
        now: Timestamp,
        seed: &[u8; 32],
    ) -> Plan {
        let mut plan = Plan::default();
        let mut known = std::mem::take(&mut self.apps);
        for (app, objects) in by_app(objects, owner, observed, &mut plan.problems) {
            let seen = observed.apps.get(app);
            let same = known.remove(app).filter(|known| {
                known.plan.wake.is_none_or(|wake| now < wake)
                    && seen.is_some_and(|seen| known.observed == *seen)
                    && known.objects.iter().eq(objects.iter().copied())
            });
            let planned = same.unwrap_or_else(|| {
                let seen = seen.cloned().unwrap_or_default();
                let plan = Arc::new(plan_app(app, &objects, owner, &seen, now, seed));
                let objects = objects.iter().map(|located| Arc::clone(located)).collect();
                Planned { objects, observed: seen, plan }
            });
            plan.apps.insert(app.clone(), Arc::clone(&planned.plan));
            self.apps.insert(app.clone(), planned);
        }
        plan.problems.sort();
        plan
    }
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
    /// What it asks for is braked.
    Braked,
}

impl Hindrance {
    /// The condition reason, in CamelCase.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Pending => "BundlePending",
            Self::Problem(code) => code.name(),
            Self::Suspended => "Suspended",
            Self::Unreadable => "FileUnreadable",
            Self::Braked => "Braked",
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

fn plan_app(
    app: &AppId,
    objects: &[&Arc<Located>],
    owner: &Owner,
    observed: &ObservedApp,
    now: Timestamp,
    seed: &[u8; 32],
) -> AppPlan {
    let mut problems = Vec::new();
    let objects = objects.iter().copied();
    let declared = resolve_app(app, objects, observed.record.as_deref(), &mut problems);
    let mut record =
        observed.record.clone().unwrap_or_else(|| Arc::new(AppRecord::new(app.clone(), owner.name.clone())));
    let shard = observed.shard.as_ref();

    let wanted: BTreeSet<&Version> = declared
        .channels
        .values()
        .flat_map(|c| &c.channel.lines)
        .filter_map(|line| match &line.target {
            Target::Release(version) => Some(version),
            Target::Builtin => None,
        })
        .collect();
    let (mut needs, mut releases) = (Vec::new(), Vec::with_capacity(declared.releases.len()));
    let mut states = BTreeMap::new();
    for (version, (release, located)) in declared.releases.iter().rev() {
        let state = release_state(version, release, located, &record, observed);
        if let ReleaseState::Needed(fingerprint) = &state {
            needs.push(Need {
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
            problems.push(problem.clone());
        }
        releases.push(release_outcome((app.clone(), version.clone()), release, &record, &state));
        states.insert(version.clone(), state);
    }

    let mut entries: Vec<(&str, ChannelEntry)> = Vec::with_capacity(declared.channels.len());
    let (mut outcomes, mut channels) = (Vec::with_capacity(declared.channels.len()), BTreeMap::new());
    let (mut brakes, mut wake) = (Vec::new(), None);
    for (name, channel) in &declared.channels {
        problems.extend(lifted::unknown(channel, &observed.brakes));
        let before = record.channels.get(name);
        let previous = shard.and_then(|s| s.channels.iter().find(|c| c.channel == *name));
        let known = Known { states: &states, record: &record, observed, now, seed };
        let (outcome, planned) = plan_channel(channel, before, previous, &known, &mut brakes);
        let wakes = outcome.lines.iter().filter_map(|line| line.rollout.as_ref()?.wake);
        wake = wakes.chain(wake).min();
        outcomes.push(outcome);
        if let Some((entry, after)) = planned {
            entries.push((&channel.channel.name, entry));
            channels.insert(name.clone(), after);
        }
    }
    if record.channels != channels {
        Arc::make_mut(&mut record).channels = channels;
    }
    entries.sort_by_key(|(name, _)| *name);
    let mut after = Shard {
        app: app.clone(),
        offers: BTreeMap::new(),
        channels: entries.into_iter().map(|(_, entry)| entry).collect(),
    };
    add_offers(&mut after, &declared, &record, shard.map(AsRef::as_ref));
    let after = match shard {
        _ if after.channels.is_empty() => None,
        Some(shard) if **shard == after => Some(Arc::clone(shard)),
        _ => Some(Arc::new(after)),
    };
    problems.sort();
    problems.dedup();
    AppPlan { needs, shard: after, record, releases, channels: outcomes, problems, brakes, wake }
}

/// Where a problem of the bundle is reported.
fn source_location(located: &Located) -> Location {
    let places = ["spec.bundle.path", "spec.bundle.https.url", "spec.bundle.https"];
    let given = places.into_iter().find(|field| located.fields.contains_key(*field));
    located.field(given.unwrap_or("spec.bundle"))
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

fn release_state(
    version: &Version,
    release: &Release,
    located: &Located,
    record: &AppRecord,
    observed: &ObservedApp,
) -> ReleaseState {
    let unobserved = || match record.versions.get(version) {
        Some(_) => ReleaseState::Unobserved,
        None => ReleaseState::Unknown,
    };
    let source = match &release.source {
        Source::Oci { .. } => return ReleaseState::Unsupported,
        Source::Https { sha256, .. } => format!("sha256:{sha256}"),
        Source::Path(path) => {
            let absent = |message: String| {
                let at = located.field("spec.bundle.path");
                ReleaseState::Failed(Diagnostic::new(Code::BundleNotFound, at, message))
            };
            match observed.paths.get(path) {
                Some(Found::Object(id)) => format!("git:{id}"),
                // What the commit does not declare need not be in it.
                _ if located.stale => return unobserved(),
                None => return unobserved(),
                Some(Found::Other) => {
                    return absent(format!(
                        "`{path}` is a symbolic link or a submodule; a bundle is a directory or a zip file"
                    ));
                }
                Some(Found::Nothing) => {
                    return absent(format!(
                        "there is no `{path}` in this commit; commit the web build there, or correct the path"
                    ));
                }
            }
        }
    };
    match (record.versions.get(version), observed.failures.get(version)) {
        (Some(binding), _) if binding.source == source => ReleaseState::Ready,
        (_, Some(failure)) if failure.source == source => ReleaseState::Failed(failure.problem.clone()),
        _ => ReleaseState::Needed(source),
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

/// What a channel is planned from, beside itself.
struct Known<'a> {
    states: &'a BTreeMap<Version, ReleaseState>,
    record: &'a AppRecord,
    observed: &'a ObservedApp,
    now: Timestamp,
    seed: &'a [u8; 32],
}

/// How long devices are counted anew after the audience of a channel changed: activity is counted over seven days and today.
const UNCOUNTED: SignedDuration = SignedDuration::from_hours(8 * 24);

/// Plans one channel: what to say of it, and what is served under its name, which may be nothing.
fn plan_channel(
    channel: &ResolvedChannel<'_>,
    before: Option<&ChannelRecord>,
    previous: Option<&ChannelEntry>,
    known: &Known<'_>,
    brakes: &mut Vec<(ChannelName, BrakeRequest)>,
) -> (ChannelOutcome, Option<(ChannelEntry, ChannelRecord)>) {
    let spec = channel.channel;
    let mut outcome = ChannelOutcome {
        name: spec.name.clone(),
        app: spec.app.clone(),
        channel: spec.channel.clone(),
        lines: Vec::with_capacity(spec.lines.len()),
        hindrance: None,
        message: String::new(),
    };
    if let Some(code) = channel.refused {
        outcome.message = format!(
            "{}; what was served before stays",
            code.explanation().lines().next().unwrap_or("").trim()
        );
        outcome.hindrance = Some(Hindrance::Problem(code));
        let before = before.filter(|record| record.name == spec.name);
        return (outcome, previous.zip(before).map(|(entry, record)| (entry.clone(), record.clone())));
    }
    let audience_since = match previous {
        Some(entry) if entry.audience != spec.audience => Timestamp::from_second(known.now.as_second()).ok(),
        _ => before.and_then(|record| record.audience_since).filter(|since| known.now < *since + UNCOUNTED),
    };
    let mut record = ChannelRecord {
        name: spec.name.clone(),
        public: spec.access.public,
        audience_since,
        lines: BTreeMap::new(),
    };
    let mut entry = ChannelEntry {
        channel: spec.channel.clone(),
        access: spec.access,
        lines: Vec::with_capacity(spec.lines.len()),
        allow_held: spec.allow_held.iter().cloned().collect(),
        audience: spec.audience.clone(),
    };
    for (index, wanted) in spec.lines.iter().enumerate() {
        let key = wanted.key();
        let last = before
            .and_then(|r| r.lines.get(&key))
            .cloned()
            .unwrap_or_else(|| Arc::new(line::inherit(wanted, previous)));
        let unready = line::hindrance(&wanted.target, known.states);
        let fleet = known.observed.rollouts.get(&(spec.channel.clone(), key.clone()));
        // A wider audience may have everybody whom no channel served so far. Rather too many: few are reached at once.
        let joining = |fleet: &Fleet| if audience_since.is_some() { fleet.unserved } else { 0 };
        let facts = Facts {
            now: known.now,
            seed: line::seed(known.seed, spec, &key),
            active: fleet.map_or(0, |fleet| fleet.active + joining(fleet)),
            fleet_away: known.observed.fleet_away,
            verdict: fleet.and_then(|fleet| fleet.verdict.as_ref()),
            freezes: &known.observed.freezes,
            brakes: &known.observed.brakes,
            ready: unready.is_none(),
            bundles: &known.record.versions,
        };
        let Next { record: line_record, served, open, progress, brake } =
            rollout::next(spec, &wanted.target, &last, &facts);
        brakes.extend(brake.map(|brake| (spec.channel.clone(), brake)));
        let hindrance = unready.or_else(|| line::held_up(&progress, &line_record));
        if let (None, Some(hindrance)) = (&outcome.hindrance, hindrance) {
            outcome.message = match hindrance {
                Hindrance::Braked => progress.message.clone(),
                _ => line::sentence(spec, index, wanted, served.as_ref(), &hindrance),
            };
            outcome.hindrance = Some(hindrance);
        }
        outcome.lines.push(LineStatus {
            key: key.clone(),
            wanted: wanted.target.clone(),
            served,
            rollout: Some(progress),
        });
        entry.lines.push(line::entry(spec, wanted, &line_record, open));
        record.lines.insert(key, if *last == line_record { last } else { Arc::new(line_record) });
    }
    if channel.located.stale {
        outcome.hindrance = Some(Hindrance::Unreadable);
        outcome.message =
            format!("{} cannot be read in this commit; the channel stays as it was", channel.located.at.file);
    }
    if outcome.hindrance.is_none() {
        let running = outcome.lines.iter().filter_map(|line| line.rollout.as_ref());
        let running: Vec<&str> = running
            .filter(|progress| progress.phase != Phase::Completed)
            .map(|progress| progress.message.as_str())
            .collect();
        let targets: Vec<String> = outcome.lines.iter().map(|l| l.wanted.to_string()).collect();
        let verb = if targets.len() == 1 { "is" } else { "are" };
        outcome.message = if running.is_empty() {
            format!("{} {verb} served as asked", targets.join(" and "))
        } else {
            running.join("; ")
        };
    }
    (outcome, Some((entry, record)))
}

/// Adds the offer of every version that a line refers to; a line without one serves nothing in its place.
fn add_offers(shard: &mut Shard, declared: &ResolvedApp<'_>, record: &AppRecord, previous: Option<&Shard>) {
    let Shard { offers, channels, .. } = shard;
    let mut offered = |version: &Version| {
        let known = previous.and_then(|s| s.offers.get(version));
        let offer = match (declared.releases.get(version), record.versions.get(version)) {
            (_, Some(binding)) if binding.is_lost() => None,
            (Some((release, _)), Some(binding)) => Some(offer(release, binding)),
            _ => known.cloned(),
        };
        let is_offered = offer.is_some();
        if let Some(offer) = offer {
            offers.insert(version.clone(), offer);
        }
        is_offered
    };
    for line in channels.iter_mut().flat_map(|c| &mut c.lines) {
        line.stable.take_if(|stable| matches!(stable, Target::Release(version) if !offered(version)));
        line.candidate.take_if(|candidate| !offered(&candidate.release));
        line.kept.retain(&mut offered);
        line.fallbacks.retain(&mut offered);
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

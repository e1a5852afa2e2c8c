//! Step six: what the engine says of itself. Status follows from the plan that was applied and from the last contact
//! with the repository; times move only when a condition flips.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use jiff::Timestamp;
use sluice_core::{
    diagnostic::{Code, Diagnostic, Severity},
    ids::AppId,
    inventory::{Located, Object},
    plan::{AppPlan, ChannelOutcome, Hindrance, Plan, ReleaseOutcome},
    status::{ChannelStatus, Condition, LineStatus, ReleaseStatus, RepositoryStatus, Status, rolled_out},
};

use crate::rollback::Shown;

/// What is known of the repository beside its content.
#[derive(Debug, Clone, Default)]
pub(crate) struct Contact {
    /// The commit that is served.
    pub(crate) applied: Option<String>,
    /// The commit last seen at the remote.
    pub(crate) observed: Option<String>,
    /// When the remote last answered.
    pub(crate) at: Option<Timestamp>,
    /// Why the commit that was seen, or the remote itself, is not followed: reason and sentence.
    pub(crate) trouble: Option<(String, String)>,
    /// The commit that is served does not follow from the one before.
    pub(crate) rewritten: Option<String>,
}

/// What stands beside the plan.
pub(crate) struct Report<'a> {
    pub(crate) name: &'a str,
    pub(crate) url: &'a str,
    pub(crate) contact: &'a Contact,
    pub(crate) generation: u64,
    /// What is in force: an object that lost its claim to another one has no outcome, and is reported all the same.
    pub(crate) objects: Vec<&'a Arc<Located>>,
    /// Problems of single files and of the whole commit.
    pub(crate) problems: Vec<Diagnostic>,
    /// How far Git is told of brakes.
    pub(crate) rollbacks: &'a Shown,
    pub(crate) now: Timestamp,
}

/// What was said last of each app: where its plan is the same, so is that.
#[derive(Debug, Default)]
pub(crate) struct Said {
    apps: BTreeMap<AppId, AppSaid>,
}

#[derive(Debug, Default)]
struct AppSaid {
    /// `None`: nothing is planned for it.
    plan: Option<Arc<AppPlan>>,
    /// Whether objects of it have no outcome.
    losers: bool,
    releases: Vec<Arc<ReleaseStatus>>,
    channels: Vec<Arc<ChannelStatus>>,
}

/// Objects without an outcome, each with the error that says why.
type Losers<'a> = BTreeMap<&'a AppId, Vec<(&'a Located, &'a Diagnostic)>>;

impl Report<'_> {
    /// The status after `plan` was applied. `before` and `said` give the times of what did not flip.
    pub(crate) fn status(self, plan: &Plan, before: &Status, said: &mut Said) -> Status {
        let of_plan = plan.problems();
        let all = self.problems.iter().chain(of_plan.iter().copied());
        let errors = all.filter(|p| p.severity == Severity::Error).count();
        let repository = self.repository(before, errors);
        let mut diagnostics = self.problems.clone();
        diagnostics.extend(of_plan.into_iter().cloned());
        diagnostics.sort();
        diagnostics.dedup();
        log_problems(before, &diagnostics);

        // What has no outcome has an error.
        let losers = if errors == 0 { Losers::new() } else { self.losers(plan, &diagnostics) };
        let mut last = std::mem::take(&mut said.apps);
        let apps: BTreeMap<&AppId, Option<&Arc<AppPlan>>> = losers
            .keys()
            .map(|app| (*app, None))
            .chain(plan.apps.iter().map(|(app, p)| (app, Some(p))))
            .collect();
        for (app, plan) in apps {
            let last = last.remove(app);
            let losers = losers.get(app).map_or(&[][..], Vec::as_slice);
            let is_same = |last: &AppSaid| {
                !last.losers
                    && losers.is_empty()
                    && last.plan.as_ref().zip(plan).is_some_and(|(a, b)| Arc::ptr_eq(a, b))
            };
            let now = match last {
                Some(last) if is_same(&last) => last,
                last => AppSaid::new(plan, losers, &last.unwrap_or_default(), self.now),
            };
            said.apps.insert(app.clone(), now);
        }
        Status {
            generation: self.generation,
            repositories: vec![repository],
            releases: said.apps.values().flat_map(|app| &app.releases).cloned().collect(),
            channels: said.apps.values().flat_map(|app| &app.channels).cloned().collect(),
            diagnostics,
            rollbacks: self.rollbacks.rollbacks.clone(),
        }
    }

    fn losers<'s>(&'s self, plan: &'s Plan, diagnostics: &'s [Diagnostic]) -> Losers<'s> {
        let apps = || plan.apps.values();
        let releases: HashSet<_> =
            apps().flat_map(|p| &p.releases).map(|o| (&o.id.0, o.name.as_str())).collect();
        let channels: HashSet<_> =
            apps().flat_map(|p| &p.channels).map(|o| (&o.app, o.name.as_str())).collect();
        let mut losers = Losers::new();
        for located in &self.objects {
            let id = (located.object.app(), located.object.name());
            let has_outcome = match located.object {
                Object::Release(_) => releases.contains(&id),
                Object::Channel(_) => channels.contains(&id),
            };
            if has_outcome {
                continue;
            }
            let next = self
                .objects
                .iter()
                .filter(|other| other.at.file == located.at.file && other.at > located.at)
                .map(|other| &other.at)
                .min();
            let within = |problem: &&Diagnostic| {
                problem.severity == Severity::Error
                    && problem.at.file == located.at.file
                    && problem.at >= located.at
                    && next.is_none_or(|next| problem.at < *next)
            };
            if let Some(problem) = diagnostics.iter().find(within) {
                losers.entry(located.object.app()).or_default().push((located, problem));
            }
        }
        losers
    }

    fn repository(&self, before: &Status, errors: usize) -> RepositoryStatus {
        let last = before.repositories.iter().find(|r| r.name == self.name);
        let (ready, reason, message) = match (&self.contact.trouble, &self.contact.applied) {
            (Some((reason, message)), _) => (false, reason.as_str(), message.clone()),
            (None, Some(_)) if self.contact.rewritten.is_some() => {
                (false, "HistoryRewritten", self.contact.rewritten.clone().unwrap_or_default())
            }
            (None, None) => (false, "Starting", "the repository was not read yet".to_owned()),
            (None, Some(commit)) if errors == 0 => {
                (true, "Applied", format!("commit {} is served", short(commit)))
            }
            (None, Some(commit)) => (
                true,
                "AppliedWithProblems",
                format!(
                    "commit {} is served, but for {errors} problem{} that the list shows",
                    short(commit),
                    if errors == 1 { "" } else { "s" }
                ),
            ),
        };
        let known = last.map_or(&[][..], |last| &last.conditions);
        let mut conditions = vec![condition("Ready", ready, reason, &message, known, self.now)];
        if let Some((ready, reason, message)) = &self.rollbacks.ready {
            conditions.push(condition("WriteBackReady", *ready, reason, message, known, self.now));
        }
        RepositoryStatus {
            name: self.name.to_owned(),
            url: self.url.to_owned(),
            applied_commit: self.contact.applied.clone(),
            observed_commit: self.contact.observed.clone(),
            last_contact: self.contact.at,
            conditions,
        }
    }
}

impl AppSaid {
    fn new(
        plan: Option<&Arc<AppPlan>>,
        losers: &[(&Located, &Diagnostic)],
        last: &Self,
        now: Timestamp,
    ) -> Self {
        let known: HashMap<&str, &[Condition]> =
            last.releases.iter().map(|known| (known.name.as_str(), known.conditions.as_slice())).collect();
        let before = |name: &str| known.get(name).copied().unwrap_or_default();
        let planned = plan.into_iter().flat_map(|plan| &plan.releases);
        let without = losers.iter().filter_map(|(located, problem)| match &located.object {
            Object::Release(release) => Some(ReleaseStatus {
                name: release.name.clone(),
                app: release.app.clone(),
                version: release.version.clone(),
                digest: None,
                size: None,
                conditions: lost(problem, before(&release.name), now),
            }),
            Object::Channel(_) => None,
        });
        let mut releases: Vec<_> = planned
            .map(|outcome| release(outcome, before(&outcome.name), now))
            .chain(without)
            .map(Arc::new)
            .collect();
        releases.sort_by(|a, b| (&b.version, &a.name).cmp(&(&a.version, &b.name)));

        let known: HashMap<&str, &Arc<ChannelStatus>> =
            last.channels.iter().map(|known| (known.name.as_str(), known)).collect();
        let before = |name: &str| known.get(name).map_or(&[][..], |known| &known.conditions);
        let planned = plan.into_iter().flat_map(|plan| &plan.channels);
        let without = losers.iter().filter_map(|(located, problem)| match &located.object {
            Object::Channel(channel) => Some(ChannelStatus {
                name: channel.name.clone(),
                app: channel.app.clone(),
                channel: channel.channel.clone(),
                lines: Vec::new(),
                conditions: of_channel(
                    &[],
                    lost(problem, before(&channel.name), now),
                    before(&channel.name),
                    now,
                ),
            }),
            Object::Release(_) => None,
        });
        let mut channels: Vec<_> = planned
            .map(|outcome| channel(outcome, before(&outcome.name), now))
            .chain(without)
            .map(Arc::new)
            .collect();
        channels.sort_by(|a, b| (&a.channel, &a.name).cmp(&(&b.channel, &b.name)));
        for channel in &channels {
            log_transition(known.get(channel.name.as_str()).copied(), channel);
        }
        Self { plan: plan.cloned(), losers: !losers.is_empty(), releases, channels }
    }
}

fn release(outcome: &ReleaseOutcome, before: &[Condition], now: Timestamp) -> ReleaseStatus {
    ReleaseStatus {
        name: outcome.name.clone(),
        app: outcome.id.0.clone(),
        version: outcome.id.1.clone(),
        digest: outcome.digest,
        size: outcome.size,
        conditions: conditions(outcome.hindrance.as_ref(), "Stored", &outcome.message, before, now),
    }
}

fn channel(outcome: &ChannelOutcome, before: &[Condition], now: Timestamp) -> ChannelStatus {
    let ready = conditions(outcome.hindrance.as_ref(), "Served", &outcome.message, before, now);
    ChannelStatus {
        name: outcome.name.clone(),
        app: outcome.app.clone(),
        channel: outcome.channel.clone(),
        lines: outcome.lines.clone(),
        conditions: of_channel(&outcome.lines, ready, before, now),
    }
}

/// The conditions of a channel: those that every object has, and how far its rollouts are.
fn of_channel(
    lines: &[LineStatus],
    mut conditions: Vec<Condition>,
    before: &[Condition],
    now: Timestamp,
) -> Vec<Condition> {
    let said = conditions.first().map_or("", |ready| ready.message.as_str());
    let (done, reason, message) = rolled_out(lines, said);
    conditions.push(condition("RolledOut", done, reason, &message, before, now));
    conditions
}

/// The conditions of an object that a problem kept from having an outcome.
fn lost(problem: &Diagnostic, before: &[Condition], now: Timestamp) -> Vec<Condition> {
    conditions(Some(&Hindrance::Problem(problem.code)), "", &problem.message, before, now)
}

fn short(commit: &str) -> &str {
    commit.get(..10).unwrap_or(commit)
}

/// `Ready`, and `Reconciling` or `Stalled` while they hold.
fn conditions(
    hindrance: Option<&Hindrance>,
    good: &str,
    message: &str,
    before: &[Condition],
    now: Timestamp,
) -> Vec<Condition> {
    let make = |kind: &str, status: bool, reason: &str| condition(kind, status, reason, message, before, now);
    match hindrance {
        None => vec![make("Ready", true, good)],
        Some(hindrance) => {
            let reason = hindrance.reason();
            let kind = match hindrance {
                Hindrance::Pending | Hindrance::Problem(Code::BundleUnavailable | Code::Unreadable) => {
                    "Reconciling"
                }
                Hindrance::Problem(_) | Hindrance::Suspended | Hindrance::Unreadable | Hindrance::Braked => {
                    "Stalled"
                }
            };
            vec![make("Ready", false, reason), make(kind, true, reason)]
        }
    }
}

fn condition(
    kind: &str,
    status: bool,
    reason: &str,
    message: &str,
    before: &[Condition],
    now: Timestamp,
) -> Condition {
    let last = before.iter().find(|c| c.r#type == kind && c.status == status);
    Condition {
        r#type: kind.to_owned(),
        status,
        reason: reason.to_owned(),
        message: message.to_owned(),
        last_transition_time: last.map_or(now, |c| c.last_transition_time),
    }
}

/// One line when something else is served, or when a channel became ready or stopped being so.
fn log_transition(before: Option<&Arc<ChannelStatus>>, channel: &ChannelStatus) {
    let is_same = |known: &ChannelStatus| {
        known.is_ready() == channel.is_ready()
            && known.lines.len() == channel.lines.len()
            && known.lines.iter().zip(&channel.lines).all(|(was, is)| was.is_same_state(is))
    };
    if !before.is_some_and(|known| is_same(known)) {
        let message = channel.conditions.first().map_or("", |c| c.message.as_str());
        tracing::info!(app = %channel.app, channel = %channel.channel, ready = channel.is_ready(), "{message}");
    }
}

/// One line for each problem that was not there before.
fn log_problems(before: &Status, diagnostics: &[Diagnostic]) {
    let known: HashSet<&Diagnostic> = before.diagnostics.iter().collect();
    for problem in diagnostics.iter().filter(|p| !known.contains(p)) {
        tracing::warn!(code = %problem.code, at = %problem.at, "{}", problem.message);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_move_only_when_a_condition_flips() {
        let first = conditions(None, "Served", "a", &[], Timestamp::UNIX_EPOCH);
        let later = Timestamp::from_second(60).unwrap();
        let same = conditions(None, "Served", "b", &first, later);
        assert_eq!(same[0].last_transition_time, Timestamp::UNIX_EPOCH);
        let flipped = conditions(Some(&Hindrance::Pending), "Served", "c", &same, later);
        assert_eq!(flipped[0].last_transition_time, later);
        assert_eq!(flipped[1].r#type, "Reconciling");
        assert!(!sluice_core::status::is_ready(&flipped));
    }
}

//! Step six: what the engine says of itself. Status follows from the plan that was applied and from the last contact
//! with the repository; times move only when a condition flips.

use std::collections::{BTreeMap, HashMap, HashSet};

use jiff::Timestamp;
use sluice_core::{
    diagnostic::{Code, Diagnostic, Severity},
    ids::AppId,
    inventory::{Located, Object},
    plan::{Hindrance, Plan},
    status::{ChannelStatus, Condition, ReleaseStatus, RepositoryStatus, Status},
};

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
    pub(crate) objects: Vec<&'a Located>,
    /// Problems of single files and of the whole commit.
    pub(crate) problems: Vec<Diagnostic>,
    pub(crate) now: Timestamp,
}

impl Report<'_> {
    /// The status after `plan` was applied. `before` gives the times of what did not flip.
    pub(crate) fn status(self, plan: &Plan, before: &Status) -> Status {
        let now = self.now;
        let errors =
            self.problems.iter().chain(&plan.problems).filter(|p| p.severity == Severity::Error).count();
        let repository = self.repository(before, errors);
        let mut diagnostics = self.problems.clone();
        diagnostics.extend(plan.problems.iter().cloned());
        diagnostics.sort();
        diagnostics.dedup();

        let last: HashMap<_, _> = before.releases.iter().map(|r| ((&r.app, r.name.as_str()), r)).collect();
        let times = |app: &AppId, name: &str| last.get(&(app, name)).map_or(&[][..], |l| &l.conditions);
        let mut releases: Vec<ReleaseStatus> = plan
            .releases
            .iter()
            .map(|outcome| ReleaseStatus {
                name: outcome.name.clone(),
                app: outcome.id.0.clone(),
                version: outcome.id.1.clone(),
                digest: outcome.digest,
                size: outcome.size,
                conditions: conditions(
                    outcome.hindrance.as_ref(),
                    "Stored",
                    &outcome.message,
                    times(&outcome.id.0, &outcome.name),
                    now,
                ),
            })
            .collect();
        let known: HashSet<_> = plan.releases.iter().map(|o| (&o.id.0, o.name.as_str())).collect();
        let losers =
            self.losers(&diagnostics, |app, name, is_release| !is_release || known.contains(&(app, name)));
        releases.extend(losers.filter_map(|(located, problem)| match &located.object {
            Object::Release(release) => Some(ReleaseStatus {
                name: release.name.clone(),
                app: release.app.clone(),
                version: release.version.clone(),
                digest: None,
                size: None,
                conditions: conditions(
                    Some(&Hindrance::Problem(problem.code)),
                    "",
                    &problem.message,
                    times(&release.app, &release.name),
                    now,
                ),
            }),
            Object::Channel(_) => None,
        }));
        releases.sort_by(|a, b| (&a.app, &b.version, &a.name).cmp(&(&b.app, &a.version, &b.name)));

        let last: HashMap<_, _> = before.channels.iter().map(|c| ((&c.app, c.name.as_str()), c)).collect();
        let times = |app: &AppId, name: &str| last.get(&(app, name)).map_or(&[][..], |l| &l.conditions);
        let mut channels: Vec<ChannelStatus> = plan
            .channels
            .iter()
            .map(|outcome| ChannelStatus {
                name: outcome.name.clone(),
                app: outcome.app.clone(),
                channel: outcome.channel.clone(),
                lines: outcome.lines.clone(),
                conditions: conditions(
                    outcome.hindrance.as_ref(),
                    "Served",
                    &outcome.message,
                    times(&outcome.app, &outcome.name),
                    now,
                ),
            })
            .collect();
        let known: HashSet<_> = plan.channels.iter().map(|o| (&o.app, o.name.as_str())).collect();
        let losers =
            self.losers(&diagnostics, |app, name, is_release| is_release || known.contains(&(app, name)));
        channels.extend(losers.filter_map(|(located, problem)| match &located.object {
            Object::Channel(channel) => Some(ChannelStatus {
                name: channel.name.clone(),
                app: channel.app.clone(),
                channel: channel.channel.clone(),
                lines: Vec::new(),
                conditions: conditions(
                    Some(&Hindrance::Problem(problem.code)),
                    "",
                    &problem.message,
                    times(&channel.app, &channel.name),
                    now,
                ),
            }),
            Object::Release(_) => None,
        }));
        channels.sort_by(|a, b| (&a.app, &a.channel, &a.name).cmp(&(&b.app, &b.channel, &b.name)));
        Status {
            generation: self.generation,
            repositories: vec![repository],
            releases,
            channels,
            diagnostics,
        }
    }

    /// Objects without an outcome, each with the error that says why.
    fn losers<'s>(
        &'s self,
        diagnostics: &'s [Diagnostic],
        has_outcome: impl Fn(&AppId, &str, bool) -> bool + 's,
    ) -> impl Iterator<Item = (&'s Located, &'s Diagnostic)> {
        self.objects.iter().copied().filter_map(move |located| {
            let is_release = matches!(located.object, Object::Release(_));
            if has_outcome(located.object.app(), located.object.name(), is_release) {
                return None;
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
            diagnostics.iter().find(within).map(|problem| (located, problem))
        })
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
        RepositoryStatus {
            name: self.name.to_owned(),
            url: self.url.to_owned(),
            applied_commit: self.contact.applied.clone(),
            observed_commit: self.contact.observed.clone(),
            last_contact: self.contact.at,
            conditions: vec![condition(
                "Ready",
                ready,
                reason,
                &message,
                last.map_or(&[], |l| &l.conditions),
                self.now,
            )],
        }
    }
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
                Hindrance::Problem(_) | Hindrance::Suspended | Hindrance::Unreadable => "Stalled",
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

/// One line for each thing that became ready or stopped being so.
pub(crate) fn log_transitions(before: &Status, after: &Status) {
    let last: BTreeMap<_, _> = before.channels.iter().map(|c| ((&c.app, &c.name), c)).collect();
    for channel in &after.channels {
        let known = last.get(&(&channel.app, &channel.name));
        if known.is_none_or(|k| k.lines != channel.lines || k.is_ready() != channel.is_ready()) {
            let message = channel.conditions.first().map_or("", |c| c.message.as_str());
            tracing::info!(app = %channel.app, channel = %channel.channel, ready = channel.is_ready(), "{message}");
        }
    }
    let known: HashSet<&Diagnostic> = before.diagnostics.iter().collect();
    for problem in after.diagnostics.iter().filter(|p| !known.contains(p)) {
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

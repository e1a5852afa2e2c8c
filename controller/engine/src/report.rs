//! Step six: what the engine says of itself. Status follows from the plan that was applied and from the last contact
//! with the repository; times move only when a condition flips.

use jiff::Timestamp;
use sluice_core::{
    diagnostic::{Code, Diagnostic, Severity},
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
        let mut releases: Vec<ReleaseStatus> = plan
            .releases
            .iter()
            .map(|outcome| {
                let last = before.releases.iter().find(|r| r.app == outcome.id.0 && r.name == outcome.name);
                ReleaseStatus {
                    name: outcome.name.clone(),
                    app: outcome.id.0.clone(),
                    version: outcome.id.1.clone(),
                    digest: outcome.digest,
                    size: outcome.size,
                    conditions: conditions(
                        outcome.hindrance.as_ref(),
                        "Stored",
                        &outcome.message,
                        last.map_or(&[], |l| &l.conditions),
                        now,
                    ),
                }
            })
            .collect();
        releases.sort_by(|a, b| (&a.app, &b.version).cmp(&(&b.app, &a.version)));
        let channels = plan
            .channels
            .iter()
            .map(|outcome| {
                let last = before.channels.iter().find(|c| c.app == outcome.app && c.name == outcome.name);
                ChannelStatus {
                    name: outcome.name.clone(),
                    app: outcome.app.clone(),
                    channel: outcome.channel.clone(),
                    lines: outcome.lines.clone(),
                    conditions: conditions(
                        outcome.hindrance.as_ref(),
                        "Served",
                        &outcome.message,
                        last.map_or(&[], |l| &l.conditions),
                        now,
                    ),
                }
            })
            .collect();
        let mut diagnostics = self.problems;
        diagnostics.extend(plan.problems.iter().cloned());
        diagnostics.sort();
        diagnostics.dedup();
        Status {
            generation: self.generation,
            repositories: vec![repository],
            releases,
            channels,
            diagnostics,
        }
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

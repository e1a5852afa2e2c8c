//! The status of a Repository, from what is known of it. Pure.

use jiff::Timestamp;
use sluice_core::{
    diagnostic::Severity,
    status::{Condition as Known, Status},
};
use sluice_crds::{
    RepositorySpec, RepositoryStatus,
    common::{Condition, ConditionStatus},
    repository::{AppliedRevision, DeletedChannel},
};

use crate::{follow::Trouble, notifier::Delivery, status};

/// Revisions that are remembered.
const HISTORY: usize = 10;
/// Problems that are told in full.
const PROBLEMS: usize = 3;
/// Longest text of one of them.
const PROBLEM: usize = 300;

/// What is to be said of a Repository.
#[derive(Debug, Clone)]
pub(crate) struct Said {
    conditions: Vec<Known>,
    applied: Option<String>,
    observed: Option<String>,
    contact: Option<Timestamp>,
    revision: Option<String>,
    handled: Option<String>,
    /// `None`: as it was.
    deleted: Option<Vec<DeletedChannel>>,
    /// Nothing is known of these: they stay as they are.
    keeps: bool,
}

impl Said {
    /// It is not followed because it says so.
    pub(crate) fn suspended() -> Self {
        let message = "nothing new is read while spec.suspend is set; what is served stays served";
        Self { keeps: true, ..Self::of(vec![known("Suspended", true, "Suspended", message)]) }
    }

    /// It cannot be followed.
    pub(crate) fn trouble(trouble: &Trouble) -> Self {
        let Trouble { reason, message, passes } = trouble;
        let kind = if *passes { "Reconciling" } else { "Stalled" };
        Self::of(vec![known("Ready", false, reason, message), known(kind, true, reason, message)])
    }

    /// What its engine says.
    pub(crate) fn engine(status: &Status, spec: &RepositorySpec, handled: Option<String>) -> Self {
        let Some(repository) = status.repositories.first() else { return Self::of(Vec::new()) };
        let mut conditions = repository.conditions.clone();
        if let Some(ready) = conditions.iter_mut().find(|c| c.r#type == "Ready") {
            let errors: Vec<_> =
                status.diagnostics.iter().filter(|d| d.severity == Severity::Error).collect();
            if ready.status && !errors.is_empty() {
                let told: Vec<String> = errors
                    .iter()
                    .take(PROBLEMS)
                    .map(|d| format!("{}: {}: {}", d.at, d.code, status::cut(&d.message, PROBLEM)))
                    .collect();
                let more = errors.len().saturating_sub(PROBLEMS);
                let rest = if more > 0 { format!("; and {more} more") } else { String::new() };
                ready.message = format!("{}. {}{rest}", ready.message, told.join("; "));
            }
            if !ready.status {
                // Every trouble of Git, the store and the API is tried again by itself.
                let reconciling = Known { r#type: "Reconciling".to_owned(), status: true, ..ready.clone() };
                conditions.push(reconciling);
            }
        }
        let reference = &spec.reference;
        let name = [&reference.branch, &reference.tag, &reference.semver].into_iter().flatten().next();
        let commit = repository.applied_commit.as_deref();
        Self {
            revision: commit.map(|commit| {
                let short = status::cut(commit, 12);
                name.map_or_else(|| short.clone(), |name| format!("{name}@{short}"))
            }),
            applied: repository.applied_commit.clone(),
            observed: repository.observed_commit.clone(),
            contact: repository.last_contact,
            handled,
            ..Self::of(conditions)
        }
    }

    /// With the channels that are served without their objects.
    pub(crate) fn with_deleted(self, deleted: Vec<DeletedChannel>) -> Self {
        Self { deleted: Some(deleted), ..self }
    }

    /// With how telling what was decided goes, where somebody is to be told.
    pub(crate) fn with_delivery(mut self, delivery: Option<&Delivery>) -> Self {
        let condition = match delivery {
            None => return self,
            Some(Delivery::Well) => known("Notified", true, "Delivered", "nothing waits to be told"),
            Some(Delivery::Fails { reason, message }) => known("Notified", false, reason, message),
        };
        self.conditions.push(condition);
        self
    }

    /// The reason of `Ready`.
    pub(crate) fn reason(&self) -> &str {
        self.conditions.iter().find(|c| c.r#type == "Ready").map_or("", |c| &c.reason)
    }

    fn of(conditions: Vec<Known>) -> Self {
        Self {
            conditions,
            applied: None,
            observed: None,
            contact: None,
            revision: None,
            handled: None,
            deleted: None,
            keeps: false,
        }
    }
}

fn known(kind: &str, holds: bool, reason: &str, message: &str) -> Known {
    Known {
        r#type: kind.to_owned(),
        status: holds,
        reason: reason.to_owned(),
        message: message.to_owned(),
        last_transition_time: Timestamp::now(),
    }
}

/// The status that says it, after `before`. The time of the last contact is written when something else is: a quiet
/// Repository is not written at all.
pub(crate) fn status(
    said: &Said,
    before: &RepositoryStatus,
    generation: i64,
    epoch: u64,
) -> RepositoryStatus {
    let mut conditions = status::conditions(&said.conditions, &before.conditions, generation);
    if said.keeps {
        let kept = before.conditions.iter().filter(|c| conditions.iter().all(|new| new.type_ != c.type_));
        let kept: Vec<Condition> =
            kept.cloned().map(|c| Condition { observed_generation: Some(generation), ..c }).collect();
        conditions.extend(kept);
        if conditions.iter().all(|c| c.type_ != "Ready") {
            let unknown = known("Ready", false, "Suspended", "it was suspended before it was ever read");
            let mut made = status::conditions(&[unknown], &[], generation);
            for condition in &mut made {
                condition.status = ConditionStatus::Unknown;
            }
            conditions.extend(made);
        }
    }
    let mut history = before.history.clone();
    if let Some(commit) = said.applied.as_ref().filter(|new| history.first().map(|h| &h.commit) != Some(new))
    {
        let time = said.contact.unwrap_or_else(Timestamp::now).to_string();
        history.insert(0, AppliedRevision { commit: commit.clone(), time });
        history.truncate(HISTORY);
    }
    let mut after = RepositoryStatus {
        observed_generation: generation,
        epoch: i64::try_from(epoch).ok(),
        conditions,
        revision: said.revision.clone().or_else(|| before.revision.clone()),
        applied_commit: said.applied.clone().or_else(|| before.applied_commit.clone()),
        observed_commit: said.observed.clone().or_else(|| before.observed_commit.clone()),
        history,
        deleted_channels: said.deleted.clone().unwrap_or_else(|| before.deleted_channels.clone()),
        last_contact_time: before.last_contact_time.clone(),
        last_handled_reconcile_at: said.handled.clone().or_else(|| before.last_handled_reconcile_at.clone()),
    };
    if status::patch(before, &after).is_some()
        && let Some(contact) = said.contact
    {
        after.last_contact_time = Some(contact.to_string());
    }
    after
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_core::status::RepositoryStatus as State;

    fn engine(commit: &str, contact: i64, ready: bool) -> Said {
        let status = Status {
            repositories: vec![State {
                name: "shop/releases".into(),
                url: "https://git.example.org/shop.git".into(),
                applied_commit: Some(commit.into()),
                observed_commit: Some(commit.into()),
                last_contact: Timestamp::from_second(contact).ok(),
                conditions: vec![known("Ready", ready, if ready { "Applied" } else { "Unreachable" }, "m")],
            }],
            ..Status::default()
        };
        let spec: RepositorySpec = serde_json::from_value(serde_json::json!({
            "url": "https://git.example.org/shop.git", "apps": ["a.b"], "write": { "mode": "Off" },
        }))
        .unwrap();
        Said::engine(&status, &spec, None)
    }

    #[test]
    fn a_quiet_repository_is_not_written() {
        let fresh = RepositoryStatus::default();
        let first = status(&engine("a", 100, true), &fresh, 1, 1);
        assert_eq!(first.revision.as_deref(), Some("main@a"));
        assert!(first.last_contact_time.is_some());
        let later = status(&engine("a", 200, true), &first, 1, 1);
        assert_eq!(status::patch(&first, &later), None);
    }

    #[test]
    fn the_last_revisions_are_remembered() {
        let mut before = RepositoryStatus::default();
        for n in 0..15 {
            before = status(&engine(&format!("c{n}"), n, true), &before, 1, 1);
        }
        assert_eq!(before.history.len(), HISTORY);
        assert_eq!(before.history[0].commit, "c14");
        let again = status(&engine("c14", 99, true), &before, 1, 1);
        assert_eq!(again.history, before.history);
    }

    #[test]
    fn an_outage_is_told_and_forgets_nothing() {
        let good = status(&engine("a", 100, true), &RepositoryStatus::default(), 1, 1);
        let away = status(&engine("a", 100, false), &good, 1, 1);
        assert_eq!(away.conditions[1].type_, "Reconciling");
        let trouble = Trouble { reason: "CredentialsMissing", message: "m".into(), passes: false };
        let stalled = status(&Said::trouble(&trouble), &away, 2, 1);
        assert_eq!(stalled.applied_commit.as_deref(), Some("a"));
        assert_eq!(stalled.conditions[1].type_, "Stalled");
        assert_eq!(stalled.observed_generation, 2);
        let suspended = status(&Said::suspended(), &good, 3, 1);
        assert!(suspended.conditions.iter().any(|c| c.type_ == "Ready" && c.status == ConditionStatus::True));
        assert!(suspended.conditions.iter().any(|c| c.type_ == "Suspended"));
    }
}

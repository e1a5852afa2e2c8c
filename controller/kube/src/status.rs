//! What is written into `status`: pure functions from what the engine says to what an object shall show.

use serde::Serialize;
use serde_json::{Map, Value};
use sluice_core::{
    channel::Target,
    plan::Hindrance,
    status::{self, ChannelStatus, ReleaseStatus},
};
use sluice_crds::{
    channel::{self, LineStatus},
    common::{Condition, ConditionStatus},
    release,
};

/// Characters of a digest that people see.
const SHORT: usize = 12;
/// Longest message of a condition.
const MESSAGE: usize = 1_024;

/// What an object shows beside its state.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stamp<'a> {
    /// Generation of the spec that was looked at.
    pub(crate) generation: i64,
    /// Term of the leader.
    pub(crate) epoch: u64,
    /// The request to reconcile that was handled.
    pub(crate) handled: Option<&'a str>,
}

/// The status of a Release that shows `before`.
pub(crate) fn release(
    state: &ReleaseStatus,
    before: &release::ReleaseStatus,
    stamp: Stamp<'_>,
) -> release::ReleaseStatus {
    let digest = state.digest.map(|digest| digest.to_string());
    release::ReleaseStatus {
        observed_generation: stamp.generation,
        epoch: i64::try_from(stamp.epoch).ok(),
        conditions: conditions(&state.conditions, &before.conditions, stamp.generation),
        bundle: digest.as_ref().map(|digest| short(digest)),
        digest,
        size: state.size.and_then(|size| i64::try_from(size).ok()),
        last_handled_reconcile_at: handled(stamp, before.last_handled_reconcile_at.as_deref()),
    }
}

/// The status of a Channel that shows `before`. `digest` says which bundle a served version is, `revision` which commit
/// is applied.
pub(crate) fn channel(
    state: &ChannelStatus,
    before: &channel::ChannelStatus,
    digest: impl Fn(&Target) -> Option<String>,
    revision: Option<&str>,
    stamp: Stamp<'_>,
) -> channel::ChannelStatus {
    let lines: Vec<LineStatus> = state
        .lines
        .iter()
        .map(|line| LineStatus {
            key: line.key.clone(),
            wanted: line.wanted.to_string(),
            served: line.served.as_ref().map(ToString::to_string),
            digest: line.served.as_ref().and_then(&digest),
        })
        .collect();
    let joined = |texts: Vec<Option<String>>| {
        let texts: Vec<String> = texts.into_iter().flatten().collect();
        (!texts.is_empty()).then(|| texts.join(","))
    };
    let conditions = conditions(&state.conditions, &before.conditions, stamp.generation);
    // The commit that brought what is served, not every commit since: those change nothing here.
    let revision = if lines == before.lines && before.revision.is_some() {
        before.revision.clone()
    } else {
        revision.map(str::to_owned)
    };
    channel::ChannelStatus {
        observed_generation: stamp.generation,
        epoch: i64::try_from(stamp.epoch).ok(),
        conditions,
        release: joined(lines.iter().map(|line| line.served.clone()).collect()),
        bundle: joined(lines.iter().map(|line| line.digest.as_deref().map(short)).collect()),
        rollout: joined(state.lines.iter().map(|line| Some(how_far(line))).collect()),
        health: None,
        revision,
        held: None,
        last_rollback_time: before.last_rollback_time.clone(),
        last_handled_reconcile_at: handled(stamp, before.last_handled_reconcile_at.as_deref()),
        lines,
    }
}

/// How far a line is, in one word.
fn how_far(line: &status::LineStatus) -> String {
    match &line.rollout {
        _ if line.is_done() => "100%".to_owned(),
        // Short, since it is a column of `kubectl get`.
        Some(progress) if progress.limited => format!("step {}", progress.step),
        Some(progress) => progress.percent(),
        None => "0%".to_owned(),
    }
}

/// The conditions of the engine in the form of the API. A time moves only when a condition flips, also over a restart.
pub(crate) fn conditions(
    state: &[status::Condition],
    before: &[Condition],
    generation: i64,
) -> Vec<Condition> {
    state
        .iter()
        .map(|c| {
            let time = c.last_transition_time.to_string();
            condition(&c.r#type, truth(c.status), &c.reason, &c.message, time, before, generation)
        })
        .collect()
}

fn condition(
    kind: &str,
    status: ConditionStatus,
    reason: &str,
    message: &str,
    now: String,
    before: &[Condition],
    generation: i64,
) -> Condition {
    let known = before.iter().find(|known| known.type_ == kind && known.status == status);
    Condition {
        type_: kind.to_owned(),
        status,
        reason: reason.to_owned(),
        message: cut(message, MESSAGE),
        last_transition_time: known.map_or(now, |known| known.last_transition_time.clone()),
        observed_generation: Some(generation),
    }
}

fn truth(value: bool) -> ConditionStatus {
    if value { ConditionStatus::True } else { ConditionStatus::False }
}

/// A request that was handled before stays shown when its annotation is gone.
fn handled(stamp: Stamp<'_>, before: Option<&str>) -> Option<String> {
    stamp.handled.or(before).map(|value| cut(value, 256))
}

fn short(digest: &str) -> String {
    digest.chars().take(SHORT).collect()
}

/// The first `most` bytes of a text, at a character's end.
pub(crate) fn cut(text: &str, most: usize) -> String {
    let mut end = text.len().min(most);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

/// A status of one of the kinds.
pub(crate) trait Status: Serialize + PartialEq + Clone {
    /// The leader's term in it.
    fn term(&self) -> Option<i64>;

    /// The same with another term.
    fn with_term(&self, term: Option<i64>) -> Self;
}

macro_rules! statuses {
    ($($name:ty)*) => { $(impl Status for $name {
        fn term(&self) -> Option<i64> { self.epoch }

        fn with_term(&self, term: Option<i64>) -> Self { Self { epoch: term, ..self.clone() } }
    })* };
}

statuses! { release::ReleaseStatus channel::ChannelStatus sluice_crds::RepositoryStatus }

/// A merge patch that makes `before` into `after`; `None` when only the leader's term differs.
pub(crate) fn patch<T: Status>(before: &T, after: &T) -> Option<Value> {
    // Thousands are compared for one that differs: that must not cost a serialisation each.
    if after.with_term(before.term()) == *before {
        return None;
    }
    let object = |status: &T| match serde_json::to_value(status) {
        Ok(Value::Object(object)) => object,
        _ => Map::new(),
    };
    let (before, after) = (object(before), object(after));
    let gone = before.keys().filter(|key| !after.contains_key(*key)).map(|key| (key.clone(), Value::Null));
    let changed = after.iter().filter(|(key, value)| before.get(*key) != Some(value));
    let patch: Map<String, Value> =
        gone.chain(changed.map(|(key, value)| (key.clone(), value.clone()))).collect();
    Some(serde_json::json!({ "status": patch }))
}

/// Whether a reason is only that something is not done yet.
pub(crate) fn is_waiting(reason: &str) -> bool {
    reason == Hindrance::Pending.reason()
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use sluice_core::status::LineStatus as Line;

    use super::*;

    fn state(ready: bool, at: i64) -> ChannelStatus {
        let target = |text: &str| Target::Release(text.parse().unwrap());
        let lines = vec![Line {
            key: "*".into(),
            wanted: target("1.1.0"),
            served: Some(target(if ready { "1.1.0" } else { "1.0.0" })),
            rollout: None,
        }];
        let condition = |kind: &str, status: bool, reason: &str, message: String| status::Condition {
            r#type: kind.into(),
            status,
            reason: reason.into(),
            message,
            last_transition_time: Timestamp::from_second(at).unwrap(),
        };
        let (done, reason, message) = status::rolled_out(&lines, "m");
        ChannelStatus {
            name: "c".into(),
            app: "com.example.shop".parse().unwrap(),
            channel: "production".parse().unwrap(),
            conditions: vec![
                condition("Ready", ready, if ready { "Served" } else { "BundlePending" }, "m".into()),
                condition("RolledOut", done, reason, message),
            ],
            lines,
        }
    }

    fn stamp(epoch: u64) -> Stamp<'static> {
        Stamp { generation: 3, epoch, handled: None }
    }

    #[test]
    fn a_restart_writes_nothing() {
        let digest = |_: &Target| Some("d".repeat(64));
        let fresh = channel::ChannelStatus::default();
        let first = channel(&state(true, 10), &fresh, digest, Some("aaaa"), stamp(1));
        assert!(patch(&fresh, &first).is_some());
        assert_eq!(first.bundle.as_deref(), Some("dddddddddddd"));
        // Another leader, which knows no times, and a commit that changed nothing here.
        let again = channel(&state(true, 99), &first, digest, Some("bbbb"), stamp(2));
        assert_eq!(patch(&first, &again), None);
        assert_eq!(again.revision.as_deref(), Some("aaaa"));
    }

    #[test]
    fn a_transition_is_written_with_the_term_of_its_writer() {
        let digest = |_: &Target| None;
        let first =
            channel(&state(true, 10), &channel::ChannelStatus::default(), digest, Some("aaaa"), stamp(1));
        let second = channel(&state(false, 20), &first, digest, Some("bbbb"), stamp(2));
        let patch = patch(&first, &second).unwrap();
        assert_eq!(patch["status"]["epoch"], 2);
        assert_eq!(patch["status"]["revision"], "bbbb");
        assert_eq!(second.conditions[0].last_transition_time, "1970-01-01T00:00:20Z");
        assert_eq!(second.conditions[1].reason, "Waiting");
        assert!(is_waiting("BundlePending") && !is_waiting("ReleaseNotFound"));
    }
}

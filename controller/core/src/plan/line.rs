//! One line of a channel: what its devices are offered next, and why not what was asked.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};

use super::{Hindrance, ReleaseState};
use crate::{
    channel::{Channel, Line, OnDecrease, Target},
    cohort::Cohort,
    diagnostic::Code,
    ids::Version,
    record::LineRecord,
    rollout::{Phase, Progress},
    snapshot::{CandidateEntry, ChannelEntry, Limits, LineEntry},
};

/// What the line served before: nothing of its own yet, so what the devices it takes over were served, when one earlier
/// line held all of them.
pub(super) fn inherit(line: &Line, previous: Option<&ChannelEntry>) -> LineRecord {
    let stable = previous
        .into_iter()
        .flat_map(|entry| &entry.lines)
        .find(|before| {
            before.platforms.covers(line.platforms)
                && match (&before.native, &line.native) {
                    (None, _) => true,
                    (Some(before), Some(now)) => before.covers(now),
                    (Some(_), None) => false,
                }
        })
        .and_then(|before| before.stable.clone());
    LineRecord { stable, ..LineRecord::default() }
}

/// What stands in the way of offering what the line wants.
pub(super) fn hindrance(target: &Target, states: &BTreeMap<Version, ReleaseState>) -> Option<Hindrance> {
    let Target::Release(version) = target else { return None };
    match states.get(version) {
        None => Some(Hindrance::Problem(Code::ReleaseNotFound)),
        Some(ReleaseState::Ready | ReleaseState::Unobserved) => None,
        Some(ReleaseState::Needed(_) | ReleaseState::Unknown) => Some(Hindrance::Pending),
        Some(ReleaseState::Failed(problem)) => Some(Hindrance::Problem(problem.code)),
        Some(ReleaseState::Unsupported) => Some(Hindrance::Problem(Code::SourceNotSupported)),
    }
}

/// What the state of a rollout hinders, if anything: what Git asks to wait for is served as asked.
pub(super) fn held_up(progress: &Progress, record: &LineRecord) -> Option<Hindrance> {
    match progress.phase {
        Phase::Braked => Some(Hindrance::Braked),
        Phase::Suspended if record.candidate.is_none() => Some(Hindrance::Suspended),
        _ => None,
    }
}

/// The random bytes of one line, from those of the plan.
pub(super) fn seed(seed: &[u8; 32], channel: &Channel, key: &str) -> [u8; 32] {
    let mut hash = Sha256::new().chain_update(seed);
    for part in [channel.app.as_str(), channel.channel.as_str(), key] {
        hash.update(part.len().to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

/// The line as it is served.
pub(super) fn entry(channel: &Channel, line: &Line, record: &LineRecord, open: bool) -> LineEntry {
    let candidate = record.candidate.as_ref().zip(record.salt).map(|(candidate, salt)| CandidateEntry {
        release: candidate.release.clone(),
        cohort: Cohort {
            salt,
            serial: record.serial,
            order: candidate.order,
            weight: candidate.weight,
            below: candidate.below,
        },
        level: candidate.level,
        started: candidate.started.as_second(),
        open,
        limits: Limits {
            audience: candidate.audience.clone(),
            reached: candidate.reached.clone(),
            returning: candidate.returning && channel.rollout.on_decrease == OnDecrease::Return,
        },
    });
    LineEntry {
        native: line.native.clone(),
        platforms: line.platforms,
        stable: record.stable.clone(),
        candidate,
        kept: record.kept.clone(),
        fallbacks: record.history.iter().map(|healthy| healthy.release.clone()).collect(),
        offers_per_minute: channel.rollout.offers_per_minute,
    }
}

/// The sentence that status shows.
pub(super) fn sentence(
    channel: &Channel,
    index: usize,
    line: &Line,
    served: Option<&Target>,
    hindrance: &Hindrance,
) -> String {
    let place = if channel.lines.len() > 1 { format!("line {}: ", index + 1) } else { String::new() };
    let kept = match served {
        Some(served) if *served == line.target => "it goes on being served".to_owned(),
        Some(served) => format!("{served} goes on being served"),
        None => "devices are answered that there is nothing new".to_owned(),
    };
    let why = match hindrance {
        Hindrance::Pending => format!("the bundle of {} is being made", line.target),
        Hindrance::Unreadable => "its file cannot be read".to_owned(),
        Hindrance::Suspended => format!("the channel is suspended, so nobody is moved to {}", line.target),
        Hindrance::Problem(Code::ReleaseNotFound) => format!("no Release declares version {}", line.target),
        Hindrance::Braked => format!("{} is braked", line.target),
        Hindrance::Problem(Code::VersionBurnt) => {
            format!("version {} was published before with other bytes", line.target)
        }
        Hindrance::Problem(code) => format!("release {} cannot be offered ({code})", line.target),
    };
    format!("{place}{why}; {kept}")
}

//! One line of a channel: what its devices are offered next, and why not what was asked.

use std::collections::BTreeMap;

use super::{Hindrance, ReleaseState};
use crate::{
    channel::{Channel, Line, Strategy, Target},
    diagnostic::Code,
    ids::Version,
    record::LineRecord,
    snapshot::ChannelEntry,
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

/// What the line serves now, and what stands in the way of what is wanted.
pub(super) fn next(
    channel: &Channel,
    line: &Line,
    stable: Option<Target>,
    states: &BTreeMap<Version, ReleaseState>,
) -> (Option<Target>, Option<Hindrance>) {
    let hindrance = match &line.target {
        Target::Builtin => None,
        Target::Release(version) => match states.get(version) {
            None => Some(Hindrance::Problem(Code::ReleaseNotFound)),
            Some(ReleaseState::Ready | ReleaseState::Unobserved) => None,
            Some(ReleaseState::Needed(_) | ReleaseState::Unknown) => Some(Hindrance::Pending),
            Some(ReleaseState::Failed(problem)) => Some(Hindrance::Problem(problem.code)),
            Some(ReleaseState::Unsupported) => Some(Hindrance::Problem(Code::SourceNotSupported)),
        },
    };
    if hindrance.is_some() || stable.as_ref() == Some(&line.target) {
        return (stable, hindrance);
    }
    if channel.suspend {
        return (stable, Some(Hindrance::Suspended));
    }
    if channel.rollout.strategy == Strategy::Steps {
        return (stable, Some(Hindrance::Problem(Code::RolloutNotSupported)));
    }
    (Some(line.target.clone()), None)
}

/// The sentence that status shows.
pub(super) fn sentence(
    channel: &Channel,
    index: usize,
    line: &Line,
    stable: Option<&Target>,
    hindrance: &Hindrance,
) -> String {
    let place = if channel.lines.len() > 1 { format!("line {}: ", index + 1) } else { String::new() };
    let kept = match stable {
        Some(stable) if *stable == line.target => "it goes on being served".to_owned(),
        Some(stable) => format!("{stable} goes on being served"),
        None => "devices are answered that there is nothing new".to_owned(),
    };
    let why = match hindrance {
        Hindrance::Pending => format!("the bundle of {} is being made", line.target),
        Hindrance::Unreadable => "its file cannot be read".to_owned(),
        Hindrance::Suspended => format!("the channel is suspended, so nobody is moved to {}", line.target),
        Hindrance::Problem(Code::ReleaseNotFound) => format!("no Release declares version {}", line.target),
        Hindrance::Problem(Code::RolloutNotSupported) => "rollouts in steps are not supported yet".to_owned(),
        Hindrance::Problem(Code::VersionBurnt) => {
            format!("version {} was published before with other bytes", line.target)
        }
        Hindrance::Problem(code) => format!("release {} cannot be offered ({code})", line.target),
    };
    format!("{place}{why}; {kept}")
}

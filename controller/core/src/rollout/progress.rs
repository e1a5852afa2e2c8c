//! How far a rollout is, in words and numbers that change only when something happens.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    cohort::{ALL, Ppm},
    ids::Version,
    rollout::Verdict,
};

/// What a rollout is doing or waiting for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Phase {
    /// Everybody is offered what Git asks for.
    Completed,
    /// The bundle is not ready to be offered.
    Preparing,
    /// It opens: more devices follow as the first ones do well.
    Progressing,
    /// The weight stays for as long as the step says.
    Soaking,
    /// Evidence is missing.
    Held,
    /// The store of what devices say is away.
    EvidenceUnavailable,
    /// A person must approve.
    WaitingForApproval,
    /// The window is closed.
    WaitingForWindow,
    /// The repository is frozen.
    Frozen,
    /// The channel names a later time.
    NotBefore,
    /// The channel is suspended.
    Suspended,
    /// Nobody new is offered it.
    Paused,
    /// It is braked.
    Braked,
}

impl Phase {
    /// The condition reason, in CamelCase.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Completed => "Completed",
            Self::Preparing => "Preparing",
            Self::Progressing => "Progressing",
            Self::Soaking => "Soaking",
            Self::Held => "Held",
            Self::EvidenceUnavailable => "EvidenceUnavailable",
            Self::WaitingForApproval => "WaitingForApproval",
            Self::WaitingForWindow => "WaitingForWindow",
            Self::Frozen => "Frozen",
            Self::NotBefore => "NotBefore",
            Self::Suspended => "Suspended",
            Self::Paused => "Paused",
            Self::Braked => "Braked",
        }
    }
}

/// How far a rollout is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// What it is doing or waiting for.
    pub phase: Phase,
    /// The same in a sentence for people.
    pub message: String,
    /// Since when, where that is recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// The release that is being rolled out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<Version>,
    /// What the gate says of the present weight, with its numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Box<Verdict>>,
    /// The present weight, in parts per million.
    pub weight: Ppm,
    /// Whether that is a share of the audience of its step, and not of the channel's.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub limited: bool,
    /// The step that it is in, from 1; 0 before it starts.
    pub step: u32,
    /// Steps before everybody.
    pub steps: u32,
    /// When time alone changes something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wake: Option<Timestamp>,
    /// What will happen, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub upcoming: Vec<Milestone>,
}

/// A weight that is to come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Milestone {
    /// The weight, in parts per million.
    pub weight: Ppm,
    /// Whether that is a share of the audience of a step, and not of the channel's.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub limited: bool,
    /// When at the earliest; `None` while that depends on more than time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
}

impl Milestone {
    /// The weight for people, such as `12.5%` or `12.5% of the audience of a step`.
    pub fn percent(&self) -> String {
        limited(self.weight, self.limited)
    }
}

impl Progress {
    /// A state that has neither weight nor steps.
    pub(super) const fn new(phase: Phase, message: String) -> Self {
        Self {
            phase,
            message,
            since: None,
            release: None,
            verdict: None,
            weight: 0,
            limited: false,
            step: 0,
            steps: 0,
            wake: None,
            upcoming: Vec::new(),
        }
    }

    /// Whether it says the same as another one but for the numbers of the verdict, which change all the time.
    pub fn is_same_state(&self, other: &Self) -> bool {
        let Self { phase, message, since, release, weight, limited, step, steps, .. } = self;
        (phase, message, since, release) == (&other.phase, &other.message, &other.since, &other.release)
            && (weight, limited, step, steps) == (&other.weight, &other.limited, &other.step, &other.steps)
    }

    /// The weight for people, such as `12.5%` or `12.5% of the audience of a step`.
    pub fn percent(&self) -> String {
        limited(self.weight, self.limited)
    }
}

fn limited(weight: Ppm, limited: bool) -> String {
    let of = if limited { " of the audience of a step" } else { "" };
    format!("{}{of}", percent(weight))
}

/// A weight for people, such as `12.5%`.
pub(super) fn percent(weight: Ppm) -> String {
    let one = ALL / 100;
    let fraction = format!("{:04}", weight % one);
    match fraction.trim_end_matches('0') {
        "" => format!("{}%", weight / one),
        fraction => format!("{}.{fraction}%", weight / one),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_for_people() {
        for (weight, text) in [(ALL, "100%"), (0, "0%"), (125_000, "12.5%"), (1, "0.0001%"), (20, "0.002%")] {
            assert_eq!(percent(weight), text);
        }
    }
}

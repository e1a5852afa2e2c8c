//! What is said of a step that has not lasted long enough, or that evidence is missing for.

use jiff::Timestamp;

use super::progressing::share;
use crate::{
    cohort::ALL,
    record::Candidate,
    rollout::{progress::percent, steps::Planned},
};

/// A step while it soaks, `until` then at least. `next`: the step that follows.
pub(super) fn soaking(
    candidate: &Candidate,
    until: Option<Timestamp>,
    step: Option<&Planned>,
    next: Option<&Planned>,
    approved: bool,
) -> String {
    let Candidate { release, .. } = candidate;
    let until = until.map_or_else(String::new, |until| format!(" until {until} at least"));
    let then = match step {
        Some(step) if approved => format!(
            "; step {} is approved: it goes to {} after that, as evidence allows",
            step.number,
            following(next)
        ),
        Some(step) if step.approval => format!("; after that a person approves step {} in Git", step.number),
        _ => String::new(),
    };
    format!("{release} stays at {}{until}{then}", share(candidate))
}

/// The weight that comes next.
fn following(next: Option<&Planned>) -> String {
    match next {
        None => percent(ALL),
        Some(Planned { weight, audience: None, .. }) => percent(*weight),
        Some(Planned { weight, audience: Some(_), .. }) => format!("{} of its audience", percent(*weight)),
    }
}

/// What becomes of a step that evidence is missing for.
pub(super) enum Then {
    /// Nothing: the gate says that the release is bad, and the channel wants only to be told.
    Told,
    /// A person may decide now.
    Decide,
    /// It is waited for.
    Wait,
    /// A person has decided, which counts from that time on.
    Approved(Option<Timestamp>),
    /// Nobody can be compared with, because the channel served nothing before. `approval`: whether a person may let it go on,
    /// `from` that time on if not yet.
    First { approval: bool, from: Option<Timestamp> },
}

impl Then {
    /// The end of the sentence. `number`: that of the step.
    pub(super) fn sentence(&self, number: u32) -> String {
        match self {
            Self::Told => "; the channel asks to be told only".to_owned(),
            Self::Decide => format!(
                "; a person decides: approve step {number} in Git to go on, or ask for another release"
            ),
            Self::Wait => String::new(),
            Self::Approved(from) => {
                let from = from.map_or_else(String::new, |from| format!(" at {from}"));
                format!("; step {number} is approved, so it goes on{from} also without more evidence")
            }
            Self::First { approval, from } => {
                let from = from.map_or_else(String::new, |from| format!(", which counts from {from} on"));
                let or = if *approval { format!(", or approve step {number}{from}") } else { String::new() };
                format!(
                    ", since it is the first release of this channel and evidence weighs only from devices that the server \
                     knew before: set `rollout.strategy: Immediate` to give it to everybody{or}"
                )
            }
        }
    }
}

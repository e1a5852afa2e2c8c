//! The rollout engine: how far each line's release has come, what it waits for, and what comes next.
//!
//! Pure: time, randomness and evidence are arguments. [`next`] makes one line's record into the next one, and calling it
//! again with the same facts changes nothing. The weights that were in force are facts of the record; the steps of a
//! channel only say what comes next, so that they may be edited at any time.

mod forecast;
mod next;
mod progress;
mod schedule;
mod steps;

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
pub use next::next;
pub use progress::{Milestone, Phase, Progress};
pub use schedule::{Blocked, InvalidWindow, Schedule};
use serde::{Deserialize, Serialize};
pub use steps::{Planned, opening, plan};

use crate::{
    channel::{Freeze, Target},
    digest::Digest,
    gate::{ArmNumbers, Decision},
    ids::Version,
    observed::Braked,
    record::{Binding, LineRecord},
};

/// Everything that the next state of a line follows from, beside its channel and its record.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The time. One before what is recorded counts as that.
    pub now: Timestamp,
    /// Random bytes of this line: its salt, if it has none.
    pub seed: [u8; 32],
    /// Devices that were active in the last seven days.
    pub active: u64,
    /// Whether the fleet store is away.
    pub fleet_away: bool,
    /// What the gate says of the line's newest rollout.
    pub verdict: Option<&'a Verdict>,
    /// Times in which no rollout goes on.
    pub freezes: &'a [Freeze],
    /// Brakes on bundles of the app.
    pub brakes: &'a [Braked],
    /// Whether the wanted release can be offered.
    pub ready: bool,
    /// The bundles of the app's versions.
    pub bundles: &'a BTreeMap<Version, Arc<Binding>>,
}

/// What the gate says of a rollout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// Number of the rollout in its line.
    pub serial: u64,
    /// The level that was looked at: evidence that one weight is good enough says nothing of the next.
    pub level: u32,
    /// What to do.
    pub decision: Decision,
    /// CamelCase, for machines.
    pub reason: String,
    /// A sentence for people.
    pub sentence: String,
    /// Devices of the candidate's arm, over all levels.
    pub treatment: ArmNumbers,
    /// Devices of the other arm, over all levels.
    pub control: ArmNumbers,
}

/// The next state of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Next {
    /// Its record.
    pub record: LineRecord,
    /// What is offered to devices that the candidate does not reach. A braked release is offered to nobody.
    pub served: Option<Target>,
    /// Whether the candidate is offered to devices that do not run it.
    pub open: bool,
    /// What it waits for.
    pub progress: Progress,
    /// A brake that must be written.
    pub brake: Option<BrakeRequest>,
}

/// A brake that follows from evidence or from the lack of it. It is asked for until it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrakeRequest {
    /// The bundle.
    pub digest: Digest,
    /// CamelCase, for machines.
    pub reason: String,
    /// A sentence for people.
    pub sentence: String,
}

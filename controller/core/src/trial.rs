//! A rollout as a randomised trial: who takes part, and what became of them.
//!
//! The unit is (device, rollout, level). The fleet store notes who enrols, gives each enrolment that weighs its place in
//! its level, and appends what becomes of it to a journal; the gate folds the journal. So a verdict follows from the
//! journal alone, and reading it again gives the same one. No device is named in it.

use serde::{Deserialize, Serialize};

use crate::{
    channel::Platform,
    ids::{AppId, ChannelName},
};

/// One rollout of one line.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RolloutId {
    /// The app.
    pub app: AppId,
    /// The channel.
    pub channel: ChannelName,
    /// [`crate::channel::Line::key`].
    pub line: String,
    /// Number of the rollout in its line, from 1.
    pub serial: u64,
}

/// Which side of the trial a device is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Arm {
    /// In the slice that the level added: it is offered the candidate.
    Treatment,
    /// Eligible, and outside the cohort.
    Control,
}

/// The part of a trial that a device was found to be in when it asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Membership {
    /// Number of the rollout in its line.
    pub serial: u64,
    /// Level of the rollout, from 0: every weight that was in force is one.
    pub level: u32,
    /// The arm.
    pub arm: Arm,
}

/// What a failure is about (`evidence-gate` section 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Metric {
    /// A crash, a hang or a fatal script error within the horizon, in either arm.
    Health,
    /// No contact for longer than the device ever leaves between sessions, in either arm.
    Silence,
    /// The candidate did not start, or was left at once. Treatment only.
    Launch,
    /// The candidate could not be downloaded, verified or unpacked. Treatment only.
    Install,
}

/// Why an enrolment weighs nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Discount {
    /// First seen after the rollout began: whoever forges reports makes new ids.
    New,
    /// An emulator or a development build.
    NotProduction,
    /// Too many young ids of one network prefix.
    Crowd,
}

/// What a device is, as far as a finding may concern a part of the fleet only.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Traits {
    /// The platform.
    pub platform: Platform,
    /// First number of the version of the operating system; 0 when it is unknown.
    pub os: u32,
    /// Native version of the app, as sent.
    pub native: String,
}

/// One entry of the journal of a rollout. Times are seconds since 1970 of the server's clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Entry {
    /// A device enrolled. The `n`-th of a level has ordinal `n - 1`.
    Enrolled {
        /// The level.
        level: u32,
        /// The arm.
        arm: Arm,
        /// What the device is.
        traits: Traits,
        /// When.
        at: i64,
    },
    /// A device enrolled that weighs nothing; it gets no ordinal.
    Discounted {
        /// The level.
        level: u32,
        /// The arm.
        arm: Arm,
        /// Why.
        why: Discount,
    },
    /// The first failure of this kind of an enrolled device.
    Failed {
        /// The level.
        level: u32,
        /// Place of the enrolment in its level, from 0.
        ordinal: u32,
        /// What failed.
        metric: Metric,
        /// When.
        at: i64,
    },
    /// An enrolled device of the treatment arm runs the candidate.
    Launched {
        /// The level.
        level: u32,
        /// Place of the enrolment in its level, from 0.
        ordinal: u32,
        /// When.
        at: i64,
    },
    /// An enrolment ended: the device enrolled in a later level, or asked to be forgotten. What was noted of it before
    /// counts, and it is at risk no more.
    Left {
        /// The level.
        level: u32,
        /// Place of the enrolment in its level, from 0.
        ordinal: u32,
    },
}

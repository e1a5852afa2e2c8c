//! What follows from evidence against a release.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::common::{DURATION, PERCENT};

/// What follows from evidence against a release.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Gate {
    /// When the evidence is bad. `Rollback`: brake, and revert in Git. `Brake`: stop offering it. `Notify`: only say so.
    #[serde(default)]
    pub on_bad: OnBad,
    /// When the evidence stays inconclusive until `rollout.maxHold` has passed.
    #[serde(default)]
    pub on_inconclusive: OnInconclusive,
    /// What happens to devices that run a braked release.
    #[serde(default)]
    pub devices: Devices,
    /// The chance that a healthy release is stopped; 1 % when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 8), regex(pattern = PERCENT))]
    pub alpha: Option<String>,
    /// Time after a device joined the trial in which its failures count; `30m` when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 32), regex(pattern = DURATION))]
    pub horizon: Option<String>,
    /// Devices on the new release that must have passed the horizon; 50 when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub min_exposure: Option<i64>,
    /// How many more of a hundred devices may fail than on the release before, for example `2%`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 8), regex(pattern = PERCENT))]
    pub margin: Option<String>,
}

/// What follows from bad evidence.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnBad {
    /// Brake, and revert in Git.
    #[default]
    Rollback,
    /// Stop offering it.
    Brake,
    /// Only say so.
    Notify,
}

/// What follows from evidence that stays inconclusive.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnInconclusive {
    /// Wait for a person.
    #[default]
    Hold,
    /// Go on.
    Advance,
    /// Treat it as bad.
    Rollback,
}

/// What happens to devices that run a braked release.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Devices {
    /// They are returned to the last good release.
    #[default]
    Return,
    /// They keep what they run.
    Keep,
}

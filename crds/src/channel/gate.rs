//! What follows from evidence against a release.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What follows from evidence against a release.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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

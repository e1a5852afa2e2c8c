//! What follows from evidence about a release, and how much of it is needed.

use serde::{Deserialize, Serialize};

use crate::{brake::Devices, cohort::Ppm};

/// What follows from evidence about a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Gate {
    /// When the evidence is bad.
    #[serde(default)]
    pub on_bad: OnBad,
    /// When the evidence stays inconclusive.
    #[serde(default)]
    pub on_inconclusive: OnInconclusive,
    /// What happens to devices that run a braked release.
    #[serde(default)]
    pub devices: Devices,
    /// How sure it must be.
    #[serde(default, skip_serializing_if = "Statistics::is_empty")]
    pub statistics: Statistics,
}

/// What follows from bad evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum OnBad {
    /// Brake, and revert in Git.
    #[default]
    Rollback,
    /// Brake.
    Brake,
    /// Say so, and go no further.
    Notify,
}

/// What follows from evidence that stays inconclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum OnInconclusive {
    /// Wait for a person.
    #[default]
    Hold,
    /// Go on.
    Advance,
    /// Treat it as bad.
    Rollback,
}

/// How sure the gate must be (`evidence-gate` section 3). What is left out is the gate's own default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Statistics {
    /// The chance, in parts per million, that a healthy release is stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alpha: Option<Ppm>,
    /// Seconds after its enrolment in which a device's failures count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub horizon: Option<u64>,
    /// Devices on the candidate that must have passed the horizon.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_exposure: Option<u64>,
    /// How much more often than the control it may fail, in parts per million of the devices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub margin: Option<Ppm>,
}

impl Statistics {
    /// Whether every value is the gate's own.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

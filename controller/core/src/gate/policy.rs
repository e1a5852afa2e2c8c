//! What the gate is told: what a channel wants, what its earlier rollouts were like, and the moment of a look.

use serde::{Deserialize, Serialize};

use super::segments::Segment;

/// What a channel demands of a rollout.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Policy {
    /// Chance that a rollout which is no worse than the control is ever stopped by one of the tests.
    pub alpha: f64,
    /// How long a device must have been enrolled to weigh in a proof, in seconds. At most the soak.
    pub horizon: i64,
    /// Treatment devices past the horizon that a step must have had.
    pub min_exposure: u32,
    /// How much more often treatment may fail, up to [`Policy::wide`].
    pub early_margin: f64,
    /// The same above it.
    pub late_margin: f64,
    /// Weight up to which the early margin holds, in parts per million.
    pub wide: u32,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            alpha: 0.01,
            horizon: 30 * 60,
            min_exposure: 50,
            early_margin: 0.05,
            late_margin: 0.02,
            wide: 100_000,
        }
    }
}

impl Policy {
    /// The margin at a weight: fewer devices are at stake, and can be had, at a small one.
    pub const fn margin(&self, weight_ppm: u32) -> f64 {
        if weight_ppm <= self.wide { self.early_margin } else { self.late_margin }
    }
}

/// Failure rates of a channel over its earlier rollouts; `None` where nothing is known.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Records {
    /// Of the control arm, in its health.
    pub health: Option<f64>,
    /// At launch.
    pub launch: Option<f64>,
    /// At installation.
    pub install: Option<f64>,
}

/// What is settled when a rollout begins: evidence is folded by it. Whoever changes it folds the journal anew.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Design {
    /// [`Policy::horizon`].
    pub horizon: i64,
    /// Rate of failures at launch that is not held against a bundle.
    pub launch_limit: f64,
    /// The same at installation.
    pub install_limit: f64,
    /// [`Records::health`].
    pub health_record: Option<f64>,
}

impl Design {
    /// The limits are 5 %, or twice the record if that is more.
    pub fn new(policy: &Policy, records: &Records) -> Self {
        let rate = |record: Option<f64>| record.filter(|rate| (0.0..=1.0).contains(rate));
        let limit = |record| rate(record).map_or(0.05, |rate| (2.0 * rate).clamp(0.05, 1.0));
        Self {
            horizon: policy.horizon.max(0),
            launch_limit: limit(records.launch),
            install_limit: limit(records.install),
            health_record: rate(records.health),
        }
    }
}

/// The share of the enrolments of a level that must be treatment: its slice, over its slice and everything outside the
/// cohort.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Share {
    /// The level.
    pub level: u32,
    /// The share, in (0, 1).
    pub treatment: f64,
}

/// One look at the evidence.
#[derive(Debug, Clone, PartialEq)]
pub struct Look<'a> {
    /// Seconds since 1970. A clock that is behind the journal changes nothing.
    pub now: i64,
    /// First level of the running step: the opening ramp has several.
    pub first_level: u32,
    /// The weight in force, in parts per million.
    pub weight_ppm: u32,
    /// When it came into force.
    pub began: i64,
    /// Whether the soak has passed.
    pub soaked: bool,
    /// Whether evidence can arrive and be read: the fleet store is healthy.
    pub available: bool,
    /// Whether the weight is 100 %: no control is left.
    pub last: bool,
    /// Expected shares. A level without one is not tested for its ratio.
    pub shares: &'a [Share],
    /// Segments that are paused already.
    pub paused: &'a [Segment],
}

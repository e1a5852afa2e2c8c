//! What will happen when, if nothing but time stands in the way.

use jiff::{SignedDuration, Timestamp};

use super::{Milestone, Planned, Schedule};
use crate::cohort::{ALL, Ppm};

/// The weights that follow `weight` in the steps from `index` on, up to everybody. `ready`: when the first of them has
/// soaked and waited enough; `None` when that depends on more than time. A step that a person must approve ends what
/// can be told.
pub(super) fn upcoming(
    steps: &[Planned],
    index: usize,
    weight: Ppm,
    ready: Option<Timestamp>,
    schedule: &Schedule<'_>,
) -> Vec<Milestone> {
    let mut at = ready.and_then(|ready| schedule.next_open(ready));
    let mut milestones = Vec::new();
    for step in steps.iter().skip(index) {
        if step.audience.is_some() || step.weight != weight || !milestones.is_empty() {
            milestones.push(Milestone { weight: step.weight, limited: step.audience.is_some(), at });
        }
        let soaked = at.filter(|_| !step.approval).and_then(|at| after(at, step.soak));
        at = soaked.and_then(|soaked| schedule.next_open(soaked));
    }
    milestones.push(Milestone { weight: ALL, limited: false, at });
    milestones
}

/// So many seconds later.
pub(super) fn after(at: Timestamp, seconds: u64) -> Option<Timestamp> {
    at.checked_add(SignedDuration::from_secs(i64::try_from(seconds).ok()?)).ok()
}

/// Whole seconds from one time to a later one; 0 when it is not later.
pub(super) fn seconds(from: Timestamp, to: Timestamp) -> u64 {
    u64::try_from(to.duration_since(from).as_secs()).unwrap_or(0)
}

//! How far this replica's clock is from the leader's. The election compares no clocks, so a difference does no harm to it; it
//! is told because times in status, logs and Events are then wrong somewhere, and because certificates and tokens of other
//! systems do depend on clocks.

use std::sync::Mutex;

use jiff::{SignedDuration, Timestamp};

use crate::cache::lock;

/// A difference that is told. Less than this can come from a slow API server: a renewal is seen up to half a second after it
/// was written, and written some time after its clock was read.
const TOLD: SignedDuration = SignedDuration::from_secs(5);

/// The last difference that was seen.
#[derive(Debug, Default)]
pub(crate) struct Skew(Mutex<Option<SignedDuration>>);

impl Skew {
    /// Notes that a renewal of `holder` was seen to appear: what its clock said, and what the own one says now.
    pub(crate) fn saw(&self, holder: &str, renewed: Timestamp, now: Timestamp) {
        let skew = now.duration_since(renewed);
        let was = lock(&self.0).replace(skew).is_some_and(is_told);
        let seconds = skew.as_secs_f64();
        match (was, is_told(skew)) {
            (false, true) => tracing::warn!(
                reason = "ClockSkew",
                seconds,
                holder,
                "the clock of this replica and the leader's differ; one of the nodes does not keep time"
            ),
            (true, false) => {
                tracing::info!(seconds, holder, "the clocks of this replica and the leader agree");
            }
            _ => {}
        }
    }

    /// Forgets it: this replica leads, and sees nobody else's clock.
    pub(crate) fn forget(&self) {
        lock(&self.0).take();
    }

    /// Seconds by which the own clock is ahead of the leader's.
    pub(crate) fn seconds(&self) -> Option<f64> {
        lock(&self.0).map(|skew| skew.as_secs_f64())
    }
}

fn is_told(skew: SignedDuration) -> bool {
    skew.abs() >= TOLD
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_has_a_sign_and_is_forgotten_by_the_leader() {
        let skew = Skew::default();
        assert_eq!(skew.seconds(), None);
        let at = |second| Timestamp::from_second(second).unwrap();
        for (renewed, now, seconds, told) in [
            (1_000, 1_001, 1.0, false),
            (1_000, 1_600, 600.0, true),
            (1_600, 1_000, -600.0, true),
            (1_000, 1_005, 5.0, true),
        ] {
            skew.saw("a", at(renewed), at(now));
            assert_eq!(skew.seconds(), Some(seconds));
            assert_eq!(is_told(SignedDuration::from_secs(now - renewed)), told);
        }
        skew.forget();
        assert_eq!(skew.seconds(), None);
    }
}

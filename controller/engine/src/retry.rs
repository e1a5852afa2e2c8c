//! When a bundle that could not be made is tried again.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use sluice_core::observed::ReleaseId;

/// Pause after the first failure; doubled each time up to [`LONGEST`].
const SHORTEST: Duration = Duration::from_secs(5);
/// Longest pause.
const LONGEST: Duration = Duration::from_mins(15);

/// Failures that may pass by themselves, and when each is tried again.
#[derive(Debug, Default)]
pub(crate) struct Retries(BTreeMap<ReleaseId, (u32, Instant)>);

impl Retries {
    /// Notes a failure at `now`.
    pub(crate) fn failed(&mut self, id: ReleaseId, now: Instant) {
        let (attempts, due) = self.0.entry(id).or_insert((0, now));
        let pause = SHORTEST.saturating_mul(1 << (*attempts).min(16)).min(LONGEST);
        *attempts += 1;
        *due = now + pause;
    }

    /// Notes a success, or a failure that only a change mends.
    pub(crate) fn settled(&mut self, id: &ReleaseId) {
        self.0.remove(id);
    }

    /// What is due at `now`. A release stays known, so that its next pause is longer.
    pub(crate) fn due(&self, now: Instant) -> Vec<ReleaseId> {
        self.0.iter().filter(|(_, (_, due))| *due <= now).map(|(id, _)| id.clone()).collect()
    }

    /// When the next one is due.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.0.values().map(|(_, due)| *due).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_limit() {
        let mut retries = Retries::default();
        let id: ReleaseId = ("com.example.shop".parse().unwrap(), "1.0.0".parse().unwrap());
        let start = Instant::now();
        retries.failed(id.clone(), start);
        assert!(retries.due(start).is_empty());
        assert_eq!(retries.due(start + SHORTEST), std::slice::from_ref(&id));
        retries.failed(id.clone(), start);
        assert_eq!(retries.next(), Some(start + 2 * SHORTEST));
        for _ in 0..40 {
            retries.failed(id.clone(), start);
        }
        assert_eq!(retries.next(), Some(start + LONGEST));
        retries.settled(&id);
        assert_eq!(retries.next(), None);
    }
}

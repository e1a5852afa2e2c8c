//! Notices two writers that undo each other's work, so that this program is not one of them for ever.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use sluice_core::inventory::ObjectKey;

/// Corrections of one object within [`WINDOW`] that are drift; more are a fight.
const MOST: u32 = 5;
/// See [`MOST`].
const WINDOW: Duration = Duration::from_mins(1);
/// How long a fight is left alone at first; doubled each time up to [`LONGEST`].
const PAUSE: Duration = Duration::from_secs(30);
/// See [`PAUSE`].
const LONGEST: Duration = Duration::from_mins(15);

/// The corrections of each object.
#[derive(Debug, Default)]
pub(crate) struct Fights(HashMap<ObjectKey, Corrections>);

#[derive(Debug)]
struct Corrections {
    since: Instant,
    count: u32,
    paused: u32,
    until: Option<Instant>,
}

impl Fights {
    /// Until when an object is left alone.
    pub(crate) fn truce(&self, key: &ObjectKey, now: Instant) -> Option<Instant> {
        self.0.get(key).and_then(|corrections| corrections.until).filter(|until| *until > now)
    }

    /// Notes that somebody's change was put right. Says until when the object is left alone from now on, if this was
    /// once too often.
    pub(crate) fn corrected(&mut self, key: &ObjectKey, now: Instant) -> Option<Instant> {
        let fresh = Corrections { since: now, count: 0, paused: 0, until: None };
        let corrections = self.0.entry(key.clone()).or_insert(fresh);
        let quiet = corrections.until.unwrap_or(corrections.since) + WINDOW;
        if now > quiet {
            *corrections = Corrections { since: now, count: 0, paused: 0, until: None };
        }
        corrections.count += 1;
        if corrections.count <= MOST {
            return None;
        }
        let pause = PAUSE.saturating_mul(1 << corrections.paused.min(16)).min(LONGEST);
        corrections.paused += 1;
        corrections.until = Some(now + pause);
        corrections.until
    }
}

#[cfg(test)]
mod tests {
    use sluice_core::inventory::Kind;

    use super::*;

    #[test]
    fn drift_is_corrected_and_a_fight_is_left() {
        let mut fights = Fights::default();
        let key = ObjectKey { kind: Kind::Channel, name: "c".into() };
        let mut now = Instant::now();
        for _ in 0..MOST {
            assert_eq!(fights.corrected(&key, now), None);
            now += Duration::from_secs(1);
        }
        let first = fights.corrected(&key, now).unwrap();
        assert_eq!(first, now + PAUSE);
        assert_eq!(fights.truce(&key, now), Some(first));
        // Goes on as soon as the truce is over: a longer one.
        let second = fights.corrected(&key, first).unwrap();
        assert_eq!(second, first + 2 * PAUSE);
        // Nobody interferes for a while: what comes then is drift again.
        assert_eq!(fights.corrected(&key, second + 2 * WINDOW), None);
        assert_eq!(fights.truce(&key, second + 2 * WINDOW), None);
    }
}

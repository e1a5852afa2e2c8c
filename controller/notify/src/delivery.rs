//! How telling goes, for people.

use jiff::Timestamp;

/// How telling goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Since when that is so: something waits, or nothing does.
    pub since: Timestamp,
    /// Why something waits; nothing while all is well.
    pub trouble: Option<Waits>,
    /// What was left out last, because the other side will never take it.
    pub left_out: Option<LeftOut>,
}

/// Something waits to be told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct Waits {
    /// What went wrong the last time, without the address: its path may be a secret.
    pub why: String,
    /// Decisions that wait, at least; 0 where that is not known.
    pub decisions: u64,
}

/// Something was left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// When.
    pub at: Timestamp,
    /// What the other side said.
    pub why: String,
}

impl Delivery {
    /// Nothing waits, since `now`.
    pub(crate) const fn well(now: Timestamp) -> Self {
        Self { since: now, trouble: None, left_out: None }
    }

    /// Notes how the last attempt ended. Says whether that is anything new.
    pub(crate) fn ended(&mut self, trouble: Option<Waits>, now: Timestamp) -> bool {
        if self.trouble.is_some() != trouble.is_some() {
            self.since = now;
        }
        let changed = self.trouble != trouble;
        self.trouble = trouble;
        changed
    }
}

impl Waits {
    /// What cannot be told for a reason that says nothing of how much it is.
    pub(crate) fn of(why: impl Into<String>) -> Self {
        Self { why: why.into(), decisions: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_moves_only_when_trouble_begins_or_ends() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let mut delivery = Delivery::well(at(0));
        assert!(!delivery.ended(None, at(1)));
        assert!(delivery.ended(Some(Waits::of("away")), at(2)));
        assert!(delivery.ended(Some(Waits { why: "away".into(), decisions: 2 }), at(3)));
        assert_eq!(delivery.since, at(2));
        assert!(delivery.ended(None, at(4)));
        assert_eq!(delivery, Delivery::well(at(4)));
    }
}

//! The leaders' terms that status shows. A new term must be above them all, or the API server refuses what it writes.

use std::sync::atomic::{AtomicU64, Ordering};

use sluice_crds::LAST_TERM;

/// The highest term that was seen. It only rises.
#[derive(Debug, Default)]
pub(crate) struct Terms(AtomicU64);

impl Terms {
    /// Notes a term. One that no leader can have had is ignored: to be above it would leave no term for anybody.
    pub(crate) fn saw(&self, term: Option<i64>) {
        let term = term.filter(|term| *term <= LAST_TERM).and_then(|term| u64::try_from(term).ok());
        if let Some(term) = term {
            self.0.fetch_max(term, Ordering::AcqRel);
        }
    }

    /// The highest of them; zero while none was seen.
    pub(crate) fn highest(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_counts_and_nonsense_does_not() {
        let terms = Terms::default();
        for term in [None, Some(7), Some(9), Some(8), Some(-1), Some(LAST_TERM + 1), Some(i64::MAX)] {
            terms.saw(term);
        }
        assert_eq!(terms.highest(), 9);
    }
}

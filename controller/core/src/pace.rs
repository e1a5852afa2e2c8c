//! A limit on what is done in a minute, evenly over the minute: a back end that must bear what devices do after an update
//! is helped little when all of a minute's devices come in its first second.
//!
//! One number is kept (the generic cell rate algorithm): when the next one is due. So it is read and moved without a
//! lock, and to forget it costs no more than one second's worth.

use std::sync::atomic::{AtomicU64, Ordering};

/// Microseconds of a minute, and of the second whose worth may come at once. Together they are what a minute can see, so
/// that no minute, wherever it begins, sees more than the limit.
const MINUTE: u64 = 60_000_000;
const SECOND: u64 = 1_000_000;

/// How far a limit is used. Times are microseconds of a clock that never goes back.
#[derive(Debug, Default)]
pub struct Pace {
    /// When the next one is due if they come evenly.
    due: AtomicU64,
}

/// Between two of `per_minute`, and how much earlier than due one may come.
const fn spacing(per_minute: u32) -> (u64, u64) {
    let between = (MINUTE + SECOND).div_ceil(if per_minute == 0 { 1 } else { per_minute as u64 });
    (between, SECOND.saturating_sub(between))
}

impl Pace {
    /// Whether one more is allowed at `now`.
    pub fn is_open(&self, per_minute: u32, now: u64) -> bool {
        self.due.load(Ordering::Relaxed) <= now + spacing(per_minute).1
    }

    /// Takes one, if one more is allowed at `now`.
    pub fn take(&self, per_minute: u32, now: u64) -> bool {
        let (between, early) = spacing(per_minute);
        let next = |due: u64| (due <= now + early).then(|| due.max(now) + between);
        // Nothing else is ordered by it.
        self.due.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        #[test]
        fn no_minute_sees_more_than_the_limit(
            per_minute in prop_oneof![1_u32..5, 50_u32..200, 3_000_u32..5_000],
            gaps in prop::collection::vec(prop_oneof![0_u64..200, 0_u64..50_000, 0_u64..3_000_000], 1..4_000),
        ) {
            let pace = Pace::default();
            let (mut now, mut taken) = (0, Vec::new());
            for gap in gaps {
                now += gap;
                let open = pace.is_open(per_minute, now);
                prop_assert_eq!(pace.take(per_minute, now), open);
                if open {
                    taken.push(now);
                }
            }
            for (index, from) in taken.iter().enumerate() {
                let within = taken[index..].iter().take_while(|at| **at < from + MINUTE).count();
                prop_assert!(within <= per_minute as usize, "{within} of {per_minute}");
            }
            prop_assert!(!taken.is_empty());
        }
    }

    #[test]
    fn who_comes_all_the_time_gets_nearly_as_many() {
        for per_minute in [1_u32, 7, 60, 100, 1_000, 100_000] {
            let pace = Pace::default();
            let taken = (0..600_000_u64).filter(|n| pace.take(per_minute, n * 1_000)).count();
            let wanted = per_minute.min(60_000) as usize * 10;
            assert!((wanted * 9 / 10..=wanted).contains(&taken), "{taken} in ten minutes at {per_minute}");
        }
    }

    #[test]
    fn threads_share_it() {
        let pace = Arc::new(Pace::default());
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let pace = Arc::clone(&pace);
                std::thread::spawn(move || (0..10_000).filter(|_| pace.take(6_000, 0)).count())
            })
            .collect();
        let taken: usize = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
        assert_eq!(taken, 98, "one second's worth, whoever takes it");
    }
}

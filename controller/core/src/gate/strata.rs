//! Strata: consecutive enrolments of one level, formed without looking at arm or outcome.

use super::{inversion::Block, logrank::Logrank};
use crate::trial::{Arm, Metric};

/// Enrolments of a full stratum.
pub const SIZE: u8 = 40;

/// A stratum that is not full by then is closed as it is, in seconds. Membership still follows from the times of
/// enrolment alone, and a fleet that would take weeks to fill one has a comparison too.
pub const AGE: i64 = 24 * 3_600;

/// A metric that is compared between the arms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compared {
    /// [`Metric::Health`].
    Health = 0,
    /// [`Metric::Silence`].
    Silence = 1,
}

impl Compared {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 2] = [Self::Health, Self::Silence];

    /// The one that `metric` is; `None` for what only treatment devices can do.
    pub const fn of(metric: Metric) -> Option<Self> {
        match metric {
            Metric::Health => Some(Self::Health),
            Metric::Silence => Some(Self::Silence),
            Metric::Launch | Metric::Install => None,
        }
    }
}

/// One test for each of [`Compared::ALL`].
pub type Tests = [Logrank; Compared::ALL.len()];

/// Who is in a stratum, as bits in the order of enrolment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stratum {
    treatment: u64,
    failed: [u64; Compared::ALL.len()],
    left: u64,
    start: u32,
    size: u8,
}

impl Stratum {
    /// The device in `place` fails, or leaves.
    fn end(&mut self, place: u8, compared: Option<Compared>, tests: &mut Tests) {
        match compared {
            Some(compared) => self.fail(place, compared, tests),
            None => self.left |= 1 << place,
        }
    }

    /// The device in `place` fails: it is compared with those that are still at risk, and leaves them.
    fn fail(&mut self, place: u8, compared: Compared, tests: &mut Tests) {
        let everybody = u64::MAX >> (64 - u32::from(self.size));
        let index = compared as usize;
        let at_risk = everybody & !(self.failed[index] | self.left);
        let bit = 1 << place;
        let arm = if self.treatment & bit == 0 { Arm::Control } else { Arm::Treatment };
        let (treatment, control) = (at_risk & self.treatment, at_risk & !self.treatment);
        tests[index].fail(arm, treatment.count_ones(), control.count_ones());
        self.failed[index] |= bit;
    }

    fn block(&self) -> Block {
        let failed = self.failed[Compared::Health as usize];
        let treatment = self.treatment.count_ones();
        Block {
            treatment,
            treatment_failed: (failed & self.treatment).count_ones(),
            control: u32::from(self.size) - treatment,
            control_failed: (failed & !self.treatment).count_ones(),
        }
    }
}

/// A stratum that was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closed {
    /// Its number.
    pub number: usize,
    /// When its last device enrolled.
    pub last: i64,
}

/// All strata of one level, or of one segment of a level.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Strata {
    list: Vec<Stratum>,
    /// Whether the last one still takes enrolments.
    open: bool,
    /// When its first and its last device enrolled.
    span: (i64, i64),
    /// Failures in it (`None`: a device left), in order: they count once it is closed.
    early: Vec<(u8, Option<Compared>)>,
}

impl Strata {
    /// Enrols the next device.
    pub fn enrol(&mut self, arm: Arm, clock: i64, tests: &mut Tests) -> Option<Closed> {
        if !self.open {
            self.list.push(Stratum { treatment: 0, failed: [0; 2], left: 0, start: self.devices(), size: 0 });
            self.span.0 = clock;
            self.open = true;
        }
        self.span.1 = clock;
        let last = self.list.last_mut()?;
        last.treatment |= u64::from(arm == Arm::Treatment) << last.size;
        last.size += 1;
        if last.size == SIZE { self.close(tests) } else { None }
    }

    /// Devices so far.
    pub fn devices(&self) -> u32 {
        self.list.last().map_or(0, |last| last.start + u32::from(last.size))
    }

    /// When the open stratum will be closed by age.
    pub fn due(&self) -> Option<i64> {
        self.open.then(|| self.span.0.saturating_add(AGE))
    }

    /// Closes the open stratum: its failures so far count now, in their order.
    pub fn close(&mut self, tests: &mut Tests) -> Option<Closed> {
        let last = self.list.last_mut().filter(|_| self.open)?;
        self.open = false;
        for (place, compared) in std::mem::take(&mut self.early) {
            last.end(place, compared, tests);
        }
        Some(Closed { number: self.list.len() - 1, last: self.span.1 })
    }

    /// The first failure of this kind of the device that was the `ordinal`-th to enrol here.
    pub fn fail(&mut self, ordinal: u32, compared: Compared, tests: &mut Tests) {
        self.end(ordinal, Some(compared), tests);
    }

    /// The device that was the `ordinal`-th to enrol here left: who fails from now on is not compared with it. Its block
    /// keeps it, as one that did well if it had not failed: those who leave are control devices that a later level took,
    /// so a proof gets harder by it.
    pub fn leave(&mut self, ordinal: u32, tests: &mut Tests) {
        self.end(ordinal, None, tests);
    }

    fn end(&mut self, ordinal: u32, compared: Option<Compared>, tests: &mut Tests) {
        let number = self.list.partition_point(|stratum| stratum.start <= ordinal);
        let last = self.list.len();
        let Some(stratum) = number.checked_sub(1).and_then(|number| self.list.get_mut(number)) else {
            return;
        };
        let Ok(place) = u8::try_from(ordinal - stratum.start) else { return };
        if place >= stratum.size {
            return;
        }
        if self.open && number == last {
            self.early.push((place, compared));
        } else {
            stratum.end(place, compared, tests);
        }
    }

    /// What became of stratum `number`, as far as health goes.
    pub fn block(&self, number: usize) -> Block {
        self.list.get(number).map(Stratum::block).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn arm(treatment: bool) -> Arm {
        if treatment { Arm::Treatment } else { Arm::Control }
    }

    #[test]
    fn failures_count_once_the_stratum_is_full_and_in_their_order() {
        let mut tests = Tests::default();
        let mut strata = Strata::default();
        for n in 0..SIZE {
            assert_eq!(tests, Tests::default());
            let closed = strata.enrol(arm(n < 2), 7, &mut tests);
            assert_eq!(closed, (n == SIZE - 1).then_some(Closed { number: 0, last: 7 }));
            if n == 1 {
                strata.fail(1, Compared::Health, &mut tests);
                strata.fail(0, Compared::Health, &mut tests);
            }
        }
        let mut expected = Logrank::default();
        expected.fail(Arm::Treatment, 2, 38);
        expected.fail(Arm::Treatment, 1, 38);
        assert_eq!(tests, [expected, Logrank::default()]);
        assert_eq!(
            strata.block(0),
            Block { treatment: 2, treatment_failed: 2, control: 38, control_failed: 0 }
        );
    }

    #[test]
    fn a_stratum_that_was_closed_early_is_as_large_as_it_got() {
        let mut tests = Tests::default();
        let mut strata = Strata::default();
        strata.enrol(Arm::Treatment, 0, &mut tests);
        strata.enrol(Arm::Control, 5, &mut tests);
        assert_eq!(strata.due(), Some(AGE));
        assert_eq!(strata.close(&mut tests), Some(Closed { number: 0, last: 5 }));
        assert_eq!((strata.due(), strata.close(&mut tests)), (None, None));
        strata.enrol(Arm::Control, AGE, &mut tests);
        strata.close(&mut tests);
        strata.fail(0, Compared::Silence, &mut tests);
        strata.fail(2, Compared::Silence, &mut tests);
        strata.fail(3, Compared::Silence, &mut tests);
        let mut expected = Logrank::default();
        expected.fail(Arm::Treatment, 1, 1);
        assert_eq!(tests, [Logrank::default(), expected]);
        assert_eq!(strata.block(1), Block { control: 1, ..Block::default() });
    }

    #[test]
    fn who_left_is_not_at_risk() {
        // In an open stratum and in a closed one: a failure before, and one after.
        for early in [true, false] {
            let mut tests = Tests::default();
            let mut strata = Strata::default();
            for n in 0..4 {
                strata.enrol(arm(n < 2), 0, &mut tests);
            }
            if !early {
                strata.close(&mut tests);
            }
            strata.fail(0, Compared::Health, &mut tests);
            strata.leave(2, &mut tests);
            strata.fail(1, Compared::Health, &mut tests);
            strata.close(&mut tests);
            let mut expected = Logrank::default();
            expected.fail(Arm::Treatment, 2, 2);
            expected.fail(Arm::Treatment, 1, 1);
            assert_eq!(tests[0], expected);
            assert_eq!(strata.block(0).treatment_failed, 2);
        }
    }

    proptest! {
        /// When strata close says nothing about arms and outcomes.
        #[test]
        fn strata_are_formed_blind(
            arms in prop::collection::vec(any::<(bool, bool)>(), 1..200),
            failures in prop::collection::vec((0_u32..200, 0_usize..200), 0..50),
        ) {
            let run = |flip: bool| {
                let mut tests = Tests::default();
                let mut strata = Strata::default();
                let mut closings = Vec::new();
                for (n, (treatment, other)) in arms.iter().enumerate() {
                    closings.push(strata.enrol(arm(if flip { *other } else { *treatment }), 0, &mut tests));
                    for (ordinal, _) in failures.iter().filter(|(_, when)| !flip && *when == n) {
                        strata.fail(*ordinal, Compared::Health, &mut tests);
                    }
                }
                closings
            };
            prop_assert_eq!(run(false), run(true));
        }
    }
}

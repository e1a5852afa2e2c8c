//! The evidence gate: what decides that a rollout goes on, waits or stops.
//!
//! [`Evidence`] is the fold of a rollout's journal ([`crate::trial::Entry`]), and [`judge`] reads it. All tests are valid
//! at every look: whoever looks more often does not stop more. Everything about chance is in the tests themselves, one
//! file each; this file deals the entries out to them.

pub mod breaker;
pub mod inversion;
mod level;
pub mod logrank;
pub mod needed;
mod numbers;
mod numeric;
pub mod one_sample;
mod policy;
pub mod ratio;
pub mod segments;
mod sentence;
mod strata;
#[cfg(test)]
mod tests;
mod verdict;

use std::collections::VecDeque;

use self::{
    breaker::{Breaker, Watch},
    inversion::Inversion,
    level::{Known, Level},
    one_sample::OneSample,
    segments::Segments,
    strata::{Closed, Compared, Tests},
};
pub use self::{
    numbers::{ArmNumbers, Numbers, RatioNumbers, SampleNumbers},
    policy::{Design, Look, Policy, Records, Share},
    segments::{Finding, Segment},
    verdict::{Decision, Reason, Verdict, judge},
};
use crate::trial::{Arm, Discount, Entry, Metric, Traits};

/// Levels of a rollout that are followed; a rollout has a few steps and at most 20 stages of its ramp.
const LEVELS: usize = 64;

/// Devices that enrolled and weigh nothing, by reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Discounted {
    /// [`Discount::New`].
    pub new: u32,
    /// [`Discount::NotProduction`].
    pub not_production: u32,
    /// [`Discount::Crowd`].
    pub crowd: u32,
}

/// A closed stratum that is past its horizon at `ripe`; never, when no clock gets there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Waiting {
    level: usize,
    number: usize,
    ripe: Option<i64>,
}

/// A failure at launch that waits for news of the control arm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Unheard {
    device: (usize, u32),
    /// What was known of its launch before.
    before: Option<bool>,
    at: i64,
}

/// What a journal says. The same entries in the same order give the same value; nothing else goes into it, no clock and
/// no look.
#[derive(Debug, Clone, PartialEq)]
pub struct Evidence {
    design: Design,
    /// The latest time in the journal: a clock that was set back changes nothing.
    clock: i64,
    levels: Vec<Level>,
    tests: Tests,
    segments: Segments,
    inversion: Inversion,
    waiting: VecDeque<Waiting>,
    launch: OneSample,
    install: OneSample,
    /// What an Abort at launch is founded on. Every treatment device counts as a success until it fails, because failures
    /// show in a minute and successes in hours; who is not offered the candidate after a Pause dilutes nothing. Failures
    /// that were reported while control was elevated are left out for good: what an incident broke stays broken when it
    /// has passed. Both only make the evidence smaller, so its error rate stays what it was.
    offered: OneSample,
    /// The largest `ln E` of `offered`.
    launch_peak: f64,
    unheard: Vec<Unheard>,
    breaker: Breaker,
    watch: Watch,
    discounted: Discounted,
    ignored: u64,
    /// When the next stratum is to be closed by age.
    due: Option<i64>,
}

impl Evidence {
    /// Of an empty journal.
    pub fn new(design: Design) -> Self {
        Self {
            design,
            clock: i64::MIN,
            levels: Vec::new(),
            tests: Tests::default(),
            segments: Segments::default(),
            inversion: Inversion::default(),
            waiting: VecDeque::new(),
            launch: OneSample::new(design.launch_limit),
            install: OneSample::new(design.install_limit),
            offered: OneSample::new(design.launch_limit),
            launch_peak: 0.0,
            unheard: Vec::new(),
            breaker: Breaker::default(),
            watch: Watch::default(),
            discounted: Discounted::default(),
            ignored: 0,
            due: None,
        }
    }

    /// Folds in the next entry. One that makes no sense (an unknown level or ordinal, something said twice, what only a
    /// treatment device can do of a control device) is counted and changes nothing else.
    pub fn apply(&mut self, entry: &Entry) {
        let understood = match entry {
            Entry::Enrolled { level, arm, traits, at } => {
                self.pass(*at);
                self.enrol(*level, *arm, traits)
            }
            Entry::Discounted { level: _, arm: _, why } => {
                let count = match why {
                    Discount::New => &mut self.discounted.new,
                    Discount::NotProduction => &mut self.discounted.not_production,
                    Discount::Crowd => &mut self.discounted.crowd,
                };
                *count = count.saturating_add(1);
                true
            }
            Entry::Failed { level, ordinal, metric, at } => {
                self.pass(*at);
                self.note(*level, *ordinal, Some(*metric))
            }
            Entry::Launched { level, ordinal, at } => {
                self.pass(*at);
                self.note(*level, *ordinal, None)
            }
            Entry::Left { level, ordinal } => self.leave(*level, *ordinal),
        };
        self.hear();
        self.ignored = self.ignored.saturating_add(u64::from(!understood));
    }

    /// Time passes in the journal: strata grow old, and closed ones get past their horizon.
    fn pass(&mut self, at: i64) {
        self.clock = self.clock.max(at);
        self.watch.pass(self.clock);
        if self.due.is_some_and(|due| due <= self.clock) {
            self.due = None;
            for index in 0..self.levels.len() {
                let (closed, due) = self.levels[index].age(self.clock, &mut self.tests, &mut self.segments);
                self.queue(index, closed);
                self.due = self.due.into_iter().chain(due).min();
            }
        }
        while let Some(next) = self.waiting.front().filter(|w| w.ripe.is_some_and(|ripe| ripe <= self.clock))
        {
            let level = &mut self.levels[next.level];
            let block = level.strata.block(next.number);
            level.tally[Arm::Treatment as usize].past += block.treatment;
            self.inversion.fold(block);
            self.waiting.pop_front();
        }
    }

    fn queue(&mut self, level: usize, closed: Option<Closed>) {
        if let Some(Closed { number, last }) = closed {
            self.waiting.push_back(Waiting { level, number, ripe: last.checked_add(self.design.horizon) });
        }
    }

    fn index(&self, number: u32) -> Option<usize> {
        self.levels.iter().rposition(|level| level.number == number)
    }

    fn enrol(&mut self, number: u32, arm: Arm, traits: &Traits) -> bool {
        let index = self.index(number).or_else(|| {
            (self.levels.len() < LEVELS).then(|| {
                self.levels.push(Level::new(number));
                self.levels.len() - 1
            })
        });
        let Some(index) = index.filter(|index| self.levels[*index].has_room()) else { return false };
        // The time of enrolment is that of the journal: what comes in late, or while a clock is wrong, waits longer.
        let closed = self.levels[index].enrol(arm, traits, self.clock, &mut self.tests, &mut self.segments);
        self.queue(index, closed);
        let due = self.clock.saturating_add(strata::AGE);
        self.due = Some(self.due.map_or(due, |earlier| earlier.min(due)));
        match arm {
            Arm::Control => self.watch.enrolled(self.clock),
            Arm::Treatment => self.offered.change(None, Some(false)),
        }
        true
    }

    fn note(&mut self, number: u32, ordinal: u32, failure: Option<Metric>) -> bool {
        let Some(index) = self.index(number) else { return false };
        let level = &mut self.levels[index];
        let Some((before, after)) = level.note(ordinal, failure) else { return false };
        if let Some(compared) = failure.and_then(Compared::of) {
            level.compare(ordinal, compared, &mut self.tests, &mut self.segments);
            if compared == Compared::Health && before.arm() == Arm::Control {
                self.watch.failed(self.clock);
            }
        } else {
            self.learn((index, ordinal), before, after);
        }
        true
    }

    /// A device is at risk no more.
    fn leave(&mut self, number: u32, ordinal: u32) -> bool {
        let Some(index) = self.index(number) else { return false };
        self.levels[index].leave(ordinal, &mut self.tests, &mut self.segments)
    }

    /// What only treatment devices can do changed of one.
    fn learn(&mut self, device: (usize, u32), before: Known, after: Known) {
        self.install.change(before.install(), after.install());
        let (before, after) = (before.launch(), after.launch());
        self.launch.change(before, after);
        if before != after && after == Some(true) {
            self.unheard.push(Unheard { device, before, at: self.clock });
        } else {
            self.breaker.change(device, before, after);
        }
    }

    /// Holds the failures at launch against the candidate that control had its chance to explain and did not.
    fn hear(&mut self) {
        if self.unheard.is_empty() {
            return;
        }
        if self.control_elevated() {
            self.unheard.clear();
            return;
        }
        let (watch, clock) = (&self.watch, self.clock);
        for failure in self.unheard.extract_if(.., |failure| watch.had_its_chance(failure.at, clock)) {
            self.breaker.change(failure.device, failure.before, Some(true));
            self.offered.change(Some(false), Some(true));
            self.breaker.check(&self.offered);
            self.launch_peak = self.launch_peak.max(self.offered.ln());
        }
    }

    fn control_elevated(&self) -> bool {
        self.watch.elevated(self.design.health_record, &self.launch)
    }

    /// The inversion as it is at `now`, and treatment devices past the horizon since level `first`: what ripened since the
    /// last entry counts too, and is folded for good by the next one.
    fn settled(&self, now: i64, first: u32) -> (Inversion, u32) {
        let mut inversion = self.inversion.clone();
        let of_step = |level: &&Level| level.number >= first;
        let mut past: u32 =
            self.levels.iter().filter(of_step).map(|l| l.tally[Arm::Treatment as usize].past).sum();
        let now = now.max(self.clock);
        for next in self.waiting.iter().take_while(|w| w.ripe.is_some_and(|ripe| ripe <= now)) {
            let level = &self.levels[next.level];
            let block = level.strata.block(next.number);
            past += if of_step(&level) { block.treatment } else { 0 };
            inversion.fold(block);
        }
        (inversion, past)
    }
}

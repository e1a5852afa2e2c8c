//! A fleet that enrols, fails and succeeds, with a seed.

use std::{
    collections::VecDeque,
    sync::atomic::{AtomicU64, Ordering},
};

use sluice_core::{
    channel::Platform,
    gate::{Design, Evidence, Look, Policy, Records, judge},
    trial::{Arm, Entry, Metric, Traits},
};

/// Seconds between two looks.
pub const LOOK: i64 = 300;

/// Looks of a day.
pub const DAY: u32 = 288;

/// Steele, Lea and Flood's splitmix64.
pub struct Chance(u64);

impl Chance {
    /// Of run number `run` of a cell.
    pub const fn new(cell: u64, run: u64) -> Self {
        Self(cell.wrapping_mul(0xD134_2543_DE82_EF95) ^ run.wrapping_mul(0x2545_F491_4F6C_DD1D))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        x ^ (x >> 31)
    }

    /// Uniform in [0, 1).
    pub fn draw(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// True with probability `p`.
    pub fn below(&mut self, p: f64) -> bool {
        self.draw() < p
    }

    /// One of the numbers below `end`.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "below a small number")]
    pub fn number(&mut self, end: u32) -> u32 {
        (self.draw() * f64::from(end)) as u32
    }

    /// When a success is seen: one to six hours later.
    pub fn hours(&mut self) -> usize {
        12 + self.number(60) as usize
    }
}

/// How devices fare.
#[derive(Clone, Copy)]
pub struct Fate {
    /// Rate of failures of treatment.
    pub treatment: f64,
    /// Rate of failures of control.
    pub control: f64,
    /// What a failure of treatment is: `Health` is compared, `Launch` and `Install` are not.
    pub metric: Metric,
}

/// A fleet in front of the gate.
pub struct World {
    /// What the gate knows.
    pub evidence: Evidence,
    /// The time.
    pub now: i64,
    /// Treatment devices that had enrolled, and those with an outcome, at the failure after which the evidence sufficed
    /// for an Abort; where it did.
    pub alarm: Option<(u32, u32)>,
    chance: Chance,
    enrolling: Entry,
    level: u32,
    ordinal: u32,
    failing: VecDeque<(i64, Entry)>,
    /// Successes to come, by looks from now.
    succeeding: VecDeque<Vec<(u32, u32)>>,
}

impl World {
    /// Nothing has happened.
    pub fn new(chance: Chance, records: Records) -> Self {
        Self {
            evidence: Evidence::new(Design::new(&Policy::default(), &records)),
            now: 0,
            alarm: None,
            chance,
            enrolling: Entry::Enrolled {
                level: 0,
                arm: Arm::Control,
                traits: Traits { platform: Platform::Android, os: 14, native: "1.0.0".to_owned() },
                at: 0,
            },
            level: 0,
            ordinal: 0,
            failing: VecDeque::new(),
            succeeding: VecDeque::new(),
        }
    }

    /// The next level begins.
    pub fn step(&mut self) {
        self.level += 1;
        self.ordinal = 0;
    }

    /// `seconds` pass, in which `devices` enrol, evenly; one of `per` is treatment. Failures come a minute after
    /// enrolment. Of treatment devices that do well, a start of the candidate is seen hours later.
    pub fn pass(&mut self, seconds: i64, devices: u32, per: u32, fate: Fate) {
        for (level, ordinal) in self.succeeding.pop_front().unwrap_or_default() {
            self.evidence.apply(&Entry::Launched { level, ordinal, at: self.now });
        }
        let share = 1.0 / f64::from(per);
        for n in 0..devices {
            let at = self.now + seconds * i64::from(n) / i64::from(devices);
            self.fail_until(at);
            let treatment = self.chance.below(share);
            if let Entry::Enrolled { level, arm, at: when, .. } = &mut self.enrolling {
                *level = self.level;
                *arm = if treatment { Arm::Treatment } else { Arm::Control };
                *when = at;
            }
            self.evidence.apply(&self.enrolling);
            self.note_alarm();
            let ordinal = self.ordinal;
            self.ordinal += 1;
            if self.chance.below(if treatment { fate.treatment } else { fate.control }) {
                let metric = if treatment { fate.metric } else { Metric::Health };
                let at = at + 60;
                self.failing.push_back((at, Entry::Failed { level: self.level, ordinal, metric, at }));
            } else if treatment {
                let looks = self.chance.hours();
                if self.succeeding.len() <= looks {
                    self.succeeding.resize_with(looks + 1, Vec::new);
                }
                self.succeeding[looks].push((self.level, ordinal));
            }
        }
        self.now += seconds;
        self.fail_until(self.now);
    }

    fn fail_until(&mut self, at: i64) {
        while let Some((_, entry)) = self.failing.front().filter(|(when, _)| *when <= at) {
            self.evidence.apply(entry);
            self.failing.pop_front();
            self.note_alarm();
        }
    }

    fn note_alarm(&mut self) {
        let policy = Policy::default();
        if self.alarm.is_none() && self.evidence.alarm(&policy).is_some() {
            let treatment = judge(&self.evidence, &policy, &self.look(50_000)).numbers.treatment;
            self.alarm = Some((treatment.enrolled, treatment.shown));
        }
    }

    /// A look at the gate, after the soak.
    pub fn look(&self, weight_ppm: u32) -> Look<'static> {
        Look {
            now: self.now,
            first_level: 0,
            weight_ppm,
            began: 0,
            soaked: true,
            available: true,
            last: false,
            shares: &[],
            paused: &[],
        }
    }
}

/// Cores that runs are spread over.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Every run, on all cores; the results in the order of the runs.
pub fn simulate<T: Send>(runs: u64, run: impl Fn(u64) -> T + Sync) -> Vec<T> {
    let next = AtomicU64::new(0);
    let work = || {
        let mut done = Vec::new();
        loop {
            let n = next.fetch_add(1, Ordering::Relaxed);
            if n >= runs {
                return done;
            }
            done.push((n, run(n)));
        }
    };
    let mut all: Vec<(u64, T)> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..cores()).map(|_| scope.spawn(work)).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("a run does not panic")).collect()
    });
    all.sort_by_key(|(n, _)| *n);
    all.into_iter().map(|(_, result)| result).collect()
}

/// Median, and in brackets the 10th and 90th percentile.
pub fn spread(mut values: Vec<u32>) -> String {
    values.sort_unstable();
    let at = |share: usize| values.get((values.len() * share / 100).min(values.len().saturating_sub(1)));
    match (at(50), at(10), at(90)) {
        (Some(half), Some(low), Some(high)) => format!("{half} ({low} to {high})"),
        _ => "–".to_owned(),
    }
}

/// A share of runs.
pub fn share(some: usize, runs: u64) -> String {
    format!("{:.1} %", 100.0 * some as f64 / runs as f64)
}

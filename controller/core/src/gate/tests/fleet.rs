//! Journals of invented fleets, with a seed.

use crate::{
    channel::Platform,
    gate::{Design, Evidence, Look, Policy, Records, Verdict, judge},
    trial::{Arm, Entry, Metric, Traits},
};

/// Steele, Lea and Flood's splitmix64: enough chance for a test, and the same everywhere.
pub struct Chance(pub u64);

impl Chance {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        x ^ (x >> 31)
    }

    pub fn below(&mut self, p: f64) -> bool {
        ((self.next() >> 11) as f64 / (1_u64 << 53) as f64) < p
    }
}

pub fn traits() -> Traits {
    Traits { platform: Platform::Android, os: 14, native: "1.0.0".to_owned() }
}

pub fn enrolled(level: u32, arm: Arm, at: i64) -> Entry {
    Entry::Enrolled { level, arm, traits: traits(), at }
}

pub fn failed(level: u32, ordinal: u32, metric: Metric, at: i64) -> Entry {
    Entry::Failed { level, ordinal, metric, at }
}

pub fn launched(level: u32, ordinal: u32, at: i64) -> Entry {
    Entry::Launched { level, ordinal, at }
}

pub fn evidence(records: Records) -> Evidence {
    Evidence::new(Design::new(&Policy::default(), &records))
}

pub fn fold(entries: &[Entry]) -> Evidence {
    let mut evidence = evidence(Records::default());
    for entry in entries {
        evidence.apply(entry);
    }
    evidence
}

/// A look at 5 %, after the soak.
pub fn look(now: i64) -> Look<'static> {
    Look {
        now,
        first_level: 0,
        weight_ppm: 50_000,
        began: 0,
        soaked: true,
        available: true,
        last: false,
        shares: &[],
        paused: &[],
    }
}

pub fn verdict(evidence: &Evidence, now: i64) -> Verdict {
    judge(evidence, &Policy::default(), &look(now))
}

/// How devices fare: failure rates of treatment and control, at launch and later.
#[derive(Clone, Copy)]
pub struct Rates {
    pub treatment: f64,
    pub control: f64,
    pub launch: f64,
}

/// The journal of `devices` enrolments of one level, one a second, every `per`-th of them treatment by chance. Failures
/// come a minute after enrolment, starts of the candidate after two.
pub fn journal(
    chance: &mut Chance,
    level: u32,
    start: i64,
    devices: u32,
    per: f64,
    rates: Rates,
) -> Vec<Entry> {
    let mut timed = Vec::new();
    for ordinal in 0..devices {
        let at = start + i64::from(ordinal);
        let treatment = chance.below(1.0 / per);
        timed.push((at, enrolled(level, if treatment { Arm::Treatment } else { Arm::Control }, at)));
        if chance.below(if treatment { rates.treatment } else { rates.control }) {
            timed.push((at + 60, failed(level, ordinal, Metric::Health, at + 60)));
        }
        if treatment {
            let outcome = if chance.below(rates.launch) {
                failed(level, ordinal, Metric::Launch, at + 120)
            } else {
                launched(level, ordinal, at + 120)
            };
            timed.push((at + 120, outcome));
        }
    }
    timed.sort_by_key(|(at, _)| *at);
    timed.into_iter().map(|(_, entry)| entry).collect()
}

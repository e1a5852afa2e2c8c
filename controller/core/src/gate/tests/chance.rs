//! Error rates, at a size that a test can afford; the program `evidence` measures them at full size.

use super::fleet::{Chance, Rates, enrolled, evidence, failed, journal, look};
use crate::{
    gate::{Decision, Policy, Records, judge},
    trial::{Arm, Entry, Metric},
};

const RUNS: u64 = 200;

/// Looks after every failure, for nothing else stops a rollout, and says what the first stop was.
fn first_stop(entries: &[Entry], records: Records) -> Option<(Decision, u32)> {
    let mut evidence = evidence(records);
    entries.iter().find_map(|entry| {
        evidence.apply(entry);
        if !matches!(entry, Entry::Failed { .. }) {
            return None;
        }
        let verdict = judge(&evidence, &Policy::default(), &look(0));
        matches!(verdict.decision, Decision::Abort | Decision::Pause)
            .then_some((verdict.decision, verdict.numbers.treatment.shown))
    })
}

#[test]
fn a_release_that_is_as_bad_as_the_last_one_goes_on() {
    let rates = Rates { treatment: 0.1, control: 0.1, launch: 0.02 };
    let stops = (0..RUNS)
        .filter_map(|seed| {
            first_stop(&journal(&mut Chance(seed), 0, 0, 2_000, 5.0, rates), Records::default())
        })
        .count();
    // 1 % for each of the tests at most, and most of that is never used.
    assert!(stops <= 6, "{stops} of {RUNS}");
}

#[test]
fn a_bundle_that_breaks_nearly_everybody_is_aborted_after_a_few_devices() {
    let rates = Rates { treatment: 0.9, control: 0.02, launch: 0.0 };
    for seed in 0..50 {
        let entries = journal(&mut Chance(seed), 0, 0, 3_000, 20.0, rates);
        let (decision, shown) = first_stop(&entries, Records::default()).expect("stopped");
        assert_eq!(decision, Decision::Abort);
        assert!(shown <= 15, "seed {seed}: {shown}");
    }
}

#[test]
fn a_bundle_that_does_not_start_is_aborted_after_ten_devices() {
    let rates = Rates { treatment: 0.02, control: 0.02, launch: 0.9 };
    for seed in 0..50 {
        let entries = journal(&mut Chance(seed), 0, 0, 3_000, 20.0, rates);
        let (decision, shown) = first_stop(&entries, Records::default()).expect("stopped");
        // A pause may come first, with the second failure; what is asked here is how soon.
        assert!(shown <= 10, "seed {seed}: {decision:?} {shown}");
        let mut all = evidence(Records::default());
        for entry in &entries {
            all.apply(entry);
        }
        assert_eq!(judge(&all, &Policy::default(), &look(0)).decision, Decision::Abort);
    }
}

#[test]
fn an_incident_that_hits_both_arms_aborts_nothing() {
    let well = Rates { treatment: 0.02, control: 0.02, launch: 0.02 };
    let ill = Rates { treatment: 0.6, control: 0.6, launch: 0.6 };
    let mut aborts = 0;
    for seed in 0..RUNS / 2 {
        let mut chance = Chance(seed);
        // The second level begins in the middle of the incident.
        let mut entries = journal(&mut chance, 0, 0, 1_000, 10.0, well);
        entries.extend(journal(&mut chance, 1, 2_000, 1_000, 10.0, ill));
        entries.extend(journal(&mut chance, 2, 9_000, 1_000, 10.0, well));
        let mut evidence = evidence(Records { health: Some(0.02), ..Records::default() });
        aborts += u32::from(entries.iter().any(|entry| {
            evidence.apply(entry);
            matches!(entry, Entry::Failed { .. })
                && judge(&evidence, &Policy::default(), &look(0)).decision == Decision::Abort
        }));
    }
    assert!(aborts <= 2, "{aborts}");
}

/// The journal of `looks` times five minutes with `canary` treatment devices and 19 times as many control devices each, of
/// which 2 % fail, and `rate` of those that enrol during `ill`: at launch in treatment, in their health in control, a
/// minute after enrolment. Nothing is seen of those that do well.
fn quick_failures(
    chance: &mut Chance,
    canary: u32,
    looks: i64,
    ill: &std::ops::Range<i64>,
    rate: [f64; 2],
) -> Vec<Entry> {
    let mut timed = Vec::new();
    let each = 20 * i64::from(canary);
    for ordinal in 0..each * looks {
        let (look, at) = (ordinal / each, ordinal * 300 / each);
        let treatment = chance.below(0.05);
        let arm = if treatment { Arm::Treatment } else { Arm::Control };
        timed.push((at, enrolled(0, arm, at)));
        let rate = if ill.contains(&look) { rate[usize::from(!treatment)] } else { 0.02 };
        if chance.below(rate) {
            let metric = if treatment { Metric::Launch } else { Metric::Health };
            timed.push((at + 60, failed(0, u32::try_from(ordinal).unwrap(), metric, at + 60)));
        }
    }
    timed.sort_by_key(|(at, _)| *at);
    timed.into_iter().map(|(_, entry)| entry).collect()
}

#[test]
fn an_incident_that_shows_at_launch_aborts_nothing_at_any_rate() {
    for (canary, looks) in [(2, 40), (5, 40), (20, 30), (100, 20)] {
        for (record, begins) in [(Some(0.02), 0), (Some(0.02), 5), (None, 0), (None, 5)] {
            let aborts = (0..20)
                .filter(|seed| {
                    let ill = begins..begins + 8;
                    let entries = quick_failures(&mut Chance(*seed), canary, looks, &ill, [0.6; 2]);
                    let mut evidence = evidence(Records { health: record, ..Records::default() });
                    entries.iter().any(|entry| {
                        evidence.apply(entry);
                        evidence.alarm(&Policy::default()).is_some()
                    })
                })
                .count();
            assert!(aborts <= 1, "{aborts} of 20 at {canary}, {record:?}, {begins}");
        }
    }
}

#[test]
fn a_bundle_that_does_not_start_is_aborted_at_any_rate() {
    for canary in [2, 5, 20, 100] {
        for record in [Some(0.02), None] {
            for seed in 0..30 {
                let entries = quick_failures(&mut Chance(seed), canary, 12, &(0..12), [0.9, 0.02]);
                let mut evidence = evidence(Records { health: record, ..Records::default() });
                let first = entries.iter().position(|entry| {
                    evidence.apply(entry);
                    evidence.alarm(&Policy::default()).is_some()
                });
                assert!(first.is_some() && evidence.launch.failed() <= 15, "{canary} {record:?} {seed}");
            }
        }
    }
}

#[test]
fn a_candidate_that_is_worse_by_the_margin_hardly_ever_advances() {
    let rates = |treatment| Rates { treatment, control: 0.02, launch: 0.0 };
    let advances = |rates: Rates| {
        (0..100)
            .filter(|seed| {
                let entries = journal(&mut Chance(*seed), 0, 0, 4_000, 4.0, rates);
                let mut evidence = evidence(Records::default());
                let mut enrolled = 0;
                entries.iter().any(|entry| {
                    evidence.apply(entry);
                    enrolled += u32::from(matches!(entry, Entry::Enrolled { arm: Arm::Control, .. }));
                    // The horizon is half an hour and one device enrols a second.
                    enrolled % 30 == 0
                        && judge(&evidence, &Policy::default(), &look(0)).decision == Decision::Advance
                })
            })
            .count()
    };
    let (at_the_margin, equal) = (advances(rates(0.07)), advances(rates(0.02)));
    assert!(at_the_margin <= 9, "{at_the_margin} of 100");
    assert!(equal >= 90, "{equal} of 100");
}

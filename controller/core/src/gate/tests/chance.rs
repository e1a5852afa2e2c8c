//! Error rates, at a size that a test can afford; the program `evidence` measures them at full size.

use super::fleet::{Chance, Rates, evidence, journal, look};
use crate::{
    gate::{Decision, Policy, Records, judge},
    trial::{Arm, Entry},
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

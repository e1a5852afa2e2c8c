//! Each reason, and what it says.

use super::fleet::{
    Chance, Rates, enrolled, evidence, failed, fold, journal, launched, look, traits, verdict,
};
use crate::{
    channel::Platform,
    gate::{Decision, Evidence, Look, Policy, Reason, Records, Segment, Share, judge},
    trial::{Arm, Discount, Entry, Metric, Traits},
};

const WELL: Rates = Rates { treatment: 0.01, control: 0.01, launch: 0.0 };

/// A rollout that has been proven good.
fn proven() -> Vec<Entry> {
    journal(&mut Chance(7), 0, 0, 3_000, 4.0, WELL)
}

fn at(evidence: &Evidence, look: &Look<'_>) -> (Decision, Reason, String) {
    let verdict = judge(evidence, &Policy::default(), look);
    (verdict.decision, verdict.reason, verdict.sentence)
}

#[test]
fn a_good_candidate_advances() {
    let evidence = fold(&proven());
    let verdict = verdict(&evidence, 10_000);
    assert_eq!(
        (verdict.decision, verdict.reason),
        (Decision::Advance, Reason::Proven),
        "{}",
        verdict.sentence
    );
    let numbers = &verdict.numbers;
    assert!(numbers.bound.unwrap() <= 0.05 && numbers.proof >= 20.0);
    assert!(numbers.needed.expected >= 50 && numbers.needed.at_most > numbers.needed.expected);
    let start = "the candidate fails less than 5 points more often than the control (9 of ";
    assert!(verdict.sentence.starts_with(start), "{}", verdict.sentence);
}

#[test]
fn it_waits_for_the_soak_and_for_the_store() {
    let evidence = fold(&proven());
    let soaking = at(&evidence, &Look { soaked: false, ..look(10_000) });
    assert_eq!((soaking.0, soaking.1), (Decision::Hold, Reason::Soaking));
    assert!(soaking.2.starts_with("the soak at 5 %, 2 hours old, has not passed"), "{}", soaking.2);
    let away = at(&evidence, &Look { available: false, ..look(10_000) });
    assert_eq!((away.0, away.1), (Decision::Hold, Reason::EvidenceUnavailable));
}

#[test]
fn a_step_must_have_devices_of_its_own() {
    let mut entries = proven();
    entries.extend((0..60_u32).map(|n| enrolled(1, [Arm::Treatment, Arm::Control][n as usize % 2], 5_000)));
    let evidence = fold(&entries);
    let second = Look { first_level: 1, ..look(10_000) };
    let (decision, reason, sentence) = at(&evidence, &second);
    assert_eq!((decision, reason), (Decision::Hold, Reason::InsufficientExposure));
    assert!(
        sentence.starts_with("20 of 50 devices have had the candidate offered for 30 minutes"),
        "{sentence}"
    );
    // The stages of the opening ramp belong to the first step.
    assert_eq!(at(&evidence, &Look { first_level: 0, ..look(10_000) }).0, Decision::Advance);
}

#[test]
fn a_higher_weight_wants_a_closer_proof() {
    let evidence = fold(&journal(&mut Chance(7), 0, 0, 1_000, 4.0, WELL));
    assert_eq!(at(&evidence, &look(10_000)).0, Decision::Advance);
    let (decision, reason, sentence) = at(&evidence, &Look { weight_ppm: 100_001, ..look(10_000) });
    assert_eq!((decision, reason), (Decision::Hold, Reason::NotYetProven));
    assert!(sentence.contains("less than 2 points more often"), "{sentence}");
}

#[test]
fn without_known_devices_it_says_so() {
    let new = Entry::Discounted { level: 0, arm: Arm::Treatment, why: Discount::New };
    let (decision, reason, sentence) = at(&fold(&vec![new; 40]), &look(10_000));
    assert_eq!((decision, reason), (Decision::Hold, Reason::NoKnownDevices));
    assert!(sentence.contains("40 that asked are new"), "{sentence}");
    assert_eq!(at(&fold(&[]), &look(0)).1, Reason::InsufficientExposure);
}

#[test]
fn what_weighs_nothing_moves_nothing() {
    let mut entries = journal(&mut Chance(3), 0, 0, 2_000, 10.0, WELL);
    let before = verdict(&fold(&entries), 10_000);
    for n in (0..entries.len()).rev() {
        let crowd = Entry::Discounted { level: 0, arm: Arm::Control, why: Discount::Crowd };
        entries.splice(n..n, vec![crowd; 10]);
    }
    let mut after = verdict(&fold(&entries), 10_000);
    assert!(after.numbers.discounted.crowd > 20_000);
    after.numbers.discounted = before.numbers.discounted;
    assert_eq!(before, after);
}

#[test]
fn an_abort_stays() {
    let bad = Rates { treatment: 0.9, ..WELL };
    let mut entries = journal(&mut Chance(1), 0, 0, 400, 10.0, bad);
    let first = verdict(&fold(&entries), 1_000);
    assert_eq!((first.decision, first.reason), (Decision::Abort, Reason::WorseThanControl));
    assert!(first.sentence.starts_with("devices with the candidate fail more often: "), "{}", first.sentence);
    // Later the control fares as badly, and worse.
    entries.extend(journal(
        &mut Chance(2),
        1,
        1_000,
        3_000,
        2.0,
        Rates { treatment: 0.0, control: 0.9, launch: 0.0 },
    ));
    let away = Look { available: false, soaked: false, ..look(20_000) };
    assert_eq!(at(&fold(&entries), &away).0, Decision::Abort);
}

#[test]
fn devices_that_fall_silent_abort() {
    let mut entries: Vec<Entry> = (0..400_u32)
        .map(|n| enrolled(0, if n % 10 == 0 { Arm::Treatment } else { Arm::Control }, 0))
        .collect();
    entries.extend((0..10).map(|n| failed(0, n * 10, Metric::Silence, 90_000)));
    assert_eq!(at(&fold(&entries), &look(90_000)).1, Reason::MoreSilentThanControl);
}

/// Ten treatment devices that fail so, among 200.
fn at_launch(metric: Metric, control_failed: u32) -> Vec<Entry> {
    let mut entries: Vec<Entry> = (0..200_u32)
        .map(|n| enrolled(0, if n % 20 == 0 { Arm::Treatment } else { Arm::Control }, 0))
        .collect();
    entries.extend((1..=control_failed).map(|n| failed(0, n + n / 20, Metric::Health, 50)));
    entries.extend((0..10).map(|n| failed(0, n * 20, metric, 60)));
    entries
}

#[test]
fn a_candidate_that_does_not_start_is_aborted_unless_control_fares_badly() {
    let (decision, reason, sentence) = at(&fold(&at_launch(Metric::Launch, 0)), &look(60));
    assert_eq!((decision, reason), (Decision::Abort, Reason::BrokenAtLaunch));
    assert!(
        sentence.starts_with(
            "at least 5 of the first 10 devices could not start the candidate (10 of 10 so far)"
        )
    );
    // While few control devices have come, an incident cannot be told from a bad bundle.
    let few: Vec<Entry> = (0..15_u32)
        .map(|n| enrolled(0, if n < 10 { Arm::Treatment } else { Arm::Control }, 0))
        .chain((0..10).map(|n| failed(0, n, Metric::Launch, 50)))
        .collect();
    let (decision, _, sentence) = at(&fold(&few), &look(60));
    assert_eq!(decision, Decision::Pause, "{sentence}");
    assert!(
        sentence.contains("only 5 control devices have come, where 20 would show an incident"),
        "{sentence}"
    );
    // Without a record control must fail a quarter as often; with one, twice as often as ever.
    let (decision, reason, sentence) = at(&fold(&at_launch(Metric::Launch, 100)), &look(60));
    assert_eq!((decision, reason), (Decision::Pause, Reason::LaunchFailures));
    assert!(sentence.contains("it may be an incident"), "{sentence}");
    for (record, expected) in [(0.02, Decision::Pause), (0.1, Decision::Abort)] {
        let mut evidence = evidence(Records { health: Some(record), ..Records::default() });
        for entry in &at_launch(Metric::Launch, 15) {
            evidence.apply(entry);
        }
        assert_eq!(at(&evidence, &look(60)).0, expected, "{record}");
    }
}

#[test]
fn a_candidate_that_starts_badly_after_a_good_begin_is_paused_and_then_aborted() {
    let mut entries: Vec<Entry> = (0..200).map(|_| enrolled(0, Arm::Treatment, 0)).collect();
    entries.extend((0..20).map(|n| launched(0, n, 10)));
    let verdicts: Vec<Decision> = (20..60)
        .map(|n| {
            entries.push(failed(0, n, Metric::Launch, 20));
            at(&fold(&entries), &look(20)).0
        })
        .collect();
    let first = |decision| verdicts.iter().position(|v| *v == decision).unwrap();
    assert!(
        first(Decision::Hold) < first(Decision::Pause) && first(Decision::Pause) < first(Decision::Abort)
    );
    assert_eq!(at(&fold(&entries), &look(20)).1, Reason::LaunchFailures);
}

#[test]
fn a_candidate_that_cannot_be_installed_is_only_ever_paused() {
    let (decision, reason, sentence) = at(&fold(&at_launch(Metric::Install, 0)), &look(60));
    assert_eq!((decision, reason), (Decision::Pause, Reason::InstallFailures));
    assert!(
        sentence.starts_with("10 of 10 could not install the candidate, where 5 % are tolerated"),
        "{sentence}"
    );
    // The cause goes away: who could not fetch it is not forgotten, others can.
    let mut entries = at_launch(Metric::Install, 0);
    entries.extend((0..2_000).map(|_| enrolled(1, Arm::Treatment, 70)));
    entries.extend((0..2_000).map(|n| launched(1, n, 80)));
    assert_eq!(at(&fold(&entries), &look(80)).0, Decision::Hold);
}

#[test]
fn arms_of_the_wrong_size_hold_the_rollout() {
    let evidence = fold(&proven());
    let with = |treatment| {
        let shares = [Share { level: 0, treatment }];
        at(&evidence, &Look { shares: &shares, ..look(10_000) })
    };
    assert_eq!(with(0.25).0, Decision::Advance);
    let (decision, reason, sentence) = with(0.05);
    assert_eq!((decision, reason), (Decision::Hold, Reason::SampleRatioMismatch));
    assert!(sentence.contains("where 5 % are expected"), "{sentence}");
}

#[test]
fn a_finding_pauses_its_segment_and_then_the_rest_goes_on() {
    // A twentieth of the fleet runs an Android that the candidate breaks.
    let mut chance = Chance(5);
    let mut evidence = evidence(Records::default());
    for ordinal in 0..20_000_u32 {
        let (old, treatment) = (chance.below(0.05), chance.below(0.25));
        let traits = Traits { os: if old { 9 } else { 14 }, ..traits() };
        let arm = if treatment { Arm::Treatment } else { Arm::Control };
        let at = i64::from(ordinal);
        evidence.apply(&Entry::Enrolled { level: 0, arm, traits, at });
        if chance.below(if old && treatment { 0.25 } else { 0.05 }) {
            evidence.apply(&failed(0, ordinal, Metric::Health, at));
        }
    }
    let segment = Segment::Os(Platform::Android, 9);
    let verdict = verdict(&evidence, 25_000);
    assert_eq!(
        (verdict.decision, verdict.reason),
        (Decision::Pause, Reason::SegmentWorse),
        "{}",
        verdict.sentence
    );
    assert_eq!(verdict.segment.as_ref(), Some(&segment));
    assert!(verdict.sentence.starts_with("on android 9 the candidate's devices fail more often"));
    let paused = [segment];
    assert_eq!(at(&evidence, &Look { paused: &paused, ..look(25_000) }).0, Decision::Advance);
}

#[test]
fn without_control_the_last_level_watches_the_candidate_alone() {
    let mut entries: Vec<Entry> = (0..100).map(|_| enrolled(0, Arm::Treatment, 0)).collect();
    entries.extend((0..100).map(|n| launched(0, n, 10)));
    let last = Look { last: true, weight_ppm: 1_000_000, ..look(10_000) };
    let (decision, reason, sentence) = at(&fold(&entries), &last);
    assert_eq!((decision, reason), (Decision::Advance, Reason::NothingAgainst));
    assert!(sentence.starts_with("the soak at 100 % has passed"), "{sentence}");
    entries.extend((0..100).map(|n| failed(0, n, Metric::Launch, 20)));
    assert_eq!(at(&fold(&entries), &last).0, Decision::Abort);
}

#[test]
fn who_left_is_compared_with_nobody_and_its_failures_stay() {
    // Half of 40 are treatment. Control leaves; then nobody is left to compare a failure of treatment with.
    let mut entries: Vec<Entry> =
        (0..40).map(|n| enrolled(0, [Arm::Treatment, Arm::Control][n % 2], 0)).collect();
    entries.extend([failed(0, 0, Metric::Health, 10), failed(0, 1, Metric::Health, 10)]);
    let before = verdict(&fold(&entries), 20).numbers;
    entries.extend((0..20).map(|n| Entry::Left { level: 0, ordinal: 2 * n + 1 }));
    entries.extend((1..20).map(|n| failed(0, 2 * n, Metric::Health, 20)));
    entries.push(failed(0, 3, Metric::Silence, 20));
    let evidence = fold(&entries);
    let after = verdict(&evidence, 20).numbers;
    assert_eq!(before.health.to_bits(), after.health.to_bits());
    assert_eq!((after.treatment.health, after.control.health), (20, 1));
    assert_eq!(evidence.ignored, 1, "what is said of it later");
    entries.push(Entry::Left { level: 0, ordinal: 3 });
    assert_eq!(fold(&entries).ignored, 2, "it cannot leave twice");
}

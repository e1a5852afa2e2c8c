//! Journals that nobody should have written.

use proptest::prelude::*;

use super::fleet::{Chance, Rates, enrolled, failed, fold, journal, launched, look, verdict};
use crate::{
    channel::Platform,
    gate::{Decision, Policy, Share, judge},
    trial::{Arm, Discount, Entry, Metric, Traits},
};

fn time() -> impl Strategy<Value = i64> {
    prop_oneof![3 => 0_i64..200_000, 1 => Just(i64::MAX), 1 => Just(i64::MIN), 1 => any::<i64>()]
}

fn number() -> impl Strategy<Value = u32> {
    prop_oneof![6 => 0_u32..3, 4 => 0_u32..100, 1 => any::<u32>()]
}

fn arm() -> impl Strategy<Value = Arm> {
    prop_oneof![Just(Arm::Treatment), Just(Arm::Control)]
}

fn metric() -> impl Strategy<Value = Metric> {
    prop_oneof![Just(Metric::Health), Just(Metric::Silence), Just(Metric::Launch), Just(Metric::Install)]
}

fn entry() -> impl Strategy<Value = Entry> {
    let traits = (0_usize..3, number(), ".{0,3}").prop_map(|(platform, os, native)| Traits {
        platform: Platform::ALL[platform],
        os,
        native,
    });
    prop_oneof![
        4 => (number(), arm(), traits, time())
            .prop_map(|(level, arm, traits, at)| Entry::Enrolled { level, arm, traits, at }),
        1 => (number(), arm()).prop_map(|(level, arm)| Entry::Discounted { level, arm, why: Discount::New }),
        3 => (number(), number(), metric(), time())
            .prop_map(|(level, ordinal, metric, at)| Entry::Failed { level, ordinal, metric, at }),
        2 => (number(), number(), time())
            .prop_map(|(level, ordinal, at)| Entry::Launched { level, ordinal, at }),
        1 => (number(), number()).prop_map(|(level, ordinal)| Entry::Left { level, ordinal }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever the journal says, folding it again gives the same, and every number of the verdict is one.
    #[test]
    fn any_journal_can_be_folded(entries in prop::collection::vec(entry(), 0..600), now in time()) {
        let evidence = fold(&entries);
        prop_assert_eq!(&evidence, &fold(&entries));
        let shares = [Share { level: 0, treatment: 0.05 }];
        let look = crate::gate::Look { shares: &shares, ..look(now) };
        let verdict = judge(&evidence, &Policy::default(), &look);
        let text = serde_json::to_string(&verdict).unwrap();
        let numbers = &verdict.numbers;
        for evidence in [numbers.health, numbers.silence, numbers.launch.evidence, numbers.install.evidence, numbers.proof] {
            prop_assert!(evidence.is_finite() && evidence >= 0.0, "{text}");
        }
        prop_assert!(!verdict.sentence.is_empty() && !verdict.sentence.contains("NaN"), "{}", verdict.sentence);
    }

    /// Nothing is learnt from an entry that was there before, or concerns nobody.
    #[test]
    fn saying_it_twice_changes_nothing(seed in any::<u64>(), again in 0_usize..500) {
        let rates = Rates { treatment: 0.3, control: 0.1, launch: 0.2 };
        let mut entries = journal(&mut Chance(seed), 0, 0, 500, 4.0, rates);
        let once = fold(&entries);
        let again = entries.iter().filter(|e| !matches!(e, Entry::Enrolled { .. })).nth(again % 100).cloned();
        entries.extend(again);
        // As old as the journal: a later time would let windows turn, which is no business of the entry.
        entries.push(failed(9, 0, Metric::Health, 0));
        entries.push(launched(0, 500, 0));
        let twice = fold(&entries);
        prop_assert_eq!(twice.ignored, 3);
        let (mut first, mut second) = (verdict(&once, 10_000), verdict(&twice, 10_000));
        (first.numbers.ignored, second.numbers.ignored) = (0, 0);
        prop_assert_eq!(first, second);
    }
}

#[test]
fn a_control_device_cannot_start_the_candidate() {
    let mut entries = vec![enrolled(0, Arm::Control, 0), enrolled(0, Arm::Treatment, 0)];
    let before = fold(&entries);
    entries.extend([launched(0, 0, 5), failed(0, 0, Metric::Launch, 5), failed(0, 0, Metric::Install, 5)]);
    let after = fold(&entries);
    assert_eq!(after.ignored, 3);
    assert_eq!((before.launch, before.install), (after.launch, after.install));
}

#[test]
fn a_clock_that_was_wrong_proves_nothing_early() {
    // Everybody enrols after one entry of next year, and fails in truth. If the year counted as the horizon, blocks would
    // close before a failure can be reported.
    let year = 365 * 86_400;
    let mut entries = vec![enrolled(0, Arm::Control, year)];
    entries.extend((0..3_999_u32).map(|n| enrolled(0, [Arm::Treatment, Arm::Control][n as usize % 2], 10)));
    let evidence = fold(&entries);
    assert_eq!(verdict(&evidence, 100_000).decision, Decision::Hold);
    assert_eq!(verdict(&evidence, 100_000).numbers.exposed, 0);
    // When the time has really come, the evidence counts.
    assert_eq!(verdict(&evidence, year + 1_800).decision, Decision::Advance);
    // And a clock that is behind the journal looks as of the journal.
    assert_eq!(verdict(&evidence, i64::MIN), verdict(&evidence, year));
}

#[test]
fn a_look_ahead_of_the_journal_says_what_the_journal_will() {
    let rates = Rates { treatment: 0.02, control: 0.02, launch: 0.0 };
    let mut entries = journal(&mut Chance(1), 0, 0, 2_000, 4.0, rates);
    let ahead = verdict(&fold(&entries), 10_000);
    entries.push(Entry::Discounted { level: 0, arm: Arm::Control, why: Discount::Crowd });
    entries.push(enrolled(0, Arm::Control, 10_000));
    let later = verdict(&fold(&entries), 10_000);
    assert!(ahead.numbers.exposed > 400);
    assert_eq!(ahead.numbers.exposed, later.numbers.exposed);
    assert_eq!(ahead.numbers.proof.to_bits(), later.numbers.proof.to_bits());
}

#[test]
fn a_fleet_of_three_phones_is_compared_after_a_day() {
    let mut entries = vec![
        enrolled(0, Arm::Treatment, 0),
        enrolled(0, Arm::Control, 1),
        enrolled(0, Arm::Control, 2),
        failed(0, 0, Metric::Health, 60),
    ];
    assert!((verdict(&fold(&entries), 100).numbers.health - 1.0).abs() < 1e-9);
    entries.push(failed(0, 1, Metric::Silence, 86_400));
    let after = verdict(&fold(&entries), 86_400);
    assert!(after.numbers.health > 1.5 && after.decision == Decision::Hold, "{}", after.sentence);
}

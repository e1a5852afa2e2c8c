//! Who enrols, what becomes of it, and that the journal says so once.

use std::collections::BTreeMap;

use sluice_core::trial::{Arm, Discount, Entry, Membership, Metric, RolloutId, Traits};

use super::{APP, Hands, Place, START, bundle, check, device, event, open, record, reopen};
use crate::fleet::{CheckIn, Enrolling, Fleet, HORIZON_SECONDS, Limits, Noted, Segment};

const DAY: i64 = 24 * 3600;
const LINE: &str = "ios,android,electron|*";

/// A rollout of the suite.
pub(crate) fn rollout(serial: u64) -> RolloutId {
    RolloutId {
        app: APP.parse().expect("an app"),
        channel: "production".parse().expect("a channel"),
        line: LINE.to_owned(),
        serial,
    }
}

/// A check-in of a device that is in a trial of 2.0.0, which began a day after the suite did.
pub(crate) fn enrols(n: u64, at: i64, serial: u64, level: u32, arm: Arm) -> CheckIn<'static> {
    let trial = Enrolling {
        channel: "production",
        line: LINE,
        membership: Membership { serial, level, arm },
        candidate: "2.0.0",
        started: START + DAY,
        prefix: None,
    };
    CheckIn { trial: Some(trial), ..check(n, at, "1.0.0", None) }
}

/// A store that has known devices 0 to `devices` for a day and an hour.
async fn with_devices(fleet: &Fleet, hands: &Hands, devices: u64) {
    let digest = bundle("2.0.0");
    for n in 0..devices {
        fleet.check_in(&check(n, hands.now(), "1.0.0", Some(("2.0.0", &digest))));
    }
    hands.pass(DAY + 3600);
    fleet.flush().await.expect("flush");
}

/// The whole journal, which must be without a gap.
pub(crate) async fn journal(fleet: &Fleet, serial: u64) -> Vec<Entry> {
    let mut all: Vec<Entry> = Vec::new();
    // In small pieces, as the gate asks.
    loop {
        let news = fleet.journal(&rollout(serial), all.len() as u64, 7).await.expect("a journal");
        if news.is_empty() {
            return all;
        }
        for (number, entry) in news {
            assert_eq!(number, all.len() as u64 + 1, "without a gap");
            all.push(entry);
        }
    }
}

fn enrolled(level: u32, arm: Arm, at: i64) -> Entry {
    let traits =
        Traits { platform: sluice_core::channel::Platform::Android, os: 16, native: "1.0.0".to_owned() };
    Entry::Enrolled { level, arm, traits, at }
}

fn failures(journal: &[Entry], metric: Metric) -> usize {
    journal.iter().filter(|entry| matches!(entry, Entry::Failed { metric: m, .. } if *m == metric)).count()
}

/// A device enrols once in a level, in the next place, and leaves it for a later one.
pub async fn devices_enrol_once(place: &dyn Place) {
    let (fleet, hands) = open(place).await;
    with_devices(&fleet, &hands, 3).await;
    let at = hands.now();
    assert_eq!(journal(&fleet, 1).await, [], "nobody enrolled");
    for n in [0, 1, 0, 0] {
        fleet.check_in(&enrols(n, at, 1, 0, if n == 0 { Arm::Treatment } else { Arm::Control }));
        fleet.flush().await.expect("flush");
    }
    let written = fleet.figures().written_check_ins;
    fleet.check_in(&enrols(0, at + 10, 1, 0, Arm::Treatment));
    fleet.flush().await.expect("flush");
    assert_eq!(fleet.figures().written_check_ins, written, "a repeat costs nothing");
    let first = [enrolled(0, Arm::Treatment, at), enrolled(0, Arm::Control, at)];
    assert_eq!(journal(&fleet, 1).await, first);

    // Discounted: new since the rollout began, and no production device.
    fleet.check_in(&enrols(9, at, 1, 0, Arm::Control));
    let mut emulator = enrols(2, at, 1, 0, Arm::Treatment);
    emulator.emulator = true;
    fleet.check_in(&emulator);
    fleet.close().await.expect("close");

    // Places go on after a restart. A gateway that is behind changes nothing.
    let fleet = reopen(place, &hands).await;
    hands.pass(100);
    let later = hands.now();
    fleet.check_in(&enrols(1, later, 1, 1, Arm::Treatment));
    fleet.check_in(&enrols(1, later, 1, 0, Arm::Control));
    fleet.check_in(&enrols(0, later, 1, 0, Arm::Treatment));
    fleet.check_in(&enrols(2, later, 1, 0, Arm::Treatment));
    fleet.check_in(&enrols(0, later, 2, 0, Arm::Control));
    fleet.flush().await.expect("flush");
    let discounted = |why, arm| Entry::Discounted { level: 0, arm, why };
    let all = journal(&fleet, 1).await;
    assert_eq!(all[..2], first);
    assert_eq!(
        all[2..],
        [
            discounted(Discount::New, Arm::Control),
            discounted(Discount::NotProduction, Arm::Treatment),
            Entry::Left { level: 0, ordinal: 1 },
            enrolled(1, Arm::Treatment, later),
        ]
    );
    assert_eq!(journal(&fleet, 2).await, [enrolled(0, Arm::Control, later)], "another rollout of the line");

    let rollouts = fleet.rollouts().await.expect("rollouts");
    let levels = &rollouts[0].levels;
    assert_eq!((rollouts.len(), &rollouts[0].id, rollouts[0].ended), (2, &rollout(1), None));
    assert_eq!((levels[&0].enrolled, levels[&0].new, levels[&0].not_production), (2, 1, 1));
    assert_eq!((levels[&1].enrolled, levels[&1].crowd), (1, 0));
    let views = fleet.enrolment(APP, device(1)).await.expect("enrolments");
    assert_eq!(
        (views.len(), views[0].level, views[0].ordinal, views[0].arm),
        (1, 1, Some(0), Arm::Treatment)
    );
    let views = fleet.enrolment(APP, device(9)).await.expect("enrolments");
    assert_eq!((views[0].discount, views[0].ordinal), (Some(Discount::New), None));
    assert_eq!(fleet.enrolment(APP, device(77)).await.expect("enrolments"), []);
}

/// Of young ids one network prefix contributes so many; older ones are not counted.
pub async fn crowds_are_capped(place: &dyn Place) {
    let (fleet, hands) = open(place).await;
    with_devices(&fleet, &hands, 60).await;
    let from = |n: u64, at: i64, prefix: u64| {
        let mut check = enrols(n, at, 1, 0, Arm::Control);
        check.trial = check.trial.map(|trial| Enrolling { prefix: Some(prefix), ..trial });
        check
    };
    for n in 0..15 {
        fleet.check_in(&from(n, hands.now(), u64::MAX));
    }
    fleet.close().await.expect("close");
    let fleet = reopen(place, &hands).await;
    for n in 10..30 {
        fleet.check_in(&from(n, hands.now(), u64::MAX));
    }
    fleet.check_in(&from(30, hands.now(), 7));
    fleet.check_in(&enrols(31, hands.now(), 1, 0, Arm::Control));
    fleet.flush().await.expect("flush");
    let level = async |fleet: &Fleet| fleet.rollouts().await.expect("rollouts")[0].levels[&0];
    assert_eq!((level(&fleet).await.enrolled, level(&fleet).await.crowd), (22, 10));
    // Whole carriers sit behind one prefix: whoever was here a week ago is no forgery.
    hands.pass(7 * DAY);
    for n in 32..60 {
        fleet.check_in(&from(n, hands.now(), u64::MAX));
    }
    fleet.flush().await.expect("flush");
    assert_eq!((level(&fleet).await.enrolled, level(&fleet).await.crowd), (50, 10));
    // A day after its last device the prefix is forgotten.
    assert_eq!(fleet.clean_up().await.expect("clean-up"), 0);
    for n in 100..122 {
        let mut young = from(n, hands.now(), u64::MAX);
        young.trial = young.trial.map(|trial| Enrolling { started: hands.now() + 1, ..trial });
        young.trial = young
            .trial
            .map(|trial| Enrolling { membership: Membership { serial: 2, ..trial.membership }, ..trial });
        fleet.check_in(&young);
    }
    fleet.flush().await.expect("flush");
    let second = fleet.rollouts().await.expect("rollouts")[1].levels[&0];
    assert_eq!((second.enrolled, second.crowd), (20, 2), "each rollout counts for itself");
}

/// What a device reports is of its enrolment: in its arm, in its time, once.
pub async fn reports_fail_enrolments(place: &dyn Place) {
    let (fleet, hands) = open(place).await;
    // The shipped version crashed on everybody long ago.
    with_devices(&fleet, &hands, 4).await;
    let crash = |n: u64, at: i64| event(n, "app_crash", None, Some(at * 1000));
    record(&fleet, (0..4).map(|n| crash(n, hands.now() - 10)).collect()).await;
    let at = hands.now();
    fleet.check_in(&enrols(0, at, 1, 0, Arm::Treatment));
    fleet.check_in(&enrols(1, at, 1, 0, Arm::Control));
    fleet.check_in(&enrols(2, at, 1, 0, Arm::Treatment));
    fleet.check_in(&enrols(3, at, 1, 0, Arm::Control));
    // What happened before, or years ago, is none of the trial; nor is what an emulator says.
    hands.pass(100);
    let late = |n: u64, at: i64| event(n, "app_crash", Some("2.0.0"), Some(at * 1000));
    let mut emulator = crash(1, hands.now() - 1);
    emulator.emulator = true;
    record(&fleet, vec![crash(0, at - 3600), late(1, at - 900 * DAY), emulator]).await;
    assert_eq!(failures(&journal(&fleet, 1).await, Metric::Health), 0);
    // In both arms, whatever ran, once.
    for _ in 0..2 {
        record(&fleet, vec![crash(1, hands.now()), event(0, "webview_render_process_gone", None, None)])
            .await;
        hands.pass(90);
    }
    let all = journal(&fleet, 1).await;
    let health = |ordinal, at| Entry::Failed { level: 0, ordinal, metric: Metric::Health, at };
    assert_eq!(all[4..], [health(1, at + 100), health(0, at + 100)]);

    // Only the candidate, and only in the arm that is offered it; five events are one failure.
    let fails = |n: u64| {
        vec![
            event(n, "update_fail", Some("2.0.0"), None),
            event(n, "app_launch_timeout", Some("2.0.0"), None),
            event(n, "finish_download_fail", Some("2.0.0"), None),
            event(n, "finish_download_fail", Some("1.5.0"), None),
        ]
    };
    record(&fleet, fails(2)).await;
    record(&fleet, fails(3)).await;
    hands.pass(200);
    record(&fleet, fails(2)).await;
    let counts = |journal: &[Entry]| {
        [Metric::Health, Metric::Launch, Metric::Install].map(|metric| failures(journal, metric))
    };
    assert_eq!(counts(&journal(&fleet, 1).await), [4, 1, 1]);
    // It runs on the other one; what failed on a device is not well because it runs later.
    record(&fleet, vec![event(0, "app_launch_ready", Some("2.0.0"), None)]).await;
    record(&fleet, vec![event(2, "app_launch_ready", Some("2.0.0"), None)]).await;
    record(&fleet, vec![event(3, "app_launch_ready", Some("2.0.0"), None)]).await;
    let all = journal(&fleet, 1).await;
    let launched: Vec<_> = all.iter().filter(|e| matches!(e, Entry::Launched { .. })).collect();
    assert_eq!(launched, [&Entry::Launched { level: 0, ordinal: 0, at: hands.now() }]);

    // A restart knows what was noted, and a later level is a new enrolment with a horizon of its own.
    fleet.close().await.expect("close");
    let fleet = reopen(place, &hands).await;
    hands.pass(100);
    record(&fleet, vec![crash(1, hands.now()), event(0, "app_launch_ready", Some("2.0.0"), None)]).await;
    assert_eq!(journal(&fleet, 1).await.len(), all.len());
    fleet.check_in(&enrols(1, hands.now(), 1, 1, Arm::Treatment));
    hands.pass(HORIZON_SECONDS + 1);
    record(&fleet, vec![crash(1, hands.now())]).await;
    assert_eq!(
        journal(&fleet, 1).await.len(),
        all.len() + 2,
        "left, enrolled, and no failure after the horizon"
    );
    let delayed = event(1, "app_crash_native", None, Some((hands.now() - 60) * 1000));
    record(&fleet, vec![delayed]).await;
    assert_eq!(failures(&journal(&fleet, 1).await, Metric::Health), 5, "it happened within the horizon");
    let views = fleet.enrolment(APP, device(2)).await.expect("enrolments");
    assert_eq!(views[0].failed, [Metric::Health, Metric::Launch, Metric::Install]);
}

/// Old clients never say that a version started: a later request with it does.
pub async fn requests_show_launches(place: &dyn Place) {
    let (fleet, hands) = open(place).await;
    with_devices(&fleet, &hands, 2).await;
    for n in 0..2 {
        fleet.check_in(&enrols(n, hands.now(), 1, 0, Arm::Treatment));
    }
    record(&fleet, (0..2).map(|n| event(n, "set", Some("2.0.0"), None)).collect()).await;
    let runs = |n: u64, at: i64| CheckIn { running: "2.0.0", ..enrols(n, at, 1, 0, Arm::Treatment) };
    hands.pass(5);
    fleet.check_in(&runs(0, hands.now()));
    fleet.check_in(&runs(1, hands.now()));
    fleet.flush().await.expect("flush");
    assert_eq!(journal(&fleet, 1).await.len(), 2, "it may still fail");
    hands.pass(60);
    fleet.check_in(&runs(0, hands.now()));
    fleet.flush().await.expect("flush");
    assert_eq!(journal(&fleet, 1).await[2..], [Entry::Launched { level: 0, ordinal: 0, at: hands.now() }]);
    // The same version in another rollout: it started before, and it starts again.
    hands.pass(3 * DAY);
    fleet.check_in(&enrols(0, hands.now(), 2, 0, Arm::Treatment));
    hands.pass(100);
    fleet.check_in(&CheckIn { running: "2.0.0", ..enrols(0, hands.now(), 2, 0, Arm::Treatment) });
    fleet.flush().await.expect("flush");
    assert_eq!(journal(&fleet, 2).await[1..], [Entry::Launched { level: 0, ordinal: 0, at: hands.now() }]);
}

/// Who stays away for longer than ever is silent; an outage of ours is no silence of theirs.
pub async fn silence_is_judged(place: &dyn Place) {
    let (fleet, hands) = open(place).await;
    // Four sessions two hours apart: patience is six hours. Device 9 has too few.
    let (hour, devices) = (3600, [0, 1, 2, 3, 4]);
    for _ in 0..4 {
        for n in devices {
            fleet.check_in(&check(n, hands.now(), "1.0.0", None));
        }
        fleet.flush().await.expect("flush");
        hands.pass(2 * hour);
    }
    fleet.check_in(&check(9, hands.now(), "1.0.0", None));
    hands.pass(DAY - 8 * hour + 1);
    // The gap before this one is 18 hours; the median stays two.
    let at = hands.now();
    for n in devices.into_iter().chain([9]) {
        fleet.check_in(&enrols(n, at, 1, 0, if n % 2 == 0 { Arm::Treatment } else { Arm::Control }));
    }
    fleet.flush().await.expect("flush");
    let views = fleet.enrolment(APP, device(0)).await.expect("enrolments");
    assert_eq!(views[0].silence_due, Some(at + 6 * hour));
    assert_eq!(fleet.enrolment(APP, device(9)).await.expect("enrolments")[0].silence_due, None);

    // Contacts that belong to the enrolment say nothing; the first one after them does, though it changes nothing else.
    for n in [0, 1] {
        fleet.check_in(&enrols(n, at + 60, 1, 0, if n == 0 { Arm::Treatment } else { Arm::Control }));
    }
    fleet.check_in(&enrols(2, at + 61, 1, 0, Arm::Treatment));
    hands.pass(600);
    record(&fleet, vec![event(3, "download_1", None, None)]).await;
    fleet.flush().await.expect("flush");
    let due = async |n| fleet.enrolment(APP, device(n)).await.expect("enrolments")[0].silence_due;
    assert_eq!([due(0).await, due(1).await], [Some(at + 6 * hour); 2]);
    assert_eq!([due(2).await, due(3).await], [None; 2]);

    // Not before its time, and not before everything is taken in.
    hands.pass(6 * hour - 600);
    assert_eq!(fleet.judge_silence().await.expect("a judgement"), 0);
    hands.pass(60);
    fleet.taken_in(at + 6 * hour - 1);
    fleet.flush().await.expect("flush");
    assert_eq!(fleet.judge_silence().await.expect("a judgement"), 0, "a segment may be on its way");
    // It was: device 1 came to another gateway.
    let noted = Noted::of(&enrols(1, at + 3 * hour, 1, 0, Arm::Control), None, None).expect("an app");
    let segment = Segment { id: [1; 16], check_ins: vec![noted], ..Segment::default() };
    assert!(fleet.ingest(segment).await.expect("it is taken in"));
    fleet.taken_in(i64::MAX);
    assert_eq!(fleet.judge_silence().await.expect("a judgement"), 2, "devices 0 and 4");
    assert_eq!(fleet.judge_silence().await.expect("a judgement"), 0, "once");
    let silence = |ordinal| Entry::Failed { level: 0, ordinal, metric: Metric::Silence, at: at + 6 * hour };
    let mut silent = journal(&fleet, 1).await.split_off(6);
    silent.sort_by_key(|entry| format!("{entry:?}"));
    assert_eq!(silent, [silence(0), silence(4)]);

    // We are away for longer than a restart takes: devices get their whole time again.
    fleet.check_in(&enrols(0, hands.now(), 1, 1, Arm::Treatment));
    fleet.close().await.expect("close");
    hands.pass(7 * hour);
    let fleet = reopen(place, &hands).await;
    let up = hands.now();
    hands.pass(60);
    assert_eq!(fleet.judge_silence().await.expect("a judgement"), 0);
    fleet.close().await.expect("close");
    hands.pass(100);
    let fleet = reopen(place, &hands).await;
    hands.pass(up + 6 * hour - hands.now());
    assert_eq!(fleet.judge_silence().await.expect("a judgement"), 0, "a short restart is no outage");
    hands.pass(10);
    fleet.flush().await.expect("flush");
    assert_eq!(fleet.judge_silence().await.expect("a judgement"), 1);
    // A gateway lost contacts.
    fleet.check_in(&enrols(4, hands.now(), 1, 1, Arm::Treatment));
    fleet.flush().await.expect("flush");
    hands.pass(7 * hour);
    let segment = Segment { id: [2; 16], lost: Some(hands.now() - hour), ..Segment::default() };
    assert!(fleet.ingest(segment).await.expect("it is taken in"));
    fleet.flush().await.expect("flush");
    assert_eq!(fleet.judge_silence().await.expect("a judgement"), 0);
}

/// Enrolments that came by a segment count once, however often it comes.
pub async fn segments_enrol_once(place: &dyn Place) {
    let (fleet, hands) = open(place).await;
    with_devices(&fleet, &hands, 3).await;
    let segment = |id: u8| {
        let noted = |n| Noted::of(&enrols(n, hands.now(), 1, 0, Arm::Treatment), None, None).expect("an app");
        let fails = event(1, "update_fail", Some("2.0.0"), None);
        let events = vec![crate::fleet::Reported::of(fails, hands.now() + 1)];
        Segment { id: [id; 16], check_ins: (0..3).map(noted).collect(), events, ..Segment::default() }
    };
    for id in [1, 2, 1, 2] {
        fleet.ingest(segment(id)).await.expect("it is taken in");
    }
    fleet.check_in(&enrols(0, hands.now(), 1, 0, Arm::Treatment));
    fleet.close().await.expect("close");
    let fleet = reopen(place, &hands).await;
    fleet.ingest(segment(1)).await.expect("it is taken in");
    let all = journal(&fleet, 1).await;
    assert_eq!(all[..3], [0; 3].map(|_| enrolled(0, Arm::Treatment, hands.now())));
    // A gateway's clock that is ahead does not move the journal's.
    assert_eq!(all[3..], [Entry::Failed { level: 0, ordinal: 1, metric: Metric::Launch, at: hands.now() }]);
}

/// A rollout that ended takes nobody in, and what it has goes in time.
pub async fn ended_rollouts_go(place: &dyn Place) {
    let hands = Hands::default();
    let limits = Limits { bite: 3, ..Limits::default() };
    let fleet = place.open(hands.clock(), limits).await.expect("the store opens");
    with_devices(&fleet, &hands, 20).await;
    for n in 0..10 {
        fleet.check_in(&enrols(n, hands.now(), 1, 0, Arm::Treatment));
        fleet.check_in(&enrols(n, hands.now(), 2, 0, Arm::Treatment));
    }
    fleet.flush().await.expect("flush");
    fleet.end_rollout(&rollout(1)).await.expect("it ends");
    fleet.end_rollout(&rollout(1)).await.expect("it ends once");
    fleet.end_rollout(&rollout(3)).await.expect("it ends before anybody enrolled");
    fleet.check_in(&enrols(11, hands.now(), 1, 0, Arm::Treatment));
    fleet.check_in(&enrols(11, hands.now(), 3, 0, Arm::Treatment));
    record(&fleet, vec![event(1, "update_fail", Some("2.0.0"), None)]).await;
    assert_eq!((journal(&fleet, 1).await.len(), journal(&fleet, 2).await.len()), (10, 11));
    assert_eq!(journal(&fleet, 3).await, []);
    let ended =
        fleet.rollouts().await.expect("rollouts").iter().map(|r| r.ended.is_some()).collect::<Vec<_>>();
    assert_eq!(ended, [true, false, true]);
    assert!(fleet.clean_up().await.expect("clean-up") <= 1, "nothing but what events leave");
    hands.pass(31 * DAY);
    fleet.clean_up().await.expect("clean-up");
    assert_eq!((journal(&fleet, 1).await.len(), journal(&fleet, 2).await.len()), (0, 11));
    let views = fleet.enrolment(APP, device(1)).await.expect("enrolments");
    assert_eq!((views.len(), &views[0].rollout), (1, &rollout(2)));
    fleet.check_in(&enrols(12, hands.now(), 1, 0, Arm::Treatment));
    fleet.flush().await.expect("flush");
    assert_eq!(journal(&fleet, 1).await, [], "it is known to have ended");
    hands.pass(400 * DAY);
    fleet.clean_up().await.expect("clean-up");
    let left: Vec<_> = fleet.rollouts().await.expect("rollouts").into_iter().map(|r| r.id.serial).collect();
    assert_eq!(left, [2], "what still runs");
    assert_eq!(fleet.judge_silence().await.expect("a judgement"), 0);
    let ended = fleet.rollouts().await.expect("rollouts")[0].ended;
    assert_eq!(ended, Some(hands.now()), "no rollout takes so long");
}

/// Random histories: the journal says what a simple model says.
pub async fn journals_tell_what_a_model_tells(place: &dyn Place) {
    let hands = Hands::default();
    let limits = || Limits { judge_every: 24 * 3600, ..Limits::default() };
    let mut fleet = place.open(hands.clock(), limits()).await.expect("the store opens");
    with_devices(&fleet, &hands, 8).await;
    let mut model = Model::default();
    let mut random = Random(0x5eed);
    let (mut levels, mut clock, mut sent) = ([0_u32; 2], hands.now() * 1000, Vec::new());
    for step in 0..600 {
        match random.below(20) {
            0..=7 => {
                let (n, of) = (random.below(8), random.below(2));
                let serial = of + 1;
                let level = levels[usize::from(of == 1)].saturating_sub(u32::from(random.below(5) == 0));
                let arm = if (n + u64::from(level)) % 2 == 0 { Arm::Treatment } else { Arm::Control };
                fleet.check_in(&enrols(n, hands.now(), serial, level, arm));
                model.enrol(n, serial, level, arm, hands.now());
            }
            8..=14 => {
                let actions =
                    ["update_fail", "app_launch_ready", "finish_download_fail", "app_crash", "set_next"];
                let action = actions[usize::try_from(random.below(5)).expect("small")];
                clock = clock.max(hands.now() * 1000) + 1;
                let new = (random.below(8), action, clock);
                let mut array = vec![new];
                // Clients repeat what was not answered, and arrays come in any order.
                if !sent.is_empty() {
                    array.push(sent[usize::try_from(random.below(sent.len() as u64)).expect("small")]);
                }
                if random.below(2) == 0 {
                    array.reverse();
                }
                sent.push(new);
                let events = array.iter().map(|(n, action, at)| event(*n, action, Some("2.0.0"), Some(*at)));
                record(&fleet, events.collect()).await;
                model.report(new.0, action, hands.now());
            }
            15 => levels[usize::from(random.below(2) == 1)] += u32::from(random.below(3) == 0),
            16 => fleet.flush().await.expect("flush"),
            17 if step % 3 == 0 => {
                fleet.close().await.expect("close");
                fleet = place.open(hands.clock(), limits()).await.expect("the store opens");
            }
            _ => hands.pass(i64::try_from(random.below(400)).expect("small")),
        }
    }
    fleet.flush().await.expect("flush");
    let (first, second, unknown) = (rollout(1), rollout(2), rollout(3));
    let of = [(&second, 2), (&unknown, 0), (&first, 0), (&second, u64::MAX)];
    let together = fleet.news(&of[..3], 5).await.expect("news");
    let apart = [fleet.journal(&second, 2, 5).await, Ok(Vec::new()), fleet.journal(&first, 0, 5).await];
    assert_eq!(together, apart.map(|news| news.expect("a journal")), "in one question as in many");
    assert_eq!(together[0].iter().map(|(number, _)| *number).collect::<Vec<_>>(), [3, 4, 5, 6, 7]);
    assert_eq!(fleet.news(&of[3..], 5).await.expect("news"), [[]], "nothing is new");
    for serial in [1, 2] {
        let said = journal(&fleet, serial).await;
        assert_eq!(said, model.journals.remove(&serial).unwrap_or_default(), "rollout {serial}");
        let counts = [Metric::Health, Metric::Launch, Metric::Install].map(|metric| failures(&said, metric));
        assert!(counts.iter().all(|n| *n > 0), "the history shows something: {counts:?}");
    }
}

/// Numbers that are the same in every run (Knuth's multiplier).
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

/// What a trial is, as plainly as it can be said.
#[derive(Default)]
struct Model {
    journals: BTreeMap<u64, Vec<Entry>>,
    sizes: BTreeMap<(u64, u32), u32>,
    enrolments: BTreeMap<(u64, u64), Enrolment>,
}

struct Enrolment {
    level: u32,
    arm: Arm,
    ordinal: u32,
    at: i64,
    failed: Vec<Metric>,
    launched: bool,
}

impl Model {
    fn enrol(&mut self, n: u64, serial: u64, level: u32, arm: Arm, at: i64) {
        let journal = self.journals.entry(serial).or_default();
        if let Some(before) = self.enrolments.get(&(n, serial)) {
            if before.level >= level {
                return;
            }
            journal.push(Entry::Left { level: before.level, ordinal: before.ordinal });
        }
        let size = self.sizes.entry((serial, level)).or_default();
        let ordinal = *size;
        *size += 1;
        journal.push(enrolled(level, arm, at));
        let enrolment = Enrolment { level, arm, ordinal, at, failed: Vec::new(), launched: false };
        self.enrolments.insert((n, serial), enrolment);
    }

    fn report(&mut self, n: u64, action: &str, at: i64) {
        for serial in [1, 2] {
            let Some(of) = self.enrolments.get_mut(&(n, serial)) else { continue };
            let (level, ordinal) = (of.level, of.ordinal);
            let metric = match action {
                "app_crash" if at <= of.at + HORIZON_SECONDS => Some(Metric::Health),
                "update_fail" if of.arm == Arm::Treatment => Some(Metric::Launch),
                "finish_download_fail" if of.arm == Arm::Treatment => Some(Metric::Install),
                _ => None,
            };
            let journal = self.journals.entry(serial).or_default();
            if let Some(metric) = metric.filter(|metric| !of.failed.contains(metric)) {
                of.failed.push(metric);
                journal.push(Entry::Failed { level, ordinal, metric, at });
            }
            let starts = action == "app_launch_ready" && of.arm == Arm::Treatment;
            if starts && !of.launched && !of.failed.contains(&Metric::Launch) {
                of.launched = true;
                journal.push(Entry::Launched { level, ordinal, at });
            }
        }
    }
}

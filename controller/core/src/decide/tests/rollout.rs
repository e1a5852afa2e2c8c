//! A candidate beside what is stable.

use super::*;
use crate::{
    cohort::ALL,
    trial::{Arm, Membership},
};

/// One line with stable 1.2.0 and candidate 1.5.0 at `weight`, changed by `with`.
#[expect(clippy::needless_pass_by_value, reason = "called with a literal")]
pub(super) fn line(weight: u32, with: Value) -> Value {
    let cohort = json!({ "salt": "07".repeat(32), "serial": 3, "weight": weight, "below": 0 });
    let candidate =
        json!({ "release": "1.5.0", "cohort": cohort, "level": 2, "started": 1_000, "open": true });
    let mut line = json!({
        "platforms": ["ios", "android", "electron"], "stable": "1.2.0", "candidate": candidate,
    });
    for (key, value) in with.as_object().unwrap() {
        if let Some(field) = key.strip_prefix("candidate.") {
            line["candidate"][field] = value.clone();
        } else {
            line[key] = value.clone();
        }
    }
    line
}

pub(super) fn rollout(weight: u32, with: Value) -> Snapshot {
    one(json!({ "lines": [line(weight, with)] }))
}

/// The first device that a rollout at 10 % reaches, and the first that it compares with and does not reach.
fn of_each_arm() -> (Device, Device) {
    let snapshot = rollout(100_000, json!({}));
    let find = |arm| {
        (0..1_000).map(|id| Device { id, ..device() }).find(|d| arm_of(d, &snapshot) == Some(arm)).unwrap()
    };
    (find(Arm::Treatment), find(Arm::Control))
}

fn arm_of(device: &Device, snapshot: &Snapshot) -> Option<Arm> {
    device.asks(snapshot).trial.map(|trial| trial.membership.arm)
}

#[test]
fn each_arm_gets_its_answer_and_is_noted() {
    let snapshot = rollout(100_000, json!({}));
    let (treated, control) = of_each_arm();
    expect(&treated, &snapshot, "1.5.0", "Offered");
    expect(&control, &snapshot, "1.2.0", "Offered");
    let decision = treated.asks(&snapshot);
    let trial = decision.trial.unwrap();
    assert_eq!(trial.membership, Membership { serial: 3, level: 2, arm: Arm::Treatment });
    assert_eq!((trial.candidate.name.as_str(), trial.started), ("1.5.0", 1_000));
    assert_eq!(
        (trial.channel.name.as_str(), trial.line.key.as_str()),
        ("production", "ios,android,electron|*")
    );
    assert_eq!(
        decision.trace.to_string(),
        "Channel production: it is the public channel for the device's platform.\n\
         1.5.0 is being rolled out, to 10 % so far.\n\
         The device is in the share that 1.5.0 is offered to.\n\
         The device takes part in the trial of level 2 as one of those who are offered the release.\n\
         The device is offered 1.5.0."
    );
    assert_eq!(
        control.asks(&snapshot).trace.to_string(),
        "Channel production: it is the public channel for the device's platform.\n\
         1.5.0 is being rolled out, to 10 % so far.\n\
         The rollout of 1.5.0 has not reached the device yet.\n\
         The device takes part in the trial of level 2 as one of those whom the others are compared with.\n\
         The channel serves 1.2.0.\n\
         The device is offered 1.2.0."
    );
    // Once it runs what it was offered, nothing changes.
    let running = Device { runs: "1.5.0", ..treated };
    expect(&running, &snapshot, "nothing new", "AlreadyRuns");
    assert_eq!(arm_of(&running, &snapshot), Some(Arm::Treatment));
    let running = Device { runs: "1.2.0", ..control };
    expect(&running, &snapshot, "nothing new", "AlreadyRuns");
    assert_eq!(arm_of(&running, &snapshot), Some(Arm::Control));
}

#[test]
fn who_was_reached_by_an_earlier_level_is_offered_it_and_not_noted_again() {
    let earlier = rollout(100_000, json!({}));
    let later = rollout(
        200_000,
        json!({ "candidate.cohort": { "salt": "07".repeat(32), "serial": 3, "weight": 200_000, "below": 100_000 } }),
    );
    let (treated, _) = of_each_arm();
    assert_eq!(arm_of(&treated, &earlier), Some(Arm::Treatment));
    expect(&treated, &later, "1.5.0", "Offered");
    assert_eq!(arm_of(&treated, &later), None);
}

/// Devices that the candidate is not for are in neither arm.
#[test]
fn whoever_may_not_have_it_gets_stable_and_is_in_neither_arm() {
    let snapshot = snapshot_of(
        &[channel(json!({ "lines": [line(ALL, json!({}))], "upgrade": "Any" }))],
        json!({ "1.5.0": { "native": ">=1.1.0" }, "2.0.0": { "keyId": "MIIBCgKCAQEAsyjtLM18" } }),
    );
    let step = |device: &Device| {
        let decision = device.asks(&snapshot);
        assert!(decision.trial.is_none());
        decision.trace.iter().map(Step::code).collect::<Vec<_>>().join(" ")
    };
    let old = device();
    expect(&old, &snapshot, "1.2.0", "Offered");
    assert_eq!(step(&old), "ChannelPublic Candidate RequiresNative Target Offered");
    let fits = Device { native: "1.1.0", ..device() };
    expect(&fits, &snapshot, "1.5.0", "Offered");
    assert_eq!(arm_of(&fits, &snapshot), Some(Arm::Treatment));
    let failed = Failed { digest: digest("1.5.0"), native: "1.1.0".parse().unwrap(), at: 0 };
    let failed =
        Device { memory: Some(DeviceMemory { channel: None, failed: vec![failed] }), ..fits.clone() };
    expect(&failed, &snapshot, "1.2.0", "Offered");
    assert_eq!(step(&failed), "ChannelPublic Candidate FailedHere Target Offered");
    let development =
        snapshot_of(&[channel(json!({ "lines": [line(ALL, json!({}))], "development": false }))], json!({}));
    let built = Device { production: false, ..device() };
    expect(&built, &development, "disable_dev_build", "SwitchedOff");
    assert!(built.asks(&development).trial.is_none());
    // Put there by support: served as everybody, and no evidence.
    let put = fits.on("production", OverrideBy::Support);
    expect(&put, &snapshot, "1.5.0", "Offered");
    assert!(put.asks(&snapshot).trial.is_none());
}

/// Section 3 of the design: a first release under steps.
#[test]
fn of_a_first_release_nobody_else_is_sent_anywhere() {
    let snapshot = rollout(100_000, json!({ "stable": null }));
    let (treated, control) = of_each_arm();
    expect(&treated, &snapshot, "1.5.0", "Offered");
    expect(&control, &snapshot, "nothing new", "NothingElse");
    expect(&Device { runs: "0.9.0", ..control.clone() }, &snapshot, "nothing new", "NothingElse");
    assert_eq!(arm_of(&control, &snapshot), Some(Arm::Control));
    // Such a channel is not an empty one.
    let snapshot = snapshot_of(
        &[channel(json!({ "channel": "first", "lines": [line(ALL, json!({ "stable": null }))] }))],
        json!({}),
    );
    expect(&device().on("first", OverrideBy::Support), &snapshot, "1.5.0", "Offered");
}

#[test]
fn a_closed_candidate_is_kept_and_not_offered() {
    let snapshot = rollout(ALL, json!({ "candidate.open": false }));
    expect(&device(), &snapshot, "1.2.0", "Offered");
    assert!(device().asks(&snapshot).trial.is_none());
    let running = Device { runs: "1.5.0", ..device() };
    expect(&running, &snapshot, "nothing new", "AlreadyRuns");
    assert!(running.asks(&snapshot).trial.is_none());
    // Also after the weight went down.
    expect(&running, &rollout(0, json!({})), "nothing new", "AlreadyRuns");
}

#[test]
fn an_overtaken_candidate_is_kept_until_the_next_one_comes() {
    let (treated, control) = of_each_arm();
    let kept = |with: Value| rollout(100_000, with);
    let snapshot = kept(json!({ "kept": ["1.0.1", "1.2.0"], "stable": "1.0.0" }));
    for id in [treated.id, control.id] {
        let running = Device { id, runs: "1.2.0", ..device() };
        assert!(running.asks(&snapshot).trial.is_none(), "it runs another candidate");
    }
    expect(&Device { runs: "1.2.0", ..control.clone() }, &snapshot, "nothing new", "Overtaken");
    expect(&Device { runs: "1.2.0", ..treated }, &snapshot, "1.5.0", "Offered");
    // What is stable went past it.
    let past = kept(json!({ "kept": ["1.0.1"] }));
    expect(&Device { runs: "1.0.1", ..control }, &past, "1.2.0", "Offered");
    // Of a line without a stable release, and without a candidate.
    let alone = one(json!({ "lines": [
        { "platforms": ["android"], "stable": null, "kept": ["1.2.0"] }
    ] }));
    expect(&Device { runs: "1.2.0", ..device() }, &alone, "nothing new", "Overtaken");
}

#[test]
fn who_is_not_reached_any_more_goes_back_where_the_channel_wants_that() {
    let (treated, control) = of_each_arm();
    let runs = |device: &Device| Device { runs: "1.5.0", ..device.clone() };
    let lowered = rollout(100_000, json!({ "candidate.returning": true }));
    expect(&runs(&treated), &lowered, "nothing new", "AlreadyRuns");
    expect(&runs(&control), &lowered, "1.2.0", "Offered");
    let decision = runs(&control).asks(&lowered);
    assert!(decision.trial.is_none(), "it is in neither arm");
    assert!(decision.trace.to_string().contains("does not reach it any more"), "{}", decision.trace);
    // Else, and while nobody is offered anything, it keeps what it runs.
    expect(&runs(&control), &rollout(100_000, json!({})), "nothing new", "AlreadyRuns");
    let closed = rollout(100_000, json!({ "candidate.returning": true, "candidate.open": false }));
    expect(&runs(&control), &closed, "nothing new", "AlreadyRuns");
    // Nobody goes to and fro with what a device says of itself, and nobody is sent back from what says so.
    for with in [
        json!({ "candidate.returning": true, "candidate.audience": { "countries": ["FR"] } }),
        json!({
            "candidate.returning": true,
            "candidate.reached": [{ "audience": { "countries": ["FR"] }, "weight": 1_000_000 }],
        }),
    ] {
        expect(&runs(&control), &rollout(100_000, with), "nothing new", "AlreadyRuns");
    }
    let lines = json!([line(100_000, json!({ "candidate.returning": true }))]);
    let stop_only =
        snapshot_of(&[channel(json!({ "lines": lines }))], json!({ "1.5.0": { "rollback": "StopOnly" } }));
    expect(&runs(&control), &stop_only, "nothing new", "AlreadyRuns");
}

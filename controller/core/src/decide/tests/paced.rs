//! A limit on offers.

use super::{
    braked::brakes,
    rollout::{line, rollout},
    *,
};
use crate::{
    brake::{Devices, Scope},
    cohort::ALL,
    trial::Arm,
};

fn at_limit(device: &Device, snapshot: &Snapshot) -> ((String, &'static str), bool) {
    let decision = device.asks_as(decide_at_limit, snapshot, &NO_BRAKES, 0);
    assert!(decision.paced.is_none());
    (short(&decision), decision.trial.is_some())
}

/// Nobody is offered the candidate, and nobody is noted in either arm: it is as if it had not reached the device.
#[test]
fn at_the_limit_the_rollout_has_not_reached_the_device() {
    let snapshot = rollout(100_000, json!({ "offersPerMinute": 5 }));
    let untouched = rollout(0, json!({}));
    let (mut offers, mut compared, mut free) = (0, 0, 0);
    for id in 0..500 {
        for runs in ["builtin", "1.2.0", "1.5.0"] {
            let device = Device { id, runs, ..device() };
            let decision = device.asks(&snapshot);
            let arm = decision.trial.map(|trial| trial.membership.arm);
            match decision.paced {
                Some(Paced { offers: true, per_minute: 5, .. }) => {
                    assert!(matches!(decision.answer, Answer::Update(bundle) if bundle.name == "1.5.0"));
                    offers += 1;
                }
                Some(paced) => {
                    assert_eq!((arm, paced.offers), (Some(Arm::Control), false));
                    compared += 1;
                }
                None => {
                    assert!(runs == "1.5.0" || arm.is_none(), "{:?}", decision.trace);
                    free += 1;
                }
            }
            let (answer, noted) = at_limit(&device, &snapshot);
            assert_eq!(answer.0, short(&device.asks(&untouched)).0, "{runs}");
            assert!(!noted || runs == "1.5.0");
        }
    }
    assert!(offers > 50 && compared > 500 && free >= 500, "{offers} {compared} {free}");
    let reached = (0..500).map(|id| Device { id, ..device() });
    let reached =
        reached.clone().find(|d| d.asks(&snapshot).paced.is_some_and(|paced| paced.offers)).unwrap();
    assert_eq!(
        reached.asks_as(decide_at_limit, &snapshot, &NO_BRAKES, 0).trace.to_string(),
        "Channel production: it is the public channel for the device's platform.\n\
         1.5.0 is being rolled out, to 10 % so far.\n\
         1.5.0 may be offered 5 times a minute here, and was just now: the device has to come again.\n\
         The device is in neither arm of the trial of level 2: nobody is noted while no more offers may be made.\n\
         The channel serves 1.2.0.\n\
         The device is offered 1.2.0."
    );
}

/// The limit holds on when everybody gets the release, and not for what was there before.
#[test]
fn without_a_rollout_the_limit_is_on_what_everybody_gets() {
    let stable = json!([{ "platforms": ["android"], "stable": "1.5.0", "fallbacks": ["1.2.0"], "offersPerMinute": 5 }]);
    let snapshot = one(json!({ "lines": stable }));
    assert!(device().asks(&snapshot).paced.unwrap().offers);
    assert_eq!(at_limit(&device(), &snapshot), (("nothing new".into(), "AtLimit"), false));
    let running = Device { runs: "1.5.0", ..device() };
    assert!(running.asks(&snapshot).paced.is_none());
    assert_eq!(at_limit(&running, &snapshot), (("nothing new".into(), "AlreadyRuns"), false));
    // Who is outside a rollout gets what is stable, however many there are.
    let closed = rollout(ALL, json!({ "offersPerMinute": 5, "candidate.open": false }));
    assert!(device().asks(&closed).paced.is_none());
    assert_eq!(at_limit(&device(), &closed).0.0, "1.2.0");
}

/// Whoever must leave what it runs does so at once.
#[test]
fn a_return_is_not_limited() {
    let line = line(ALL, json!({ "offersPerMinute": 5 }));
    let lines = json!([line]);
    for lines in [lines, json!([{ "platforms": ["android"], "stable": "1.2.0", "offersPerMinute": 5 }])] {
        let snapshot = one(json!({ "lines": lines }));
        let bad = brakes(&[("1.0.1", Scope::App, Devices::Return)]);
        let leaving = Device { runs: "1.0.1", ..device() };
        let decision = leaving.asks_braked(&snapshot, &bad, 0);
        assert!(decision.paced.is_none() && matches!(decision.answer, Answer::Update(_)));
    }
}

/// While offers are few, as large a part of either arm is noted: the sample ratio stays what it must be.
#[test]
fn a_limit_does_not_change_the_ratio_of_the_arms() {
    let line = line(50_000, json!({ "offersPerMinute": 20 }));
    let snapshot = one(json!({ "lines": [line] }));
    let all = 4_000;
    let mut noted: Vec<Option<Arm>> = vec![None; all];
    let mut dice = 0x5EED_u64;
    let (mut held_back, mut most) = (0, 0);
    for second in 0..300_u64 {
        let mut offers = 0;
        // Everybody asks once a minute, in any order.
        for turn in 0..(all as u64 / 60) {
            dice ^= dice << 13;
            dice ^= dice >> 7;
            dice ^= dice << 17;
            let id = dice % all as u64;
            let slot = &mut noted[usize::try_from(id).unwrap()];
            let runs = if *slot == Some(Arm::Treatment) { "1.5.0" } else { "1.2.0" };
            let decision = Device { id, runs, ..device() }.asks(&snapshot);
            let now = second * 1_000_000 + turn * 10_000;
            if decision.paced.is_some_and(|paced| !paced.take(now)) {
                held_back += 1;
                continue;
            }
            offers += u32::from(matches!(decision.answer, Answer::Update(_)));
            if let Some(trial) = decision.trial {
                slot.get_or_insert(trial.membership.arm);
            }
        }
        most = most.max(offers);
    }
    let count = |arm| noted.iter().filter(|noted| **noted == Some(arm)).count();
    let (treated, compared) = (count(Arm::Treatment), count(Arm::Control));
    assert!(most <= 1 && held_back > 1_000, "{most} in a second, {held_back} held back");
    assert!((60..=100).contains(&treated), "{treated} in five minutes at twenty a minute");
    let ratio = compared / treated;
    assert!((15..=24).contains(&ratio), "{compared} to {treated}, and 19 to 1 is right");
}

/// A probe installs nothing: it is shown what a device would be offered, and takes nobody's place.
#[test]
fn a_probe_takes_nobodys_place() {
    let snapshot = rollout(ALL, json!({ "offersPerMinute": 1 }));
    let offers = |probe| {
        let decision = Device { probe, ..device() }.asks(&snapshot);
        assert!(matches!(decision.answer, Answer::Update(bundle) if bundle.name == "1.5.0"));
        decision.paced.is_some()
    };
    assert_eq!((offers(false), offers(true)), (true, false));
}

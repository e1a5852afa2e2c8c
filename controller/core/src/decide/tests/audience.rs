//! Whom a channel is limited to.

use super::{
    braked::{brakes, on},
    rollout::{line, rollout},
    *,
};
use crate::{
    brake::{Devices, Scope},
    cohort::ALL,
};

/// A public channel for the staff.
#[expect(clippy::needless_pass_by_value, reason = "called with a literal")]
fn staff(with: Value) -> Snapshot {
    let mut staff = json!({ "audience": { "customIds": ["staff-*"] } });
    staff.as_object_mut().unwrap().extend(with.as_object().unwrap().clone());
    one(staff)
}

fn ada() -> Device {
    Device { custom_id: Some("staff-ada"), ..device() }
}

fn guest(runs: &'static str) -> Device {
    Device { custom_id: Some("guest"), runs, ..device() }
}

#[test]
fn only_the_audience_is_served_and_others_keep_what_they_run() {
    let channel = staff(json!({}));
    expect(&ada(), &channel, "1.5.0", "Offered");
    for runs in ["builtin", "0.9.0", "1.2.0", "2.0.0", "1.5.0"] {
        expect(&guest(runs), &channel, "nothing new", "OutsideAudience");
        expect(&Device { custom_id: None, ..guest(runs) }, &channel, "nothing new", "OutsideAudience");
    }
    // Also where Git says that the shipped bundle is to run, and where a guard would refuse.
    expect(&guest("1.2.0"), &staff(json!({ "lines": serves("builtin") })), "nothing new", "OutsideAudience");
    let off = staff(json!({ "production": false }));
    expect(&guest("1.2.0"), &off, "nothing new", "OutsideAudience");
    expect(&Device { runs: "1.2.0", ..ada() }, &off, "disable_prod_build", "SwitchedOff");
    // Support chooses a channel, and not what a channel is for.
    let put = guest("builtin").on("production", OverrideBy::Support);
    expect(&put, &channel, "nothing new", "OutsideAudience");
    assert_eq!(
        guest("builtin").asks(&channel).trace.to_string(),
        "Channel production: it is the public channel for the device's platform.\n\
         Channel production is limited to an audience that does not have the device, by its custom id."
    );
}

#[test]
fn a_condition_is_about_what_the_device_says_of_itself() {
    for (audience, admitted) in [
        (json!({ "platforms": ["android"] }), true),
        (json!({ "platforms": ["ios"] }), false),
        (json!({ "native": ">=1.0.0 <2.0.0" }), true),
        (json!({ "native": ">=2.0.0" }), false),
        (json!({ "os": ">=14" }), true),
        (json!({ "os": ">=15" }), false),
        (json!({ "plugin": ">=8.51.0" }), true),
        (json!({ "plugin": ">=9.0.0" }), false),
        (json!({ "devices": [DeviceKey::of("0")] }), true),
        (json!({ "devices": [DeviceKey::of("1")] }), false),
        (json!({ "countries": ["FR"] }), false),
    ] {
        let channel = one(json!({ "audience": audience }));
        let (answer, step) = if admitted { ("1.5.0", "Offered") } else { ("nothing new", "OutsideAudience") };
        expect(&device(), &channel, answer, step);
    }
}

/// Whoever is outside is in no trial, also on the candidate.
#[test]
fn a_trial_is_of_the_audience() {
    let rolling = snapshot(&[channel(json!({
        "audience": { "customIds": ["staff-*"] }, "lines": [line(500_000, json!({}))],
    }))]);
    let (mut treated, mut compared) = (0, 0);
    for id in 0..500 {
        let inside = Device { id, ..ada() }.asks(&rolling);
        match inside.trial.map(|trial| trial.membership.arm) {
            Some(crate::trial::Arm::Treatment) => treated += 1,
            Some(crate::trial::Arm::Control) => compared += 1,
            None => {}
        }
        let same = rollout(500_000, json!({}));
        assert_eq!(
            short(&inside),
            short(&Device { id, ..device() }.asks(&same)),
            "the share is of the audience"
        );
        for runs in ["builtin", "1.2.0", "1.5.0"] {
            let outside = Device { id, ..guest(runs) };
            assert!(outside.asks(&rolling).trial.is_none());
            expect(&outside, &rolling, "nothing new", "OutsideAudience");
        }
    }
    assert!(treated > 200 && compared > 200, "{treated} {compared}");
}

/// Nobody stays on what is stopped because of an audience.
#[test]
fn who_runs_what_is_braked_leaves_it_all_the_same() {
    let rolling = snapshot(&[channel(json!({
        "audience": { "customIds": ["staff-*"] }, "lines": [line(ALL, json!({}))],
    }))]);
    for scope in [on("production"), Scope::App] {
        let returns = brakes(&[("1.5.0", scope.clone(), Devices::Return)]);
        expect_braked(&guest("1.5.0"), &rolling, &returns, "1.2.0", "Offered");
        expect_braked(&guest("1.2.0"), &rolling, &returns, "nothing new", "OutsideAudience");
        let keeps = brakes(&[("1.5.0", scope, Devices::Keep)]);
        expect_braked(&guest("1.5.0"), &rolling, &keeps, "nothing new", "StaysBraked");
    }
    let served = brakes(&[("1.5.0", Scope::App, Devices::Return)]);
    expect_braked(&guest("1.5.0"), &staff(json!({})), &served, "builtin", "Reverted");
}

/// A line whose candidate is at a step of this audience, after steps that reached these.
fn stepped(weight: u32, below: u32, audience: &Value, reached: &Value) -> Snapshot {
    let cohort = json!({ "salt": "07".repeat(32), "serial": 3, "weight": weight, "below": below });
    rollout(
        weight,
        json!({ "candidate.cohort": cohort, "candidate.audience": audience, "candidate.reached": reached }),
    )
}

#[test]
fn a_step_for_others_reaches_its_audience_only() {
    let staff = json!({ "customIds": ["staff-*"] });
    let snapshot = stepped(ALL, 0, &staff, &json!([]));
    expect(&ada(), &snapshot, "1.5.0", "Offered");
    expect(&guest("builtin"), &snapshot, "1.2.0", "Offered");
    expect(&guest("1.2.0"), &snapshot, "nothing new", "AlreadyRuns");
    assert!(guest("1.2.0").asks(&snapshot).trial.is_none());
    assert_eq!(
        guest("1.2.0").asks(&snapshot).trace.to_string(),
        "Channel production: it is the public channel for the device's platform.\n\
         1.5.0 is being rolled out, to 100 % of the audience of its present step so far.\n\
         The present step of the rollout of 1.5.0 is for others, and none before reached the device.\n\
         The device is in neither arm of the trial of level 2: the present step is for others.\n\
         The channel serves 1.2.0.\n\
         The device runs 1.2.0 already."
    );
    // Who runs it keeps it.
    expect(&guest("1.5.0"), &snapshot, "nothing new", "AlreadyRuns");
    assert!(guest("1.5.0").asks(&snapshot).trial.is_none());
}

/// In both arms of a level there are devices of every kind in the same proportion, whatever steps came before.
#[test]
fn the_arms_of_a_step_are_comparable() {
    let staff = json!({ "customIds": ["staff-*"] });
    let everybody = Value::Null;
    let of = |audience: &Value, weight: u32| json!({ "audience": audience, "weight": weight });
    // The step, what came before, and whether staff and guests are in its trial and how many of them are offered it, in
    // parts per thousand.
    let table = [
        (500_000, 0, &staff, json!([]), (true, 500), (false, 0)),
        (ALL, 0, &staff, json!([]), (true, 1_000), (false, 0)),
        (100_000, 0, &everybody, json!([of(&staff, ALL)]), (false, 1_000), (true, 100)),
        (100_000, 0, &everybody, json!([of(&staff, 300_000)]), (false, 300), (true, 100)),
        // What the steps for everybody reached is not added by one for the staff.
        (500_000, 10_000, &staff, json!([{ "weight": 10_000 }]), (true, 500), (false, 10)),
        // Staff were reached no further than everybody, so they are like the others.
        (400_000, 100_000, &everybody, json!([of(&staff, 100_000)]), (true, 400), (true, 400)),
    ];
    for (weight, below, audience, reached, for_staff, for_guests) in table {
        let snapshot = stepped(weight, below, audience, &reached);
        for (who, (in_trial, offered)) in [("staff-ada", for_staff), ("guest", for_guests)] {
            let (mut arms, mut reached) = ([0_u32; 2], 0);
            let all = 4_000;
            for id in 0..all {
                let decision = Device { id, custom_id: Some(who), runs: "1.2.0", ..device() }.asks(&snapshot);
                reached += u32::from(matches!(decision.answer, Answer::Update(_)));
                if let Some(trial) = decision.trial {
                    arms[trial.membership.arm as usize] += 1;
                }
            }
            let near = |found: u32, thousandths: u32| {
                let expected = thousandths * u32::try_from(all).unwrap() / 1_000;
                found.abs_diff(expected) <= 20 + expected / 10
            };
            let story = format!("{who} at {weight} of {audience}: {arms:?}, {reached} reached");
            assert!(near(reached, offered), "{story}");
            let treatment = if in_trial { weight - below } else { 0 };
            let control = (treatment * 19).min(ALL - weight);
            assert!(near(arms[0], treatment / 1_000) && near(arms[1], control / 1_000), "{story}");
            assert!(in_trial || arms == [0, 0], "{story}");
        }
    }
}

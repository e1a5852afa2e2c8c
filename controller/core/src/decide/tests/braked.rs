//! Brakes: whom they stop, and where devices go that run what is stopped.

use jiff::Timestamp;

use super::{rollout::rollout, *};
use crate::{
    brake::{Brake, BrakeId, BrakeIndex, Devices, Scope},
    cohort::ALL,
};

pub(super) fn on(channel: &str) -> Scope {
    Scope::Channel(channel.parse().unwrap())
}

pub(super) fn brakes(of: &[(&str, Scope, Devices)]) -> Brakes {
    let mut index = BrakeIndex::default();
    for (version, scope, devices) in of {
        let app = APP.parse().unwrap();
        index.add(&Brake {
            id: BrakeId::derive(&app, &digest(version), scope, *devices, 0),
            app,
            digest: digest(version),
            release: Some(version.parse().unwrap()),
            scope: scope.clone(),
            devices: *devices,
            by: "gate".into(),
            why: "9 of 10 devices failed to start it".into(),
            at: Timestamp::UNIX_EPOCH,
            evidence: None,
            rollback: false,
        });
    }
    Brakes::compile(&index, &Brakes::none())
}

fn runs(version: &'static str) -> Device {
    Device { runs: version, ..device() }
}

#[test]
fn a_braked_candidate_is_offered_to_nobody_and_left() {
    let snapshot = rollout(ALL, json!({}));
    for scope in [on("production"), Scope::App] {
        let returns = brakes(&[("1.5.0", scope.clone(), Devices::Return)]);
        let keeps = brakes(&[("1.5.0", scope, Devices::Keep)]);
        for brakes in [&returns, &keeps] {
            expect_braked(&device(), &snapshot, brakes, "1.2.0", "Offered");
            expect_braked(&runs("1.2.0"), &snapshot, brakes, "nothing new", "AlreadyRuns");
            assert!(device().asks_braked(&snapshot, brakes, 0).trial.is_none());
        }
        expect_braked(&runs("1.5.0"), &snapshot, &returns, "1.2.0", "Offered");
        expect_braked(&runs("1.5.0"), &snapshot, &keeps, "nothing new", "StaysBraked");
    }
    let text = brakes(&[("1.5.0", on("production"), Devices::Return)]);
    let id = text.iter().next().unwrap().id.to_string();
    let because = format!("9 of 10 devices failed to start it (brake {id} by gate)");
    assert_eq!(
        runs("1.5.0").asks_braked(&snapshot, &text, 0).trace.to_string(),
        format!(
            "Channel production: it is the public channel for the device's platform.\n\
             The device runs a bundle that is stopped: {because}.\n\
             1.5.0 is being rolled out, to 100 % so far.\n\
             1.5.0 is stopped: {because}.\n\
             The channel serves 1.2.0.\n\
             The device is offered 1.2.0."
        )
    );
}

/// The record keeps the braked candidate or drops it: the answer is the same.
#[test]
fn a_device_leaves_a_bundle_that_the_app_offers_no_more() {
    let snapshot = one(json!({ "lines": [{ "platforms": ["android", "electron"], "stable": null }] }));
    let gone = brakes(&[("1.9.0", Scope::App, Devices::Return)]);
    expect_braked(&runs("1.9.0"), &snapshot, &gone, "builtin", "Reverted");
    let keeps = brakes(&[("1.9.0", Scope::App, Devices::Keep)]);
    expect_braked(&runs("1.9.0"), &snapshot, &keeps, "nothing new", "StaysBraked");
    expect_braked(&runs("1.8.0"), &snapshot, &gone, "nothing new", "NothingReady");
    let serving = one(json!({}));
    expect_braked(&runs("1.9.0"), &serving, &gone, "1.5.0", "Offered");
    expect_braked(&runs("1.9.0"), &serving, &keeps, "nothing new", "StaysBraked");
    let forward = brakes(&[("1.2.0", Scope::App, Devices::Keep)]);
    expect_braked(&runs("1.2.0"), &serving, &forward, "1.5.0", "Offered");
}

#[test]
fn what_is_stable_and_braked_gives_way_to_what_did_well() {
    let fallbacks = json!([{
        "platforms": ["ios", "android", "electron"], "stable": "1.5.0", "fallbacks": ["1.2.0", "1.0.1", "0.9.0"],
    }]);
    let snapshot =
        snapshot_of(&[channel(json!({ "lines": fallbacks }))], json!({ "1.2.0": { "native": ">=1.1.0" } }));
    let stop = brakes(&[("1.5.0", on("production"), Devices::Return)]);
    // The newest one that the device may have.
    expect_braked(&runs("1.5.0"), &snapshot, &stop, "1.0.1", "Offered");
    let newer = Device { native: "1.1.0", ..runs("1.5.0") };
    expect_braked(&newer, &snapshot, &stop, "1.2.0", "Offered");
    let failed = Failed { digest: digest("1.0.1"), native: "1.0.0".parse().unwrap(), at: 0 };
    let failed =
        Device { memory: Some(DeviceMemory { channel: None, failed: vec![failed] }), ..runs("1.5.0") };
    expect_braked(&failed, &snapshot, &stop, "builtin", "Reverted");
    // Who does not run it gets what did well as well, and is not sent back for it.
    expect_braked(&device(), &snapshot, &stop, "1.0.1", "Offered");
    expect_braked(&runs("1.0.1"), &snapshot, &stop, "nothing new", "AlreadyRuns");
    expect_braked(&runs("1.4.0"), &snapshot, &stop, "nothing new", "NoFallback");
    expect_braked(&runs("1.2.0"), &snapshot, &stop, "nothing new", "NoFallback");
    // Nothing is left.
    let all = ["1.5.0", "1.2.0", "1.0.1"].map(|version| (version, Scope::App, Devices::Return));
    let all = brakes(&all);
    expect_braked(&runs("1.5.0"), &snapshot, &all, "builtin", "Reverted");
    expect_braked(&device(), &snapshot, &all, "nothing new", "NoFallback");
    let electron = Device { platform: Electron, plugin: "0.0.1", ..runs("1.5.0") };
    let refusal = "revert_to_builtin_plugin_version_too_old";
    expect_braked(&electron, &snapshot, &all, refusal, "CannotRevert");
    expect_braked(&electron, &snapshot, &stop, "1.0.1", "Offered");
    // Kept: until something newer is there.
    let keeps = brakes(&[("1.5.0", on("production"), Devices::Keep)]);
    expect_braked(&runs("1.5.0"), &snapshot, &keeps, "nothing new", "StaysBraked");
    expect_braked(&device(), &snapshot, &keeps, "1.0.1", "Offered");
}

/// "Never to nothing": neither switches nor what failed keep a device on a braked bundle.
#[test]
fn a_device_that_must_leave_always_has_where_to_go() {
    let stop = brakes(&[("1.5.0", Scope::App, Devices::Return)]);
    for with in [
        json!({ "lines": serves("2.0.0") }),
        json!({ "lines": serves("0.9.0") }),
        json!({ "lines": serves("1.5.0") }),
        json!({ "lines": serves("builtin"), "production": false }),
        json!({ "production": false }),
        json!({ "lines": [{ "platforms": ["android"], "stable": null }] }),
    ] {
        expect_braked(&runs("1.5.0"), &one(with), &stop, "builtin", "Reverted");
    }
    let keyed = Device { key: Some("MIIBCgKCAQEAsyjtLM18"), ..runs("1.5.0") };
    expect_braked(&keyed, &one(json!({ "lines": serves("1.2.0") })), &stop, "builtin", "Reverted");
}

#[test]
fn nobody_is_sent_back_from_a_release_that_says_stop_only() {
    let stop = brakes(&[("1.5.0", Scope::App, Devices::Return)]);
    let stop_only = |lines: Value| {
        snapshot_of(&[channel(json!({ "lines": lines }))], json!({ "1.5.0": { "rollback": "StopOnly" } }))
    };
    for lines in [serves("1.5.0"), serves("1.2.0"), serves("builtin")] {
        let snapshot = stop_only(lines);
        expect_braked(&runs("1.5.0"), &snapshot, &stop, "nothing new", "StaysBraked");
    }
    expect_braked(&device(), &stop_only(serves("1.5.0")), &stop, "nothing new", "NoFallback");
}

/// Design, section 4, item 6.
#[test]
fn on_other_channels_it_pauses() {
    let lines = json!([super::rollout::line(ALL, json!({ "fallbacks": ["1.0.0"] }))]);
    let snapshot = snapshot(&[
        channel(json!({ "lines": serves("1.5.0") })),
        channel(json!({ "channel": "beta", "lines": lines })),
        channel(json!({ "channel": "slow", "lines": serves("1.2.0") })),
    ]);
    let wish = |name, runs| Device { wish: Some(name), runs, ..device() };
    let beta = brakes(&[("1.5.0", on("beta"), Devices::Return)]);
    expect_braked(&wish("beta", "1.5.0"), &snapshot, &beta, "1.2.0", "Offered");
    for (runs, step) in [("builtin", "Paused"), ("1.2.0", "Paused"), ("1.5.0", "AlreadyRuns")] {
        expect_braked(&wish("production", runs), &snapshot, &beta, "nothing new", step);
    }
    let production = brakes(&[("1.5.0", on("production"), Devices::Return)]);
    expect_braked(&wish("beta", "builtin"), &snapshot, &production, "1.2.0", "Offered");
    expect_braked(&wish("beta", "1.5.0"), &snapshot, &production, "nothing new", "AlreadyRuns");
    assert!(wish("beta", "1.5.0").asks_braked(&snapshot, &production, 0).trial.is_none());
    // Who must leave one bundle is not sent to one that is paused.
    let both = brakes(&[("1.5.0", on("beta"), Devices::Return), ("1.2.0", on("slow"), Devices::Return)]);
    expect_braked(&wish("beta", "1.5.0"), &snapshot, &both, "1.0.0", "Offered");
}

/// Rule 8.
#[test]
fn only_git_lifts_a_hold() {
    let stop = brakes(&[("1.5.0", on("production"), Devices::Return)]);
    let id = stop.iter().next().unwrap().id.to_string();
    let lifted = one(json!({ "allowHeld": ["other", id] }));
    expect_braked(&device(), &lifted, &stop, "1.5.0", "Offered");
    expect_braked(&runs("1.5.0"), &lifted, &stop, "nothing new", "AlreadyRuns");
    expect_braked(&device(), &one(json!({ "allowHeld": ["other"] })), &stop, "nothing new", "NoFallback");
}

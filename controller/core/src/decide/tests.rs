//! The deciding table of `device-protocol` section 5 row by row, and what the design adds to it.

use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock},
};

use serde_json::{Value, json};

use super::*;
use crate::{
    channel::Platform::{self, Android, Electron, Ios},
    client::{Client, PluginVersion},
    digest::Digest,
    memory::{FAILED_FOR_SECONDS, Failed, Override},
    request::{DeviceKey, normalise_native},
    snapshot::{FORMAT, Root, Shard},
};

mod audience;
mod braked;
mod paced;
mod properties;
mod rollout;

static NO_BRAKES: LazyLock<Brakes> = LazyLock::new(Brakes::none);

const APP: &str = "com.example.shop";
const NEW: &str = "8.51.23";

/// A public channel `production` that serves everything, changed by `with`.
#[expect(clippy::needless_pass_by_value, reason = "called with a literal")]
fn channel(with: Value) -> Value {
    let mut channel = json!({
        "channel": "production", "public": true, "platforms": ["ios", "android", "electron"],
        "production": true, "development": true, "device": true, "emulator": true, "selfAssign": false,
        "upgrade": "SameMajor", "underNative": false,
        "lines": [{ "platforms": ["ios", "android", "electron"], "stable": "1.5.0" }],
    });
    for (key, value) in with.as_object().unwrap() {
        channel[key] = value.clone();
    }
    channel
}

fn serves(version: &str) -> Value {
    json!([{ "platforms": ["ios", "android", "electron"], "stable": version }])
}

fn digest(version: &str) -> Digest {
    Digest::of(version.as_bytes())
}

#[expect(clippy::needless_pass_by_value, reason = "called with a literal")]
fn snapshot_of(channels: &[Value], offers: Value) -> Snapshot {
    let mut all = serde_json::Map::new();
    for version in ["0.9.0", "1.0.0", "1.0.1", "1.2.0", "1.5.0", "1.5.0-rc.1", "2.0.0"] {
        let zip = json!({ "sha256": Digest::of(b"zip"), "crc32": 7, "size": 1 });
        all.insert(version.to_owned(), json!({ "digest": digest(version), "zip": zip }));
    }
    for (version, with) in offers.as_object().unwrap() {
        for (key, value) in with.as_object().unwrap() {
            all[version][key] = value.clone();
        }
    }
    let shard: Shard =
        serde_json::from_value(json!({ "app": APP, "offers": all, "channels": channels })).unwrap();
    let root =
        Root { format: FORMAT, installation: "x".into(), epoch: 0, generation: 1, apps: BTreeMap::new() };
    Snapshot::new(root, [Arc::new(App::compile(shard).unwrap())])
}

fn snapshot(channels: &[Value]) -> Snapshot {
    snapshot_of(channels, json!({}))
}

/// One public channel, changed by `with`.
fn one(with: Value) -> Snapshot {
    snapshot(&[channel(with)])
}

#[derive(Clone)]
struct Device {
    id: u64,
    app: &'static str,
    platform: Platform,
    plugin: &'static str,
    native: &'static str,
    runs: &'static str,
    wish: Option<&'static str>,
    key: Option<&'static str>,
    emulator: bool,
    production: bool,
    probe: bool,
    memory: Option<DeviceMemory>,
    custom_id: Option<&'static str>,
}

/// A current Android device with native version 1.0.0 on its shipped bundle.
fn device() -> Device {
    Device {
        id: 0,
        app: APP,
        platform: Android,
        plugin: NEW,
        native: "1.0.0",
        runs: "builtin",
        wish: None,
        key: None,
        emulator: false,
        production: true,
        probe: false,
        memory: None,
        custom_id: None,
    }
}

type Decide<'s> = fn(&'s Snapshot, &'s Brakes, Option<&DeviceMemory>, &Request<'_>, i64) -> Decision<'s>;

impl Device {
    fn asks<'s>(&self, snapshot: &'s Snapshot) -> Decision<'s> {
        self.asks_at(snapshot, 0)
    }

    fn asks_at<'s>(&self, snapshot: &'s Snapshot, now: i64) -> Decision<'s> {
        self.asks_braked(snapshot, &NO_BRAKES, now)
    }

    fn asks_braked<'s>(&self, snapshot: &'s Snapshot, brakes: &'s Brakes, now: i64) -> Decision<'s> {
        self.asks_as(decide, snapshot, brakes, now)
    }

    fn asks_as<'s>(
        &self,
        decide: Decide<'s>,
        snapshot: &'s Snapshot,
        brakes: &'s Brakes,
        now: i64,
    ) -> Decision<'s> {
        let (native, text) = normalise_native(self.native).unwrap();
        let on_builtin = self.runs == "builtin" || self.runs == self.native;
        let request = Request {
            app_id: self.app,
            device: DeviceKey::of(&self.id.to_string()),
            probe: self.probe,
            client: Client::new(self.platform, PluginVersion::parse(self.plugin)),
            native,
            native_text: &text,
            current: if on_builtin { &text } else { self.runs },
            on_builtin,
            default_channel: self.wish,
            emulator: self.emulator,
            production: self.production,
            key_id: self.key,
            os: Some("14"),
            custom_id: self.custom_id,
            locale: None,
            country: None,
        };
        decide(snapshot, brakes, self.memory.as_ref(), &request, now)
    }

    fn on(self, channel: &str, by: OverrideBy) -> Self {
        let channel = Some(Override { channel: channel.parse().unwrap(), by });
        Self { memory: Some(DeviceMemory { channel, failed: Vec::new() }), ..self }
    }
}

/// The answer as one word, and the code of the step that settled it.
fn short(decision: &Decision<'_>) -> (String, &'static str) {
    let answer = match decision.answer {
        Answer::Update(bundle) => bundle.name.clone(),
        Answer::Builtin => "builtin".into(),
        Answer::NothingNew => "nothing new".into(),
        Answer::Refused(refusal) => refusal.code.name().into(),
    };
    (answer, decision.trace.last().unwrap().code())
}

#[track_caller]
fn expect(device: &Device, snapshot: &Snapshot, answer: &str, step: &str) {
    expect_braked(device, snapshot, &NO_BRAKES, answer, step);
}

#[track_caller]
fn expect_braked(device: &Device, snapshot: &Snapshot, brakes: &Brakes, answer: &str, step: &str) {
    let decision = device.asks_braked(snapshot, brakes, 0);
    assert_eq!(short(&decision), (answer.to_owned(), step), "{:?}", decision.trace);
    for step in decision.trace.iter() {
        let sentence = step.to_string();
        assert!(sentence.ends_with('.') && !sentence.starts_with(|c: char| c.is_lowercase()), "{sentence}");
    }
}

#[test]
fn row_1_unknown_app_looks_like_no_channel() {
    let snapshot = one(json!({ "public": false }));
    expect(&Device { app: "com.example.other", ..device() }, &snapshot, "no_channel", "AppUnknown");
    expect(&device(), &snapshot, "no_channel", "NoPublicChannel");
}

#[test]
fn row_2_plugin_4_whatever_the_app() {
    for app in [APP, "com.example.other"] {
        let old = Device { plugin: "4.17.3", app, ..device() };
        expect(&old, &one(json!({})), "unsupported_plugin_version", "PluginRefused");
        expect(&Device { platform: Electron, app: APP, ..old }, &one(json!({})), "1.5.0", "Offered");
    }
}

#[test]
fn row_3_no_channel() {
    let snapshot = snapshot(&[
        channel(json!({})),
        channel(json!({ "channel": "private", "public": false })),
        channel(json!({ "channel": "beta", "public": false, "selfAssign": true, "platforms": ["ios"] })),
    ]);
    for (wish, answer, step) in [
        ("production", "1.5.0", "Offered"),
        ("Production", "no_channel", "WishUnknown"),
        ("nightly", "no_channel", "WishUnknown"),
        ("private", "no_channel", "WishClosed"),
        ("beta", "no_channel", "WishOtherPlatform"),
    ] {
        expect(&Device { wish: Some(wish), ..device() }, &snapshot, answer, step);
    }
    expect(&Device { wish: Some("beta"), platform: Ios, ..device() }, &snapshot, "1.5.0", "Offered");
}

#[test]
fn the_public_channel_is_per_platform_and_the_first_wins() {
    let snapshot = snapshot(&[
        channel(json!({ "channel": "phones", "platforms": ["ios", "android"], "lines": serves("1.2.0") })),
        channel(json!({ "channel": "all" })),
    ]);
    expect(&device(), &snapshot, "1.2.0", "Offered");
    expect(&Device { platform: Electron, ..device() }, &snapshot, "1.5.0", "Offered");
}

#[test]
fn row_4_a_line_without_a_ready_release_has_nothing_new() {
    let none = json!([{ "platforms": ["ios", "android", "electron"], "stable": null }]);
    expect(&device(), &one(json!({ "lines": none })), "nothing new", "NothingReady");
    expect(&device(), &one(json!({ "lines": [] })), "nothing new", "NoLine");
    let android_only = json!([{ "platforms": ["ios"], "stable": "1.5.0" }]);
    expect(&device(), &one(json!({ "lines": android_only })), "nothing new", "NoLine");
}

#[test]
fn the_first_line_that_matches_decides() {
    let lines = json!([
        { "native": ">=4.0.0", "platforms": ["ios", "android", "electron"], "stable": "2.0.0" },
        { "native": ">=1.0.0 <4.0.0", "platforms": ["ios"], "stable": "1.2.0" },
        { "native": ">=1.0.0", "platforms": ["ios", "android"], "stable": "1.5.0" },
    ]);
    let snapshot = one(json!({ "lines": lines, "upgrade": "Any", "underNative": true }));
    for (platform, native, answer, step) in [
        (Ios, "4.0.0", "2.0.0", "Offered"),
        (Ios, "3.9", "1.2.0", "Offered"),
        (Android, "3.9", "1.5.0", "Offered"),
        (Electron, "3.9", "nothing new", "NoLine"),
        (Android, "0.9", "nothing new", "NoLine"),
    ] {
        expect(&Device { platform, native, ..device() }, &snapshot, answer, step);
    }
}

#[test]
fn row_5_keys() {
    let key = "MIIBCgKCAQEAsyjtLM18";
    let other = "MIIBCgKCAQEAzzzzzzzz";
    let encrypted = snapshot_of(&[channel(json!({}))], json!({ "1.5.0": { "keyId": key } }));
    let plain = one(json!({}));
    let table = [
        (&encrypted, Android, NEW, Some(key), "1.5.0", "Offered"),
        (&encrypted, Android, NEW, Some(other), "key_id_mismatch", "OtherKey"),
        (&encrypted, Ios, NEW, None, "key_id_mismatch", "EncryptedForKeyless"),
        // Four characters say that there is a key, not which.
        (&encrypted, Android, "8.40.7", Some("MIIB"), "1.5.0", "Offered"),
        (&encrypted, Android, "8.40.8", Some("MIIB"), "1.5.0", "Offered"),
        (&encrypted, Android, "8.40.7", Some(other), "1.5.0", "Offered"),
        (&encrypted, Android, "7.50.1", Some(other), "key_id_mismatch", "OtherKey"),
        // Too old to say whether there is a key.
        (&encrypted, Android, "7.29.0", None, "1.5.0", "Offered"),
        (&encrypted, Android, "5.9.5", None, "key_id_mismatch", "EncryptedForOld"),
        (&encrypted, Electron, "0.0.1", None, "key_id_mismatch", "EncryptedForElectron"),
        (&encrypted, Electron, "0.0.1", Some(key), "key_id_mismatch", "EncryptedForElectron"),
        (&plain, Android, NEW, Some(key), "key_id_mismatch", "PlainForKey"),
        (&plain, Android, "8.40.7", Some("MIIB"), "key_id_mismatch", "PlainForKey"),
        (&plain, Electron, "0.0.1", Some(key), "1.5.0", "Offered"),
    ];
    for (snapshot, platform, plugin, key, answer, step) in table {
        expect(&Device { platform, plugin, key, ..device() }, snapshot, answer, step);
    }
    // Before row 6.
    let running = Device { runs: "1.5.0", key: Some(other), ..device() };
    expect(&running, &encrypted, "key_id_mismatch", "OtherKey");
    let Answer::Refused(refusal) = running.asks(&encrypted).answer else { panic!() };
    assert_eq!(refusal.bundle_key, Some(key));
}

#[test]
fn row_6_runs_it_already() {
    expect(&Device { runs: "1.5.0", ..device() }, &one(json!({})), "nothing new", "AlreadyRuns");
    // The shipped bundle counts as one named like the native version.
    let native = one(json!({ "lines": serves("1.2.0") }));
    for runs in ["builtin", "1.2"] {
        expect(&Device { native: "1.2", runs, ..device() }, &native, "nothing new", "AlreadyRuns");
    }
    // Before row 7.
    let off = snapshot(&[channel(json!({ "platforms": ["ios"] }))]);
    let running = Device { runs: "1.5.0", ..device() }.on("production", OverrideBy::Support);
    expect(&running, &off, "nothing new", "AlreadyRuns");
}

#[test]
fn row_7_platform_off_is_reached_through_an_override() {
    for (platform, code) in [
        (Ios, "disabled_platform_ios"),
        (Android, "disabled_platform_android"),
        (Electron, "disabled_platform_electron"),
    ] {
        let others: Vec<_> = Platform::ALL.into_iter().filter(|p| *p != platform).collect();
        // The line says nothing of the platform either.
        let lines = json!([{ "platforms": others, "stable": "1.5.0" }]);
        let snapshot = one(json!({ "platforms": others, "lines": lines }));
        let put = Device { platform, ..device() }.on("production", OverrideBy::Support);
        expect(&put, &snapshot, code, "PlatformOff");
        expect(&Device { platform, ..device() }, &snapshot, "no_channel", "NoPublicChannel");
    }
}

#[test]
fn rows_8_10_11_upgrade_policies() {
    let table = [
        ("Any", "2.0.0", "1.0.0", "2.0.0", "Offered"),
        ("SameMajor", "2.0.0", "1.0.0", "disable_auto_update_to_major", "TooFar"),
        ("SameMajor", "1.5.0", "1.0.0", "1.5.0", "Offered"),
        ("SameMajor", "1.5.0", "2.0.0", "1.5.0", "Offered"),
        ("SameMinor", "1.5.0", "1.0.0", "disable_auto_update_to_minor", "TooFar"),
        ("SameMinor", "1.0.0", "1.5.0", "disable_auto_update_to_minor", "TooFar"),
        ("SameMinor", "1.0.1", "1.0.0", "1.0.1", "Offered"),
        ("SameMinor", "2.0.0", "1.0.0", "disable_auto_update_to_minor", "TooFar"),
        ("SamePatch", "1.0.1", "1.0.0", "disable_auto_update_to_patch", "TooFar"),
        ("SamePatch", "1.0.0", "1.0.1", "disable_auto_update_to_patch", "TooFar"),
        ("SamePatch", "1.5.0-rc.1", "1.5.0", "1.5.0-rc.1", "Offered"),
    ];
    for (upgrade, version, native, answer, step) in table {
        let snapshot = one(json!({ "upgrade": upgrade, "underNative": true, "lines": serves(version) }));
        expect(&Device { native, runs: "0.0.1", ..device() }, &snapshot, answer, step);
    }
}

#[test]
fn row_13_native_requirement() {
    let snapshot = snapshot_of(&[channel(json!({}))], json!({ "1.5.0": { "native": ">=1.2.0 <1.9.0" } }));
    for (native, answer, step) in [
        ("1.0.0", "disable_auto_update_to_metadata", "RequiresNative"),
        ("1.2.0", "1.5.0", "Offered"),
        ("1.2.0-beta", "1.5.0", "Offered"),
        ("1.9.0", "disable_auto_update_to_metadata", "RequiresNative"),
    ] {
        expect(&Device { native, ..device() }, &snapshot, answer, step);
    }
}

#[test]
fn row_14_under_native() {
    for (version, native, allowed, answer, step) in [
        ("0.9.0", "1.0.0", false, "disable_auto_update_under_native", "UnderNative"),
        ("0.9.0", "1.0.0", true, "0.9.0", "Offered"),
        ("1.5.0", "1.5.0", false, "1.5.0", "Offered"),
        ("1.5.0-rc.1", "1.5.0", false, "disable_auto_update_under_native", "UnderNative"),
        ("1.5.0-rc.1", "1.4.9", false, "1.5.0-rc.1", "Offered"),
    ] {
        let snapshot = one(json!({ "underNative": allowed, "lines": serves(version) }));
        expect(&Device { native, runs: "1.4.0", ..device() }, &snapshot, answer, step);
    }
}

#[test]
fn rows_15_to_18_switches() {
    for (switch, production, emulator, code) in [
        ("production", true, false, "disable_prod_build"),
        ("development", false, false, "disable_dev_build"),
        ("device", true, false, "disable_device"),
        ("emulator", true, true, "disable_emulator"),
    ] {
        for target in ["1.5.0", "builtin"] {
            let snapshot = one(json!({ switch: false, "lines": serves(target) }));
            let hit = Device { production, emulator, runs: "1.2.0", ..device() };
            expect(&hit, &snapshot, code, "SwitchedOff");
            let missed = if matches!(switch, "production" | "development") {
                Device { production: !production, ..hit }
            } else {
                Device { emulator: !emulator, ..hit }
            };
            assert_eq!(short(&missed.asks(&snapshot)).0, target, "{switch}");
        }
    }
    // In their order.
    let all = json!({ "production": false, "development": false, "device": false, "emulator": false });
    expect(&device(), &one(all), "disable_prod_build", "SwitchedOff");
}

#[test]
fn row_19_builtin() {
    let snapshot = one(json!({ "lines": serves("builtin"), "upgrade": "SamePatch" }));
    for (platform, plugin, answer, step) in [
        (Android, NEW, "builtin", "Reverted"),
        (Ios, "7.0.2", "builtin", "Reverted"),
        (Ios, "7.0.1", "revert_to_builtin_plugin_version_too_old", "CannotRevert"),
        (Android, "10.0.0", "revert_to_builtin_plugin_version_too_old", "CannotRevert"),
        (Electron, "0.0.1", "revert_to_builtin_plugin_version_too_old", "CannotRevert"),
    ] {
        expect(&Device { platform, plugin, runs: "1.5.0", ..device() }, &snapshot, answer, step);
        // Section 2.3: on the shipped bundle there is nothing to do, by either of its names.
        for runs in ["builtin", "1.0.0"] {
            expect(&Device { platform, plugin, runs, ..device() }, &snapshot, "nothing new", "OnShipped");
        }
    }
}

#[test]
fn row_21_update_available() {
    let snapshot = one(json!({}));
    for platform in Platform::ALL {
        expect(&Device { platform, ..device() }, &snapshot, "1.5.0", "Offered");
        // An older release is served on purpose: policy looks at the native version alone.
        expect(&Device { platform, runs: "1.9.0", ..device() }, &snapshot, "1.5.0", "Offered");
    }
}

#[test]
fn overrides_come_first() {
    let snapshot = snapshot(&[
        channel(json!({})),
        channel(json!({ "channel": "beta", "public": false, "lines": serves("1.2.0") })),
        channel(json!({ "channel": "empty", "lines": [{ "platforms": ["android"], "stable": null }] })),
    ]);
    let put = |plugin, channel, by| Device { plugin, wish: Some("production"), ..device() }.on(channel, by);
    // Support reaches a private channel, on every client.
    expect(&put(NEW, "beta", OverrideBy::Support), &snapshot, "1.2.0", "Offered");
    expect(&put("5.9.5", "beta", OverrideBy::Support), &snapshot, "1.2.0", "Offered");
    // The device's own choice counts only while its client leaves it to the server.
    expect(&put("7.33.4", "beta", OverrideBy::Device), &snapshot, "1.2.0", "Offered");
    let new = put("7.34.0", "beta", OverrideBy::Device);
    expect(&new, &snapshot, "1.5.0", "Offered");
    assert_eq!(new.asks(&snapshot).trace.iter().next().unwrap().code(), "OverrideObsolete");
    // Gone or empty: passed over.
    for (channel, step) in [("gone", "OverrideGone"), ("empty", "OverrideEmpty")] {
        let device = put(NEW, channel, OverrideBy::Support);
        expect(&device, &snapshot, "1.5.0", "Offered");
        assert_eq!(device.asks(&snapshot).trace.iter().next().unwrap().code(), step);
    }
}

#[test]
fn a_digest_that_failed_here_is_withheld() {
    let snapshot = one(json!({}));
    let failed =
        |version, native: &str, at| Failed { digest: digest(version), native: native.parse().unwrap(), at };
    let with =
        |failed| Device { memory: Some(DeviceMemory { channel: None, failed: vec![failed] }), ..device() };
    let same = with(failed("1.5.0", "1.0.0", 1_000));
    assert_eq!(short(&same.asks_at(&snapshot, 2_000)), ("nothing new".into(), "FailedHere"));
    assert_eq!(short(&same.asks_at(&snapshot, 1_000 + FAILED_FOR_SECONDS)), ("1.5.0".into(), "Offered"));
    assert_eq!(short(&with(failed("1.5.0", "0.9.0", 1_000)).asks(&snapshot)), ("1.5.0".into(), "Offered"));
    assert_eq!(short(&with(failed("1.2.0", "1.0.0", 1_000)).asks(&snapshot)), ("1.5.0".into(), "Offered"));
}

#[test]
fn every_trace_reads_as_sentences() {
    let lines = json!([
        { "native": ">=4.0.0", "platforms": ["android"], "stable": "2.0.0" },
        { "platforms": ["android"], "stable": "1.5.0" },
    ]);
    let snapshot = one(json!({ "lines": lines }));
    let device = Device { native: "0.9", ..device() };
    assert_eq!(
        device.asks(&snapshot).trace.to_string(),
        "Channel production: it is the public channel for the device's platform.\n\
         Line 2 of the channel is the first that matches.\n\
         The channel serves 1.5.0.\n\
         The channel allows no major version above the native one: 1.5.0 is not for native version 0.9.0."
    );
}

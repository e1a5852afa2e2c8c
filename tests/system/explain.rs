//! `sluice explain` for devices of different client generations, each with the reason that a support engineer needs.

use sluice_repo::testing::Changes;

use crate::support::{APP, Server, World, channel, index, phone, release, sluice_with};

/// A shop with everything that can be asked about.
fn world() -> World {
    let world = World::empty();
    let changes = ["1.1.0", "1.2.0", "2.1.0"].iter().fold(Changes::new(), |changes, version| {
        let requires = if *version == "1.2.0" { "  requires: { native: \">=1.1.0 <2.0.0\" }\n" } else { "" };
        changes.file(&format!("bundles/{version}/index.html"), index(version)).file(
            &format!("releases/{version}.yaml"),
            format!("{}{requires}", release(version, &format!("../bundles/{version}"))),
        )
    });
    let production = channel("production", "1.2.0", "  public: true\n  platforms: [ios, android]\n  allow: { emulator: false }\n")
        .replace(
            "  release: 1.2.0\n",
            "  releases:\n    - { native: \">=2.0.0\", release: 2.1.0 }\n    - { native: \">=1.0.0 <2.0.0\", release: 1.2.0 }\n",
        );
    world.commit(
        changes
            .file("channels/production.yaml", production)
            .file("channels/beta.yaml", channel("beta", "1.1.0", "  allow: { selfAssign: true }\n"))
            .file("channels/shipped.yaml", channel("shipped", "builtin", "  allow: { selfAssign: true }\n"))
            .file("channels/staff.yaml", channel("staff", "1.1.0", "")),
    );
    world
}

/// What is said of a device, by `--app` and these flags.
fn explain(server: &Server, flags: &[&str]) -> String {
    let ran = server.ask("explain", &[&["--app", APP], flags].concat()).exits(0);
    assert!(ran.err.is_empty(), "{ran:?}");
    ran.out
}

const CHOOSER: &str = "00000000-0000-4000-8000-000000000021";
const FAILING: &str = "00000000-0000-4000-8000-000000000022";

/// A device, the flags that describe it, and what must be said of it.
const CASES: [(&str, &[&str], &[&str]); 12] = [
    (
        "a current client is offered the release",
        &["--plugin", "8.51.23", "--native", "1.1.0"],
        &[
            "Channel production: it is the public channel for the device's platform.",
            "Line 2 of the channel is the first that matches (native >=1.0.0 <2.0.0).",
            "The device is offered 1.2.0.",
        ],
    ),
    (
        "an app from the store that is too old for the release",
        &["--plugin", "8.51.23", "--platform", "ios", "--native", "1.0.0"],
        &[
            "Release 1.2.0 requires native >=1.1.0 <2.0.0, and the device has 1.0.0.",
            "disable_auto_update_to_metadata",
        ],
    ),
    (
        "a newer native generation has a line of its own",
        &["--plugin", "7.29.0", "--platform", "ios", "--native", "2.0.0"],
        &[
            "Line 1 of the channel is the first that matches (native >=2.0.0).",
            "The device is offered 2.1.0.",
        ],
    ),
    (
        "a native version that no line is for",
        &["--plugin", "6.14.20", "--native", "0.9.0"],
        &["No line of the channel is for android with native version 0.9.0.", "no_new_version_available"],
    ),
    (
        "a client that cannot go back",
        &["--plugin", "5.9.5", "--native", "1.0.0", "--running", "1.1.0", "--channel", "shipped"],
        &["Channel shipped: the device asks for it.", "too old to go back to its shipped bundle"],
    ),
    (
        "a client that can",
        &["--plugin", "8.51.23", "--native", "1.0.0", "--running", "1.1.0", "--channel", "shipped"],
        &["The device is sent back to its shipped bundle.", "\"version\": \"builtin\""],
    ),
    (
        "a device that is up to date",
        &["--plugin", "8.40.8", "--native", "1.1.0", "--running", "1.2.0"],
        &["The device runs 1.2.0 already.", "up_to_date"],
    ),
    (
        "a platform without a public channel",
        &["--plugin", "0.0.1", "--platform", "electron", "--native", "1.1.0"],
        &["no channel is public for electron", "no_channel"],
    ),
    (
        "a channel that is not the device's to choose",
        &["--plugin", "8.51.23", "--channel", "staff"],
        &["The device asks for channel staff, which is neither public nor open to self-assignment."],
    ),
    (
        "a choice that the server keeps for an old client",
        &["--plugin", "6.14.20", "--device", CHOOSER],
        &["Channel beta: the device chose it and the server remembers.", "The device is offered 1.1.0."],
    ),
    (
        "a bundle that failed, on a client that names the wrong one",
        &["--plugin", "10.0.0", "--native", "1.1.0", "--device", FAILING],
        &[
            "1.2.0 failed on this device; it is offered again after a new native version or 30 days.",
            "update_fail",
        ],
    ),
    (
        "a plugin that is not served",
        &["--plugin", "4.17.3"],
        &["The updater plugin is version 4, which is not served.", "unsupported_plugin_version"],
    ),
];

#[test]
fn ten_devices_and_why() {
    let world = world();
    let server = world.serve();
    phone(99).with("version_build", "1.1.0").with("version_name", "1.1.0").awaits(&server, "1.2.0");

    // What is remembered of a device: one chose a channel with an old client, on one a bundle failed.
    let chooser =
        phone(21).with("plugin_version", "6.14.20").with("version_name", "builtin").with("channel", "beta");
    server.post("/channel_self", &chooser.body()).has_status(200);
    let failing = phone(22)
        .with("plugin_version", "10.0.0")
        .with("version_build", "1.1.0")
        .with("version_name", "builtin");
    assert_eq!(failing.asks(&server)["version"], "1.2.0");
    server.post("/stats", &failing.event("update_fail", "builtin")).has_status(200);

    for (case, flags, sentences) in CASES {
        let text = explain(&server, flags);
        for sentence in sentences {
            assert!(text.contains(sentence), "{case}: `{sentence}` is not in\n{text}");
        }
        assert!(!text.contains("0000-4000-8000"), "{case} repeats the device's id:\n{text}");
    }
}

#[test]
fn a_request_from_a_log_is_explained_as_it_is() {
    let world = world();
    let server = world.serve();
    let emulator =
        phone(5).with("is_emulator", true).with("version_build", "1.1.0").with("version_name", "1.1.0");
    emulator.clone().with("is_emulator", false).awaits(&server, "1.2.0");
    let data = world.data();
    let arguments = ["explain", "--data", data.to_str().unwrap(), "--request", "-", "--output", "json"];
    let said = sluice_with(arguments, &[], &emulator.body().to_string()).exits(0).json();
    assert_eq!(said["answer"], "disable_emulator", "{said}");
    assert_eq!(said["summary"], "The channel does not serve emulators.");
    assert_eq!(said["body"], emulator.asks(&server), "the explanation is not what the device gets");

    // A device with a key is not offered what it cannot verify.
    let keyed =
        phone(6).with("key_id", "MIIBCgKCAQEA1234abcd").with("version_build", "1.1.0").body().to_string();
    let file = world.file("request.json");
    std::fs::write(&file, keyed).unwrap();
    let said = server.ask("explain", &["--request", file.to_str().unwrap()]).exits(0).out;
    assert!(said.contains("The device holds a public key and the bundle is not encrypted"), "{said}");

    // Flags overwrite what the request says.
    let said =
        server.ask("explain", &["--request", file.to_str().unwrap(), "--native", "0.9.0"]).exits(0).out;
    assert!(said.contains("No line of the channel is for android with native version 0.9.0."), "{said}");

    // Nothing of this is noted as a contact of the device.
    assert!(server.explain(&phone(6).body())["device"].is_null());
}

#[test]
fn names_that_nothing_has_are_said_with_those_that_there_are() {
    let world = world();
    let server = world.serve();
    phone(99).with("version_build", "1.1.0").with("version_name", "1.1.0").awaits(&server, "1.2.0");
    for command in ["explain", "report"] {
        let ran = server.ask(command, &["--app", "com.example.shp"]).exits(1);
        assert!(
            ran.err.contains("no app `com.example.shp`; known: com.example.shop; did you mean"),
            "{command} {ran:?}"
        );
        let ran = server.ask(command, &["--app", APP, "--channel", "prodution"]).exits(1);
        let known =
            format!("no channel `prodution` of {APP}; known: beta, production, shipped, staff; did you");
        assert!(ran.err.contains(&known), "{command} {ran:?}");
    }
    // A phone may run what is gone from Git.
    let said = explain(&server, &["--native", "1.1.0", "--running", "1.2.O"]);
    assert!(
        said.contains("no release `1.2.O` of com.example.shop; known: 1.1.0, 1.2.0, 2.1.0; did"),
        "{said}"
    );
    assert!(said.contains("The device is offered 1.2.0."), "{said}");
    assert!(!explain(&server, &["--native", "1.1.0", "--running", "1.1.0"]).contains("known:"));
}

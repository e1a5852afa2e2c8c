//! Whom a channel reaches, against the real program.

use serde_json::Value;
use sluice_repo::testing::Changes;

use crate::support::{APP, Phone, Server, World, channel, phone, with_version};

fn shop(production: &str, more: &str) -> Changes {
    ["1.1.0", "1.2.0"]
        .iter()
        .fold(Changes::new(), |changes, version| with_version(changes, version))
        .file("channels/production.yaml", channel("production", production, more))
}

const EVERYBODY: &str = "  public: true\n  rollout: { strategy: Immediate }\n";

/// What a phone is answered whose request a proxy passes on with these headers.
fn through(server: &Server, phone: &Phone, headers: &[(&str, &str)]) -> Value {
    server.send("POST", "/updates", headers, phone.body().to_string().as_bytes()).has_status(200).json()
}

#[test]
fn a_channel_reaches_its_audience_and_nobody_else() {
    let world = World::empty();
    world.commit(shop("1.1.0", EVERYBODY));
    let server = world.serve_with(&["--trusted-proxies", "127.0.0.0/8"]);
    phone(1).awaits(&server, "1.1.0");

    let staff = format!("{EVERYBODY}  audience: {{ customIds: [\"staff-*\"], os: \">=14\" }}\n");
    world.commit(shop("1.2.0", &staff));
    let ada = phone(2).with("custom_id", "staff-ada");
    ada.awaits(&server, "1.2.0");
    for outside in [
        phone(3),
        phone(4).with("custom_id", "guest"),
        phone(5).with("custom_id", "staff-bob").with("version_os", "13.9"),
        phone(6).with("custom_id", "staff-bob").with("version_os", ""),
        // It runs what the channel served before, and keeps it.
        phone(1).with("version_name", "1.1.0"),
        // Also what the channel serves now.
        phone(7).with("version_name", "1.2.0"),
    ] {
        let answer = outside.asks(&server);
        assert_eq!(answer["kind"], "up_to_date", "{answer}");
        assert_eq!(answer["error"], "no_new_version_available", "{answer}");
    }
    let said = server.ask("explain", &["--app", APP, "--custom-id", "guest"]).exits(0).out;
    assert!(
        said.contains("limited to an audience that does not have the device, by its custom id."),
        "{said}"
    );
    let said = server.ask("explain", &["--app", APP, "--custom-id", "staff-x", "--os", "13"]).exits(0).out;
    assert!(said.contains("by its version of the operating system."), "{said}");
    // Who is outside is none of the channel's devices.
    server.eventually("the device is one of the channel", |server| {
        (server.explain(&ada.body())["device"]["channel"] == "production").then_some(())
    });
    let outside = phone(4).with("custom_id", "guest").body();
    server.eventually("the check is noted", |server| {
        let device = server.explain(&outside)["device"].clone();
        (!device.is_null()).then(|| assert!(device["channel"].is_null(), "{device}"))
    });

    // Where a device is, only a trusted proxy says.
    let french = format!("{EVERYBODY}  audience: {{ countries: [FR], locales: [fr] }}\n");
    world.commit(shop("1.2.0", &french));
    let passed = [("sluice-country", "FR"), ("sluice-locale", "fr-CA")];
    server.eventually("the audience is another one", |server| {
        (through(server, &phone(8), &passed)["version"] == "1.2.0").then_some(())
    });
    assert_eq!(ada.asks(&server)["kind"], "up_to_date");
    assert_eq!(through(&server, &phone(8), &passed[..1])["kind"], "up_to_date");
    let said = server.ask("explain", &["--app", APP, "--country", "FR", "--locale", "de"]).exits(0).out;
    assert!(said.contains("by its language."), "{said}");
    assert!(server.stop().success());
    // It is believed from nobody without `--trusted-proxies`.
    let server = world.serve();
    server.eventually("the snapshot is served", |server| {
        (server.status()["channels"][0]["lines"][0]["served"] == "1.2.0").then_some(())
    });
    assert_eq!(through(&server, &phone(8), &passed)["kind"], "up_to_date");
}

#[test]
fn a_step_is_for_its_audience_first() {
    let world = World::empty();
    world.commit(shop("1.1.0", EVERYBODY));
    let server = world.serve();
    phone(1).awaits(&server, "1.1.0");
    let steps = "  public: true\n  rollout:\n    steps:\n    - { audience: { customIds: [\"staff-*\"] }, approval: Required }\n    \
                 - { weight: 50%, soak: 1h }\n";
    world.commit(shop("1.2.0", steps));
    let ada = phone(2).with("custom_id", "staff-ada");
    ada.awaits(&server, "1.2.0");
    for number in 10..30 {
        assert_eq!(phone(number).asks(&server)["version"], "1.1.0");
        let on_it = phone(number).with("version_name", "1.2.0").asks(&server);
        assert_eq!(on_it["kind"], "up_to_date", "who runs it keeps it: {on_it}");
    }
    let said = server.ask("explain", &["--app", APP]).exits(0).out;
    assert!(said.contains("The present step of the rollout of 1.2.0 is for others"), "{said}");
    let status = server.await_status("the step waits for a person", |status| {
        status["channels"][0]["lines"][0]["rollout"]["phase"] == "WaitingForApproval"
    });
    let rollout = &status["channels"][0]["lines"][0]["rollout"];
    assert_eq!((&rollout["limited"], &rollout["weight"]), (&true.into(), &1_000_000.into()), "{rollout}");
    let said = server.ask("status", &[]).exits(0).out;
    assert!(said.contains("100% of the audience of a step"), "{said}");

    world.commit(shop("1.2.0", &format!("{steps}  approvals: [{{ release: 1.2.0, step: 1 }}]\n")));
    server.await_status("half of everybody is reached", |status| {
        status["channels"][0]["lines"][0]["rollout"]["weight"] == 500_000
    });
    let reached = (100..200).filter(|number| phone(*number).asks(&server)["version"] == "1.2.0").count();
    assert!((25..75).contains(&reached), "{reached} of 100");
    // All of the staff stay reached, also those whom the present step does not reach.
    for number in 200..230 {
        let staff = phone(number).with("custom_id", "staff-x");
        assert_eq!(staff.asks(&server)["version"], "1.2.0");
    }
}

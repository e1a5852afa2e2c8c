//! `sluice device`: everything about one device, a channel that support chooses, and forgetting it.

use crate::support::{APP, Ran, Server, World, channel, phone, shop, sluice};

/// A shop with a channel that nobody may choose.
fn world() -> World {
    let world = World::empty();
    let staff = channel("staff", "1.2.0", "");
    world.commit(shop().file("channels/staff.yaml", staff));
    world
}

/// The id of a phone.
fn id(number: u32) -> String {
    phone(number).body()["device_id"].as_str().unwrap().to_owned()
}

fn device(server: &Server, what: &str, more: &[&str]) -> Ran {
    let data = server.data().to_str().unwrap();
    sluice(["device", what, "--data", data, "--app", APP].iter().chain(more))
}

#[test]
fn one_device_is_shown_exported_and_erased() {
    let world = world();
    let server = world.serve();
    let anna = |number: u32| phone(number).with("custom_id", "anna@example.org");
    anna(1).awaits(&server, "1.1.0");
    anna(2).awaits(&server, "1.1.0");
    server.post("/stats", &phone(1).event("set", "1.1.0")).has_status(200);
    server.post("/stats", &phone(1).event("update_fail", "1.1.0")).has_status(200);
    assert!(anna(1).asks(&server)["version"].is_null(), "it failed there");

    let shown = device(&server, "show", &["--device", &id(1)]).exits(0).out;
    for words in
        ["android 14", "made 1.1.0 active", "did not start 1.1.0 (update_fail)", "reported set 1.1.0"]
    {
        assert!(shown.contains(words), "`{words}` is not in\n{shown}");
    }
    let kept = device(&server, "export", &["--custom-id", "anna@example.org"]).exits(0);
    assert_eq!(kept.json()["devices"].as_array().unwrap().len(), 2);
    for secret in [id(1).as_str(), "anna@"] {
        assert!(!kept.out.contains(secret) && !shown.contains(secret), "{secret} is repeated");
    }

    // Nobody can be asked here, and no answer is a no.
    let why = ["--reason", "GDPR ticket 7", "--by", "sam"];
    let refused = device(&server, "erase", &[&["--device", &id(1)], &why[..]].concat()).exits(2);
    assert!(refused.err.contains("--yes"), "{refused:?}");
    device(&server, "show", &["--device", &id(1)]).exits(0);
    let said = device(&server, "erase", &[&["--device", &id(1), "--yes"], &why[..]].concat()).exits(0).out;
    assert!(said.starts_with("1 device is erased"), "{said}");
    assert!(device(&server, "show", &["--device", &id(1)]).exits(1).out.contains("Nothing is kept"));
    let both = ["--custom-id", "anna@example.org", "--yes"];
    device(&server, "erase", &[&both, &why[..]].concat()).exits(0);
    device(&server, "show", &["--device", &id(2)]).exits(1);

    // It comes back as a new one, to which the bundle that failed is offered again.
    assert_eq!(phone(1).asks(&server)["version"], "1.1.0");
    let back = device(&server, "export", &["--device", &id(1)]).exits(0).json();
    let outcomes = back["devices"][0]["outcomes"].as_array().unwrap();
    assert!(outcomes.iter().all(|of| of["launchFailed"].is_null()), "{back}");

    let acts = device(&server, "acts", &[]).exits(0).out;
    assert_eq!(acts.matches("sam erased 1 devices: GDPR ticket 7").count(), 2, "{acts}");
    for text in [acts, server.log()] {
        assert!(!text.contains(&id(1)) && !text.contains("anna@"), "{text}");
    }
}

#[test]
fn support_puts_a_device_on_a_channel_for_a_while() {
    let world = world();
    let server = world.serve();
    phone(1).awaits(&server, "1.1.0");
    let id = id(1);
    let put = |more: &[&str]| {
        let all = [&["--device", &id, "--reason", "cannot log in", "--by", "sam"], more].concat();
        device(&server, "override", &all)
    };
    for (more, code, word) in [
        (["--channel", "nowhere", "--until", "1h"], 1, "no channel nowhere"),
        (["--channel", "staff", "--until", "2000-01-01T00:00:00Z"], 1, "90 days"),
        (["--channel", "staff", "--until", "2400h"], 1, "90 days"),
        (["--channel", "staff", "--until", "soon"], 2, "--until"),
    ] {
        let ran = put(&more).exits(code);
        assert!(ran.err.contains(word), "{ran:?}");
    }
    put(&["--channel", "staff", "--until", "24h"]).exits(0);
    assert_eq!(phone(1).asks(&server)["version"], "1.2.0");
    assert_eq!(phone(2).asks(&server)["version"], "1.1.0");
    let shown = device(&server, "show", &["--device", &id]).exits(0).out;
    assert!(
        shown.contains("put on channel staff until") && shown.contains("(sam: cannot log in)"),
        "{shown}"
    );

    // It outlives the server.
    server.kill();
    let server = world.serve();
    assert_eq!(phone(1).awaits(&server, "1.2.0")["version"], "1.2.0");
    let all = ["--device", &id, "--reason", "solved", "--by", "sam"];
    device(&server, "release", &all).exits(0);
    assert_eq!(phone(1).asks(&server)["version"], "1.1.0");
    let acts = device(&server, "acts", &["--output", "json"]).exits(0).json();
    assert_eq!(acts["acts"].as_array().unwrap().len(), 2, "{acts}");
    assert_eq!(acts["acts"][0]["kind"], "Release");
}

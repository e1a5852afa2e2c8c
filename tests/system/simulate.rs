//! A fleet of phones against the real program: what it says it did is what the server saw.

use std::fs;

use serde_json::Value;

use crate::support::{APP, World, phone, sluice};

#[test]
fn a_fleet_updates_and_leaves_what_does_not_start() {
    let world = World::shop();
    let server = world.serve();
    let (json, page) = (world.file("report.json"), world.file("report.html"));
    let ran = sluice([
        "simulate",
        "--server",
        &server.url(),
        "--app",
        APP,
        "--phones",
        "200",
        "--connections",
        "8",
        "--speed",
        "2000",
        "--warm-up",
        "1s",
        "--for",
        "4s",
        "--bundle",
        "1.1.0:launch=50%",
        "--downloads",
        "1",
        "--json",
        json.to_str().unwrap(),
        "--html",
        page.to_str().unwrap(),
    ])
    .exits(0);
    assert!(ran.out.contains("0 lost") && ran.out.contains("1.1.0: run by"), "{ran:?}");
    let report: Value = serde_json::from_str(&fs::read_to_string(&json).unwrap()).unwrap();
    let totals = &report["samples"].as_array().unwrap().last().unwrap()["totals"];
    let running: u64 = totals["running"].as_object().unwrap().values().map(|n| n.as_u64().unwrap()).sum();
    assert_eq!(running, 200, "every phone runs one bundle: {totals}");
    let count = |name: &str| totals[name]["1.1.0"].as_u64().unwrap_or_default();
    let (offered, failed) = (count("offered"), count("launchFailed"));
    assert!(failed > 0 && offered >= failed + totals["running"]["1.1.0"].as_u64().unwrap(), "{totals}");
    // A phone that it failed on is not offered it again, so that nobody fails twice.
    assert!(offered <= 200 && failed <= 200, "{totals}");
    assert!(totals["bytes"].as_u64().unwrap() > 0, "{totals}");
    assert!(fs::read_to_string(&page).unwrap().contains("<svg"));
    let checks = totals["checks"].as_u64().unwrap();
    assert!(checks >= 190, "{totals}");
}

#[test]
fn mistakes_are_named() {
    for (more, word) in [
        (["--bundle", "1.1.0"], "VERSION:launch=90%"),
        (["--incident", "soon"], "BEGIN+LENGTH:SHARE"),
        (["--phones", "0"], "1 to 5,000,000 phones"),
        (["--for", "x"], "15s"),
        (["--speed", "0"], "the speed is"),
    ] {
        let ran = sluice(["simulate", "--app", APP, more[0], more[1]]).exits(2);
        assert!(ran.err.contains(word), "{ran:?}");
    }
    // Nobody answers.
    let ran = sluice([
        "simulate",
        "--app",
        APP,
        "--server",
        "http://127.0.0.1:9",
        "--phones",
        "3",
        "--warm-up",
        "1s",
        "--for",
        "1s",
    ]);
    assert!(ran.code == Some(1) && ran.out.contains("0 checks answered"), "{ran:?}");
}

#[test]
fn an_app_that_the_server_does_not_have_is_said() {
    let world = World::shop();
    let server = world.serve();
    phone(1).awaits(&server, "1.1.0");
    let url = server.url();
    let brief = ["--server", &url, "--phones", "20", "--warm-up", "1s", "--for", "2s"];
    let ran = sluice(["simulate", "--app", "com.example.shp"].iter().chain(&brief)).exits(1);
    assert!(
        ran.out.contains("the server has no app `com.example.shp`, or no public channel of it"),
        "{ran:?}"
    );
    // Who may ask the server knows it before.
    let ran = server.ask("simulate", &[&["--app", "com.example.shp"], &brief[..]].concat()).exits(1);
    assert!(ran.err.contains("no app `com.example.shp`; known: com.example.shop"), "{ran:?}");
    let channel = ["--app", APP, "--channel", "prodution"];
    let ran = server.ask("simulate", &[&channel, &brief[..]].concat()).exits(1);
    assert!(ran.err.contains("known: production; did you mean `production`?"), "{ran:?}");
    let ran = server.ask("simulate", &[&["--app", APP, "--bundle", "1.9.0:launch=9%"], &brief[..]].concat());
    assert!(ran.exits(0).out.contains("1.9.0 was never offered"));
}

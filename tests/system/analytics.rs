//! The report of the real server: every device is in one place, whatever is sent again and whatever is killed.

use std::fs;

use serde_json::{Value, json};

use crate::support::{APP, Ran, Server, World, phone, sluice};

/// Phones of the test.
const PHONES: u32 = 300;

/// What a phone says of the release after it was offered it, and where it stands then.
const WAYS: [(&[&str], &str); 7] = [
    (&[], "offered"),
    (&["download_complete"], "downloaded"),
    (&["download_complete", "set"], "installed"),
    (&["download_complete", "set", "app_launch_ready"], "running"),
    (&["finish_download_fail"], "deliveryFailed"),
    (&["set", "update_fail"], "installationFailed"),
    (&["set", "app_launch_ready", "app_crash"], "unhealthy"),
];

fn way(number: u32) -> (&'static [&'static str], &'static str) {
    WAYS[number as usize % WAYS.len()]
}

fn report(server: &Server, more: &[&str]) -> Ran {
    server.ask("report", &[&["--app", APP], more].concat())
}

/// The report as JSON, without the time at which it was made.
fn told(server: &Server) -> Value {
    let mut report = report(server, &["--output", "json"]).exits(0).json();
    report["at"] = Value::Null;
    reconciles(&report);
    report
}

fn sum(of: &Value) -> u64 {
    of.as_object().unwrap().values().map(|n| n.as_u64().unwrap()).sum()
}

/// Fails unless the parts are the whole.
fn reconciles(report: &Value) {
    let active = report["active"].as_u64().unwrap();
    assert_eq!(sum(&report["standing"]), active, "{report:#}");
    let adopted: u64 =
        report["adoption"].as_array().unwrap().iter().map(|of| of["devices"].as_u64().unwrap()).sum();
    assert_eq!(adopted, active, "{report:#}");
    let releases = report["releases"].as_array().unwrap();
    let of_releases: u64 = releases.iter().map(|release| release["devices"].as_u64().unwrap()).sum();
    assert_eq!(of_releases + report["standing"]["notOffered"].as_u64().unwrap(), active, "{report:#}");
    for release in releases {
        assert_eq!(sum(&release["standing"]), release["devices"].as_u64().unwrap(), "{release:#}");
        assert!(release["delivered"].as_u64() <= release["offered"].as_u64(), "{release:#}");
        assert!(release["succeeded"].as_u64() <= release["decided"].as_u64(), "{release:#}");
    }
}

/// What a phone sends at once: an array, with the times of its clock.
fn events(number: u32, began: i64) -> Value {
    let at = |place: usize| began * 1000 + i64::try_from(place).unwrap() * 1000;
    let actions = way(number).0.iter().enumerate();
    actions
        .map(|(place, action)| {
            let mut event = phone(number).event(action, "1.1.0");
            event["timestamp"] = json!(at(place));
            event
        })
        .collect()
}

fn send(server: &Server, began: i64) {
    for number in (0..PHONES).filter(|number| !way(*number).0.is_empty()) {
        server.post("/stats", &events(number, began)).has_status(200);
    }
}

/// Everything that was handed over before is written once this phone is counted.
fn await_written(server: &Server, marker: u32, active: u64) -> Value {
    phone(marker).asks(server);
    server.eventually("the last check-in is counted", |server| {
        Some(told(server)).filter(|report| report["active"] == active)
    })
}

#[test]
fn numbers_add_up_and_stay_when_all_is_sent_again_or_the_server_is_killed() {
    let world = World::shop();
    let server = world.serve();
    phone(0).awaits(&server, "1.1.0");
    let began = report(&server, &["--output", "json"]).exits(0).json()["at"].as_i64().unwrap();
    for number in 0..PHONES {
        assert_eq!(phone(number).asks(&server)["version"], "1.1.0");
    }
    let zip = phone(0).downloads(&server, "1.1.0");
    send(&server, began);
    // Those that started it ask again, and a few are on another platform with nothing for them.
    for number in (0..PHONES).filter(|number| matches!(way(*number).1, "running" | "unhealthy")) {
        phone(number).with("version_name", "1.1.0").asks(&server);
    }
    let before = await_written(&server, 8_000, u64::from(PHONES) + 1);
    let mut expected = json!({ "offered": 1 });
    for number in 0..PHONES {
        let standing = way(number).1;
        expected[standing] = json!(expected[standing].as_u64().unwrap_or(0) + 1);
    }
    for (name, n) in before["standing"].as_object().unwrap() {
        assert_eq!(n.as_u64(), Some(expected[name].as_u64().unwrap_or(0)), "{name}: {before:#}");
    }
    let release = &before["releases"][0];
    let of = |name: &str| expected[name].as_u64().unwrap();
    assert_eq!(release["offered"], u64::from(PHONES) + 1);
    assert_eq!(release["bytes"], zip.len());
    assert_eq!(release["failures"]["delivery"], of("deliveryFailed"));
    assert_eq!(release["failures"]["installation"], of("installationFailed"));
    assert_eq!(release["failures"]["health"], of("unhealthy"));
    assert_eq!(release["succeeded"], of("running"));
    assert_eq!(release["running"], of("running") + of("unhealthy"));

    for (figure, standing) in
        [("delivery", "deliveryFailed"), ("installation", "installationFailed"), ("health", "unhealthy")]
    {
        let counted = server.metric(&format!("sluice_fleet_failures_{figure}_total"));
        assert!((counted - of(standing) as f64).abs() < 0.5, "{figure}: {counted}");
    }
    let android = report(&server, &["--platform", "android", "--output", "json"]).exits(0).json();
    assert_eq!(android["standing"], before["standing"]);

    // The same again, then a kill, then the same again.
    send(&server, began);
    for number in 0..PHONES {
        let running = matches!(way(number).1, "running" | "unhealthy");
        phone(number).with("version_name", if running { "1.1.0" } else { "1.0.0" }).asks(&server);
    }
    let same = |report: &Value, more: u64| {
        let mut expected = before.clone();
        for path in ["/active", "/activeToday", "/standing/offered", "/releases/0/offered"] {
            let n = expected.pointer_mut(path).unwrap();
            *n = json!(n.as_u64().unwrap() + more);
        }
        for path in ["/active", "/activeToday", "/standing", "/releases/0/offered", "/releases/0/failures"] {
            assert_eq!(report.pointer(path), expected.pointer(path), "{path}: {report:#}");
        }
    };
    same(&await_written(&server, 8_001, u64::from(PHONES) + 2), 1);
    let last = told(&server);
    server.kill();
    let server = world.serve();
    assert_eq!(told(&server), last, "a crash changes nothing");
    send(&server, began);
    same(&await_written(&server, 8_002, u64::from(PHONES) + 3), 2);

    let text = report(&server, &[]).exits(0).out;
    assert!(text.contains("1.1.0:") && text.contains("installation failed"), "{text}");
    let beta = report(&server, &["--channel", "beta"]).exits(1);
    assert!(beta.err.contains("no channel `beta` of com.example.shop; known: production"), "{beta:?}");
    assert!(report(&server, &["--since", "soon"]).exits(2).err.contains("2026-11-01"));
    let unknown = server.ask("report", &["--app", "com.example.nobody"]).exits(1);
    assert!(unknown.err.contains("no app `com.example.nobody`; known: com.example.shop"), "{unknown:?}");
}

#[test]
fn a_simulated_fleet_is_reported_as_it_is() {
    let world = World::shop();
    let server = world.serve();
    let json = world.file("report.json");
    let url = server.url();
    let ran = sluice([
        "simulate",
        "--server",
        &url,
        "--app",
        APP,
        "--phones",
        "300",
        "--connections",
        "8",
        "--speed",
        "2000",
        "--warm-up",
        "1s",
        "--for",
        "5s",
        "--bundle",
        "1.1.0:launch=30%",
        "--json",
        json.to_str().unwrap(),
    ])
    .exits(0);
    assert!(ran.out.contains("0 lost"), "{ran:?}");
    let simulated: Value = serde_json::from_str(&fs::read_to_string(&json).unwrap()).unwrap();
    let totals = &simulated["samples"].as_array().unwrap().last().unwrap()["totals"];
    // Whoever asks for one device waits for what was handed over before.
    let data = world.data();
    let marker = ["device", "export", "--data", data.to_str().unwrap(), "--app", APP, "--device", "none"];
    sluice(marker).exits(1);
    let report = told(&server);
    assert!(report["active"].as_u64() > Some(100), "{report:#}");
    let release = &report["releases"][0];
    let failed = release["failures"]["installation"].as_u64().unwrap();
    assert_eq!(failed, totals["launchFailed"]["1.1.0"].as_u64().unwrap(), "{report:#}\n{totals:#}");
    assert!(failed > 0 && release["running"].as_u64() > Some(0), "{report:#}");
    assert!(release["successRate"].as_f64().unwrap() < 0.9, "{report:#}");
    server.kill();
    let server = world.serve();
    assert_eq!(told(&server), report);
}

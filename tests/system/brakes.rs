//! Stopping a bundle, as people and phones see it.

use std::time::{Duration, Instant};

use sluice_repo::testing::Changes;

use crate::support::{APP, Server, World, channel, phone, sha256, sluice, try_send};

/// A channel for everybody.
const OPEN: &str = "  public: true\n";

#[test]
fn a_brake_is_in_force_within_a_second_and_returns_devices() {
    let world = World::shop();
    let server = world.serve();
    let (fresh, running) = (phone(1), phone(2).with("version_name", "1.1.0"));
    fresh.awaits(&server, "1.1.0");

    let ran =
        server.ask("brake", &["shop-production", "--reason", "checkout is broken", "--by", "rosa"]).exits(0);
    assert!(ran.out.contains("1.1.0") && ran.out.contains("is stopped on channel production"), "{ran:?}");
    // In the process that took it, at once.
    assert_eq!(fresh.asks(&server)["error"], "no_new_version_available");
    assert_eq!(running.asks(&server)["version"], "builtin", "no release did well before");
    let explained = server.explain(&running.body());
    let trace = explained["trace"].to_string();
    assert!(trace.contains("checkout is broken (brake ") && trace.contains("by rosa"), "{trace}");
    let list = server.ask("brake", &["list"]);
    assert!(list.out.contains("checkout is broken"), "{list:?}");
    let again = server.ask("brake", &["shop-production", "--reason", "still", "--by", "otto"]).exits(0);
    assert!(again.out.contains("was stopped before"), "{again:?}");
    assert!((server.metric("sluice_brakes") - 1.0).abs() < f64::EPSILON);
}

/// A token for CI and for bots: it stops its own app, and there is nothing else that it does.
#[test]
fn a_brake_token_stops_its_app_and_does_nothing_else() {
    let world = World::shop();
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let (ours, theirs) = ("a-secret-of-the-pipeline", "another-secret-of-theirs");
    let hash = sha256(ours.as_bytes());
    let tokens = format!("# of CI\n{APP} ci sha256:{hash}\ncom.example.bank bank-ci {theirs}\n");
    let server = world.serve_with(&["--brake-tokens-file", &file("tokens", &tokens)]);
    let fresh = phone(1);
    fresh.awaits(&server, "1.1.0");
    let url = std::fs::read_to_string(server.data().join("admin-url")).unwrap();
    let stop = |token: &str, more: &[&str]| {
        let path = file("token", token);
        let way =
            ["--reason", "error rate", "--by", "job 7", "--admin-url", url.trim(), "--token-file", &path];
        sluice(["brake"].iter().chain(more).chain(&way).copied())
    };
    let refused = stop(theirs, &["production", "--app", APP]).exits(1);
    assert!(
        refused.err.contains("403") && refused.err.contains("com.example.bank, and nothing else"),
        "{refused:?}"
    );
    stop("a-secret-of-the-pipelinf", &["production", "--app", APP]).exits(1);
    let path = file("token", ours);
    for read in [&["status"][..], &["brake", "list"], &["decisions", "--app", APP]] {
        let refused =
            sluice(read.iter().chain(&["--admin-url", url.trim(), "--token-file", &path]).copied()).exits(1);
        assert!(refused.err.contains("403"), "{read:?} {refused:?}");
    }
    assert_eq!(fresh.asks(&server)["version"], "1.1.0");

    stop(ours, &["production", "--app", APP]).exits(0);
    assert_eq!(fresh.asks(&server)["error"], "no_new_version_available");
    let list = server.ask("brake", &["list"]);
    assert!(list.out.contains("by ci for job 7: error rate"), "{list:?}");
    // What is stopped stays stopped.
    let admin = url.trim().strip_prefix("http://").unwrap().parse().unwrap();
    let authorization = format!("Bearer {ours}");
    let lift =
        try_send(admin, "DELETE", "/api/v1/brakes", &[("authorization", &authorization)], b"").unwrap();
    assert_eq!(lift.status, 405);
    assert_eq!(fresh.asks(&server)["error"], "no_new_version_available");
    // Without a restart it is no token any more.
    file("tokens", &format!("com.example.bank bank-ci {theirs}\n"));
    server.eventually("the token is revoked", |_| {
        let ran = stop(ours, &["production", "--app", APP]);
        (ran.code == Some(1) && ran.err.contains("401")).then_some(())
    });
    let log = server.log();
    assert!(!log.contains(ours) && !log.contains(theirs), "{log}");
}

/// Break glass: no server is asked, only the store is written to.
#[test]
fn a_brake_written_to_the_store_is_obeyed_within_a_second() {
    let world = World::shop();
    let server = world.serve();
    let fresh = phone(1);
    fresh.awaits(&server, "1.1.0");
    let store = format!("file://{}", server.data().join("store").display());
    let stop = ["brake", "--app", APP, "--release", "1.1.0", "--reason", "it burns", "--store", &store];
    sluice(stop).exits(0);
    let began = Instant::now();
    server.eventually("nobody is offered it", |server| {
        (fresh.asks(server)["error"] == "no_new_version_available").then_some(())
    });
    let waited = began.elapsed();
    // The poll is 400 ms; the rest is the machine that runs the test.
    assert!(waited < Duration::from_secs(2), "{waited:?}");
    // It outlives the process.
    server.stop();
    let server = world.serve();
    server.await_status("something is served", |status| status["generation"] != 0);
    assert_eq!(fresh.asks(&server)["error"], "no_new_version_available");
    let list = sluice(["brake", "list", "--store", &store]).exits(0);
    assert!(list.out.contains("on every channel"), "{list:?}");
}

/// What the log says of a kind, each row in a sentence.
fn logged(server: &Server, kind: &str) -> Vec<String> {
    let log = server.ask("decisions", &["--app", APP]).exits(0).out;
    let said = log.lines().filter_map(|line| line.split_once(&format!("  {kind}: ")));
    said.map(|(_, sentence)| sentence.to_owned()).collect()
}

/// Everybody has it, so there is no rollout that ends: it is told all the same, and is said to be served no more.
#[test]
fn a_brake_of_a_completed_release_is_told_and_not_shown_as_served() {
    let world = World::shop();
    let server = world.serve();
    let fresh = phone(1);
    fresh.awaits(&server, "1.1.0");
    world.commit(Changes::new().file("channels/production.yaml", channel("production", "1.2.0", OPEN)));
    fresh.awaits(&server, "1.2.0");
    let stop = ["shop-production", "--reason", "checkout is broken", "--by", "rosa"];
    server.ask("brake", &stop).exits(0);
    let status = server.await_status("1.1.0 is served instead", |status| {
        status["channels"][0]["lines"][0]["served"] == "1.1.0"
    });
    assert_eq!(fresh.asks(&server)["version"], "1.1.0");
    let id = server.admin("/api/v1/brakes").has_status(200).json()[0]["id"].clone();
    let id = id.as_str().unwrap();
    let of = |kind: &str| {
        let all = status["channels"][0]["conditions"].as_array().unwrap();
        all.iter().find(|condition| condition["type"] == kind).unwrap().clone()
    };
    assert_eq!((&of("Ready")["status"], &of("RolledOut")["reason"]), (&false.into(), &"Braked".into()));
    let said = server.ask("status", &[]).exits(0).out;
    let brake = format!("(brake {id}, by rosa: checkout is broken)");
    let message = format!("1.2.0 is braked {brake}: devices are offered 1.1.0 instead");
    assert!(said.contains(&message) && said.contains("0% of devices: Braked"), "{said}");
    assert_eq!(logged(&server, "Braked"), [format!("1.2.0 is braked on production {brake}")]);
    assert!(server.log().contains(&format!("1.2.0 is braked on production {brake}")));

    // It is told once, and only Git takes it back.
    assert!(server.stop().success());
    let server = world.serve();
    server.await_status("it is served as before", |status| {
        status["channels"][0]["lines"][0]["served"] == "1.1.0"
    });
    let lifted = format!("{OPEN}  allowHeld: [{id}]\n");
    world.commit(Changes::new().file("channels/production.yaml", channel("production", "1.2.0", &lifted)));
    server.await_status("1.2.0 is served again", |status| {
        status["channels"][0]["lines"][0]["served"] == "1.2.0"
    });
    fresh.awaits(&server, "1.2.0");
    assert_eq!(logged(&server, "Braked").len(), 1);
    let again = "1.2.0 is offered on production again, as Git lifts its brake";
    assert_eq!(logged(&server, "Resumed"), [again]);
}

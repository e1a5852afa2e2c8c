//! Stopping a bundle, as people and phones see it.

use std::time::{Duration, Instant};

use crate::support::{APP, World, phone, sha256, sluice, try_send};

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

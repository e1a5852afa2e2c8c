//! Stopping a bundle, as people and phones see it.

use std::time::{Duration, Instant};

use crate::support::{APP, World, phone, sluice};

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

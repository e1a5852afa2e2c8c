//! Whose an event is, and what the device is told next.

use sluice_core::{
    channel::Platform,
    memory::{FAILED_FOR_SECONDS, OverrideBy},
    native::NativeVersion,
};

use super::{APP, Place, bundle, check, device, event, open, record, reopen};

/// Failures that name the active bundle, or none, are of what was last offered.
pub async fn active_bundle_is_not_blamed(place: &dyn Place) {
    let (fleet, hands) = open(place).await;
    let (old, new) = (bundle("1.9.0"), bundle("2.0.0"));
    fleet.check_in(&check(1, hands.now(), "1.0.0", Some(("1.9.0", &old))));
    hands.pass(1);
    fleet.check_in(&check(1, hands.now(), "1.9.0", Some(("2.0.0", &new))));
    // No wait: check-ins come before the events that follow them.
    record(&fleet, vec![event(1, "checksum_fail", Some("1.9.0"), None)]).await;
    record(&fleet, vec![event(1, "unzip_fail", None, None)]).await;
    let counts = fleet.outcome_counts(APP).await.expect("counts");
    assert_eq!(counts.get("1.9.0").map_or(0, |c| c.install_failures), 0);
    assert_eq!(counts["2.0.0"].install_failures, 1);

    // What runs already is not being downloaded.
    hands.pass(100);
    fleet.check_in(&check(1, hands.now(), "2.0.0", None));
    record(&fleet, vec![event(1, "checksum_fail", Some("2.0.0"), None)]).await;
    // One device, one version: a failed start is known to the very next request.
    let at = Some(hands.now() * 1000);
    record(&fleet, vec![event(1, "set", Some("2.0.0"), at), event(1, "update_fail", Some("2.0.0"), at)])
        .await;
    let memory = fleet.memory(APP, device(1)).expect("it failed");
    let native = NativeVersion(1, 0, 0);
    assert!(memory.has_failed(&new, native, hands.now()) && !memory.has_failed(&old, native, hands.now()));
    hands.pass(FAILED_FOR_SECONDS);
    assert!(!memory.has_failed(&new, native, hands.now()));
    fleet.clean_up().await.expect("clean-up");
    assert_eq!(fleet.memory(APP, device(1)), None, "forgotten after thirty days");
}

/// Deliveries may fail twice; the third failed attempt ends the offering.
pub async fn deliveries_fail_three_times(place: &dyn Place) {
    let (fleet, hands) = open(place).await;
    let digest = bundle("2.0.0");
    for attempt in 1..=3 {
        fleet.check_in(&check(1, hands.now(), "1.0.0", Some(("2.0.0", &digest))));
        record(&fleet, vec![event(1, "download_fail", None, None)]).await;
        record(&fleet, vec![event(1, "finish_download_fail", Some("2.0.0"), None)]).await;
        assert_eq!(fleet.memory(APP, device(1)).is_some(), attempt == 3, "attempt {attempt}");
        hands.pass(3600);
    }
    // Configuration is nobody's failure.
    fleet.check_in(&check(2, hands.now(), "1.0.0", Some(("2.0.0", &digest))));
    record(&fleet, vec![event(2, "checksum_required", Some("1.0.0"), None)]).await;
    record(&fleet, vec![event(2, "insufficient_disk_space", None, None)]).await;
    assert_eq!(fleet.figures().configuration_failures, 1);
    assert_eq!(fleet.outcome_counts(APP).await.expect("counts")["2.0.0"].devices, 1);
}

/// Success is said by new clients, and shown by old ones.
pub async fn what_success_is(place: &dyn Place) {
    let (fleet, hands) = open(place).await;
    let digest = bundle("2.0.0");
    for n in 1..=4 {
        fleet.check_in(&check(n, hands.now(), "1.0.0", Some(("2.0.0", &digest))));
        record(&fleet, vec![event(n, "set", Some("2.0.0"), None)]).await;
    }
    record(&fleet, vec![event(1, "app_launch_ready", Some("2.0.0"), None)]).await;
    // Device 2 goes on running it, device 3 at once and never again, device 4 leaves it.
    fleet.check_in(&check(2, hands.now() + 1, "2.0.0", None));
    fleet.check_in(&check(3, hands.now() + 1, "2.0.0", None));
    hands.pass(5);
    let mut reset = event(4, "reset", Some("1.0.0"), None);
    reset.old_version = Some("2.0.0".to_owned());
    record(&fleet, vec![reset]).await;
    hands.pass(60);
    fleet.check_in(&check(2, hands.now(), "2.0.0", None));
    fleet.flush().await.expect("flush");
    let counts = fleet.outcome_counts(APP).await.expect("counts");
    assert_eq!(
        (counts["2.0.0"].trials, counts["2.0.0"].successes, counts["2.0.0"].launch_failures),
        (4, 2, 1)
    );

    // Electron says `set` at every start, also after the bundle failed.
    let electron = |n, action: &str| {
        let mut event = event(n, action, Some("2.0.0"), None);
        event.platform = Platform::Electron;
        event
    };
    record(&fleet, vec![electron(5, "set"), electron(6, "set_fail"), electron(6, "set")]).await;
    let counts = fleet.outcome_counts(APP).await.expect("counts");
    assert_eq!((counts["2.0.0"].successes, counts["2.0.0"].launch_failures), (3, 2));
}

/// A channel of a device's own is there at once, lasts, and ends when it should.
pub async fn overrides_last(place: &dyn Place) {
    let (fleet, hands) = open(place).await;
    let set = |n, name: &str, expires| {
        let name = name.parse().expect("a channel");
        fleet.set_channel(APP, device(n), name, OverrideBy::Device, expires)
    };
    set(1, "beta", None).await.expect("set");
    set(1, "alpha", None).await.expect("set again");
    set(2, "beta", None).await.expect("set");
    set(3, "beta", Some(hands.now() + 100)).await.expect("set");
    fleet.unset_channel(APP, device(2)).await.expect("unset");
    fleet.unset_channel(APP, device(9)).await.expect("unset of nothing");
    fleet.unset_channel("com.example.other", device(9)).await.expect("unset of nothing");
    let check = |fleet: &crate::fleet::Fleet| {
        let of =
            |n| fleet.memory(APP, device(n)).and_then(|m| m.channel.clone()).map(|c| c.channel.to_string());
        [of(1), of(2), of(3)]
    };
    assert_eq!(check(&fleet), [Some("alpha".to_owned()), None, Some("beta".to_owned())]);
    fleet.close().await.expect("close");
    let fleet = reopen(place, &hands).await;
    assert_eq!(check(&fleet), [Some("alpha".to_owned()), None, Some("beta".to_owned())]);
    hands.pass(100);
    fleet.clean_up().await.expect("clean-up");
    assert_eq!(check(&fleet), [Some("alpha".to_owned()), None, None]);
    fleet.close().await.expect("close");
    let fleet = reopen(place, &hands).await;
    assert_eq!(check(&fleet), [Some("alpha".to_owned()), None, None]);
}

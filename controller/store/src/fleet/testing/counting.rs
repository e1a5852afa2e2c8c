//! Exactly-once counting.

use super::{APP, Place, bundle, check, device, event, open, record, reopen};
use crate::fleet::{FleetError, OutcomeCounts};

/// A report counts once, however often and wherever it is repeated.
pub async fn duplicates(place: &dyn Place) {
    let (fleet, hands) = open(place).await;
    fleet.check_in(&check(1, hands.now(), "1.0.0", Some(("2.0.0", &bundle("2.0.0")))));
    let at = Some(hands.now() * 1000);
    let set = || event(1, "set", Some("2.0.0"), at);
    let ready = || event(1, "app_launch_ready", Some("2.0.0"), at);
    assert_eq!(record(&fleet, vec![set(), set(), ready()]).await, 2, "inside one array");
    assert_eq!(record(&fleet, vec![set(), ready(), event(1, "download_5", Some("2.0.0"), at)]).await, 1);
    assert_eq!(record(&fleet, vec![event(2, "set", Some("2.0.0"), at)]).await, 1, "another device");
    assert_eq!(
        record(&fleet, vec![event(1, "set", Some("2.0.0"), at.map(|at| at + 1))]).await,
        1,
        "another moment"
    );
    hands.pass(20 * 24 * 3600);
    assert_eq!(record(&fleet, vec![set(), ready()]).await, 0, "a client that retries weeks later");

    // Without a time: the same report within a minute is one, also over the edge of a minute.
    let bare = || event(1, "finish_download_fail", Some("2.0.0"), None);
    hands.pass(50 - hands.now().rem_euclid(60));
    assert_eq!(record(&fleet, vec![bare(), bare()]).await, 1);
    hands.pass(30);
    assert_eq!(record(&fleet, vec![bare()]).await, 0);
    hands.pass(31);
    assert_eq!(record(&fleet, vec![bare()]).await, 1);

    let many =
        futures::future::join_all((0..50).map(|_| fleet.record(vec![event(9, "set", Some("2.0.0"), at)])));
    let new =
        many.await.into_iter().filter(|r| matches!(r.as_deref(), Ok([crate::fleet::Accepted::New]))).count();
    assert_eq!(new, 1, "one of fifty at once");

    fleet.close().await.expect("the store closes");
    let fleet = reopen(place, &hands).await;
    assert_eq!(record(&fleet, vec![set(), bare()]).await, 0, "after a restart");
    let counts = fleet.outcome_counts(APP).await.expect("counts");
    assert_eq!(counts["2.0.0"].trials, 3);
    assert_eq!(fleet.figures().events_duplicate, 2);
}

/// One failure arrives as up to five events; the device counts once.
pub async fn bursts_count_once(place: &dyn Place) {
    let (fleet, hands) = open(place).await;
    for n in 1..=2 {
        fleet.check_in(&check(n, hands.now(), "1.0.0", Some(("2.0.0", &bundle("2.0.0")))));
        let at = Some(hands.now() * 1000);
        let burst = vec![
            event(n, "checksum_fail", Some("1.0.0"), at),
            event(n, "delete", Some("2.0.0"), at),
            event(n, "download_fail", Some("1.0.0"), None),
            event(n, "finish_download_fail", Some("2.0.0"), None),
        ];
        assert_eq!(record(&fleet, burst).await, 4);
        assert_eq!(record(&fleet, vec![event(n, "update_fail", Some("2.0.0"), at)]).await, 1);
        assert_eq!(record(&fleet, vec![event(n, "app_launch_timeout", Some("2.0.0"), at)]).await, 1);
    }
    let counts = fleet.outcome_counts(APP).await.expect("counts");
    let expected =
        OutcomeCounts { devices: 2, install_failures: 2, launch_failures: 2, ..OutcomeCounts::default() };
    assert_eq!((counts.len(), counts["2.0.0"]), (1, expected));
    let memory = fleet.memory(APP, device(1)).expect("it failed");
    assert_eq!(memory.failed.len(), 1);
    let mut emulator = event(3, "update_fail", Some("2.0.0"), None);
    emulator.emulator = true;
    record(&fleet, vec![emulator]).await;
    let counts = fleet.outcome_counts(APP).await.expect("counts");
    assert_eq!(counts["2.0.0"], expected, "emulators are no evidence");
}

/// Nothing that was acknowledged is lost by a restart.
pub async fn survives_a_restart(place: &dyn Place) {
    let (fleet, hands) = open(place).await;
    let digest = bundle("2.0.0");
    fleet.check_in(&check(1, hands.now(), "1.0.0", Some(("2.0.0", &digest))));
    record(&fleet, vec![event(1, "update_fail", Some("2.0.0"), None)]).await;
    let before = fleet.memory(APP, device(1));
    let view = fleet.device(APP, device(1)).await.expect("a view").expect("a device");
    fleet.close().await.expect("the store closes");
    assert!(matches!(fleet.record(vec![event(1, "set", None, None)]).await, Err(FleetError::Closed)));

    let fleet = reopen(place, &hands).await;
    assert!(before.is_some_and(|m| m.has_failed(
        &digest,
        sluice_core::native::NativeVersion(1, 0, 0),
        hands.now()
    )));
    assert_eq!(
        fleet.memory(APP, device(1)),
        fleet.device(APP, device(1)).await.expect("a view").expect("it").memory
    );
    let after = fleet.device(APP, device(1)).await.expect("a view").expect("a device");
    assert_eq!(
        (after.first_seen, &after.offered, &after.outcomes),
        (view.first_seen, &view.offered, &view.outcomes)
    );
    assert_eq!(after.offered.and_then(|o| o.digest), Some(digest));
    assert_eq!(fleet.last_offered(&digest), Some(hands.now() - hands.now().rem_euclid(60)));
    // Attribution by what was offered before the restart.
    record(&fleet, vec![event(1, "unzip_fail", Some("1.0.0"), None)]).await;
    assert_eq!(fleet.outcome_counts(APP).await.expect("counts")["2.0.0"].install_failures, 1);
}

/// Clocks of devices that are years off, and numbers that are no time at all.
pub async fn odd_times(place: &dyn Place) {
    let (fleet, hands) = open(place).await;
    fleet.check_in(&check(1, hands.now(), "1.0.0", Some(("2.0.0", &bundle("2.0.0")))));
    let year = 365 * 24 * 3_600_000;
    let now = hands.now() * 1000;
    for at in [now - 9 * year, now + 9 * year, 0, -1, i64::MAX, i64::MIN] {
        let report = || vec![event(1, "finish_download_fail", Some("2.0.0"), Some(at))];
        assert_eq!(record(&fleet, report()).await, 1, "{at}");
        assert_eq!(record(&fleet, report()).await, 0, "{at}");
    }
    let view = fleet.device(APP, device(1)).await.expect("a view").expect("a device");
    assert_eq!(view.outcomes[0].install_failed, Some((hands.now(), "finish_download_fail".to_owned())));
    assert_eq!(view.last_seen, hands.now(), "the server's clock counts");
}

/// Names that nobody knows are accepted and count for nothing.
pub async fn strangers_and_unknown_names(place: &dyn Place) {
    let (fleet, hands) = open(place).await;
    let mut elsewhere = event(1, "set", Some("1.0.0"), None);
    elsewhere.app = "com.example.other".parse().expect("an app id");
    assert_eq!(record(&fleet, vec![elsewhere]).await, 1, "an app that nobody serves");
    fleet.check_in(&check(1, hands.now(), "1.0.0", Some(("2.0.0", &bundle("2.0.0")))));
    let odd = [None, Some(""), Some("9.9.9"), Some("builtin"), Some("..'; DROP TABLE devices; --")];
    for (n, version) in odd.into_iter().enumerate() {
        let report =
            event(1, "update_fail", version, Some(hands.now() * 1000 + i64::try_from(n).unwrap_or(0)));
        assert_eq!(record(&fleet, vec![report]).await, 1);
    }
    assert_eq!(record(&fleet, vec![event(1, "an action\0of tomorrow", Some("2.0.0"), None)]).await, 1);
    // A device that never asked may report, but nothing is remembered of it.
    assert_eq!(record(&fleet, vec![event(2, "update_fail", Some("2.0.0"), None)]).await, 1);
    assert_eq!(fleet.memory(APP, device(2)), None);
    let mut probe = event(3, "set", Some("2.0.0"), None);
    probe.probe = true;
    assert_eq!(record(&fleet, vec![probe]).await, 1);
    let counts = fleet.outcome_counts(APP).await.expect("counts");
    assert_eq!(counts.keys().collect::<Vec<_>>(), ["2.0.0"]);
    assert_eq!((counts["2.0.0"].devices, counts["2.0.0"].trials), (2, 0));
    assert_eq!(fleet.figures().events_unknown_app, 1);
    assert_eq!(record(&fleet, Vec::new()).await, 0);
}

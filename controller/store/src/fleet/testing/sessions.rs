//! What check-ins leave behind.

use super::{APP, Place, bundle, check, device, event, open, record, reopen};

/// A check-in that changes nothing is not written.
pub async fn only_changes_are_written(place: &dyn Place) {
    let (fleet, hands) = open(place).await;
    let digest = bundle("2.0.0");
    let offered = Some(("2.0.0", &digest));
    let (start, mut expected) = (hands.now(), 0);
    let steps = [
        ("first seen", check(1, start, "1.0.0", offered), 1),
        ("the same", check(1, start + 10, "1.0.0", offered), 0),
        ("the same, much later in the session", check(1, start + 1_500, "1.0.0", offered), 0),
        ("another version runs", check(1, start + 1_600, "2.0.0", offered), 1),
        ("nothing offered any more", check(1, start + 1_601, "2.0.0", None), 1),
        ("the same", check(1, start + 1_602, "2.0.0", None), 0),
        ("it went on running", check(1, start + 1_700, "2.0.0", None), 1),
        ("the same", check(1, start + 1_701, "2.0.0", None), 0),
        ("a new session", check(1, start + 9_000, "2.0.0", None), 1),
    ];
    for (what, check, writes) in steps {
        fleet.check_in(&check);
        fleet.flush().await.expect("flush");
        expected += writes;
        assert_eq!(fleet.figures().written_check_ins, expected, "{what}");
    }
    let mut other = check(1, start + 9_001, "2.0.0", None);
    for step in 0..3 {
        match step {
            0 => other.native = "1.1.0",
            1 => other.os = "17",
            _ => other.plugin = "8.52.0",
        }
        fleet.check_in(&other);
        fleet.check_in(&other);
        fleet.flush().await.expect("flush");
        expected += 1;
        assert_eq!(fleet.figures().written_check_ins, expected);
    }
    let last = fleet.last_offered(&digest).expect("it was offered");
    assert!((start + 1_600 - 60..=start + 1_600).contains(&last), "offers are noted without a write");
    assert_eq!(fleet.figures().dropped_check_ins, 0);
}

/// First seen, gaps between sessions, the last offer, and who is active.
pub async fn what_is_remembered_of_devices(place: &dyn Place) {
    let (fleet, hands) = open(place).await;
    let digest = bundle("2.0.0");
    let start = hands.now();
    let mut named = check(1, start, "1.0.0", Some(("2.0.0", &digest)));
    named.custom_id = Some("a-customer");
    fleet.check_in(&named);
    for _ in 0..10 {
        // Contacts inside a session, the last one only in memory.
        hands.pass(600);
        fleet.check_in(&check(1, hands.now(), "1.0.0", Some(("2.0.0", &digest))));
        hands.pass(3_000);
        fleet.check_in(&check(1, hands.now(), "1.0.0", Some(("2.0.0", &digest))));
        fleet.flush().await.expect("flush");
    }
    let view = fleet.device(APP, device(1)).await.expect("a view").expect("a device");
    assert_eq!((view.first_seen, view.sessions, view.gaps.clone()), (start, 11, vec![3_000; 8]));
    assert_eq!((view.native.as_str(), view.channel.as_deref()), ("1.0.0", Some("production")));

    // Events are contacts too.
    hands.pass(5_000);
    record(&fleet, vec![event(1, "app_moved_to_foreground", Some("1.0.0"), None)]).await;
    let view = fleet.device(APP, device(1)).await.expect("a view").expect("a device");
    assert_eq!((view.last_seen, view.gaps[0]), (hands.now(), 5_000));

    let mut beta = check(2, hands.now(), "1.0.0", None);
    beta.channel = Some("beta");
    fleet.check_in(&beta);
    let mut idle = check(3, hands.now() - 8 * 24 * 3600, "1.0.0", None);
    idle.channel = Some("beta");
    fleet.check_in(&idle);
    fleet.flush().await.expect("flush");
    let active = fleet.active_devices().await.expect("a count");
    let active: Vec<_> = active.iter().map(|a| (a.app.as_str(), a.channel.as_deref(), a.devices)).collect();
    assert_eq!(active, [(APP, Some("beta"), 1), (APP, Some("production"), 1)]);
    fleet.close().await.expect("close");

    // A restart knows when the device was there last.
    hands.pass(7_000);
    let fleet = reopen(place, &hands).await;
    fleet.check_in(&check(1, hands.now(), "1.0.0", None));
    fleet.flush().await.expect("flush");
    let view = fleet.device(APP, device(1)).await.expect("a view").expect("a device");
    assert_eq!((view.first_seen, view.gaps[0]), (start, 7_000));
    assert_eq!(view.offered.map(|o| o.version), Some("2.0.0".to_owned()), "kept when nothing new is offered");
}

/// A clock that jumps back loses nothing and invents nothing.
pub async fn a_clock_that_goes_back(place: &dyn Place) {
    let (fleet, hands) = open(place).await;
    let start = hands.now();
    fleet.check_in(&check(1, start, "1.0.0", None));
    hands.pass(-3_600);
    fleet.check_in(&check(1, hands.now(), "1.0.0", None));
    fleet.check_in(&check(1, hands.now(), "1.0.1", None));
    record(&fleet, vec![event(1, "set_next", Some("1.0.1"), None)]).await;
    fleet.flush().await.expect("flush");
    let view = fleet.device(APP, device(1)).await.expect("a view").expect("a device");
    assert_eq!((view.first_seen, view.last_seen, view.sessions), (start, start, 1));
    assert_eq!(view.running, "1.0.1");
    // Far back: the clock was wrong before.
    hands.pass(-400 * 24 * 3600);
    fleet.check_in(&check(1, hands.now(), "1.0.2", None));
    fleet.flush().await.expect("flush");
    let view = fleet.device(APP, device(1)).await.expect("a view").expect("a device");
    assert_eq!((view.last_seen, view.sessions), (hands.now(), 1));
    hands.pass(3_000);
    fleet.check_in(&check(1, hands.now(), "1.0.2", None));
    fleet.flush().await.expect("flush");
    let view = fleet.device(APP, device(1)).await.expect("a view").expect("a device");
    assert_eq!((view.sessions, view.gaps), (2, vec![3_000]));
}

//! Nothing grows without a bound.

use super::{APP, Hands, Place, bundle, check, device, event, record};
use crate::fleet::{FleetError, Limits};

/// What does not fit is refused (events) or dropped (check-ins), and goes on when there is room. To be run on a runtime
/// of one thread, where the writer cannot run in between.
pub async fn full_queues_refuse(place: &dyn Place) {
    let hands = Hands::default();
    let limits = Limits { queued_check_ins: 4, queued_events: 10, cached_devices: 64, ..Limits::default() };
    let fleet = place.open(hands.clock(), limits).await.expect("the store opens");
    for n in 0..10 {
        fleet.check_in(&check(n, hands.now(), "1.0.0", None));
    }
    let figures = fleet.figures();
    assert_eq!((figures.queued_check_ins, figures.dropped_check_ins), (4, 6));
    fleet.flush().await.expect("flush");
    fleet.check_in(&check(9, hands.now(), "1.0.0", None));
    fleet.flush().await.expect("flush");
    assert_eq!(fleet.figures().written_check_ins, 5, "a dropped device is written by its next check");

    let array = |n: i64| (0..4).map(|i| event(1, "download_1", None, Some(n * 10 + i))).collect::<Vec<_>>();
    let all = futures::future::join_all((0..4).map(|n| fleet.record(array(n)))).await;
    let refused = all.iter().filter(|r| matches!(r, Err(FleetError::Busy))).count();
    assert_eq!((refused, fleet.figures().events_refused), (2, 8));
    assert_eq!(record(&fleet, (0..4).flat_map(array).collect()).await, 8, "larger than the queue, alone");

    for n in 0..10_000 {
        fleet.check_in(&check(n, hands.now(), "1.0.0", None));
        if n % 4 == 3 {
            fleet.flush().await.expect("flush");
        }
    }
    let cached = fleet.figures().cached_devices;
    assert!(cached <= 2 * 64, "{cached} devices are cached");
}

/// Old rows go: neutral events first, then all events, then devices and what became of them.
pub async fn old_rows_go(place: &dyn Place) {
    let hands = Hands::default();
    let day = 24 * 3600;
    let limits = Limits { bite: 7, ..Limits::default() };
    let fleet = place.open(hands.clock(), limits).await.expect("the store opens");
    let digest = bundle("2.0.0");
    fleet.check_in(&check(1, hands.now(), "1.0.0", Some(("2.0.0", &digest))));
    let neutral =
        || (0..30).map(|n| event(1, "download_1", Some("2.0.0"), Some(hands.now() * 1000 + n * 40_000)));
    let future = event(1, "set", Some("2.0.0"), Some((hands.now() + 4_000 * day) * 1000));
    let late = event(1, "set", Some("2.0.0"), Some((hands.now() - 4_000 * day) * 1000));
    let mut events: Vec<_> = neutral().collect();
    events.extend([event(1, "set", Some("2.0.0"), Some(hands.now() * 1000)), future, late]);
    assert_eq!(record(&fleet, events).await, 33);
    assert_eq!(fleet.clean_up().await.expect("clean-up"), 0);
    hands.pass(day * 5 / 2);
    assert_eq!(fleet.clean_up().await.expect("clean-up"), 30, "neutral events");
    assert_eq!(record(&fleet, neutral().take(1).collect()).await, 1);
    hands.pass(31 * day);
    assert_eq!(fleet.clean_up().await.expect("clean-up"), 4, "all events");
    assert!(fleet.device(APP, device(1)).await.expect("a view").is_some());
    hands.pass(400 * day);
    assert_eq!(fleet.clean_up().await.expect("clean-up"), 2, "the device and its outcome");
    assert!(fleet.device(APP, device(1)).await.expect("a view").is_none());
    assert!(fleet.last_offered(&digest).is_some(), "versions stay");
}

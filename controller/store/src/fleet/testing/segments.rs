//! What gateways gathered counts once, and says the same as if it had been said here.

use sluice_core::memory::{Override, OverrideBy};

use super::{APP, Place, START, bundle, check, device, event, open, record, reopen};
use crate::fleet::{CheckIn, Choice, Fleet, Noted, OfferMade, Reported, Segment, Sent};

fn id(n: u8) -> [u8; 16] {
    [n; 16]
}

fn noted(check: &CheckIn<'_>) -> Noted {
    Noted::of(check, None, None).expect("an app")
}

fn segment(n: u8, at: i64) -> Segment {
    let digest = bundle("2.0.0");
    let chosen = Override { channel: "beta".parse().expect("a channel"), by: OverrideBy::Device };
    let app = || APP.parse().expect("an app");
    Segment {
        id: id(n),
        check_ins: vec![noted(&check(1, at, "1.0.0", Some(("2.0.0", &digest))))],
        events: vec![
            Reported::of(event(1, "set", Some("2.0.0"), None), at + 1),
            Reported::of(event(1, "update_fail", Some("2.0.0"), None), at + 2),
        ],
        choices: vec![
            Choice { app: app(), device: device(2), chosen: Some(chosen), at, expires: None },
            Choice { app: app(), device: device(3), chosen: None, at, expires: None },
        ],
        offers: vec![OfferMade { app: app(), version: "2.0.0".to_owned(), digest, at: at + 600 }],
        lost: None,
        sent: vec![Sent { zip: digest, day: at.div_euclid(24 * 3600), bytes: 1000 }],
    }
}

async fn ingest(fleet: &Fleet, segment: Segment) -> bool {
    fleet.ingest(segment).await.expect("the store takes it in")
}

/// A segment that comes again changes nothing, at once, after a restart, or with others in one commit.
pub async fn segments_count_once(place: &dyn Place) {
    let (fleet, hands) = open(place).await;
    let all = futures::future::join_all((0..6).map(|n| fleet.ingest(segment(1 + n % 2, START)))).await;
    let new = all.into_iter().filter(|new| *new.as_ref().expect("it is taken in")).count();
    assert_eq!(new, 2, "two segments, three times each");
    let figures = fleet.figures();
    assert_eq!((figures.events_new, figures.events_duplicate), (2, 2), "their events are the same");
    fleet.sent(&bundle("2.0.0"), 7);
    fleet.sent(&bundle("3.0.0"), 5);
    fleet.close().await.expect("close");

    let fleet = reopen(place, &hands).await;
    assert!(!ingest(&fleet, segment(1, START)).await, "after a restart");
    let sent = fleet.traffic(START).await.expect("bytes");
    assert_eq!(sent, [(bundle("2.0.0"), 2007), (bundle("3.0.0"), 5)].into());
    assert!(fleet.traffic(START + 24 * 3600).await.expect("bytes").is_empty());
    let counts = fleet.outcome_counts(APP).await.expect("counts");
    assert_eq!((counts["2.0.0"].trials, counts["2.0.0"].launch_failures), (1, 1));
    let known = fleet.known_segments(vec![id(1), id(2), id(9)]).await.expect("known ones");
    assert_eq!(known, [id(1), id(2)].into());
    fleet.forget_segments(vec![id(1), id(9)]).await.expect("forget");
    assert!(ingest(&fleet, segment(1, START)).await, "nothing is known of it any more");
    assert!(!ingest(&fleet, segment(2, START)).await);
    hands.pass(31 * 24 * 3600);
    fleet.clean_up().await.expect("clean-up");
    assert!(ingest(&fleet, segment(2, START)).await, "nor after a month");
}

/// Check-ins, events and choices mean what they mean when they are said here.
pub async fn segments_say_what_devices_said(place: &dyn Place) {
    let (fleet, hands) = open(place).await;
    assert!(ingest(&fleet, segment(1, hands.now())).await);
    let view = fleet.device(APP, device(1)).await.expect("a view").expect("a device");
    assert_eq!((view.running.as_str(), view.channel.as_deref()), ("1.0.0", Some("production")));
    assert_eq!(view.offered.map(|o| o.version), Some("2.0.0".to_owned()));
    assert_eq!(view.outcomes[0].trial_at, Some(hands.now() + 1));
    let latest = hands.now() + 600;
    assert_eq!(fleet.last_offered(&bundle("2.0.0")), Some(latest - latest.rem_euclid(60)));
    let memory = fleet.memory(APP, device(1)).expect("it failed there");
    assert_eq!(memory.failed[0].digest, bundle("2.0.0"));
    let chosen = fleet.memory(APP, device(2)).and_then(|m| m.channel.clone());
    assert_eq!(chosen.map(|c| c.channel.to_string()), Some("beta".to_owned()));

    // The device comes here itself, and a report that it sent to both counts once.
    hands.pass(10);
    fleet.check_in(&check(1, hands.now(), "1.0.0", Some(("2.0.0", &bundle("2.0.0")))));
    assert_eq!(record(&fleet, vec![event(1, "update_fail", Some("2.0.0"), None)]).await, 0);
    // What was offered there is known here.
    assert_eq!(record(&fleet, vec![event(1, "unzip_fail", Some("1.0.0"), None)]).await, 1);
    assert_eq!(fleet.outcome_counts(APP).await.expect("counts")["2.0.0"].install_failures, 1);

    // An hour later, from a gateway that saw the device in between.
    let mut later = noted(&check(1, hands.now() + 7_200, "2.0.0", None));
    later.since = Some(hands.now() + 3_600);
    let more = Segment { id: id(2), check_ins: vec![later], ..Segment::default() };
    assert!(ingest(&fleet, more).await);
    let view = fleet.device(APP, device(1)).await.expect("a view").expect("a device");
    assert_eq!((view.running.as_str(), view.gaps[0]), ("2.0.0", 3_600));

    // Taken off again, elsewhere.
    let off = Choice {
        app: APP.parse().expect("an app"),
        device: device(2),
        chosen: None,
        at: hands.now(),
        expires: None,
    };
    assert!(ingest(&fleet, Segment { id: id(3), choices: vec![off], ..Segment::default() }).await);
    assert_eq!(fleet.memory(APP, device(2)), None);
}

//! What is summed up is what is there: every device in one place, each fact once, whatever is repeated.

use std::collections::BTreeMap;

use sluice_core::outcome::Event;

use super::{APP, Hands, Place, bundle, check, device, event, open, record, reopen};
use crate::fleet::{Author, CheckIn, Fleet, Report, ReportQuery, Subject};

const DAY: i64 = 24 * 3600;

async fn report(fleet: &Fleet, channel: Option<&str>, since: i64) -> Report {
    fleet.flush().await.expect("flush");
    let query = ReportQuery { app: APP, channel, platform: None, since };
    fleet.report(&query).await.expect("a report").expect("an app")
}

/// What is not zero of a map.
fn some(of: &BTreeMap<&'static str, u64>) -> Vec<(&'static str, u64)> {
    of.iter().map(|(name, n)| (*name, *n)).filter(|(_, n)| *n > 0).collect()
}

/// Fails unless the parts are the whole, and the whole is what the table of devices has.
async fn reconciles(fleet: &Fleet, report: &Report) {
    assert_eq!(report.standing.values().sum::<u64>(), report.active, "{report:?}");
    let adopted: u64 = report.adoption.iter().map(|of| of.devices).sum();
    assert_eq!(adopted, report.active, "{report:?}");
    let of_releases: u64 = report.releases.iter().map(|release| release.devices).sum();
    assert_eq!(of_releases + report.standing["notOffered"], report.active, "{report:?}");
    for release in &report.releases {
        assert_eq!(release.standing.values().sum::<u64>(), release.devices, "{release:?}");
    }
    let count = "SELECT COUNT(*) FROM devices";
    let rows = fleet.shared.readers.fetch(count, |_| {}).await.expect("a count");
    let there = u64::try_from(rows[0].try_get::<i64>(0).expect("a number")).expect("not negative");
    if report.channel.is_none() {
        assert_eq!(report.active, there, "{report:?}");
    }
}

/// One device for each way through an update, and what they say.
fn journeys(hands: &Hands) -> Vec<Event> {
    let says = |n: u64, action: &str, second: i64| {
        event(n, action, Some("2.0.0"), Some((hands.now() + second) * 1000))
    };
    vec![
        // 1 was offered it and says nothing. 2 has the bytes, 3 made it active, 4 started it.
        says(2, "download_complete", 1),
        says(3, "download_complete", 1),
        says(3, "set", 2),
        says(4, "set", 2),
        says(4, "app_launch_ready", 3),
        // 5 could not fetch it, 6 could not unpack it and then could, 7 did not start it.
        says(5, "finish_download_fail", 1),
        says(6, "finish_download_fail", 1),
        says(6, "set", 70),
        says(7, "set", 2),
        says(7, "update_fail", 9),
        // What 8 was answered does not fit it. 9 crashes, 10 goes back.
        says(8, "checksum_required", 1),
        says(9, "set", 2),
        says(9, "app_crash", 60),
        says(10, "set", 2),
    ]
}

/// Every device is in one place, by what became of the release that it was offered.
pub async fn every_device_stands_somewhere(place: &dyn Place) {
    let (fleet, hands) = open(place).await;
    let digest = bundle("2.0.0");
    let begin = hands.now();
    for n in 0..12 {
        let offered = (1..11).contains(&n).then_some(("2.0.0", &digest));
        fleet.check_in(&CheckIn {
            channel: Some(if n == 11 { "beta" } else { "production" }),
            ..check(n, hands.now(), "1.0.0", offered)
        });
    }
    let first = report(&fleet, None, begin).await;
    assert_eq!(some(&first.standing), [("notOffered", 2), ("offered", 10)]);
    reconciles(&fleet, &first).await;

    let all = journeys(&hands);
    let n = all.len();
    assert_eq!(record(&fleet, all.clone()).await, n);
    hands.pass(100);
    for n in [4, 9, 10] {
        fleet.check_in(&check(n, hands.now(), "2.0.0", None));
    }
    fleet.flush().await.expect("flush");
    hands.pass(10);
    fleet.check_in(&check(10, hands.now(), "1.0.0", None));
    let told = report(&fleet, None, begin).await;
    assert_eq!(
        some(&told.standing),
        [
            ("deliveryFailed", 1),
            ("downloaded", 1),
            ("incompatible", 1),
            ("installationFailed", 1),
            ("installed", 2),
            ("notOffered", 2),
            ("offered", 1),
            ("rolledBack", 1),
            ("running", 1),
            ("unhealthy", 1),
        ]
    );
    reconciles(&fleet, &told).await;
    assert_eq!(told.releases.len(), 1, "{told:?}");
    let release = &told.releases[0];
    let facts = release.facts;
    assert_eq!((facts.offered, facts.delivered, facts.installed, facts.started), (10, 7, 6, 3));
    let failures = facts.failures;
    assert_eq!(
        (failures.delivery, failures.installation, failures.compatibility, failures.health),
        (2, 1, 1, 1)
    );
    assert_eq!((facts.rolled_back, facts.decided, facts.succeeded), (1, 4, 2));
    assert_eq!((release.delivery_rate, release.success_rate), (Some(0.7), Some(0.5)));
    assert_eq!((release.running, release.daily_active, release.monthly_active), (2, 2, 2));

    // The same again, also after the store was opened again, changes nothing.
    assert_eq!(record(&fleet, all.clone()).await, 0);
    fleet.close().await.expect("close");
    let fleet = reopen(place, &hands).await;
    assert_eq!(record(&fleet, all).await, 0);
    fleet.check_in(&check(10, hands.now(), "1.0.0", None));
    assert_eq!(report(&fleet, None, begin).await, told);

    // By channel, and without whoever is gone.
    let beta = report(&fleet, Some("beta"), begin).await;
    assert_eq!((beta.active, some(&beta.standing)), (1, vec![("notOffered", 1)]));
    let query = ReportQuery { app: APP, channel: None, platform: Some("ios"), since: begin };
    let ios = fleet.report(&query).await.expect("a report").expect("an app");
    assert_eq!((ios.active, ios.releases.len(), ios.daily.len()), (0, 0, 0));
    let query = ReportQuery { platform: Some("android"), ..query };
    let android = fleet.report(&query).await.expect("a report").expect("an app");
    assert_eq!(Report { platform: None, ..android }, told);
    let author = Author::new("sam", "asked for it");
    fleet.erase(APP, Subject::Device(device(9)), author).await.expect("it is erased");
    let left = report(&fleet, None, begin).await;
    assert_eq!((left.active, left.standing["unhealthy"]), (11, 0));
    reconciles(&fleet, &left).await;
}

/// Days and months count a device once each, with what it ran last.
pub async fn active_devices_by_day_and_bundle(place: &dyn Place) {
    let (fleet, hands) = open(place).await;
    let digest = bundle("2.0.0");
    let begin = hands.now();
    let noon = begin - begin.rem_euclid(DAY) + DAY / 2;
    hands.pass(noon - begin);
    for n in 0..6 {
        fleet.check_in(&check(n, hands.now(), "1.0.0", Some(("2.0.0", &digest))));
    }
    fleet.flush().await.expect("flush");
    hands.pass(3600);
    // Two of them move on the same day, one comes twice.
    for n in [0, 1, 1, 2] {
        let running = if n < 2 { "2.0.0" } else { "1.0.0" };
        fleet.check_in(&check(n, hands.now(), running, None));
        fleet.flush().await.expect("flush");
    }
    let days = |report: &Report| {
        report.daily.iter().map(|day| (day.version.clone(), day.devices)).collect::<Vec<_>>()
    };
    let new = || Some("2.0.0".to_owned());
    let today = report(&fleet, None, noon).await;
    assert_eq!(days(&today), [(None, 4), (new(), 2)]);
    hands.pass(DAY);
    fleet.check_in(&check(0, hands.now(), "2.0.0", None));
    fleet.check_in(&check(3, hands.now(), "2.0.0", None));
    let told = report(&fleet, None, noon).await;
    assert_eq!(days(&told), [(None, 4), (new(), 2), (new(), 2)], "yesterday stays as it was");
    assert_eq!((told.active, told.active_today), (6, 2));
    let release = &told.releases[0];
    assert_eq!((release.running, release.daily_active, release.monthly_active), (3, 2, 3));
    reconciles(&fleet, &told).await;
    // Whoever stays away is not active, and is known for as long as its row is.
    hands.pass(40 * DAY);
    fleet.check_in(&check(0, hands.now(), "2.0.0", None));
    let late = report(&fleet, None, hands.now()).await;
    assert_eq!((late.active, late.releases[0].monthly_active), (1, 1));
    assert_eq!(report(&fleet, None, noon).await.active, 6);
    hands.pass(402 * DAY);
    fleet.clean_up().await.expect("clean-up");
    let gone = report(&fleet, None, noon).await;
    assert_eq!((gone.active, gone.daily.len()), (0, 0), "{gone:?}");
    reconciles(&fleet, &gone).await;
}

/// How long a release takes to reach its devices is noted once, when it happens.
pub async fn coverage_is_timed(place: &dyn Place) {
    let (fleet, hands) = open(place).await;
    let digest = bundle("2.0.0");
    let begin = hands.now();
    for n in 0..20 {
        fleet.check_in(&check(n, hands.now(), "1.0.0", Some(("2.0.0", &digest))));
    }
    fleet.flush().await.expect("flush");
    for (so_many, seconds) in [(9, 100), (10, 200), (18, 300), (19, 400), (20, 500)] {
        hands.pass(100);
        for n in 0..so_many {
            fleet.check_in(&check(n, hands.now(), "2.0.0", None));
        }
        fleet.flush().await.expect("flush");
        fleet.clean_up().await.expect("clean-up");
        assert_eq!(hands.now(), begin + seconds);
    }
    // Going back and coming again changes nothing of it.
    hands.pass(100);
    for running in ["1.0.0", "2.0.0"] {
        for n in 0..20 {
            fleet.check_in(&check(n, hands.now(), running, Some(("2.0.0", &digest))));
        }
        fleet.clean_up().await.expect("clean-up");
    }
    let told = report(&fleet, None, begin - DAY).await;
    let of = &told.releases[0].coverage[0];
    assert_eq!((&*of.channel, of.offered_at), ("production", begin));
    assert_eq!(of.seconds_to_percent, BTreeMap::from([(50, 200), (90, 300), (95, 400), (99, 500)]));
    let all: Vec<_> = told.coverage.iter().map(|of| (of.percent, of.releases, of.p50, of.p90)).collect();
    assert_eq!(all[0], (50, 1, Some(200), Some(200)));
    assert_eq!(all[3], (99, 1, Some(500), Some(500)));
}

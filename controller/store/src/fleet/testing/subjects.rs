//! One device: everything about it, and nothing any more. And how many there are.

use sluice_core::{
    memory::OverrideBy,
    trial::{Arm, Entry, Membership, RolloutId},
};

use super::{APP, Place, bundle, check, device, event, open, record, reopen};
use crate::fleet::{ActKind, Author, CheckIn, Enrolling, Fleet, Subject, dialect::Connection};

async fn active(fleet: &Fleet) -> Vec<(Option<String>, u64)> {
    fleet.flush().await.expect("flush");
    fleet.active_devices().await.expect("a count").into_iter().map(|a| (a.channel, a.devices)).collect()
}

fn author() -> Author {
    Author::new("support", "they asked for it")
}

/// Tables that hold something of a device, whatever tables there are.
async fn tables_of(fleet: &Fleet, n: u64) -> Vec<String> {
    fleet.flush().await.expect("flush");
    let mut connection = fleet.shared.readers.acquire().await.expect("a connection");
    let all = match &connection {
        Connection::Sqlite(_) => {
            "SELECT m.name FROM sqlite_master AS m, pragma_table_info(m.name) AS c \
             WHERE m.type = 'table' AND c.name = 'device' ORDER BY m.name"
        }
        Connection::Postgres(_) => {
            "SELECT table_name::text FROM information_schema.columns \
             WHERE table_schema = current_schema() AND column_name = 'device' ORDER BY table_name"
        }
    };
    let mut found = Vec::new();
    for row in connection.fetch(all, |_| {}).await.expect("the tables") {
        let table: String = row.try_get(0).expect("a name");
        let rows: &'static str = format!("SELECT COUNT(*) FROM {table} WHERE device = $1").leak();
        let of = device(n);
        let rows = connection.fetch(rows, |v| _ = v.add(&of.as_bytes()[..])).await.expect("a count");
        if rows[0].try_get::<i64>(0).expect("a number") > 0 {
            found.push(table);
        }
    }
    found
}

/// A device is offered 2.0.0 and enrols.
fn comes(fleet: &Fleet, n: u64, now: i64, custom_id: Option<&str>) {
    let trial = Enrolling {
        channel: "production",
        line: "*",
        membership: Membership { serial: 1, level: 0, arm: Arm::Treatment },
        candidate: "2.0.0",
        started: now + 1,
        prefix: Some(n),
    };
    let digest = bundle("2.0.0");
    let check = check(n, now, "1.0.0", Some(("2.0.0", &digest)));
    fleet.check_in(&CheckIn { custom_id, trial: Some(trial), ..check });
}

/// After it is erased nothing of a device is in any table, and it may come back as a new one.
pub async fn nothing_is_left_of_an_erased_device(place: &dyn Place) {
    let (fleet, hands) = open(place).await;
    let comes = |n: u64| comes(&fleet, n, hands.now(), None);
    (0..2).for_each(comes);
    for n in 0..2 {
        let events = [event(n, "update_fail", Some("2.0.0"), None), event(n, "download_9", None, Some(7))];
        record(&fleet, events.to_vec()).await;
        let until = hands.now() + 3600;
        let beta = "beta".parse().expect("a channel");
        fleet.put_on_channel(APP, device(n), beta, until, author()).await.expect("it is put there");
    }
    let everywhere = ["devices", "enrolments", "events", "failed", "outcomes", "overrides"];
    assert_eq!(tables_of(&fleet, 0).await, everywhere, "the test has a row of each table");
    assert_eq!(fleet.erase(APP, Subject::Device(device(0)), author()).await.expect("it is erased"), 1);
    assert_eq!(tables_of(&fleet, 0).await, [""; 0]);
    assert_eq!(tables_of(&fleet, 1).await, everywhere, "its neighbour stays");
    assert!(fleet.export(APP, Subject::Device(device(0))).await.expect("an export").is_empty());

    hands.pass(100);
    comes(0);
    fleet.flush().await.expect("flush");
    let back = fleet.device(APP, device(0)).await.expect("a view").expect("it is back");
    assert_eq!((back.first_seen, back.sessions), (hands.now(), 1));
    assert!(back.outcomes.iter().all(|of| of.launch_failed.is_none()), "{back:?}");
    let acts = fleet.acts(APP).await.expect("acts");
    assert_eq!(
        acts.iter().map(|act| act.kind).collect::<Vec<_>>(),
        [ActKind::Erase, ActKind::Override, ActKind::Override]
    );
    assert_eq!((&*acts[0].who, &*acts[0].why, acts[0].devices), ("support", "they asked for it", 1));
    hands.pass(401 * 24 * 3600);
    fleet.clean_up().await.expect("clean-up");
    assert_eq!(fleet.acts(APP).await.expect("acts"), []);
}

/// A channel that support chose is known with who chose it and why, and ends by itself.
pub async fn support_puts_devices_on_channels(place: &dyn Place) {
    let (fleet, hands) = open(place).await;
    let until = hands.now() + 3600;
    fleet.check_in(&check(1, hands.now(), "1.0.0", None));
    let beta = || "beta".parse().expect("a channel");
    let chosen = async |fleet: &Fleet| {
        let mut all = fleet.export(APP, Subject::Device(device(1))).await.expect("an export");
        all.pop().and_then(|export| export.chosen)
    };
    fleet.put_on_channel(APP, device(1), beta(), until, author()).await.expect("it is put there");
    let memory = fleet.memory(APP, device(1)).expect("a memory");
    assert!(memory.channel.as_ref().is_some_and(|chosen| chosen.by == OverrideBy::Support));
    let view = chosen(&fleet).await.expect("a choice");
    assert_eq!((view.who.as_deref(), view.expires), (Some("support"), Some(until)));
    // What the device then chooses by itself is nobody else's.
    fleet.set_channel(APP, device(1), beta(), OverrideBy::Device, None).await.expect("set");
    let view = chosen(&fleet).await.expect("a choice");
    assert_eq!((&*view.by, view.who, view.why, view.expires), ("device", None, None, None));
    fleet.take_off_channel(APP, device(1), author()).await.expect("it is taken off");
    assert_eq!((chosen(&fleet).await, fleet.memory(APP, device(1))), (None, None));
    fleet.put_on_channel(APP, device(1), beta(), until, author()).await.expect("it is put there");
    fleet.close().await.expect("close");
    let fleet = reopen(place, &hands).await;
    assert!(fleet.memory(APP, device(1)).is_some());
    hands.pass(3601);
    fleet.clean_up().await.expect("clean-up");
    assert_eq!((chosen(&fleet).await, fleet.memory(APP, device(1))), (None, None));
    let kinds: Vec<_> = fleet.acts(APP).await.expect("acts").into_iter().map(|act| act.kind).collect();
    assert_eq!(kinds, [ActKind::Override, ActKind::Release, ActKind::Override]);
}

/// Devices are counted in the channel that answered them last, for a week.
pub async fn active_devices_are_counted(place: &dyn Place) {
    let (fleet, hands) = open(place).await;
    let day = 24 * 3600;
    let on =
        |n: u64, channel: Option<&'static str>, at: i64| CheckIn { channel, ..check(n, at, "1.0.0", None) };
    let count = |name: &str, n: u64| (Some(name.to_owned()), n);
    for n in 0..10 {
        fleet.check_in(&on(n, Some("production"), hands.now()));
    }
    fleet.check_in(&on(10, None, hands.now()));
    assert_eq!(active(&fleet).await, [(None, 1), count("production", 10)]);
    // Three move, one of them twice; one comes again, and is one device.
    hands.pass(3 * day);
    for n in 0..3 {
        fleet.check_in(&on(n, Some("beta"), hands.now()));
    }
    fleet.check_in(&on(0, Some("production"), hands.now()));
    fleet.check_in(&on(5, Some("production"), hands.now()));
    record(&fleet, vec![event(6, "app_moved_to_foreground", None, None)]).await;
    assert_eq!(active(&fleet).await, [(None, 1), count("beta", 2), count("production", 8)]);
    fleet.close().await.expect("close");
    let fleet = reopen(place, &hands).await;
    hands.pass(5 * day);
    assert_eq!(active(&fleet).await, [count("beta", 2), count("production", 3)]);
    fleet.clean_up().await.expect("clean-up");
    fleet.check_in(&on(9, Some("production"), hands.now()));
    assert_eq!(
        active(&fleet).await,
        [count("beta", 2), count("production", 4)],
        "one that was away for long"
    );
    assert_eq!(fleet.erase(APP, Subject::Device(device(9)), author()).await.expect("it is erased"), 1);
    assert_eq!(active(&fleet).await, [count("beta", 2), count("production", 3)]);
    hands.pass(9 * day);
    assert_eq!(active(&fleet).await, []);
}

/// Everything about a device is handed out, and goes when it shall.
pub async fn devices_are_exported_and_erased(place: &dyn Place) {
    let (fleet, hands) = open(place).await;
    let rollout = RolloutId {
        app: APP.parse().expect("an app"),
        channel: "production".parse().expect("a channel"),
        line: "*".to_owned(),
        serial: 1,
    };
    let comes = |n: u64| comes(&fleet, n, hands.now(), Some(if n < 2 { "anna" } else { "bert" }));
    (0..4).for_each(comes);
    for n in 0..4 {
        record(
            &fleet,
            vec![event(n, "set", Some("2.0.0"), Some(5)), event(n, "update_fail", Some("2.0.0"), None)],
        )
        .await;
        fleet
            .set_channel(APP, device(n), "beta".parse().expect("a channel"), OverrideBy::Support, None)
            .await
            .expect("set");
    }
    let entries = async |fleet: &Fleet| fleet.journal(&rollout, 0, 100).await.expect("a journal");
    let before = entries(&fleet).await;
    assert_eq!(before.len(), 8, "four enrolled, and failed");

    let anna = fleet.export(APP, Subject::CustomId("anna")).await.expect("an export");
    assert_eq!(anna.len(), 2);
    let first = anna.iter().find(|export| export.device == hex::encode(device(0).as_bytes()));
    let text = serde_json::to_value(first).expect("it can be written down");
    assert_eq!(
        (text["running"].as_str(), text["offered"]["version"].as_str()),
        (Some("1.0.0"), Some("2.0.0"))
    );
    assert_eq!(
        (text["outcomes"][0]["trialAt"].as_i64(), text["events"][0]["action"].as_str()),
        (Some(hands.now()), Some("set"))
    );
    assert_eq!(
        (text["enrolments"][0]["ordinal"].as_i64(), text["enrolments"][0]["failed"][0].as_str()),
        (Some(0), Some("Launch"))
    );
    assert_eq!(text["remembered"]["channel"]["channel"], "beta");
    assert!(text["customId"].is_string());

    assert_eq!(fleet.erase(APP, Subject::CustomId("anna"), author()).await.expect("they are erased"), 2);
    assert_eq!(fleet.erase(APP, Subject::CustomId("anna"), author()).await.expect("nothing is left"), 0);
    let unknown = fleet.erase("com.example.unknown", Subject::Device(device(3)), author()).await;
    assert_eq!(unknown.expect("nothing"), 0);
    for n in [0, 1] {
        assert!(fleet.device(APP, device(n)).await.expect("a view").is_none());
        assert_eq!(fleet.memory(APP, device(n)), None);
        assert_eq!(fleet.enrolment(APP, device(n)).await.expect("enrolments"), []);
    }
    assert_eq!(fleet.outcome_counts(APP).await.expect("counts")["2.0.0"].trials, 2);
    assert_eq!(fleet.export(APP, Subject::CustomId("bert")).await.expect("an export").len(), 2);
    let left = [0, 1].map(|ordinal| Entry::Left { level: 0, ordinal });
    let after = entries(&fleet).await;
    assert_eq!(after[..8], before, "what is in the journal names nobody, and stays");
    let mut last: Vec<_> = after[8..].iter().map(|(_, entry)| entry.clone()).collect();
    last.sort_by_key(|entry| format!("{entry:?}"));
    assert_eq!(last, left);
    // Who comes again is a new device, and its old reports are new as well.
    assert_eq!(record(&fleet, vec![event(0, "set", Some("2.0.0"), Some(5))]).await, 1);
    fleet.check_in(&check(0, hands.now(), "1.0.0", None));
    fleet.close().await.expect("close");
    let fleet = reopen(place, &hands).await;
    assert_eq!(fleet.memory(APP, device(0)), None);
    assert!(fleet.memory(APP, device(2)).is_some());
    assert!(fleet.device(APP, device(0)).await.expect("a view").is_some());
}

//! Trials under faults: whatever is killed or cut off, the journal says everything once.

use std::{collections::BTreeMap, path::Path};

use sluice_core::trial::{Arm, Entry, Metric};
use sluice_test_parts::{Postgres, Proxy, until};

use super::{
    CHILD, File, killed,
    server::{LIMIT, through},
};
use crate::fleet::{
    Fleet, FleetError, Limits,
    testing::{
        APP, Hands, START, bundle, check, device, event,
        trials::{enrols, journal, rollout},
    },
};

/// Device `n` is known, enrols two days later, and fails.
async fn live(fleet: &Fleet, n: u64) -> Result<(), FleetError> {
    let digest = bundle("2.0.0");
    fleet.check_in(&check(n, START, "1.0.0", Some(("2.0.0", &digest))));
    let arm = if n.is_multiple_of(2) { Arm::Treatment } else { Arm::Control };
    fleet.check_in(&enrols(n, START + 2 * 24 * 3600, 1, 0, arm));
    fleet.flush().await?;
    let at = Some((START + 2 * 24 * 3600 + 60) * 1000);
    let fails = vec![event(n, "update_fail", Some("2.0.0"), at), event(n, "app_crash", None, at)];
    fleet.record(fails).await.map(drop)
}

fn clock() -> Hands {
    let hands = Hands::default();
    hands.pass(2 * 24 * 3600 + 100);
    hands
}

async fn connect(url: &str) -> Result<Fleet, FleetError> {
    Fleet::connect(&url.parse().unwrap(), clock().clock(), Limits::default()).await
}

/// Every place of the level is taken once, every failure is there once, and those of `devices` are there.
async fn consistent(fleet: &Fleet, devices: impl Iterator<Item = u64>) {
    let entries = journal(fleet, 1).await;
    let (mut places, mut failed) = (Vec::new(), BTreeMap::new());
    for entry in entries {
        match entry {
            Entry::Enrolled { arm, .. } => places.push(arm),
            Entry::Failed { ordinal, metric, .. } => *failed.entry((ordinal, metric)).or_insert(0) += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!(failed.values().all(|n| *n == 1), "{failed:?}");
    for n in devices {
        let views = fleet.enrolment(APP, device(n)).await.unwrap();
        let [view] = &views[..] else { panic!("{n} is enrolled: {views:?}") };
        let ordinal = view.ordinal.unwrap();
        assert_eq!(places[ordinal as usize], view.arm, "{n}");
        assert_eq!(failed[&(ordinal, Metric::Health)], 1, "{n}");
        assert_eq!(failed.contains_key(&(ordinal, Metric::Launch)), view.arm == Arm::Treatment, "{n}");
    }
    let levels = fleet.rollouts().await.unwrap().remove(0).levels;
    assert_eq!(levels[&0].enrolled, places.len() as u64);
}

/// Runs in a process of its own, which the test below kills.
#[tokio::test]
#[ignore = "started by a_killed_process_journals_everything_once"]
async fn child_that_enrols_until_it_is_killed() {
    let Some(path) = std::env::var_os(CHILD) else { return };
    let fleet = Fleet::open(Path::new(&path), clock().clock()).await.unwrap();
    for n in 0.. {
        if live(&fleet, n).await.is_ok() {
            eprintln!("ack {n}");
        }
    }
}

#[tokio::test]
async fn a_killed_process_journals_everything_once() {
    let file = File::new();
    for round in 1..=3 {
        let last =
            killed("fleet::tests::trials::child_that_enrols_until_it_is_killed", &file.path(), 30 * round);
        let fleet = Fleet::open(&file.path(), clock().clock()).await.unwrap();
        consistent(&fleet, 0..=last).await;
        assert_eq!(
            rollout(1),
            fleet.rollouts().await.unwrap()[0].id,
            "one rollout, however often it was found"
        );
        fleet.close().await.unwrap();
    }
}

/// The network drops in the middle of commits. What was not acknowledged is reported again, and counts once.
#[tokio::test]
async fn a_connection_that_breaks_in_a_commit_journals_everything_once() {
    let server = Postgres::start().await;
    let url = server.database().await;
    let proxy = Proxy::to(server.address()).await;
    let fleet = connect(&through(&url, &server, &proxy)).await.unwrap();
    for n in 0..24_u64 {
        if n % 6 == 5 {
            let (lived, ()) = tokio::join!(live(&fleet, n), proxy.refuse());
            proxy.heal().await;
            if lived.is_err() {
                let again = async || live(&fleet, n).await.map_err(|e| e.to_string());
                until(LIMIT, "the store writes again", again).await;
            }
        } else {
            live(&fleet, n).await.unwrap();
        }
    }
    fleet.close().await.unwrap();
    let fleet = connect(&url).await.unwrap();
    consistent(&fleet, 0..24).await;
}

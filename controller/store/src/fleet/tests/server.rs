//! The faults of servers.

use std::time::Duration;

use sluice_test_parts::{Postgres, Proxy, until};

use super::*;

pub(super) const LIMIT: Duration = Duration::from_mins(1);

async fn connect(url: &str) -> Result<Fleet, FleetError> {
    Fleet::connect(&url.parse().unwrap(), Hands::default().clock(), Limits::default()).await
}

/// The same database through a proxy.
pub(super) fn through(url: &str, server: &Postgres, proxy: &Proxy) -> String {
    url.replace(&server.address().to_string(), &proxy.address().to_string())
}

fn ready(n: u64) -> Vec<sluice_core::outcome::Event> {
    vec![event(n, "update_fail", Some("2.0.0"), Some(i64::try_from(n).unwrap()))]
}

/// Reports devices until the store takes one again.
async fn until_it_writes(fleet: &Fleet, n: u64) {
    let writes = async || fleet.record(ready(n)).await.map(drop).map_err(|e| e.to_string());
    until(LIMIT, "the store writes again", writes).await;
}

#[tokio::test]
async fn a_restarted_server_is_found_again_and_has_everything() {
    let server = Postgres::start().await;
    let url = server.database().await;
    let fleet = connect(&url).await.unwrap();
    let mut acknowledged = Vec::new();
    for round in 0..3_u64 {
        for n in round * 100..round * 100 + 20 {
            let digest = bundle("2.0.0");
            fleet.check_in(&check(n, testing::START, "1.0.0", Some(("2.0.0", &digest))));
            fleet.record(ready(n)).await.unwrap();
            acknowledged.push(n);
        }
        server.kill();
        // A server process that was at work may end what it has begun.
        let refused =
            until(LIMIT, "a write is refused", async || fleet.record(ready(9_000)).await.err()).await;
        assert!(refused.is_temporary(), "{refused}");
        let said = fleet.figures().last_error.unwrap();
        assert!(!said.contains(url.split('@').next().unwrap()), "{said}");
        assert!(fleet.memory(APP, device(acknowledged[0])).is_some(), "decisions go on");
        server.restart().await;
        until_it_writes(&fleet, 9_001 + round).await;
        assert_eq!(fleet.figures().last_error, None);
    }
    for n in &acknowledged {
        assert_eq!(fleet.record(ready(*n)).await.unwrap(), [Accepted::Duplicate], "{n}");
    }
    fleet.close().await.unwrap();
    let fleet = connect(&url).await.unwrap();
    for n in acknowledged {
        assert!(fleet.memory(APP, device(n)).is_some(), "{n}");
    }
}

/// The network drops in the middle of commits: what was acknowledged is there, and what memory says is what is there.
#[tokio::test]
async fn a_connection_that_breaks_in_a_commit_loses_nothing() {
    let server = Postgres::start().await;
    let url = server.database().await;
    let proxy = Proxy::to(server.address()).await;
    let fleet = connect(&through(&url, &server, &proxy)).await.unwrap();
    let mut acknowledged = Vec::new();
    for n in 0..40_u64 {
        let digest = bundle("2.0.0");
        fleet.check_in(&check(n, testing::START, "1.0.0", Some(("2.0.0", &digest))));
        if n % 8 == 7 {
            let (recorded, ()) = tokio::join!(fleet.record(ready(n)), proxy.refuse());
            if recorded.is_ok() {
                acknowledged.push(n);
            }
            proxy.heal().await;
            until_it_writes(&fleet, 10_000 + n).await;
        } else if fleet.record(ready(n)).await.is_ok() {
            acknowledged.push(n);
        }
    }
    assert!(acknowledged.len() >= 35, "{acknowledged:?}");
    let here: Vec<bool> = (0..40).map(|n| fleet.memory(APP, device(n)).is_some()).collect();
    fleet.close().await.unwrap();
    let fleet = connect(&url).await.unwrap();
    for n in 0..40 {
        let there = fleet.memory(APP, device(n)).is_some();
        assert!(there || !acknowledged.contains(&n), "report {n} was acknowledged");
        assert_eq!(there, here[usize::try_from(n).unwrap()], "memory of {n}");
    }
}

#[tokio::test]
async fn one_process_writes_at_a_time() {
    let url = Postgres::shared().await.database().await;
    let first = connect(&url).await.unwrap();
    let second = connect(&url).await.unwrap_err();
    assert!(matches!(second, FleetError::InUse { .. }), "{second}");
    first.close().await.unwrap();
    let second = connect(&url).await.unwrap();
    second.record(ready(1)).await.unwrap();
    // A process that ends without saying so.
    drop(second);
    until(LIMIT, "the lock is free", async || connect(&url).await.map(drop).map_err(|e| e.to_string())).await;
}

/// A former leader that was cut off, and a new one that wrote meanwhile.
#[tokio::test]
async fn whoever_was_taken_over_writes_no_more() {
    let server = Postgres::start().await;
    let url = server.database().await;
    let proxy = Proxy::to(server.address()).await;
    let former = connect(&through(&url, &server, &proxy)).await.unwrap();
    former.check_in(&check(1, testing::START, "1.0.0", Some(("2.0.0", &bundle("2.0.0")))));
    former.record(ready(1)).await.unwrap();
    proxy.refuse().await;
    let connecting = async || connect(&url).await.map_err(|e| e.to_string());
    let later = until(LIMIT, "the lock is free", connecting).await;
    later.record(ready(2)).await.unwrap();

    proxy.heal().await;
    let refused = former.record(ready(3)).await.unwrap_err();
    assert!(refused.is_temporary(), "the other one still has the lock: {refused}");
    later.close().await.unwrap();
    let over = async || match former.record(ready(3)).await {
        Ok(_) => Err("it wrote".to_owned()),
        Err(FleetError::Closed | FleetError::TakenOver { .. }) => Ok(()),
        Err(error) => Err(error.to_string()),
    };
    until(LIMIT, "the former one gives up", over).await;
    assert!(former.figures().last_error.is_some_and(|e| e.contains("taken over")));
    // And the lock is free for whoever comes next.
    let next = connect(&url).await.unwrap();
    assert_eq!(next.record(ready(3)).await.unwrap(), [Accepted::New]);
}

#[tokio::test]
async fn errors_say_what_to_do_and_no_password() {
    let server = Postgres::shared().await;
    let url = server.database().await;
    let closed = "postgres://canary:canary@127.0.0.1:1/fleet";
    let nowhere = connect(closed).await.unwrap_err().to_string();
    assert!(nowhere.contains("postgres://127.0.0.1:1/fleet") && !nowhere.contains("canary"), "{nowhere}");
    let (_, rest) = url.split_once('@').unwrap();
    let stranger = connect(&format!("postgres://nobody:canary@{rest}")).await;
    let stranger = stranger.unwrap_err().to_string();
    assert!(stranger.contains("cannot open the fleet store") && !stranger.contains("canary"), "{stranger}");
}

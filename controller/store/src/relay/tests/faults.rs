//! Kills between any two steps, outages, damage, and what is old.

use sluice_test_parts::{Minio, Proxy};

use super::*;
use crate::objects::{Content, tests::open_s3};

fn in_bucket(minio: &Minio, bucket: &str, endpoint: &str) -> Arc<dyn Objects> {
    open_s3(&format!("s3://{bucket}").parse().unwrap(), minio, endpoint)
}

/// The leader is killed after each of its steps in turn; the next one finds everything, once.
#[tokio::test]
async fn a_leader_that_is_killed_anywhere_counts_once() {
    let mut finished = false;
    let mut polls = 0;
    while !finished {
        polls += 1;
        assert!(polls < 400, "a look has an end");
        let world = World::new();
        let gateway = world.gateway();
        for n in 0..3 {
            asks(&gateway, &world.hands, n);
            fails(&gateway, n).await;
            chooses(&gateway, n, "beta").await;
        }
        let written = world.segments();
        let fleet = world.fleet().await;
        let now = Timestamp::now() + SignedDuration::from_hours(25);
        finished = {
            let mut killed = Ingest::new(world.objects(), fleet.clone());
            cut(polls, killed.look(now)).await.is_some()
        };
        // Whatever was handed to the database before is written or not, as at a kill.
        fleet.close().await.unwrap();
        let fleet = world.fleet().await;
        let mut next = Ingest::new(world.objects(), fleet.clone());
        next.look(now).await.unwrap();
        assert_eq!(next.look(now).await.unwrap(), 0);
        let counts = fleet.outcome_counts(APP).await.unwrap();
        assert_eq!(counts["2.0.0"].launch_failures, 3, "after {polls} steps");
        for n in 0..3 {
            assert_eq!(channel(fleet.memory(APP, device(n))), Some("beta".to_owned()));
            let view = fleet.device(APP, device(n)).await.unwrap().unwrap();
            assert_eq!(view.sessions, 1, "after {polls} steps");
        }
        let figures = fleet.figures();
        assert_eq!(
            figures.events_duplicate, 0,
            "no segment was taken in twice, after {polls} steps of {written}"
        );
        assert_eq!(world.segments(), 0, "and all that is old is gone");
    }
    assert!(polls > 10, "{polls} steps");
}

/// Two processes that both think that they lead: the fleet store has one writer, so one of them takes nothing in.
#[tokio::test]
async fn of_two_leaders_one_takes_in() {
    let world = World::new();
    let gateway = world.gateway();
    let fleet = world.fleet().await;
    assert!(Fleet::open(&world.folder.path().join("fleet.db"), world.hands.clock()).await.is_err());
    // In one process the same is two looks at a time.
    for n in 0..10 {
        asks(&gateway, &world.hands, n);
        fails(&gateway, n).await;
        let (mut one, mut two) =
            (Ingest::new(world.objects(), fleet.clone()), Ingest::new(world.objects(), fleet.clone()));
        let now = Timestamp::now();
        let (a, b) = tokio::join!(one.look(now), two.look(now));
        assert!(a.unwrap() + b.unwrap() <= 2, "a check-in and an event, in one segment or two");
    }
    let counts = fleet.outcome_counts(APP).await.unwrap();
    assert_eq!((counts["2.0.0"].launch_failures, fleet.figures().events_duplicate), (10, 0));
}

#[tokio::test]
async fn a_damaged_segment_is_one_damaged_segment() {
    let world = World::new();
    let (gateway, fleet) = (world.gateway(), world.fleet().await);
    asks(&gateway, &world.hands, 1);
    fails(&gateway, 1).await;
    let objects = world.objects();
    let name = segment::Name { id: uuid::Uuid::nil(), gateway: segment::Gateway(1), number: 1 };
    objects.create(&name.key(Timestamp::now()), Content::Bytes("no gzip".into())).await.unwrap();
    objects.create("segments/20261124/0000/stranger", Content::Bytes("x".into())).await.unwrap();
    let mut ingest = Ingest::new(objects.clone(), fleet.clone());
    let now = Timestamp::now();
    ingest.look(now).await.unwrap();
    assert_eq!(ingest.pending(), 0);
    assert_eq!(fleet.outcome_counts(APP).await.unwrap()["2.0.0"].launch_failures, 1);
    // It goes when it is old; what is no segment stays.
    ingest.look(now + SignedDuration::from_hours(25)).await.unwrap();
    let left = objects.list("segments").await.unwrap();
    assert_eq!(left.iter().map(|m| m.key.as_str()).collect::<Vec<_>>(), ["segments/20261124/0000/stranger"]);
}

/// A gateway whose clock is hours off is found by looking at everything.
#[tokio::test]
async fn segments_in_odd_folders_are_found() {
    let world = World::new();
    let (gateway, fleet) = (world.gateway(), world.fleet().await);
    let objects = world.objects();
    let mut ingest = Ingest::new(objects.clone(), fleet.clone());
    let now = Timestamp::now();
    ingest.look(now).await.unwrap();
    asks(&gateway, &world.hands, 1);
    fails(&gateway, 1).await;
    for meta in objects.list("segments").await.unwrap() {
        let (bytes, _) = objects.get(&meta.key).await.unwrap().unwrap();
        let name = segment::Name::of(&meta.key).unwrap();
        objects.delete(&meta.key).await.unwrap();
        objects.create(&name.key(now - SignedDuration::from_hours(5)), Content::Bytes(bytes)).await.unwrap();
    }
    assert_eq!(ingest.look(now + SignedDuration::from_secs(1)).await.unwrap(), 0, "not among the last ones");
    assert!(ingest.look(now + SignedDuration::from_secs(31)).await.unwrap() >= 1);
    assert_eq!(fleet.outcome_counts(APP).await.unwrap()["2.0.0"].launch_failures, 1);
}

/// The store is away: reports are refused, decisions go on; it comes back: everything does. Over a real S3 server.
#[tokio::test]
async fn an_outage_of_the_store_refuses_and_recovers() {
    let minio = Minio::shared().await;
    let bucket = minio.bucket().await;
    let proxy = Proxy::to(minio.address()).await;
    let hands = Hands::default();
    let gateway = gateway(in_bucket(minio, &bucket, &format!("http://{}", proxy.address())), hands.clock());
    asks(&gateway, &hands, 1);
    fails(&gateway, 1).await;
    chooses(&gateway, 1, "beta").await;
    for cut in [false, true] {
        if cut {
            proxy.cut();
        } else {
            proxy.refuse().await;
        }
        let refused = gateway.record(vec![event(2, "set", Some("2.0.0"), Some(1))]).await;
        assert!(
            matches!(&refused, Err(OutboxError::Unavailable(why)) if !why.contains(minio.secret_key())),
            "{refused:?}"
        );
        let choice = gateway.set_channel(APP, device(2), "beta".parse().unwrap(), OverrideBy::Device, None);
        assert!(choice.await.is_err());
        assert_eq!(channel(gateway.memory(APP, device(1))), Some("beta".to_owned()));
        assert_eq!(gateway.memory(APP, device(2)), None, "what was refused is not remembered");
        assert!(gateway.figures().last_error.is_some() && gateway.figures().flush_failures > 0);
        proxy.heal().await;
        let again = async || gateway.record(vec![event(2, "set", Some("2.0.0"), Some(1))]).await;
        until(LIMIT, "reports are taken again", again).await;
        assert_eq!(gateway.figures().last_error, None);
    }
    let world = World::new();
    let fleet = world.fleet().await;
    let objects = in_bucket(minio, &bucket, &minio.endpoint());
    let mut told = Vec::new();
    for meta in objects.list(segment::FOLDER).await.unwrap() {
        let (bytes, _) = objects.get(&meta.key).await.unwrap().unwrap();
        told.extend(segment::decode(uuid::Uuid::nil(), &bytes).unwrap().lost);
    }
    assert!(!told.is_empty() && told.iter().all(|at| *at == hands.now()), "contacts were lost: {told:?}");
    let mut ingest = Ingest::new(objects, fleet.clone());
    ingest.look(Timestamp::now()).await.unwrap();
    let counts = fleet.outcome_counts(APP).await.unwrap();
    assert_eq!(
        (counts["2.0.0"].launch_failures, counts["2.0.0"].trials),
        (1, 1),
        "an ambiguous write counts once"
    );
}

/// The fleet store is away: segments wait, and are taken in later.
#[tokio::test]
async fn segments_wait_for_the_fleet_store() {
    let world = World::new();
    let gateway = world.gateway();
    let fleet = world.fleet().await;
    let mut relay = Relay::new(world.objects(), fleet.clone());
    relay.look(true, Timestamp::now()).await.unwrap();
    asks(&gateway, &world.hands, 1);
    fails(&gateway, 1).await;
    fleet.close().await.unwrap();
    let (index, _) = world.objects().get(memory::INDEX).await.unwrap().unwrap();
    relay.look(true, Timestamp::now()).await.unwrap_err();
    assert!(relay.pending().load(Ordering::Relaxed) >= 1);
    let (same, _) = world.objects().get(memory::INDEX).await.unwrap().unwrap();
    assert_eq!(index, same, "whoever cannot write the fleet store publishes nothing");
    let fleet = world.fleet().await;
    let mut relay = Relay::new(world.objects(), fleet.clone());
    relay.look(true, Timestamp::now()).await.unwrap();
    assert_eq!(fleet.outcome_counts(APP).await.unwrap()["2.0.0"].launch_failures, 1);
    assert_eq!(relay.pending().load(Ordering::Relaxed), 0);
}

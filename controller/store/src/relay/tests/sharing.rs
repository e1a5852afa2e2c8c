//! Device memory: own writes at once, others' soon, and nothing written that did not change.

use super::*;

#[tokio::test]
async fn own_writes_at_once_and_others_soon() {
    let world = World::new();
    let (one, two, fleet) = (world.gateway(), world.gateway(), world.fleet().await);
    let mut relay = Relay::new(world.objects(), fleet.clone());
    let mut passes = async || {
        relay.look(true, Timestamp::now()).await.unwrap();
        for gateway in [&one, &two] {
            gateway.read_memory().await.unwrap();
        }
    };
    asks(&one, &world.hands, 1);
    fails(&one, 1).await;
    chooses(&one, 2, "beta").await;
    assert!(has_failed(one.memory(APP, device(1))) && !has_failed(two.memory(APP, device(1))));
    assert_eq!(channel(one.memory(APP, device(2))), Some("beta".to_owned()));
    assert_eq!(one.memory("com.example.other", device(2)), None);
    passes().await;
    assert!(has_failed(one.memory(APP, device(1))) && has_failed(two.memory(APP, device(1))));
    assert_eq!(channel(two.memory(APP, device(2))), Some("beta".to_owned()));

    // The other gateway changes it; the first one has no word of its own any more.
    chooses(&two, 2, "alpha").await;
    assert_eq!(channel(one.memory(APP, device(2))), Some("beta".to_owned()));
    passes().await;
    for gateway in [&one, &two] {
        assert_eq!(channel(gateway.memory(APP, device(2))), Some("alpha".to_owned()));
    }
    one.unset_channel(APP, device(2)).await.unwrap();
    assert_eq!(one.memory(APP, device(2)), None);
    assert_eq!(channel(two.memory(APP, device(2))), Some("alpha".to_owned()));
    passes().await;
    assert_eq!(two.memory(APP, device(2)), None);

    // A device that never asked may be a stranger: the leader remembers nothing of it either.
    fails(&one, 7).await;
    assert!(!has_failed(one.memory(APP, device(7))));
    passes().await;
    assert!(!has_failed(two.memory(APP, device(7))));
}

#[tokio::test]
async fn a_channel_for_a_while_ends_without_the_leader() {
    let world = World::new();
    let (one, two, fleet) = (world.gateway(), world.gateway(), world.fleet().await);
    let until = Some(world.hands.now() + 100);
    one.set_channel(APP, device(1), "beta".parse().unwrap(), OverrideBy::Support, until).await.unwrap();
    Relay::new(world.objects(), fleet).look(true, Timestamp::now()).await.unwrap();
    two.read_memory().await.unwrap();
    for gateway in [&one, &two] {
        assert_eq!(channel(gateway.memory(APP, device(1))), Some("beta".to_owned()));
    }
    world.hands.pass(100);
    for gateway in [&one, &two] {
        assert_eq!(gateway.memory(APP, device(1)), None);
    }
}

#[tokio::test]
async fn only_what_changed_is_written() {
    let world = World::new();
    let fleet = world.fleet().await;
    let (gateway, objects) = (world.gateway(), world.objects());
    let mut publisher = Publisher::new(objects.clone(), fleet.clone());
    let nothing = BTreeMap::new();
    let now = Timestamp::now();
    publisher.publish(&nothing, now).await.unwrap();
    let (_, first) = objects.get(memory::INDEX).await.unwrap().unwrap();
    assert_eq!(world.shards(), 0);
    publisher.publish(&nothing, now).await.unwrap();
    assert_eq!(objects.get(memory::INDEX).await.unwrap().unwrap().1, first, "nothing is written");

    let choose = async |n: u64, name: &str| {
        let channel = name.parse().unwrap();
        fleet.set_channel(APP, device(n), channel, OverrideBy::Support, None).await.unwrap();
    };
    futures::future::join_all((0..3_000).map(|n| choose(n, "beta"))).await;
    publisher.publish(&nothing, now).await.unwrap();
    assert_eq!(world.shards(), 4, "three thousand devices have four shards");
    gateway.read_memory().await.unwrap();
    assert_eq!(gateway.figures().remembered_devices, 3_000);
    for n in [0, 1_500, 2_999] {
        assert_eq!(channel(gateway.memory(APP, device(n))), Some("beta".to_owned()));
    }
    choose(17, "alpha").await;
    publisher.publish(&nothing, now).await.unwrap();
    assert_eq!(world.shards(), 5, "one shard is written again");
    gateway.read_memory().await.unwrap();
    assert_eq!(channel(gateway.memory(APP, device(17))), Some("alpha".to_owned()));

    // The next leader writes nothing that is right already, and removes what nobody needs after ten minutes.
    let mut next = Publisher::new(objects.clone(), fleet.clone());
    let (_, before) = objects.get(memory::INDEX).await.unwrap().unwrap();
    next.publish(&nothing, now).await.unwrap();
    assert_eq!((objects.get(memory::INDEX).await.unwrap().unwrap().1, world.shards()), (before, 5));
    next.publish(&nothing, now + SignedDuration::from_mins(10)).await.unwrap();
    assert_eq!(world.shards(), 4);
    for n in 0..3_000 {
        fleet.unset_channel(APP, device(n)).await.unwrap();
    }
    next.publish(&nothing, now).await.unwrap();
    gateway.read_memory().await.unwrap();
    assert_eq!((gateway.figures().remembered_devices, gateway.memory(APP, device(17))), (0, None));
}

/// A shard that cannot be read leaves its devices as they were, and an index that is lost leaves everything (rule 5).
#[tokio::test]
async fn what_cannot_be_read_stays_as_it_was() {
    let world = World::new();
    let (gateway, fleet, objects) = (world.gateway(), world.fleet().await, world.objects());
    let mut publisher = Publisher::new(objects.clone(), fleet.clone());
    let nothing = BTreeMap::new();
    let choose = async |name: &str| {
        let channel = name.parse().unwrap();
        fleet.set_channel(APP, device(1), channel, OverrideBy::Support, None).await.unwrap();
    };
    choose("beta").await;
    publisher.publish(&nothing, Timestamp::now()).await.unwrap();
    gateway.read_memory().await.unwrap();
    choose("alpha").await;
    publisher.publish(&nothing, Timestamp::now()).await.unwrap();
    let newest = objects.list(memory::SHARDS).await.unwrap();
    let mut kept = Vec::new();
    for meta in &newest {
        kept.push(objects.get(&meta.key).await.unwrap().unwrap().0);
        objects.replace(&meta.key, "damaged".into(), None).await.unwrap();
    }
    let error = gateway.read_memory().await.unwrap_err();
    assert!(error.contains("memory/shards/"), "{error}");
    assert_eq!(channel(gateway.memory(APP, device(1))), Some("beta".to_owned()));
    for (meta, bytes) in newest.iter().zip(kept) {
        objects.replace(&meta.key, bytes, None).await.unwrap();
    }
    gateway.read_memory().await.unwrap();
    assert_eq!(channel(gateway.memory(APP, device(1))), Some("alpha".to_owned()));
    objects.delete(memory::INDEX).await.unwrap();
    gateway.read_memory().await.unwrap();
    assert_eq!(channel(gateway.memory(APP, device(1))), Some("alpha".to_owned()));
}

//! Trials of devices that come to gateways.

use sluice_core::trial::{Arm, Entry, Metric};

use super::*;
use crate::fleet::testing::trials::{enrols, journal};

/// What devices say to several gateways, some of it to each, is journalled once.
#[tokio::test]
async fn enrolments_pass_through_segments() {
    let world = World::new();
    let (one, two, fleet) = (world.gateway(), world.gateway(), world.fleet().await);
    let mut relay = Relay::new(world.objects(), fleet.clone());
    for n in 0..6 {
        asks(&one, &world.hands, n);
    }
    fails(&one, 99).await;
    relay.look(true, Timestamp::now()).await.unwrap();
    world.hands.pass(2 * 24 * 3600);
    for gateway in [&one, &two, &one] {
        for n in 0..6 {
            gateway.check_in(&enrols(n, world.hands.now(), 1, 0, Arm::Treatment));
        }
    }
    // What was gathered before is written with it.
    fails(&one, 2).await;
    fails(&two, 2).await;
    relay.look(true, Timestamp::now()).await.unwrap();
    let entries = journal(&fleet, 1).await;
    let enrolled = entries.iter().filter(|entry| matches!(entry, Entry::Enrolled { .. })).count();
    let failed: Vec<_> = entries.iter().filter(|entry| matches!(entry, Entry::Failed { .. })).collect();
    assert_eq!((enrolled, entries.len()), (6, 7), "{entries:?}");
    assert!(matches!(failed[..], [Entry::Failed { metric: Metric::Launch, .. }]));

    // A device of which nothing is new says so only once more: it is not silent.
    world.hands.pass(100);
    let before = one.figures().segments;
    for _ in 0..3 {
        one.check_in(&enrols(1, world.hands.now(), 1, 0, Arm::Treatment));
    }
    until(LIMIT, "it is written", async || one.figures().segments == before + 1).await;
}

//! From the writing of a brake until no gateway offers the bundle any more.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures::future::join_all;
use jiff::Timestamp;
use serde_json::json;
use sluice_core::brake::{Aim, Devices, Scope};
use sluice_store::control::{BRAKES_EVERY, BrakeWatch};
use sluice_test_parts::ControlPlane;

use crate::{
    bucket::Bucket,
    parts::{percentiles, record, row, times},
    world::World,
};

/// Brakes, as far as there are channels.
const BRAKES: usize = 100;
const GATEWAYS: usize = 4;

/// Prints it.
pub async fn print(control_plane: &'static ControlPlane, resources: usize) {
    let bucket = Bucket::new().await;
    let world = World::new(control_plane, resources).await;
    let operator = bucket.operator(&world).await;
    let gateways = join_all((0..GATEWAYS).map(|_| bucket.gateway(&world))).await;
    world.follow(json!({})).await;
    world.await_ready().await;
    // A brake on one channel pauses the same bundle on the others.
    world.upstream.commit(world.content.apart());
    operator.hint(&world.namespace, crate::world::HOOK_SECRET).await;
    let count = BRAKES.min(world.content.channels());
    let channels: Vec<_> = (0..count).map(|number| world.content.channel(number)).collect();
    for (channel, gateway) in channels.iter().flat_map(|channel| gateways.iter().map(move |g| (channel, g))) {
        gateway.offers(*channel, &channel.own()).await;
    }

    // As `sluice brake --store` writes it, and everybody else who brakes.
    let watch = BrakeWatch::new(bucket.objects(), Arc::default(), false);
    let (mut refused, mut written, mut seen) = (times(), times(), times());
    for channel in channels {
        let version = channel.own();
        let aim = Aim {
            app: channel.app().parse().unwrap(),
            digest: None,
            release: version.parse().unwrap(),
            scope: Scope::Channel(channel.channel().parse().unwrap()),
            devices: Devices::Return,
            lifted: Vec::new(),
        };
        // At any moment between two looks of each gateway.
        let between = u64::try_from(BRAKES_EVERY.as_millis()).unwrap();
        tokio::time::sleep(Duration::from_millis(rand::random_range(0..between))).await;
        let start = Instant::now();
        let writing = async {
            let braked = watch.stop(aim, "bench", "a measurement", Timestamp::now(), false).await.unwrap();
            assert!(braked.unwrap().fresh, "{version} was stopped before");
            Instant::now()
        };
        let refusing = join_all(gateways.iter().map(|gateway| gateway.refuses(channel, &version)));
        let (written_at, refused_at) = tokio::join!(writing, refusing);
        let last = refused_at.into_iter().max().unwrap();
        record(&mut refused, last - start);
        record(&mut written, written_at - start);
        record(&mut seen, last.saturating_duration_since(written_at));
    }
    let figure = format!("brake to the last of {GATEWAYS} gateways on S3 refusing");
    let longest = refused.max() as f64 / 1e3;
    row(&figure, &world, &format!("{}, longest {longest:.0} ms", percentiles(&refused)), "", "");
    row("of these until it is written, and read back", &world, &percentiles(&written), "", "");
    row("from then on", &world, &percentiles(&seen), &format!("{count} brakes"), "");
    world.suspend().await;
    operator.stop().await;
    for gateway in gateways {
        gateway.stop().await;
    }
}

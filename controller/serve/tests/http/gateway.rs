//! A gateway: devices answered over an outbox, and an admin side without an API.

use std::{sync::Arc, time::Duration};

use serde_json::json;
use sluice_core::snapshot::Snapshot;
use sluice_serve::{
    admin::Admin,
    device::{DeviceServer, DeviceSettings},
    listener::Limits,
    metrics::Metrics,
    views::Views,
};
use sluice_store::{
    objects::{Directory, Objects},
    relay::{Ingest, Outbox, OutboxLimits},
};
use tokio_util::sync::CancellationToken;

use crate::{
    wire::{get, post},
    world::{APP, CANARY, Running, World, ask, until},
};

struct Gateway {
    devices: Running,
    admin: Running,
    outbox: Outbox,
}

/// A gateway over the store of `world`. It writes nothing before [`run`].
async fn gateway(world: &World, limits: OutboxLimits) -> Gateway {
    let (views, objects) = (world.views.clone(), world.views.objects.clone());
    let clock = Arc::new(|| jiff::Timestamp::now().as_second());
    let outbox = Outbox::new(objects.clone(), views.snapshot.clone(), clock, limits);
    let views =
        Views::of_a_gateway(views.snapshot, views.brakes, Arc::default(), Arc::new(outbox.clone()), objects);
    let settings = DeviceSettings::new("https://ota.example.org");
    let device = DeviceServer::new(views.clone(), Metrics::new(&views), settings);
    let admin = Admin::without_api(device.clone(), CancellationToken::new());
    Gateway {
        devices: Running::start(device.site(), None, Limits::default()).await,
        admin: Running::start(admin.site(), None, Limits::default()).await,
        outbox,
    }
}

fn run(gateway: &Gateway) {
    let outbox = gateway.outbox.clone();
    tokio::spawn(async move { outbox.run().await });
}

fn quick() -> OutboxLimits {
    OutboxLimits { gather: Duration::from_millis(5), ..OutboxLimits::default() }
}

#[tokio::test]
async fn devices_are_answered_the_same_and_passed_on() {
    let world = World::new().await;
    let gateway = gateway(&world, quick()).await;
    run(&gateway);
    let (here, there) = (world.serve().await.address, gateway.devices.address);
    for further in [
        json!({}),
        json!({"version_name": "1.4.2"}),
        json!({"platform": "electron"}),
        json!({"app_id": "org.example.unknown"}),
        json!({"platform": "nonsense"}),
    ] {
        let (a, b) =
            (post(here, "/updates", ask(further.clone())).await, post(there, "/updates", ask(further)).await);
        assert_eq!((a.status, a.body), (b.status, b.body));
    }
    let report = ask(json!({"action": "update_fail", "version_name": "1.4.2"}));
    assert_eq!(post(there, "/stats", report).await.status, 200);
    let after = post(there, "/updates", ask(json!({}))).await.json();
    assert_eq!(after["error"], "no_new_version_available", "its own write, at once");
    let set = ask(json!({"channel": "beta", "plugin_version": "7.0.5"}));
    assert_eq!(post(there, "/channel_self", set).await.status, 200);

    let mut ingest = Ingest::new(world.views.objects.clone(), world.fleet.clone());
    ingest.look(jiff::Timestamp::now()).await.unwrap();
    let memory = world.fleet.memory(APP, sluice_core::request::DeviceKey::of(CANARY)).unwrap();
    assert_eq!(memory.failed.len(), 1);
    assert_eq!(memory.channel.as_ref().map(|c| c.channel.as_str()), Some("beta"));
}

#[tokio::test]
async fn a_full_outbox_is_a_reason_and_a_store_that_is_away_is_none() {
    let world = World::new().await;
    let gateway = gateway(&world, OutboxLimits { queued_events: 1, ..quick() }).await;
    let (devices, admin) = (gateway.devices.address, gateway.admin.address);
    let report = |n: u32| ask(json!({"action": format!("download_{n}"), "version_name": "1.4.2"}));
    let ready = async || {
        let answer = get(admin, "/readyz", &[]).await;
        let body = answer.json();
        let codes: Vec<String> = body["reasons"]
            .as_array()
            .unwrap()
            .iter()
            .map(|reason| reason["code"].as_str().unwrap().to_owned())
            .collect();
        (answer.status, codes, body)
    };
    let (status, codes, body) = ready().await;
    assert_eq!((status, codes.len(), &body["store"]["up"]), (200, 0, &json!(false)), "{body}");
    // Nothing writes yet: one waits, and the next finds no room.
    let first = tokio::spawn(post_owned(devices, report(1)));
    until(async || gateway.outbox.figures().full).await;
    assert_eq!(post(devices, "/stats", report(2)).await.status, 503);
    assert_eq!(ready().await.1, ["OutboxFull"]);
    assert_eq!(post(devices, "/updates", ask(json!({}))).await.status, 200, "decisions go on");
    run(&gateway);
    assert_eq!(first.await.unwrap(), 200);
    until(async || ready().await.0 == 200).await;

    let served = world.views.snapshot.swap(Arc::new(Snapshot::empty()));
    assert_eq!(ready().await.1, ["NoSnapshot"]);
    world.views.snapshot.store(served);
    let text = get(admin, "/metrics", &[]).await;
    for line in [
        "sluice_store_up 0.0",
        "sluice_outbox_queued_events 0.0",
        "sluice_outbox_flush_failures_total 0",
        "sluice_outbox_events_refused_total 1",
        "sluice_outbox_segments_total 1",
    ] {
        assert!(text.text().lines().any(|l| l == line), "{line} is missing in\n{}", text.text());
    }
    for hidden in ["/", "/api/v1/status", "/api/v1/openapi.json"] {
        assert_eq!(get(admin, hidden, &[]).await.status, 404, "{hidden}");
    }
    assert_eq!(get(admin, "/healthz", &[]).await.status, 200);
}

async fn post_owned(at: std::net::SocketAddr, body: Vec<u8>) -> u16 {
    post(at, "/stats", body).await.status
}

/// The folder of segments cannot be written: reports are refused until it can.
#[tokio::test]
async fn a_store_that_takes_nothing_is_said_by_503() {
    let dir = tempfile::tempdir().unwrap();
    let objects: Arc<dyn Objects> = Arc::new(Directory::open(dir.path()).unwrap());
    let world = World::with(crate::world::Wanted { objects: Some(objects), ..Default::default() }).await;
    let gateway = gateway(&world, quick()).await;
    run(&gateway);
    let at = gateway.devices.address;
    let blocked = dir.path().join("segments");
    std::fs::write(&blocked, "in the way").unwrap();
    let report = || ask(json!({"action": "set", "version_name": "1.4.2"}));
    assert_eq!(post(at, "/stats", report()).await.status, 503);
    let set = || ask(json!({"channel": "beta", "plugin_version": "7.0.5"}));
    assert_eq!(post(at, "/channel_self", set()).await.status, 503);
    assert_eq!(post(at, "/updates", ask(json!({}))).await.json()["version"], "1.4.2");
    std::fs::remove_file(&blocked).unwrap();
    assert_eq!(post(at, "/stats", report()).await.status, 200);
    assert_eq!(post(at, "/channel_self", set()).await.status, 200);
}

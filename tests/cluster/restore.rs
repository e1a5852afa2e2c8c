//! A backup of the bundle store, restored into an empty cluster.

use std::{fs, path::Path, process::Command};

use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use serde_json::{Value, json};
use sluice_core::snapshot::Root;
use sluice_crds::Channel;
use sluice_repo::testing::{Behaviour, Changes};

use crate::support::{
    ControlPlane, LIMIT, Operator, Phone, World, channel, create, release, shop, until, with_release,
};

/// A control plane of its own, with nothing in it but the definitions.
async fn empty_cluster() -> &'static ControlPlane {
    let control_plane: &'static ControlPlane = Box::leak(Box::new(ControlPlane::start().await));
    control_plane.install_crds().await;
    control_plane
}

fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("--archive").arg(from).arg(to).status().unwrap().success());
}

fn root(store: &Path) -> Root {
    serde_json::from_slice(&fs::read(store.join("root.json")).unwrap()).unwrap()
}

/// What phones of several kinds are answered.
async fn answers(operator: &Operator) -> Vec<Value> {
    let mut all = Vec::new();
    for number in 0..12 {
        for (field, value) in [
            ("platform", "android"),
            ("platform", "ios"),
            ("version_name", "1.1.0"),
            ("version_name", "1.2.0"),
            ("version_build", "2.0.0"),
            ("defaultChannel", "beta"),
            ("defaultChannel", "nowhere"),
            ("app_id", "com.example.other"),
        ] {
            let mut body = Phone::new(number).body();
            body[field] = value.into();
            let (status, answer) = operator.post("/updates", &body).await;
            all.push(json!([field, value, status, answer]));
        }
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_phones_get_the_same_answers() {
    let flags = ["--gateway", "--public-url", "https://updates.example.org"];
    let mut world = World::on(empty_cluster().await).await;
    let beta = channel("beta", "1.1.0").replace("  public: true\n", "  allow:\n    selfAssign: true\n");
    world.upstream.commit(shop().file("channels/beta.yaml", beta));
    world.follow(json!({})).await;
    let operator = world.operator_as(world.control_plane.kubeconfig(), &flags).await;
    operator.offers(&Phone::new(1), "1.1.0").await;
    world.move_to("1.2.0");
    operator.hint().await;
    operator.offers(&Phone::new(1), "1.2.0").await;
    world.await_channel("shop-beta", "Served").await;
    world.says("shop-production", "1.2.0").await;
    let before = answers(&operator).await;
    let offered: Vec<&str> = before.iter().filter_map(|answer| answer[3]["version"].as_str()).collect();
    assert!(offered.contains(&"1.2.0"), "{before:?}");

    // Taken while the operator runs; some work is done after it and then lost with the cluster.
    let (store, backup) = (world.file("data/store"), world.file("backup"));
    copy(&store, &backup);
    let kept = root(&backup);
    world.upstream.commit(
        with_release(Changes::new(), "1.3.0")
            .file("channels/production.yaml", channel("production", "1.3.0")),
    );
    operator.hint().await;
    operator.offers(&Phone::new(1), "1.3.0").await;
    let lost = root(&store);
    assert!(lost.generation > kept.generation);
    operator.kill();
    world.control_plane.kill_apiserver();
    world.control_plane.kill_etcd();
    fs::remove_dir_all(world.file("data")).unwrap();

    // An empty cluster, an empty volume, and the backup. Git does not answer.
    world.control_plane = empty_cluster().await;
    create(&Api::<Namespace>::all(world.client()), json!({ "metadata": { "name": world.namespace } })).await;
    fs::create_dir(world.file("data")).unwrap();
    copy(&backup, &store);
    world.git.http.behave(Behaviour::Status(503));
    let operator = world.operator_as(world.control_plane.kubeconfig(), &flags).await;
    operator.offers(&Phone::new(1), "1.2.0").await;
    assert_eq!(answers(&operator).await, before, "before the cluster holds anything");
    operator.leads().await;
    let led = root(&store);
    assert!(led.epoch > lost.epoch && led.generation > lost.generation, "{led:?} after {lost:?}");
    world.follow(json!({})).await;
    world.await_repository("ServerError").await;
    assert_eq!(answers(&operator).await, before, "before Git was read");

    // Git answers: what was lost is published again, above everything that ever was.
    world.git.http.behave(Behaviour::Normal);
    operator.hint().await;
    operator.offers(&Phone::new(1), "1.3.0").await;
    world.await_channel("shop-beta", "Served").await;
    let term = world.says("shop-production", "1.3.0").await;
    let read = root(&store);
    assert_eq!((term, read.epoch), (led.epoch, led.epoch));
    assert!(read.generation > led.generation);

    // A version of the backup keeps its bytes.
    world.upstream.commit(
        Changes::new().remove("releases/1.2.0.yaml").file("bundles/1.2.0/index.html", "<!doctype html>other"),
    );
    operator.hint().await;
    until(LIMIT, "the release is gone", async || {
        world.api::<sluice_crds::Release>().get_opt("shop-1.2.0").await.unwrap().is_none()
    })
    .await;
    world.upstream.commit(Changes::new().file("releases/1.2.0.yaml", release("1.2.0")));
    operator.hint().await;
    world.await_release("shop-1.2.0", "VersionBurnt").await;
    let served = world.api::<Channel>().get("shop-production").await.unwrap();
    assert_eq!(served.status.unwrap().release.as_deref(), Some("1.3.0"));
}

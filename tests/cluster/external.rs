//! `apply: External`: another tool applies the objects, and Sluice writes no spec.

use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams},
};
use serde_json::{Value, json};
use sluice_crds::{Channel, Release, Repository};
use sluice_repo::testing::Changes;

use crate::support::{LIMIT, Operator, Phone, World, channel, release, shop, until};

/// Applies documents as another tool would, each under a prefix that the tool adds.
async fn apply(world: &World, documents: &[String]) {
    for text in documents {
        world
            .control_plane
            .apply_yaml_in(&world.namespace, &text.replace("name: shop-", "name: kustomized-shop-"))
            .await;
    }
}

async fn world() -> (World, Operator) {
    let world = World::empty().await;
    world.upstream.commit(shop());
    world.follow(json!({ "apply": "External" })).await;
    let operator = world.operator().await;
    (world, operator)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_tool_applies_is_served() {
    let (world, operator) = world().await;
    world.await_repository("Applied").await;
    assert_ne!(operator.answers(&Phone::new(1)).await["version"], "1.1.0", "nothing is applied yet");
    apply(&world, &[release("1.1.0"), release("1.2.0"), channel("production", "1.1.0")]).await;
    operator.offers(&Phone::new(1), "1.1.0").await;
    world.await_channel("kustomized-shop-production", "Served").await;
    world.await_release("kustomized-shop-1.2.0", "Stored").await;

    // The object says what is wanted, not the commit.
    world.move_to("1.2.0");
    operator.hint().await;
    until(LIMIT, "the commit was read", async || {
        let status = world.api::<Repository>().get("shop").await.unwrap().status.unwrap();
        (status.history.len() == 2).then_some(())
    })
    .await;
    assert_eq!(operator.answers(&Phone::new(1)).await["version"], "1.1.0");
    apply(&world, &[channel("production", "1.2.0")]).await;
    operator.offers(&Phone::new(1), "1.2.0").await;
    let channels: Api<Channel> = world.api();
    until(LIMIT, "observedGeneration follows", async || {
        let now = channels.get("kustomized-shop-production").await.unwrap();
        let status = now.status.unwrap();
        (Some(status.observed_generation) == now.metadata.generation
            && status.release.as_deref() == Some("1.2.0"))
        .then_some(())
    })
    .await;
    let managers = channels.get("kustomized-shop-production").await.unwrap().metadata.managed_fields.unwrap();
    let ours = managers.iter().filter(|m| m.manager.as_deref() == Some("sluice")).count();
    assert_eq!(ours, 0, "the spec has another writer");
}

#[tokio::test(flavor = "multi_thread")]
async fn deletion_behind_gits_back_keeps_serving() {
    let (world, operator) = world().await;
    apply(&world, &[release("1.1.0"), release("1.2.0"), channel("production", "1.1.0")]).await;
    operator.offers(&Phone::new(1), "1.1.0").await;
    world.await_channel("kustomized-shop-production", "Served").await;
    let channels: Api<Channel> = world.api();
    channels.delete("kustomized-shop-production", &DeleteParams::default()).await.unwrap();
    world.api::<Release>().delete("kustomized-shop-1.1.0", &DeleteParams::default()).await.unwrap();
    let repository = until(LIMIT, "it is said", async || {
        let repository = world.api::<Repository>().get("shop").await.unwrap();
        let text = serde_json::to_string(&repository.status).unwrap();
        if text.contains("DeletedBehindGit") { Ok(text) } else { Err(text) }
    })
    .await;
    assert!(repository.contains("sluice.dev/confirmDeletion"), "{repository}");
    assert_eq!(operator.answers(&Phone::new(1)).await["version"], "1.1.0");
    // Somebody means it.
    let patch: Value =
        json!({ "metadata": { "annotations": { "sluice.dev/confirmDeletion": "Channel/shop-production" } } });
    world.api::<Repository>().patch("shop", &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
    until(LIMIT, "it ends", async || {
        let answer = operator.answers(&Phone::new(1)).await;
        if answer["error"] == "no_channel" { Ok(()) } else { Err(answer) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_git_does_not_have_is_named() {
    let (world, operator) = world().await;
    let unknown = release("7.0.0");
    apply(&world, &[unknown, release("1.1.0"), channel("production", "1.1.0")]).await;
    operator.offers(&Phone::new(1), "1.1.0").await;
    world.await_release("kustomized-shop-7.0.0", "BundlePending").await;
    // The commit comes later.
    world.upstream.commit(
        Changes::new()
            .file("bundles/7.0.0/index.html", "<!doctype html>7")
            .file("releases/7.0.0.yaml", release("7.0.0")),
    );
    operator.hint().await;
    world.await_release("kustomized-shop-7.0.0", "Stored").await;
}

//! `apply: External`: another tool applies the objects, and Sluice writes no spec.

use std::time::{Duration, Instant};

use k8s_openapi::{api::events::v1::Event, jiff::Timestamp};
use kube::{
    Api,
    api::{DeleteParams, ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};
use sluice_crds::{Channel, Release, Repository, repository::DeletedChannel};
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
    world_with(json!({})).await
}

/// The same with more fields of the Repository.
async fn world_with(mut more: Value) -> (World, Operator) {
    let world = World::empty().await;
    world.upstream.commit(shop());
    more["apply"] = "External".into();
    world.follow(more).await;
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
    assert!(repository.contains("it is served until 20"), "{repository}");
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

/// Waits until the Repository lists so many channels that are served without their objects.
async fn deleted(world: &World, count: usize) -> Vec<DeletedChannel> {
    until(LIMIT, &format!("{count} channels are listed as deleted"), async || {
        let status = world.api::<Repository>().get("shop").await.unwrap().status.unwrap();
        if status.deleted_channels.len() == count { Ok(status.deleted_channels) } else { Err(status) }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_time_of_a_deletion_is_remembered_over_restarts() {
    let (world, operator) = world().await;
    let all = [release("1.1.0"), release("1.2.0"), channel("production", "1.1.0")];
    apply(&world, &all).await;
    operator.offers(&Phone::new(1), "1.1.0").await;
    let channels: Api<Channel> = world.api();
    channels.delete("kustomized-shop-production", &DeleteParams::default()).await.unwrap();
    let first = deleted(&world, 1).await.remove(0);
    assert_eq!((first.name.as_str(), first.channel.as_str()), ("kustomized-shop-production", "production"));
    let period = first.until.as_ref().unwrap().parse::<Timestamp>().unwrap().as_second()
        - first.since.parse::<Timestamp>().unwrap().as_second();
    assert_eq!(period, 7 * 86_400);

    assert!(operator.stop().await.success());
    let operator = world.operator().await;
    operator.leads().await;
    // A change of the Repository begins anew as well.
    let patch: Value = json!({ "spec": { "deletionGracePeriod": "Forever" } });
    world.api::<Repository>().patch("shop", &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
    let forever = until(LIMIT, "the new period is told", async || {
        let now = deleted(&world, 1).await.remove(0);
        if now.until.is_none() { Ok(now) } else { Err(now) }
    })
    .await;
    assert_eq!(forever.since, first.since);
    assert_eq!(operator.answers(&Phone::new(1)).await["version"], "1.1.0");

    apply(&world, &all[2..]).await;
    deleted(&world, 0).await;
    world.await_channel("kustomized-shop-production", "Served").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_channel_ends_with_its_grace_period() {
    let (world, operator) = world_with(json!({ "deletionGracePeriod": "4s" })).await;
    let all = [release("1.1.0"), release("1.2.0"), channel("production", "1.1.0")];
    apply(&world, &all).await;
    operator.offers(&Phone::new(1), "1.1.0").await;
    world.await_channel("kustomized-shop-production", "Served").await;
    let asked = Instant::now();
    world.api::<Channel>().delete("kustomized-shop-production", &DeleteParams::default()).await.unwrap();
    deleted(&world, 1).await;
    assert_eq!(operator.answers(&Phone::new(1)).await["version"], "1.1.0");
    until(LIMIT, "it ends", async || {
        let answer = operator.answers(&Phone::new(1)).await;
        if answer["error"] == "no_channel" { Ok(()) } else { Err(answer) }
    })
    .await;
    // The period counts whole seconds.
    assert!(asked.elapsed() > Duration::from_secs(3), "{:?}", asked.elapsed());
    deleted(&world, 0).await;
    world.await_repository("Applied").await;
    let note = until(LIMIT, "an Event says so", async || {
        let events = world.api::<Event>().list(&ListParams::default()).await.unwrap().items;
        let found = events.into_iter().find(|event| event.reason.as_deref() == Some("GracePeriodOver"));
        found.map(|event| (event.note.unwrap(), event.regarding.unwrap().name.unwrap()))
    })
    .await;
    assert!(note.0.contains("channel production of com.example.shop is served no more"), "{note:?}");
    assert_eq!(note.1, "shop");
    assert!(operator.log().contains("GracePeriodOver"));
    // It can come back.
    apply(&world, &all[2..]).await;
    operator.offers(&Phone::new(1), "1.1.0").await;
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

//! `apply: Self`: what Git declares is applied, served and said, and nothing is written twice.

use kube::{
    Api,
    api::{DeleteParams, ListParams, Patch, PatchParams},
};
use serde_json::json;
use sluice_crds::{Channel, Release, Repository};
use sluice_repo::testing::Changes;

use crate::support::{APP, LIMIT, Phone, World, channel, release, until, with_release};

#[tokio::test(flavor = "multi_thread")]
async fn a_merge_is_applied_served_and_said() {
    let world = World::shop().await;
    let operator = world.operator().await;
    let phone = Phone::new(1);
    operator.offers(&phone, "1.1.0").await;
    let served = world.await_channel("shop-production", "Served").await;
    let status = served.status.unwrap();
    assert_eq!(status.release.as_deref(), Some("1.1.0"));
    assert_eq!(status.observed_generation, served.metadata.generation.unwrap());
    assert_eq!(status.bundle.unwrap().len(), 12);
    let labels = served.metadata.labels.unwrap();
    assert_eq!(labels["sluice.dev/repository"], "shop");
    assert_eq!(served.metadata.annotations.unwrap()["sluice.dev/path"], "channels/production.yaml");
    let release = world.await_release("shop-1.1.0", "Stored").await;
    assert!(release.status.unwrap().size.unwrap() > 0);
    let repository = world.await_repository("Applied").await;
    let history = repository.status.unwrap().history;
    assert_eq!(history.len(), 1);

    world.move_to("1.2.0");
    operator.hint().await;
    operator.offers(&phone, "1.2.0").await;
    until(LIMIT, "the channel says 1.2.0", async || {
        let now = world.await_channel("shop-production", "Served").await;
        (now.status.unwrap().release.as_deref() == Some("1.2.0")).then_some(())
    })
    .await;
    let repository = world.api::<Repository>().get("shop").await.unwrap();
    assert_eq!(repository.status.unwrap().history.len(), 2);
    // Nobody is told the password.
    for secret in ["canary-password", "canary-hook"] {
        assert!(!operator.log().contains(secret));
    }
    assert_eq!(operator.hook("shop", "wrong").await, 404);
    assert_eq!(operator.hook("elsewhere", "wrong").await, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_writes_nothing_of_what_is_right() {
    let world = World::shop().await;
    let operator = world.operator().await;
    world.await_channel("shop-production", "Served").await;
    world.await_release("shop-1.2.0", "Stored").await;
    world.await_repository("Applied").await;
    let versions = async || {
        let channels = world.api::<Channel>().list(&ListParams::default()).await.unwrap();
        let releases = world.api::<Release>().list(&ListParams::default()).await.unwrap();
        let of = |meta: &kube::core::ObjectMeta| (meta.name.clone(), meta.resource_version.clone());
        let mut all: Vec<_> = channels.iter().map(|c| of(&c.metadata)).collect();
        all.extend(releases.iter().map(|r| of(&r.metadata)));
        all
    };
    let before = versions().await;
    assert!(operator.stop().await.success());
    let operator = world.operator().await;
    operator.offers(&Phone::new(1), "1.1.0").await;
    operator.leads().await;
    until(LIMIT, "the repository was read again", async || {
        operator.log().contains("compared with the cluster").then_some(())
    })
    .await;
    // Something that has to be written comes after whatever would have been.
    world.move_to("1.2.0");
    operator.hint().await;
    until(LIMIT, "the channel moves", async || {
        let channel = world.api::<Channel>().get("shop-production").await.unwrap();
        (channel.status.unwrap().release.as_deref() == Some("1.2.0")).then_some(())
    })
    .await;
    let after = versions().await;
    let changed: Vec<_> = after.iter().filter(|version| !before.contains(version)).collect();
    assert_eq!(changed.len(), 1, "only the channel is written: {changed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn drift_is_put_right() {
    let world = World::shop().await;
    let operator = world.operator().await;
    world.await_channel("shop-production", "Served").await;
    let channels: Api<Channel> = world.api();
    // A changed field, an added one, a label, and the object itself.
    let patch = json!({ "spec": { "release": "1.2.0", "suspend": true, "channel": "other" } });
    channels.patch("shop-production", &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
    until(LIMIT, "the spec is Git's again", async || {
        let spec = channels.get("shop-production").await.unwrap().spec;
        let right = spec.release.as_deref() == Some("1.1.0")
            && !spec.suspend
            && spec.channel.as_deref() == Some("production");
        if right { Ok(()) } else { Err(format!("{spec:?}")) }
    })
    .await;
    channels.delete("shop-production", &DeleteParams::default()).await.unwrap();
    until(LIMIT, "the channel is there again", async || channels.get_opt("shop-production").await.unwrap())
        .await;
    world.await_channel("shop-production", "Served").await;
    // It was served all along.
    assert_eq!(operator.answers(&Phone::new(1)).await["version"], "1.1.0");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_writers_that_fight_are_told_apart_and_left() {
    let world = World::shop().await;
    let operator = world.operator().await;
    world.await_channel("shop-production", "Served").await;
    let channels: Api<Channel> = world.api();
    let params = PatchParams { field_manager: Some("stubborn".into()), ..PatchParams::default() };
    let repository = until(LIMIT, "the fight is reported", async || {
        let patch = json!({ "spec": { "release": "1.2.0" } });
        channels.patch("shop-production", &params, &Patch::Merge(&patch)).await.unwrap();
        let repository = world.api::<Repository>().get("shop").await.unwrap();
        let text = serde_json::to_string(&repository.status).unwrap();
        if text.contains("FieldConflict") { Ok(text) } else { Err(text) }
    })
    .await;
    assert!(repository.contains("stubborn"), "{repository}");
    let quiet = channels.get("shop-production").await.unwrap().metadata.generation;
    let patch = json!({ "spec": { "release": "1.2.0" } });
    channels.patch("shop-production", &params, &Patch::Merge(&patch)).await.unwrap();
    // What Git says is served, whoever writes the object.
    assert_eq!(operator.answers(&Phone::new(1)).await["version"], "1.1.0");
    let now = channels.get("shop-production").await.unwrap();
    assert!(now.metadata.generation >= quiet);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_object_that_is_refused_does_not_block_the_rest() {
    let world = World::shop().await;
    // Somebody else's object has the name.
    world
        .apply(&json!({
            "apiVersion": "sluice.dev/v1alpha1", "kind": "Release",
            "metadata": { "name": "shop-1.2.0" },
            "spec": { "app": APP, "version": "9.9.9", "bundle": { "path": "x" } },
        }))
        .await;
    let operator = world.operator().await;
    operator.offers(&Phone::new(1), "1.1.0").await;
    let other = world.api::<Release>().get("shop-1.2.0").await.unwrap();
    assert_eq!(other.spec.version, "9.9.9", "what is not ours is not touched");
    let repository = world.await_repository("AppliedWithProblems").await;
    let text = serde_json::to_string(&repository.status).unwrap();
    assert!(text.contains("OwnedByAnother") && text.contains("kubectl"), "{text}");

    // A document of another namespace, and one that the API server refuses.
    let elsewhere =
        channel("beta", "1.1.0").replace("  name: shop-beta\n", "  name: shop-beta\n  namespace: other\n");
    world.upstream.commit(
        Changes::new()
            .file("channels/beta.yaml", elsewhere)
            .file("channels/gamma.yaml", channel("gamma", "1.1.0").replace("  public: true\n", "")),
    );
    operator.hint().await;
    world.await_channel("shop-gamma", "Served").await;
    let repository = world.await_repository("AppliedWithProblems").await;
    let text = serde_json::to_string(&repository.status).unwrap();
    assert!(text.contains("OtherNamespace"), "{text}");

    // Handed over by its label, it becomes Git's, although only as far as the API server lets it.
    world.api::<Release>().delete("shop-1.2.0", &DeleteParams::default()).await.unwrap();
    world.await_release("shop-1.2.0", "Stored").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_git_removes_is_deleted_and_what_others_made_stays() {
    let world = World::shop().await;
    let operator = world.operator().await;
    world.await_release("shop-1.2.0", "Stored").await;
    world.upstream.commit(Changes::new().remove("releases/1.2.0.yaml"));
    operator.hint().await;
    until(LIMIT, "the release is gone", async || {
        world.api::<Release>().get_opt("shop-1.2.0").await.unwrap().is_none()
    })
    .await;
    assert!(world.api::<Release>().get_opt("shop-1.1.0").await.unwrap().is_some());
    // A version keeps its bytes also when its release comes back.
    world.upstream.commit(
        Changes::new()
            .file("bundles/1.2.0/index.html", "<!doctype html>other bytes")
            .file("releases/1.2.0.yaml", release("1.2.0")),
    );
    operator.hint().await;
    let burnt = world.await_release("shop-1.2.0", "VersionBurnt").await;
    let text = serde_json::to_string(&burnt.status).unwrap();
    assert!(text.contains("publish a new version") && text.contains("Stalled"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mass_delete_needs_a_word() {
    let world = World::empty().await;
    let mut changes = Changes::new().file("channels/production.yaml", channel("production", "1.1.0"));
    for minor in 0..6 {
        changes = with_release(changes, &format!("1.{minor}.0"));
    }
    world.upstream.commit(changes);
    world.follow(json!({})).await;
    let operator = world.operator().await;
    operator.offers(&Phone::new(1), "1.1.0").await;
    let removed =
        (0..6).fold(Changes::new(), |changes, minor| changes.remove(&format!("releases/1.{minor}.0.yaml")));
    world.upstream.commit(removed);
    operator.hint().await;
    let repository = world.await_repository("AppliedWithProblems").await;
    assert!(serde_json::to_string(&repository.status).unwrap().contains("Sluice-Allow-Prune: 6"));
    assert_eq!(world.api::<Release>().list(&ListParams::default()).await.unwrap().items.len(), 6);
    let allowed =
        Changes::new().file("note.txt", "x").message("Remove old releases\n\nSluice-Allow-Prune: 6\n");
    world.upstream.commit(allowed);
    operator.hint().await;
    until(LIMIT, "they are gone", async || {
        world.api::<Release>().list(&ListParams::default()).await.unwrap().items.is_empty()
    })
    .await;
    // The channel is there, and serves what it served: no Release declares it any more.
    world.await_channel("shop-production", "ReleaseNotFound").await;
    assert_eq!(operator.answers(&Phone::new(1)).await["version"], "1.1.0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_can_be_suspended_asked_and_moved() {
    let world = World::shop().await;
    let operator = world.operator().await;
    world.await_repository("Applied").await;
    // Suspended earlier, it would not make the bundle.
    operator.offers(&Phone::new(1), "1.1.0").await;
    let repositories: Api<Repository> = world.api();
    let merge = async |patch: serde_json::Value| {
        repositories.patch("shop", &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
    };
    merge(json!({ "spec": { "suspend": true } })).await;
    until(LIMIT, "it says so", async || {
        let status = repositories.get("shop").await.unwrap().status.unwrap();
        status.conditions.iter().any(|c| c.type_ == "Suspended").then_some(())
    })
    .await;
    world.move_to("1.2.0");
    assert_eq!(operator.answers(&Phone::new(1)).await["version"], "1.1.0");
    // Polls are an hour apart now: only the request makes it look.
    merge(json!({ "spec": { "suspend": false, "interval": "1h" } })).await;
    operator.offers(&Phone::new(1), "1.2.0").await;
    world.move_to("1.1.0");
    for (key, value) in [("sluice.dev/requestedAt", "now-1"), ("reconcile.fluxcd.io/requestedAt", "now-2")] {
        merge(json!({ "metadata": { "annotations": { "sluice.dev/requestedAt": null, key: value } } })).await;
        until(LIMIT, "the request is handled", async || {
            let status = repositories.get("shop").await.unwrap().status.unwrap();
            if status.last_handled_reconcile_at.as_deref() == Some(value) { Ok(()) } else { Err(status) }
        })
        .await;
    }
    operator.offers(&Phone::new(1), "1.1.0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_has_one_owner_until_it_is_taken_over() {
    let world = World::shop().await;
    let operator = world.operator().await;
    operator.offers(&Phone::new(1), "1.1.0").await;
    // Another Repository of the namespace declares the same app under other names.
    let spec = serde_json::to_value(world.api::<Repository>().get("shop").await.unwrap().spec).unwrap();
    let (first, second) = ("shop".to_owned(), "second".to_owned());
    let mut taking = spec.clone();
    taking["path"] = "second".into();
    let document = |spec: &serde_json::Value| json!({ "apiVersion": "sluice.dev/v1alpha1", "kind": "Repository", "metadata": { "name": second }, "spec": spec });
    let renamed = |text: String| text.replace("name: shop-", "name: second-");
    world.upstream.commit(
        Changes::new()
            .file("second/bundles/2.0.0/index.html", "<!doctype html>2")
            .file("second/releases/2.0.0.yaml", renamed(crate::support::release("2.0.0")))
            .file("second/channels/production.yaml", renamed(channel("production", "2.0.0"))),
    );
    let mut excluding = spec.clone();
    excluding["exclude"] = json!(["second/**"]);
    world.apply(&json!({
        "apiVersion": "sluice.dev/v1alpha1", "kind": "Repository", "metadata": { "name": first }, "spec": excluding,
    })).await;
    world.apply(&document(&taking)).await;
    let refused = world.await_channel("second-production", "AppNotAllowed").await;
    assert!(serde_json::to_string(&refused.status).unwrap().contains(&format!("{}/shop", world.namespace)));
    assert_eq!(operator.answers(&Phone::new(1)).await["version"], "1.1.0");

    taking["takeOver"] = json!([{ "app": APP, "from": format!("{}/shop", world.namespace) }]);
    world.apply(&document(&taking)).await;
    world.await_channel("second-production", "Served").await;
    world.await_channel("shop-production", "AppNotAllowed").await;
    let mut native = Phone::new(2).body();
    native["version_build"] = "2.0.0".into();
    let (_, answer) = operator.post("/updates", &native).await;
    assert_ne!(answer["version"], "1.1.0", "{answer}");
}

//! Several Repositories in one namespace: none misses what concerns it, and none stands in another's way.

use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::json;
use sluice_crds::{Channel, Repository};
use sluice_repo::testing::Changes;

use crate::support::{APP, LIMIT, World, channel, release, until};

/// The app of the second Repository.
const BANK: &str = "com.example.bank";

/// The document of another app in a folder of its own.
fn of_bank(text: &str) -> String {
    text.replace(APP, BANK).replace("name: shop-", "name: bank-")
}

/// What the folder of an app holds.
fn in_folder(changes: Changes, folder: &str, rename: impl Fn(&str) -> String) -> Changes {
    changes
        .file(&format!("{folder}/bundles/1.1.0/index.html"), "<!doctype html>1")
        .file(&format!("{folder}/releases/1.1.0.yaml"), rename(&release("1.1.0")))
        .file(&format!("{folder}/channels/production.yaml"), rename(&channel("production", "1.1.0")))
}

/// Two Repositories, `shop` and `bank`, each with a folder. Both may publish both apps.
async fn two() -> World {
    let world = World::empty().await;
    let changes = in_folder(Changes::new(), "shop", str::to_owned);
    world.upstream.commit(in_folder(changes, "bank", of_bank));
    world.follow(json!({ "path": "shop", "apps": ["com.example.*"] })).await;
    let mut spec = serde_json::to_value(world.api::<Repository>().get("shop").await.unwrap().spec).unwrap();
    spec["path"] = "bank".into();
    let bank = json!({
        "apiVersion": "sluice.dev/v1alpha1", "kind": "Repository", "metadata": { "name": "bank" }, "spec": spec,
    });
    world.apply(&bank).await;
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn drift_of_each_is_put_right() {
    let world = two().await;
    let _operator = world.operator().await;
    let names = ["shop-production", "bank-production"];
    for name in names {
        world.await_channel(name, "Served").await;
    }
    let channels: Api<Channel> = world.api();
    // In an order that no turn-taking guesses.
    for (round, name) in [0, 1, 1, 0, 0, 0, 1, 1].map(|at| names[at]).into_iter().enumerate() {
        let patch = json!({ "spec": { "suspend": true } });
        channels.patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
        until(LIMIT, &format!("round {round}: {name} is Git's again"), async || {
            (!channels.get(name).await.unwrap().spec.suspend).then_some(())
        })
        .await;
        let patch = json!({ "status": { "release": "9.9.9" } });
        channels.patch_status(name, &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
        world.says(name, "1.1.0").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_another_one_took_first_blocks_nothing_else() {
    let world = two().await;
    let operator = world.operator().await;
    for name in ["shop-production", "bank-production"] {
        world.await_channel(name, "Served").await;
    }
    // Both begin to declare an app that is new, while both are followed.
    let tea = |text: &str| text.replace(APP, "com.example.tea").replace("name: shop-", "name: tea-");
    world.upstream.commit(in_folder(Changes::new(), "shop/tea", tea));
    operator.hint().await;
    world.await_channel("tea-production", "Served").await;
    let late = |text: &str| text.replace(APP, "com.example.tea").replace("name: shop-", "name: late-");
    let changes = in_folder(Changes::new(), "bank/tea", late)
        .file("bank/bundles/1.2.0/index.html", "<!doctype html>2")
        .file("bank/releases/1.2.0.yaml", of_bank(&release("1.2.0")))
        .file("bank/channels/production.yaml", of_bank(&channel("production", "1.2.0")));
    world.upstream.commit(changes);
    world.says("bank-production", "1.2.0").await;
    let refused = world.await_channel("late-production", "AppNotAllowed").await;
    let text = serde_json::to_string(&refused.status).unwrap();
    assert!(text.contains(&format!("belongs to repository {}/shop", world.namespace)), "{text}");
    world.says("tea-production", "1.1.0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_that_take_one_app_from_each_other_do_not_go_on_for_ever() {
    let world = two().await;
    let operator = world.operator().await;
    for name in ["shop-production", "bank-production"] {
        world.await_channel(name, "Served").await;
    }
    let repositories: Api<Repository> = world.api();
    let take = async |name: &str, app: &str, from: &str| {
        let from = format!("{}/{from}", world.namespace);
        let patch = json!({ "spec": { "takeOver": [{ "app": app, "from": from }] } });
        repositories.patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
    };
    take("bank", APP, "shop").await;
    world.await_channel("shop-production", "AppNotAllowed").await;
    // Back again, and nobody removed the first word.
    take("shop", APP, "bank").await;
    until(LIMIT, "the contradiction is told", async || {
        operator.log().contains("take it from each other").then_some(())
    })
    .await;
    let moves = operator.log().matches("an app was taken over").count();
    assert_eq!(moves, 1);
    // It moves when one of them is removed, and the other one is followed anew.
    for (name, patch) in [("bank", json!({ "takeOver": null })), ("shop", json!({ "interval": "2s" }))] {
        let patch = json!({ "spec": patch });
        repositories.patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
    }
    world.await_channel("shop-production", "Served").await;
}

//! A store restored from an older backup, after a leader whose clock ran ahead: status shows later terms than the store
//! knows of.

use kube::{
    Resource,
    api::{Patch, PatchParams},
    core::NamespaceResourceScope,
};
use serde::de::DeserializeOwned;
use serde_json::json;
use sluice_crds::{Channel, Release, Repository};

use crate::support::{LIMIT, Operator, World, until};

/// Has the status of an object show a term, as a leader that nobody remembers wrote it.
async fn show<K>(world: &World, name: &str, term: u64)
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned,
{
    let patch = Patch::Merge(json!({ "status": { "epoch": term } }));
    world.api::<K>().patch_status(name, &PatchParams::default(), &patch).await.unwrap();
}

fn terms(operator: &Operator) -> usize {
    operator.log().matches("\"the term begins\"").count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_begins_above_what_status_shows() {
    let world = World::shop().await;
    let operator = world.operator().await;
    let term = world.says("shop-production", "1.1.0").await;
    world.await_repository("Applied").await;
    assert!(operator.stop().await.success());

    let shown = term + 864_000;
    show::<Channel>(&world, "shop-production", shown).await;
    show::<Release>(&world, "shop-1.2.0", shown + 1).await;
    show::<Repository>(&world, "shop", shown + 2).await;
    let operator = world.operator().await;
    operator.leads().await;
    world.move_to("1.2.0");
    operator.hint().await;
    assert!(world.says("shop-production", "1.2.0").await > shown + 2);
    assert_eq!(terms(&operator), 1, "{}", operator.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_leader_begins_again_above_what_refused_it() {
    let world = World::shop().await;
    let operator = world.operator().await;
    let term = world.says("shop-production", "1.1.0").await;
    show::<Channel>(&world, "shop-production", term + 1_000).await;
    world.move_to("1.2.0");
    operator.hint().await;
    let second = world.says("shop-production", "1.2.0").await;
    assert_eq!((second, terms(&operator)), (term + 1_001, 2), "{}", operator.log());

    // The status of the Repository itself, which changes with the commit alone.
    show::<Repository>(&world, "shop", second + 1_000).await;
    world.upstream.commit(sluice_repo::testing::Changes::new().file("README.md", "nothing of ours"));
    operator.hint().await;
    until(LIMIT, "the repository is told of by a third term", async || {
        let status = world.api::<Repository>().get("shop").await.unwrap().status.unwrap();
        (status.epoch.and_then(|epoch| u64::try_from(epoch).ok()) == Some(second + 1_001)).then_some(())
    })
    .await;
    assert_eq!(terms(&operator), 3, "{}", operator.log());
}

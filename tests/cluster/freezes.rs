//! Freezes of a Repository.

use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::json;
use sluice_crds::{Channel, Repository};
use sluice_repo::testing::Changes;

use crate::support::{LIMIT, World, channel, until};

#[tokio::test(flavor = "multi_thread")]
async fn no_rollout_goes_on_while_the_repository_is_frozen() {
    let world = World::shop().await;
    let operator = world.operator().await;
    world.says("shop-production", "1.1.0").await;
    let (repositories, channels): (Api<Repository>, Api<Channel>) = (world.api(), world.api());
    let patch = async |freezes| {
        let patch = json!({ "spec": { "freezes": freezes } });
        repositories.patch("shop", &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
        until(LIMIT, "the Repository is followed as it says now", async || {
            let shop = repositories.get("shop").await.unwrap();
            let seen = shop.status?.observed_generation;
            (Some(seen) == shop.metadata.generation).then_some(())
        })
        .await;
    };
    let winter = json!({
        "name": "winter", "from": "2020-12-20T00:00:00Z", "to": "2999-01-04T00:00:00Z", "reason": "Holidays",
    });
    patch(json!([winter])).await;
    world.upstream.commit(Changes::new().file("channels/production.yaml", channel("production", "1.2.0")));
    operator.hint().await;
    until(LIMIT, "the channel says that it is frozen, and by what", async || {
        let status = channels.get("shop-production").await.unwrap().status?;
        let rolled_out = status.conditions.iter().find(|condition| condition.type_ == "RolledOut")?;
        let named = rolled_out.message.contains("freeze winter is on: Holidays");
        (rolled_out.reason == "Frozen" && named && status.release.as_deref() == Some("1.1.0")).then_some(())
    })
    .await;
    patch(json!(null)).await;
    world.says("shop-production", "1.2.0").await;
}

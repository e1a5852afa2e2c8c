//! Rollbacks in a cluster: asked for as resources, or by the gate, and told to Git by a commit.

use kube::Api;
use serde_json::json;
use sluice_crds::{Release, Rollback, common::ConditionStatus};
use sluice_test_parts::kubectl;

use crate::support::{LIMIT, Operator, Phone, World, shop, until};

impl World {
    /// A shop that is written back to, with production moved from 1.1.0 to 1.2.0, and the Release of that.
    async fn written() -> (Self, Operator, Phone, Release) {
        let world = Self::empty().await;
        world.upstream.take_pushes();
        world.upstream.commit(shop());
        world.follow(json!({ "write": { "mode": "Push" } })).await;
        let operator = world.operator().await;
        let phone = Phone::new(1);
        operator.offers(&phone, "1.1.0").await;
        world.move_to("1.2.0");
        operator.hint().await;
        operator.offers(&phone, "1.2.0").await;
        let bad = world.await_release("shop-1.2.0", "Stored").await;
        (world, operator, phone, bad)
    }

    /// Waits until `Ready` of a Rollback, or of the only one, has this reason.
    async fn await_rollback(&self, name: Option<&str>, reason: &str) -> Rollback {
        let api: Api<Rollback> = self.api();
        until(LIMIT, &format!("a rollback says {reason}"), async || {
            let all = api.list(&kube::api::ListParams::default()).await.map_err(|error| error.to_string())?;
            let is_it = |rollback: &&Rollback| {
                name.is_none_or(|name| rollback.metadata.name.as_deref() == Some(name))
            };
            let found = all.items.iter().find(is_it).ok_or_else(|| "there is none".to_owned())?;
            let status = found.status.clone().unwrap_or_default();
            if status.conditions.iter().any(|c| c.type_ == "Ready" && c.reason == reason) {
                Ok(found.clone())
            } else {
                Err(format!("{status:?}"))
            }
        })
        .await
    }

    fn head(&self) -> (String, usize) {
        let git = |arguments: &[&str]| {
            let output = std::process::Command::new("git")
                .args(arguments)
                .current_dir(self.upstream.path())
                .output()
                .unwrap();
            assert!(output.status.success(), "{output:?}");
            String::from_utf8(output.stdout).unwrap()
        };
        (git(&["log", "-1", "--format=%B", "main"]), git(&["rev-list", "main"]).lines().count())
    }
}

/// `kubectl create`, and nothing else is needed.
#[tokio::test(flavor = "multi_thread")]
async fn a_person_creates_a_rollback() {
    let (world, operator, phone, bad) = World::written().await;
    let commits = world.head().1;
    let digest = bad.status.unwrap().digest.unwrap();
    let rollback = |name: &str, digest: &str| {
        json!({
            "apiVersion": "sluice.dev/v1alpha1", "kind": "Rollback", "metadata": { "name": name },
            "spec": { "channel": "shop-production", "digest": digest, "message": "the basket is empty" },
        })
    };
    world.apply(&rollback("never-served", &"0".repeat(64))).await;
    let refused = world.await_rollback(Some("never-served"), "DigestNotServed").await;
    let stalled = refused.status.unwrap().conditions.into_iter().find(|c| c.type_ == "Stalled").unwrap();
    assert_eq!(stalled.status, ConditionStatus::True);

    world.apply(&rollback("empty-basket", &digest)).await;
    let done = world.await_rollback(Some("empty-basket"), "Complete").await;
    let status = done.status.unwrap();
    let (message, after) = world.head();
    assert_eq!(after, commits + 1);
    assert!(message.starts_with("Roll back production to 1.1.0: the basket is empty"), "{message}");
    assert!(message.contains(&format!("Rollback-Id: {}", status.id.unwrap())), "{message}");
    let steps: Vec<&str> = status.log.iter().map(|entry| entry.step.as_str()).collect();
    assert_eq!(steps, ["Braked", "Planned", "Pushed", "Complete"]);
    operator.offers(&phone, "1.1.0").await;
    world.says("shop-production", "1.1.0").await;
    let shown =
        kubectl(world.control_plane).args(["-n", &world.namespace, "get", "rollbacks"]).output().unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains("empty-basket") && shown.contains("Complete"), "{shown}");
}

/// The gate brakes in the bundle store, whatever becomes of the API server: the resource appears by itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_brake_of_the_gate_becomes_a_rollback() {
    let (world, operator, phone, _) = World::written().await;
    world.gate_brakes("1.2.0").await;
    let done = world.await_rollback(None, "Complete").await;
    assert_eq!(done.spec.reason, sluice_crds::rollback::Reason::GateFailed);
    assert!(world.head().0.contains("Requested-By: gate"));
    operator.offers(&phone, "1.1.0").await;
}

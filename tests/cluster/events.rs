//! What is decided about rollouts, as Events of the Channel.

use k8s_openapi::api::events::v1::Event;
use kube::api::ListParams;
use serde_json::{Value, json};
use sluice_repo::testing::Changes;

use crate::support::{APP, LIMIT, Operator, Phone, World, channel, until, with_release};

/// The Events of rollouts: reason, type, note, and how often it was said; oldest first.
async fn decided(world: &World) -> Vec<(String, String, String, i32)> {
    let list = world.api::<Event>().list(&ListParams::default()).await.unwrap();
    let mut events = list.items;
    events.sort_by_key(|event| (event.event_time.clone(), event.metadata.name.clone()));
    let rollouts = events.into_iter().filter(|event| {
        let regarding = event.regarding.as_ref().unwrap();
        let ours = event.reason.as_deref().is_some_and(|reason| reason.starts_with("Rollout"));
        assert!(
            !ours || (regarding.kind.as_deref() == Some("Channel") && regarding.uid.is_some()),
            "{event:?}"
        );
        ours
    });
    rollouts
        .map(|event| {
            let times = event.series.map_or(1, |series| series.count);
            (event.reason.unwrap(), event.type_.unwrap(), event.note.unwrap(), times)
        })
        .collect()
}

async fn await_reason(world: &World, reason: &str) {
    until(LIMIT, &format!("an Event {reason}"), async || {
        let all = decided(world).await;
        if all.iter().any(|event| event.0 == reason) { Ok(()) } else { Err(all) }
    })
    .await;
}

async fn stop(operator: &Operator, token: &str) {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("http://{}/api/v1/brakes", operator.admin());
    let body = json!({ "app": APP, "channel": "production", "reason": "checkout is broken" });
    let sent = client.post(url).bearer_auth(token).json(&body).send().await.unwrap();
    let (status, answer) = (sent.status().as_u16(), sent.json::<Value>().await.unwrap());
    assert_eq!(status, 200, "{answer}");
}

/// A rollout that begins, and is braked; then the program dies, and another one leads.
#[tokio::test(flavor = "multi_thread")]
async fn each_decision_is_an_event_of_its_channel_once() {
    let world = World::shop().await;
    let operator = world.operator().await;
    let phone = Phone::new(1);
    operator.offers(&phone, "1.1.0").await;
    await_reason(&world, "RolloutCompleted").await;

    let steps = "  rollout:\n    steps: [{ weight: 10%, soak: 1h }]\n";
    let text = format!("{}{steps}", channel("production", "1.2.0"));
    world.upstream.commit(Changes::new().file("channels/production.yaml", text));
    operator.hint().await;
    await_reason(&world, "RolloutStarted").await;
    operator.answers(&phone).await;
    let admin = "apiVersion: v1\nkind: ServiceAccount\nmetadata: { name: stopper }\n---\napiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: { name: stopper }\nroleRef: { apiGroup: \
                 rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin }\nsubjects: [{ kind: ServiceAccount, name: \
                 stopper, namespace: NAMESPACE }]\n";
    world.control_plane.apply_yaml_in(&world.namespace, &admin.replace("NAMESPACE", &world.namespace)).await;
    let token = world.control_plane.token_for(&world.namespace, "stopper", &["sluice"]).await;
    stop(&operator, &token).await;
    await_reason(&world, "RolloutBraked").await;

    let before = decided(&world).await;
    let reasons: Vec<(&str, &str)> = before.iter().map(|event| (&*event.0, &*event.1)).collect();
    assert_eq!(reasons[0], ("RolloutCompleted", "Normal"), "{before:?}");
    assert!(reasons.contains(&("RolloutStarted", "Normal")), "{before:?}");
    assert!(reasons.contains(&("RolloutBraked", "Warning")), "{before:?}");
    assert!(before.iter().all(|event| event.3 == 1), "{before:?}");
    let started = before.iter().find(|event| event.0 == "RolloutStarted").unwrap();
    assert!(started.2.contains("1.2.0") && started.2.contains("production"), "{started:?}");
    let text = format!("{before:?}");
    assert!(!text.contains(phone.body()["device_id"].as_str().unwrap()), "{text}");

    // Killed, so that it may have said what it does not remember; and what it remembers is of no other leader.
    operator.kill();
    let operator = world.operator().await;
    operator.leads().await;
    world.upstream.commit(
        with_release(Changes::new(), "1.3.0")
            .file("channels/production.yaml", channel("production", "1.3.0")),
    );
    operator.hint().await;
    operator.offers(&phone, "1.3.0").await;
    until(LIMIT, "an Event of 1.3.0", async || {
        let all = decided(&world).await;
        if all.iter().any(|event| event.2.contains("1.3.0")) { Ok(()) } else { Err(all) }
    })
    .await;
    let after = decided(&world).await;
    assert_eq!(after[..before.len()], before, "nothing is said again");
}

//! The cluster, its Secrets and its namespaces misbehave; devices do not notice.

use k8s_openapi::api::{
    core::v1::{Namespace, ResourceQuota, Secret},
    events::v1::Event,
};
use kube::{
    Api,
    api::{DeleteParams, ListParams, Patch, PatchParams},
};
use serde_json::json;
use sluice_crds::{Channel, Repository};
use sluice_repo::testing::Changes;

use crate::support::{
    APP, ControlPlane, LIMIT, Phone, World, channel, create, release, shop, until, with_release,
};

/// A control plane of its own, for tests that kill it.
async fn own() -> &'static ControlPlane {
    let control_plane: &'static ControlPlane = Box::leak(Box::new(ControlPlane::start().await));
    control_plane.install_crds().await;
    control_plane
}

/// One with the controllers of Kubernetes.
async fn with_controllers() -> &'static ControlPlane {
    static STARTED: tokio::sync::OnceCell<ControlPlane> = tokio::sync::OnceCell::const_new();
    STARTED
        .get_or_init(async || {
            let control_plane = ControlPlane::builder().with_controllers().start().await;
            control_plane.install_crds().await;
            control_plane
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_server_is_away_and_comes_back() {
    let control_plane = own().await;
    let world = World::on(control_plane).await;
    world.upstream.commit(shop());
    world.follow(json!({})).await;
    let operator = world.operator().await;
    let phone = Phone::new(1);
    operator.offers(&phone, "1.1.0").await;
    world.await_channel("shop-production", "Served").await;

    control_plane.kill_apiserver();
    until(LIMIT, "readyz says it", async || {
        let (ready, body) = operator.ready().await;
        let said = body["background"].as_array().is_some_and(|all| !all.is_empty());
        if ready && said { Ok(()) } else { Err(body) }
    })
    .await;
    // Devices are answered, and what they report is taken.
    assert_eq!(operator.answers(&phone).await["version"], "1.1.0");
    let (status, _) = operator.post("/stats", &phone.event("set", "1.1.0")).await;
    assert_eq!(status, 200);
    // A restart with the API server down serves what was published.
    operator.kill();
    let operator = world.operator().await;
    operator.offers(&phone, "1.1.0").await;
    world.move_to("1.2.0");
    control_plane.start_apiserver().await;
    operator.offers(&phone, "1.2.0").await;
    until(LIMIT, "status follows", async || {
        let status = world.api::<Channel>().get("shop-production").await.unwrap().status.unwrap();
        if status.release.as_deref() == Some("1.2.0") { Ok(()) } else { Err(status) }
    })
    .await;
    assert!(operator.metric("sluice_fleet_events_new_total").await >= 0.0);

    // etcd is killed in the middle of an apply.
    let mut many = Changes::new();
    for minor in 0..60 {
        many = with_release(many, &format!("2.{minor}.0"));
    }
    world.upstream.commit(many);
    operator.hint().await;
    control_plane.kill_etcd();
    assert_eq!(operator.answers(&phone).await["version"], "1.2.0");
    control_plane.start_etcd().await;
    world.await_release("shop-2.59.0", "Stored").await;
    world.await_release("shop-2.0.0", "Stored").await;
    assert_eq!(operator.answers(&phone).await["version"], "1.2.0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_that_is_deleted_goes_on_being_served() {
    let control_plane = with_controllers().await;
    let world = World::on(control_plane).await;
    let home = control_plane.namespace().await;
    world.upstream.commit(shop());
    world.follow(json!({})).await;
    let flags = ["--gateway", "--lease-namespace", home.as_str()];
    let operator = world.operator_as(control_plane.kubeconfig(), &flags).await;
    let phone = Phone::new(1);
    operator.offers(&phone, "1.1.0").await;
    let namespaces: Api<Namespace> = Api::all(control_plane.client());
    namespaces.delete(&world.namespace, &DeleteParams::default()).await.unwrap();
    until(LIMIT, "the namespace is gone", async || {
        namespaces.get_opt(&world.namespace).await.unwrap().is_none()
    })
    .await;
    until(LIMIT, "the operator knows", async || {
        operator.log().contains("what it published stays served").then_some(())
    })
    .await;
    assert_eq!(operator.answers(&phone).await["version"], "1.1.0");
    // A restart with nothing in the cluster: the same answer.
    assert!(operator.stop().await.success());
    let operator = world.operator_as(control_plane.kubeconfig(), &flags).await;
    operator.leads().await;
    assert_eq!(operator.offers(&phone, "1.1.0").await["version"], "1.1.0");
    // It is made again, and goes on where it was.
    create(&namespaces, json!({ "metadata": { "name": world.namespace } })).await;
    world.follow(json!({})).await;
    world.await_channel("shop-production", "Served").await;
    world.move_to("1.2.0");
    operator.hint().await;
    operator.offers(&phone, "1.2.0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_missing_malformed_and_rotated() {
    let world = World::empty().await;
    world.upstream.commit(shop());
    world.follow(json!({ "secretRef": { "name": "later" } })).await;
    let operator = world.operator().await;
    let missing = world.await_repository("CredentialsMissing").await;
    let text = serde_json::to_string(&missing.status).unwrap();
    assert!(text.contains("later") && text.contains("Stalled"), "{text}");
    world.secret("later", &json!({ "username": "robot" })).await;
    let repositories: Api<Repository> = world.api();
    let ask = async |value: &str| {
        let patch = json!({ "metadata": { "annotations": { "sluice.dev/requestedAt": value } } });
        repositories.patch("shop", &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
    };
    ask("1").await;
    world.await_repository("CredentialsInvalid").await;
    let data = json!({ "username": "robot", "password": "canary-wrong", "ca.crt": world.git.certificate });
    world.secret("later", &data).await;
    ask("2").await;
    world.await_repository("AuthenticationFailed").await;
    let right =
        json!({ "username": "robot", "password": "canary-password-1", "ca.crt": world.git.certificate });
    world.secret("later", &right).await;
    // Nobody asks: what the server refuses is read again by itself.
    world.await_repository("Applied").await;
    operator.offers(&Phone::new(1), "1.1.0").await;
    let secrets: Api<Secret> = world.api();
    secrets.delete("later", &DeleteParams::default()).await.unwrap();
    assert_eq!(operator.answers(&Phone::new(1)).await["version"], "1.1.0");
    let text = serde_json::to_string(&repositories.get("shop").await.unwrap()).unwrap();
    assert!(!text.contains("canary") && !operator.log().contains("canary"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_url_is_called_so_and_each_change_of_mind_is_an_event() {
    let world = World::shop().await;
    let operator = world.operator().await;
    world.await_repository("Applied").await;
    operator.offers(&Phone::new(1), "1.1.0").await;
    // Nothing is in the mirror of the new address: that is not what is wrong.
    world.follow(json!({ "url": "https://127.0.0.1:1/releases.git" })).await;
    world.await_repository("Unreachable").await;
    assert_eq!(operator.answers(&Phone::new(1)).await["version"], "1.1.0");
    world.follow(json!({})).await;
    world.await_repository("Applied").await;
    let events: Api<Event> = world.api();
    let reasons = until(LIMIT, "the Events of the Repository", async || {
        let events = events.list(&ListParams::default()).await.unwrap().items;
        let of_repository = events.into_iter().filter(|event| {
            event.regarding.as_ref().is_some_and(|object| object.kind.as_deref() == Some("Repository"))
        });
        let reasons: Vec<String> = of_repository.filter_map(|event| event.reason).collect();
        if reasons.iter().any(|reason| reason == "Unreachable") { Ok(reasons) } else { Err(reasons) }
    })
    .await;
    assert!(!reasons.contains(&"CommitUnreadable".to_owned()), "{reasons:?}");
    assert!(reasons.contains(&"Applied".to_owned()), "{reasons:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_and_a_policy_refuse_single_objects() {
    let world = World::shop().await;
    let operator = world.operator().await;
    operator.offers(&Phone::new(1), "1.1.0").await;
    let quotas: Api<ResourceQuota> = world.api();
    create(
        &quotas,
        json!({ "metadata": { "name": "few" }, "spec": { "hard": { "count/releases.sluice.dev": "2" } } }),
    )
    .await;
    // Counted as a controller would.
    let counted = json!({ "status": {
        "hard": { "count/releases.sluice.dev": "2" }, "used": { "count/releases.sluice.dev": "2" },
    } });
    quotas.patch_status("few", &PatchParams::default(), &Patch::Merge(&counted)).await.unwrap();
    let policy = format!("no-canary-{}", world.namespace);
    world
        .control_plane
        .apply_yaml(&format!(
            "apiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingAdmissionPolicy\nmetadata: {{ name: {policy} }}\n\
             spec:\n  matchConstraints:\n    resourceRules:\n    - {{ apiGroups: [sluice.dev], apiVersions: ['*'], \
             operations: [CREATE, UPDATE], resources: [channels] }}\n  validations:\n  - {{ expression: \
             \"object.spec.release != '1.2.0'\", message: 'not on a Friday' }}\n---\napiVersion: \
             admissionregistration.k8s.io/v1\nkind: ValidatingAdmissionPolicyBinding\nmetadata: {{ name: {policy} }}\n\
             spec:\n  policyName: {policy}\n  validationActions: [Deny]\n  matchResources:\n    namespaceSelector: {{ \
             matchLabels: {{ kubernetes.io/metadata.name: {} }} }}\n",
            world.namespace
        ))
        .await;
    // A policy works a moment after it is made.
    until(LIMIT, "the policy refuses", async || {
        let probe = channel("probe", "1.2.0");
        let tried = world.control_plane.try_apply_yaml_in(&world.namespace, &probe).await;
        let refused = tried.is_err();
        if !refused {
            world.api::<Channel>().delete("shop-probe", &DeleteParams::default()).await.unwrap();
        }
        refused
    })
    .await;
    world.upstream.commit(
        with_release(Changes::new(), "1.3.0")
            .file("channels/production.yaml", channel("production", "1.2.0")),
    );
    operator.hint().await;
    let repository = until(LIMIT, "both are said", async || {
        let text =
            serde_json::to_string(&world.api::<Repository>().get("shop").await.unwrap().status).unwrap();
        if text.contains("QuotaExceeded") && text.contains("ApplyRejected") { Ok(text) } else { Err(text) }
    })
    .await;
    assert!(repository.contains("not on a Friday"), "{repository}");
    assert_eq!(operator.answers(&Phone::new(1)).await["version"], "1.1.0", "what is refused is not served");
    // Once they are gone, nobody has to do anything.
    quotas.delete("few", &DeleteParams::default()).await.unwrap();
    world.await_release("shop-1.3.0", "Stored").await;
    assert_eq!(release("1.3.0").matches(APP).count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_changes_what_it_admits_is_not_fought_without_a_pause() {
    let flags = [
        "--feature-gates=MutatingAdmissionPolicy=true",
        "--runtime-config=admissionregistration.k8s.io/v1beta1=true",
    ];
    let mut builder = ControlPlane::builder();
    for flag in flags {
        builder = builder.apiserver_flag(flag);
    }
    let control_plane: &'static ControlPlane = Box::leak(Box::new(builder.start().await));
    control_plane.install_crds().await;
    let world = World::on(control_plane).await;
    world.upstream.commit(shop());
    let policy = format!("suspend-{}", world.namespace);
    control_plane
        .apply_yaml(&format!(
            "apiVersion: admissionregistration.k8s.io/v1beta1\nkind: MutatingAdmissionPolicy\nmetadata: {{ name: {policy} }}\n\
             spec:\n  failurePolicy: Fail\n  reinvocationPolicy: Never\n  matchConstraints:\n    resourceRules:\n    - apiGroups: \
             [sluice.dev]\n      apiVersions: [\"*\"]\n      operations: [CREATE, UPDATE]\n      resources: [channels]\n  \
             mutations:\n  - patchType: JSONPatch\n    jsonPatch:\n      expression: '[JSONPatch{{op: \"add\", path: \
             \"/spec/suspend\", value: true}}]'\n---\napiVersion: admissionregistration.k8s.io/v1beta1\nkind: \
             MutatingAdmissionPolicyBinding\nmetadata: {{ name: {policy} }}\nspec: {{ policyName: {policy} }}\n"
        ))
        .await;
    let channels: Api<Channel> = world.api();
    until(LIMIT, "the policy works", async || {
        control_plane.apply_yaml_in(&world.namespace, &channel("probe", "1.1.0")).await;
        let suspended = channels.get("shop-probe").await.unwrap().spec.suspend;
        channels.delete("shop-probe", &DeleteParams::default()).await.unwrap();
        suspended
    })
    .await;
    world.follow(json!({})).await;
    let operator = world.operator().await;
    until(LIMIT, "the fight is reported", async || {
        let repository = world.api::<Repository>().get("shop").await.unwrap();
        let text = serde_json::to_string(&repository.status).unwrap();
        if text.contains("FieldConflict") { Ok(()) } else { Err(text) }
    })
    .await;
    // What Git says is served, and nobody writes meanwhile.
    operator.offers(&Phone::new(1), "1.1.0").await;
    let applied = operator.log().matches(r#""written":1"#).count();
    assert!(applied < 20, "{applied} times");
}

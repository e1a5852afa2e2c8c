use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::api::{
    authentication::v1::{SelfSubjectReview, TokenReview, TokenReviewSpec},
    core::v1::{ConfigMap, Namespace, Secret},
};
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, ObjectMeta, PostParams},
};
use sluice_test_parts::{ControlPlane, until};
use tokio::time::timeout;

use crate::{LIMIT, NEVER};

const READER: &str = "
apiVersion: v1
kind: ServiceAccount
metadata: {name: reader}
---
# A document of comments alone is none.
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: reader}
rules: [{apiGroups: [''], resources: [configmaps], verbs: [list]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: reader}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader}
subjects: [{kind: ServiceAccount, name: reader}]
";

fn config_map(name: &str, value: &str) -> ConfigMap {
    ConfigMap {
        metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
        data: Some(BTreeMap::from([("key".to_owned(), value.to_owned())])),
        ..ConfigMap::default()
    }
}

async fn whoami(client: Client) -> String {
    let review =
        Api::all(client).create(&PostParams::default(), &SelfSubjectReview::default()).await.unwrap();
    review.status.unwrap().user_info.unwrap().username.unwrap()
}

#[tokio::test]
async fn a_service_account_has_the_rights_that_it_was_given() {
    let control_plane = ControlPlane::shared().await;
    let namespace = control_plane.namespace().await;
    control_plane.apply_yaml_in(&namespace, READER).await;
    let kubeconfig = control_plane.kubeconfig_for(&namespace, "reader").await;
    let client = control_plane.client_of(&kubeconfig).await;

    assert_eq!(client.default_namespace(), namespace);
    assert_eq!(whoami(client.clone()).await, format!("system:serviceaccount:{namespace}:reader"));
    // The server's own view of roles follows what was applied by a moment.
    until(LIMIT, "the role counts", async || {
        Api::<ConfigMap>::default_namespaced(client.clone()).list(&ListParams::default()).await
    })
    .await;
    let refused = Api::<Secret>::default_namespaced(client).list(&ListParams::default()).await.unwrap_err();
    assert!(refused.to_string().contains("forbidden"), "{refused}");
}

#[tokio::test]
async fn a_token_for_another_audience_is_for_nobody_else() {
    let control_plane = ControlPlane::shared().await;
    let namespace = control_plane.namespace().await;
    control_plane.apply_yaml_in(&namespace, READER).await;
    let token = control_plane.token_for(&namespace, "reader", &["sluice"]).await;
    let review = async |audience: &str| {
        let spec = TokenReviewSpec { token: Some(token.clone()), audiences: Some(vec![audience.to_owned()]) };
        let review = TokenReview { spec, ..TokenReview::default() };
        let answer = Api::all(control_plane.client()).create(&PostParams::default(), &review).await.unwrap();
        answer.status.unwrap().authenticated.unwrap_or_default()
    };
    assert!(review("sluice").await);
    assert!(!review("https://kubernetes.default.svc").await);
}

#[tokio::test]
async fn every_namespace_is_new() {
    let control_plane = ControlPlane::shared().await;
    assert_ne!(control_plane.namespace().await, control_plane.namespace().await);
}

#[tokio::test]
async fn what_is_refused_is_said() {
    let control_plane = ControlPlane::shared().await;
    let namespace = control_plane.namespace().await;
    let wrong = "{apiVersion: v1, kind: ConfigMap, metadata: {name: Not_A_Name}}";
    let error = control_plane.try_apply_yaml_in(&namespace, wrong).await.unwrap_err();
    assert!(error.to_string().contains("Not_A_Name"), "{error}");
}

#[tokio::test]
async fn servers_come_back_with_what_they_had() {
    let control_plane = ControlPlane::start().await;
    let namespace = control_plane.namespace().await;
    let config_maps = Api::<ConfigMap>::namespaced(control_plane.client(), &namespace);
    config_maps.create(&PostParams::default(), &config_map("kept", "1")).await.unwrap();
    let kept = async || config_maps.get("kept").await.map(|map| map.data.unwrap()["key"].clone());

    control_plane.kill_etcd();
    let write = timeout(NEVER, config_maps.create(&PostParams::default(), &config_map("lost", "1"))).await;
    assert!(!matches!(write, Ok(Ok(_))), "{write:?}");
    control_plane.start_etcd().await;
    assert_eq!(until(LIMIT, "etcd is back", kept).await, "1");

    control_plane.kill_apiserver();
    config_maps.get("kept").await.unwrap_err();
    control_plane.start_apiserver().await;
    assert_eq!(kept().await.unwrap(), "1");

    control_plane.pause_apiserver();
    assert!(timeout(NEVER, kept()).await.is_err(), "a paused server answered");
    control_plane.resume_apiserver();
    assert_eq!(until(LIMIT, "the server goes on", kept).await, "1");
}

#[tokio::test]
async fn the_audit_log_says_who_asked_what() {
    let control_plane = ControlPlane::builder().with_audit().start().await;
    let namespace = control_plane.namespace().await;
    control_plane.apply_yaml_in(&namespace, READER).await;
    let kubeconfig = control_plane.kubeconfig_for(&namespace, "reader").await;
    let client = control_plane.client_of(&kubeconfig).await;
    Api::<Secret>::default_namespaced(client).get_status("absent").await.unwrap_err();

    let user = format!("system:serviceaccount:{namespace}:reader");
    let entry = until(LIMIT, "the request is in the log", async || {
        control_plane.audit().into_iter().find(|entry| entry.user == user)
    })
    .await;
    let asked = [entry.verb, entry.group, entry.resource, entry.subresource, entry.namespace, entry.name];
    assert_eq!(asked, ["get", "", "secrets", "status", &*namespace, "absent"]);
    assert_eq!((entry.code, entry.open), (403, false));
}

#[tokio::test]
async fn controllers_empty_and_remove_a_deleted_namespace() {
    let control_plane = ControlPlane::builder().with_controllers().start().await;
    let namespace = control_plane.namespace().await;
    let client = control_plane.client();
    let config_maps = Api::<ConfigMap>::namespaced(client.clone(), &namespace);
    config_maps.create(&PostParams::default(), &config_map("gone", "1")).await.unwrap();
    let namespaces = Api::<Namespace>::all(client);
    namespaces.delete(&namespace, &DeleteParams::default()).await.unwrap();
    until(LIMIT, "the namespace is gone", async || {
        namespaces.get_opt(&namespace).await.unwrap().map_or(Ok(()), |found| Err(found.status))
    })
    .await;
}

#[tokio::test]
async fn a_flag_reaches_the_server() {
    let control_plane = ControlPlane::builder().apiserver_flag("--anonymous-auth=false").start().await;
    let anonymous = reqwest::Client::builder()
        .tls_certs_only([reqwest::Certificate::from_pem(control_plane.ca_pem().as_bytes()).unwrap()])
        .build()
        .unwrap();
    let answer = anonymous
        .get(format!("{}/version", control_plane.url()))
        .timeout(Duration::from_secs(30))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 401);
}

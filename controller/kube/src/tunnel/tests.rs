//! Against a real API server, with the end of a kubelet behind it.

use axum::{Router, http::HeaderMap, routing::get};
use kube::api::{Patch, PatchParams};
use secrecy::ExposeSecret as _;
use serde_json::json;
use sluice_test_parts::{ControlPlane, Kubelet};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::review::{Act, Reviewer, Verdict};

/// Somebody who may use the operator's admin address, and somebody who may only see its pods.
const PEOPLE: &str = r#"
apiVersion: v1
kind: ServiceAccount
metadata: { name: sluice-reader }
---
apiVersion: v1
kind: ServiceAccount
metadata: { name: person }
---
apiVersion: v1
kind: ServiceAccount
metadata: { name: onlooker }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: { name: person }
rules:
- { apiGroups: [""], resources: [pods], verbs: [list] }
- { apiGroups: [""], resources: [pods/portforward], verbs: [get, create] }
- { apiGroups: [""], resources: [serviceaccounts/token], resourceNames: [sluice-reader], verbs: [create] }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: { name: person }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: Role, name: person }
subjects: [{ kind: ServiceAccount, name: person }]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: { name: onlooker }
rules:
- { apiGroups: [""], resources: [pods], verbs: [list] }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: { name: onlooker }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: Role, name: onlooker }
subjects: [{ kind: ServiceAccount, name: onlooker }]
"#;

const OPERATOR: [(&str, &str); 2] =
    [("app.kubernetes.io/name", "sluice"), ("app.kubernetes.io/component", "operator")];

const POD: &str = r"
apiVersion: v1
kind: Pod
metadata:
  name: sluice-0
  labels: { app.kubernetes.io/name: sluice, app.kubernetes.io/component: operator }
spec:
  containers: [{ name: sluice, image: sluice }]
";

async fn place(plane: &ControlPlane, namespace: &str, person: &str) -> Place {
    Place {
        kubeconfig: Some(plane.kubeconfig_for(namespace, person).await),
        context: None,
        namespace: namespace.into(),
        service_account: "sluice-reader".into(),
    }
}

async fn set_ready(plane: &ControlPlane, namespace: &str) {
    let status =
        json!({ "status": { "phase": "Running", "conditions": [{ "type": "Ready", "status": "True" }] } });
    let pods = Api::<Pod>::namespaced(plane.client(), namespace);
    pods.patch_status("sluice-0", &PatchParams::default(), &Patch::Merge(&status)).await.unwrap();
}

async fn says(place: &Place, words: &[&str]) {
    let error = open(place).await.unwrap_err().to_string();
    for word in words {
        assert!(error.contains(word), "`{word}` is not in: {error}");
    }
}

#[tokio::test]
async fn every_step_says_what_is_missing() {
    let plane = ControlPlane::shared().await;
    let namespace = plane.namespace().await;
    plane.apply_yaml_in(&namespace, PEOPLE).await;
    let person = place(plane, &namespace, "person").await;
    says(&person, &["no operator in namespace", &namespace, "--namespace"]).await;
    let elsewhere = Place { namespace: "elsewhere".into(), ..person.clone() };
    says(&elsewhere, &["may not list pods in namespace elsewhere", "cannot list resource"]).await;

    plane.apply_yaml_in(&namespace, POD).await;
    says(&person, &["no operator pod", "sluice-0 (Pending)"]).await;
    set_ready(plane, &namespace).await;

    let onlooker = place(plane, &namespace, "onlooker").await;
    says(&onlooker, &["may not create serviceaccounts/token of sluice-reader"]).await;
    let admin = Place {
        kubeconfig: Some(plane.kubeconfig().to_owned()),
        service_account: "nobody".into(),
        ..person.clone()
    };
    says(&admin, &["no ServiceAccount nobody", "--service-account"]).await;
    // The pod has no node: the API server says so itself.
    says(&person, &["no port-forward to pod sluice-0"]).await;
    let other = Place { context: Some("nowhere".into()), ..person.clone() };
    says(&other, &["nowhere", "--context"]).await;
    let nothing = Place { kubeconfig: Some("/nonexistent".into()), ..person };
    says(&nothing, &["/nonexistent", "--kubeconfig"]).await;
}

#[tokio::test]
async fn a_request_goes_through_the_api_server_with_a_token_for_us() {
    let plane = ControlPlane::shared().await;
    let namespace = plane.namespace().await;
    plane.apply_yaml_in(&namespace, PEOPLE).await;
    let admin = Router::new().route(
        "/api/v1/status",
        get(|headers: HeaderMap| async move { headers["authorization"].to_str().unwrap().to_owned() }),
    );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, admin).await });
    let kubelet = Kubelet::forwarding(8081, Some(target)).await;
    kubelet.ready_pod(plane, &namespace, "sluice-0", &OPERATOR).await;

    let mut tunnel = open(&place(plane, &namespace, "person").await).await.unwrap();
    assert_eq!(tunnel.pod, "sluice-0");
    let token = tunnel.token.expose_secret().to_owned();
    assert!(!format!("{tunnel:?}").contains(&token));
    let request = format!(
        "GET /api/v1/status HTTP/1.1\r\nhost: sluice\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\r\n"
    );
    tunnel.stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    tunnel.stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.ends_with(&format!("Bearer {token}")), "{answer}");
    // It is a token that the admin side knows, of somebody who was given no right yet.
    let user = format!("system:serviceaccount:{namespace}:sluice-reader");
    assert_eq!(Reviewer::new(plane.client()).review(&token, &Act::Read).await, Verdict::Forbidden { user });
}

#[tokio::test]
async fn of_several_pods_the_leader_is_reached() {
    let plane = ControlPlane::shared().await;
    let namespace = plane.namespace().await;
    plane.apply_yaml_in(&namespace, PEOPLE).await;
    let kubelet = Kubelet::forwarding(8081, None).await;
    for name in ["sluice-0", "sluice-1"] {
        kubelet.ready_pod(plane, &namespace, name, &OPERATOR).await;
    }
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": { "name": "sluice" },
        "spec": { "holderIdentity": "sluice-1_1" },
    });
    plane.apply_yaml_in(&namespace, &lease.to_string()).await;
    let person = place(plane, &namespace, "person").await;
    assert_eq!(open(&person).await.unwrap().pod, "sluice-0", "the lease is not theirs to read");
    let right = r"
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: { name: leader }
rules:
- { apiGroups: [coordination.k8s.io], resources: [leases], resourceNames: [sluice], verbs: [get] }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: { name: leader }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: Role, name: leader }
subjects: [{ kind: ServiceAccount, name: person }]
";
    plane.apply_yaml_in(&namespace, right).await;
    // A right is known to the API server a moment after it was given.
    let limit = std::time::Duration::from_secs(10);
    sluice_test_parts::until(limit, "the leader is reached", async || {
        let pod = open(&person).await.unwrap().pod;
        if pod == "sluice-1" { Ok(()) } else { Err(pod) }
    })
    .await;
}

#[tokio::test]
async fn a_pod_where_nothing_listens_says_so() {
    let plane = ControlPlane::shared().await;
    let namespace = plane.namespace().await;
    plane.apply_yaml_in(&namespace, PEOPLE).await;
    let kubelet = Kubelet::forwarding(8081, None).await;
    kubelet.ready_pod(plane, &namespace, "sluice-0", &OPERATOR).await;
    let tunnel = open(&place(plane, &namespace, "person").await).await.unwrap();
    assert_eq!(tunnel.failure.await.as_deref(), Some("connection refused inside the pod"));
}

#[tokio::test]
async fn a_node_that_is_away_is_an_error_of_the_port_forward() {
    let plane = ControlPlane::shared().await;
    let namespace = plane.namespace().await;
    plane.apply_yaml_in(&namespace, PEOPLE).await;
    let kubelet = Kubelet::forwarding(8081, None).await;
    kubelet.ready_pod(plane, &namespace, "sluice-0", &OPERATOR).await;
    kubelet.stop().await;
    says(
        &place(plane, &namespace, "person").await,
        &["no port-forward to pod sluice-0", "error dialing backend"],
    )
    .await;
}

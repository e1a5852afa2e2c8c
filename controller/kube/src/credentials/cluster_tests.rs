//! Against a real API server.

use sluice_test_parts::{ControlPlane, Proxy};

use super::*;

const RIGHTS: &str = r#"
apiVersion: v1
kind: ServiceAccount
metadata: { name: operator }
---
apiVersion: v1
kind: ServiceAccount
metadata: { name: stranger }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: { name: operator }
rules:
- { apiGroups: [""], resources: [secrets], verbs: [get] }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: { name: operator }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: Role, name: operator }
subjects: [{ kind: ServiceAccount, name: operator }]
"#;

fn secret(token: &str) -> String {
    format!("apiVersion: v1\nkind: Secret\nmetadata: {{ name: git }}\nstringData: {{ token: {token} }}\n")
}

async fn world() -> (&'static ControlPlane, String, Client) {
    let plane = ControlPlane::shared().await;
    let namespace = plane.namespace().await;
    plane.apply_yaml_in(&namespace, RIGHTS).await;
    let kubeconfig = plane.kubeconfig_for(&namespace, "operator").await;
    (plane, namespace, plane.client_of(&kubeconfig).await)
}

#[tokio::test]
async fn a_change_of_a_secret_is_seen() {
    let (plane, namespace, client) = world().await;
    plane.apply_yaml_in(&namespace, &secret("canary-1")).await;
    let first = load(&client, &namespace, "git").await.unwrap();
    assert_eq!(first, load(&client, &namespace, "git").await.unwrap());
    assert!(!format!("{first:?}").contains("canary"));
    assert!(!first.resource_version().is_empty());
    plane.apply_yaml_in(&namespace, &secret("canary-2")).await;
    let second = load(&client, &namespace, "git").await.unwrap();
    assert_ne!(first, second);
    let access = second.repository().unwrap();
    assert!(matches!(access.access.credentials, sluice_repo::Credentials::Token(_)));
    assert_eq!(second.webhook().unwrap().len(), 1);
}

#[tokio::test]
async fn what_is_not_given_has_its_reason() {
    let (plane, namespace, client) = world().await;
    plane.apply_yaml_in(&namespace, &secret("canary")).await;
    let reason = async |client: &Client, namespace: &str, name: &str| {
        let error = load(client, namespace, name).await.unwrap_err();
        assert!(error.to_string().contains(&format!("{namespace}/{name}")), "{error}");
        error.reason()
    };
    assert_eq!(reason(&client, &namespace, "elsewhere").await, "CredentialsMissing");
    let other = plane.namespace().await;
    assert_eq!(reason(&client, &other, "git").await, "CredentialsForbidden", "the role is of one namespace");
    let stranger = plane.kubeconfig_for(&namespace, "stranger").await;
    let stranger = plane.client_of(&stranger).await;
    assert_eq!(reason(&stranger, &namespace, "git").await, "CredentialsForbidden");

    let proxy = Proxy::to(plane.address()).await;
    let kubeconfig = plane.kubeconfig_for(&namespace, "operator").await;
    let client = plane.client_of(&plane.kubeconfig_via(&proxy, &kubeconfig)).await;
    proxy.refuse().await;
    assert_eq!(reason(&client, &namespace, "git").await, "CredentialsUnavailable");
}

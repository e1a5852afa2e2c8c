//! Against a real API server. There is no kubelet: a port-forward ends where the API server looks for one.

use k8s_openapi::api::core::v1::Node;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use sluice_test_parts::ControlPlane;

use super::*;

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

const POD: &str = r#"
apiVersion: v1
kind: Pod
metadata:
  name: sluice-0
  labels: { app.kubernetes.io/name: sluice, app.kubernetes.io/component: operator }
spec:
  NODE
  containers: [{ name: sluice, image: sluice, ports: [{ name: admin, containerPort: 8081 }] }]
"#;

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

    plane.apply_yaml_in(&namespace, &POD.replace("NODE", "")).await;
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

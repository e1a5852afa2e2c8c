//! The life of an installation: installed, upgraded, rolled back, removed, and installed again.

use std::{fs, process::Command};

use serde_json::{Value, json};
use sluice_test_parts::{ControlPlane, helm, kubectl};
use tempfile::TempDir;

use crate::support::{at, cluster_with_controllers, run, try_run};

/// The chart as it was a version ago.
fn previous(folder: &TempDir) -> std::path::PathBuf {
    let copy = folder.path().join("sluice");
    run(Command::new("cp").arg("--recursive").arg(at("charts/sluice")).arg(&copy));
    let description = fs::read_to_string(copy.join("Chart.yaml")).unwrap();
    let earlier: String = description
        .lines()
        .map(|line| match line.split_once(": ") {
            Some((key @ ("version" | "appVersion"), _)) => format!("{key}: 0.0.9\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    fs::write(copy.join("Chart.yaml"), earlier).unwrap();
    copy
}

/// One field of an object.
fn field(cluster: &ControlPlane, namespace: &str, object: &str, path: &str) -> String {
    let path = format!("jsonpath={path}");
    run(kubectl(cluster).args(["get", object, "--namespace", namespace, "--output", &path]))
}

fn revisions(cluster: &ControlPlane, namespace: &str) -> Vec<String> {
    let history = run(helm(cluster).args(["history", "sluice", "--namespace", namespace, "--output=json"]));
    let history: Vec<Value> = serde_json::from_str(&history).unwrap();
    history
        .iter()
        .map(|revision| format!("{} {}", revision["chart"], revision["status"]).replace('"', ""))
        .collect()
}

#[tokio::test]
async fn data_and_definitions_outlive_upgrade_rollback_and_removal() {
    let cluster = cluster_with_controllers().await;
    let namespace = cluster.namespace().await;
    let in_namespace = ["--namespace", namespace.as_str()];
    let folder = TempDir::new().unwrap();
    let values = ["--set", "admissionPolicy.enabled=true"];
    let image = "{.spec.template.spec.containers[0].image}";
    let claim = || field(cluster, &namespace, "persistentvolumeclaim/sluice-data", "{.metadata.uid}");
    let definition = || field(cluster, &namespace, "crd/repositories.sluice.dev", "{.metadata.uid}");

    let notes = run(helm(cluster)
        .arg("install")
        .arg("sluice")
        .arg(previous(&folder))
        .args(in_namespace)
        .args(values));
    assert!(notes.contains("Point it at a Git repository"), "{notes}");
    assert!(field(cluster, &namespace, "deployment/sluice", image).ends_with(":0.0.9"));
    let (claim_at_first, definition_at_first) = (claim(), definition());

    run(helm(cluster).args(["upgrade", "sluice"]).arg(at("charts/sluice")).args(in_namespace).args(values));
    assert!(field(cluster, &namespace, "deployment/sluice", image).ends_with(":0.1.0"));
    let written_since = json!({
        "apiVersion": "sluice.dev/v1alpha1", "kind": "Repository", "metadata": {"name": "shop"},
        "spec": {
            "url": "https://git.example.org/shop.git", "apps": ["com.example.shop"], "write": {"mode": "Off"},
        },
    });
    cluster.apply_yaml_in(&namespace, &written_since.to_string()).await;

    run(helm(cluster).args(["rollback", "sluice", "1"]).args(in_namespace));
    assert!(field(cluster, &namespace, "deployment/sluice", image).ends_with(":0.0.9"));
    assert_eq!(
        revisions(cluster, &namespace),
        ["sluice-0.0.9 superseded", "sluice-0.1.0 superseded", "sluice-0.0.9 deployed"]
    );
    let repository = || field(cluster, &namespace, "repositories.sluice.dev/shop", "{.spec.url}");
    assert_eq!(repository(), "https://git.example.org/shop.git");
    assert_eq!((claim(), definition()), (claim_at_first.clone(), definition_at_first.clone()));

    let said = run(helm(cluster).args(["uninstall", "sluice", "--wait"]).args(in_namespace));
    for kept in ["[PersistentVolumeClaim] sluice-data", "[CustomResourceDefinition] channels.sluice.dev"] {
        assert!(said.contains(kept), "{said}");
    }
    assert_eq!((claim(), definition()), (claim_at_first.clone(), definition_at_first.clone()));
    assert_eq!(repository(), "https://git.example.org/shop.git");
    let policy = format!("validatingadmissionpolicy/sluice.{namespace}");
    for gone in ["deployment/sluice", "serviceaccount/sluice", "service/sluice", &policy] {
        let missing = try_run(kubectl(cluster).args(["get", gone]).args(in_namespace)).unwrap_err();
        assert!(missing.contains("NotFound"), "{missing}");
    }

    // The same release takes up what was kept.
    run(helm(cluster).args(["install", "sluice"]).arg(at("charts/sluice")).args(in_namespace));
    assert_eq!((claim(), definition()), (claim_at_first, definition_at_first));
    assert_eq!(repository(), "https://git.example.org/shop.git");
    run(helm(cluster).args(["uninstall", "sluice", "--wait"]).args(in_namespace));
}

/// What somebody may install who has rights in three namespaces and none in the cluster.
#[tokio::test]
async fn namespaced_mode_needs_no_right_on_the_cluster() {
    let cluster = crate::support::cluster().await;
    let own = cluster.namespace().await;
    let teams = [cluster.namespace().await, cluster.namespace().await];
    for namespace in [&own, &teams[0], &teams[1]] {
        let account = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "owner"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
            "subjects": [{"kind": "ServiceAccount", "name": "owner", "namespace": own}],
        });
        cluster.apply_yaml_in(namespace, &account.to_string()).await;
    }
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "owner"}});
    cluster.apply_yaml_in(&own, &account.to_string()).await;
    let kubeconfig = cluster.kubeconfig_for(&own, "owner").await;

    let mut install = helm(cluster);
    install
        .env("KUBECONFIG", &kubeconfig)
        .args(["install", "sluice", "--namespace", &own])
        .arg(at("charts/sluice"));
    install.arg("--values").arg(crate::support::fixture("namespaced.yaml"));
    run(install.args(["--set", &format!("namespaces={{{},{}}}", teams[0], teams[1])]));

    let operator = format!("system:serviceaccount:{own}:sluice");
    let may = |namespace: &str, verb: &str, resource: &str| {
        let question = ["auth", "can-i", verb, resource, "--as", &operator, "--namespace", namespace];
        try_run(kubectl(cluster).args(question)).is_ok()
    };
    assert!(may(&teams[0], "patch", "channels.sluice.dev") && may(&teams[1], "get", "secrets"));
    assert!(!may(&own, "patch", "channels.sluice.dev") && !may(&own, "get", "secrets"));
    assert!(!may(&teams[0], "list", "secrets"));
    assert!(may(&own, "update", "leases.coordination.k8s.io/sluice"));
    assert!(!may(&own, "update", "leases.coordination.k8s.io/other"));
    assert!(!may(&teams[0], "update", "leases.coordination.k8s.io/sluice"));

    // With the definitions in the cluster and the same rights, `crds.enabled` is what fails, and says so.
    let mut upgrade = helm(cluster);
    upgrade
        .env("KUBECONFIG", &kubeconfig)
        .args(["upgrade", "sluice", "--namespace", &own])
        .arg(at("charts/sluice"));
    let refused = try_run(upgrade.args(["--reuse-values", "--set", "crds.enabled=true"])).unwrap_err();
    assert!(refused.contains("customresourcedefinitions"), "{refused}");
}

//! What the cluster's roles view, edit and admin may do with the kinds of the project.

use std::time::Duration;

use serde_json::json;
use sluice_test_parts::{kubectl, until};

use crate::support::{Values, cluster_with_controllers, documents, render_in, try_run};

#[tokio::test]
async fn view_edit_and_admin_have_what_they_should() {
    let cluster = cluster_with_controllers().await;
    let namespace = cluster.namespace().await;
    let objects = documents(&render_in(&namespace, &Values::new()));
    let aggregated: Vec<_> = objects
        .iter()
        .filter(|object| {
            object["metadata"]["labels"]["rbac.authorization.k8s.io/aggregate-to-admin"] == "true"
        })
        .collect();
    assert_eq!(aggregated.len(), 3);
    for role in aggregated {
        cluster.apply_yaml(&role.to_string()).await;
    }
    for role in ["view", "edit", "admin"] {
        let binding = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
            "metadata": {"name": role},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": format!("{role}-user")}],
        });
        cluster.apply_yaml_in(&namespace, &binding.to_string()).await;
    }
    let ask = |role: &str, verb: &str, resource: &str, more: &[&str]| {
        let (user, resource) = (format!("{role}-user"), format!("{resource}.sluice.dev"));
        let question = ["auth", "can-i", verb, &resource, "--as", &user, "--namespace", &namespace];
        try_run(kubectl(cluster).args(question).args(more)).is_ok()
    };
    let may = |role: &str, verb: &str, resource: &str| ask(role, verb, resource, &[]);
    // Aggregation is the work of a controller.
    until(Duration::from_mins(1), "the roles are aggregated", async || {
        may("view", "get", "channels")
            && may("edit", "create", "channels")
            && may("admin", "create", "rollbacks")
    })
    .await;

    for resource in ["repositories", "releases", "channels", "rollbacks"] {
        for role in ["view", "edit", "admin"] {
            for verb in ["get", "list", "watch"] {
                assert!(may(role, verb, resource), "{role} may not {verb} {resource}");
            }
        }
        for verb in ["create", "update", "patch", "delete", "deletecollection"] {
            let of_git = ["releases", "channels"].contains(&resource);
            assert!(!may("view", verb, resource), "view may {verb} {resource}");
            assert_eq!(may("edit", verb, resource), of_git, "edit, {verb} {resource}");
            assert!(may("admin", verb, resource), "admin may not {verb} {resource}");
        }
        let status = ask("admin", "patch", resource, &["--subresource=status"]);
        assert!(!status, "the status of {resource} is the operator's");
    }
}

//! What Git manages is changed by the operator alone.

use serde_json::json;
use sluice_test_parts::{ControlPlane, kubectl, until};

use crate::support::{Values, cluster, documents, of_kind, render_in, try_feed, try_run};

/// Longest wait for anything; it only matters when a test is about to fail.
const LIMIT: std::time::Duration = std::time::Duration::from_mins(1);

/// A namespace with the policy, and one channel that the operator applied.
struct World {
    cluster: &'static ControlPlane,
    namespace: String,
}

impl World {
    async fn new() -> Self {
        let cluster = cluster().await;
        let namespace = cluster.namespace().await;
        let values = Values::new()
            .set("admissionPolicy.enabled=true")
            .set("admissionPolicy.exemptUsers={break-glass}")
            .set("admissionPolicy.exemptGroups={incident-managers}")
            // Other tests' objects are left alone.
            .set(&format!("namespaces={{{namespace}}}"));
        let objects = documents(&render_in(&namespace, &values));
        for kind in ["ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"] {
            for object in of_kind(&objects, kind) {
                cluster.apply_yaml(&object.to_string()).await;
            }
        }
        let world = Self { cluster, namespace };
        // A policy is in force a moment after it is accepted.
        until(LIMIT, "the policy is in force", async || {
            world.apply("probe", None, &["--dry-run=server"]).is_err()
        })
        .await;
        world.apply("shop-production", Some(&world.operator()), &[]).unwrap();
        world
    }

    fn operator(&self) -> String {
        format!("system:serviceaccount:{}:sluice", self.namespace)
    }

    /// Applies a channel that says that it comes from Git, as the administrator or as somebody else with all rights.
    fn apply(&self, name: &str, user: Option<&str>, more: &[&str]) -> Result<String, String> {
        let channel = json!({
            "apiVersion": "sluice.dev/v1alpha1", "kind": "Channel",
            "metadata": {
                "name": name, "namespace": self.namespace,
                "labels": {"app.kubernetes.io/managed-by": "sluice", "sluice.dev/repository": "shop"},
                "annotations": {"sluice.dev/path": "channels/production.yaml"},
            },
            "spec": {"app": "com.example.shop", "release": "1.1.0"},
        });
        let mut kubectl = self.kubectl(user);
        kubectl.args(["apply", "--server-side", "--field-manager=sluice", "--filename=-"]).args(more);
        try_feed(&mut kubectl, &channel.to_string())
    }

    fn kubectl(&self, user: Option<&str>) -> std::process::Command {
        let mut kubectl = kubectl(self.cluster);
        kubectl.args(["--namespace", &self.namespace]);
        if let Some(user) = user {
            kubectl.args(["--as", user, "--as-group=system:masters"]);
        }
        kubectl
    }

    /// What comes of one command about the channel.
    fn tries(&self, user: Option<&str>, arguments: &[&str]) -> Result<String, String> {
        try_run(self.kubectl(user).args(arguments))
    }

    fn changes_spec(&self, user: Option<&str>, release: &str) -> Result<String, String> {
        let patch = json!({"spec": {"release": release}}).to_string();
        self.tries(user, &["patch", "channels.sluice.dev/shop-production", "--type=merge", "--patch", &patch])
    }
}

#[tokio::test]
async fn nobody_else_changes_what_git_manages_and_is_told_where_to_change_it() {
    let world = World::new().await;
    let advice = format!(
        "Channel shop-production is managed by Git: change channels/production.yaml in the repository of Repository {}/shop",
        world.namespace
    );
    let channel = "channels.sluice.dev/shop-production";
    let refused = [
        world.changes_spec(None, "2.0.0"),
        world.changes_spec(Some("alice"), "2.0.0"),
        world.tries(None, &["label", channel, "sluice.dev/repository-"]),
        world.tries(None, &["label", "--overwrite", channel, "sluice.dev/repository=other"]),
        world.tries(None, &["annotate", "--overwrite", channel, "sluice.dev/path=elsewhere.yaml"]),
        world.tries(None, &["delete", channel, "--wait=false"]),
        world.tries(None, &["delete", "channels.sluice.dev", "--all", "--wait=false"]),
        world
            .tries(Some(&format!("system:serviceaccount:{}:default", world.namespace)), &["delete", channel]),
    ];
    for refused in refused {
        let said = refused.unwrap_err();
        assert!(said.contains(&advice), "{said}");
    }
    let said = world.apply("shop-beta", Some("alice"), &[]).unwrap_err();
    assert!(said.contains("Channel shop-beta is managed by Git"), "{said}");
}

#[tokio::test]
async fn what_is_no_change_of_what_git_says_is_let_through() {
    let world = World::new().await;
    let channel = "channels.sluice.dev/shop-production";
    world.tries(Some("alice"), &["annotate", channel, "sluice.dev/requestedAt=now"]).unwrap();
    world.tries(Some("alice"), &["label", channel, "team=shop"]).unwrap();
    let status = json!({"status": {"observedGeneration": 1}}).to_string();
    let patch = ["patch", channel, "--subresource=status", "--type=merge", "--patch", &status];
    world.tries(Some("alice"), &patch).unwrap();

    // A channel that does not come from Git is anybody's.
    let own = json!({
        "apiVersion": "sluice.dev/v1alpha1", "kind": "Channel",
        "metadata": {"name": "own", "namespace": world.namespace},
        "spec": {"app": "com.example.own", "release": "1.0.0"},
    });
    let mut kubectl = world.kubectl(Some("alice"));
    try_feed(kubectl.args(["create", "--filename=-"]), &own.to_string()).unwrap();
    world.tries(Some("alice"), &["delete", "channels.sluice.dev/own"]).unwrap();
}

#[tokio::test]
async fn the_operator_break_glass_and_the_cleaners_may() {
    let world = World::new().await;
    let operator = world.operator();
    world.changes_spec(Some(&operator), "1.2.0").unwrap();
    world.changes_spec(Some("break-glass"), "1.3.0").unwrap();
    world
        .tries(
            Some("bob"),
            &[
                "--as-group=incident-managers",
                "patch",
                "channels.sluice.dev/shop-production",
                "--type=merge",
                "--patch",
                r#"{"spec":{"release":"1.4.0"}}"#,
            ],
        )
        .unwrap();
    let channel = ["delete", "channels.sluice.dev/shop-production"];
    let cleaner = "system:serviceaccount:kube-system:namespace-controller";
    world.changes_spec(Some(cleaner), "2.0.0").expect_err("cleaning up is deleting");
    world.tries(Some(cleaner), &channel).unwrap();
    world.apply("shop-production", Some(&operator), &[]).unwrap();
    world.tries(Some(&operator), &channel).unwrap();
}

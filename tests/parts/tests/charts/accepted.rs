//! Every manifest is accepted by a real API server, and every pod by its strictest Pod Security level.

use serde_json::{Value, json};
use sluice_test_parts::{ControlPlane, kubectl};

use crate::{
    rendered::pods,
    support::{NAMESPACE, Values, cluster, documents, render_in, sets, try_feed, try_render_in},
};

/// A namespace that admits only pods of the level `restricted`.
async fn restricted(cluster: &ControlPlane) -> String {
    let namespace = cluster.namespace().await;
    let label = "pod-security.kubernetes.io/enforce=restricted";
    crate::support::run(kubectl(cluster).args(["label", "namespace", &namespace, label]));
    namespace
}

/// What the server says to these objects, without keeping them.
fn dry_run(cluster: &ControlPlane, text: &str) -> Result<String, String> {
    let mut kubectl = kubectl(cluster);
    kubectl.args(["apply", "--server-side", "--force-conflicts", "--field-manager=charts"]);
    try_feed(kubectl.args(["--dry-run=server", "--filename=-"]), text)
}

#[tokio::test]
async fn the_api_server_accepts_every_manifest() {
    let cluster = cluster().await;
    for team in ["team-a", "team-b"] {
        cluster
            .apply_yaml(
                &json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": team}}).to_string(),
            )
            .await;
    }
    for (set, values) in sets() {
        let namespace = restricted(cluster).await;
        let text = render_in(&namespace, &values);
        let said = dry_run(cluster, &text).unwrap_or_else(|error| panic!("{set}: {error}"));
        let accepted = said.lines().filter(|line| line.ends_with("(server dry run)")).count();
        assert_eq!(accepted, documents(&text).len(), "{set}: {said}");
    }
    let text = try_render_in(NAMESPACE, "charts/sluice-crds", &Values::new()).unwrap();
    assert_eq!(dry_run(cluster, &text).unwrap().lines().count(), documents(&text).len());
}

#[tokio::test]
async fn pod_security_restricted_admits_every_pod() {
    let cluster = cluster().await;
    let namespace = restricted(cluster).await;
    let create = |name: &str, spec: &Value| {
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": namespace}, "spec": spec,
        });
        let mut kubectl = kubectl(cluster);
        try_feed(kubectl.args(["create", "--dry-run=server", "--filename=-"]), &pod.to_string())
    };
    for (set, values) in sets() {
        for (name, spec) in pods(&documents(&render_in(&namespace, &values))) {
            create(&name, &spec).unwrap_or_else(|error| panic!("{set}: {error}"));
        }
    }

    // The level is in force: it refuses a pod that lacks one of the settings.
    let (name, mut spec) = pods(&documents(&render_in(&namespace, &Values::new()))).remove(0);
    spec["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = true.into();
    let refused = create(&name, &spec).unwrap_err();
    assert!(refused.contains("violates PodSecurity \"restricted"), "{refused}");
}

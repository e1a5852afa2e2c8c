//! The rights that the chart grants: none is missing, and none is unused.
//!
//! The operator runs as the chart's `ServiceAccount` with the chart's arguments, and does everything that it can do. What
//! it asked for is in the API server's audit log.

use std::{collections::BTreeSet, path::Path, process::Command};

use k8s_openapi::api::{
    apps::v1::Deployment,
    rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject},
};
use kube::{Api, api::ListParams};
use serde_json::json;
use sluice_repo::testing::Changes;
use sluice_test_parts::helm;

use crate::support::{
    ControlPlane, LIMIT, Operator, Phone, SLUICE, World, channel, release, shop, until, with_release,
};

const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/sluice");

/// A control plane that keeps an audit log. One that watches all namespaces has it for itself.
async fn audited() -> &'static ControlPlane {
    let control_plane = ControlPlane::builder().with_audit().start().await;
    control_plane.install_crds().await;
    Box::leak(Box::new(control_plane))
}

/// A verb on a resource, in one namespace or (`*`) in all of them.
type Right = (String, String);

/// An operator as the chart runs it.
struct Installed {
    world: World,
    home: String,
    user: String,
    operator: Operator,
}

impl Installed {
    /// Installs the chart, and starts what it would start. `TEAM` in a value is the namespace that is watched.
    async fn with(values: &[&str]) -> Self {
        let control_plane = audited().await;
        let world = World::on(control_plane).await;
        let home = control_plane.namespace().await;
        let mut install = helm(control_plane);
        install.args(["install", "sluice", CHART, "--namespace", &home, "--set", "crds.enabled=false"]);
        for value in values {
            install.args(["--set", &value.replace("TEAM", &world.namespace)]);
        }
        let output = install.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

        let kubeconfig = control_plane.kubeconfig_for(&home, "sluice").await;
        let deployment = Api::<Deployment>::namespaced(control_plane.client(), &home).get("sluice").await;
        let pod = deployment.unwrap().spec.unwrap().template.spec.unwrap();
        assert_eq!(pod.service_account_name.as_deref(), Some("sluice"));
        let arguments = pod.containers[0].args.clone().unwrap();
        let operator = start(&world, &kubeconfig, &arguments).await;
        let user = format!("system:serviceaccount:{home}:sluice");
        Self { world, home, user, operator }
    }

    /// Everything that is granted, to this account alone or to what it belongs to.
    async fn granted(&self) -> BTreeSet<Right> {
        let client = self.world.client();
        let all = ListParams::default();
        let mut rights = BTreeSet::new();
        let wide = Api::<ClusterRoleBinding>::all(client.clone()).list(&all).await.unwrap();
        for binding in wide.items.iter().filter(|binding| self.is_for(binding.subjects.as_deref())) {
            rights.extend(of("*", &self.rules("", &binding.role_ref).await));
        }
        let narrow = Api::<RoleBinding>::all(client).list(&all).await.unwrap();
        for binding in narrow.items.iter().filter(|binding| self.is_for(binding.subjects.as_deref())) {
            let namespace = binding.metadata.namespace.as_deref().unwrap();
            rights.extend(of(namespace, &self.rules(namespace, &binding.role_ref).await));
        }
        rights
    }

    fn is_for(&self, subjects: Option<&[Subject]>) -> bool {
        let ours = |subject: &&Subject| {
            subject.kind == "ServiceAccount" && subject.namespace.as_deref() == Some(&self.home)
        };
        subjects.unwrap_or_default().iter().find(ours).is_some_and(|subject| subject.name == "sluice")
    }

    async fn rules(&self, namespace: &str, role: &RoleRef) -> Vec<PolicyRule> {
        let client = self.world.client();
        let rules = match role.kind.as_str() {
            "ClusterRole" => Api::<ClusterRole>::all(client).get(&role.name).await.unwrap().rules,
            _ => Api::<Role>::namespaced(client, namespace).get(&role.name).await.unwrap().rules,
        };
        rules.unwrap_or_default()
    }

    /// What it was refused.
    fn refused(&self) -> Vec<String> {
        let audit = self.world.control_plane.audit();
        let refused = audit.iter().filter(|entry| entry.user == self.user && entry.code == 403);
        refused.map(|entry| format!("{} {}", entry.verb, entry.uri)).collect()
    }

    /// What is granted and was not used.
    async fn unused(&self) -> BTreeSet<Right> {
        let mut used = BTreeSet::new();
        for entry in self.world.control_plane.audit() {
            if entry.user != self.user || entry.resource.is_empty() || entry.code == 403 {
                continue;
            }
            let resource = match entry.subresource.as_str() {
                "" => format!("{}/{}", entry.group, entry.resource),
                sub => format!("{}/{}/{sub}", entry.group, entry.resource),
            };
            // Applying what is not there needs the right to create.
            let verbs = if (entry.verb.as_str(), entry.code) == ("patch", 201) {
                vec!["patch", "create"]
            } else {
                vec![entry.verb.as_str()]
            };
            for verb in verbs {
                for scope in ["*", &entry.namespace] {
                    used.insert((scope.to_owned(), format!("{verb} {resource}")));
                }
            }
        }
        self.granted().await.difference(&used).cloned().collect()
    }

    /// Waits until everything was used that is granted, and makes sure that nothing else was asked for.
    async fn needs_all_and_no_more(self) {
        until(LIMIT, "every right is used", async || {
            let unused = self.unused().await;
            if unused.is_empty() { Ok(()) } else { Err(format!("unused: {unused:?}")) }
        })
        .await;
        let more = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": { "name": "more" },
            "rules": [{ "apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"] }],
        });
        let bound = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": { "name": "more" },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "more" },
            "subjects": [{ "kind": "ServiceAccount", "name": "sluice", "namespace": self.home }],
        });
        for document in [more, bound] {
            self.world.control_plane.apply_yaml_in(&self.home, &document.to_string()).await;
        }
        let unused = BTreeSet::from([(self.home.clone(), "get /configmaps".to_owned())]);
        assert_eq!(self.unused().await, unused, "a right that is not needed is noticed");
        // Also not when it frees the lease.
        let Self { world, user, operator, .. } = self;
        assert!(operator.stop().await.success());
        let audit: Vec<_> =
            world.control_plane.audit().into_iter().filter(|entry| entry.user == user).collect();
        let freed = audit.iter().rfind(|entry| entry.resource == "leases").unwrap();
        assert_eq!((freed.verb.as_str(), freed.code), ("update", 200));
        let refused: Vec<_> = audit.iter().filter(|entry| entry.code == 403).collect();
        assert!(refused.is_empty(), "{refused:#?}");
    }

    /// A person who may see channels asks the admin API.
    async fn answers_a_person(&self) {
        let control_plane = self.world.control_plane;
        let account =
            json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": "reader" } });
        let bound = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
            "metadata": { "name": format!("reader-{}", self.home) },
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole",
                "name": format!("sluice.{}.view", self.home),
            },
            "subjects": [{ "kind": "ServiceAccount", "name": "reader", "namespace": self.home }],
        });
        for document in [account, bound] {
            control_plane.apply_yaml_in(&self.home, &document.to_string()).await;
        }
        let token = control_plane.token_for(&self.home, "reader", &["sluice"]).await;
        // A binding works a moment after it is made.
        until(LIMIT, "the API answers", async || {
            let (status, answer) = self.operator.api("/api/v1/status", &token).await;
            if status == 200 { Ok(()) } else { Err((status, answer)) }
        })
        .await;
    }
}

/// The rights of these rules.
fn of(scope: &str, rules: &[PolicyRule]) -> BTreeSet<Right> {
    let mut rights = BTreeSet::new();
    for rule in rules {
        for group in rule.api_groups.iter().flatten() {
            for resource in rule.resources.iter().flatten() {
                for verb in &rule.verbs {
                    rights.insert((scope.to_owned(), format!("{verb} {group}/{resource}")));
                }
            }
        }
    }
    rights
}

/// Starts the program with the arguments of the pod. What differs: files and addresses, and how much is logged.
async fn start(world: &World, kubeconfig: &Path, arguments: &[String]) -> Operator {
    assert_eq!(arguments[0], "operator");
    let own = |argument: &String| match argument.split_once('=') {
        Some((flag @ ("--listen" | "--admin-listen" | "--hooks-listen"), _)) => {
            Some(format!("{flag}=127.0.0.1:0"))
        }
        Some(("--log", _)) => Some("--log=info,sluice_kube=debug".to_owned()),
        Some(("--data" | "--log-format", _)) => None,
        _ => Some(argument.clone()),
    };
    let arguments: Vec<String> = arguments[1..].iter().filter_map(own).collect();
    let flags: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut command = Command::new(SLUICE);
    command.env("KUBECONFIG", kubeconfig);
    Operator::launch(command, &world.namespace, &world.file("data"), &flags).await
}

/// A channel that no device gets by itself.
fn hidden(name: &str, version: &str) -> String {
    channel(name, version).replace("  public: true\n", "")
}

/// Applied, served, moved twice, and partly removed: all that an operator does to what it applies itself.
async fn applies_itself(installed: &Installed) {
    let (world, operator, phone) = (&installed.world, &installed.operator, Phone::new(1));
    world.upstream.commit(shop().file("channels/beta.yaml", hidden("beta", "1.1.0")));
    world.follow(json!({})).await;
    operator.offers(&phone, "1.1.0").await;
    world.await_channel("shop-production", "Served").await;
    world.await_channel("shop-beta", "Served").await;
    assert_eq!(installed.refused(), Vec::<String>::new());
    // What is said a second time soon becomes a series.
    for version in ["1.2.0", "1.1.0", "1.2.0"] {
        world.move_to(version);
        operator.hint().await;
        operator.offers(&phone, version).await;
        world.says("shop-production", version).await;
    }
    let removed = Changes::new().remove("channels/beta.yaml").remove("releases/1.1.0.yaml");
    world.upstream.commit(removed.message("Remove beta\n\nSluice-Allow-Prune: 2\n"));
    operator.hint().await;
    until(LIMIT, "both are gone", async || {
        let (channel, release) = (
            world.api::<sluice_crds::Channel>().get_opt("shop-beta").await.unwrap(),
            world.api::<sluice_crds::Release>().get_opt("shop-1.1.0").await.unwrap(),
        );
        channel.is_none() && release.is_none()
    })
    .await;
    world.upstream.commit(
        with_release(Changes::new(), "1.3.0")
            .file("channels/production.yaml", channel("production", "1.3.0")),
    );
    operator.hint().await;
    operator.offers(&phone, "1.3.0").await;
    // Shown as a Rollback.
    world.gate_brakes("1.3.0").await;
    installed.answers_a_person().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_right_is_needed_and_none_is_missing() {
    let installed = Installed::with(&[]).await;
    applies_itself(&installed).await;
    installed.needs_all_and_no_more().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_right_is_needed_in_namespaced_mode() {
    let installed = Installed::with(&["rbac.namespaced=true", "namespaces={TEAM}"]).await;
    let wide: BTreeSet<Right> =
        installed.granted().await.into_iter().filter(|(scope, _)| scope == "*").collect();
    let reviews =
        ["create authentication.k8s.io/tokenreviews", "create authorization.k8s.io/subjectaccessreviews"];
    assert_eq!(wide, reviews.map(|right| ("*".to_owned(), right.to_owned())).into());
    applies_itself(&installed).await;
    installed.needs_all_and_no_more().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_right_is_needed_where_another_tool_applies() {
    let installed = Installed::with(&["operator.apply=false"]).await;
    let rights = installed.granted().await;
    let writes = |(_, right): &&Right| {
        let object = right.ends_with("sluice.dev/releases") || right.ends_with("sluice.dev/channels");
        object && !right.starts_with("list ") && !right.starts_with("watch ")
    };
    assert_eq!(rights.iter().find(writes), None);
    let (world, operator, phone) = (&installed.world, &installed.operator, Phone::new(1));
    world.upstream.commit(shop());
    world.follow(json!({ "apply": "External" })).await;
    for version in ["1.1.0", "1.2.0", "1.1.0"] {
        for text in [release("1.1.0"), release("1.2.0"), channel("production", version)] {
            world.control_plane.apply_yaml_in(&world.namespace, &text).await;
        }
        operator.offers(&phone, version).await;
        world.says("shop-production", version).await;
    }
    world.gate_brakes("1.1.0").await;
    installed.answers_a_person().await;
    installed.needs_all_and_no_more().await;
}

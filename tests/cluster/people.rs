//! People and the admin API: by its address with a token, and by `kubectl sluice`.

use std::{os::unix::fs::symlink, path::Path, process::Output};

use k8s_openapi::api::rbac::v1::ClusterRoleBinding;
use kube::{Api, api::DeleteParams};
use serde_json::{Value, json};
use sluice_test_parts::{Kubelet, helm, kubectl, part};

use crate::support::{APP, ControlPlane, LIMIT, Operator, Phone, SLUICE, World, until};

/// The chart, whose account reads and whose Role a person has.
const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/sluice");
/// The person.
const PERSON: &str = r#"reader.subjects=[{"kind":"ServiceAccount","name":"person"}]"#;
/// The person, who may brake as well.
const BRAKES: &str = r#"braker.subjects=[{"kind":"ServiceAccount","name":"person"}]"#;

/// Makes the account that reads and the person, with the rights that the chart gives them.
async fn people(control_plane: &ControlPlane, namespace: &str) {
    let mut template = helm(control_plane);
    template.args(["template", "sluice", CHART, "--namespace", namespace, "--set-json", PERSON]);
    // Helm itself claims a version that is too old when nobody stamped it.
    template.args(["--kube-version", "1.35.4", "--set-json", BRAKES]);
    template.args(["--show-only", "templates/rbac/reader.yaml", "--show-only", "templates/rbac/braker.yaml"]);
    let output = template.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    control_plane.apply_yaml_in(namespace, std::str::from_utf8(&output.stdout).unwrap()).await;
    let person = "apiVersion: v1\nkind: ServiceAccount\nmetadata: { name: person }\n";
    control_plane.apply_yaml_in(namespace, person).await;
}

const OPERATOR: [(&str, &str); 2] =
    [("app.kubernetes.io/name", "sluice"), ("app.kubernetes.io/component", "operator")];

async fn world() -> (World, Operator) {
    let world = World::shop().await;
    people(world.control_plane, &world.namespace).await;
    let operator = world.operator().await;
    operator.offers(&Phone::new(1), "1.1.0").await;
    (world, operator)
}

/// Status and body of an answer of the admin API.
async fn ask(operator: &Operator, token: &str) -> (u16, Value) {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("http://{}/api/v1/status", operator.admin());
    let sent = client.get(url).bearer_auth(token).send().await.unwrap();
    (sent.status().as_u16(), sent.json().await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_answers_those_whom_the_cluster_lets_see_channels() {
    let (world, operator) = world().await;
    let token = async |account: &str, audiences: &[&str]| {
        world.control_plane.token_for(&world.namespace, account, audiences).await
    };
    let (status, body) = ask(&operator, &token("sluice-reader", &["sluice"]).await).await;
    assert_eq!((status, body["channels"][0]["app"].as_str()), (200, Some(APP)));
    for wrong in [token("sluice-reader", &[]).await, token("sluice-reader", &["else"]).await, "x".into()] {
        let (status, body) = ask(&operator, &wrong).await;
        assert_eq!(status, 401);
        assert!(body["message"].as_str().unwrap().contains("--audience sluice"), "{body}");
    }
    let (status, body) = ask(&operator, &token("person", &["sluice"]).await).await;
    assert_eq!(status, 403);
    assert!(body["message"].as_str().unwrap().contains(":person may not read"), "{body}");
}

/// An empty status would say that there is nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_waits_does_not_speak_for_the_one_that_leads() {
    let (world, leader) = world().await;
    let token = world.control_plane.token_for(&world.namespace, "sluice-reader", &["sluice"]).await;
    let kubeconfig = world.control_plane.kubeconfig();
    let flags = ["--identity", "other"];
    let waiting = Operator::start(kubeconfig, &world.namespace, &world.file("other"), &flags).await;
    assert_eq!(ask(&leader, &token).await.0, 200);
    let (status, body) = ask(&waiting, &token).await;
    assert_eq!((status, body["error"].as_str()), (503, Some("not_leading")), "{body}");
    assert!(leader.stop().await.success());
    until(LIMIT, "the other leads and speaks", async || (ask(&waiting, &token).await.0 == 200).then_some(()))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_api_server_the_api_says_why_it_does_not_answer() {
    // Killed here, so it is no other test's.
    let own = Box::leak(Box::new(ControlPlane::start().await));
    own.install_crds().await;
    let world = World::on(own).await;
    people(own, &world.namespace).await;
    let operator = world.operator().await;
    operator.leads().await;
    let known = own.token_for(&world.namespace, "sluice-reader", &["sluice"]).await;
    let new = own.token_for(&world.namespace, "sluice-reader", &["sluice", "other"]).await;
    assert_eq!(ask(&operator, &known).await.0, 200);
    own.kill_apiserver();
    assert_eq!(ask(&operator, &known).await.0, 200, "who was let in a moment ago is let in");
    let (status, body) = ask(&operator, &new).await;
    assert_eq!(status, 503);
    assert!(body["message"].as_str().unwrap().contains("cannot be reached"), "{body}");
    own.start_apiserver().await;
    until(LIMIT, "it is answered again", async || (ask(&operator, &new).await.0 == 200).then_some(())).await;
}

/// `kubectl sluice …` as that person.
fn plugin(world: &World, kubeconfig: &Path, folder: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = kubectl(world.control_plane);
    command.arg("sluice").args(arguments).env("KUBECONFIG", kubeconfig).env("PATH", folder);
    let Output { status, stdout, stderr } = command.output().unwrap();
    (status.code(), String::from_utf8([stdout, stderr].concat()).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_sluice_reaches_the_operator_by_port_forward() {
    let (world, operator) = world().await;
    let folder = tempfile::tempdir().unwrap();
    symlink(SLUICE, folder.path().join("kubectl-sluice")).unwrap();
    let person = world.control_plane.kubeconfig_for(&world.namespace, "person").await;
    let run = |arguments: &[&str]| {
        let arguments = [arguments, &["--namespace", &world.namespace]].concat();
        plugin(&world, &person, folder.path(), &arguments)
    };
    let (code, text) = run(&["status"]);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("there is no operator in namespace"), "{text}");

    let kubelet = Kubelet::forwarding(8081, Some(operator.admin())).await;
    kubelet.ready_pod(world.control_plane, &world.namespace, "sluice-0", &OPERATOR).await;
    let (code, text) = run(&["status"]);
    assert_eq!(code, Some(0), "{text}");
    for word in ["production", APP, "shop-1.2.0"] {
        assert!(text.contains(word), "`{word}` is not in\n{text}");
    }
    let (code, text) = run(&["explain", "--app", APP, "--output", "json"]);
    assert_eq!(code, Some(0), "{text}");
    let answer: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (answer["answer"].as_str(), answer["body"]["version"].as_str()),
        (Some("update"), Some("1.1.0"))
    );
    let (code, text) = run(&["explain"]);
    assert!(code == Some(2) && text.contains("--app ID"), "{text}");

    let (code, text) = run(&["brake", "shop-production", "--reason", "checkout is broken"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("1.1.0") && text.contains("is stopped on channel production"), "{text}");
    assert_eq!(operator.answers(&Phone::new(1)).await["error"], "no_new_version_available");
    // Whose token it was, and for whom the cluster says that it was made.
    let by = format!(
        "system:serviceaccount:{0}:sluice-braker for system:serviceaccount:{0}:person",
        world.namespace
    );
    let (code, text) = run(&["brake", "list", "--output", "json"]);
    assert_eq!(code, Some(0), "{text}");
    let list: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (list[0]["by"].as_str(), list[0]["reason"].as_str()),
        (Some(&*by), Some("checkout is broken"))
    );
    assert!(list[0]["at"].is_string(), "{list}");

    // A right that is taken away ends with the next token.
    let bindings = Api::<ClusterRoleBinding>::all(world.client());
    let name = format!("sluice.{}.reader", world.namespace);
    bindings.delete(&name, &DeleteParams::default()).await.unwrap();
    let refused = until(LIMIT, "the right is gone", async || {
        let (code, text) = run(&["status"]);
        if code == Some(1) { Ok(text) } else { Err(text) }
    })
    .await;
    assert!(refused.contains("403") && refused.contains("sluice-reader may not read"), "{refused}");

    kubelet.stop().await;
    let (code, text) = run(&["status"]);
    assert!(code == Some(2) && text.contains("no port-forward to pod sluice-0"), "{text}");
}

/// Accounts that may stop: one every app of the namespace, one a single app, one in another namespace only.
const STOPPERS: &str = r"
apiVersion: v1
kind: ServiceAccount
metadata: { name: on-call }
---
apiVersion: v1
kind: ServiceAccount
metadata: { name: ci }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: { name: on-call }
rules:
- { apiGroups: [sluice.dev], resources: [brakes], verbs: [create] }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: { name: on-call }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: Role, name: on-call }
subjects: [{ kind: ServiceAccount, name: on-call, namespace: NAMESPACE }]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: { name: ci }
rules:
- { apiGroups: [sluice.dev], resources: [brakes], verbs: [create], resourceNames: [com.example.bank] }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: { name: ci }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: Role, name: ci }
subjects: [{ kind: ServiceAccount, name: ci, namespace: NAMESPACE }]
";

async fn stoppers(world: &World) {
    let text = STOPPERS.replace("NAMESPACE", &world.namespace);
    world.control_plane.apply_yaml_in(&world.namespace, &text).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whom_the_cluster_lets_brake_brakes_and_nobody_else() {
    let (world, operator) = world().await;
    stoppers(&world).await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let stop = async |token: &str, body: Value| {
        let url = format!("http://{}/api/v1/brakes", operator.admin());
        let sent = client.post(url).bearer_auth(token).json(&body).send().await.unwrap();
        (sent.status().as_u16(), sent.json::<Value>().await.unwrap())
    };
    let token =
        async |account: &str| world.control_plane.token_for(&world.namespace, account, &["sluice"]).await;
    let shop = |more: Value| {
        let mut body = json!({ "app": APP, "channel": "production", "reason": "it burns" });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let (on_call, ci, reader) = (token("on-call").await, token("ci").await, token("sluice-reader").await);
    let unbound = world.control_plane.token_for(&world.namespace, "on-call", &[]).await;

    // 401: no token of this cluster for Sluice, whatever is asked.
    for wrong in ["x", &unbound] {
        let (status, body) = stop(wrong, json!({ "app": "com.example.none" })).await;
        assert_eq!((status, body["error"].as_str()), (401, Some("unauthorized")), "{body}");
    }
    // 403: may read, or may stop another app. What there is is not told.
    for (token, body) in [
        (&reader, shop(json!({}))),
        (&ci, shop(json!({}))),
        (&ci, shop(json!({ "channel": "elsewhere" }))),
        (&ci, json!({ "channel": "shop-production", "reason": "r" })),
        (&on_call, json!({ "app": "com.example.none", "channel": "production", "reason": "r" })),
        (&on_call, json!({ "channel": "nowhere", "reason": "r" })),
    ] {
        let (status, answer) = stop(token, body.clone()).await;
        assert_eq!((status, answer["error"].as_str()), (403, Some("forbidden")), "{body} {answer}");
        assert!(answer["message"].as_str().unwrap().contains("may not stop"), "{answer}");
    }
    // 400 and 404: whoever may is told what is wrong.
    let (status, answer) = stop(&on_call, shop(json!({ "reason": " " }))).await;
    assert_eq!(status, 400, "{answer}");
    for missing in [json!({ "channel": "elsewhere" }), json!({ "release": "9.9.9" })] {
        let (status, answer) = stop(&on_call, shop(missing)).await;
        assert_eq!(status, 404, "{answer}");
    }
    assert_eq!(operator.answers(&Phone::new(1)).await["version"], "1.1.0", "nothing was stopped so far");

    let (status, brake) = stop(&on_call, shop(json!({}))).await;
    let user = format!("system:serviceaccount:{}:on-call", world.namespace);
    assert_eq!((status, brake["by"].as_str()), (200, Some(&*user)), "{brake}");
    assert_eq!(operator.answers(&Phone::new(1)).await["error"], "no_new_version_available");
    // It may stop, and nothing else; nobody lifts anything here.
    assert_eq!(ask(&operator, &on_call).await.0, 403);
    let lift = client.delete(format!("http://{}/api/v1/brakes", operator.admin())).bearer_auth(&on_call);
    assert_eq!(lift.send().await.unwrap().status().as_u16(), 405);
    assert_eq!(operator.answers(&Phone::new(1)).await["error"], "no_new_version_available");
}

/// Rule 6: braking needs no lease. The name of an object is known without status, too.
#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_waits_brakes_all_the_same() {
    let (world, leader) = world().await;
    stoppers(&world).await;
    let token = world.control_plane.token_for(&world.namespace, "on-call", &["sluice"]).await;
    let store = format!("file://{}", world.file("data").join("store").display());
    let flags = ["--identity", "other", "--store", &store];
    let kubeconfig = world.control_plane.kubeconfig();
    let waiting = Operator::start(kubeconfig, &world.namespace, &world.file("other"), &flags).await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let stopped = until(LIMIT, "the waiting replica brakes", async || {
        let url = format!("http://{}/api/v1/brakes", waiting.admin());
        let body = json!({ "channel": "shop-production", "reason": "it burns" });
        let sent = client.post(url).bearer_auth(&token).json(&body).send().await.unwrap();
        let (status, answer) = (sent.status().as_u16(), sent.json::<Value>().await.unwrap());
        if status == 200 { Ok(answer) } else { Err((status, answer)) }
    })
    .await;
    assert_eq!(stopped["release"], "1.1.0", "{stopped}");
    until(LIMIT, "the leader obeys", async || {
        let answer = leader.answers(&Phone::new(1)).await;
        (answer["error"] == "no_new_version_available").then_some(())
    })
    .await;
}

#[test]
fn kubectl_completes_the_plugin() {
    use std::{fs, os::unix::fs::PermissionsExt as _, process::Command};

    let folder = tempfile::tempdir().unwrap();
    symlink(SLUICE, folder.path().join("kubectl-sluice")).unwrap();
    let script = Command::new(SLUICE).args(["completions", "kubectl"]).output().unwrap();
    assert!(script.status.success());
    let completer = folder.path().join("kubectl_complete-sluice");
    fs::write(&completer, script.stdout).unwrap();
    fs::set_permissions(&completer, fs::Permissions::from_mode(0o755)).unwrap();
    let path = std::env::join_paths(
        std::iter::once(folder.path().to_owned())
            .chain(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())),
    )
    .unwrap();
    let complete = |words: &[&str]| {
        let mut command = Command::new(part("kubectl"));
        let output = command.args(["__complete", "sluice"]).args(words).env("PATH", &path).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(complete(&["stat"]), "status\n:4\n");
    assert_eq!(complete(&["explain", "--app", APP, "--platform", ""]), "ios\nandroid\nelectron\n:4\n");
    let flags = complete(&["status", "--"]);
    assert!(flags.contains("--namespace\n") && flags.contains("--service-account\n"), "{flags}");
    assert_eq!(complete(&["nothing-like-it"]), ":4\n");
}

use std::process::{Command, Output};

use sluice_test_parts::{ControlPlane, helm, kubectl, promtool};

fn text(output: Output) -> String {
    let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(output.status.success(), "{out}{err}");
    out
}

#[tokio::test]
async fn kubectl_and_helm_reach_the_control_plane() {
    let control_plane = ControlPlane::shared().await;
    let namespace = control_plane.namespace().await;
    let found = kubectl(control_plane).args(["get", "namespace", &namespace, "--output=name"]).output();
    assert_eq!(text(found.unwrap()).trim(), format!("namespace/{namespace}"));
    let server = kubectl(control_plane).args(["version"]).output();
    let server = text(server.unwrap());
    assert!(server.contains("Server Version: v1.35."), "{server}");

    let chart = control_plane.folder().join("chart");
    std::fs::create_dir_all(chart.join("templates")).unwrap();
    std::fs::write(chart.join("Chart.yaml"), "{apiVersion: v2, name: chart, version: 1.0.0}").unwrap();
    let template = "{apiVersion: v1, kind: ConfigMap, metadata: {name: made}, data: {by: helm}}";
    std::fs::write(chart.join("templates/map.yaml"), template).unwrap();
    let mut install = helm(control_plane);
    install.args(["install", "it", "--wait", "--namespace", &namespace]).arg(&chart);
    assert!(text(install.output().unwrap()).contains("STATUS: deployed"));
    let made = kubectl(control_plane)
        .args(["get", "configmap", "made", "-o", "jsonpath={.data.by}", "-n", &namespace])
        .output();
    assert_eq!(text(made.unwrap()), "helm");
    assert!(text(helm(control_plane).arg("version").output().unwrap()).contains("v3."));
}

#[test]
fn promtool_checks_rules() {
    let folder = tempfile::tempdir().unwrap();
    let check = |expression: &str| {
        let rules = folder.path().join("rules.yaml");
        let text = format!("groups: [{{name: g, rules: [{{alert: A, expr: '{expression}'}}]}}]");
        std::fs::write(&rules, text).unwrap();
        promtool().args(["check", "rules"]).arg(rules).output().unwrap().status.success()
    };
    assert!(check("up == 0"));
    assert!(!check("up == "));
}

#[test]
fn what_is_missing_is_said_and_what_is_there_is_found_at_once() {
    let empty = tempfile::tempdir().unwrap();
    let build = |arguments: &[&str], assets: &str| {
        Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/build"))
            .args(arguments)
            .env("SLUICE_PARTS", empty.path())
            .env("KUBEBUILDER_ASSETS", assets)
            .output()
            .unwrap()
    };
    let missing = build(&["--path", "etcd"], "");
    assert!(!missing.status.success());
    let said = String::from_utf8(missing.stderr).unwrap();
    assert!(said.contains("etcd is missing") && said.contains("run tests/parts/build"), "{said}");

    let assets = sluice_test_parts::part("etcd");
    let assets = assets.parent().unwrap().to_str().unwrap();
    assert!(text(build(&["--path", "etcd"], assets)).starts_with(assets));
    assert_eq!(text(build(&["etcd"], assets)), "", "nothing to do, nothing to say");
    assert!(!build(&["--path", "helm"], assets).status.success(), "assets have no helm");
    assert!(!build(&["hlem"], assets).status.success(), "no such part");
}

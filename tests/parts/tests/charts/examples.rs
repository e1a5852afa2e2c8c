//! The set-ups in `examples/cluster` and the documents of the Kubernetes page work as they stand.

use std::fs;

use serde_json::{Value, json};
use sluice_test_parts::{ControlPlane, kubectl};

use crate::support::{at, cluster, documents, read, try_feed};

const CLUSTER: &str = "examples/cluster";

/// Kinds of other projects, which no API server of these tests knows.
const OF_OTHERS: [&str; 5] =
    ["OCIRepository", "HelmRelease", "GitRepository", "Kustomization", "Application"];

/// The YAML files below a folder, from the project's root.
fn files(folder: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(at(folder)).unwrap() {
        let entry = entry.unwrap();
        let path = format!("{folder}/{}", entry.file_name().to_str().unwrap());
        if entry.file_type().unwrap().is_dir() {
            found.extend(files(&path));
        } else if entry.path().extension().is_some_and(|extension| extension == "yaml") {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn dry_run(cluster: &ControlPlane, namespace: &str, mut object: Value) -> Result<String, String> {
    if object["kind"] != "Namespace" {
        object["metadata"]["namespace"] = namespace.into();
    }
    let mut kubectl = kubectl(cluster);
    let arguments = ["apply", "--server-side", "--dry-run=server", "--filename=-"];
    try_feed(kubectl.args(arguments), &object.to_string())
}

#[tokio::test]
async fn the_api_server_accepts_the_examples() {
    let cluster = cluster().await;
    let namespace = cluster.namespace().await;
    let mut accepted = Vec::new();
    for file in files(CLUSTER) {
        // Values are rendered with the manifests.
        if file.contains("/values") {
            continue;
        }
        for object in documents(&read(&file)) {
            let kind = object["kind"].as_str().unwrap().to_owned();
            assert!(object["metadata"]["name"].is_string(), "{file}");
            if !OF_OTHERS.contains(&kind.as_str()) {
                dry_run(cluster, &namespace, object).unwrap_or_else(|error| panic!("{file}: {error}"));
                accepted.push(kind);
            }
        }
    }
    accepted.sort();
    assert_eq!(accepted, ["ConfigMap", "Namespace", "Namespace", "Repository", "Repository", "Repository"]);
}

#[tokio::test]
async fn the_api_server_accepts_the_documents_of_the_pages() {
    let cluster = cluster().await;
    let namespace = cluster.namespace().await;
    let mut accepted = 0;
    for page in ["docs/kubernetes.md", "charts/sluice/README.md"] {
        for block in read(page).split("\n```").skip(1).step_by(2) {
            let Some(text) = block.strip_prefix("yaml\n") else { continue };
            for object in documents(text).into_iter().filter(|object| object["kind"].is_string()) {
                if OF_OTHERS.contains(&object["kind"].as_str().unwrap()) {
                    continue;
                }
                dry_run(cluster, &namespace, object)
                    .unwrap_or_else(|error| panic!("{page}: {error}\n{text}"));
                accepted += 1;
            }
        }
    }
    assert!(accepted >= 1, "the page shows a Repository");
}

/// The values that other tools hand to the chart are values of the chart.
#[test]
fn the_values_of_other_tools_are_taken() {
    let schema: Value = serde_json::from_str(&read("charts/sluice/values.schema.json")).unwrap();
    let flux = documents(&read("examples/cluster/flux/sluice.yaml"));
    let argocd = documents(&read("examples/cluster/argocd/applications.yaml"));
    let release = crate::support::object(&flux, "HelmRelease", "sluice");
    let application = crate::support::object(&argocd, "Application", "sluice");
    for values in [&release["spec"]["values"], &application["spec"]["source"]["helm"]["valuesObject"]] {
        known(values, &schema);
        assert_eq!(values["operator"], json!({"apply": false}));
    }
    let version = &documents(&read("charts/sluice/Chart.yaml"))[0]["version"];
    assert_eq!(application["spec"]["source"]["targetRevision"], *version);
}

fn known(values: &Value, schema: &Value) {
    for (key, value) in values.as_object().unwrap() {
        let schema = &schema["properties"][key];
        assert!(schema.is_object(), "{key} is no value of the chart");
        if schema["properties"].is_object() {
            known(value, schema);
        }
    }
}

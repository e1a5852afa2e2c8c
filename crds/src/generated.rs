//! The files that are generated from the types: CRD YAML for clusters, JSON Schemas for editors.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::{Map, Value, json};

use crate::{API_VERSION, crds};

/// Every generated file: its path from the project's root, and its content.
///
/// `crds/generated/*.yaml` are the definitions, and the charts have copies, because a chart must stand alone;
/// `crds/schemas/*.json` are for editors (yaml-language-server), which should also see misspelt fields, so they allow no
/// others.
pub fn generated() -> Vec<(String, String)> {
    let mut files = Vec::new();
    for crd in crds() {
        let kind = crd.spec.names.kind.clone();
        let definition = yaml(&crd);
        for folder in ["crds/generated", "charts/sluice/files/crds", "charts/sluice-crds/files/crds"] {
            let name = format!("{folder}/{}_{}.yaml", crd.spec.group, crd.spec.names.plural);
            files.push((name, definition.clone()));
        }
        files.push((format!("crds/schemas/{}.json", kind.to_lowercase()), text(&editor_schema(&crd))));
    }
    files
}

fn yaml(crd: &CustomResourceDefinition) -> String {
    let body = serde_yaml::to_string(crd).expect("a definition has only string keys");
    let body: String = body.lines().map(|line| quoted(line) + "\n").collect();
    format!("# Generated from the Rust types by `cargo run --bin sluice -- generate`. Do not edit.\n{body}")
}

/// Quotes an entry of a list that kubectl would read as a truth value, as YAML 1.1 does: `Off` is a choice of ours.
fn quoted(line: &str) -> String {
    const TRUTHS: [&str; 14] =
        ["Off", "OFF", "off", "On", "ON", "on", "Yes", "YES", "yes", "No", "NO", "no", "True", "False"];
    match line.split_once("- ") {
        Some((indent, word)) if TRUTHS.contains(&word) => format!("{indent}- \"{word}\""),
        _ => line.to_owned(),
    }
}

fn text(schema: &Value) -> String {
    format!("{schema:#}\n")
}

/// The schema of a whole document of the kind, for editors.
fn editor_schema(crd: &CustomResourceDefinition) -> Value {
    let kind = &crd.spec.names.kind;
    let root = crd.spec.versions[0].schema.as_ref().and_then(|s| s.open_api_v3_schema.as_ref());
    let root = serde_json::to_value(root.expect("the derive writes a schema"))
        .expect("a schema has only string keys");
    let mut spec = root["properties"]["spec"].clone();
    close(&mut spec);
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "$id": format!("https://sluice.dev/schemas/v1alpha1/{}.json", kind.to_lowercase()),
        "title": kind,
        "description": root["description"],
        "type": "object",
        "required": ["apiVersion", "kind", "metadata", "spec"],
        "additionalProperties": false,
        "properties": {
            "apiVersion": { "const": API_VERSION },
            "kind": { "const": kind },
            "metadata": {
                "type": "object",
                "required": ["name"],
                "properties": {
                    "name": {
                        "type": "string",
                        "minLength": 1,
                        "maxLength": 253,
                        "pattern": crate::common::OBJECT_NAME,
                        "description": "Name of the object, unique among its kind.",
                    },
                    "namespace": { "type": "string", "maxLength": 63 },
                    "labels": { "type": "object", "additionalProperties": { "type": "string" } },
                    "annotations": { "type": "object", "additionalProperties": { "type": "string" } },
                },
            },
            "spec": spec,
            "status": { "type": "object" },
        },
    })
}

/// Removes what only Kubernetes understands, and allows no unknown properties.
fn close(schema: &mut Value) {
    let Value::Object(object) = schema else { return };
    object.retain(|key, _| !key.starts_with("x-kubernetes-"));
    if let Some(properties) = object.get_mut("properties").and_then(Value::as_object_mut) {
        properties.values_mut().for_each(close);
        object.insert("additionalProperties".into(), Value::Bool(false));
    }
    for key in ["items", "additionalProperties"] {
        if let Some(inner) = object.get_mut(key) {
            close(inner);
        }
    }
    sort(object);
}

/// Sorted keys, so that the files change only where the types do.
fn sort(object: &mut Map<String, Value>) {
    object.sort_keys();
}

//! The CEL rules of the definitions, evaluated without an API server.

use kube::core::cel::Validator;
use serde_json::{Value, json};

fn schema(kind: &str) -> Value {
    let crds = sluice_crds::crds();
    let crd = crds.iter().find(|crd| crd.spec.names.kind == kind).expect("a kind");
    let schema = crd.spec.versions[0].schema.as_ref().expect("a schema");
    serde_json::to_value(&schema.open_api_v3_schema).expect("JSON")
}

/// Messages of the rules that an object breaks; `old` is what it was before, if it was.
fn broken(kind: &str, spec: &Value, old: Option<&Value>) -> Vec<String> {
    let object = |spec: &Value| json!({ "metadata": { "name": "x" }, "spec": spec });
    let old = old.map(object);
    match Validator::new().validate(&schema(kind), &object(spec), old.as_ref()) {
        Ok(()) => Vec::new(),
        Err(errors) => {
            let mut messages: Vec<String> = errors.as_slice().iter().map(|e| e.message.clone()).collect();
            messages.sort();
            messages
        }
    }
}

fn with(base: &Value, changes: &Value) -> Value {
    let mut merged = base.clone();
    for (key, value) in changes.as_object().expect("a mapping") {
        merged[key] = value.clone();
    }
    merged
}

#[test]
fn a_release_has_one_source_and_never_changes() {
    let release =
        json!({ "app": "com.example.shop", "version": "1.4.2", "bundle": { "path": "bundles/1.4.2" } });
    assert_eq!(broken("Release", &release, None), Vec::<String>::new());
    for bundle in
        [json!({}), json!({ "path": "a", "https": { "url": "https://e.org/a.zip", "sha256": "0" } })]
    {
        let found = broken("Release", &with(&release, &json!({ "bundle": bundle })), None);
        assert_eq!(found, ["exactly one of path, https and oci is required"]);
    }
    let changes = [
        (json!({ "app": "com.example.other" }), "app is immutable; create another Release"),
        (json!({ "version": "1.4.3" }), "version is immutable; create another Release"),
        (json!({ "bundle": { "path": "b" } }), "bundle is immutable; publish other bytes as a new version"),
    ];
    for (change, message) in changes {
        assert_eq!(broken("Release", &with(&release, &change), Some(&release)), [message]);
    }
    let corrected = json!({ "notes": "x", "rollback": "StopOnly", "requires": { "native": ">=1" } });
    assert_eq!(broken("Release", &with(&release, &corrected), Some(&release)), Vec::<String>::new());
}

#[test]
fn a_channel_has_one_reference() {
    let base = json!({ "app": "com.example.shop" });
    let one = "exactly one of release and releases is required";
    for (changes, expected) in [
        (json!({ "release": "1.0.0" }), vec![]),
        (json!({ "releases": [{ "release": "1.0.0" }] }), vec![]),
        (json!({}), vec![one]),
        (json!({ "release": "1.0.0", "releases": [{ "release": "1.0.0" }] }), vec![one]),
    ] {
        assert_eq!(broken("Channel", &with(&base, &changes), None), expected, "{changes}");
    }
    let old = with(&base, &json!({ "release": "1.0.0" }));
    let moved = with(&old, &json!({ "app": "com.example.other" }));
    assert_eq!(broken("Channel", &moved, Some(&old)), ["app is immutable; create another Channel"]);
}

#[test]
fn steps_rise() {
    let base = json!({ "app": "com.example.shop", "release": "1.0.0" });
    for (rollout, well) in [
        (json!({ "steps": [{ "weight": "1%" }, { "weight": "2.5%" }, { "weight": "10%" }] }), true),
        (json!({ "steps": [{ "weight": "10%" }, { "weight": "2%" }] }), false),
        (json!({ "steps": [{ "weight": "2%" }, { "weight": "2.0%" }] }), false),
        (json!({ "steps": [{ "weight": "0%" }] }), false),
        (json!({ "strategy": "Steps" }), false),
        (json!({ "strategy": "Immediate", "steps": [{ "weight": "1%" }] }), false),
        (json!({ "strategy": "Steps", "steps": [{ "weight": "1%" }] }), true),
    ] {
        let found = broken("Channel", &with(&base, &json!({ "rollout": rollout })), None);
        assert_eq!(found.is_empty(), well, "{rollout}: {found:?}");
    }
}

#[test]
fn a_repository_follows_one_reference() {
    let base = json!({ "url": "https://git.example.org/shop.git", "apps": ["com.example.*"], "write": { "mode": "Auto" } });
    for (reference, well) in [
        (json!({ "branch": "main" }), true),
        (json!({ "branch": "main", "tag": "v1" }), false),
        (json!({}), false),
    ] {
        let found = broken("Repository", &with(&base, &json!({ "ref": reference })), None);
        assert_eq!(found.is_empty(), well, "{reference}: {found:?}");
    }
    assert_eq!(broken("Repository", &base, None), Vec::<String>::new(), "the default reference");
}

#[test]
fn a_rollback_never_changes() {
    let rollback = json!({ "channel": "shop", "digest": "0".repeat(64) });
    assert_eq!(broken("Rollback", &rollback, None), Vec::<String>::new());
    let other = with(&rollback, &json!({ "channel": "other" }));
    assert_eq!(broken("Rollback", &other, Some(&rollback)), ["a Rollback is immutable; create another one"]);
}

/// Calls `see` with every schema below `schema`.
fn every(schema: &Value, path: &str, see: &mut impl FnMut(&str, &Value)) {
    see(path, schema);
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        every(field, &format!("{path}.{name}"), see);
    }
    for inner in ["items", "additionalProperties"] {
        if schema[inner].is_object() {
            every(&schema[inner], &format!("{path}[]"), see);
        }
    }
}

#[test]
fn everything_is_bounded_typed_and_never_null() {
    for crd in sluice_crds::crds() {
        let kind = &crd.spec.names.kind;
        let schema = schema(kind);
        for part in ["spec", "status"] {
            every(&schema["properties"][part], &format!("{kind}.{part}"), &mut |path, schema| {
                assert!(schema.get("nullable").is_none(), "{path} may be null");
                assert!(schema["description"].is_string() || path.ends_with("[]"), "{path} is not explained");
                let bounded = match schema["type"].as_str().unwrap_or_else(|| panic!("{path} has no type")) {
                    "string" => schema["maxLength"].is_u64() || schema["enum"].is_array(),
                    "array" => schema["maxItems"].is_u64() && schema["x-kubernetes-list-type"].is_string(),
                    "object" => schema["properties"].is_object() || schema["maxProperties"].is_u64(),
                    _ => true,
                };
                assert!(bounded, "{path} has no bound");
            });
        }
        assert_eq!(schema["properties"]["status"]["default"]["observedGeneration"], -1, "{kind}");
        assert_eq!(crd.spec.names.categories.as_deref(), Some(&["sluice".to_owned()][..]), "{kind}");
        let annotations = crd.metadata.annotations.as_ref().unwrap();
        assert_eq!(annotations["kustomize.toolkit.fluxcd.io/substitute"], "disabled", "{kind}");
    }
}

#[test]
fn no_choice_is_a_truth_value_in_yaml() {
    for (path, text) in sluice_crds::generated() {
        for line in text.lines().filter(|_| path.starts_with("crds/generated")) {
            let word = line.trim_start().trim_start_matches("- ");
            assert!(!matches!(word, "Off" | "On" | "Yes" | "No" | "True" | "False"), "{path}: {line}");
        }
    }
}

//! What stands in the charts a second time is the same as the first time.

use std::{collections::BTreeSet, fs};

use serde_json::Value;

use crate::support::{at, documents, read};

/// Folders of the charts that hold the definitions.
const COPIES: [&str; 2] = ["charts/sluice/files/crds", "charts/sluice-crds/files/crds"];

/// File names in a folder.
fn names(folder: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(at(folder)).unwrap_or_else(|error| panic!("{folder}: {error}"));
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn the_definitions_are_those_that_are_generated() {
    let generated = names("crds/generated");
    assert!(generated.len() >= 4, "{generated:?}");
    for folder in COPIES {
        assert_eq!(names(folder), generated, "{folder}");
        for name in &generated {
            let (copy, original) =
                (read(&format!("{folder}/{name}")), read(&format!("crds/generated/{name}")));
            assert!(
                copy == original,
                "{folder}/{name} is not crds/generated/{name}; renew it with `cargo run --bin sluice -- generate`"
            );
        }
    }
}

#[test]
fn no_variable_is_substituted_in_a_definition() {
    for name in names("crds/generated") {
        let definition = &documents(&read(&format!("crds/generated/{name}")))[0];
        let annotation = &definition["metadata"]["annotations"]["kustomize.toolkit.fluxcd.io/substitute"];
        assert_eq!(annotation, "disabled", "{name}");
    }
}

#[test]
fn charts_and_program_have_one_version() {
    let manifest = read("Cargo.toml");
    let version =
        manifest.lines().find_map(|line| line.strip_prefix("version = ")).unwrap().trim_matches('"');
    for chart in ["charts/sluice/Chart.yaml", "charts/sluice-crds/Chart.yaml"] {
        let chart = &documents(&read(chart))[0];
        assert_eq!((&chart["version"], &chart["appVersion"]), (&version.into(), &version.into()), "{chart}");
    }
    let chart = read("charts/sluice/Chart.yaml");
    assert!(
        chart.contains(&format!("image: ghcr.io/sluice-dev/sluice:{version}\n")),
        "the image of Artifact Hub"
    );
}

#[test]
fn artifact_hub_names_every_kind() {
    let chart = &documents(&read("charts/sluice/Chart.yaml"))[0];
    let listed = documents(chart["annotations"]["artifacthub.io/crds"].as_str().unwrap());
    let listed: BTreeSet<String> = listed[0]
        .as_array()
        .unwrap()
        .iter()
        .map(|crd| format!("{}.yaml", crd["name"].as_str().unwrap()))
        .collect();
    let defined = names("crds/generated").iter().map(|name| plural_first(name)).collect();
    assert_eq!(listed, defined);
}

/// `sluice.dev_channels.yaml` as `channels.sluice.dev.yaml`.
fn plural_first(file: &str) -> String {
    let (group, plural) = file.trim_end_matches(".yaml").split_once('_').unwrap();
    format!("{plural}.{group}.yaml")
}

#[test]
fn the_schema_and_the_values_list_the_same_keys() {
    for chart in ["charts/sluice", "charts/sluice-crds"] {
        let values = &documents(&read(&format!("{chart}/values.yaml")))[0];
        let schema: Value = serde_json::from_str(&read(&format!("{chart}/values.schema.json"))).unwrap();
        let mut checked = 0;
        compare(chart, values, &schema, &mut checked);
        assert!(checked >= 2, "{chart}");
    }
}

/// Every level that is ours has the same keys on both sides and allows no others.
fn compare(path: &str, values: &Value, schema: &Value, checked: &mut u32) {
    let Some(properties) = schema["properties"].as_object() else { return };
    assert_eq!(schema["additionalProperties"], false, "{path} allows unknown keys");
    let known: BTreeSet<&str> = properties.keys().map(String::as_str).collect();
    let given: BTreeSet<&str> = values.as_object().unwrap().keys().map(String::as_str).collect();
    // Helm hands `global` to every chart. Kubernetes' own objects are described as far as the API server knows them.
    let unset: BTreeSet<&str> = known.difference(&given).copied().collect();
    assert!(
        unset.iter().all(|key| *key == "global" || (path.ends_with(".resources") && *key == "claims")),
        "{path}: {unset:?} stand in the schema only"
    );
    assert!(given.is_subset(&known), "{path}: {given:?} are not all in the schema");
    *checked += u32::try_from(given.len()).unwrap();
    for key in given {
        compare(&format!("{path}.{key}"), &values[key], &properties[key], checked);
    }
}

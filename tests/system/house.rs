//! The walls of the house: which crate may import which, and that the core does no I/O.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
};

use serde_json::Value;

/// What each room may import. `docs/ARCHITECTURE.md` draws the same arrows.
const ARROWS: &[(&str, &[&str])] = &[
    ("sluice-core", &[]),
    ("sluice-crds", &[]),
    ("sluice-manifest", &["sluice-core", "sluice-crds"]),
    ("sluice-bundle", &["sluice-core"]),
    ("sluice-repo", &["sluice-core"]),
    ("sluice-store", &["sluice-core"]),
    ("sluice-notify", &["sluice-bundle", "sluice-core", "sluice-store"]),
    ("sluice-forge", &[]),
    (
        "sluice-engine",
        &["sluice-core", "sluice-manifest", "sluice-bundle", "sluice-repo", "sluice-store", "sluice-forge"],
    ),
    (
        "sluice-kube",
        &[
            "sluice-core",
            "sluice-crds",
            "sluice-manifest",
            "sluice-repo",
            "sluice-store",
            "sluice-engine",
            "sluice-forge",
            "sluice-notify",
        ],
    ),
    ("sluice-serve", &["sluice-core", "sluice-repo", "sluice-store", "sluice-engine"]),
    ("sluice-simulate", &["sluice-core"]),
    (
        "sluice-runtime",
        &[
            "sluice-core",
            "sluice-crds",
            "sluice-manifest",
            "sluice-bundle",
            "sluice-repo",
            "sluice-store",
            "sluice-engine",
            "sluice-forge",
            "sluice-kube",
            "sluice-notify",
            "sluice-serve",
            "sluice-simulate",
        ],
    ),
    ("sluice", &["sluice-runtime"]),
    ("sluice-test-parts", &["sluice-repo"]),
];

/// Crates that do I/O, or bring something that does.
const NOT_IN_CORE: &[&str] = &[
    "tokio",
    "kube",
    "kube-client",
    "git2",
    "axum",
    "hyper",
    "reqwest",
    "sqlx",
    "object_store",
    "mio",
    "rand",
];

fn metadata() -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--offline", "--locked"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Name of each package, and what it depends on outside tests.
fn dependencies(metadata: &Value) -> BTreeMap<String, BTreeSet<String>> {
    let mut names = BTreeMap::new();
    for package in metadata["packages"].as_array().unwrap() {
        let normal = package["dependencies"].as_array().unwrap().iter().filter(|d| d["kind"].is_null());
        let normal = normal.map(|d| d["name"].as_str().unwrap().to_owned()).collect();
        names.entry(package["name"].as_str().unwrap().to_owned()).or_insert(normal);
    }
    names
}

#[test]
fn arrows_point_one_way() {
    let dependencies = dependencies(&metadata());
    for (room, allowed) in ARROWS {
        let mine = &dependencies[*room];
        let ours: BTreeSet<&str> =
            mine.iter().map(String::as_str).filter(|n| n.starts_with("sluice")).collect();
        let allowed: BTreeSet<&str> = allowed.iter().copied().collect();
        assert!(ours.is_subset(&allowed), "{room} imports {:?}", ours.difference(&allowed));
    }
}

#[test]
fn the_core_does_no_io() {
    let core = &dependencies(&metadata())["sluice-core"];
    for name in NOT_IN_CORE {
        assert!(!core.contains(*name), "core depends on {name}");
    }
}

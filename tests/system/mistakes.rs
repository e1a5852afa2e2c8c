//! A mistake in a file: found by `validate` before it is merged, and by the server after, at the same place.

use std::{fs, path::PathBuf, process::Command};

use serde_json::Value;
use sluice_repo::testing::Changes;

use crate::support::{Ran, SLUICE, World, channel, phone, sluice, tool};

/// A clone of the repository with its files.
fn checkout(world: &World, name: &str) -> PathBuf {
    let folder = world.file(name);
    tool(Command::new("git").args(["clone", "-q"]).arg(world.upstream.path()).arg(&folder));
    folder
}

fn validate(folder: &std::path::Path, more: &[&str]) -> Ran {
    sluice(["validate", folder.to_str().unwrap()].iter().chain(more))
}

/// Broken files in place of the production channel: what the server says of them, and where.
fn broken() -> Vec<(&'static str, String, u64, u64)> {
    let good = channel("production", "1.2.0", "  public: true\n");
    vec![
        ("UnknownField", good.replace("public:", "publik:"), 9, 3),
        ("InvalidValue", good.replace("public: true", "public: perhaps"), 9, 11),
        ("DuplicateKey", format!("{good}  public: true\n"), 10, 3),
        ("ReleaseNotFound", good.replace("1.2.0", "1.9.9"), 8, 12),
        ("FieldNotSupported", format!("{good}  encryption: {{ secretRef: {{ name: keys }} }}\n"), 10, 3),
        ("UnknownKind", good.replace("kind: Channel", "kind: Chanel"), 2, 7),
    ]
}

#[test]
fn a_broken_file_changes_nothing_but_status() {
    let world = World::shop();
    let server = world.serve();
    let before = phone(1).awaits(&server, "1.1.0");
    server.await_reason("Applied");
    let generation = server.status()["generation"].clone();
    for (code, text, line, column) in broken() {
        let commit = world.commit(Changes::new().file("channels/production.yaml", &text));
        let status = server.await_commit(&commit);
        let problems = status["diagnostics"].as_array().unwrap();
        let problem =
            problems.iter().find(|p| p["code"] == code).unwrap_or_else(|| panic!("no {code}: {status}"));
        let place = (problem["file"].as_str().unwrap(), problem["line"].as_u64(), problem["column"].as_u64());
        assert_eq!(place, ("channels/production.yaml", Some(line), Some(column)), "{problem}\n{text}");
        assert_eq!(problem["severity"], "error");
        assert_eq!(phone(1).asks(&server), before, "{code}");
        assert_eq!(server.status()["generation"], generation, "{code}");

        // The same words at the same place, before it is merged.
        let folder = checkout(&world, code);
        let found = validate(&folder, &["--output", "json"]).exits(1).json();
        assert!(found.as_array().unwrap().contains(problem), "{found} lacks {problem}");
        let text = validate(&folder, &[]).exits(1).out;
        assert!(
            text.contains(&format!("channels/production.yaml:{line}:{column}")) && text.contains(code),
            "{text}"
        );
    }
    world.commit(
        Changes::new().file("channels/production.yaml", channel("production", "1.2.0", "  public: true\n")),
    );
    phone(1).awaits(&server, "1.2.0");
}

#[test]
fn text_that_is_not_yaml_or_not_text_is_a_problem_of_its_file_alone() {
    let world = World::shop();
    let server = world.serve();
    let before = phone(1).awaits(&server, "1.1.0");
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0000000000000000000000000000000000000000000000000000000000000000\nsize 12\n";
    let commit = world.commit(
        Changes::new()
            .file("channels/production.yaml", "apiVersion: sluice.dev/v1alpha1\nkind: Channel\nspec: {a: [\n")
            .file("releases/latin.yaml", b"apiVersion: sluice.dev/v1alpha1\nkind: Release # caf\xe9\n")
            .file("releases/pointer.yaml", pointer)
            .symlink("releases/link.yaml", "1.1.0.yaml")
            .submodule("vendor")
            .file("releases/bomb.yaml", bomb()),
    );
    let status = server.await_commit(&commit);
    let mut found: Vec<(&str, &str)> = status["diagnostics"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| (p["file"].as_str().unwrap(), p["code"].as_str().unwrap()))
        .collect();
    found.dedup();
    let expected = [
        ("channels/production.yaml", "Syntax"),
        ("releases/bomb.yaml", "TooComplex"),
        ("releases/latin.yaml", "Encoding"),
        ("releases/link.yaml", "Symlink"),
        ("releases/pointer.yaml", "LfsPointer"),
        ("vendor", "Submodule"),
    ];
    assert_eq!(found, expected, "{status}");
    assert_eq!(phone(1).asks(&server), before);
}

/// Ten names for ten names for ten names …
fn bomb() -> String {
    let mut text = String::from(
        "apiVersion: sluice.dev/v1alpha1\nkind: Release\nx0: &x0 [a, a, a, a, a, a, a, a, a, a]\n",
    );
    for level in 1..9 {
        let names = vec![format!("*x{}", level - 1); 10].join(", ");
        text.push_str(&format!("x{level}: &x{level} [{names}]\n"));
    }
    text
}

#[test]
fn validate_speaks_to_people_and_machines() {
    let world = World::shop();
    let clean = checkout(&world, "clean");
    let text = validate(&clean, &[]).exits(0).out;
    assert_eq!(text, "2 releases, 1 channel: no problems\n");
    assert_eq!(validate(&clean, &["--output", "json"]).exits(0).json(), Value::Array(Vec::new()));
    assert_eq!(validate(&clean, &["--output", "github"]).exits(0).out, "");
    let sarif = validate(&clean, &["--output", "sarif"]).exits(0).json();
    assert_eq!(sarif["runs"][0]["results"], Value::Array(Vec::new()));

    // Two mistakes in two files, one pass.
    let wrong = channel("production", "1.2.0", "  publik: true\n");
    fs::write(clean.join("channels/production.yaml"), wrong).unwrap();
    fs::remove_file(clean.join("bundles/1.2.0/index.html")).unwrap();
    let found = validate(&clean, &["--output", "json"]).exits(1).json();
    for problem in found.as_array().unwrap() {
        let keys: Vec<&String> = problem.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["code", "column", "file", "line", "message", "severity"], "{problem}");
    }
    let codes: Vec<&str> = found.as_array().unwrap().iter().map(|p| p["code"].as_str().unwrap()).collect();
    assert!(codes.contains(&"UnknownField") && codes.contains(&"BundleWithoutIndex"), "{codes:?}");

    let github = validate(&clean, &["--output", "github"]).exits(1).out;
    let line = github.lines().find(|line| line.contains("UnknownField")).unwrap();
    assert!(
        line.starts_with("::error file=channels/production.yaml,line=9,col=3,title=UnknownField::"),
        "{line}"
    );
    assert_eq!(github.lines().count(), codes.len());

    let sarif = validate(&clean, &["--output", "sarif"]).exits(1).json();
    assert_eq!(sarif["version"], "2.1.0");
    let results = sarif["runs"][0]["results"].as_array().unwrap();
    let rules = sarif["runs"][0]["tool"]["driver"]["rules"].as_array().unwrap();
    assert_eq!(results.len(), codes.len());
    for result in results {
        assert!(rules.iter().any(|rule| rule["id"] == result["ruleId"]), "{result}");
        let place = &result["locations"][0]["physicalLocation"];
        assert!(
            place["artifactLocation"]["uri"].is_string() && place["region"]["startLine"].as_u64() > Some(0)
        );
    }
}

#[test]
fn validate_that_cannot_check_says_so() {
    let world = World::shop();
    let missing = validate(&world.file("nowhere"), &[]).exits(2);
    assert!(missing.err.contains("nowhere") && missing.out.is_empty(), "{missing:?}");
    let file = world.file("a-file");
    fs::write(&file, "").unwrap();
    validate(&file, &[]).exits(2);
    let clean = checkout(&world, "clean");
    let unknown = validate(&clean, &["--base", "no-such-revision"]).exits(2);
    assert!(unknown.err.contains("no-such-revision"), "{unknown:?}");
    let plain = world.file("plain");
    fs::create_dir(&plain).unwrap();
    let empty = validate(&plain, &[]).exits(2);
    assert!(empty.err.contains("no Release or Channel"), "a wrong directory is not a clean one: {empty:?}");
    fs::copy(clean.join("channels/production.yaml"), plain.join("production.yaml")).unwrap();
    let outside = validate(&plain, &["--base", "HEAD"]).exits(2);
    assert!(outside.err.contains("Git repository"), "{outside:?}");
    validate(&clean, &["--output", "xml"]).exits(2);
}

#[test]
fn validate_finds_a_version_that_is_used_again() {
    let world = World::shop();
    let folder = checkout(&world, "clone");
    validate(&folder, &["--base", "HEAD"]).exits(0);
    fs::write(folder.join("bundles/1.2.0/assets/app.js"), "console.log('other')").unwrap();
    validate(&folder, &[]).exits(0);
    let found = validate(&folder, &["--base", "origin/main", "--output", "json"]).exits(1).json();
    let problem = &found[0];
    assert_eq!(found.as_array().unwrap().len(), 1, "{found}");
    assert_eq!(problem["code"], "VersionBurnt");
    assert_eq!((&problem["file"], &problem["line"]), (&"releases/1.2.0.yaml".into(), &7.into()), "{problem}");

    // As a pipeline runs it, from inside the clone.
    let inside =
        Command::new(SLUICE).args(["validate", ".", "--base", "HEAD"]).current_dir(&folder).output().unwrap();
    assert_eq!(inside.status.code(), Some(1), "{inside:?}");
}

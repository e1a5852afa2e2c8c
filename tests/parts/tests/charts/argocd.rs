//! The scripts for Argo CD, run by the Lua that Argo CD speaks (5.1).

use std::{fs, process::Command};

use rstest::rstest;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{at, documents, object, read, run};

const SCRIPTS: &str = "charts/sluice/files/argocd";

/// A value as Lua writes it down.
fn lua(value: &Value) -> String {
    match value {
        Value::Null => "nil".to_owned(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::String(text) => format!("{text:?}"),
        Value::Array(items) => format!("{{{}}}", items.iter().map(lua).collect::<Vec<_>>().join(",")),
        Value::Object(map) => {
            let entries = map.iter().map(|(key, value)| format!("[{key:?}]={}", lua(value)));
            format!("{{{}}}", entries.collect::<Vec<_>>().join(","))
        }
    }
}

/// What a script gives for an object, evaluated by one more line of Lua over `it`.
fn evaluate(script: &str, object: &Value, then: &str) -> String {
    let folder = TempDir::new().unwrap();
    let program = folder.path().join("program.lua");
    let text = format!(
        "obj = {}\nlocal it = assert(loadfile({:?}))()\n{then}\n",
        lua(object),
        at(&format!("{SCRIPTS}/{script}")).display().to_string()
    );
    fs::write(&program, text).unwrap();
    run(Command::new("lua5.1").arg(&program)).trim_end().to_owned()
}

fn condition(kind: &str, status: &str, reason: &str) -> Value {
    json!({"type": kind, "status": status, "reason": reason, "message": "in words", "observedGeneration": 2})
}

/// An object of generation 2 whose status observed this one.
fn channel(observed: i64, conditions: &[Value]) -> Value {
    json!({
        "kind": "Channel", "metadata": {"name": "shop", "generation": 2}, "spec": {"release": "1.0.0"},
        "status": {"observedGeneration": observed, "conditions": conditions},
    })
}

#[rstest]
#[case::served(2, vec![condition("Ready", "True", "Served")], "Healthy Served: in words")]
#[case::in_a_rollout(
    2,
    vec![condition("RolledOut", "False", "Step"), condition("Ready", "True", "Served")],
    "Healthy Served: in words"
)]
#[case::reconciling(
    2,
    vec![condition("Reconciling", "True", "Materialising"), condition("Ready", "False", "Materialising")],
    "Progressing Materialising: in words"
)]
#[case::reconciling_and_ready(
    2,
    vec![condition("Ready", "True", "Served"), condition("Reconciling", "True", "NewCommit")],
    "Progressing NewCommit: in words"
)]
#[case::stalled(
    2,
    vec![condition("Ready", "False", "VersionBurnt"), condition("Stalled", "True", "VersionBurnt")],
    "Degraded VersionBurnt: in words"
)]
#[case::stalled_and_reconciling(
    2,
    vec![condition("Reconciling", "True", "NewCommit"), condition("Stalled", "True", "VersionBurnt")],
    "Degraded VersionBurnt: in words"
)]
#[case::braked_but_ready(
    2,
    vec![condition("Ready", "True", "Served"), condition("Stalled", "True", "Braked")],
    "Degraded Braked: in words"
)]
#[case::not_stalled(
    2,
    vec![condition("Stalled", "False", "Fine"), condition("Ready", "True", "Served")],
    "Healthy Served: in words"
)]
#[case::tried_again(2, vec![condition("Ready", "False", "RepositoryUnreachable")], "Degraded RepositoryUnreachable: in words")]
#[case::unknown(2, vec![condition("Ready", "Unknown", "NotObserved")], "Progressing Waiting for Sluice")]
#[case::no_conditions(2, vec![], "Progressing Waiting for Sluice")]
#[case::behind(1, vec![condition("Ready", "True", "Served")], "Progressing Waiting for Sluice")]
#[case::never_observed(-1, vec![condition("Stalled", "True", "Old")], "Progressing Waiting for Sluice")]
fn health_follows_the_conditions(
    #[case] observed: i64,
    #[case] conditions: Vec<Value>,
    #[case] expected: &str,
) {
    let health =
        evaluate("health.lua", &channel(observed, &conditions), "print(it.status .. ' ' .. it.message)");
    assert_eq!(health, expected);
}

#[test]
fn an_object_without_a_status_is_waited_for() {
    let new = json!({"kind": "Release", "metadata": {"name": "shop-1", "generation": 1}, "spec": {}});
    assert_eq!(evaluate("health.lua", &new, "print(it.status)"), "Progressing");
}

#[test]
fn what_is_suspended_is_shown_so_unless_it_is_broken() {
    let mut suspended = channel(2, &[condition("Ready", "True", "Suspended")]);
    suspended["spec"]["suspend"] = true.into();
    assert_eq!(evaluate("health.lua", &suspended, "print(it.status)"), "Suspended");
    suspended["status"]["conditions"] = json!([condition("Stalled", "True", "Braked")]);
    assert_eq!(evaluate("health.lua", &suspended, "print(it.status)"), "Degraded");
}

#[test]
fn actions_are_offered_where_they_have_an_effect() {
    let names = "local names = {}; for name, action in pairs(it) do names[#names + 1] = name .. '=' .. \
                 tostring(action.disabled) end; table.sort(names); print(table.concat(names, ' '))";
    let repository =
        |suspend: bool| json!({"kind": "Repository", "metadata": {}, "spec": {"suspend": suspend}});
    assert_eq!(
        evaluate("actions.lua", &repository(false), names),
        "reconcile=false resume=true suspend=false"
    );
    assert_eq!(
        evaluate("actions.lua", &repository(true), names),
        "reconcile=false resume=false suspend=true"
    );
    assert_eq!(evaluate("actions.lua", &channel(2, &[]), names), "reconcile=false");
}

#[test]
fn actions_change_one_thing() {
    let asked = evaluate(
        "reconcile.lua",
        &channel(2, &[]),
        "print(it.metadata.annotations['sluice.dev/requestedAt'])",
    );
    let shape: String =
        asked.chars().map(|letter| if letter.is_ascii_digit() { '0' } else { letter }).collect();
    assert_eq!(shape, "0000-00-00T00:00:00Z");
    let mut annotated = channel(2, &[]);
    annotated["metadata"]["annotations"] = json!({"team": "shop"});
    assert_eq!(evaluate("reconcile.lua", &annotated, "print(it.metadata.annotations.team)"), "shop");
    assert_eq!(evaluate("reconcile.lua", &annotated, "print(it.spec.release)"), "1.0.0");
    let repository = json!({"kind": "Repository", "metadata": {}, "spec": {"suspend": false}});
    assert_eq!(evaluate("suspend.lua", &repository, "print(it.spec.suspend)"), "true");
    assert_eq!(evaluate("resume.lua", &repository, "print(it.spec.suspend)"), "false");
}

#[test]
fn the_settings_that_people_copy_hold_these_scripts() {
    let settings = documents(&read("examples/cluster/argocd/argocd-cm.yaml"));
    let data = object(&settings, "ConfigMap", "argocd-cm")["data"].as_object().unwrap();
    let script = |name: &str| read(&format!("{SCRIPTS}/{name}.lua"));
    for kind in ["Repository", "Release", "Channel", "Rollback"] {
        assert_eq!(
            data[&format!("resource.customizations.health.sluice.dev_{kind}")],
            script("health"),
            "{kind}"
        );
    }
    for kind in ["Repository", "Release", "Channel"] {
        let actions = data[&format!("resource.customizations.actions.sluice.dev_{kind}")].as_str().unwrap();
        let actions = &documents(actions)[0];
        assert_eq!(actions["discovery.lua"], script("actions"), "{kind}");
        let definitions = actions["definitions"].as_array().unwrap();
        let expected: &[&str] =
            if kind == "Repository" { &["reconcile", "suspend", "resume"] } else { &["reconcile"] };
        let names: Vec<&str> = definitions.iter().map(|action| action["name"].as_str().unwrap()).collect();
        assert_eq!(names, expected, "{kind}");
        for action in definitions {
            assert_eq!(action["action.lua"], script(action["name"].as_str().unwrap()), "{kind}");
        }
    }
    assert_eq!(data.len(), 7);
}

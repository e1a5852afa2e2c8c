//! The rights that the chart grants to the program, as rendered.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::support::{NAMESPACE, Values, object, of_kind, render, sets};

/// `verb group/resource` for each right of these rules.
fn rights(rules: &Value) -> BTreeSet<String> {
    let list = |rule: &Value, key: &str| -> Vec<String> {
        rule[key].as_array().unwrap().iter().map(|item| item.as_str().unwrap().to_owned()).collect()
    };
    let mut rights = BTreeSet::new();
    for rule in rules.as_array().unwrap() {
        for group in list(rule, "apiGroups") {
            for resource in list(rule, "resources") {
                for verb in list(rule, "verbs") {
                    rights.insert(format!("{verb} {group}/{resource}"));
                }
            }
        }
    }
    rights
}

#[test]
fn nothing_is_granted_by_wildcard_and_secrets_are_only_read_by_name() {
    for (set, values) in sets() {
        let objects = render(&values);
        for role in objects.iter().filter(|object| object["kind"].as_str().unwrap().ends_with("Role")) {
            let rights = rights(&role["rules"]);
            assert!(!rights.iter().any(|right| right.contains('*')), "{set}: {rights:?}");
            let secrets: Vec<&String> = rights.iter().filter(|right| right.ends_with("/secrets")).collect();
            assert!(secrets.is_empty() || secrets == ["get /secrets"], "{set}: {secrets:?}");
        }
    }
}

#[test]
fn who_applies_from_elsewhere_takes_the_right_away() {
    let writes = |values: Values| {
        let objects = render(&values);
        rights(&object(&objects, "ClusterRole", "sluice.sluice-system")["rules"])
            .into_iter()
            .filter(|right| right.ends_with("sluice.dev/channels") || right.ends_with("sluice.dev/releases"))
            .map(|right| right.split_once(' ').unwrap().0.to_owned())
            .collect::<BTreeSet<_>>()
    };
    let all = ["create", "delete", "list", "patch", "watch"].map(str::to_owned);
    assert_eq!(writes(Values::new()), BTreeSet::from(all));
    assert_eq!(
        writes(Values::new().set("operator.apply=false")),
        BTreeSet::from(["list", "watch"].map(str::to_owned))
    );
}

#[test]
fn nothing_outside_the_named_namespaces_is_made_in_namespaced_mode() {
    let objects = render(&Values::new().fixture("namespaced.yaml"));
    let allowed = [NAMESPACE, "team-a", "team-b"];
    for object in &objects {
        let namespace = object["metadata"]["namespace"].as_str();
        assert!(namespace.is_some_and(|namespace| allowed.contains(&namespace)), "{object}");
    }
    let roles = of_kind(&objects, "Role");
    let granted: BTreeSet<&str> = roles
        .iter()
        .filter(|role| role["metadata"]["name"] == "sluice.sluice-system")
        .map(|role| role["metadata"]["namespace"].as_str().unwrap())
        .collect();
    assert_eq!(granted, BTreeSet::from(["team-a", "team-b"]));
    let args = &object(&objects, "Deployment", "sluice")["spec"]["template"]["spec"]["containers"][0]["args"];
    assert!(args.as_array().unwrap().contains(&"--namespaces=team-a,team-b".into()), "{args}");

    // Without a list it is the release's own.
    let objects = render(&Values::new().fixture("namespaced.yaml").set("namespaces=null"));
    assert!(objects.iter().all(|object| object["metadata"]["namespace"] == NAMESPACE));
}

#[test]
fn the_reader_is_made_where_it_can_be_used() {
    let made = |values: Values| {
        let objects = render(&values);
        let names = objects.iter().filter_map(|object| object["metadata"]["name"].as_str());
        names.filter(|name| name.ends_with("reader") || *name == "sluice-person").count()
    };
    assert_eq!(made(Values::new()), 4, "nobody is bound by default");
    assert_eq!(made(Values::new().fixture("everything.yaml")), 5);
    for without in ["reader.create=false", "rbac.create=false", "rbac.reviews=false"] {
        assert_eq!(made(Values::new().set(without)), 0, "{without}");
    }
    let objects = render(&Values::new().fixture("everything.yaml"));
    let subjects = &object(&objects, "RoleBinding", "sluice-person")["subjects"];
    assert_eq!(subjects[1]["namespace"], "team-a");
    assert_eq!(subjects[2]["namespace"], NAMESPACE);
    assert_eq!(subjects[0]["namespace"], Value::Null);
}

#[test]
fn the_braker_is_made_where_it_can_be_used_and_may_do_nothing_else() {
    let made = |values: Values| {
        let objects = render(&values);
        let names = objects.iter().filter_map(|object| object["metadata"]["name"].as_str());
        names.filter(|name| name.ends_with("braker") || name.ends_with("-braking-person")).count()
    };
    assert_eq!(made(Values::new()), 4, "nobody is bound by default");
    let bound =
        |values: Values| values.set("braker.subjects[0].kind=Group").set("braker.subjects[0].name=on-call");
    assert_eq!(made(bound(Values::new())), 5);
    for without in ["braker.create=false", "rbac.create=false", "rbac.reviews=false"] {
        assert_eq!(made(bound(Values::new()).set(without)), 0, "{without}");
    }
    let objects = render(&Values::new());
    let role = object(&objects, "ClusterRole", "sluice.sluice-system.braker");
    assert_eq!(rights(&role["rules"]), BTreeSet::from(["create sluice.dev/brakes".to_owned()]));
    for (part, may) in [("view", false), ("edit", false), ("admin", true)] {
        let role = object(&objects, "ClusterRole", &format!("sluice.sluice-system.{part}"));
        assert_eq!(rights(&role["rules"]).contains("create sluice.dev/brakes"), may, "{part}");
    }
}

#[test]
fn each_role_of_the_program_is_bound_to_the_operator_alone() {
    for (set, values) in sets() {
        let objects = render(&values);
        let bindings = objects.iter().filter(|object| object["kind"].as_str().unwrap().ends_with("Binding"));
        let mut bound = 0;
        let people = |binding: &Value| {
            let name = binding["metadata"]["name"].as_str().unwrap();
            name.ends_with("reader") || name.ends_with("braker") || name.ends_with("-person")
        };
        for binding in bindings.filter(|binding| binding["subjects"].is_array() && !people(binding)) {
            bound += 1;
            let subjects = binding["subjects"].as_array().unwrap();
            assert_eq!(subjects.len(), 1, "{set}");
            let subject = (&subjects[0]["kind"], &subjects[0]["name"], &subjects[0]["namespace"]);
            assert_eq!(subject, (&"ServiceAccount".into(), &"sluice".into(), &NAMESPACE.into()), "{set}");
        }
        assert!(bound >= 2, "{set}: {bound}");
    }
}

//! What the network policies let through.

use serde_json::{Value, json};

use crate::support::{Values, object, of_kind, render, sets};

/// The entries of a list, or none.
fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

#[test]
fn every_pod_is_closed_in_both_directions() {
    for (set, values) in sets() {
        let objects = render(&values);
        let deny = object(&objects, "NetworkPolicy", "sluice-deny");
        assert_eq!(deny["spec"]["policyTypes"], json!(["Ingress", "Egress"]), "{set}");
        assert!(deny["spec"]["ingress"].is_null() && deny["spec"]["egress"].is_null(), "{set}");
        let wanted = deny["spec"]["podSelector"]["matchLabels"].as_object().unwrap();
        for pod in objects.iter().filter_map(|object| match object["kind"].as_str() {
            Some("Deployment") => Some(&object["spec"]["template"]["metadata"]["labels"]),
            Some("Pod") => Some(&object["metadata"]["labels"]),
            _ => None,
        }) {
            assert!(wanted.iter().all(|(key, value)| pod[key] == *value), "{set}: {pod}");
        }
    }
}

#[test]
fn what_is_let_in_is_a_port_of_the_pod() {
    for (set, values) in sets() {
        let objects = render(&values);
        for policy in of_kind(&objects, "NetworkPolicy") {
            let component = &policy["spec"]["podSelector"]["matchLabels"]["app.kubernetes.io/component"];
            let named: Vec<&Value> = items(&policy["spec"]["ingress"])
                .iter()
                .flat_map(|rule| items(&rule["ports"]))
                .map(|port| &port["port"])
                .collect();
            let Some(deployment) = of_kind(&objects, "Deployment").into_iter().find(|deployment| {
                deployment["metadata"]["labels"]["app.kubernetes.io/component"] == *component
            }) else {
                assert!(named.is_empty(), "{set}: {policy}");
                continue;
            };
            let mut ports: Vec<&Value> =
                items(&deployment["spec"]["template"]["spec"]["containers"][0]["ports"])
                    .iter()
                    .map(|port| &port["name"])
                    .collect();
            let mut named = named;
            ports.sort_by_key(ToString::to_string);
            named.sort_by_key(ToString::to_string);
            assert_eq!(named, ports, "{set}: {component} lets in what it serves, each once");
        }
    }
}

#[test]
fn each_role_reaches_what_it_needs() {
    let reached = |values: &Values, policy: &str| -> Vec<u64> {
        let objects = render(values);
        let policy = object(&objects, "NetworkPolicy", policy);
        let rules = items(&policy["spec"]["egress"]);
        rules
            .iter()
            .flat_map(|rule| items(&rule["ports"]))
            .map(|port| port["port"].as_u64().unwrap())
            .collect()
    };
    let everything = Values::new().fixture("everything.yaml");
    assert_eq!(reached(&Values::new(), "sluice-operator"), [53, 53, 443, 6443, 22]);
    assert_eq!(reached(&everything, "sluice-operator"), [53, 53, 443, 6443, 22, 5432, 3128]);
    assert_eq!(
        reached(&everything, "sluice-gateway"),
        [53, 53, 443, 9000],
        "neither API server nor Postgres"
    );
}

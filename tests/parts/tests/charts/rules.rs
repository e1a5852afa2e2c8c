//! The alerts fire when they should and stay silent when they should not, says Prometheus' own test of rules.

use std::{collections::BTreeSet, fs};

use serde_json::{Value, json};
use sluice_test_parts::promtool;
use tempfile::TempDir;

use crate::support::{Values, fixture, object, read, render, run};

fn enabled() -> Values {
    Values::new().set("monitoring.prometheusRule.enabled=true").set("monitoring.serviceMonitor.enabled=true")
}

fn groups(values: &Values) -> Value {
    object(&render(values), "PrometheusRule", "sluice")["spec"].clone()
}

fn alerts(groups: &Value) -> Vec<&Value> {
    groups["groups"].as_array().unwrap().iter().flat_map(|group| group["rules"].as_array().unwrap()).collect()
}

#[test]
fn promtool_agrees() {
    let folder = TempDir::new().unwrap();
    let rules = folder.path().join("rules.yaml");
    fs::write(&rules, groups(&enabled()).to_string()).unwrap();
    run(promtool().args(["check", "rules", "--lint=all", "--lint-fatal"]).arg(&rules));
    // The file of tests names the rules beside it.
    let tests = folder.path().join("rules-test.yaml");
    fs::copy(fixture("rules-test.yaml"), &tests).unwrap();
    let said = run(promtool().args(["test", "rules"]).arg(&tests));
    assert!(said.contains("SUCCESS"), "{said}");
}

#[test]
fn each_alert_is_tested_firing_and_has_a_runbook() {
    let groups = groups(&enabled());
    let tests = fs::read_to_string(fixture("rules-test.yaml")).unwrap();
    let index = read("docs/runbooks/README.md");
    let mut pages = BTreeSet::new();
    for alert in alerts(&groups) {
        let name = alert["alert"].as_str().unwrap();
        let url = alert["annotations"]["runbook_url"].as_str().unwrap();
        let page = url.rsplit_once('/').unwrap().1;
        assert_eq!(page, format!("{name}.md"));
        assert!(read(&format!("docs/runbooks/{page}")).starts_with(&format!("# {name}\n")), "{page}");
        assert!(
            index.contains(&format!("[{name}]({page}) | {}", alert["labels"]["severity"].as_str().unwrap())),
            "{name}"
        );
        assert!(tests.contains(&format!("alertname: {name}\n")), "{name} has no test");
        pages.insert(page.to_owned());
    }
    let written: BTreeSet<String> = fs::read_dir(crate::support::at("docs/runbooks"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("Sluice"))
        .collect();
    assert_eq!(written, pages, "pages without an alert, or alerts without a page");
}

#[test]
fn alerts_can_be_left_out_and_labelled() {
    let values = enabled()
        .set("monitoring.prometheusRule.disabled={SluiceCheckInsDropped}")
        .set("monitoring.prometheusRule.alertLabels.team=mobile")
        .set("monitoring.prometheusRule.runbookUrl=https://wiki.example.org/sluice/");
    let all = alerts(&groups(&enabled())).len();
    let groups = groups(&values);
    let left = alerts(&groups);
    assert_eq!(left.len(), all - 1);
    for alert in left {
        assert_ne!(alert["alert"], "SluiceCheckInsDropped");
        assert_eq!(alert["labels"]["team"], "mobile");
        assert!(
            alert["annotations"]["runbook_url"]
                .as_str()
                .unwrap()
                .starts_with("https://wiki.example.org/sluice/Sluice")
        );
    }
}

/// Alerts select by `job`, which is the name of the Service that the monitor selects.
#[test]
fn the_jobs_of_the_alerts_are_services_that_are_scraped() {
    let scaled = enabled().set("gateway.separate=true").set("store.url=s3://bundles");
    let objects = render(&scaled);
    let monitor = object(&objects, "ServiceMonitor", "sluice");
    let scraped: BTreeSet<&str> = objects
        .iter()
        .filter(|object| object["kind"] == "Service")
        .filter(|service| {
            let wanted = monitor["spec"]["selector"]["matchLabels"].as_object().unwrap();
            wanted.iter().all(|(key, value)| service["metadata"]["labels"][key] == *value)
        })
        .map(|service| service["metadata"]["name"].as_str().unwrap())
        .collect();
    assert_eq!(scraped, BTreeSet::from(["sluice-admin", "sluice-gateway-admin"]));
    assert_eq!(monitor["spec"]["endpoints"][0]["port"], "admin");
    assert_eq!(monitor["spec"]["namespaceSelector"], json!({"matchNames": ["sluice-system"]}));
    for alert in alerts(&groups(&scaled)) {
        let expression = alert["expr"].as_str().unwrap();
        let job = [r#"job="sluice-admin""#, r#"job=~"sluice(-gateway)?-admin""#];
        assert!(job.iter().any(|job| expression.contains(job)), "{expression}");
    }
}

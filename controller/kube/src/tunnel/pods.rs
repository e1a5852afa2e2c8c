//! Which pod, and which of its ports.

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;

use super::{LABELS, TunnelError};

/// Name of the port in the chart.
const PORT_NAME: &str = "admin";
/// The port when the pod names none.
const PORT: u16 = 8081;

/// The first ready pod by name, and its admin port.
pub(super) fn choose(pods: &[Pod], namespace: &str) -> Result<(String, u16), TunnelError> {
    if pods.is_empty() {
        return Err(TunnelError::NoPod { namespace: namespace.into(), labels: LABELS });
    }
    let ready = pods.iter().filter(|pod| is_ready(pod)).min_by_key(|pod| pod.name_any());
    ready.map(|pod| (pod.name_any(), admin_port(pod))).ok_or_else(|| TunnelError::NotReady {
        namespace: namespace.into(),
        pods: pods
            .iter()
            .map(|pod| format!("{} ({})", pod.name_any(), phase(pod)))
            .collect::<Vec<_>>()
            .join(", "),
    })
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    pod.metadata.deletion_timestamp.is_none()
        && conditions.into_iter().any(|c| c.type_ == "Ready" && c.status == "True")
}

fn phase(pod: &Pod) -> &str {
    if pod.metadata.deletion_timestamp.is_some() {
        return "terminating";
    }
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or("no status yet")
}

fn admin_port(pod: &Pod) -> u16 {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    containers
        .flat_map(|container| container.ports.iter().flatten())
        .find(|port| port.name.as_deref() == Some(PORT_NAME))
        .and_then(|port| u16::try_from(port.container_port).ok())
        .unwrap_or(PORT)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(name: &str, ready: &str, phase: &str, port: Option<u16>) -> Pod {
        let ports = port
            .map(|p| json!([{"name": "http", "containerPort": 1}, {"name": "admin", "containerPort": p}]));
        serde_json::from_value(json!({
            "metadata": {"name": name},
            "spec": {"containers": [{"name": "sluice", "ports": ports}]},
            "status": {"phase": phase, "conditions": [{"type": "Ready", "status": ready}]}
        }))
        .unwrap()
    }

    #[test]
    fn a_ready_pod_is_chosen_by_name() {
        let pods = [
            pod("c", "True", "Running", None),
            pod("b", "True", "Running", Some(9081)),
            pod("a", "False", "Running", None),
        ];
        assert_eq!(choose(&pods, "ns").unwrap(), ("b".to_owned(), 9081));
        assert_eq!(choose(&pods[..1], "ns").unwrap(), ("c".to_owned(), 8081));
    }

    #[test]
    fn a_pod_that_ends_is_not_ready() {
        let mut ending = pod("a", "True", "Running", None);
        ending.metadata.deletion_timestamp = serde_json::from_value(json!("2026-11-24T12:00:00Z")).unwrap();
        let pods = [ending, pod("b", "False", "Pending", None)];
        let error = choose(&pods, "ns").unwrap_err().to_string();
        assert!(error.contains("a (terminating), b (Pending)"), "{error}");
    }

    #[test]
    fn nothing_there_names_what_was_looked_for() {
        let error = choose(&[], "elsewhere").unwrap_err().to_string();
        assert!(error.contains("namespace elsewhere") && error.contains("component=operator"), "{error}");
    }
}

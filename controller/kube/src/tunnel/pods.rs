//! Which pod, and which of its ports.

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;

use super::{LABELS, TunnelError};

/// The lease when the pod names none.
const LEASE: &str = "sluice";
/// Name of the port in the chart.
const PORT_NAME: &str = "admin";
/// The port when the pod names none.
const PORT: u16 = 8081;

/// Where the leader's name stands.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LeaseName {
    pub(super) namespace: Option<String>,
    pub(super) name: String,
}

/// The lease that several ready pods compete for; nothing when there is no choice. The pods' own arguments name it.
pub(super) fn lease(pods: &[Pod]) -> Option<LeaseName> {
    let mut ready = pods.iter().filter(|pod| is_ready(pod));
    let (first, _) = (ready.next()?, ready.next()?);
    let containers = first.spec.iter().flat_map(|spec| &spec.containers);
    let arguments: Vec<&String> = containers.flat_map(|container| container.args.iter().flatten()).collect();
    let value = |flag: &str| {
        let long = format!("{flag}=");
        arguments.iter().find_map(|argument| argument.strip_prefix(&long)).map(str::to_owned)
    };
    Some(LeaseName {
        namespace: value("--lease-namespace"),
        name: value("--lease-name").unwrap_or_else(|| LEASE.to_owned()),
    })
}

/// The ready pod that leads, else the first ready one by name, and its admin port. `holder` is who has the lease, as far
/// as that is known: a replica's name is that of its pod with the number of its process, unless somebody chose another.
pub(super) fn choose(
    pods: &[Pod],
    namespace: &str,
    holder: Option<&str>,
) -> Result<(String, u16), TunnelError> {
    if pods.is_empty() {
        return Err(TunnelError::NoPod { namespace: namespace.into(), labels: LABELS });
    }
    let leads = |pod: &&Pod| {
        let name = pod.name_any();
        let rest = holder.and_then(|holder| holder.strip_prefix(&name));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
    };
    let ready = pods.iter().filter(|pod| is_ready(pod)).min_by_key(|pod| (!leads(pod), pod.name_any()));
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
        assert_eq!(choose(&pods, "ns", None).unwrap(), ("b".to_owned(), 9081));
        assert_eq!(choose(&pods[..1], "ns", Some("a_1")).unwrap(), ("c".to_owned(), 8081));
    }

    #[test]
    fn of_several_the_one_that_leads_is_chosen() {
        let pods = ["sluice-1", "sluice-10", "sluice-2"].map(|name| pod(name, "True", "Running", None));
        for (holder, chosen) in [
            (Some("sluice-10_7"), "sluice-10"),
            (Some("sluice-2"), "sluice-2"),
            (Some("sluice-1_7"), "sluice-1"),
            (Some("sluice-3_7"), "sluice-1"),
            (Some(""), "sluice-1"),
            (None, "sluice-1"),
        ] {
            assert_eq!(choose(&pods, "ns", holder).unwrap().0, chosen, "{holder:?}");
        }
        // It leads, and is not ready.
        let mut ending = pods.to_vec();
        ending[1].status = None;
        assert_eq!(choose(&ending, "ns", Some("sluice-10_7")).unwrap().0, "sluice-1");
    }

    #[test]
    fn the_lease_is_asked_for_only_where_there_is_a_choice() {
        let mut pods = ["a", "b", "c"].map(|name| pod(name, "True", "Running", None));
        pods[1].status = None;
        assert_eq!(lease(&pods[..2]), None);
        assert_eq!(lease(&pods), Some(LeaseName { namespace: None, name: "sluice".into() }));
        pods[0].spec.as_mut().unwrap().containers[0].args =
            Some(vec!["operator".into(), "--lease-namespace=ops".into(), "--lease-name=ota-sluice".into()]);
        let named = LeaseName { namespace: Some("ops".into()), name: "ota-sluice".into() };
        assert_eq!(lease(&pods), Some(named));
    }

    #[test]
    fn a_pod_that_ends_is_not_ready() {
        let mut ending = pod("a", "True", "Running", None);
        ending.metadata.deletion_timestamp = serde_json::from_value(json!("2026-11-24T12:00:00Z")).unwrap();
        let pods = [ending, pod("b", "False", "Pending", None)];
        let error = choose(&pods, "ns", None).unwrap_err().to_string();
        assert!(error.contains("a (terminating), b (Pending)"), "{error}");
    }

    #[test]
    fn nothing_there_names_what_was_looked_for() {
        let error = choose(&[], "elsewhere", None).unwrap_err().to_string();
        assert!(error.contains("namespace elsewhere") && error.contains("component=operator"), "{error}");
    }
}

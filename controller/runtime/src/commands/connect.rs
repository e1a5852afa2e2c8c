//! How `status` and `explain` reach the operator in a cluster, also when the program is called as a plugin of kubectl.

use std::{env, path::Path, path::PathBuf, time::Duration};

use anyhow::{Context as _, bail};
use clap::Args;
use http::{Method, StatusCode};
use secrecy::ExposeSecret as _;
use sluice_kube::tunnel::{self, Place};

mod http1;

/// Where the chart puts the operator unless told otherwise.
const NAMESPACE: &str = "sluice-system";
/// Whose token reads, as the chart names it.
const READER: &str = "sluice-reader";
/// Whose token brakes, as the chart names it.
pub(crate) const BRAKER: &str = "sluice-braker";
/// What stands above the options in help; named on each, because a heading for all of them would go on after them.
const HEADING: &str = "In a cluster";
/// How long finding the operator may take, and how long its answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// How to reach an operator in a cluster, instead of a server on this machine.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct ClusterArgs {
    /// Namespace of the operator [default: sluice-system]
    #[arg(short, long, value_name = "NAME", help_heading = HEADING)]
    pub(crate) namespace: Option<String>,
    /// Context of the kubeconfig, instead of the current one
    #[arg(long, value_name = "NAME", help_heading = HEADING)]
    pub(crate) context: Option<String>,
    /// Kubeconfig, instead of the one that kubectl would take
    #[arg(long, value_name = "FILE", help_heading = HEADING)]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// `ServiceAccount` whose token is used, `NAMESPACE/NAME` if it is not in the operator's namespace [default: sluice-reader, and
    /// sluice-braker to brake]
    #[arg(long, value_name = "NAME", help_heading = HEADING)]
    pub(crate) service_account: Option<String>,
}

impl ClusterArgs {
    /// Where the operator is; nothing when a server on this machine is meant. A plugin means the cluster unless
    /// `elsewhere`, the name of an option that says so, was given.
    pub(crate) fn place(&self, elsewhere: Option<&str>, plugin: bool) -> anyhow::Result<Option<Place>> {
        let Self { namespace, context, kubeconfig, service_account } = self;
        let given = [
            (namespace.is_some(), "--namespace"),
            (context.is_some(), "--context"),
            (kubeconfig.is_some(), "--kubeconfig"),
            (service_account.is_some(), "--service-account"),
        ];
        let given = given.into_iter().find_map(|(is, flag)| is.then_some(flag));
        match (given, elsewhere) {
            (Some(here), Some(there)) => bail!(
                "{here} means an operator in a cluster and {there} another server; give one of them (an environment variable counts, too)"
            ),
            (None, None) if !plugin => return Ok(None),
            (None, Some(_)) => return Ok(None),
            (_, None) => {}
        }
        Ok(Some(Place {
            kubeconfig: kubeconfig.clone(),
            context: context.clone(),
            namespace: namespace.clone().unwrap_or_else(|| NAMESPACE.into()),
            service_account: service_account.clone().unwrap_or_else(|| READER.into()),
        }))
    }
}

/// Whether the program was called as a plugin: kubectl finds it by this name.
pub(crate) fn is_plugin() -> bool {
    env::args_os().next().is_some_and(|name| is_plugin_name(Path::new(&name)))
}

fn is_plugin_name(program: &Path) -> bool {
    program.file_stem().is_some_and(|name| name == "kubectl-sluice")
}

/// The name under which the cluster knows the caller.
pub(crate) async fn user(place: &Place) -> anyhow::Result<Option<String>> {
    let asked = tokio::time::timeout(PATIENCE, tunnel::user(place)).await;
    Ok(asked.context("the cluster does not answer in time")??)
}

/// Asks the operator one thing, over a port-forward of its own.
pub(crate) async fn ask(
    place: &Place,
    method: Method,
    path: &str,
    body: Option<Vec<u8>>,
) -> anyhow::Result<(StatusCode, String)> {
    let opened = tokio::time::timeout(PATIENCE, tunnel::open(place)).await;
    let tunnel = opened.context("the cluster does not answer in time")??;
    let pod = tunnel.pod;
    let exchange = http1::exchange(tunnel.stream, method, path, tunnel.token.expose_secret(), body);
    let answer = tokio::time::timeout(PATIENCE, exchange).await;
    match answer {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => {
            // The other end of a port-forward says on a channel of its own why there is no connection.
            let said = tokio::time::timeout(Duration::from_secs(1), tunnel.failure).await.ok().flatten();
            Err(match said {
                Some(said) => anyhow::anyhow!("pod {pod} is not reached: {}", said.trim()),
                None => error.context(format!("pod {pod} does not answer")),
            })
        }
        Err(_) => bail!("pod {pod} does not answer in time"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn somewhere() -> ClusterArgs {
        ClusterArgs { context: Some("kind".into()), ..ClusterArgs::default() }
    }

    #[test]
    fn a_cluster_is_meant_when_an_option_or_the_plugin_says_so() {
        let none = ClusterArgs::default();
        assert!(none.place(None, false).unwrap().is_none());
        assert!(none.place(Some("--data"), true).unwrap().is_none());
        let place = none.place(None, true).unwrap().unwrap();
        assert_eq!(
            (place.namespace.as_str(), place.service_account.as_str()),
            ("sluice-system", "sluice-reader")
        );
        let place = somewhere().place(None, false).unwrap().unwrap();
        assert_eq!(place.context.as_deref(), Some("kind"));
        for plugin in [false, true] {
            let error = somewhere().place(Some("--admin-url"), plugin).unwrap_err().to_string();
            assert!(error.contains("--context") && error.contains("--admin-url"), "{error}");
        }
    }

    #[test]
    fn the_name_makes_the_plugin() {
        for (name, plugin) in [
            ("/usr/local/bin/kubectl-sluice", true),
            ("kubectl-sluice.exe", true),
            ("/usr/local/bin/sluice", false),
            ("kubectl-sluice-other", false),
            ("", false),
        ] {
            assert_eq!(is_plugin_name(Path::new(name)), plugin, "{name}");
        }
    }
}

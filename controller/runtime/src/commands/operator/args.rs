//! The arguments of `sluice operator`.

use std::path::PathBuf;

use clap::Args;
use serde::Deserialize;

/// Every setting can also stand in the environment and in the file given by `--config`, under the flag's name. A flag
/// wins over the environment, the environment over the file, the file over the default.
///
/// The cluster is the one of the pod, or of the kubeconfig that KUBECONFIG names.
#[derive(Debug, Clone, Default, Args, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct OperatorArgs {
    /// Mirrors of repositories, the file of the fleet store, and the bundle store unless --store is given
    #[arg(long, env = "SLUICE_DATA", value_name = "DIR")]
    pub(crate) data: Option<String>,
    /// Bundle store: `file:///…`, `s3://bucket/prefix`, `gs://…` or `az://…` [default: in the data directory]
    #[arg(long, env = "SLUICE_STORE", value_name = "URL")]
    pub(crate) store: Option<String>,
    /// Fleet store: a postgres:// URL [default: a file in the data directory]
    #[arg(long, env = "SLUICE_DATABASE_URL", value_name = "URL", hide_env_values = true)]
    pub(crate) database_url: Option<String>,
    /// File with the URL of the fleet store, so that its password stands in no list of processes
    #[arg(long, env = "SLUICE_DATABASE_URL_FILE", value_name = "FILE")]
    pub(crate) database_url_file: Option<String>,
    /// Namespaces that are watched [default: all]
    #[arg(long, env = "SLUICE_NAMESPACES", value_name = "NAME,…", value_delimiter = ',')]
    pub(crate) namespaces: Option<Vec<String>>,
    /// Namespace of the lease [default: the pod's own]
    #[arg(long, env = "SLUICE_LEASE_NAMESPACE", value_name = "NAME")]
    pub(crate) lease_namespace: Option<String>,
    /// Name of the lease [default: sluice]
    #[arg(long, env = "SLUICE_LEASE_NAME", value_name = "NAME")]
    pub(crate) lease_name: Option<String>,
    /// How long other replicas wait for a leader that says nothing [default: 15s]
    #[arg(long, env = "SLUICE_LEASE_DURATION", value_name = "DURATION")]
    pub(crate) lease_duration: Option<String>,
    /// Name of this replica [default: the host name]
    #[arg(long, env = "SLUICE_IDENTITY", value_name = "NAME")]
    pub(crate) identity: Option<String>,
    /// Also answer devices from this process; for a single replica: true or false [default: false]
    #[arg(long, env = "SLUICE_GATEWAY", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub(crate) gateway: Option<String>,
    /// Where devices connect, with --gateway [default: 127.0.0.1:8080]
    #[arg(long, env = "SLUICE_LISTEN", value_name = "ADDRESS")]
    pub(crate) listen: Option<String>,
    /// Where people and Prometheus connect [default: 127.0.0.1:8081]
    #[arg(long, env = "SLUICE_ADMIN_LISTEN", value_name = "ADDRESS")]
    pub(crate) admin_listen: Option<String>,
    /// Where webhooks come in, at /hooks/<namespace>/<name> [default: 127.0.0.1:8082]
    #[arg(long, env = "SLUICE_HOOKS_LISTEN", value_name = "ADDRESS")]
    pub(crate) hooks_listen: Option<String>,
    /// How devices reach this server; download URLs begin with it [default: the listen address]
    #[arg(long, env = "SLUICE_PUBLIC_URL", value_name = "URL")]
    pub(crate) public_url: Option<String>,
    /// Where bundles are downloaded from, when not from this server: a CDN or a bucket
    #[arg(long, env = "SLUICE_DOWNLOAD_URL", value_name = "URL")]
    pub(crate) download_url: Option<String>,
    /// Networks of proxies whose forwarding headers are believed
    #[arg(long, env = "SLUICE_TRUSTED_PROXIES", value_name = "CIDR,…", value_delimiter = ',')]
    pub(crate) trusted_proxies: Option<Vec<String>>,
    /// Certificate chain for the device address, PEM; read again when it changes
    #[arg(long, env = "SLUICE_TLS_CERT_FILE", value_name = "FILE")]
    pub(crate) tls_cert_file: Option<String>,
    /// Private key for the device address, PEM
    #[arg(long, env = "SLUICE_TLS_KEY_FILE", value_name = "FILE")]
    pub(crate) tls_key_file: Option<String>,
    /// Connections of devices at one time [default: 10000]
    #[arg(long, env = "SLUICE_MAX_CONNECTIONS", value_name = "N")]
    pub(crate) max_connections: Option<String>,
    /// Let `https` bundle sources reach private addresses: true or false [default: false]
    #[arg(long, env = "SLUICE_ALLOW_PRIVATE_SOURCES", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub(crate) allow_private_sources: Option<String>,
    /// YAML file with settings, each under its flag's name
    #[arg(long, env = "SLUICE_CONFIG", value_name = "FILE")]
    #[serde(skip)]
    pub(crate) config: Option<PathBuf>,
    /// What is logged: error, warn, info, debug, trace, or a filter such as `sluice_kube=debug` [default: info]
    #[arg(long, env = "SLUICE_LOG", value_name = "FILTER")]
    pub(crate) log: Option<String>,
    /// How it is logged: `text` or `json` [default: text on a terminal, json elsewhere]
    #[arg(long, env = "SLUICE_LOG_FORMAT", value_name = "FORMAT")]
    pub(crate) log_format: Option<String>,
}

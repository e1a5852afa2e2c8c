//! The arguments of `sluice gateway`.

use std::path::PathBuf;

use clap::Args;
use serde::Deserialize;

/// Every setting can also stand in the environment and in the file given by `--config`, under the flag's name. A flag
/// wins over the environment, the environment over the file, the file over the default.
///
/// Credentials of the bundle store come from the environment: `AWS_*`, `GOOGLE_*` or `AZURE_*`.
#[derive(Debug, Clone, Default, Args, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct GatewayArgs {
    /// Bundle store: `file:///…`, `s3://bucket/prefix`, `gs://…` or `az://…`
    #[arg(long, env = "SLUICE_STORE", value_name = "URL")]
    pub(crate) store: Option<String>,
    /// Where devices connect [default: 127.0.0.1:8080]
    #[arg(long, env = "SLUICE_LISTEN", value_name = "ADDRESS")]
    pub(crate) listen: Option<String>,
    /// Where probes and Prometheus connect [default: 127.0.0.1:8081]
    #[arg(long, env = "SLUICE_ADMIN_LISTEN", value_name = "ADDRESS")]
    pub(crate) admin_listen: Option<String>,
    /// How devices reach this server; download URLs begin with it [default: the listen address]
    #[arg(long, env = "SLUICE_PUBLIC_URL", value_name = "URL")]
    pub(crate) public_url: Option<String>,
    /// Where bundles are downloaded from, when not from this server: a CDN in front of it
    #[arg(long, env = "SLUICE_DOWNLOAD_URL", value_name = "URL")]
    pub(crate) download_url: Option<String>,
    /// Redirect downloads to presigned URLs of the bundle store, valid this long; with s3, gs and az
    #[arg(long, env = "SLUICE_PRESIGN", value_name = "DURATION")]
    pub(crate) presign: Option<String>,
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
    /// YAML file with settings, each under its flag's name
    #[arg(long, env = "SLUICE_CONFIG", value_name = "FILE")]
    #[serde(skip)]
    pub(crate) config: Option<PathBuf>,
    /// What is logged: error, warn, info, debug, trace, or a filter such as `sluice_store=debug` [default: info]
    #[arg(long, env = "SLUICE_LOG", value_name = "FILTER")]
    pub(crate) log: Option<String>,
    /// How it is logged: `text` or `json` [default: text on a terminal, json elsewhere]
    #[arg(long, env = "SLUICE_LOG_FORMAT", value_name = "FORMAT")]
    pub(crate) log_format: Option<String>,
}

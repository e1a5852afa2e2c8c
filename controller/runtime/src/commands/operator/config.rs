//! Settings of `sluice operator`, checked all together.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use ipnet::IpNet;
use sluice_kube::Scope;
use sluice_store::{fleet::FleetUrl, objects::StoreUrl};
use tracing_subscriber::EnvFilter;
use url::Url;

use super::args::OperatorArgs;
use crate::{
    config::{self, Check, Mistakes, fill},
    telemetry::Format,
};

/// Checked settings.
#[derive(Debug)]
pub(crate) struct OperatorConfig {
    pub(crate) data: PathBuf,
    pub(crate) store: Option<StoreUrl>,
    pub(crate) database: Option<FleetUrl>,
    pub(crate) scope: Scope,
    pub(crate) lease_namespace: Option<String>,
    pub(crate) lease_name: String,
    pub(crate) lease_duration: Duration,
    pub(crate) identity: String,
    pub(crate) gateway: bool,
    pub(crate) listen: SocketAddr,
    pub(crate) admin_listen: SocketAddr,
    pub(crate) hooks_listen: SocketAddr,
    pub(crate) public_url: Option<Url>,
    pub(crate) download_url: Option<Url>,
    pub(crate) trusted_proxies: Vec<IpNet>,
    pub(crate) tls: Option<(PathBuf, PathBuf)>,
    pub(crate) max_connections: usize,
    pub(crate) allow_private_sources: bool,
    pub(crate) log: EnvFilter,
    pub(crate) log_format: Format,
}

/// Checks the settings, the file's included.
pub(crate) fn check(mut args: OperatorArgs) -> Result<OperatorConfig, Mistakes> {
    let mut check = Check::default();
    if let Some(path) = args.config.take() {
        let file = check.keep("config", config::read_file::<OperatorArgs>(&path)).unwrap_or_default();
        fill!(OperatorArgs args, file: data store database_url database_url_file namespaces lease_namespace lease_name lease_duration
            identity gateway listen admin_listen hooks_listen public_url download_url trusted_proxies tls_cert_file
            tls_key_file max_connections allow_private_sources log log_format);
    }
    let data = args.data.clone().map(PathBuf::from);
    if data.is_none() {
        check.wrong("data", "is required: a directory for mirrors, and for what no other store is given for");
    }
    let store = args.store.as_deref().map(|url| check.keep("store", url.parse::<StoreUrl>()));
    let file = check.read("database-url-file", args.database_url_file.as_deref());
    if args.database_url.is_some() && args.database_url_file.is_some() {
        check.wrong("database-url-file", "give either this or --database-url");
    }
    let database =
        args.database_url.or(file).and_then(|url| check.keep("database-url", url.parse::<FleetUrl>()));
    let scope = match args.namespaces.unwrap_or_default() {
        names if names.is_empty() => Scope::Cluster,
        names => Scope::Namespaces(names.into_iter().map(|name| name.trim().to_owned()).collect()),
    };
    let lease_duration =
        config::duration("lease-duration", args.lease_duration.as_deref().unwrap_or("15s"), &mut check);
    if lease_duration.is_some_and(|duration| duration < Duration::from_secs(3)) {
        check.wrong("lease-duration", "must be at least 3s: a leader renews it in a fifth of that time");
    }
    let gateway = check.parse("gateway", Some(args.gateway.as_deref().unwrap_or("false")));
    let listen = config::address("listen", args.listen.as_deref().unwrap_or("127.0.0.1:8080"), &mut check);
    let admin_listen =
        config::address("admin-listen", args.admin_listen.as_deref().unwrap_or("127.0.0.1:8081"), &mut check);
    let hooks_listen =
        config::address("hooks-listen", args.hooks_listen.as_deref().unwrap_or("127.0.0.1:8082"), &mut check);
    let public_url = check.url("public-url", args.public_url.as_deref());
    let download_url = check.url("download-url", args.download_url.as_deref());
    let trusted_proxies = config::networks(args.trusted_proxies.as_deref(), &mut check);
    let tls = config::tls(args.tls_cert_file, args.tls_key_file, &mut check);
    let max_connections = config::connections(args.max_connections.as_deref(), &mut check);
    let allow_private_sources =
        check.parse("allow-private-sources", Some(args.allow_private_sources.as_deref().unwrap_or("false")));
    let log = check.keep("log", EnvFilter::try_new(args.log.as_deref().unwrap_or("info")));
    let log_format = config::log_format(args.log_format.as_deref(), &mut check);
    let whole = (|| {
        Some(OperatorConfig {
            data: data?,
            store: match store {
                Some(store) => Some(store?),
                None => None,
            },
            database,
            scope,
            lease_namespace: args.lease_namespace,
            lease_name: args.lease_name.unwrap_or_else(|| "sluice".to_owned()),
            lease_duration: lease_duration?,
            identity: args.identity.unwrap_or_else(host_name),
            gateway: gateway?,
            listen: listen?,
            admin_listen: admin_listen?,
            hooks_listen: hooks_listen?,
            public_url,
            download_url,
            trusted_proxies,
            tls,
            max_connections: max_connections?,
            allow_private_sources: allow_private_sources?,
            log: log?,
            log_format: log_format?,
        })
    })();
    check.finish(whole)
}

/// The pod's name, where there is one.
fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    // Two replicas on one machine are two.
    if name.is_empty() { uuid::Uuid::new_v4().to_string() } else { format!("{name}_{}", std::process::id()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_mistakes_at_once() {
        let error = check(OperatorArgs {
            store: Some("ftp://x".into()),
            database_url: Some("mysql://user:canary@h".into()),
            lease_duration: Some("1s".into()),
            gateway: Some("perhaps".into()),
            hooks_listen: Some("nowhere".into()),
            max_connections: Some("0".into()),
            ..OperatorArgs::default()
        })
        .unwrap_err()
        .to_string();
        for flag in
            ["data", "store", "database-url", "lease-duration", "gateway", "hooks-listen", "max-connections"]
        {
            assert!(error.contains(&format!("--{flag}: ")), "{flag} in {error}");
        }
        assert!(!error.contains("canary"), "{error}");
    }

    #[test]
    fn defaults() {
        let config = check(OperatorArgs { data: Some("d".into()), ..OperatorArgs::default() }).unwrap();
        assert_eq!(config.scope, Scope::Cluster);
        assert_eq!(config.lease_duration, Duration::from_secs(15));
        assert!(!config.gateway && config.store.is_none() && config.database.is_none());
    }
}

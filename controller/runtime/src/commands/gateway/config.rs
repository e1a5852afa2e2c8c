//! Settings of `sluice gateway`, checked all together.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use ipnet::IpNet;
use sluice_store::objects::StoreUrl;
use tracing_subscriber::EnvFilter;
use url::Url;

use super::args::GatewayArgs;
use crate::{
    config::{self, Check, Mistakes, fill},
    telemetry::Format,
};

/// No signature of S3 is good for longer.
const LONGEST_PRESIGN: Duration = Duration::from_hours(7 * 24);

/// Checked settings.
#[derive(Debug)]
pub(crate) struct GatewayConfig {
    pub(crate) store: StoreUrl,
    pub(crate) listen: SocketAddr,
    pub(crate) admin_listen: SocketAddr,
    pub(crate) public_url: Option<Url>,
    pub(crate) download_url: Option<Url>,
    pub(crate) presign: Option<Duration>,
    pub(crate) trusted_proxies: Vec<IpNet>,
    pub(crate) tls: Option<(PathBuf, PathBuf)>,
    pub(crate) max_connections: usize,
    pub(crate) log: EnvFilter,
    pub(crate) log_format: Format,
}

/// Checks the settings, the file's included.
pub(crate) fn check(mut args: GatewayArgs) -> Result<GatewayConfig, Mistakes> {
    let mut check = Check::default();
    if let Some(path) = args.config.take() {
        let file = check.keep("config", config::read_file::<GatewayArgs>(&path)).unwrap_or_default();
        fill!(GatewayArgs args, file: store listen admin_listen public_url download_url presign trusted_proxies tls_cert_file
            tls_key_file max_connections log log_format);
    }
    let store = if let Some(url) = args.store.as_deref() {
        check.keep("store", url.parse::<StoreUrl>())
    } else {
        check.wrong("store", "is required: the bundle store that the controller publishes to");
        None
    };
    let listen = config::address("listen", args.listen.as_deref().unwrap_or("127.0.0.1:8080"), &mut check);
    let admin_listen =
        config::address("admin-listen", args.admin_listen.as_deref().unwrap_or("127.0.0.1:8081"), &mut check);
    let public_url = check.url("public-url", args.public_url.as_deref());
    let download_url = check.url("download-url", args.download_url.as_deref());
    let presign = args.presign.as_deref().and_then(|text| config::duration("presign", text, &mut check));
    if let Some(valid) = presign {
        if !(Duration::from_secs(30)..=LONGEST_PRESIGN).contains(&valid) {
            check.wrong("presign", "must be between 30s and 7d (168h): phones follow at once, or not");
        }
        if store.as_ref().is_some_and(StoreUrl::is_directory) {
            check.wrong("presign", "needs a store that makes URLs: s3, gs or az");
        }
        if download_url.is_some() {
            check.wrong("presign", "goes without --download-url: downloads do not come here then");
        }
    }
    let trusted_proxies = config::networks(args.trusted_proxies.as_deref(), &mut check);
    let tls = config::tls(args.tls_cert_file, args.tls_key_file, &mut check);
    let max_connections = config::connections(args.max_connections.as_deref(), &mut check);
    let log = check.keep("log", EnvFilter::try_new(args.log.as_deref().unwrap_or("info")));
    let log_format = config::log_format(args.log_format.as_deref(), &mut check);
    let whole = (|| {
        Some(GatewayConfig {
            store: store?,
            listen: listen?,
            admin_listen: admin_listen?,
            public_url,
            download_url,
            presign,
            trusted_proxies,
            tls,
            max_connections: max_connections?,
            log: log?,
            log_format: log_format?,
        })
    })();
    check.finish(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_mistakes_at_once() {
        let error = check(GatewayArgs {
            store: Some("s3://canary:canary@bucket".into()),
            listen: Some("nowhere".into()),
            presign: Some("1s".into()),
            public_url: Some("https://user:canary@x".into()),
            download_url: Some("https://cdn.example.org".into()),
            tls_cert_file: Some("c".into()),
            max_connections: Some("0".into()),
            ..GatewayArgs::default()
        })
        .unwrap_err()
        .to_string();
        for flag in ["store", "listen", "presign", "public-url", "tls-cert-file", "max-connections"] {
            assert!(error.contains(&format!("--{flag}: ")), "{flag} in {error}");
        }
        assert!(!error.contains("canary"), "{error}");
        let error = check(GatewayArgs::default()).unwrap_err().to_string();
        assert!(error.contains("--store: is required"), "{error}");
        let directory = GatewayArgs {
            store: Some("file:///var/lib/sluice/store".into()),
            presign: Some("15m".into()),
            ..GatewayArgs::default()
        };
        assert!(
            check(directory).unwrap_err().to_string().contains("--presign: needs a store that makes URLs")
        );
    }

    #[test]
    fn the_store_is_enough() {
        let args = GatewayArgs { store: Some("s3://updates/eu".into()), ..GatewayArgs::default() };
        let config = check(args).unwrap();
        assert_eq!(config.store.to_string(), "s3://updates/eu");
        assert_eq!((config.listen.port(), config.admin_listen.port()), (8080, 8081));
        assert_eq!(config.presign, None);
    }
}

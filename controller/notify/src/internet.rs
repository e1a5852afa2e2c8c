//! Keeps messages to addresses of the Internet, where somebody else than the platform team chooses the URL: it must not become a way
//! into the operator's network. Every name is looked up and checked for each connection.

use std::net::{IpAddr, SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use sluice_bundle::address::is_public;
use url::{Host, Url};

/// Looks names up, and gives only answers that are public in whole.
pub(crate) struct OnTheInternet;

impl Resolve for OnTheInternet {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            if !found.iter().all(|address| is_public(address.ip())) {
                return Err("its name leads to an address that is not one of the Internet".into());
            }
            let found: Addrs = Box::new(found.into_iter());
            Ok(found)
        })
    }
}

/// Whether a URL names an address that is not public. No name is looked up for that.
pub(crate) fn is_elsewhere(url: &Url) -> bool {
    let address = match url.host() {
        Some(Host::Ipv4(ip)) => IpAddr::from(ip),
        Some(Host::Ipv6(ip)) => IpAddr::from(ip),
        Some(Host::Domain(_)) | None => return false,
    };
    !is_public(address)
}

//! Downloading the zip of an `https` source: streamed, bounded, compared with its digest, and only from addresses that
//! are public.
//!
//! An app team chooses the URL, so it must not become a way into the controller's network. A host is resolved once per
//! hop, every address of the answer is checked, and the connection is pinned to them; proxy settings are ignored, since
//! a proxy would resolve again. Error texts hold the host only: paths and queries may carry tokens.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use futures::StreamExt as _;
use reqwest::{
    Client, Response, StatusCode,
    dns::{Addrs, Name, Resolve, Resolving},
    header, redirect,
};
use sha2::{Digest as _, Sha256};
use sluice_core::{diagnostic::Code, digest::Digest};
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use url::{Host, Url};

use crate::address::AddressPolicy;

/// Bounds of one download.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DownloadLimits {
    /// Bytes. Default 1 GiB.
    pub bytes: u64,
    /// Time without a byte. Default 30 s; connecting has the same limit.
    pub idle: Duration,
    /// Time for everything. Default 15 min.
    pub total: Duration,
    /// Redirects followed. Default 5.
    pub redirects: usize,
}

impl Default for DownloadLimits {
    fn default() -> Self {
        Self { bytes: 1 << 30, idle: Duration::from_secs(30), total: Duration::from_mins(15), redirects: 5 }
    }
}

/// Why a download was refused or failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DownloadError {
    /// Not a URL that may be downloaded.
    #[error("the URL is refused: {0}")]
    Url(&'static str),
    /// The host, or one of its addresses, is not public.
    #[error("{host} resolves to {address}, which is not a public address")]
    Address {
        /// The host.
        host: String,
        /// The address.
        address: IpAddr,
    },
    /// The host does not resolve.
    #[error("{host} could not be resolved: {reason}")]
    Resolve {
        /// The host.
        host: String,
        /// Why.
        reason: String,
    },
    /// More redirects than allowed.
    #[error("more than {0} redirects")]
    Redirects(usize),
    /// An answer other than 200.
    #[error("{host} answered {status}")]
    Status {
        /// The host.
        host: String,
        /// The status.
        status: StatusCode,
    },
    /// The answer is compressed although that was not asked for.
    #[error("{host} sent a content encoding, which would change the bytes")]
    Encoded {
        /// The host.
        host: String,
    },
    /// The file is larger than the limit.
    #[error("the file is larger than {0} bytes")]
    TooLarge(u64),
    /// Other bytes than the release states.
    #[error("the downloaded file has SHA-256 {found}, the release states {expected}")]
    Mismatch {
        /// What the release states.
        expected: Digest,
        /// What was received.
        found: Digest,
    },
    /// It took too long.
    #[error("{host} was too slow")]
    TimedOut {
        /// The host.
        host: String,
    },
    /// The connection failed.
    #[error("the connection to {host} failed: {reason}")]
    Connection {
        /// The host.
        host: String,
        /// Why, without the URL.
        reason: String,
    },
    /// The file could not be written.
    #[error("could not write the download: {0}")]
    Write(#[source] std::io::Error),
}

impl DownloadError {
    /// The code under which it is reported.
    pub fn code(&self) -> Code {
        match self {
            Self::Url(_) | Self::Address { .. } => Code::BundleAddressRefused,
            Self::TooLarge(_) => Code::BundleTooLarge,
            Self::Mismatch { .. } => Code::BundleDigestMismatch,
            Self::Write(_) => Code::BundleNotStored,
            Self::Resolve { .. }
            | Self::Redirects(_)
            | Self::Status { .. }
            | Self::Encoded { .. }
            | Self::TimedOut { .. }
            | Self::Connection { .. } => Code::BundleUnavailable,
        }
    }

    /// Whether the same download may succeed later without a change of the release. A wrong digest counts: mirrors lag,
    /// and names may resolve differently later.
    pub fn is_transient(&self) -> bool {
        !matches!(self, Self::Url(_) | Self::TooLarge(_))
    }
}

/// Downloads `url` into `into` and returns the number of bytes. When it fails, `into` holds an unspecified part.
pub async fn download(
    url: &str,
    sha256: Digest,
    limits: &DownloadLimits,
    policy: &AddressPolicy,
    into: &mut (impl AsyncWrite + Unpin + Send),
) -> Result<u64, DownloadError> {
    let url = Url::parse(url).map_err(|_| DownloadError::Url("it is not a URL"))?;
    let host = shown_host(&url);
    tokio::time::timeout(limits.total, fetch(url, sha256, limits, policy, into))
        .await
        .unwrap_or(Err(DownloadError::TimedOut { host }))
}

async fn fetch(
    mut url: Url,
    expected: Digest,
    limits: &DownloadLimits,
    policy: &AddressPolicy,
    into: &mut (impl AsyncWrite + Unpin + Send),
) -> Result<u64, DownloadError> {
    for _ in 0..=limits.redirects {
        let response = request(&url, limits, policy).await?;
        let host = shown_host(&url);
        match response.status() {
            StatusCode::OK => return receive(response, host, expected, limits, into).await,
            StatusCode::MOVED_PERMANENTLY
            | StatusCode::FOUND
            | StatusCode::SEE_OTHER
            | StatusCode::TEMPORARY_REDIRECT
            | StatusCode::PERMANENT_REDIRECT => {
                let location = response.headers().get(header::LOCATION).and_then(|v| v.to_str().ok());
                let location = location.ok_or(DownloadError::Url("a redirect has no readable location"))?;
                url = url.join(location).map_err(|_| DownloadError::Url("a redirect leads to no URL"))?;
            }
            status => return Err(DownloadError::Status { host, status }),
        }
    }
    Err(DownloadError::Redirects(limits.redirects))
}

/// One hop: everything about `url` is checked anew.
async fn request(
    url: &Url,
    limits: &DownloadLimits,
    policy: &AddressPolicy,
) -> Result<Response, DownloadError> {
    if url.scheme() != "https" {
        return Err(DownloadError::Url("it must be https, also after a redirect"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(DownloadError::Url("it must not hold credentials"));
    }
    let addresses = resolve(url, limits, policy).await?;
    let host = shown_host(url);
    let connection = |error: reqwest::Error| from_reqwest(error, &host);
    let mut builder = Client::builder()
        .no_proxy()
        .redirect(redirect::Policy::none())
        .https_only(true)
        .referer(false)
        .dns_resolver(Pinned(addresses.into()))
        .connect_timeout(limits.idle)
        .read_timeout(limits.idle)
        .no_gzip()
        .no_brotli()
        .no_zstd()
        .no_deflate()
        .user_agent(concat!("sluice/", env!("CARGO_PKG_VERSION")));
    if !policy.authorities.is_empty() {
        let authorities: Result<Vec<_>, _> =
            policy.authorities.iter().map(|der| reqwest::Certificate::from_der(der)).collect();
        builder = builder.tls_certs_merge(authorities.map_err(connection)?);
    }
    let client = builder.build().map_err(connection)?;
    client.get(url.clone()).header(header::ACCEPT_ENCODING, "identity").send().await.map_err(connection)
}

/// Every address of the host, all of them allowed.
async fn resolve(
    url: &Url,
    limits: &DownloadLimits,
    policy: &AddressPolicy,
) -> Result<Vec<SocketAddr>, DownloadError> {
    let port = url.port_or_known_default().unwrap_or(443);
    let host = shown_host(url);
    let addresses: Vec<SocketAddr> = match url.host() {
        None => return Err(DownloadError::Url("it has no host")),
        Some(Host::Ipv4(ip)) => vec![(ip, port).into()],
        Some(Host::Ipv6(ip)) => vec![(ip, port).into()],
        Some(Host::Domain(name)) => {
            let looked_up = tokio::time::timeout(limits.idle, tokio::net::lookup_host((name, port))).await;
            match looked_up {
                Err(_) => return Err(DownloadError::TimedOut { host }),
                Ok(Err(e)) => return Err(DownloadError::Resolve { host, reason: e.to_string() }),
                Ok(Ok(found)) => found.collect(),
            }
        }
    };
    if let Some(refused) = addresses.iter().find(|a| !policy.permits(a.ip())) {
        return Err(DownloadError::Address { host, address: refused.ip() });
    }
    if addresses.is_empty() {
        return Err(DownloadError::Resolve { host, reason: "it has no address".into() });
    }
    Ok(addresses)
}

async fn receive(
    response: Response,
    host: String,
    expected: Digest,
    limits: &DownloadLimits,
    into: &mut (impl AsyncWrite + Unpin + Send),
) -> Result<u64, DownloadError> {
    if response.headers().get(header::CONTENT_ENCODING).is_some_and(|v| v.as_bytes() != b"identity") {
        return Err(DownloadError::Encoded { host });
    }
    if response.content_length().is_some_and(|length| length > limits.bytes) {
        return Err(DownloadError::TooLarge(limits.bytes));
    }
    let (mut sha, mut size) = (Sha256::new(), 0_u64);
    let mut body = response.bytes_stream();
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(|e| from_reqwest(e, &host))?;
        size += chunk.len() as u64;
        if size > limits.bytes {
            return Err(DownloadError::TooLarge(limits.bytes));
        }
        sha.update(&chunk);
        into.write_all(&chunk).await.map_err(DownloadError::Write)?;
    }
    into.flush().await.map_err(DownloadError::Write)?;
    let found = Digest::from_bytes(sha.finalize().into());
    if found == expected { Ok(size) } else { Err(DownloadError::Mismatch { expected, found }) }
}

fn shown_host(url: &Url) -> String {
    url.host_str().unwrap_or("the URL").to_owned()
}

fn from_reqwest(error: reqwest::Error, host: &str) -> DownloadError {
    let host = host.to_owned();
    if error.is_timeout() {
        return DownloadError::TimedOut { host };
    }
    // The last cause is the one that says something; the first ones say "error sending request".
    let error = error.without_url();
    let mut cause: &dyn std::error::Error = &error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    DownloadError::Connection { host, reason: cause.to_string() }
}

/// Answers every name with the addresses that were checked.
struct Pinned(Arc<[SocketAddr]>);

impl Resolve for Pinned {
    fn resolve(&self, _: Name) -> Resolving {
        let addresses: Vec<SocketAddr> = self.0.to_vec();
        let addresses: Addrs = Box::new(addresses.into_iter());
        Box::pin(std::future::ready(Ok(addresses)))
    }
}

#[cfg(test)]
mod tests;

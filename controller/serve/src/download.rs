//! Immutable zips under `/bundles/`, with everything that `device-protocol` section 7.3 asks of a download: identity
//! encoding, exact lengths, ranges, 416 at the end of the file.
//!
//! Digests are verified when a bundle is materialised and by a scrubber, not here.

use std::{fs::File, io, sync::Arc};

use axum::{
    body::Body,
    extract::{Path, State},
    response::{IntoResponse as _, Response},
};
use futures::StreamExt as _;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};

use prometheus_client::metrics::counter::Counter;
use sluice_core::digest::Digest;

use crate::{device::DeviceServer, devices::Devices, protocol::Reply, reply::not_found};
use file::FileBody;
pub(crate) use file::READS;
use range::Selected;

mod file;
mod range;
mod redirect;

/// What is under an address never changes, and nobody on the way may change it.
const CACHE: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable, no-transform");

const ZIP: HeaderValue = HeaderValue::from_static("application/zip");

/// `GET` and `HEAD /bundles/{sha256}.zip`.
pub(crate) async fn bundle(
    State(server): State<Arc<DeviceServer>>,
    method: Method,
    headers: HeaderMap,
    Path(file): Path<String>,
) -> Response {
    let Some(sha256) = name(&file) else { return not_found() };
    let etag = format!("\"{sha256}\"");
    // The address is the digest, so that a copy of this address is always the right one, whether or not the file is
    // still here.
    if headers.get_all(header::IF_NONE_MATCH).iter().any(|value| matches_etag(value.as_bytes(), &etag)) {
        return with(Response::new(Body::empty()), StatusCode::NOT_MODIFIED, &etag);
    }
    if let Some(valid) = server.settings.presign
        && let Some(response) = redirect::to_bucket(&*server.views.objects, sha256, &method, valid).await
    {
        return response;
    }
    match answer(&server, sha256, &etag, &method, &headers).await {
        Ok(response) => response,
        Err(error) if error.kind() == io::ErrorKind::NotFound => not_found(),
        Err(error) => {
            tracing::error!(%error, bundle = %&sha256[..12], "a bundle cannot be read");
            let mut response =
                Reply::error(503, "service_unavailable", "The bundle cannot be read now, try again later")
                    .into_response();
            response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
            response
        }
    }
}

/// The digest in a file name of exactly 64 lower-case hexadecimal characters and `.zip`.
fn name(file: &str) -> Option<&str> {
    let sha256 = file.strip_suffix(".zip")?;
    let well = sha256.len() == 64 && sha256.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    well.then_some(sha256)
}

async fn answer(
    server: &Arc<DeviceServer>,
    sha256: &str,
    etag: &str,
    method: &Method,
    headers: &HeaderMap,
) -> io::Result<Response> {
    let source = Source::open(server, format!("artefacts/{sha256}.zip")).await?;
    let size = source.size();
    // A range is defined for GET alone; a validator that does not match asks for the whole file.
    let wanted = headers.get(header::RANGE).filter(|_| method == Method::GET && if_range(headers, etag));
    let selected = wanted.map_or(Selected::Whole, |header| range::select(header.as_bytes(), size));
    let (status, first, length) = match selected {
        Selected::Whole => (StatusCode::OK, 0, size),
        Selected::Part { first, last } => (StatusCode::PARTIAL_CONTENT, first, last - first + 1),
        Selected::Unsatisfiable => {
            let mut response = with(Response::new(Body::empty()), StatusCode::RANGE_NOT_SATISFIABLE, etag);
            set(&mut response, header::CONTENT_RANGE, &format!("bytes */{size}"));
            response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
            return Ok(response);
        }
    };
    let body = if method == Method::HEAD {
        Body::empty()
    } else {
        source.body(Sent::of(server, sha256), server, first, length).await?
    };
    let mut response = with(Response::new(body), status, etag);
    response.headers_mut().insert(header::CONTENT_TYPE, ZIP);
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    if let Selected::Part { first, last } = selected {
        set(&mut response, header::CONTENT_RANGE, &format!("bytes {first}-{last}/{size}"));
    }
    Ok(response)
}

fn with(mut response: Response, status: StatusCode, etag: &str) -> Response {
    *response.status_mut() = status;
    set(&mut response, header::ETAG, etag);
    response.headers_mut().insert(header::CACHE_CONTROL, CACHE);
    response.headers_mut().insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    response
}

fn set(response: &mut Response, name: HeaderName, value: &str) {
    let value =
        HeaderValue::from_str(value).expect("digits, hexadecimal and punctuation are valid in a header");
    response.headers_mut().insert(name, value);
}

/// Whether a list of entity tags holds `etag`; weak ones compare equal for this purpose.
fn matches_etag(list: &[u8], etag: &str) -> bool {
    std::str::from_utf8(list).is_ok_and(|list| {
        list.split(',').map(str::trim).any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
    })
}

/// Whether the range is to be honoured. Dates never match: there is no modification time.
fn if_range(headers: &HeaderMap, etag: &str) -> bool {
    headers.get(header::IF_RANGE).is_none_or(|value| value.as_bytes().trim_ascii() == etag.as_bytes())
}

/// Counts what is sent of a zip.
#[derive(Debug, Clone)]
struct Sent {
    all: Counter,
    devices: Arc<dyn Devices>,
    zip: Option<Digest>,
}

impl Sent {
    fn of(server: &DeviceServer, sha256: &str) -> Self {
        let (all, devices) = (server.metrics.download_bytes.clone(), server.views.devices.clone());
        Self { all, devices, zip: sha256.parse().ok() }
    }

    fn add(&self, bytes: u64) {
        self.all.inc_by(bytes);
        if let Some(zip) = &self.zip {
            self.devices.sent(zip, bytes);
        }
    }
}

/// Where the bytes come from.
enum Source {
    /// A file of this machine.
    Local { file: File, size: u64 },
    /// An object elsewhere.
    Remote { key: String, size: u64 },
}

impl Source {
    async fn open(server: &DeviceServer, key: String) -> io::Result<Self> {
        let objects = &server.views.objects;
        let Some(path) = objects.local_path(&key) else {
            let meta = objects.head(&key).await.map_err(io::Error::other)?.ok_or(io::ErrorKind::NotFound)?;
            return Ok(Self::Remote { key, size: meta.size });
        };
        let opening = tokio::task::spawn_blocking(move || {
            let file = File::open(path)?;
            let metadata = file.metadata()?;
            let missing = || io::Error::from(io::ErrorKind::NotFound);
            metadata.is_file().then_some((file, metadata.len())).ok_or_else(missing)
        });
        let (file, size) = opening.await.map_err(io::Error::other)??;
        Ok(Self::Local { file, size })
    }

    fn size(&self) -> u64 {
        match self {
            Self::Local { size, .. } | Self::Remote { size, .. } => *size,
        }
    }

    async fn body(self, sent: Sent, server: &DeviceServer, first: u64, length: u64) -> io::Result<Body> {
        match self {
            Self::Local { file, .. } => {
                Ok(Body::new(FileBody::new(file, first, length, server.reads.clone(), sent)))
            }
            Self::Remote { key, .. } => {
                let reading = server.views.objects.read(&key, Some(first..first + length)).await;
                let reading = reading.map_err(io::Error::other)?.ok_or(io::ErrorKind::NotFound)?;
                // The announced length makes the connection fail when the stream ends early.
                let chunks = reading.chunks.inspect(move |chunk| {
                    if let Ok(chunk) = chunk {
                        sent.add(chunk.len() as u64);
                    }
                });
                Ok(Body::from_stream(chunks))
            }
        }
    }
}

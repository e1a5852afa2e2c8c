//! A TCP or TLS listener with limits that drains when it is told to stop.
//!
//! Used for the device side and for the admin side. HTTP/1.1 and HTTP/2, no redirects, no upgrades.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use axum::body::Body;
use http::{Request, Response};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::{site::Site, tls::Tls};
use guard::{Activity, Guard};

mod guard;

/// Limits of a listener.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections at once. More wait in the kernel's queue until one is closed.
    pub connections: usize,
    /// Time for a TLS handshake and the first request head, and for each later head from its first byte on.
    pub head_timeout: Duration,
    /// How long a connection may be idle between requests, and how long a peer may take no bytes.
    pub idle_timeout: Duration,
    /// How long requests in work may go on after the listener was told to stop.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 16_384,
            head_timeout: Duration::from_secs(10),
            // Longer than the 60 seconds for which common load balancers keep connections, so that they close first.
            idle_timeout: Duration::from_secs(75),
            drain: Duration::from_secs(30),
        }
    }
}

/// Request heads may be this long, and as much of an answer waits in memory for a slow peer.
const BUFFER: usize = 32 * 1024;

/// Requests that one HTTP/2 connection may have in work.
const STREAMS: u32 = 64;

/// How a drain ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drained {
    /// Every request was answered.
    Complete,
    /// Connections were cut because the time was over.
    Cut {
        /// How many.
        connections: usize,
    },
}

/// Everything that the connections of a listener share.
struct Shared {
    site: Site,
    limits: Limits,
    http: auto::Builder<TokioExecutor>,
    acceptor: Option<TlsAcceptor>,
    stop: CancellationToken,
    abort: CancellationToken,
}

/// Serves until `stop` is cancelled, then drains.
pub async fn serve(
    listener: TcpListener,
    site: Site,
    tls: Option<&Tls>,
    limits: Limits,
    stop: CancellationToken,
) -> Drained {
    let permits = Arc::new(Semaphore::new(limits.connections));
    let shared = Arc::new(Shared {
        site,
        http: http(),
        acceptor: tls.map(Tls::acceptor),
        limits: limits.clone(),
        stop: stop.clone(),
        abort: CancellationToken::new(),
    });
    let accepting = accept(&listener, &shared, &permits);
    tokio::select! {
        () = stop.cancelled() => {}
        () = accepting => {}
    }
    drop(listener);
    let all = u32::try_from(limits.connections).unwrap_or(u32::MAX);
    let drained = timeout(limits.drain, permits.acquire_many(all)).await;
    if drained.is_ok() {
        return Drained::Complete;
    }
    let connections = limits.connections - permits.available_permits();
    shared.abort.cancel();
    drop(permits.acquire_many(all).await);
    Drained::Cut { connections }
}

fn http() -> auto::Builder<TokioExecutor> {
    let mut http = auto::Builder::new(TokioExecutor::new());
    // Without `pipeline_flush`: with it hyper buffers bodies whatever the limit.
    http.http1().max_buf_size(BUFFER);
    http.http2()
        .max_concurrent_streams(STREAMS)
        .initial_stream_window_size(64 * 1024)
        .initial_connection_window_size(256 * 1024)
        .max_header_list_size(16 * 1024)
        .max_send_buf_size(BUFFER);
    http
}

async fn accept(listener: &TcpListener, shared: &Arc<Shared>, permits: &Arc<Semaphore>) {
    let mut reported: Option<Instant> = None;
    loop {
        let Ok(permit) = permits.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, peer)) => {
                tokio::spawn(connect(stream, peer, shared.clone(), permit));
            }
            Err(error) if is_peers_fault(&error) => {}
            Err(error) => {
                // Out of descriptors or memory: it passes when connections are closed.
                if reported.is_none_or(|at| at.elapsed() > Duration::from_secs(10)) {
                    tracing::warn!(%error, "cannot accept connections, trying again");
                    reported = Some(Instant::now());
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

fn is_peers_fault(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

async fn connect(stream: TcpStream, peer: SocketAddr, shared: Arc<Shared>, permit: OwnedSemaphorePermit) {
    let _permit = permit;
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot set TCP_NODELAY");
    }
    let activity = Arc::new(Activity::default());
    let Limits { head_timeout, idle_timeout, .. } = shared.limits;
    let stream = Guard::new(stream, activity.clone(), head_timeout, idle_timeout);
    let Some(acceptor) = &shared.acceptor else {
        return converse(stream, peer, &shared, activity).await;
    };
    let handshake = tokio::select! {
        handshake = acceptor.accept(stream) => handshake,
        () = shared.stop.cancelled() => return,
    };
    match handshake {
        Ok(stream) => converse(stream, peer, &shared, activity).await,
        Err(error) => tracing::debug!(%error, "a TLS handshake failed"),
    }
}

async fn converse<S>(stream: S, peer: SocketAddr, shared: &Shared, activity: Arc<Activity>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let site = shared.site.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        let (site, activity) = (site.clone(), activity.clone());
        async move {
            let _busy = activity.begin(request.version() >= http::Version::HTTP_2);
            Ok::<Response<Body>, Infallible>(site.answer(peer, request).await)
        }
    });
    let mut connection = std::pin::pin!(shared.http.serve_connection(TokioIo::new(stream), service));
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = shared.stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                result = connection => result,
                () = shared.abort.cancelled() => return,
            }
        }
    };
    if let Err(error) = result {
        // Peers that go away or send garbage are their own affair.
        tracing::debug!(%error, "a connection ended early");
    }
}

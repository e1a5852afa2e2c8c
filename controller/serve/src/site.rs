//! What a listener serves: a router, counted, and with panics turned into answers.

use std::{fmt, net::SocketAddr, panic::AssertUnwindSafe, sync::Arc};

use axum::{Router, body::Body, response::IntoResponse as _};
use bytes::Bytes;
use futures::FutureExt as _;
use http::{Request, Response};
use tower::Service as _;

use crate::{
    metrics::{Metrics, Route},
    peer::Peer,
    protocol::Reply,
};

/// A router with what surrounds it. Cheap to clone.
#[derive(Clone)]
pub struct Site {
    router: Router,
    metrics: Arc<Metrics>,
    admin: bool,
}

impl fmt::Debug for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Site").field("admin", &self.admin).finish_non_exhaustive()
    }
}

impl Site {
    pub(crate) fn device(router: Router, metrics: Arc<Metrics>) -> Self {
        Self { router, metrics, admin: false }
    }

    pub(crate) fn admin(router: Router, metrics: Arc<Metrics>) -> Self {
        Self { router, metrics, admin: true }
    }

    /// Answers a request.
    pub async fn answer<B>(&self, peer: SocketAddr, request: Request<B>) -> Response<Body>
    where
        B: axum::body::HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<axum::BoxError>,
    {
        let route = if self.admin { Route::Admin } else { Route::of(request.uri().path()) };
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(Peer(peer));
        let mut router = self.router.clone();
        let answering = AssertUnwindSafe(async move { router.call(request).await });
        let response = match answering.catch_unwind().await {
            Ok(Ok(response)) => response,
            Ok(Err(never)) => match never {},
            Err(_) => {
                self.metrics.panics.inc();
                // The panic hook has said where; the payload might quote the request.
                tracing::error!(route = route.name(), "answering a request panicked");
                Reply::error(500, "unknown_error", "Internal error").into_response()
            }
        };
        self.metrics.answered(route, response.status());
        response
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;

    use super::*;

    #[tokio::test]
    async fn a_panic_is_an_answer_and_is_counted() {
        let dir = tempfile::tempdir().unwrap();
        let views = crate::views::testing::empty(dir.path()).await;
        let metrics = Metrics::new(&views);
        let router = Router::new().route("/", get(async || -> Response<Body> { panic!("a test") }));
        let site = Site::device(router, metrics.clone());
        let request = Request::get("/").body(Body::empty()).unwrap();
        let response = site.answer(SocketAddr::from(([127, 0, 0, 1], 1)), request).await;
        assert_eq!(response.status(), 500);
        assert_eq!(metrics.panics.get(), 1);
    }
}

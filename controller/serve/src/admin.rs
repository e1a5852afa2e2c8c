//! The admin side: health, metrics, and an API for people and tools. It listens on the loopback interface unless told
//! otherwise.
//!
//! Health and metrics need no token and tell nothing of devices. Everything under `/api/` needs a bearer token;
//! [`Authorise`] says whose.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Request, State},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{MethodRouter, get, post},
};
use http::{HeaderValue, Method, StatusCode, header};
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use utoipa::{OpenApi as _, ToSchema};

use crate::{metrics, site::Site};

mod authorise;
mod brakes;
mod decisions;
mod devices;
mod explain;
mod input;
mod names;
mod openapi;
mod ready;
mod report;
mod rollbacks;
mod token;
mod tokens;

pub use authorise::{Authorise, DeviceRight, Owned, Refusal};
pub use brakes::BrakeView;
pub use openapi::document as openapi;
pub use ready::Readiness;
pub use token::{InvalidHash, Token, WeakToken};
pub use tokens::{BrakeToken, InvalidBrakeToken, Tokens, WrongBrakeToken};

use crate::device::DeviceServer;

/// What the admin side shows and who may see it.
#[derive(Debug)]
pub struct Admin {
    device: Arc<DeviceServer>,
    /// Nobody: there is no API.
    people: Option<Box<dyn Authorise>>,
    /// Cancelled when the program is about to stop: it is not ready any more.
    stopping: CancellationToken,
}

/// An error of the API.
#[derive(Debug, Serialize, ToSchema)]
pub struct ApiError {
    /// Stable, for machines.
    pub error: &'static str,
    /// What is wrong and what to do.
    pub message: String,
    #[serde(skip)]
    #[schema(ignore)]
    status: StatusCode,
}

impl ApiError {
    fn new(status: StatusCode, error: &'static str, message: impl Into<String>) -> Self {
        Self { error, message: message.into(), status }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        (self.status, Json(self)).into_response()
    }
}

impl Admin {
    /// The admin side of a device server.
    pub fn new(
        device: Arc<DeviceServer>,
        people: impl Authorise + 'static,
        stopping: CancellationToken,
    ) -> Arc<Self> {
        Arc::new(Self { device, people: Some(Box::new(people)), stopping })
    }

    /// The admin side of a gateway: health and metrics. What there is to ask for is asked of the leader.
    pub fn without_api(device: Arc<DeviceServer>, stopping: CancellationToken) -> Arc<Self> {
        Arc::new(Self { device, people: None, stopping })
    }

    /// What the admin listener serves.
    pub fn site(self: &Arc<Self>) -> Site {
        let device = |route: MethodRouter<Arc<Self>>, right: DeviceRight| {
            route.layer(middleware::from_fn_with_state((self.clone(), right), devices::may))
        };
        let api = Router::new()
            .route("/status", get(status))
            .route("/explain", post(explain::explain))
            .route("/brakes", get(brakes::list).post(brakes::stop))
            .route("/rollbacks", get(rollbacks::list).post(rollbacks::open))
            .route("/decisions", get(decisions::list))
            .route("/devices/export", device(post(devices::export), DeviceRight::See))
            .route("/devices/erase", device(post(devices::erase), DeviceRight::Erase))
            .route("/devices/override", device(post(devices::put_on), DeviceRight::Change))
            .route("/devices/acts", get(devices::acts))
            .route("/report", get(report::report))
            .route("/openapi.json", get(openapi_json))
            .fallback(unknown)
            .layer(middleware::from_fn_with_state(self.clone(), authorise));
        let router = Router::new()
            .route("/healthz", get(healthy))
            .route("/readyz", get(ready))
            .route("/metrics", get(scrape));
        let router = match self.people {
            Some(_) => router.route("/", get(front)).nest("/api/v1", api),
            None => router,
        };
        let router = router
            .fallback(unknown)
            .method_not_allowed_fallback(wrong_method)
            .layer(middleware::map_response(harden))
            .with_state(self.clone());
        Site::admin(router, self.device.metrics.clone())
    }
}

async fn authorise(State(admin): State<Arc<Admin>>, request: Request, next: Next) -> Response {
    let Some(people) = &admin.people else { return unknown().await.into_response() };
    let token = authorise::bearer(request.headers());
    // Who may stop something need not be one who may read: that is asked when it is known of which app.
    let stops = request.method() == Method::POST && matches!(request.uri().path(), "/brakes" | "/rollbacks");
    let asked = if stops { people.knows(token).await } else { people.may_read(token).await };
    match asked {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    }
}

/// Nothing of the admin side is kept, framed or taken for another type.
async fn harden(mut response: Response) -> Response {
    for (name, value) in [
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
        ),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

async fn front() -> Response {
    let page = include_str!("admin/front.html");
    ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], page).into_response()
}

async fn healthy() -> Response {
    Json(serde_json::json!({ "status": "ok" })).into_response()
}

async fn ready(State(admin): State<Arc<Admin>>) -> Response {
    let readiness = Readiness::of(&admin.device.views, admin.stopping.is_cancelled());
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(readiness)).into_response()
}

async fn scrape(State(admin): State<Arc<Admin>>) -> Response {
    match admin.device.metrics.text() {
        Ok(text) => ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response(),
        Err(std::fmt::Error) => ApiError::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "the metrics cannot be written; please report this",
        )
        .into_response(),
    }
}

/// What the installation says of itself: the repositories, each release, each channel, and the problems found.
#[utoipa::path(
    get,
    path = "/api/v1/status",
    tag = "status",
    responses(
        (status = 200, description = "The state of repositories, releases and channels", body = openapi::Status),
        (status = 401, description = "No token, or a wrong one", body = ApiError),
        (status = 403, description = "A token of somebody who may not read", body = ApiError),
        (status = 503, description = "Another replica leads, or the cluster cannot be asked whose token it is", body = ApiError),
    ),
    security(("token" = []))
)]
async fn status(State(admin): State<Arc<Admin>>) -> Response {
    // An empty status would say that there is nothing.
    let views = &admin.device.views;
    let background = views.background.as_ref();
    if let Some(message) = background.and_then(|background| background.waits()) {
        return ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "not_leading", message).into_response();
    }
    let mut status = views.status.load_full();
    if let Some(notified) = background.and_then(|background| background.notified())
        && let Some(repository) = Arc::make_mut(&mut status).repositories.first_mut()
    {
        repository.conditions.push(notified);
    }
    Json(&*status).into_response()
}

async fn openapi_json() -> Response {
    Json(openapi::Document::openapi()).into_response()
}

async fn unknown() -> ApiError {
    ApiError::new(
        StatusCode::NOT_FOUND,
        "not_found",
        "there is nothing at this address; /api/v1/openapi.json lists what there is",
    )
}

async fn wrong_method() -> ApiError {
    ApiError::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        "this address does not answer this method; /api/v1/openapi.json lists what there is",
    )
}

//! Downloads by presigned URL: the phone is sent to the bucket, and the gateway carries no bytes.

use std::time::Duration;

use axum::{
    body::Body,
    response::{IntoResponse as _, Response},
};
use http::{HeaderValue, Method, StatusCode, header};
use sluice_store::objects::{Access, Objects};

use crate::protocol::Reply;

/// The answer that sends to the bucket; `None` for a store that has no such URLs.
///
/// 302, because every client that follows anything follows it with the method and the `Range` that it sent
/// (`device-protocol` section 1). The address is absolute and of the store's own scheme: Android follows only within a
/// scheme. It is made for this moment, so nobody may keep it.
pub(super) async fn to_bucket(
    objects: &dyn Objects,
    sha256: &str,
    method: &Method,
    valid: Duration,
) -> Option<Response> {
    let access = if method == Method::HEAD { Access::Head } else { Access::Get };
    let key = format!("artefacts/{sha256}.zip");
    let location = match objects.presigned(access, &key, valid).await {
        Ok(location) => location?,
        Err(error) => {
            tracing::error!(%error, bundle = %&sha256[..12], "no URL can be made for a download");
            return Some(unavailable());
        }
    };
    let Ok(location) = HeaderValue::try_from(location) else { return Some(unavailable()) };
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::FOUND;
    response.headers_mut().insert(header::LOCATION, location);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Some(response)
}

fn unavailable() -> Response {
    let message = "The bundle cannot be read now, try again later";
    Reply::error(503, "service_unavailable", message).into_response()
}

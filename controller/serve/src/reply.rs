//! From a protocol answer to an HTTP response. Bodies are complete, so that the length is always sent.

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header};

use crate::protocol::Reply;

/// The type of every answer but a bundle.
pub(crate) const JSON: HeaderValue = HeaderValue::from_static("application/json");

impl IntoResponse for Reply {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.body));
        *response.status_mut() =
            StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        response.headers_mut().insert(header::CONTENT_TYPE, JSON);
        response
    }
}

/// There is nothing at this address. It is not kept by caches: what is missing now may be published in a moment.
pub(crate) fn not_found() -> Response {
    let mut response = Reply::error(404, "not_found", "There is nothing at this address").into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// There is something, but not for this method.
pub(crate) async fn method_not_allowed() -> Response {
    Reply::error(405, "method_not_allowed", "This address does not answer this method").into_response()
}

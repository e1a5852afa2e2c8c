//! Reads request bodies that are bounded in size and time.

use std::time::Duration;

use axum::{
    body::{Body, HttpBody as _},
    response::{IntoResponse, Response},
};
use bytes::{Bytes, BytesMut};
use http::{HeaderValue, header};
use http_body_util::BodyExt as _;
use tokio::time::timeout;

use crate::protocol::Reply;

/// What is read and thrown away of a body that is too large, so that a client that writes first and reads then gets
/// its answer instead of a reset connection.
const DISCARDED: usize = 1024 * 1024;

/// Why a body was not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BodyError {
    /// More bytes than allowed.
    #[error("the request body is too large")]
    TooLarge,
    /// It did not arrive in time.
    #[error("the request body took too long")]
    TooSlow,
    /// The connection ended, or the framing is wrong.
    #[error("the request body ended early")]
    Broken,
}

impl IntoResponse for BodyError {
    fn into_response(self) -> Response {
        let reply = match self {
            Self::TooLarge => Reply::error(413, "body_too_large", "The request body is too large"),
            Self::TooSlow => Reply::error(408, "request_timeout", "The request body took too long"),
            Self::Broken => Reply::error(400, "invalid_json_parse_body", "The request body ended early"),
        };
        let mut response = reply.into_response();
        // What remains of the body may not be taken for the next request.
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        response
    }
}

/// Reads a body of at most `limit` bytes within `time`.
pub(crate) async fn read(body: Body, limit: usize, time: Duration) -> Result<Bytes, BodyError> {
    timeout(time, collect(body, limit)).await.unwrap_or(Err(BodyError::TooSlow))
}

async fn collect(mut body: Body, limit: usize) -> Result<Bytes, BodyError> {
    let announced = body.size_hint().lower();
    if announced > limit as u64 {
        if announced <= (limit + DISCARDED) as u64 {
            discard(&mut body).await;
        }
        return Err(BodyError::TooLarge);
    }
    // Nearly every request arrives as one piece, which is used as it is.
    let mut whole = Bytes::new();
    let mut parts: Option<BytesMut> = None;
    while let Some(data) = next(&mut body).await? {
        let sum = parts.as_ref().map_or(whole.len(), BytesMut::len) + data.len();
        if sum > limit {
            discard(&mut body).await;
            return Err(BodyError::TooLarge);
        }
        match &mut parts {
            Some(parts) => parts.extend_from_slice(&data),
            None if whole.is_empty() => whole = data,
            None => {
                let mut both = BytesMut::with_capacity(sum.max(usize::try_from(announced).unwrap_or(0)));
                both.extend_from_slice(&whole);
                both.extend_from_slice(&data);
                parts = Some(both);
            }
        }
    }
    Ok(parts.map_or(whole, BytesMut::freeze))
}

async fn next(body: &mut Body) -> Result<Option<Bytes>, BodyError> {
    while !body.is_end_stream() {
        match body.frame().await {
            None => return Ok(None),
            Some(Err(_)) => return Err(BodyError::Broken),
            // Trailers are of no interest.
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
        }
    }
    Ok(None)
}

async fn discard(body: &mut Body) {
    let mut sum = 0;
    while let Ok(Some(data)) = next(body).await {
        sum += data.len();
        if sum > DISCARDED {
            return;
        }
    }
}

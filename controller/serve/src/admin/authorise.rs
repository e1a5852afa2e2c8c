//! Who may use the admin API.

use std::fmt;

use async_trait::async_trait;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use sluice_core::ids::AppId;

use super::ApiError;

/// Says who may use the API: constant tokens where one process runs alone, the API server's word in a cluster.
#[async_trait]
pub trait Authorise: fmt::Debug + Send + Sync {
    /// Whether the bearer of this token may read.
    async fn may_read(&self, token: Option<&str>) -> Result<(), Refusal>;

    /// Whether this is a good token at all, whatever its bearer may do.
    async fn knows(&self, token: Option<&str>) -> Result<(), Refusal>;

    /// Whether the bearer may stop releases of an app; `None`: of any, where it is not clear which is meant. Says who the
    /// bearer is, as far as the token tells.
    async fn may_brake(&self, token: Option<&str>, app: Option<Owned<'_>>)
    -> Result<Option<String>, Refusal>;

    /// Whether the bearer may change what is released, beside stopping it.
    async fn may_release(&self, token: Option<&str>) -> Result<(), Refusal>;

    /// Whether the bearer, who may read, may also do this to the data of single devices.
    async fn may_touch(&self, token: Option<&str>, right: DeviceRight) -> Result<(), Refusal>;
}

/// What may be done to the data of a single device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceRight {
    /// Everything about it is handed out.
    See,
    /// It is forgotten.
    Erase,
    /// It is put on a channel.
    Change,
}

/// An app, and who publishes it.
#[derive(Debug, Clone, Copy)]
pub struct Owned<'a> {
    /// The app.
    pub app: &'a AppId,
    /// The Repository that owns it: `namespace/name` in a cluster. None: nobody ever published it.
    pub owner: Option<&'a str>,
}

/// Why a request may not go on; each holds what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// No token, or not a good one.
    Unauthenticated(String),
    /// A good token of somebody who may not.
    Forbidden(String),
    /// It cannot be found out now.
    Unavailable(String),
}

impl Refusal {
    pub(super) fn into_response(self) -> Response {
        let unauthenticated = matches!(self, Self::Unauthenticated(_));
        let mut response = ApiError::from(self).into_response();
        if unauthenticated {
            let challenge = HeaderValue::from_static("Bearer realm=\"sluice\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        let (status, code, message) = match refusal {
            Refusal::Unauthenticated(message) => (StatusCode::UNAUTHORIZED, "unauthorized", message),
            Refusal::Forbidden(message) => (StatusCode::FORBIDDEN, "forbidden", message),
            Refusal::Unavailable(message) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable", message),
        };
        Self::new(status, code, message)
    }
}

/// The bearer token of a request.
pub(super) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_bearer_tokens_are_taken() {
        for (value, token) in [
            ("Bearer abc", Some("abc")),
            ("bearer  abc ", Some("abc")),
            ("Bearer ", Some("")),
            ("Bearer", None),
            ("Basic abc", None),
            ("", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, value.parse().unwrap());
            assert_eq!(bearer(&headers), token, "{value}");
        }
        assert_eq!(bearer(&HeaderMap::new()), None);
    }
}

//! Webhooks: `POST /hooks/<name>`. A hook is only a hint to look at the repository now; nothing in it is believed.
//!
//! The body is bounded before it is read, and its signature is verified before it is parsed. An unknown name, an
//! unsigned request and a wrong signature get the same answer, so that names cannot be probed.

use std::{fmt, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{Path, Request, State},
    response::{IntoResponse as _, Response},
    routing::post,
};
use bytes::Bytes;
use http::HeaderMap;

use crate::{
    body,
    device::DeviceServer,
    metrics::Metrics,
    protocol::Reply,
    reply::{method_not_allowed, not_found},
    site::Site,
};

/// Bytes of a webhook. GitHub sends at most 25 MB; what a push says is not needed, and such a push is found by polling.
const MOST_HOOK: usize = 1024 * 1024;

/// How long the body of a webhook may take.
const TIME: Duration = Duration::from_secs(10);

/// What the check of a webhook says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The sender does not know the secret.
    Refused,
    /// It is genuine, and about something that is not followed.
    Ignored,
    /// It is genuine: look.
    Look,
}

/// Checks headers and body of a webhook at a time in seconds since 1970: the signature first, then what was pushed.
pub type Verify = Arc<dyn Fn(&HeaderMap, &[u8], i64) -> Verdict + Send + Sync>;

/// A webhook that is listened to.
#[derive(Clone)]
pub struct Hook {
    /// The check of the signature.
    pub verify: Verify,
    /// Makes the engine look at the repository. Called from a handler, so that it must not block.
    pub look_now: Arc<dyn Fn() + Send + Sync>,
}

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hook(…)")
    }
}

/// Judges a webhook by the name in its path, its headers and its body, at a time in seconds since 1970, and passes on
/// what is news. Called from a handler, so that it must not block.
pub type Judge = Arc<dyn Fn(&str, &HeaderMap, &[u8], i64) -> Verdict + Send + Sync>;

/// What a listener for nothing but webhooks serves.
pub fn site(judge: Judge, metrics: Arc<Metrics>) -> Site {
    let counted = metrics.clone();
    let take = post(move |Path(name): Path<String>, request: Request| {
        let (judge, metrics) = (judge.clone(), counted.clone());
        async move { answer(request, &metrics, |headers, body, now| judge(&name, headers, body, now)).await }
    });
    let router = Router::new()
        .route("/hooks/{*name}", take)
        .method_not_allowed_fallback(method_not_allowed)
        .fallback(async || not_found());
    Site::device(router, metrics)
}

pub(crate) async fn receive(
    State(server): State<Arc<DeviceServer>>,
    Path(name): Path<String>,
    request: Request,
) -> Response {
    let hook = server.settings.hooks.get(&name).cloned();
    let judge = |headers: &HeaderMap, body: &[u8], now: i64| {
        let verdict = hook.as_ref().map_or(Verdict::Refused, |hook| (hook.verify)(headers, body, now));
        if let (Verdict::Look, Some(hook)) = (verdict, &hook) {
            (hook.look_now)();
        }
        verdict
    };
    answer(request, &server.metrics, judge).await
}

async fn answer(
    request: Request,
    metrics: &Metrics,
    judge: impl Fn(&HeaderMap, &[u8], i64) -> Verdict,
) -> Response {
    let (parts, body) = request.into_parts();
    // It is read for unknown names too, so that the time tells nothing.
    let body = match body::read(body, MOST_HOOK, TIME).await {
        Ok(body) => body,
        Err(error) => return error.into_response(),
    };
    let verdict = judge(&parts.headers, &body, jiff::Timestamp::now().as_second());
    metrics.hook(verdict);
    if verdict == Verdict::Refused {
        return not_found();
    }
    Reply { status: 202, body: Bytes::from_static(br#"{"status":"ok"}"#) }.into_response()
}

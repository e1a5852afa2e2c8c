//! `/api/v1/rollbacks`: takes a channel back by a commit, and lists how far that is.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    extract::{Request, State},
    response::{IntoResponse as _, Response},
};
use http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sluice_core::channel::Target;
use sluice_store::control::BrakeWatch;
use utoipa::ToSchema;

use super::{
    Admin, ApiError,
    authorise::bearer,
    brakes::{self, BrakeRequest},
    input,
};
use crate::body;

/// Bytes of a request.
const MOST: usize = 64 * 1024;

/// Which channel goes back, and where to.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct RollbackRequest {
    /// The app, where the channel's name does not say it.
    app: Option<String>,
    /// The name of a channel or of its object, or `<app>/<channel>`.
    channel: String,
    /// The version that it goes back from; without it what the channel rolls out, else what it serves.
    release: Option<String>,
    /// The version that it goes back to, or `builtin`; without it what did well last.
    to: Option<String>,
    /// Who wants it, as they say. What the token tells of its bearer stands before it.
    by: String,
    /// Why.
    reason: String,
}

/// A rollback that was opened.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Opened {
    /// Also the id of its brake: what Git lifts it by.
    pub id: String,
    pub app: String,
    pub channel: String,
    pub release: Option<String>,
    pub digest: String,
}

/// How far Git is told of brakes, the oldest first.
#[utoipa::path(
    get,
    path = "/api/v1/rollbacks",
    tag = "rollbacks",
    responses(
        (status = 200, description = "The rollbacks, oldest first", body = Vec<super::openapi::Rollback>),
        (status = 401, description = "No token, or a wrong one", body = ApiError),
    ),
    security(("token" = []))
)]
pub(super) async fn list(State(admin): State<Arc<Admin>>) -> Response {
    Json(&admin.device.views.status.load_full().rollbacks).into_response()
}

/// Stops a bundle on a channel at once, and takes it back in Git.
#[utoipa::path(
    post,
    path = "/api/v1/rollbacks",
    tag = "rollbacks",
    request_body = RollbackRequest,
    responses(
        (status = 200, description = "The rollback; its bundle is stopped", body = Opened),
        (status = 400, description = "What is to go back is not clear", body = ApiError),
        (status = 401, description = "No token, or a wrong one", body = ApiError),
        (status = 403, description = "A token of somebody who may not release", body = ApiError),
        (status = 404, description = "No such app, channel or release", body = ApiError),
        (status = 409, description = "Its rollback has ended before", body = ApiError),
        (status = 501, description = "Changes are not made through this server", body = ApiError),
        (status = 503, description = "The bundle store does not take it", body = ApiError),
    ),
    security(("token" = []))
)]
pub(super) async fn open(State(admin): State<Arc<Admin>>, request: Request) -> Response {
    let token = bearer(request.headers()).map(str::to_owned);
    let body = match body::read(request.into_body(), MOST, Duration::from_secs(10)).await {
        Ok(body) => body,
        Err(error) => return error.into_response(),
    };
    let Some(watch) = &admin.device.views.braking else {
        return brakes::read_only().into_response();
    };
    match roll_back(&admin, watch, token.as_deref(), &body).await {
        Ok(opened) => Json(opened).into_response(),
        Err(error) => error.into_response(),
    }
}

async fn roll_back(
    admin: &Admin,
    watch: &BrakeWatch,
    token: Option<&str>,
    body: &[u8],
) -> Result<Opened, ApiError> {
    let request: RollbackRequest = input::parse(body)?;
    let people = admin.people.as_ref();
    let people =
        people.ok_or_else(|| ApiError::new(StatusCode::NOT_FOUND, "not_found", "there is no API"))?;
    // A commit changes what is released: a right to stop is not enough for that.
    people.may_release(token).await?;
    if request.channel.trim().is_empty() {
        return Err(input::invalid("`channel` is missing: a rollback is of one channel"));
    }
    let to = request.to.map(Target::try_from).transpose();
    let to = to.map_err(|error| input::invalid(format!("`to`: {error}")))?;
    let what = (request.app, request.channel, request.release);
    let wanted = BrakeRequest::of_channel(what, request.by, request.reason);
    let (aim, by) = brakes::aim_of(admin, watch, token, &wanted).await?;
    let never = brakes::never(&aim);
    let opened = watch.roll_back(aim, (&by, wanted.reason()), Timestamp::now(), to).await;
    let (_, rollback) = opened.map_err(brakes::away)?.ok_or(never)?;
    if rollback.phase.is_end() {
        let message = format!(
            "rollback {} of {} has ended ({}), and a bundle goes back once: let {} refer to another release in Git",
            rollback.id,
            rollback.what(),
            rollback.phase.reason(),
            rollback.channel
        );
        return Err(ApiError::new(StatusCode::CONFLICT, "ended", message));
    }
    Ok(Opened {
        id: rollback.id.to_string(),
        app: rollback.app.to_string(),
        channel: rollback.channel.to_string(),
        release: rollback.release.as_ref().map(ToString::to_string),
        digest: rollback.digest.to_string(),
    })
}

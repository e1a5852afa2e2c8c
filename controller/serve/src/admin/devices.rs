//! `/api/v1/devices/…`: what is kept of one device or custom id, forgetting it, and channels that support chooses.
//!
//! Ids are in bodies, never in addresses, and no answer repeats one. What a person changes is recorded in the fleet store
//! with who and why, and without the device.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    extract::{Query, Request, State},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sluice_core::{ids::ChannelName, request::DeviceKey};
use sluice_store::fleet::{ActView, Author, Export, Fleet, FleetError, Subject};
use utoipa::{IntoParams, ToSchema};

use super::{
    Admin, ApiError, DeviceRight, authorise,
    input::{invalid, parse},
};
use crate::{body, views::Views};

/// Bytes of a request.
const MOST: usize = 64 * 1024;

/// Support may choose a channel for so long, in seconds: 90 days.
const LONGEST: i64 = 90 * 24 * 3600;

/// Whose data: a device, or every device with a custom id.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct WhoseData {
    /// The app.
    app: String,
    /// The id of a device.
    device: Option<String>,
    /// The app's own id of a device or user.
    custom_id: Option<String>,
}

/// What is kept.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Kept {
    /// One entry a device; none when nothing is kept.
    #[schema(value_type = Vec<serde_json::Value>)]
    pub devices: Vec<Export>,
}

/// What is to be forgotten, by whose wish, and why.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct EraseRequest {
    /// The app.
    app: String,
    /// The id of a device.
    device: Option<String>,
    /// The app's own id of a device or user.
    custom_id: Option<String>,
    /// Who wants it.
    #[serde(default)]
    by: String,
    /// Why.
    reason: String,
}

/// What was forgotten.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Erased {
    /// How many devices there were.
    pub devices: u64,
}

/// A channel for one device.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct OverrideRequest {
    /// The app.
    app: String,
    /// The id of the device.
    device: String,
    /// The channel; none takes the device off the one that it was put on.
    channel: Option<String>,
    /// Until when, as in RFC 3339; at most 90 days from now.
    until: Option<String>,
    /// Who wants it.
    #[serde(default)]
    by: String,
    /// Why.
    reason: String,
}

/// What holds for the device now.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Overridden {
    /// The channel that it was put on.
    pub channel: Option<String>,
    /// Until when.
    pub until: Option<String>,
}

/// Whose acts.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct ActsOf {
    /// The app.
    app: String,
}

/// What people did.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Acts {
    /// Newest first.
    #[schema(value_type = Vec<serde_json::Value>)]
    pub acts: Vec<ActView>,
}

/// Everything that is kept of a device, or of every device with a custom id.
#[utoipa::path(
    post,
    path = "/api/v1/devices/export",
    tag = "devices",
    request_body = WhoseData,
    responses(
        (status = 200, description = "What is kept, one entry a device", body = Kept),
        (status = 400, description = "Not one of `device` and `customId`", body = ApiError),
        (status = 401, description = "No token, or a wrong one", body = ApiError),
        (status = 403, description = "A token of somebody who may not see devices", body = ApiError),
        (status = 503, description = "Another replica leads, or the fleet store cannot be read", body = ApiError),
    ),
    security(("token" = []))
)]
pub(super) async fn export(State(admin): State<Arc<Admin>>, request: Request) -> Response {
    answer(async {
        let fleet = fleet(&admin.device.views)?;
        let WhoseData { app, device, custom_id } = read(request).await?;
        let subject = subject(device.as_deref(), custom_id.as_deref())?;
        Ok(Kept { devices: fleet.export(&app, subject).await.map_err(|error| away(&error))? })
    })
    .await
}

/// Forgets a device, or every device with a custom id. Nothing brings it back.
#[utoipa::path(
    post,
    path = "/api/v1/devices/erase",
    tag = "devices",
    request_body = EraseRequest,
    responses(
        (status = 200, description = "It is forgotten", body = Erased),
        (status = 400, description = "Not one of `device` and `customId`, or no reason", body = ApiError),
        (status = 401, description = "No token, or a wrong one", body = ApiError),
        (status = 403, description = "A token of somebody who may not erase devices", body = ApiError),
        (status = 503, description = "Another replica leads, or the fleet store cannot be written", body = ApiError),
    ),
    security(("token" = []))
)]
pub(super) async fn erase(State(admin): State<Arc<Admin>>, request: Request) -> Response {
    answer(async {
        let fleet = fleet(&admin.device.views)?;
        let EraseRequest { app, device, custom_id, by, reason } = read(request).await?;
        let subject = subject(device.as_deref(), custom_id.as_deref())?;
        let author = author(&by, &reason)?;
        Ok(Erased { devices: fleet.erase(&app, subject, author).await.map_err(|error| away(&error))? })
    })
    .await
}

/// Puts a device on a channel until a time, or takes it off.
#[utoipa::path(
    post,
    path = "/api/v1/devices/override",
    tag = "devices",
    request_body = OverrideRequest,
    responses(
        (status = 200, description = "What holds now; gateways know it within seconds", body = Overridden),
        (status = 400, description = "No reason, or no time that can be", body = ApiError),
        (status = 401, description = "No token, or a wrong one", body = ApiError),
        (status = 403, description = "A token of somebody who may not change devices", body = ApiError),
        (status = 404, description = "No such channel of the app is served", body = ApiError),
        (status = 503, description = "Another replica leads, or the fleet store cannot be written", body = ApiError),
    ),
    security(("token" = []))
)]
pub(super) async fn put_on(State(admin): State<Arc<Admin>>, request: Request) -> Response {
    answer(async {
        let fleet = fleet(&admin.device.views)?;
        let wanted = read(request).await?;
        put(&admin.device.views, &fleet, wanted, Timestamp::now()).await
    })
    .await
}

/// What people did to the data of an app's devices, newest first. No device is named.
#[utoipa::path(
    get,
    path = "/api/v1/devices/acts",
    tag = "devices",
    params(ActsOf),
    responses(
        (status = 200, description = "At most a thousand acts", body = Acts),
        (status = 401, description = "No token, or a wrong one", body = ApiError),
        (status = 503, description = "Another replica leads, or the fleet store cannot be read", body = ApiError),
    ),
    security(("token" = []))
)]
pub(super) async fn acts(State(admin): State<Arc<Admin>>, of: Query<ActsOf>) -> Response {
    answer(async {
        let fleet = fleet(&admin.device.views)?;
        Ok(Acts { acts: fleet.acts(&of.app).await.map_err(|error| away(&error))? })
    })
    .await
}

/// Asks for a right to devices, beside that to use the API.
pub(super) async fn may(
    State((admin, right)): State<(Arc<Admin>, DeviceRight)>,
    request: Request,
    next: Next,
) -> Response {
    let Some(people) = &admin.people else { return super::unknown().await.into_response() };
    match people.may_touch(authorise::bearer(request.headers()), right).await {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    }
}

async fn put(
    views: &Views,
    fleet: &Fleet,
    wanted: OverrideRequest,
    now: Timestamp,
) -> Result<Overridden, ApiError> {
    let OverrideRequest { app, device, channel, until, by, reason } = wanted;
    let device = device.trim();
    if device.is_empty() {
        return Err(invalid("`device` is empty"));
    }
    let (author, key) = (author(&by, &reason)?, DeviceKey::of(device));
    let Some(channel) = channel else {
        fleet.take_off_channel(&app, key, author).await.map_err(|error| away(&error))?;
        return Ok(Overridden { channel: None, until: None });
    };
    let until = until.ok_or_else(|| invalid("`until` is missing: say when the override ends"))?;
    let no_time =
        |_| invalid(format!("`until`: `{until}` is no time; write for example 2026-12-24T18:00:00Z"));
    let until: Timestamp = until.parse().map_err(no_time)?;
    let left = until.as_second() - now.as_second();
    if !(1..=LONGEST).contains(&left) {
        return Err(invalid("`until` is not within the next 90 days"));
    }
    let unknown = || {
        ApiError::new(StatusCode::NOT_FOUND, "no_channel", format!("no channel {channel} of {app} is served"))
    };
    let name: ChannelName = channel.parse().map_err(|_| unknown())?;
    if views.snapshot.load().app(&app).and_then(|app| app.channel(name.as_str())).is_none() {
        return Err(unknown());
    }
    let put = fleet.put_on_channel(&app, key, name, until.as_second(), author).await;
    put.map_err(|error| away(&error))?;
    Ok(Overridden { channel: Some(channel), until: Some(until.to_string()) })
}

async fn answer<T: Serialize>(work: impl Future<Output = Result<T, ApiError>>) -> Response {
    match work.await {
        Ok(done) => Json(done).into_response(),
        Err(error) => error.into_response(),
    }
}

/// The fleet store, or why there is none here.
pub(super) fn fleet(views: &Views) -> Result<Arc<Fleet>, ApiError> {
    let unavailable = |code, message: String| ApiError::new(StatusCode::SERVICE_UNAVAILABLE, code, message);
    if let Some(message) = views.background.as_ref().and_then(|background| background.waits()) {
        return Err(unavailable("not_leading", message));
    }
    let closed =
        || unavailable("fleet_store_unavailable", "the fleet store is not open yet; try again later".into());
    views.fleet_store().ok_or_else(closed)
}

async fn read<T: DeserializeOwned>(request: Request) -> Result<T, ApiError> {
    let bytes = body::read(request.into_body(), MOST, Duration::from_secs(10)).await;
    let bytes = bytes.map_err(|error| invalid(error.to_string()))?;
    parse(&bytes)
}

fn subject<'a>(device: Option<&'a str>, custom_id: Option<&'a str>) -> Result<Subject<'a>, ApiError> {
    match (device.map(str::trim), custom_id) {
        (Some(device), None) if !device.is_empty() => Ok(Subject::Device(DeviceKey::of(device))),
        (None, Some(custom_id)) if !custom_id.is_empty() => Ok(Subject::CustomId(custom_id)),
        _ => Err(invalid("give `device` or `customId`, one of them")),
    }
}

fn author(by: &str, reason: &str) -> Result<Author, ApiError> {
    if reason.trim().is_empty() {
        return Err(invalid("`reason` is missing: it is recorded, without the device"));
    }
    let by = if by.trim().is_empty() { "somebody with a token of the API" } else { by };
    Ok(Author::new(by, reason))
}

pub(super) fn away(error: &FleetError) -> ApiError {
    let message = format!("the fleet store does not answer ({error}); try again later");
    ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "fleet_store_unavailable", message)
}

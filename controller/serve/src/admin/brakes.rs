//! `/api/v1/brakes`: stops a bundle, and lists what is stopped.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    extract::{Request, State},
    response::{IntoResponse as _, Response},
};
use http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sluice_core::{
    brake::{Aim, AimError, Brake, Devices, Known, Scope, Wanted, aim},
    ids::AppId,
};
use sluice_store::control::{BrakeWatch, ControlError};
use utoipa::ToSchema;

use super::{
    Admin, ApiError,
    authorise::{Owned, bearer},
    input,
};
use crate::{body, views::Views};

/// Bytes of a request.
const MOST: usize = 64 * 1024;

/// What to stop.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct BrakeRequest {
    /// The app. Without `channel`, every channel of it is meant.
    app: Option<String>,
    /// The name of a channel or of its object, or `<app>/<channel>`.
    channel: Option<String>,
    /// The version; without it what the channel rolls out, else what it serves.
    release: Option<String>,
    /// `Return` (the default) or `Keep`: what becomes of the devices that run it.
    #[schema(value_type = Option<String>)]
    devices: Option<Devices>,
    /// Who wants it, as they say. What the token tells of its bearer stands before it.
    by: String,
    /// Why.
    reason: String,
}

/// A brake.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the fields are those of a brake")]
pub struct BrakeView {
    /// What Git lifts it by.
    pub id: String,
    pub app: String,
    /// The channel that it stops the bundle on; none: every channel of the app.
    pub channel: Option<String>,
    pub release: Option<String>,
    pub digest: String,
    /// `Return` or `Keep`.
    pub devices: &'static str,
    pub by: String,
    pub reason: String,
    pub at: String,
    /// Channels that lift it, where it stops nothing.
    pub lifted_on: Vec<String>,
    /// Whether this request wrote it; otherwise it stood already.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fresh: Option<bool>,
}

/// Every brake that was written, oldest first, also those that Git lifted.
#[utoipa::path(
    get,
    path = "/api/v1/brakes",
    tag = "brakes",
    responses(
        (status = 200, description = "The brakes, oldest first", body = Vec<BrakeView>),
        (status = 401, description = "No token, or a wrong one", body = ApiError),
    ),
    security(("token" = []))
)]
pub(super) async fn list(State(admin): State<Arc<Admin>>) -> Response {
    let views = &admin.device.views;
    let brakes = views.brakes.load_full();
    let all: Vec<BrakeView> = brakes.iter().map(|brake| view(views, brake, None)).collect();
    Json(all).into_response()
}

/// Stops a bundle: in this process at once, everywhere in about a second. Only Git lifts it.
#[utoipa::path(
    post,
    path = "/api/v1/brakes",
    tag = "brakes",
    request_body = BrakeRequest,
    responses(
        (status = 200, description = "The brake, which is in force", body = BrakeView),
        (status = 400, description = "What is to be stopped is not clear", body = ApiError),
        (status = 401, description = "No token, or a wrong one", body = ApiError),
        (status = 403, description = "A token of somebody who may not stop releases of this app", body = ApiError),
        (status = 404, description = "No such app, channel or release", body = ApiError),
        (status = 501, description = "Changes are not made through this server", body = ApiError),
        (status = 503, description = "The bundle store does not take it", body = ApiError),
    ),
    security(("token" = []))
)]
pub(super) async fn stop(State(admin): State<Arc<Admin>>, request: Request) -> Response {
    let token = bearer(request.headers()).map(str::to_owned);
    let body = match body::read(request.into_body(), MOST, Duration::from_secs(10)).await {
        Ok(body) => body,
        Err(error) => return error.into_response(),
    };
    let Some(watch) = &admin.device.views.braking else { return read_only().into_response() };
    match brake(&admin, watch, token.as_deref(), &body).await {
        Ok(brake) => Json(brake).into_response(),
        Err(error) => error.into_response(),
    }
}

async fn brake(
    admin: &Admin,
    watch: &BrakeWatch,
    token: Option<&str>,
    body: &[u8],
) -> Result<BrakeView, ApiError> {
    let request: BrakeRequest = input::parse(body)?;
    let (aim, by) = aim_of(admin, watch, token, &request).await?;
    let never = never(&aim);
    let braked = watch.stop(aim, &by, &request.reason, Timestamp::now(), false).await.map_err(away)?;
    let braked = braked.ok_or(never)?;
    Ok(view(&admin.device.views, &braked.brake, Some(braked.fresh)))
}

pub(super) fn read_only() -> ApiError {
    let message =
        "changes are not made through this server; `sluice brake --store` writes to its bundle store";
    ApiError::new(StatusCode::NOT_IMPLEMENTED, "read_only", message)
}

#[expect(clippy::needless_pass_by_value, reason = "errors are mapped by it")]
pub(super) fn away(error: ControlError) -> ApiError {
    let message = format!("the brake is not in force: {error}");
    ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "store_unavailable", message)
}

pub(super) fn never(aim: &Aim) -> ApiError {
    let message = format!("no bundle of {} was ever published as {}", aim.app, aim.release);
    ApiError::new(StatusCode::NOT_FOUND, "no_release", message)
}

/// What a request means and who wants it, once it is known that they may, and why is said.
pub(super) async fn aim_of(
    admin: &Admin,
    watch: &BrakeWatch,
    token: Option<&str>,
    request: &BrakeRequest,
) -> Result<(Aim, String), ApiError> {
    let views = &admin.device.views;
    let people = admin.people.as_ref();
    let people =
        people.ok_or_else(|| ApiError::new(StatusCode::NOT_FOUND, "not_found", "there is no API"))?;
    // What there is, is read for and told to those only who may stop it. A channel must be found before it is known whose
    // it is.
    let (who, aimed) = if let Some(app) = request.named() {
        let owner = watch.owner(&app).await.map_err(away)?;
        let who = people.may_brake(token, Some(Owned { app: &app, owner: owner.as_deref() })).await?;
        (who, aimed(views, watch, request).await.map_err(away)?)
    } else {
        let aimed = aimed(views, watch, request).await.map_err(away)?;
        let app = aimed.as_ref().ok().map(|aim| &aim.app);
        let owner = match app {
            Some(app) => watch.owner(app).await.map_err(away)?,
            None => None,
        };
        let owned = app.map(|app| Owned { app, owner: owner.as_deref() });
        (people.may_brake(token, owned).await?, aimed)
    };
    let aim = aimed.map_err(|error| not_clear(&error))?;
    if request.reason.trim().is_empty() {
        return Err(input::invalid("`reason` is missing: say why, for those who have to mend it"));
    }
    Ok((aim, by(who, request.by.trim())))
}

/// What the request means, by the names that this process knows; by those of the records where another one leads.
async fn aimed(
    views: &Views,
    watch: &BrakeWatch,
    request: &BrakeRequest,
) -> Result<Result<Aim, AimError>, ControlError> {
    let (snapshot, status) = (views.snapshot.load_full(), views.status.load_full());
    let recorded = if status.channels.is_empty() { watch.channels().await? } else { Arc::default() };
    let channels = status.channels.iter();
    let shown = channels.map(|c| Known { object: &c.name, app: &c.app, channel: &c.channel });
    let recorded = recorded.iter().map(|(object, app, channel)| Known { object, app, channel });
    let known: Vec<Known<'_>> = shown.chain(recorded).collect();
    let wanted = Wanted {
        app: request.app.as_deref(),
        channel: request.channel.as_deref(),
        release: request.release.as_deref(),
        devices: request.devices.unwrap_or_default(),
    };
    Ok(aim(&snapshot, &known, &wanted))
}

impl BrakeRequest {
    /// What `release` of a channel is meant, as `by` says and for `reason`.
    pub(super) fn of_channel(
        (app, channel, release): (Option<String>, String, Option<String>),
        by: String,
        reason: String,
    ) -> Self {
        Self { app, channel: Some(channel), release, devices: None, by, reason }
    }

    /// Why, for people.
    pub(super) fn reason(&self) -> &str {
        &self.reason
    }

    /// The app that it names, whether there is one or not.
    fn named(&self) -> Option<AppId> {
        let within = || Some(self.channel.as_deref()?.split_once('/')?.0);
        self.app.as_deref().or_else(within)?.parse().ok()
    }
}

/// Who stops it: what the token proves, and beside it what the request says.
fn by(who: Option<String>, said: &str) -> String {
    match (who, said) {
        (Some(who), "") => who,
        (Some(who), said) => format!("{who} for {said}"),
        (None, "") => "somebody with the admin token".to_owned(),
        (None, said) => said.to_owned(),
    }
}

fn not_clear(error: &AimError) -> ApiError {
    let (status, code) = match error {
        AimError::NoApp(_) | AimError::NoChannel(_) => (StatusCode::NOT_FOUND, "not_found"),
        _ => (StatusCode::BAD_REQUEST, "not_clear"),
    };
    ApiError::new(status, code, error.to_string())
}

fn view(views: &Views, brake: &Brake, fresh: Option<bool>) -> BrakeView {
    let snapshot = views.snapshot.load();
    let channels = snapshot.app(brake.app.as_str()).into_iter().flat_map(|app| app.channels());
    let lifting = channels.filter(|c| c.allow_held.iter().any(|id| id == brake.id.as_str()));
    BrakeView::of(brake, lifting.map(|c| c.name.to_string()).collect(), fresh)
}

impl BrakeView {
    /// A brake that these channels lift; `fresh` where somebody asked for it.
    pub fn of(brake: &Brake, lifted_on: Vec<String>, fresh: Option<bool>) -> Self {
        Self {
            id: brake.id.to_string(),
            app: brake.app.to_string(),
            channel: match &brake.scope {
                Scope::App => None,
                Scope::Channel(channel) => Some(channel.to_string()),
            },
            release: brake.release.as_ref().map(ToString::to_string),
            digest: brake.digest.to_string(),
            devices: match brake.devices {
                Devices::Return => "Return",
                Devices::Keep => "Keep",
            },
            by: brake.by.clone(),
            reason: brake.why.clone(),
            at: brake.at.to_string(),
            lifted_on,
            fresh,
        }
    }
}

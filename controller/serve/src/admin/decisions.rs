//! `GET /api/v1/decisions`: the decision log of an app, checked page by page against the one before.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Query, State},
    response::{IntoResponse as _, Response},
};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use sluice_core::{decisions::Page, ids::AppId};
use sluice_store::control::{Audit, BundleStore, ControlError};
use utoipa::{IntoParams, ToSchema};

use super::{Admin, ApiError};

/// Pages of one answer.
const PAGES: usize = 100;

/// Which part of the log.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// The app.
    app: String,
    /// Only rows of this channel.
    channel: Option<String>,
    /// Only pages after this place.
    after: Option<u64>,
}

/// A part of the log.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Decisions {
    /// Pages in their order: app, sequence, previous, at, rows.
    #[schema(value_type = Vec<serde_json::Value>)]
    pub pages: Vec<Page>,
    /// The place to ask on after, while there may be more.
    pub next: Option<u64>,
    /// Where and how the chain is broken; what comes after is not shown.
    pub broken: Option<String>,
}

/// Shows what was decided for an app, oldest first.
#[utoipa::path(
    get,
    path = "/api/v1/decisions",
    tag = "decisions",
    params(Wanted),
    responses(
        (status = 200, description = "Up to 100 pages, each checked against the one before", body = Decisions),
        (status = 400, description = "No app, or what cannot be the id of one", body = ApiError),
        (status = 401, description = "No token, or a wrong one", body = ApiError),
        (status = 404, description = "Nothing was ever published for the app", body = ApiError),
        (status = 503, description = "The bundle store cannot be read", body = ApiError),
    ),
    security(("token" = []))
)]
pub(super) async fn list(State(admin): State<Arc<Admin>>, wanted: Query<Wanted>) -> Response {
    let Query(Wanted { app, channel, after }) = wanted;
    let app: AppId = match app.parse() {
        Ok(app) => app,
        Err(error) => {
            let message = format!("`app`: {error}");
            return ApiError::new(StatusCode::BAD_REQUEST, "invalid_request", message).into_response();
        }
    };
    let read = async {
        let store = BundleStore::open_existing(admin.device.views.objects.clone()).await?;
        let found = of(&store, &app, after.unwrap_or_default()).await?;
        // A log that was never begun is no log that is whole.
        let known = !found.pages.is_empty() || found.broken.is_some() || store.record(&app).await?.is_some();
        Ok::<_, ControlError>(known.then_some(found))
    };
    match read.await {
        Ok(None) => {
            let message = format!("nothing was ever published for {app}");
            ApiError::new(StatusCode::NOT_FOUND, "unknown_app", message).into_response()
        }
        Ok(Some(mut found)) => {
            if let Some(channel) = channel {
                for page in &mut found.pages {
                    page.rows.retain(|row| row.transition.channel.as_str() == channel);
                }
                found.pages.retain(|page| !page.rows.is_empty());
            }
            Json(found).into_response()
        }
        Err(error) => {
            let message = format!("the decision log cannot be read: {error}");
            ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "store_unavailable", message).into_response()
        }
    }
}

async fn of(store: &BundleStore, app: &AppId, after: u64) -> Result<Decisions, ControlError> {
    let Audit { pages, broken } = store.audit_decisions(app, after, PAGES).await?;
    let next = pages.last().filter(|_| pages.len() == PAGES).map(|page| page.sequence);
    Ok(Decisions { pages, next, broken })
}

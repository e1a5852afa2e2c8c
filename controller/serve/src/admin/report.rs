//! `GET /api/v1/report`: how releases of an app reach their devices and do on them, from sums that the fleet store keeps.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Query, State},
    response::{IntoResponse as _, Response},
};
use http::StatusCode;
use jiff::{Timestamp, civil, tz::TimeZone};
use serde::Deserialize;
use sluice_store::fleet::{Report, ReportQuery};
use utoipa::IntoParams;

use super::{Admin, ApiError, devices, names::Names};

/// Without `since` a report is about so many seconds: 30 days.
const USUAL: i64 = 30 * 24 * 3600;

/// What the report is about.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// The app.
    app: String,
    /// Only devices that this channel answered last.
    channel: Option<String>,
    /// Only devices of this platform: `ios`, `android` or `electron`.
    platform: Option<String>,
    /// The first day: a date, or a time as in RFC 3339; 30 days ago when nothing is said.
    since: Option<String>,
}

/// Reports on the releases of an app.
#[utoipa::path(
    get,
    path = "/api/v1/report",
    tag = "report",
    params(Wanted),
    responses(
        (status = 200, description = "What became of releases, in devices; docs/analytics.md says what each number is", body = serde_json::Value),
        (status = 400, description = "No app, or no date", body = ApiError),
        (status = 401, description = "No token, or a wrong one", body = ApiError),
        (status = 404, description = "No such app or channel, or no device has asked for the app yet", body = ApiError),
        (status = 503, description = "Another replica leads, or the fleet store cannot be read", body = ApiError),
    ),
    security(("token" = []))
)]
pub(super) async fn report(State(admin): State<Arc<Admin>>, wanted: Query<Wanted>) -> Response {
    match of(&admin, &wanted, Timestamp::now()).await {
        Ok(report) => Json(report).into_response(),
        Err(error) => error.into_response(),
    }
}

async fn of(admin: &Admin, wanted: &Wanted, now: Timestamp) -> Result<Report, ApiError> {
    let fleet = devices::fleet(&admin.device.views)?;
    let since = since(wanted.since.as_deref(), now)?;
    let query = ReportQuery {
        app: &wanted.app,
        channel: wanted.channel.as_deref(),
        platform: wanted.platform.as_deref(),
        since,
    };
    let mut report = fleet.report(&query).await.map_err(|error| devices::away(&error))?;
    let traffic = fleet.traffic(since).await.map_err(|error| devices::away(&error))?;
    let snapshot = admin.device.views.snapshot.load_full();
    if let (Some(report), Some(served)) = (&mut report, snapshot.app(&wanted.app)) {
        for release in &mut report.releases {
            let zip = served.bundle(&release.version).map(|bundle| bundle.offer.zip.sha256);
            release.bytes = zip.map(|zip| traffic.get(&zip).copied().unwrap_or(0));
        }
    }
    let names = Names::of(&admin.device.views);
    let Some(report) = report else {
        if !names.has_app(&wanted.app) {
            return Err(names.no_app(&wanted.app));
        }
        let message = format!("no device has asked for {} yet, so there is nothing to report", wanted.app);
        return Err(ApiError::new(StatusCode::NOT_FOUND, "no_devices", message));
    };
    match &wanted.channel {
        // What a channel that is gone did can still be asked for.
        Some(channel) if report.active == 0 && !names.has_channel(&wanted.app, channel) => {
            Err(names.no_channel(&wanted.app, channel))
        }
        _ => Ok(report),
    }
}

fn since(text: Option<&str>, now: Timestamp) -> Result<i64, ApiError> {
    let Some(text) = text else { return Ok(now.as_second() - USUAL) };
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time.as_second());
    }
    let date = text.parse::<civil::Date>().and_then(|date| date.to_zoned(TimeZone::UTC));
    date.map(|date| date.timestamp().as_second()).map_err(|_| {
        let message = format!("`since`: `{text}` is no date; write for example 2026-11-01");
        ApiError::new(StatusCode::BAD_REQUEST, "invalid_request", message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_begins_on_a_day() {
        let now: Timestamp = "2026-11-25T12:00:00Z".parse().unwrap();
        let begins = |text| since(text, now).map_err(|error| error.message);
        assert_eq!(begins(Some("1970-01-02")), Ok(86_400));
        assert_eq!(begins(Some("1970-01-01T00:01:00+00:00")), Ok(60));
        assert_eq!(begins(None), Ok(now.as_second() - USUAL));
        assert!(begins(Some("yesterday")).unwrap_err().contains("2026-11-01"));
    }
}

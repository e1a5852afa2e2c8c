//! `POST /api/v1/explain`: what a device is answered, byte for byte, and why.
//!
//! The body is the update check as the device sends it; `locale` and `country` may stand beside its fields, as a trusted
//! proxy would pass them. The id is in the body, never in the address, and the answer does not repeat it. Nothing is
//! noted of such a request.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    extract::{Request, State},
    response::{IntoResponse as _, Response},
};
use serde::{Deserialize, Serialize};
use sluice_core::{
    decide::{self, Step},
    memory::OverrideBy,
    trial::{Arm, Discount, Metric},
};
use sluice_store::fleet::{DeviceView, EnrolmentView, FleetError, OutcomeView};
use utoipa::ToSchema;

use super::{Admin, ApiError, names::Names, openapi};
use crate::{
    body,
    device::micros,
    metrics::answer_name,
    protocol::{Reply, update},
    views::Views,
};

/// An answer explained.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Explanation {
    /// `update`, `builtin`, or the code of the refusal.
    pub answer: String,
    /// The HTTP status that the device gets.
    pub status: u16,
    /// The body that the device gets.
    pub body: serde_json::Value,
    /// The same, byte for byte.
    pub body_text: String,
    /// The step that decided.
    pub summary: String,
    /// The steps of the decision as sentences, in their order.
    pub trace: Vec<String>,
    /// What is odd about the request and decides nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// Generation of the snapshot that the decision was made with.
    pub generation: u64,
    /// What is known of the device; nothing when it never asked.
    pub device: Option<Device>,
    /// The trials of rollouts that it is enrolled in, oldest first.
    pub trials: Vec<Enrolment>,
}

/// The place of a device in the trial of one rollout.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Enrolment {
    /// The channel.
    pub channel: String,
    /// The line of the channel.
    pub line: String,
    /// Number of the rollout in its line.
    pub rollout: u64,
    /// The version that is, or was, rolled out.
    pub candidate: String,
    /// Number of the weight, from 0.
    pub level: u32,
    /// `Treatment` or `Control`.
    pub arm: &'static str,
    /// When it enrolled.
    pub at: String,
    /// When the rollout ended.
    pub ended: Option<String>,
    /// Why it weighs nothing: `New`, `NotProduction` or `Crowd`; nothing when it weighs.
    pub discount: Option<&'static str>,
    /// What failed since: `Health`, `Silence`, `Launch` or `Install`.
    pub failed: Vec<&'static str>,
    /// When it ran the candidate first.
    pub launched: Option<String>,
    /// The same in a sentence.
    pub sentence: String,
}

/// What is known of a device: the fields of `sluice_store::fleet::DeviceView`, with times as in RFC 3339.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Device {
    pub first_seen: String,
    pub last_seen: String,
    pub sessions: i64,
    pub gap_seconds: Vec<u32>,
    pub platform: String,
    pub plugin: String,
    pub native: String,
    pub os: String,
    pub running: String,
    pub channel: Option<String>,
    pub production: bool,
    pub emulator: bool,
    pub last_offer: Option<LastOffer>,
    pub outcomes: Vec<Outcome>,
    /// The channel that the device was put on by name.
    pub channel_override: Option<ChannelOverride>,
    /// Bundle digests that are not offered again for now because they failed here.
    pub failed: Vec<String>,
}

/// The newest offer.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct LastOffer {
    pub version: String,
    pub at: String,
}

/// The channel that a device was put on.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct ChannelOverride {
    /// Its name.
    pub channel: String,
    /// `device` or `support`.
    pub by: String,
}

/// What became of one version.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Outcome {
    pub version: String,
    pub activated: Option<String>,
    pub started: Option<String>,
    pub launch_failed: Option<Failure>,
    pub install_failed: Option<Failure>,
    pub health_failed: Option<Failure>,
}

/// A failure.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct Failure {
    /// When.
    pub at: String,
    /// The reported action.
    pub action: String,
}

/// Bytes of a request: as on the device side.
const MOST: usize = 64 * 1024;

/// Explains the answer to an update check.
#[utoipa::path(
    post,
    path = "/api/v1/explain",
    tag = "devices",
    request_body(content = openapi::DeviceRequest, description = "The update check as the device sends it"),
    responses(
        (status = 200, description = "The answer, and why", body = Explanation),
        (status = 401, description = "No token, or a wrong one", body = ApiError),
        (status = 403, description = "A token of somebody who may not read", body = ApiError),
        (status = 404, description = "No such app, or no such channel where the answer is about the one that is asked for", body = ApiError),
        (status = 413, description = "More than 64 KiB"),
        (status = 503, description = "The fleet store cannot be read, or the cluster cannot be asked whose token it is", body = ApiError),
    ),
    security(("token" = []))
)]
pub(super) async fn explain(State(admin): State<Arc<Admin>>, request: Request) -> Response {
    let body = match body::read(request.into_body(), MOST, Duration::from_secs(10)).await {
        Ok(body) => body,
        Err(error) => return error.into_response(),
    };
    let now = jiff::Timestamp::now().as_second();
    let device = &admin.device;
    match of(&device.views, &device.settings.download_url, &body, now).await {
        Ok(explanation) => Json(explanation).into_response(),
        Err(error) => error.into_response(),
    }
}

/// What a proxy would pass.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Passed {
    locale: Option<String>,
    country: Option<String>,
}

/// Explains an update check against what is served.
async fn of(views: &Views, download_url: &str, body: &[u8], now: i64) -> Result<Explanation, ApiError> {
    let snapshot = views.snapshot.load_full();
    let generation = snapshot.root.generation;
    let checked = match update::parse(body) {
        Ok(checked) => checked,
        Err(invalid) => {
            let reply = invalid.reply();
            let trace = vec![format!("The request cannot be read: {invalid}.")];
            return Ok(explanation(invalid.code(), &reply, trace, generation));
        }
    };
    let passed: Passed = serde_json::from_slice(body).unwrap_or_default();
    let mut request = checked.request();
    (request.locale, request.country) = (passed.locale.as_deref(), passed.country.as_deref());
    let memory = views.devices.memory(request.app_id, request.device);
    let brakes = views.brakes.load_full();
    let mut decision = decide::decide(&snapshot, &brakes, memory.as_deref(), &request, now);
    if decision.paced.is_some_and(|paced| !paced.is_open(micros())) {
        decision = decide::decide_at_limit(&snapshot, &brakes, memory.as_deref(), &request, now);
    }
    let names = Names::of(views);
    match decision.trace.last() {
        Some(Step::AppUnknown) => return Err(names.no_app(request.app_id)),
        Some(Step::WishUnknown) => {
            return Err(names.no_channel(request.app_id, request.default_channel.unwrap_or_default()));
        }
        _ => {}
    }
    let reply = update::render(&decision.answer, &request, download_url);
    let trace = decision.trace.iter().map(ToString::to_string).collect();
    let mut explanation = explanation(answer_name(&decision.answer), &reply, trace, generation);
    // A phone may run what was taken out of Git long ago, so it is answered; whoever mistyped a version should know.
    if !request.on_builtin && !names.has_release(request.app_id, request.current) {
        let unknown = names.no_release(request.app_id, request.current);
        explanation.notes.push(format!("the device says that it runs {}: {unknown}", request.current));
    }
    let Some(fleet) = views.fleet_store() else { return Ok(explanation) };
    let away = |error: &FleetError| {
        let message = format!("the fleet store cannot be read ({error}); try again later");
        ApiError::new(http::StatusCode::SERVICE_UNAVAILABLE, "fleet_store_unavailable", message)
    };
    let view = fleet.device(request.app_id, request.device).await.map_err(|error| away(&error))?;
    explanation.device = view.map(device);
    let enrolments = fleet.enrolment(request.app_id, request.device).await.map_err(|error| away(&error))?;
    explanation.trials = enrolments.into_iter().map(enrolment).collect();
    Ok(explanation)
}

fn explanation(answer: &str, reply: &Reply, trace: Vec<String>, generation: u64) -> Explanation {
    Explanation {
        answer: answer.to_owned(),
        status: reply.status,
        body: serde_json::from_slice(&reply.body).unwrap_or_default(),
        body_text: String::from_utf8_lossy(&reply.body).into_owned(),
        summary: trace.last().cloned().unwrap_or_default(),
        trace,
        notes: Vec::new(),
        generation,
        device: None,
        trials: Vec::new(),
    }
}

fn enrolment(view: EnrolmentView) -> Enrolment {
    let sentence = in_trial(&view);
    let EnrolmentView { rollout, candidate, ended, level, arm, at, discount, failed, launched_at, .. } = view;
    Enrolment {
        channel: rollout.channel.to_string(),
        line: rollout.line,
        rollout: rollout.serial,
        candidate,
        level,
        arm: match arm {
            Arm::Treatment => "Treatment",
            Arm::Control => "Control",
        },
        at: time(at),
        ended: ended.map(time),
        discount: discount.map(|why| match why {
            Discount::New => "New",
            Discount::NotProduction => "NotProduction",
            Discount::Crowd => "Crowd",
        }),
        failed: failed.into_iter().map(metric).collect(),
        launched: launched_at.map(time),
        sentence,
    }
}

const fn metric(metric: Metric) -> &'static str {
    match metric {
        Metric::Health => "Health",
        Metric::Silence => "Silence",
        Metric::Launch => "Launch",
        Metric::Install => "Install",
    }
}

/// What a device is in the trial of a rollout, and what it counts there.
fn in_trial(view: &EnrolmentView) -> String {
    let EnrolmentView { rollout, candidate, level, arm, at, discount, failed, .. } = view;
    let channel = &rollout.channel;
    let arm = match arm {
        Arm::Treatment => "among those who are offered it",
        Arm::Control => "among those whom the others are compared with",
    };
    let weighs = match discount {
        None => "It weighs.",
        Some(Discount::New) => {
            "It weighs nothing: it was first seen after the rollout began, and whoever forges reports makes new ids."
        }
        Some(Discount::NotProduction) => "It weighs nothing: it is an emulator or a development build.",
        Some(Discount::Crowd) => "It weighs nothing: too many young devices came from its network.",
    };
    let failed: Vec<&str> = failed.iter().copied().map(metric).collect();
    let failed =
        if failed.is_empty() { String::new() } else { format!(" What failed: {}.", failed.join(", ")) };
    let since = time(*at);
    format!("In the trial of {candidate} on {channel}, level {level}, {arm}, since {since}. {weighs}{failed}")
}

fn device(view: DeviceView) -> Device {
    let memory = view.memory.as_deref();
    let channel_override = memory.and_then(|m| m.channel.as_ref()).map(|o| ChannelOverride {
        channel: o.channel.to_string(),
        by: match o.by {
            OverrideBy::Device => "device".to_owned(),
            OverrideBy::Support => "support".to_owned(),
        },
    });
    let failed = memory.map(|m| m.failed.iter().map(|f| f.digest.to_string()).collect()).unwrap_or_default();
    let failure = |failed: Option<(i64, String)>| failed.map(|(at, action)| Failure { at: time(at), action });
    // Of a version that was only offered there is nothing to say yet.
    let said = |o: &OutcomeView| {
        let failed = o.launch_failed.is_some() || o.install_failed.is_some() || o.health_failed.is_some();
        failed || o.trial_at.is_some() || o.success_at.is_some()
    };
    let outcomes = view.outcomes.into_iter().filter(said).map(|o| Outcome {
        version: o.version,
        activated: o.trial_at.map(time),
        started: o.success_at.map(time),
        launch_failed: failure(o.launch_failed),
        install_failed: failure(o.install_failed),
        health_failed: failure(o.health_failed),
    });
    Device {
        first_seen: time(view.first_seen),
        last_seen: time(view.last_seen),
        sessions: view.sessions,
        gap_seconds: view.gaps,
        platform: view.platform,
        plugin: view.plugin,
        native: view.native,
        os: view.os,
        running: view.running,
        channel: view.channel,
        production: view.production,
        emulator: view.emulator,
        last_offer: view.offered.map(|o| LastOffer { version: o.version, at: time(o.at) }),
        outcomes: outcomes.collect(),
        channel_override,
        failed,
    }
}

/// Seconds since 1970 in the form of RFC 3339.
fn time(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).map_or_else(|_| seconds.to_string(), |at| at.to_string())
}

//! The description of the admin API, generated from its handlers.

use serde_json::Value;
use utoipa::{
    Modify, OpenApi, ToSchema,
    openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
};

use super::{
    ApiError,
    brakes::{BrakeRequest, BrakeView},
    decisions::Decisions,
    devices::{Acts, EraseRequest, Erased, Kept, Overridden, OverrideRequest, WhoseData},
    explain::Explanation,
    rollbacks::{Opened, RollbackRequest},
};

/// The document.
#[derive(OpenApi)]
#[openapi(
    info(title = "Sluice admin API", description = "State of an installation, for people and tools.", license(name = "Apache-2.0")),
    paths(super::status, super::explain::explain, super::brakes::list, super::brakes::stop, super::rollbacks::list, super::rollbacks::open, super::decisions::list, super::devices::export, super::devices::erase, super::devices::put_on, super::devices::acts, super::report::report),
    components(schemas(ApiError, BrakeRequest, BrakeView, RollbackRequest, Opened, Rollback, Acts, Decisions, EraseRequest, Erased, Explanation, Kept, Overridden, OverrideRequest, WhoseData, Status, DeviceRequest)),
    modifiers(&Bearer)
)]
pub(super) struct Document;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("token", SecurityScheme::Http(scheme));
    }
}

/// What `sluice_core::status::Status` looks like as JSON. The core knows nothing of this document.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "only its shape is used")]
pub(super) struct Status {
    /// Generation of the snapshot that is served; 0 before the first.
    generation: u64,
    /// The repositories that are followed.
    repositories: Vec<Value>,
    /// Sorted by app and version, highest first.
    releases: Vec<Value>,
    /// Sorted by app and channel.
    channels: Vec<Value>,
    /// Problems of the observed commit: file, line, column, severity, code, message.
    diagnostics: Vec<Value>,
    /// How far Git is told of brakes, the oldest first.
    rollbacks: Vec<Value>,
}

/// How far Git is told of one brake. Further fields follow `phase`.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "only its shape is used")]
pub(super) struct Rollback {
    /// The id of its brake.
    id: String,
    app: String,
    channel: String,
    release: Option<String>,
    digest: String,
    /// `Requested` or `GateFailed`.
    cause: String,
    by: String,
    why: String,
    /// When the bundle was braked.
    at: String,
    /// `Braked`, `Planned`, `Pushed`, `ProposalOpen`, or an end: `Complete`, `Superseded`, `Declined`,
    /// `CircuitOpen`, `HistoryRewritten`.
    phase: String,
    /// The commit, its parent, the commit that brought the release, the mode, and what it restores.
    planned: Option<Value>,
    /// The branch that waits to be merged.
    proposal: Option<String>,
    /// The pull request for it: number and url.
    pull_request: Option<Value>,
    /// Why it does not go on: reason, message, since.
    stall: Option<Value>,
    /// What was done: at, phase, message.
    log: Vec<Value>,
}

/// An update check. Further fields are allowed.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only its shape is used")]
#[expect(non_snake_case, reason = "names of the device protocol")]
pub(super) struct DeviceRequest {
    app_id: String,
    device_id: String,
    platform: String,
    version_build: String,
    version_name: String,
    plugin_version: String,
    version_os: Option<String>,
    is_prod: Option<bool>,
    is_emulator: Option<bool>,
    defaultChannel: Option<String>,
    custom_id: Option<String>,
    key_id: Option<String>,
    /// The language that a trusted proxy would pass.
    locale: Option<String>,
    /// The country that a trusted proxy would pass.
    country: Option<String>,
}

/// The description of the API as JSON, as it is checked in and served.
pub fn document() -> String {
    let mut text = Document::openapi().to_pretty_json().unwrap_or_default();
    text.push('\n');
    text
}

//! `Channel`: an audience, and the release that it should run.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    LAST_TERM,
    common::{APP, CHANNEL, Condition, TARGET, not_observed, term_rules, yes},
};

mod audience;
mod gate;
mod reserved;
mod rollout;

pub use audience::{Approval, Audience, Urgent};
pub use gate::{Devices, Gate, OnBad, OnInconclusive};
pub use reserved::{Encryption, Require};
pub use rollout::{Day, OnDecrease, Order, Ramp, Rollout, Step, StepApproval, Strategy, Window};

/// An audience, and the release that it should run.
#[derive(CustomResource, Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "sluice.dev",
    version = "v1alpha1",
    kind = "Channel",
    namespaced,
    status = "ChannelStatus",
    derive = "PartialEq",
    doc = "An audience, and the release that it should run.",
    shortname = "otach",
    category = "sluice",
    selectable = ".spec.app",
    selectable = ".spec.channel",
    printcolumn(name = "Release", type_ = "string", json_path = ".status.release"),
    printcolumn(name = "Bundle", type_ = "string", json_path = ".status.bundle"),
    printcolumn(name = "Rollout", type_ = "string", json_path = ".status.rollout"),
    printcolumn(name = "Health", type_ = "string", json_path = ".status.health"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].status"
    ),
    printcolumn(
        name = "Status",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].reason"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "App", type_ = "string", json_path = ".spec.app", priority = "1"),
    printcolumn(name = "Revision", type_ = "string", json_path = ".status.revision", priority = "1"),
    printcolumn(name = "Held", type_ = "string", json_path = ".status.held", priority = "1"),
    printcolumn(
        name = "Last rollback",
        type_ = "date",
        json_path = ".status.lastRollbackTime",
        priority = "1"
    )
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {"rule": "has(self.release) != has(self.releases)", "message": "exactly one of release and releases is required"}
]))]
pub struct ChannelSpec {
    /// Reverse-domain id of the app, for example `com.example.shop`.
    #[schemars(
        length(min = 3, max = 128),
        regex(pattern = APP),
        extend("x-kubernetes-validations" = [{"rule": "self == oldSelf", "message": "app is immutable; create another Channel"}])
    )]
    pub app: String,
    /// The name under which devices ask for it; the object's name when it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = CHANNEL))]
    pub channel: Option<String>,
    /// The wanted release: a version of the app, or `builtin`. Exactly one of `release` and `releases`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 5, max = 64), regex(pattern = TARGET))]
    pub release: Option<String>,
    /// Lines for several native generations, in order: the first that matches a device counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub releases: Vec<Line>,
    /// Devices without a channel of their own use it. At most one public channel per app and platform.
    #[serde(default)]
    pub public: bool,
    /// Platforms that it serves.
    #[serde(default = "Platform::all")]
    #[schemars(length(min = 1, max = 3), extend("x-kubernetes-list-type" = "set"))]
    pub platforms: Vec<Platform>,
    /// Which devices may update.
    #[serde(default)]
    pub allow: Allow,
    /// How releases relate to the version of the native app.
    #[serde(default)]
    pub native: NativePolicy,
    /// How a release is brought to the audience.
    #[serde(default)]
    pub rollout: Rollout,
    /// What follows from evidence against a release.
    #[serde(default)]
    pub gate: Gate,
    /// Nobody new joins a rollout while it is set; brakes and the gate stay on.
    #[serde(default)]
    pub suspend: bool,
    /// Ids of holds (rollbacks) that this channel lifts.
    #[serde(default)]
    #[schemars(
        length(max = 64),
        inner(length(min = 1, max = 128)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub allow_held: Vec<String>,
    /// Whom it is limited to, among those that ask for it. Who is outside keeps what it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audience: Option<Audience>,
    /// Steps that a person has approved.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "atomic"))]
    pub approvals: Vec<Approval>,
    /// A release whose rollout does not wait for windows and freezes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub urgent: Option<Urgent>,
    /// Encryption of its artefacts. Reserved: not supported yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encryption: Option<Encryption>,
    /// What a release must prove before it is served. Reserved: not supported yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub require: Option<Require>,
}

/// One entry of a channel that serves several native generations side by side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Line {
    /// Range of native versions that it is for, for example `>=4.0.0`; all when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub native: Option<String>,
    /// Platforms that it is for; those of the channel when left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 3), extend("x-kubernetes-list-type" = "set"))]
    pub platforms: Vec<Platform>,
    /// The wanted release: a version of the app, or `builtin`.
    #[schemars(length(min = 5, max = 64), regex(pattern = TARGET))]
    pub release: String,
}

/// The platform of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Platform {
    /// iOS.
    Ios,
    /// Android.
    Android,
    /// Electron.
    Electron,
}

impl Platform {
    fn all() -> Vec<Self> {
        vec![Self::Ios, Self::Android, Self::Electron]
    }
}

/// Which devices may update.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_excessive_bools, reason = "independent switches of the contract")]
pub struct Allow {
    /// Production builds.
    #[serde(default = "yes")]
    pub production: bool,
    /// Development builds.
    #[serde(default = "yes")]
    pub development: bool,
    /// Physical devices.
    #[serde(default = "yes")]
    pub device: bool,
    /// Emulators.
    #[serde(default = "yes")]
    pub emulator: bool,
    /// Devices may choose the channel themselves.
    #[serde(default)]
    pub self_assign: bool,
}

impl Default for Allow {
    fn default() -> Self {
        Self { production: true, development: true, device: true, emulator: true, self_assign: false }
    }
}

/// How releases relate to the version of the native app.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NativePolicy {
    /// How far from the native version a release may be.
    #[serde(default)]
    pub upgrade: Upgrade,
    /// A release below the native version may be served.
    #[serde(default)]
    pub under_native: bool,
}

/// How far from the native version a release may be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Upgrade {
    /// Any version.
    Any,
    /// Not above the native major version.
    #[default]
    SameMajor,
    /// The same major and minor version.
    SameMinor,
    /// The same major, minor and patch version.
    SamePatch,
}

/// What was observed of a Channel. It changes on transitions only; counts of devices are metrics.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = term_rules()))]
pub struct ChannelStatus {
    /// Generation of the spec that was last handled in full.
    #[serde(default = "not_observed")]
    pub observed_generation: i64,
    /// Term of the leader that wrote this; a former leader is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = LAST_TERM))]
    pub epoch: Option<i64>,
    /// Conditions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// What is served, line by line.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["key"]))]
    pub lines: Vec<LineStatus>,
    /// What is served, in one word, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub release: Option<String>,
    /// Short digest of what is served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub bundle: Option<String>,
    /// How far the rollout is, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub rollout: Option<String>,
    /// What the gate says, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub health: Option<String>,
    /// Commit that the served state was read from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub revision: Option<String>,
    /// Short digest of what is held, if anything is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub held: Option<String>,
    /// When the last rollback of the channel began, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), extend("format" = "date-time"))]
    pub last_rollback_time: Option<String>,
    /// The value of the annotation that last asked for a reconcile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub last_handled_reconcile_at: Option<String>,
}

/// The state of one line.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LineStatus {
    /// Name of the line, made of its conditions.
    #[schemars(length(min = 1, max = 320))]
    pub key: String,
    /// What the spec asks for.
    #[schemars(length(max = 64))]
    pub wanted: String,
    /// What devices are offered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub served: Option<String>,
    /// The bundle digest of what is served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub digest: Option<String>,
}

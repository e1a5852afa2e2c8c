//! `Rollback`: one bad digest that one channel goes back from. Its status is the write-ahead log of the rollback.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::common::{CHANNEL, Condition, OBJECT_NAME, SHA256, not_observed};

/// One bad digest that one channel goes back from.
#[derive(CustomResource, Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "sluice.dev",
    version = "v1alpha1",
    kind = "Rollback",
    namespaced,
    status = "RollbackStatus",
    derive = "PartialEq",
    doc = "One bad digest that one channel goes back from; its status is the write-ahead log of the rollback.",
    shortname = "otarb",
    category = "sluice",
    selectable = ".spec.channel",
    selectable = ".spec.digest",
    printcolumn(name = "Channel", type_ = "string", json_path = ".spec.channel"),
    printcolumn(name = "Bundle", type_ = "string", json_path = ".status.bundle"),
    printcolumn(name = "Commit", type_ = "string", json_path = ".status.commit"),
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
    printcolumn(name = "Message", type_ = "string", json_path = ".spec.message", priority = "1")
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {"rule": "self == oldSelf", "message": "a Rollback is immutable; create another one"}
]))]
pub struct RollbackSpec {
    /// Name of the Channel object, in the same namespace.
    #[schemars(length(min = 1, max = 253), regex(pattern = OBJECT_NAME))]
    pub channel: String,
    /// The bad bundle digest; one that the channel has served.
    #[schemars(length(min = 64, max = 64), regex(pattern = SHA256))]
    pub digest: String,
    /// The version that the channel goes back to, or `builtin`; what did well last when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub to: Option<String>,
    /// Why it was opened.
    #[serde(default)]
    pub reason: Reason,
    /// Why, in a sentence for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub message: Option<String>,
    /// What was counted when it was opened.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub evidence: Vec<Evidence>,
}

/// Why a rollback was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Reason {
    /// A person asked for it.
    #[default]
    Requested,
    /// The gate found the release bad.
    GateFailed,
}

/// One comparison of the candidate's devices with the others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Evidence {
    /// What was compared, unique in the list.
    #[schemars(length(min = 1, max = 63), regex(pattern = CHANNEL))]
    pub name: String,
    /// Devices of the candidate that count.
    #[schemars(range(min = 0))]
    pub candidate: i64,
    /// Failures among them.
    #[schemars(range(min = 0))]
    pub candidate_failed: i64,
    /// Devices that it is compared with.
    #[schemars(range(min = 0))]
    pub control: i64,
    /// Failures among them.
    #[schemars(range(min = 0))]
    pub control_failed: i64,
}

/// How far a rollback is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RollbackStatus {
    /// Generation of the spec that was last handled in full.
    #[serde(default = "not_observed")]
    pub observed_generation: i64,
    /// Conditions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// Short form of the bad digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 12))]
    pub bundle: Option<String>,
    /// Id of the rollback: in the trailer of its commit, and in `Channel.spec.allowHeld` to lift the hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128), regex(pattern = CHANNEL))]
    pub id: Option<String>,
    /// Commit that brought the bad release to the channel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub introduced_by: Option<String>,
    /// The revert commit, recorded before it is pushed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub commit: Option<String>,
    /// The pull request, where one was opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub pull_request: Option<String>,
    /// What was done, in order; written before the next thing is done.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "atomic"))]
    pub log: Vec<LogEntry>,
}

/// One thing that was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LogEntry {
    /// When, RFC 3339.
    #[schemars(length(max = 64), extend("format" = "date-time"))]
    pub time: String,
    /// CamelCase, for machines.
    #[schemars(length(min = 1, max = 64))]
    pub step: String,
    /// A sentence for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub message: Option<String>,
}

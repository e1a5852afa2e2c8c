//! Whom a channel or a step is limited to, and what people decide about a rollout.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Platform;
use crate::common::VERSION;

/// Whom a channel or a step is limited to, among the devices that ask for it. Every condition that is given must hold;
/// a device that does not say what a condition is about does not meet it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("minProperties" = 1))]
pub struct Audience {
    /// Platforms.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 3), extend("x-kubernetes-list-type" = "set"))]
    pub platforms: Vec<Platform>,
    /// Range of native versions of the app.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub native: Option<String>,
    /// Range of versions of the operating system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub os: Option<String>,
    /// Range of versions of the updater plugin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub plugin: Option<String>,
    /// Patterns of the id that the app gave the device; `*` stands for any run of characters.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(min = 1, max = 64),
        inner(length(min = 1, max = 128)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub custom_ids: Vec<String>,
    /// Device ids, or `sha256:` and the SHA-256 of the lower-cased id in hexadecimal.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(min = 1, max = 256),
        inner(length(min = 1, max = 128)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub device_ids: Vec<String>,
    /// Languages, such as `fr` for every kind of French or `fr-CA`, as a trusted proxy passes them in the header
    /// `Sluice-Locale`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(min = 1, max = 64),
        inner(length(min = 2, max = 35)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub locales: Vec<String>,
    /// Countries by their two letters, as a trusted proxy passes them in the header `Sluice-Country`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(min = 1, max = 256),
        inner(length(min = 2, max = 2)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub countries: Vec<String>,
}

/// A step that a person has approved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Approval {
    /// Version that is being rolled out.
    #[schemars(length(min = 5, max = 64), regex(pattern = VERSION))]
    pub release: String,
    /// The step, from 1, that it may leave.
    #[schemars(range(min = 1, max = 20))]
    pub step: i32,
}

/// A release that does not wait for windows and freezes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Urgent {
    /// The release; for any other one nothing is urgent.
    #[schemars(length(min = 5, max = 64), regex(pattern = VERSION))]
    pub release: String,
    /// Why, for people.
    #[schemars(length(min = 1, max = 256))]
    pub reason: String,
}

//! Fields of a repository whose names are taken now and whose meaning a later release brings.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::common::{HTTPS, OBJECT_NAME, SecretReference};

/// Notifications of pushes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Webhook {
    /// The shared secret that notifications are signed with.
    pub secret_ref: SecretReference,
}

/// Which signatures a commit must have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Verify {
    /// Whether only the newest commit or every commit since the last applied one is looked at.
    #[serde(default)]
    pub mode: VerifyMode,
    /// Public keys that are trusted.
    pub secret_ref: SecretReference,
}

/// Which commits must be signed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum VerifyMode {
    /// The newest one.
    #[default]
    Head,
    /// Every one since the last applied one.
    Every,
}

/// The API of a Git host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Forge {
    /// Which API it speaks.
    #[serde(rename = "type")]
    pub type_: ForgeType,
    /// Address of the API; the host's usual one when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048), regex(pattern = HTTPS))]
    pub url: Option<String>,
    /// A token for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretReference>,
}

/// Which API a Git host speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ForgeType {
    /// GitHub.
    GitHub,
    /// GitLab.
    GitLab,
    /// Gitea or Forgejo.
    Gitea,
    /// Bitbucket.
    Bitbucket,
}

/// A time in which no rollout goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {"rule": "timestamp(self.from) < timestamp(self.to)", "message": "from must be before to"}
]))]
pub struct Freeze {
    /// Name, unique in the list.
    #[schemars(length(min = 1, max = 63), regex(pattern = OBJECT_NAME))]
    pub name: String,
    /// Begin, RFC 3339.
    #[schemars(length(max = 64), extend("format" = "date-time"))]
    pub from: String,
    /// End, RFC 3339.
    #[schemars(length(max = 64), extend("format" = "date-time"))]
    pub to: String,
    /// Why, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub reason: Option<String>,
}

/// Where channels may take metrics from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MetricProvider {
    /// Name that channels refer to, unique in the list.
    #[schemars(length(min = 1, max = 63), regex(pattern = OBJECT_NAME))]
    pub name: String,
    /// What it is.
    #[serde(rename = "type")]
    pub type_: MetricProviderType,
    /// Its address.
    #[schemars(length(min = 9, max = 2048), regex(pattern = HTTPS))]
    pub url: String,
    /// Credentials for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretReference>,
}

/// What a metric provider is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum MetricProviderType {
    /// Prometheus, or what speaks its query API.
    Prometheus,
}

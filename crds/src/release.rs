//! `Release`: one immutable bundle of one app, with a version and what it requires.

use std::collections::BTreeMap;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    LAST_TERM,
    common::{APP, Condition, HTTPS, SHA256, VERSION, not_observed, term_rules},
};

/// One immutable bundle of one app, with a version and what it requires. App, version and bundle never change:
/// publish a new version instead.
#[derive(CustomResource, Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "sluice.dev",
    version = "v1alpha1",
    kind = "Release",
    namespaced,
    status = "ReleaseStatus",
    derive = "PartialEq",
    doc = "One immutable bundle of one app, with a version and what it requires.",
    shortname = "otarel",
    category = "sluice",
    selectable = ".spec.app",
    selectable = ".spec.version",
    selectable = ".status.digest",
    printcolumn(name = "App", type_ = "string", json_path = ".spec.app"),
    printcolumn(name = "Version", type_ = "string", json_path = ".spec.version"),
    printcolumn(name = "Bundle", type_ = "string", json_path = ".status.bundle"),
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
    printcolumn(name = "Size", type_ = "integer", json_path = ".status.size", priority = "1"),
    printcolumn(name = "Digest", type_ = "string", json_path = ".status.digest", priority = "1")
)]
#[serde(rename_all = "camelCase")]
pub struct ReleaseSpec {
    /// Reverse-domain id that devices send as `app_id`, for example `com.example.shop`.
    #[schemars(
        length(min = 3, max = 128),
        regex(pattern = APP),
        extend("x-kubernetes-validations" = [{"rule": "self == oldSelf", "message": "app is immutable; create another Release"}])
    )]
    pub app: String,
    /// Semantic version without build metadata, for example `1.4.2`. Devices see it as the bundle's name.
    #[schemars(
        length(min = 5, max = 64),
        regex(pattern = VERSION),
        extend("x-kubernetes-validations" = [{"rule": "self == oldSelf", "message": "version is immutable; create another Release"}])
    )]
    pub version: String,
    /// Where the bundle's files come from: exactly one of `path`, `https` and `oci`.
    #[schemars(extend("x-kubernetes-validations" = [
        {"rule": "self == oldSelf", "message": "bundle is immutable; publish other bytes as a new version"},
        {"rule": "(has(self.path) ? 1 : 0) + (has(self.https) ? 1 : 0) + (has(self.oci) ? 1 : 0) == 1", "message": "exactly one of path, https and oci is required"}
    ]))]
    pub bundle: Bundle,
    /// What a device must have to run it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requires: Option<Requires>,
    /// Whether devices may be sent back from it. `StopOnly`: data was migrated, never send phones back.
    #[serde(default)]
    pub rollback: RollbackPolicy,
    /// Release notes, sent to devices that show them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub notes: Option<String>,
    /// A page about the release (`https`), sent to devices that show it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048), regex(pattern = HTTPS))]
    pub link: Option<String>,
    /// Free labels, for people and reports.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32, "additionalProperties" = {"type": "string", "maxLength": 253}))]
    pub labels: BTreeMap<String, String>,
}

/// Where the files of a bundle come from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Bundle {
    /// A directory, zip or pack inside the repository, relative to the file that holds this Release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub path: Option<String>,
    /// A zip that is downloaded once and must have the given digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub https: Option<HttpsSource>,
    /// An OCI artifact by digest. Reserved: not served yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oci: Option<OciSource>,
}

/// A zip that is downloaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HttpsSource {
    /// The URL, without credentials; it must resolve to a public address.
    #[schemars(length(min = 9, max = 2048), regex(pattern = HTTPS))]
    pub url: String,
    /// SHA-256 of the file, 64 lower-case hexadecimal characters.
    #[schemars(length(min = 64, max = 64), regex(pattern = SHA256))]
    pub sha256: String,
}

/// An OCI artifact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OciSource {
    /// Registry and repository, for example `registry.example.org/shop/web`.
    #[schemars(length(min = 1, max = 512))]
    pub image: String,
    /// `sha256:` and the digest of the manifest.
    #[schemars(length(min = 71, max = 71), regex(pattern = "^sha256:[0-9a-f]{64}$"))]
    pub digest: String,
}

/// What a device must have.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Requires {
    /// Range of native versions, for example `>=1.0.0 <5.0.0`; spaces or commas mean AND.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub native: Option<String>,
}

/// Whether devices may be sent back from a release.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RollbackPolicy {
    /// Devices may be returned to an older release.
    #[default]
    Allowed,
    /// Data was migrated: new devices are stopped, nobody is sent back.
    StopOnly,
}

/// What was observed of a Release.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = term_rules()))]
pub struct ReleaseStatus {
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
    /// The bundle digest, once the bundle was read: the identity of what runs on the phone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub digest: Option<String>,
    /// The first twelve characters of the digest, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 12))]
    pub bundle: Option<String>,
    /// Bytes of the zip that devices download.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<i64>,
    /// The value of the annotation that last asked for a reconcile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub last_handled_reconcile_at: Option<String>,
}

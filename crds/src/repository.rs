//! `Repository`: a Git repository, and what it may publish. Written by the platform team, never read from Git.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    LAST_TERM,
    common::{APP, Condition, DURATION, DURATION_OR_FOREVER, SecretReference, not_observed, term_rules},
};

mod notifications;
mod reserved;

pub use notifications::{NotificationForm, NotificationNetwork, Notifications};
pub use reserved::{
    Forge, ForgeType, Freeze, MetricProvider, MetricProviderType, Verify, VerifyMode, Webhook,
};

/// `https`, `ssh` or scp form; a user name only where SSH needs one, never a password.
const URL: &str =
    r"^(https://[^/@\s]+(/[^\s]*)?|ssh://([^/@:\s]+@)?[^/@\s]+/[^\s]+|([^/@:\s]+@)?[^/@:\s]+:[^/\s][^\s]*)$";

/// A Git repository, and what it may publish.
#[derive(CustomResource, Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "sluice.dev",
    version = "v1alpha1",
    kind = "Repository",
    namespaced,
    plural = "repositories",
    status = "RepositoryStatus",
    derive = "PartialEq",
    doc = "A Git repository, and what it may publish.",
    shortname = "otarepo",
    category = "sluice",
    printcolumn(name = "URL", type_ = "string", json_path = ".spec.url"),
    printcolumn(name = "Revision", type_ = "string", json_path = ".status.revision"),
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
    printcolumn(name = "Write", type_ = "string", json_path = ".spec.write.mode", priority = "1"),
    printcolumn(name = "Suspended", type_ = "boolean", json_path = ".spec.suspend", priority = "1")
)]
#[serde(rename_all = "camelCase")]
pub struct RepositorySpec {
    /// URL in `https`, `ssh` or scp form, without credentials.
    #[schemars(length(min = 3, max = 2048), regex(pattern = URL))]
    pub url: String,
    /// What to follow: one of a branch, a tag, a range of version tags, or a commit.
    #[serde(default, rename = "ref")]
    #[schemars(extend("x-kubernetes-validations" = [
        {"rule": "(has(self.branch) ? 1 : 0) + (has(self.tag) ? 1 : 0) + (has(self.semver) ? 1 : 0) + (has(self.commit) ? 1 : 0) == 1", "message": "exactly one of branch, tag, semver and commit is required"}
    ]))]
    pub reference: Reference,
    /// Directory under which resources are looked for.
    #[serde(default = "whole_tree")]
    #[schemars(length(min = 1, max = 1024))]
    pub path: String,
    /// Globs of files to read; all when left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 256)), extend("x-kubernetes-list-type" = "set"))]
    pub include: Vec<String>,
    /// Globs of files to leave out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 256)), extend("x-kubernetes-list-type" = "set"))]
    pub exclude: Vec<String>,
    /// How often the remote is asked for news.
    #[serde(default = "one_minute")]
    #[schemars(length(min = 2, max = 32), regex(pattern = DURATION))]
    pub interval: String,
    /// Credentials for reading.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretReference>,
    /// App ids that it may publish; `*` stands for any run of characters.
    #[schemars(
        length(min = 1, max = 256),
        inner(length(min = 1, max = 128), regex(pattern = r"^[A-Za-z0-9_.*-]+$")),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub apps: Vec<String>,
    /// Apps that move here from another Repository, each once. Without an entry an app stays with the Repository that
    /// published it first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["app"]))]
    pub take_over: Vec<TakeOver>,
    /// Who applies the resources. `External`: another tool does, and the commit is only compared with what is applied.
    #[serde(default)]
    pub apply: Apply,
    /// With `apply: External`: how long a channel that was deleted from the cluster, and not from Git, goes on being
    /// served, such as `7d`. `0s`: it ends at once. `Forever`: only Git ends it, or the annotation
    /// `sluice.dev/confirmDeletion`.
    #[serde(default = "one_week")]
    #[schemars(length(min = 2, max = 32), regex(pattern = DURATION_OR_FOREVER))]
    pub deletion_grace_period: String,
    /// How rollbacks are written back.
    pub write: Write,
    /// Notifications of pushes. Reserved: not supported yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook: Option<Webhook>,
    /// Who is told what becomes of rollouts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notifications: Option<Notifications>,
    /// Which signatures a commit must have. Reserved: not supported yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verify: Option<Verify>,
    /// The host's API, for pull requests and commit statuses. Reserved: not supported yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forge: Option<Forge>,
    /// Times in which no rollout of its channels starts or goes on, unless the channel calls its release urgent. Brakes and
    /// going back do not wait.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub freezes: Vec<Freeze>,
    /// Where channels may take metrics from. Reserved: not supported yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub metric_providers: Vec<MetricProvider>,
    /// Nothing new is read from it while it is set; what is served stays served.
    #[serde(default)]
    pub suspend: bool,
}

fn whole_tree() -> String {
    ".".into()
}

fn one_minute() -> String {
    "60s".into()
}

fn one_week() -> String {
    "7d".into()
}

/// What is followed in a repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Reference {
    /// A branch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255), regex(pattern = r"^[^-\s][^\s]*$"))]
    pub branch: Option<String>,
    /// A tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255), regex(pattern = r"^[^-\s][^\s]*$"))]
    pub tag: Option<String>,
    /// The highest version among the tags that is in this range.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub semver: Option<String>,
    /// A commit, in full.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 40, max = 64), regex(pattern = "^([0-9a-f]{40}|[0-9a-f]{64})$"))]
    pub commit: Option<String>,
}

impl Default for Reference {
    fn default() -> Self {
        Self { branch: Some("main".into()), tag: None, semver: None, commit: None }
    }
}

/// Who applies the resources of a repository.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Apply {
    /// Sluice.
    #[default]
    #[serde(rename = "Self")]
    Itself,
    /// Another tool.
    External,
}

/// How rollbacks are written back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Write {
    /// `Auto`: push, or a pull request where the branch is protected. `Off`: never write.
    pub mode: WriteMode,
    /// Secret with the credentials for writing; those for reading when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretReference>,
}

/// How rollbacks are written back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum WriteMode {
    /// Push, or a pull request where the branch is protected.
    #[default]
    Auto,
    /// Push to the branch.
    Push,
    /// Open a pull request.
    PullRequest,
    /// Never write.
    Off,
}

/// What was observed of a Repository.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = term_rules()))]
pub struct RepositoryStatus {
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
    /// Reference and short commit that are applied, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 320))]
    pub revision: Option<String>,
    /// Commit that is applied, in full.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub applied_commit: Option<String>,
    /// Commit that was last seen at the remote, in full.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub observed_commit: Option<String>,
    /// The last revisions that were applied, newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10), extend("x-kubernetes-list-type" = "atomic"))]
    pub history: Vec<AppliedRevision>,
    /// With `apply: External`: channels that were deleted from the cluster, and not from Git, and go on being served.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), extend("x-kubernetes-list-type" = "atomic"))]
    pub deleted_channels: Vec<DeletedChannel>,
    /// When the remote had last answered, as this status was written, RFC 3339. It is not written at every answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), extend("format" = "date-time"))]
    pub last_contact_time: Option<String>,
    /// The value of the annotation that last asked for a reconcile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub last_handled_reconcile_at: Option<String>,
}

/// A revision that was applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AppliedRevision {
    /// The commit, in full.
    #[schemars(length(max = 64))]
    pub commit: String,
    /// When it was applied, RFC 3339.
    #[schemars(length(max = 64), extend("format" = "date-time"))]
    pub time: String,
}

/// A channel that goes on being served without its object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeletedChannel {
    /// Name that the object had.
    #[schemars(length(max = 253))]
    pub name: String,
    /// The app.
    #[schemars(length(max = 128))]
    pub app: String,
    /// The name under which devices ask for it.
    #[schemars(length(max = 63))]
    pub channel: String,
    /// When a leader first saw that it was gone, RFC 3339.
    #[schemars(length(max = 64), extend("format" = "date-time"))]
    pub since: String,
    /// When it ends, RFC 3339; never when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), extend("format" = "date-time"))]
    pub until: Option<String>,
}

/// An app that is taken over from another Repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TakeOver {
    /// The app.
    #[schemars(length(min = 3, max = 128), regex(pattern = APP))]
    pub app: String,
    /// `namespace/name` of the Repository that has it.
    #[schemars(length(min = 3, max = 317), regex(pattern = r"^[a-z0-9-]+/[a-z0-9.-]+$"))]
    pub from: String,
}

//! What an installation says of itself: the repository, each release and each channel. Written by the engine on
//! transitions, read by `sluice status`, the admin API and the metrics.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    channel::Target,
    diagnostic::Diagnostic,
    digest::Digest,
    ids::{AppId, ChannelName, Version},
    rollback::Rollback,
    rollout::{Phase, Progress},
};

/// Everything, as one value that is swapped whole. What did not change is shared with the value before.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// Generation of the snapshot that is served; 0 before the first.
    pub generation: u64,
    /// The repositories that are followed.
    pub repositories: Vec<RepositoryStatus>,
    /// Sorted by app and version, highest first.
    pub releases: Vec<Arc<ReleaseStatus>>,
    /// Sorted by app and channel.
    pub channels: Vec<Arc<ChannelStatus>>,
    /// Problems of the observed commit.
    pub diagnostics: Vec<Diagnostic>,
    /// How far Git is told of brakes, the oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rollbacks: Vec<Rollback>,
}

impl Status {
    /// The state of the release that has this version.
    pub fn release(&self, app: &AppId, version: &Version) -> Option<&ReleaseStatus> {
        let before = |r: &Arc<ReleaseStatus>| (&r.app, version).cmp(&(app, &r.version)).is_lt();
        let from = &self.releases[self.releases.partition_point(before)..];
        let mut claims = from.iter().take_while(|r| (&r.app, &r.version) == (app, version));
        // One that lost its claim to the version has no bundle.
        let first = claims.clone().next();
        claims.find(|r| r.digest.is_some()).or(first).map(AsRef::as_ref)
    }
}

/// One condition in the style of the Kubernetes API (kstatus): `Ready`, `Reconciling`, `Stalled`; of a channel also
/// `RolledOut`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// `Ready`, `Reconciling`, `Stalled` or `RolledOut`.
    pub r#type: String,
    /// Whether it holds.
    pub status: bool,
    /// CamelCase, for machines.
    pub reason: String,
    /// A sentence for people.
    pub message: String,
    /// When `status` last flipped.
    pub last_transition_time: Timestamp,
}

/// The state of one followed repository.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RepositoryStatus {
    /// Its name; `default` in embedded mode.
    pub name: String,
    /// The URL without credentials.
    pub url: String,
    /// The commit that is served, in full.
    pub applied_commit: Option<String>,
    /// The commit last seen at the remote.
    pub observed_commit: Option<String>,
    /// When the remote last answered.
    pub last_contact: Option<Timestamp>,
    /// Conditions.
    pub conditions: Vec<Condition>,
}

/// The state of one release.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReleaseStatus {
    /// Object name.
    pub name: String,
    /// App.
    pub app: AppId,
    /// Version.
    pub version: Version,
    /// The bundle, once it is known.
    pub digest: Option<Digest>,
    /// Bytes of the zip.
    pub size: Option<u64>,
    /// Conditions.
    pub conditions: Vec<Condition>,
}

/// The state of one channel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChannelStatus {
    /// Object name.
    pub name: String,
    /// App.
    pub app: AppId,
    /// The name that devices use.
    pub channel: ChannelName,
    /// Per line, in order: what is wanted and what is served.
    pub lines: Vec<LineStatus>,
    /// Conditions.
    pub conditions: Vec<Condition>,
}

/// The state of one line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LineStatus {
    /// [`crate::channel::Line::key`].
    pub key: String,
    /// What Git asks for.
    pub wanted: Target,
    /// What devices are offered.
    pub served: Option<Target>,
    /// How far the rollout of what is wanted is; nothing once everybody is offered it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<Progress>,
}

impl LineStatus {
    /// Whether everybody is offered what Git asks for.
    pub fn is_done(&self) -> bool {
        self.served.as_ref() == Some(&self.wanted)
    }

    /// How far it is and what it waits for, unless it is done.
    pub fn running(&self) -> Option<&Progress> {
        self.rollout.as_ref().filter(|progress| progress.phase != Phase::Completed)
    }

    /// Whether it says the same as another one but for the numbers of a verdict.
    pub fn is_same_state(&self, other: &Self) -> bool {
        let rollout = match (&self.rollout, &other.rollout) {
            (Some(one), Some(other)) => one.is_same_state(other),
            (None, None) => true,
            _ => false,
        };
        rollout && (&self.key, &self.wanted, &self.served) == (&other.key, &other.wanted, &other.served)
    }
}

/// The condition `RolledOut` of a channel: whether it holds, its reason, and a sentence. `ready` is what `Ready` says.
pub fn rolled_out(lines: &[LineStatus], ready: &str) -> (bool, &'static str, String) {
    if !lines.is_empty() && lines.iter().all(LineStatus::is_done) {
        return (true, "Complete", "every device of the channel is offered what it asks for".to_owned());
    }
    let running = lines.iter().find_map(LineStatus::running);
    (false, running.map_or("Waiting", |progress| progress.phase.reason()), ready.to_owned())
}

impl ReleaseStatus {
    /// Whether the release is ready to be offered.
    pub fn is_ready(&self) -> bool {
        is_ready(&self.conditions)
    }
}

impl ChannelStatus {
    /// Whether the channel is served as asked.
    pub fn is_ready(&self) -> bool {
        is_ready(&self.conditions)
    }
}

/// Whether `Ready` is among the conditions and holds.
pub fn is_ready(conditions: &[Condition]) -> bool {
    conditions.iter().any(|c| c.r#type == "Ready" && c.status)
}

//! What must never be forgotten about one app: who owns it, which bytes each version is, and what each channel serves.
//!
//! The record is one JSON object per app in the bundle store, replaced by compare-and-swap. Status is a cache of it.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    channel::{Audience, Target},
    cohort::{Order, Ppm, Salt},
    decisions::{Because, Head},
    digest::Digest,
    ids::{AppId, ChannelName, Version},
};

/// The format that this program writes. Readers accept every format up to their own plus unknown fields.
pub const FORMAT: u32 = 1;

/// The record of one app. A later state shares with an earlier one what did not change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AppRecord {
    /// Format of this object.
    pub format: u32,
    /// The app.
    pub app: AppId,
    /// `namespace/name` of the Repository that may publish it (rule 13). Written once, moved only by a transfer.
    pub owner: String,
    /// Term of the leader that wrote it last: a former leader does not overwrite what a later one wrote (rule 3).
    #[serde(default)]
    pub epoch: u64,
    /// The bytes that each version is, for ever (rule 4).
    #[serde(default)]
    pub versions: BTreeMap<Version, Arc<Binding>>,
    /// What each channel serves.
    #[serde(default)]
    pub channels: BTreeMap<ChannelName, ChannelRecord>,
    /// The end of the decision log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decisions: Option<Head>,
}

/// The bytes that a version is bound to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Binding {
    /// Digest of the bundle.
    pub digest: Digest,
    /// Name of the Release that bound it: it keeps its claim to the version.
    pub release: String,
    /// What the bundle was made from: a Git object id, or the SHA-256 of a download. The same source needs no second
    /// look.
    pub source: String,
    /// The zip that every client can install.
    pub zip: Zip,
}

/// A zip made from a bundle, recorded with its digests and never rebuilt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Zip {
    /// SHA-256 of the zip; also its name in the store.
    pub sha256: Digest,
    /// CRC-32 (IEEE) of the zip, for clients older than SHA-256 checksums (`device-protocol` section 7.2).
    pub crc32: u32,
    /// Bytes.
    pub size: u64,
}

/// What one channel serves.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChannelRecord {
    /// Name of the object that holds the claim to this channel.
    pub name: String,
    /// Whether it was published as public, which keeps its claim to be the public channel.
    #[serde(default)]
    pub public: bool,
    /// When its audience changed last: for some days nobody knows how many devices the new one has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audience_since: Option<Timestamp>,
    /// By [`crate::channel::Line::key`].
    #[serde(default)]
    pub lines: BTreeMap<String, Arc<LineRecord>>,
}

/// What one line serves.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LineRecord {
    /// The release last completed.
    pub stable: Option<Target>,
    /// Number of the newest rollout, from 1.
    #[serde(default)]
    pub serial: u64,
    /// What spreads the devices of the line, made with its first rollout and never changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub salt: Option<Salt>,
    /// The release that is being rolled out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candidate: Option<Candidate>,
    /// Candidates that were overtaken and are not bad, newest first: who runs one keeps it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kept: Vec<Version>,
    /// What was completed before and did well, newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<Healthy>,
    /// What is still watched of `stable`, which everybody is offered since not long ago.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watch: Option<Watch>,
    /// The brake on `stable`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub braked: Option<String>,
    /// What the last change of the line that the decision log tells followed from. It changes with these alone: numbers move
    /// all the time.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "Because::understood")]
    pub because: Vec<Because>,
}

/// A release that is being rolled out, and how far that has come. Its weights, once published, are facts: they do not
/// follow from the channel's steps, which may change meanwhile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Candidate {
    /// The release.
    pub release: Version,
    /// Its bundle.
    pub digest: Digest,
    /// When the rollout began.
    pub started: Timestamp,
    /// Devices that had been active in the seven days before: what is said in devices is a share of these.
    #[serde(default)]
    pub active: u64,
    /// Who is first in this rollout.
    #[serde(default)]
    pub order: Order,
    /// The step that it is in, from 0.
    pub step: u32,
    /// When that step began.
    pub step_since: Timestamp,
    /// The weight that the step leads to.
    pub target: Ppm,
    /// Number of the present weight among all that were in force, from 0.
    pub level: u32,
    /// The present weight.
    pub weight: Ppm,
    /// The weight before it.
    pub below: Ppm,
    /// When the present weight came into force.
    pub level_since: Timestamp,
    /// Whom the present weight is limited to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audience: Option<Audience>,
    /// Whom earlier steps reached among others than the present one is for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reached: Vec<Reach>,
    /// Whether its weight was lowered, and devices that it does not reach any more are returned.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub returning: bool,
    /// How long the step has soaked at its full weight while evidence could arrive, in seconds, without the time since
    /// `soaking_since`.
    #[serde(default)]
    pub soaked: u64,
    /// Since when it soaks without a break.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub soaking_since: Option<Timestamp>,
    /// Since when it waits for evidence although everything else is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_since: Option<Timestamp>,
    /// Why nobody new is offered it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<String>,
    /// The brake that ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub braked: Option<String>,
}

/// Devices that a rollout reached in steps for others than the present one is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reach {
    /// Whom the step was limited to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audience: Option<Audience>,
    /// The share of them.
    pub weight: Ppm,
}

/// A release that everybody is offered, and that is still watched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Watch {
    /// Number of the rollout that brought it to everybody: what a later one shows says nothing of it.
    #[serde(default)]
    pub serial: u64,
    /// Its bundle.
    pub digest: Digest,
    /// When it is over.
    pub until: Timestamp,
    /// What was found against it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adverse: Option<String>,
}

/// A release that a line completed and that did well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Healthy {
    /// The release.
    pub release: Version,
    /// Its bundle.
    pub digest: Digest,
    /// When it was last what the line served.
    pub until: Timestamp,
}

impl Binding {
    /// Forgets what the bundle was made from, because its zip was found missing or damaged: it is not offered until it
    /// has been made again. The digest stays bound.
    pub fn lose(&mut self) {
        self.source.clear();
    }

    /// Whether the zip was found missing or damaged and has not been made again.
    pub fn is_lost(&self) -> bool {
        self.source.is_empty()
    }
}

impl AppRecord {
    /// The record of an app that `owner` publishes for the first time.
    pub fn new(app: AppId, owner: impl Into<String>) -> Self {
        Self {
            format: FORMAT,
            app,
            owner: owner.into(),
            epoch: 0,
            versions: BTreeMap::new(),
            channels: BTreeMap::new(),
            decisions: None,
        }
    }
}

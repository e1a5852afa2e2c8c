//! What was observed outside Git's documents, app by app: what a plan is made from beside what is declared.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    channel::Freeze,
    diagnostic::Diagnostic,
    digest::Digest,
    ids::{AppId, ChannelName, Version},
    record::AppRecord,
    rollout::Verdict,
    snapshot::Shard,
};

/// An app's version, the key of everything that is known about a release.
pub type ReleaseId = (AppId, Version);

/// Everything that was observed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observed {
    /// By app.
    pub apps: BTreeMap<AppId, ObservedApp>,
}

impl Observed {
    /// The record of an app, when there is one.
    pub fn record(&self, app: &AppId) -> Option<&AppRecord> {
        self.apps.get(app)?.record.as_deref()
    }
}

/// What was observed of one app. Cheap to clone and, as long as nothing changes, to compare.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ObservedApp {
    /// Its record.
    pub record: Option<Arc<AppRecord>>,
    /// The shard that was published for it last.
    pub shard: Option<Arc<Shard>>,
    /// What the commit has at each path that a bundle is made from. A path that is not here was not looked at.
    pub paths: Arc<BTreeMap<String, Found>>,
    /// Why bundles could not be made.
    pub failures: BTreeMap<Version, Failure>,
    /// What devices say, by channel and [`crate::channel::Line::key`].
    pub rollouts: Arc<BTreeMap<(ChannelName, String), Fleet>>,
    /// Whether the fleet store is away: nothing follows from what devices do not say then.
    pub fleet_away: bool,
    /// Times in which no rollout goes on.
    pub freezes: Arc<Vec<Freeze>>,
    /// Brakes on bundles of the app.
    pub brakes: Arc<Vec<Braked>>,
}

/// What the devices of a line say, as far as its rollout follows from it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fleet {
    /// Devices that were active in the last seven days.
    pub active: u64,
    /// Devices of the app that were active and that no channel serves.
    pub unserved: u64,
    /// What the gate says of the line's newest rollout.
    pub verdict: Option<Verdict>,
}

/// A brake on a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Braked {
    /// Its id.
    pub id: String,
    /// The bundle.
    pub digest: Digest,
    /// The channel that it is on; `None`: every channel of the app.
    pub channel: Option<ChannelName>,
    /// Who: the gate, or a person's name as given.
    pub by: String,
    /// Why, for people.
    pub why: String,
}

impl Braked {
    /// Who and why, for people.
    pub fn said(&self) -> String {
        let Self { by, why, .. } = self;
        if why.is_empty() { format!("by {by}") } else { format!("by {by}: {why}") }
    }
}

/// What a commit has at the path of a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// A folder or a file of this object id.
    Object(String),
    /// Something that is neither: a symbolic link or a submodule.
    Other,
    /// Nothing.
    Nothing,
}

/// Why a bundle could not be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The source that failed; another one is tried again.
    pub source: String,
    /// What is wrong.
    pub problem: Diagnostic,
}

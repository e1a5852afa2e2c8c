//! Brakes: what stops a bundle from being offered, in about a second and until Git lifts it (rules 6 and 8).
//!
//! A [`Brake`] is a record that is written once. All of an installation stand in one small [`BrakeIndex`] that whoever
//! answers devices reads again and again, compiled to [`Brakes`]. A brake is of a bundle and not of a version: the same
//! bytes under another version are the same bad bundle.
//!
//! A brake that was seen once stays in force for as long as the program runs, whatever an older index says: only Git
//! lifts it, with the `allowHeld` of a channel, which is part of the snapshot.

use std::{collections::HashMap, fmt, sync::Arc};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{
    digest::Digest,
    ids::{AppId, ChannelName, Version},
};

mod aim;

pub use aim::{Aim, AimError, Known, Wanted, aim};

/// The format that this program writes.
pub const FORMAT: u32 = 1;

/// Who brakes by evidence.
pub const GATE: &str = "gate";

/// Characters of `by` and `why` that are kept.
const MOST_TEXT: usize = 500;

/// The name of a brake, and what Git lifts it by. It follows from what is braked, so that two who brake one thing at the
/// same moment write one brake.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BrakeId(String);

/// The text is no id of a brake.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not the id of a brake: expected 1 to 64 lower-case letters, digits or `-`")]
pub struct InvalidBrakeId;

impl BrakeId {
    /// The `nth` brake (from 0) of one digest in one scope: another one is made only after Git lifted those before.
    pub fn derive(app: &AppId, digest: &Digest, scope: &Scope, devices: Devices, nth: u32) -> Self {
        let (kind, channel) = match scope {
            Scope::App => ("app", ""),
            Scope::Channel(channel) => ("channel", channel.as_str()),
        };
        let devices = match devices {
            Devices::Return => "return",
            Devices::Keep => "keep",
        };
        let mut hash = Sha256::new();
        for part in [app.as_str(), &digest.to_string(), kind, channel, devices, &nth.to_string()] {
            hash.update(part);
            hash.update([0]);
        }
        Self(hex::encode(&hash.finalize()[..10]))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BrakeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for BrakeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for BrakeId {
    type Error = InvalidBrakeId;

    fn try_from(text: String) -> Result<Self, InvalidBrakeId> {
        let well = (1..=64).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !text.starts_with('-');
        if well { Ok(Self(text)) } else { Err(InvalidBrakeId) }
    }
}

impl From<BrakeId> for String {
    fn from(id: BrakeId) -> Self {
        id.0
    }
}

/// Where a brake stops its bundle.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Scope {
    /// On every channel of the app.
    App,
    /// On one channel. On the others it is paused: nobody new is offered it, nobody is returned.
    Channel(ChannelName),
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::App => f.write_str("every channel"),
            Self::Channel(channel) => write!(f, "channel {channel}"),
        }
    }
}

/// What becomes of the devices that run a braked bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub enum Devices {
    /// They stay on it until something newer is offered.
    Keep,
    /// They are returned to what did well before.
    #[default]
    Return,
}

/// Who stopped which bundle where, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Brake {
    /// Its name.
    pub id: BrakeId,
    /// The app.
    pub app: AppId,
    /// The bundle.
    pub digest: Digest,
    /// The version that devices know the bundle by. With it a device is found to run the bundle also after the app
    /// offers it no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<Version>,
    /// Where.
    pub scope: Scope,
    /// What becomes of the devices that run it.
    pub devices: Devices,
    /// Who: the gate, or a person's name as given.
    pub by: String,
    /// Why, for people.
    pub why: String,
    /// When.
    pub at: Timestamp,
    /// What it rests on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<serde_json::Value>,
    /// Whether Git is told, too: the commit that brought the bundle is taken back.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub rollback: bool,
}

impl Brake {
    /// Without its evidence, as it stands in the index.
    #[must_use]
    pub fn brief(&self) -> Self {
        Self { evidence: None, ..self.clone() }
    }

    /// Whether it does in `scope` at least what `devices` asks for.
    pub fn covers(&self, digest: &Digest, scope: &Scope, devices: Devices) -> bool {
        self.digest == *digest && self.scope == *scope && self.devices >= devices
    }
}

/// Cuts a text that somebody gave to what is kept of it, on one line.
pub fn short_text(text: &str) -> String {
    let one_line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    one_line.chars().filter(|c| !c.is_control()).take(MOST_TEXT).collect()
}

/// Every brake of an installation, in one object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BrakeIndex {
    /// Format of this object.
    pub format: u32,
    /// max(previous + 1, milliseconds since 1970): only ever goes up (rule 3).
    pub generation: u64,
    /// The brakes, oldest first, without evidence.
    pub brakes: Vec<Entry>,
}

/// One brake of the index, or what a later release wrote there: kept when the index is written again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Entry {
    /// A brake.
    Brake(Box<Brake>),
    /// Something that this program does not understand.
    Other(serde_json::Value),
}

impl Default for BrakeIndex {
    fn default() -> Self {
        Self { format: FORMAT, generation: 0, brakes: Vec::new() }
    }
}

impl BrakeIndex {
    /// The brakes that this program understands.
    pub fn iter(&self) -> impl Iterator<Item = &Brake> {
        self.brakes.iter().filter_map(|entry| match entry {
            Entry::Brake(brake) => Some(&**brake),
            Entry::Other(_) => None,
        })
    }

    /// Adds a brake that is not there. Returns whether it was added.
    pub fn add(&mut self, brake: &Brake) -> bool {
        let new = self.iter().all(|known| known.id != brake.id);
        if new {
            self.brakes.push(Entry::Brake(Box::new(brake.brief())));
        }
        new
    }
}

/// How a brake acts on one channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Force {
    /// Nobody new is offered the bundle; who runs it stays.
    Pause,
    /// Nobody is offered it, and who runs it stays until something newer is offered.
    StopKeep,
    /// Nobody is offered it, and who runs it is returned.
    StopReturn,
}

/// What acts on a bundle on one channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Acting<'b> {
    /// The brake, the strongest one if there are several.
    pub brake: &'b Brake,
    /// How it acts there.
    pub force: Force,
}

impl Acting<'_> {
    /// Whether it stops the bundle here, and does not only pause it.
    pub fn stops(&self) -> bool {
        self.force > Force::Pause
    }
}

/// The brakes of an installation, compiled for look-ups.
#[derive(Debug, Default)]
pub struct Brakes {
    generation: u64,
    all: Vec<Arc<Brake>>,
    apps: HashMap<AppId, AppBrakes>,
    unread: usize,
}

/// The brakes of one app.
#[derive(Debug, Default)]
pub struct AppBrakes {
    by_digest: HashMap<Digest, Vec<Arc<Brake>>>,
    /// A version is one digest for ever (rule 4).
    releases: HashMap<String, Digest>,
}

impl Brakes {
    /// No brakes, as before the index was read.
    pub fn none() -> Self {
        Self::default()
    }

    /// The brakes of `index`, and those of `before` that it lost: what was braked is not forgotten (rule 5).
    pub fn compile(index: &BrakeIndex, before: &Self) -> Self {
        let mut all: Vec<Arc<Brake>> = index.iter().map(|brake| Arc::new(brake.clone())).collect();
        let lost = before.all.iter().filter(|known| all.iter().all(|brake| brake.id != known.id));
        let lost: Vec<_> = lost.cloned().collect();
        all.extend(lost);
        let mut apps: HashMap<AppId, AppBrakes> = HashMap::new();
        for brake in &all {
            let app = apps.entry(brake.app.clone()).or_default();
            app.by_digest.entry(brake.digest).or_default().push(Arc::clone(brake));
            if let Some(release) = &brake.release {
                app.releases.insert(release.to_string(), brake.digest);
            }
        }
        let generation = index.generation.max(before.generation);
        Self { generation, unread: index.brakes.len() - index.iter().count(), all, apps }
    }

    /// Generation of the index that this is.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Entries of the index that only a later release understands.
    pub fn unread(&self) -> usize {
        self.unread
    }

    /// Every brake, also those that Git lifted, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Brake> {
        self.all.iter().map(AsRef::as_ref)
    }

    /// The brakes of one app.
    pub fn of(&self, app: &str) -> Option<&AppBrakes> {
        self.apps.get(app)
    }

    /// Whether there is a brake of this id.
    pub fn has(&self, id: &BrakeId) -> bool {
        self.all.iter().any(|brake| brake.id == *id)
    }
}

impl AppBrakes {
    /// What acts on a bundle on `channel`, which lifts the brakes named in `lifted`.
    pub fn on(&self, digest: &Digest, channel: &str, lifted: &[String]) -> Option<Acting<'_>> {
        let brakes = self.by_digest.get(digest)?;
        let acting = brakes.iter().filter(|brake| lifted.iter().all(|id| id != brake.id.as_str()));
        acting.map(|brake| Acting { force: brake.force_on(channel), brake }).max_by_key(|acting| acting.force)
    }

    /// The bundle that `version` was when it was braked.
    pub fn digest(&self, version: &str) -> Option<&Digest> {
        self.releases.get(version)
    }
}

impl Brake {
    /// How it acts on a channel that does not lift it.
    pub fn force_on(&self, channel: &str) -> Force {
        match (&self.scope, self.devices) {
            (Scope::Channel(own), _) if own.as_str() != channel => Force::Pause,
            (_, Devices::Keep) => Force::StopKeep,
            (_, Devices::Return) => Force::StopReturn,
        }
    }
}

#[cfg(test)]
mod tests;

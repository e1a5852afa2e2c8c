//! Everything a gateway needs to answer any device: a small root and one immutable shard per app.
//!
//! [`Root`] and [`Shard`] are what stands in the bundle store, as JSON; unknown fields are ignored, so that a release
//! can read what the next one writes. [`Snapshot`] is the same, compiled for look-ups.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use crate::{
    channel::{Access, Audience, Line, Platform, Platforms, Target},
    cohort::Cohort,
    digest::Digest,
    ids::{AppId, ChannelName, Version},
    native::NativeRange,
    pace::Pace,
    record::{Reach, Zip},
    release::RollbackPolicy,
};

/// The format that this program writes.
pub const FORMAT: u32 = 1;

/// The head of a snapshot, replaced by compare-and-swap.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Root {
    /// Format of root and shards.
    pub format: u32,
    /// Random id of this installation, made once.
    pub installation: String,
    /// Leader's term; 0 in embedded mode.
    pub epoch: u64,
    /// max(previous + 1, milliseconds since 1970): only ever goes up (rule 3).
    pub generation: u64,
    /// Digest of each app's shard.
    pub apps: BTreeMap<AppId, Digest>,
}

/// What one app serves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Shard {
    /// The app.
    pub app: AppId,
    /// The bundles that lines refer to.
    pub offers: BTreeMap<Version, Offer>,
    /// The channels, sorted by object name: the first public one wins a tie.
    pub channels: Vec<ChannelEntry>,
}

/// A bundle that can be offered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Offer {
    /// Digest of the bundle.
    pub digest: Digest,
    /// The zip.
    pub zip: Zip,
    /// Native versions that can run it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub native: Option<NativeRange>,
    /// Whether devices may be sent back from it.
    #[serde(default)]
    pub rollback: RollbackPolicy,
    /// Release notes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notes: Option<String>,
    /// A page about the release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// First 20 characters of the public key that verifies it (`device-protocol` section 8.6); `None`: not encrypted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_id: Option<String>,
}

/// One channel as it is served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChannelEntry {
    /// The name that devices use.
    pub channel: ChannelName,
    /// Who may use it.
    #[serde(flatten)]
    pub access: Access,
    /// First match wins.
    pub lines: Vec<LineEntry>,
    /// Ids of the brakes that Git lifts on this channel.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow_held: Vec<String>,
    /// Whom it is limited to, of those that ask for it; everybody when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audience: Option<Audience>,
}

/// One line as it is served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LineEntry {
    /// Native versions it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub native: Option<NativeRange>,
    /// Platforms it is for.
    pub platforms: Platforms,
    /// What its devices run; `None` while nothing was ever ready.
    pub stable: Option<Target>,
    /// What is being rolled out beside it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candidate: Option<CandidateEntry>,
    /// Candidates that were overtaken and are not bad: who runs one keeps it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kept: Vec<Version>,
    /// What devices were well on before, newest first: where they go when `stable` is braked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fallbacks: Vec<Version>,
    /// Most offers in a minute, for each gateway, of what is newest on it: the candidate, or `stable` without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offers_per_minute: Option<u32>,
}

/// A release that is being rolled out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CandidateEntry {
    /// The release.
    pub release: Version,
    /// Whom it reaches.
    pub cohort: Cohort,
    /// Number of the present weight among all that were in force, from 0.
    pub level: u32,
    /// When the rollout began, in seconds since 1970: evidence weighs only from devices that were known before.
    pub started: i64,
    /// Whether it is offered to devices that do not run it. Who runs it keeps it in any case.
    pub open: bool,
    /// Whom it is limited to.
    #[serde(default, flatten)]
    pub limits: Limits,
}

/// Whom a candidate is limited to, beside its cohort.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// Whom the cohort is taken from; everybody when left out. Who is not in it is in neither arm.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audience: Option<Audience>,
    /// Whom earlier steps reached for others: they are offered it too, and are in neither arm.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reached: Vec<Reach>,
    /// Whether devices that run it and are not reached any more are returned.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub returning: bool,
}

impl LineEntry {
    /// A line that nothing is rolled out on.
    pub const fn serving(native: Option<NativeRange>, platforms: Platforms, stable: Option<Target>) -> Self {
        Self {
            native,
            platforms,
            stable,
            candidate: None,
            kept: Vec::new(),
            fallbacks: Vec::new(),
            offers_per_minute: None,
        }
    }
}

/// A shard that contradicts itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidShard {
    /// A line refers to a version without an offer.
    #[error("channel {channel} of {app} refers to {version}, which the shard does not offer")]
    MissingOffer {
        /// The app.
        app: AppId,
        /// The channel.
        channel: ChannelName,
        /// The version.
        version: Version,
    },
}

/// A root and its shards, ready to answer.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The root that this is.
    pub root: Root,
    apps: HashMap<AppId, Arc<App>>,
}

/// One app, compiled.
#[derive(Debug)]
pub struct App {
    /// The app.
    pub id: AppId,
    channels: Vec<ServedChannel>,
    by_name: HashMap<ChannelName, usize>,
    bundles: HashMap<String, Arc<ServedBundle>>,
    public: [Option<usize>; 3],
}

/// One channel, compiled.
#[derive(Debug)]
pub struct ServedChannel {
    /// The name that devices use.
    pub name: ChannelName,
    /// Who may use it.
    pub access: Access,
    /// First match wins.
    pub lines: Vec<ServedLine>,
    /// Ids of the brakes that Git lifts on this channel.
    pub allow_held: Vec<String>,
    /// Whom it is limited to, of those that ask for it.
    pub audience: Option<Audience>,
}

/// One line, compiled.
#[derive(Debug)]
pub struct ServedLine {
    /// [`Line::key`].
    pub key: String,
    /// Native versions it is for.
    pub native: Option<NativeRange>,
    /// Platforms it is for.
    pub platforms: Platforms,
    /// What its devices run.
    pub stable: Option<Served>,
    /// What is being rolled out beside it.
    pub candidate: Option<ServedCandidate>,
    /// Candidates that were overtaken and are not bad: who runs one keeps it.
    pub kept: Vec<Arc<ServedBundle>>,
    /// What devices were well on before, newest first.
    pub fallbacks: Vec<Arc<ServedBundle>>,
    /// Most offers in a minute of what is newest on it.
    pub offers_per_minute: Option<u32>,
    /// How many there were. Not a part of the snapshot, and the decision does not look at it: whoever answers does. It
    /// begins anew with every shard that is compiled, which allows a second's worth more.
    pub pace: Pace,
}

/// A release that is being rolled out, compiled.
#[derive(Debug)]
pub struct ServedCandidate {
    /// The bundle.
    pub bundle: Arc<ServedBundle>,
    /// Whom it reaches.
    pub cohort: Cohort,
    /// Number of the present weight among all that were in force, from 0.
    pub level: u32,
    /// When the rollout began, in seconds since 1970.
    pub started: i64,
    /// Whether it is offered to devices that do not run it.
    pub open: bool,
    /// Whom it is limited to.
    pub limits: Limits,
}

/// What a line's devices run.
#[derive(Debug, Clone)]
pub enum Served {
    /// The shipped bundle.
    Builtin,
    /// A bundle.
    Bundle(Arc<ServedBundle>),
}

/// A bundle with its version, as text and as numbers.
#[derive(Debug)]
pub struct ServedBundle {
    /// The version.
    pub version: Version,
    /// Its text, which devices know it by.
    pub name: String,
    /// SHA-256 of the zip in hexadecimal: the checksum that devices compare, and the name in the download URL.
    pub sha256: String,
    /// CRC-32 of the zip in hexadecimal, the checksum of old clients.
    pub crc32: String,
    /// Everything else.
    pub offer: Offer,
}

impl App {
    /// Compiles a shard; fails when it contradicts itself.
    pub fn compile(shard: Shard) -> Result<Self, InvalidShard> {
        let Shard { app, offers, channels } = shard;
        let bundles: BTreeMap<Version, Arc<ServedBundle>> = offers
            .into_iter()
            .map(|(version, offer)| {
                let name = version.to_string();
                let (sha256, crc32) = (offer.zip.sha256.to_string(), format!("{:08x}", offer.zip.crc32));
                (version.clone(), Arc::new(ServedBundle { version, name, sha256, crc32, offer }))
            })
            .collect();
        let channels = channels
            .into_iter()
            .map(|ChannelEntry { channel, access, lines, allow_held, audience }| {
                let bundle = |version: Version| match bundles.get(&version) {
                    Some(bundle) => Ok(Arc::clone(bundle)),
                    None => Err(InvalidShard::MissingOffer {
                        app: app.clone(),
                        channel: channel.clone(),
                        version,
                    }),
                };
                let lines = lines.into_iter().map(|line| ServedLine::compile(line, bundle));
                let lines = lines.collect::<Result<_, _>>()?;
                Ok(ServedChannel { lines, name: channel.clone(), access, allow_held, audience })
            })
            .collect::<Result<Vec<_>, InvalidShard>>()?;
        let by_name = channels.iter().enumerate().map(|(index, c)| (c.name.clone(), index)).collect();
        let public = Platform::ALL
            .map(|p| channels.iter().position(|c| c.access.public && c.access.platforms.contains(p)));
        let bundles = bundles.into_values().map(|bundle| (bundle.name.clone(), bundle)).collect();
        Ok(Self { id: app, channels, by_name, bundles, public })
    }

    /// The channels, in the order of the shard.
    pub fn channels(&self) -> &[ServedChannel] {
        &self.channels
    }

    /// The channel of exactly this name.
    pub fn channel(&self, name: &str) -> Option<&ServedChannel> {
        self.by_name.get(name).map(|index| &self.channels[*index])
    }

    /// The public channel for a platform.
    pub fn public_channel(&self, platform: Platform) -> Option<&ServedChannel> {
        self.public[platform as usize].map(|index| &self.channels[index])
    }

    /// Every bundle that the app offers.
    pub fn bundles(&self) -> impl Iterator<Item = &Arc<ServedBundle>> {
        self.bundles.values()
    }

    /// The bundle that the app offers under the name `version`.
    pub fn bundle(&self, version: &str) -> Option<&Arc<ServedBundle>> {
        self.bundles.get(version)
    }
}

impl ServedLine {
    /// Whether nothing is served or rolled out on it.
    pub fn is_empty(&self) -> bool {
        self.stable.is_none() && self.candidate.is_none()
    }

    fn compile(
        line: LineEntry,
        bundle: impl Fn(Version) -> Result<Arc<ServedBundle>, InvalidShard>,
    ) -> Result<Self, InvalidShard> {
        let LineEntry { native, platforms, stable, candidate, kept, fallbacks, offers_per_minute } = line;
        let key = Line { native: native.clone(), platforms, target: Target::Builtin }.key();
        let stable = match stable {
            None => None,
            Some(Target::Builtin) => Some(Served::Builtin),
            Some(Target::Release(version)) => Some(Served::Bundle(bundle(version)?)),
        };
        let candidate = match candidate {
            None => None,
            Some(CandidateEntry { release, cohort, level, started, open, limits }) => {
                Some(ServedCandidate { bundle: bundle(release)?, cohort, level, started, open, limits })
            }
        };
        let all = |versions: Vec<Version>| versions.into_iter().map(&bundle).collect::<Result<_, _>>();
        let (kept, fallbacks) = (all(kept)?, all(fallbacks)?);
        let pace = Pace::default();
        Ok(Self { key, native, platforms, stable, candidate, kept, fallbacks, offers_per_minute, pace })
    }
}

impl Served {
    /// The name that devices know it by.
    pub fn name(&self) -> &str {
        match self {
            Self::Builtin => "builtin",
            Self::Bundle(bundle) => &bundle.name,
        }
    }
}

impl Snapshot {
    /// A snapshot of a root and the compiled shards that it names.
    pub fn new(root: Root, apps: impl IntoIterator<Item = Arc<App>>) -> Self {
        Self { root, apps: apps.into_iter().map(|app| (app.id.clone(), app)).collect() }
    }

    /// The snapshot of an installation that has published nothing: every app is unknown.
    pub fn empty() -> Self {
        let root = Root {
            format: FORMAT,
            installation: String::new(),
            epoch: 0,
            generation: 0,
            apps: BTreeMap::new(),
        };
        Self { root, apps: HashMap::new() }
    }

    /// The app of this id.
    pub fn app(&self, id: &str) -> Option<&Arc<App>> {
        self.apps.get(id)
    }

    /// Every app, in no order.
    pub fn apps(&self) -> impl Iterator<Item = &Arc<App>> {
        self.apps.values()
    }
}

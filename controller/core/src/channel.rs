//! A channel: an audience, and the release that it should run.

mod audience;
mod gate;
mod rollout;

use std::{collections::BTreeSet, fmt};

pub use audience::{Audience, AudienceFacts, Condition};
pub use gate::{Gate, OnBad, OnInconclusive, Statistics};
pub use rollout::{
    Approval, Freeze, MAX_HOLD, OnDecrease, Ramp, Rollout, Size, Step, Strategy, Urgent, Window,
};
use serde::{Deserialize, Serialize};

use crate::{
    ids::{AppId, ChannelName, Version},
    native::{NativeRange, NativeVersion},
};

/// What a `Channel` document says, checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Channel {
    /// `metadata.name`.
    pub name: String,
    /// The app.
    pub app: AppId,
    /// The name that devices use.
    pub channel: ChannelName,
    /// What is wanted, first match wins. `spec.release` makes one line without conditions.
    pub lines: Vec<Line>,
    /// Who may use it and how.
    pub access: Access,
    /// Whom it is limited to, of those that ask for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audience: Option<Audience>,
    /// How a release is brought to the audience.
    #[serde(flatten)]
    pub rollout: Rollout,
    /// What follows from evidence.
    #[serde(default)]
    pub gate: Gate,
    /// Steps that a person has approved.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub approvals: BTreeSet<Approval>,
    /// A release that does not wait for windows and freezes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub urgent: Option<Urgent>,
    /// Ids of brakes that it lifts for itself.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub allow_held: BTreeSet<String>,
    /// Nobody new joins a rollout while it is set.
    pub suspend: bool,
}

impl Channel {
    /// A channel that says no more than it must.
    pub fn new(name: String, app: AppId, channel: ChannelName, lines: Vec<Line>, access: Access) -> Self {
        Self {
            name,
            app,
            channel,
            lines,
            access,
            audience: None,
            rollout: Rollout::default(),
            gate: Gate::default(),
            approvals: BTreeSet::new(),
            urgent: None,
            allow_held: BTreeSet::new(),
            suspend: false,
        }
    }
}

/// One entry of a channel that serves several native generations side by side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Native versions it is for; `None`: all.
    pub native: Option<NativeRange>,
    /// Platforms it is for.
    pub platforms: Platforms,
    /// What its devices should run.
    pub target: Target,
}

impl Line {
    /// Whether a device with this platform and native version belongs to the line.
    pub fn matches(&self, platform: Platform, native: NativeVersion) -> bool {
        self.platforms.contains(platform) && self.native.as_ref().is_none_or(|range| range.contains(native))
    }

    /// The stable name of the line inside its channel, made of its conditions. A line that only moves in the list, or
    /// changes its release, keeps its history.
    pub fn key(&self) -> String {
        format!("{}|{}", self.platforms, self.native.as_ref().map_or("*", NativeRange::as_str))
    }
}

/// What a line's devices should run.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Target {
    /// The bundle that the native app shipped with.
    Builtin,
    /// A release.
    Release(Version),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Builtin => f.write_str("builtin"),
            Self::Release(version) => version.fmt(f),
        }
    }
}

impl TryFrom<String> for Target {
    type Error = crate::ids::InvalidId;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        if text == "builtin" { Ok(Self::Builtin) } else { text.parse().map(Self::Release) }
    }
}

impl From<Target> for String {
    fn from(target: Target) -> String {
        target.to_string()
    }
}

/// Who may use a channel, and which releases its devices may be moved to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_excessive_bools, reason = "independent switches of the contract")]
pub struct Access {
    /// Devices without a channel of their own use it.
    pub public: bool,
    /// Platforms that it serves.
    pub platforms: Platforms,
    /// Production builds may update.
    pub production: bool,
    /// Development builds may update.
    pub development: bool,
    /// Physical devices may update.
    pub device: bool,
    /// Emulators may update.
    pub emulator: bool,
    /// Devices may choose it themselves.
    pub self_assign: bool,
    /// How far from the native version a release may be.
    pub upgrade: Upgrade,
    /// A release below the native version may be served.
    pub under_native: bool,
}

impl Default for Access {
    fn default() -> Self {
        Self {
            public: false,
            platforms: Platforms::ALL,
            production: true,
            development: true,
            device: true,
            emulator: true,
            self_assign: false,
            upgrade: Upgrade::SameMajor,
            under_native: false,
        }
    }
}

/// How far from the native version a release may be (rules none, major, minor and patch of `device-protocol`
/// section 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Upgrade {
    /// Any version.
    Any,
    /// Not above the native major version.
    #[default]
    SameMajor,
    /// The same major and minor version.
    SameMinor,
    /// The same major, minor and patch version.
    SamePatch,
}

/// The platform of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Platform {
    /// iOS.
    Ios,
    /// Android.
    Android,
    /// Electron.
    Electron,
}

impl Platform {
    /// Every platform, in the order of the contract.
    pub const ALL: [Self; 3] = [Self::Ios, Self::Android, Self::Electron];

    /// The name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ios => "ios",
            Self::Android => "android",
            Self::Electron => "electron",
        }
    }

    /// Reads the name on the wire.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|p| p.name() == name)
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A set of platforms, serialised as a list of their names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "Vec<Platform>", into = "Vec<Platform>")]
pub struct Platforms(u8);

impl Platforms {
    /// Every platform.
    pub const ALL: Self = Self(0b111);

    /// Whether the set has `platform`.
    pub const fn contains(self, platform: Platform) -> bool {
        self.0 & (1 << platform as u8) != 0
    }

    /// Whether every platform of `other` is in `self`.
    pub const fn covers(self, other: Self) -> bool {
        other.0 & !self.0 == 0
    }

    /// The platforms in both sets.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether no platform is in the set.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The platforms of the set, in the order of the contract.
    pub fn iter(self) -> impl Iterator<Item = Platform> {
        Platform::ALL.into_iter().filter(move |p| self.contains(*p))
    }
}

impl From<Vec<Platform>> for Platforms {
    fn from(list: Vec<Platform>) -> Self {
        list.into_iter().collect()
    }
}

impl FromIterator<Platform> for Platforms {
    fn from_iter<I: IntoIterator<Item = Platform>>(list: I) -> Self {
        Self(list.into_iter().fold(0, |set, p| set | (1 << p as u8)))
    }
}

impl From<Platforms> for Vec<Platform> {
    fn from(set: Platforms) -> Self {
        set.iter().collect()
    }
}

impl fmt::Display for Platforms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, platform) in self.iter().enumerate() {
            write!(f, "{}{platform}", if index == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

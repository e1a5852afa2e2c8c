//! Device memory: the little that a decision must know of one device.

use serde::{Deserialize, Serialize};

use crate::{digest::Digest, ids::ChannelName, native::NativeVersion};

/// How long a failed digest is withheld from the device that it failed on, in seconds: 30 days.
pub const FAILED_FOR_SECONDS: i64 = 30 * 24 * 3600;

/// What is remembered of one device of one app.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceMemory {
    /// The channel that the device was put on by name.
    pub channel: Option<Override>,
    /// Bundles that failed on it.
    #[serde(default)]
    pub failed: Vec<Failed>,
}

impl DeviceMemory {
    /// Whether nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.channel.is_none() && self.failed.is_empty()
    }

    /// Whether `digest` failed on this device, with this native version, in the last 30 days.
    pub fn has_failed(&self, digest: &Digest, native: NativeVersion, now: i64) -> bool {
        self.failed
            .iter()
            .any(|f| f.digest == *digest && f.native == native && now - f.at < FAILED_FOR_SECONDS)
    }
}

/// A channel chosen for one device, ahead of its own wish and of the public channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Override {
    /// The channel.
    pub channel: ChannelName,
    /// Who chose.
    pub by: OverrideBy,
}

/// Who put a device on a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum OverrideBy {
    /// The device itself, by a client that keeps its choice on the server (`device-protocol` section 4.1).
    Device,
    /// A person, for support.
    Support,
}

/// A bundle that failed on a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    /// The bundle.
    pub digest: Digest,
    /// Native version at the time; another one may try again.
    pub native: NativeVersion,
    /// When, in seconds since 1970.
    pub at: i64,
}

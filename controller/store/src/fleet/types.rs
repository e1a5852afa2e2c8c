//! What goes into the fleet store and what comes out.

use std::net::IpAddr;

use super::census::Facts;
use serde::Serialize;
use sluice_core::{
    channel::Platform, digest::Digest, ids::Version, memory::DeviceMemory, request::DeviceKey,
    trial::Membership,
};

/// Contacts that are at most this far apart belong to one session, in seconds.
pub const SESSION_SECONDS: i64 = 30 * 60;

/// One update check, as far as it is remembered. Texts are cut to 64 bytes when they are kept.
///
/// The publisher's probe is no device, and its checks are not handed in.
#[derive(Clone, Copy)]
pub struct CheckIn<'a> {
    /// The app.
    pub app: &'a str,
    /// The device.
    pub device: DeviceKey,
    /// When, in seconds since 1970.
    pub at: i64,
    /// Its platform.
    pub platform: Platform,
    /// Version of the updater plugin.
    pub plugin: &'a str,
    /// Native version, as sent.
    pub native: &'a str,
    /// Version of the operating system.
    pub os: &'a str,
    /// The version that runs (normalised `version_name`).
    pub running: &'a str,
    /// The channel that answered.
    pub channel: Option<&'a str>,
    /// A production build.
    pub production: bool,
    /// An emulator.
    pub emulator: bool,
    /// The app's own id for the device or user. Only a keyed hash of it is kept.
    pub custom_id: Option<&'a str>,
    /// What was offered, when something was.
    pub offered: Option<Offer<'a>>,
    /// The trial that the device is in, when it is in one.
    pub trial: Option<Enrolling<'a>>,
}

/// What a check-in says of the trial of a rollout. The first one in a level enrols the device.
#[derive(Debug, Clone, Copy)]
pub struct Enrolling<'a> {
    /// The channel of the rollout.
    pub channel: &'a str,
    /// [`sluice_core::channel::Line::key`].
    pub line: &'a str,
    /// The part of the trial that the device is in.
    pub membership: Membership,
    /// The version that is rolled out.
    pub candidate: &'a str,
    /// When the rollout began, in seconds since 1970.
    pub started: i64,
    /// [`network_prefix`] of the address that the device came from, of which only a keyed hash is kept. Without one its
    /// young neighbours are not counted.
    pub prefix: Option<u64>,
}

/// The network that an address belongs to, as a number: its first 24 bits, of version 6 its first 48. Carriers and
/// companies have more of them, and whoever forges devices has to pay for each.
pub fn network_prefix(address: IpAddr) -> u64 {
    let number = |bytes: &[u8]| bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
    match address.to_canonical() {
        IpAddr::V4(address) => number(&address.octets()[..3]) | 1 << 63,
        IpAddr::V6(address) => number(&address.octets()[..6]),
    }
}

/// A release that a device was told to download.
#[derive(Debug, Clone, Copy)]
pub struct Offer<'a> {
    /// Its version.
    pub version: &'a str,
    /// Its bundle.
    pub digest: &'a Digest,
}

/// What became of a reported event. Both are answered with success.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accepted {
    /// It was new.
    New,
    /// It had been reported before, and was not counted again.
    Duplicate,
}

/// Everything the store knows of one device, for `explain`.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeviceView {
    /// First contact ever, seconds since 1970.
    pub first_seen: i64,
    /// Latest contact that was written: at most [`SESSION_SECONDS`] behind.
    pub last_seen: i64,
    /// How many sessions it had.
    pub sessions: i64,
    /// The newest gaps between its sessions in seconds, newest first, at most eight.
    pub gaps: Vec<u32>,
    /// Platform name.
    pub platform: String,
    /// Plugin version.
    pub plugin: String,
    /// Native version, as sent.
    pub native: String,
    /// Version of the operating system.
    pub os: String,
    /// The version that ran.
    pub running: String,
    /// The channel that answered.
    pub channel: Option<String>,
    /// A production build.
    pub production: bool,
    /// An emulator.
    pub emulator: bool,
    /// What it was offered last.
    pub offered: Option<LastOffer>,
    /// What became of the versions that this store knows, by version.
    pub outcomes: Vec<OutcomeView>,
    /// What the decision is told of it.
    #[serde(skip)]
    pub memory: Option<std::sync::Arc<DeviceMemory>>,
}

/// The newest offer to a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LastOffer {
    /// The version.
    pub version: String,
    /// Its bundle, when the version is still known.
    pub digest: Option<Digest>,
    /// When, seconds since 1970.
    pub at: i64,
}

/// What became of one version on one device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OutcomeView {
    /// The version.
    pub version: String,
    /// It was activated.
    pub trial_at: Option<i64>,
    /// It started well.
    pub success_at: Option<i64>,
    /// The first failure to start, and the action that said so.
    pub launch_failed: Option<(i64, String)>,
    /// The first failure to install.
    pub install_failed: Option<(i64, String)>,
    /// The first sign of bad health.
    pub health_failed: Option<(i64, String)>,
    /// It was offered first.
    pub offered_at: Option<i64>,
    /// The device had its bytes.
    pub downloaded_at: Option<i64>,
    /// The device first asked while it ran it.
    pub ran_at: Option<i64>,
    /// The device first ran an older one after it.
    pub rolled_back_at: Option<i64>,
    /// The device first said that what it was answered does not fit it.
    pub refused: Option<(i64, String)>,
}

/// Devices per outcome of one version.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OutcomeCounts {
    /// Devices with any outcome.
    pub devices: u64,
    /// Devices that activated it.
    pub trials: u64,
    /// Devices on which it started.
    pub successes: u64,
    /// Devices on which it did not start.
    pub launch_failures: u64,
    /// Devices that could not install it.
    pub install_failures: u64,
    /// Devices that reported bad health on it.
    pub health_failures: u64,
}

/// Devices that were active today or on one of the last seven days.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActiveDevices {
    /// The app.
    pub app: String,
    /// The channel that answered them.
    pub channel: Option<String>,
    /// How many.
    pub devices: u64,
}

/// When a bundle was last offered, for garbage collection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offered {
    /// The app.
    pub app: String,
    /// The version.
    pub version: String,
    /// Its bundle.
    pub digest: Digest,
    /// First offer, seconds since 1970.
    pub first: i64,
    /// Latest offer, exact to a minute.
    pub last: i64,
}

/// A version and its bundle, told to the store ahead of any offer.
#[derive(Debug, Clone)]
pub struct Declared<'a> {
    /// The app.
    pub app: &'a str,
    /// The version.
    pub version: &'a Version,
    /// Its bundle.
    pub digest: Digest,
}

/// Figures for metrics and status.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Figures {
    /// Events that wait for a commit.
    pub queued_events: u64,
    /// Check-ins that wait for a commit.
    pub queued_check_ins: u64,
    /// Check-ins that were given up because too many waited or a commit failed.
    pub dropped_check_ins: u64,
    /// Check-ins that were written.
    pub written_check_ins: u64,
    /// Events that were new.
    pub events_new: u64,
    /// Events that had been reported before.
    pub events_duplicate: u64,
    /// Events that were refused because too many waited or a commit failed.
    pub events_refused: u64,
    /// Events of apps that nobody serves.
    pub events_unknown_app: u64,
    /// Devices that said that an answer does not fit them (`checksum_required`, `session_key_required`).
    pub configuration_failures: u64,
    /// Successful commits.
    pub commits: u64,
    /// Failed commits.
    pub failed_commits: u64,
    /// Why the newest commit failed; nothing when it succeeded.
    pub last_error: Option<String>,
    /// Rows removed because they were old.
    pub removed_rows: u64,
    /// Devices with a memory entry.
    pub remembered_devices: u64,
    /// Devices whose last written state is held in memory.
    pub cached_devices: u64,
    /// Devices of which something became true of a release since the start, each once for each release.
    pub facts: Facts,
    /// Damaged files that were set aside, by this start or an earlier one, and are still there.
    pub damaged_files: u64,
}

/// Limits, each with a default that suits one machine.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Events that may wait.
    pub queued_events: usize,
    /// Check-ins that may wait.
    pub queued_check_ins: usize,
    /// Devices whose last written state is held in memory (about 100 bytes each).
    pub cached_devices: usize,
    /// Devices with failed bundles that are held in memory. Overrides are always held.
    pub remembered_devices: usize,
    /// How long events without a meaning are kept, in seconds.
    pub keep_neutral: i64,
    /// How long other events are kept, in seconds. A repetition that comes later is taken for new, and changes nothing
    /// because outcomes are the first of their kind.
    pub keep_events: i64,
    /// How long devices and their outcomes are kept after the last contact, in seconds. A rollout ends after as long.
    pub keep_devices: i64,
    /// How long the journal and the enrolments of a rollout are kept after its end, in seconds.
    pub keep_trials: i64,
    /// Seconds between looks for devices that are silent.
    pub judge_every: i64,
    /// Rows that one bite of the clean-up looks at.
    pub bite: u32,
    /// Seconds between clean-ups.
    pub cleanup_every: i64,
    /// Pages that the file may have; SQLite's own bound when nothing is said. For tests of a full disk.
    pub max_pages: Option<u32>,
}

impl Default for Limits {
    fn default() -> Self {
        const DAY: i64 = 24 * 3600;
        Self {
            queued_events: 65_536,
            queued_check_ins: 32_768,
            cached_devices: 1_000_000,
            remembered_devices: 1_000_000,
            keep_neutral: 2 * DAY,
            keep_events: 30 * DAY,
            keep_devices: 400 * DAY,
            keep_trials: 30 * DAY,
            judge_every: 10,
            bite: 2_000,
            cleanup_every: 60,
            max_pages: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_share_a_prefix() {
        let of = |text: &str| network_prefix(text.parse().unwrap());
        assert_eq!(of("192.0.2.1"), of("192.0.2.254"));
        assert_eq!(of("192.0.2.1"), of("::ffff:192.0.2.9"));
        assert_ne!(of("192.0.2.1"), of("192.0.3.1"));
        assert_eq!(of("2001:db8:1:1::1"), of("2001:db8:1:ffff::2"));
        assert_ne!(of("2001:db8:1::1"), of("2001:db8:2::1"));
        assert_ne!(of("0.0.1.0"), of("::1"), "neither version is taken for the other");
    }
}

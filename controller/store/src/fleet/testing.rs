//! The conformance suite: every back end of the fleet store passes it, through the public interface only.
//!
//! Each function takes a fresh [`Place`] and panics when a promise is broken.

mod analytics;
mod attribution;
mod counting;
mod limits;
mod segments;
mod sessions;
mod subjects;
pub(crate) mod trials;

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use async_trait::async_trait;
use sluice_core::{
    channel::Platform, client::PluginVersion, digest::Digest, ids::AppId, native::NativeVersion,
    outcome::Event, request::DeviceKey,
};

pub use self::{
    analytics::{active_devices_by_day_and_bundle, coverage_is_timed, every_device_stands_somewhere},
    attribution::{
        active_bundle_is_not_blamed, deliveries_fail_three_times, overrides_last, what_success_is,
    },
    counting::{bursts_count_once, duplicates, odd_times, strangers_and_unknown_names, survives_a_restart},
    limits::{full_queues_refuse, old_rows_go},
    segments::{segments_count_once, segments_say_what_devices_said},
    sessions::{a_clock_that_goes_back, only_changes_are_written, what_is_remembered_of_devices},
    subjects::{
        active_devices_are_counted, devices_are_exported_and_erased, nothing_is_left_of_an_erased_device,
        support_puts_devices_on_channels,
    },
    trials::{
        crowds_are_capped, devices_enrol_once, ended_rollouts_go, journals_tell_what_a_model_tells,
        reports_fail_enrolments, requests_show_launches, segments_enrol_once, silence_is_judged,
    },
};
use super::{CheckIn, Clock, Fleet, FleetError, Limits, Offer};

/// The app of the suite.
pub const APP: &str = "com.example.shop";

/// When the suite begins, in seconds since 1970.
pub const START: i64 = 1_800_000_000;

/// Somewhere a store can be opened, closed and opened again.
#[async_trait]
pub trait Place: Send + Sync {
    /// Opens the store that was closed before, or a new one.
    async fn open(&self, clock: Clock, limits: Limits) -> Result<Fleet, FleetError>;
}

/// A clock that tests move.
#[derive(Debug, Clone)]
pub struct Hands(Arc<AtomicI64>);

impl Default for Hands {
    fn default() -> Self {
        Self(Arc::new(AtomicI64::new(START)))
    }
}

impl Hands {
    /// The time.
    pub fn now(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }

    /// Moves the clock, forward or back.
    pub fn pass(&self, seconds: i64) {
        self.0.fetch_add(seconds, Ordering::SeqCst);
    }

    /// The clock for a store.
    pub fn clock(&self) -> Clock {
        let hands = self.clone();
        Arc::new(move || hands.now())
    }
}

/// A device by number.
pub fn device(n: u64) -> DeviceKey {
    DeviceKey::of(&format!("00000000-0000-4000-8000-{n:012x}"))
}

/// The bundle of a version.
pub fn bundle(version: &str) -> Digest {
    Digest::of(version.as_bytes())
}

/// An update check of a device that runs `running` and is offered `offered`.
pub fn check<'a>(n: u64, at: i64, running: &'a str, offered: Option<(&'a str, &'a Digest)>) -> CheckIn<'a> {
    CheckIn {
        app: APP,
        device: device(n),
        at,
        platform: Platform::Android,
        plugin: "8.51.23",
        native: "1.0.0",
        os: "16",
        running,
        channel: Some("production"),
        production: true,
        emulator: false,
        custom_id: None,
        offered: offered.map(|(version, digest)| Offer { version, digest }),
        trial: None,
    }
}

/// An event of a current Android client.
pub fn event(n: u64, action: &str, version: Option<&str>, timestamp: Option<i64>) -> Event {
    Event {
        app: APP.parse::<AppId>().expect("an app id"),
        device: device(n),
        probe: false,
        platform: Platform::Android,
        plugin: PluginVersion::new(8, 51, 23),
        native: NativeVersion(1, 0, 0),
        action: action.to_owned(),
        version: version.map(str::to_owned),
        file: None,
        old_version: None,
        timestamp,
        production: true,
        emulator: false,
        metadata: Vec::new(),
        message: None,
    }
}

/// A store with its clock.
pub(crate) async fn open(place: &dyn Place) -> (Fleet, Hands) {
    let hands = Hands::default();
    (reopen(place, &hands).await, hands)
}

pub(crate) async fn reopen(place: &dyn Place, hands: &Hands) -> Fleet {
    place.open(hands.clock(), Limits::default()).await.expect("the store opens")
}

/// Records events that must be accepted, and returns how many were new.
pub(crate) async fn record(fleet: &Fleet, events: Vec<Event>) -> usize {
    let accepted = fleet.record(events).await.expect("the store accepts events");
    accepted.iter().filter(|a| **a == super::Accepted::New).count()
}

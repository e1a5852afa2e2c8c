//! What answering devices needs to know of them, and what it notes. Declared here, implemented by whoever keeps devices:
//! the fleet store of this process, or the outbox of a gateway.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use sluice_core::{
    digest::Digest,
    ids::ChannelName,
    memory::{DeviceMemory, OverrideBy},
    outcome::Event,
    request::DeviceKey,
};
use sluice_store::fleet::{CheckIn, Fleet};

use crate::metrics::Figure;

mod fleet;
mod outbox;

/// Nothing was stored; the same call may succeed later. The text names no device.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotStored(pub String);

/// Why devices should rather be sent elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// Stable, for machines.
    pub code: &'static str,
    /// A sentence for people.
    pub message: String,
}

/// Keeps what must be known of devices.
#[async_trait]
pub trait Devices: fmt::Debug + Send + Sync {
    /// What the decision must know of a device. On every request's path: memory only.
    fn memory(&self, app: &str, device: DeviceKey) -> Option<Arc<DeviceMemory>>;

    /// Notes an update check of an app that is served. Never waits, and may be lost.
    fn check_in(&self, check_in: &CheckIn<'_>);

    /// Stores events. Success means that they are durable.
    async fn record(&self, events: Vec<Event>) -> Result<(), NotStored>;

    /// Puts a device on a channel, durably, until `expires` (seconds since 1970) when that is given.
    async fn set_channel(
        &self,
        app: &str,
        device: DeviceKey,
        channel: ChannelName,
        by: OverrideBy,
        expires: Option<i64>,
    ) -> Result<(), NotStored>;

    /// Takes a device off its channel, durably.
    async fn unset_channel(&self, app: &str, device: DeviceKey) -> Result<(), NotStored>;

    /// Notes that bytes of a zip were sent to a device. Never waits, and may be lost.
    fn sent(&self, _zip: &Digest, _bytes: u64) {}

    /// Whether reports of devices are refused at present.
    fn trouble(&self) -> Option<Trouble>;

    /// Figures for metrics.
    fn figures(&self) -> Vec<Figure>;
}

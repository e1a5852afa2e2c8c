//! Devices kept by somebody else, to whom a gateway's outbox passes on what they say.

use async_trait::async_trait;
use sluice_store::relay::{Outbox, OutboxError};

use super::{
    Arc, ChannelName, CheckIn, DeviceKey, DeviceMemory, Devices, Digest, Event, Figure, NotStored,
    OverrideBy, Trouble,
};

#[async_trait]
impl Devices for Outbox {
    fn memory(&self, app: &str, device: DeviceKey) -> Option<Arc<DeviceMemory>> {
        Outbox::memory(self, app, device)
    }

    fn check_in(&self, check_in: &CheckIn<'_>) {
        Outbox::check_in(self, check_in);
    }

    async fn record(&self, events: Vec<Event>) -> Result<(), NotStored> {
        Ok(Outbox::record(self, events).await?)
    }

    async fn set_channel(
        &self,
        app: &str,
        device: DeviceKey,
        channel: ChannelName,
        by: OverrideBy,
        expires: Option<i64>,
    ) -> Result<(), NotStored> {
        Ok(Outbox::set_channel(self, app, device, channel, by, expires).await?)
    }

    async fn unset_channel(&self, app: &str, device: DeviceKey) -> Result<(), NotStored> {
        Ok(Outbox::unset_channel(self, app, device).await?)
    }

    fn sent(&self, zip: &Digest, bytes: u64) {
        Outbox::sent(self, zip, bytes);
    }

    /// A store that is away is none: other gateways have the same one, and decisions go on here as there.
    fn trouble(&self) -> Option<Trouble> {
        let message = "as many reports wait for the bundle store as may wait; further ones are answered 503";
        Outbox::figures(self).full.then(|| Trouble { code: "OutboxFull", message: message.to_owned() })
    }

    fn figures(&self) -> Vec<Figure> {
        let f = Outbox::figures(self);
        let writable = u64::from(f.last_error.is_none());
        vec![
            Figure::gauge("outbox_writable", "Whether the newest segment was written", writable),
            Figure::gauge("outbox_queued_events", "Events that wait for a segment", f.queued_events),
            Figure::gauge("outbox_queued_check_ins", "Check-ins that wait for a segment", f.queued_check_ins),
            Figure::gauge(
                "outbox_remembered_devices",
                "Devices with a memory entry, as the leader publishes them",
                f.remembered_devices,
            ),
            Figure::counter("outbox_segments", "Segments that were written", f.segments),
            Figure::counter("outbox_events", "Events and channel choices that were written", f.events),
            Figure::counter(
                "outbox_events_refused",
                "Events and channel choices that were answered 503",
                f.refused_events,
            ),
            Figure::counter("outbox_check_ins_dropped", "Check-ins that were given up", f.dropped_check_ins),
            Figure::counter("outbox_flush_failures", "Segments that could not be written", f.flush_failures),
        ]
    }
}

impl From<OutboxError> for NotStored {
    fn from(error: OutboxError) -> Self {
        Self(error.to_string())
    }
}

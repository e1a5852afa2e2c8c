//! Devices kept by the fleet store of this process.

use async_trait::async_trait;
use sluice_store::fleet::{self, Facts, FleetError};

use super::{
    Arc, ChannelName, CheckIn, DeviceKey, DeviceMemory, Devices, Digest, Event, Figure, Fleet, NotStored,
    OverrideBy, Trouble,
};

#[async_trait]
impl Devices for Fleet {
    fn memory(&self, app: &str, device: DeviceKey) -> Option<Arc<DeviceMemory>> {
        Fleet::memory(self, app, device)
    }

    fn check_in(&self, check_in: &CheckIn<'_>) {
        Fleet::check_in(self, check_in);
    }

    async fn record(&self, events: Vec<Event>) -> Result<(), NotStored> {
        Ok(Fleet::record(self, events).await.map(drop)?)
    }

    async fn set_channel(
        &self,
        app: &str,
        device: DeviceKey,
        channel: ChannelName,
        by: OverrideBy,
        expires: Option<i64>,
    ) -> Result<(), NotStored> {
        Ok(Fleet::set_channel(self, app, device, channel, by, expires).await?)
    }

    async fn unset_channel(&self, app: &str, device: DeviceKey) -> Result<(), NotStored> {
        Ok(Fleet::unset_channel(self, app, device).await?)
    }

    fn sent(&self, zip: &Digest, bytes: u64) {
        Fleet::sent(self, zip, bytes);
    }

    fn trouble(&self) -> Option<Trouble> {
        let error = Fleet::figures(self).last_error?;
        let message = format!("the fleet store cannot be written: {error}");
        Some(Trouble { code: "FleetStoreUnavailable", message })
    }

    fn figures(&self) -> Vec<Figure> {
        figures(&Fleet::figures(self))
    }
}

impl From<FleetError> for NotStored {
    fn from(error: FleetError) -> Self {
        Self(error.to_string())
    }
}

/// What became of releases, in devices: each once for each release.
fn facts(f: &Facts) -> [Figure; 8] {
    [
        Figure::counter("fleet_devices_offered", "Devices that were offered a release", f.offered),
        Figure::counter(
            "fleet_devices_delivered",
            "Devices that had the bytes of an offered release",
            f.delivered,
        ),
        Figure::counter("fleet_devices_started", "Devices on which a release started", f.started),
        Figure::counter(
            "fleet_devices_rolled_back",
            "Devices that ran a release and then an older one",
            f.rolled_back,
        ),
        Figure::counter(
            "fleet_failures_delivery",
            "Devices that could not fetch, verify or unpack a release",
            f.failures.delivery,
        ),
        Figure::counter(
            "fleet_failures_installation",
            "Devices on which a release could not be made active or did not start",
            f.failures.installation,
        ),
        Figure::counter(
            "fleet_failures_compatibility",
            "Devices that said that what they were answered does not fit them",
            f.failures.compatibility,
        ),
        Figure::counter(
            "fleet_failures_health",
            "Devices that reported bad health on a release",
            f.failures.health,
        ),
    ]
}

fn figures(f: &fleet::Figures) -> Vec<Figure> {
    let writable = u64::from(f.last_error.is_none());
    let mut all = vec![
        Figure::gauge("fleet_writable", "Whether the newest commit succeeded", writable),
        Figure::gauge("fleet_queued_events", "Events that wait for a commit", f.queued_events),
        Figure::gauge("fleet_queued_check_ins", "Check-ins that wait for a commit", f.queued_check_ins),
        Figure::gauge("fleet_remembered_devices", "Devices with a memory entry", f.remembered_devices),
        Figure::gauge("fleet_cached_devices", "Devices whose state is held in memory", f.cached_devices),
        Figure::gauge(
            "fleet_damaged_files",
            "Damaged files of the fleet store that were set aside and are still there",
            f.damaged_files,
        ),
        Figure::counter("fleet_check_ins_written", "Check-ins that were written", f.written_check_ins),
        Figure::counter("fleet_check_ins_dropped", "Check-ins that were given up", f.dropped_check_ins),
        Figure::counter("fleet_events_new", "Events that were new", f.events_new),
        Figure::counter("fleet_events_duplicate", "Events that had been reported before", f.events_duplicate),
        Figure::counter(
            "fleet_events_refused",
            "Events that were refused because too many waited",
            f.events_refused,
        ),
        Figure::counter("fleet_commits", "Successful commits", f.commits),
        Figure::counter("fleet_commits_failed", "Failed commits", f.failed_commits),
        Figure::counter("fleet_rows_removed", "Rows removed because they were old", f.removed_rows),
    ];
    all.extend(facts(&f.facts));
    all
}

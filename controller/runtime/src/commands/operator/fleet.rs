//! The fleet store of a leader: opened with its term and closed with it, unless this process answers devices itself.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use arc_swap::ArcSwapOption;
use async_trait::async_trait;
use jiff::Timestamp;
use sluice_core::{
    ids::ChannelName,
    memory::{DeviceMemory, OverrideBy},
    outcome::Event,
    request::DeviceKey,
};
use sluice_kube::FleetSource;
use sluice_serve::{
    devices::{Devices, NotStored, Trouble},
    metrics::Figure,
};
use sluice_store::fleet::{CheckIn, Fleet, FleetError, FleetUrl, Limits};

/// See the module. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct LeaderFleet(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    url: FleetUrl,
    open: ArcSwapOption<Fleet>,
    kept: AtomicBool,
}

impl LeaderFleet {
    pub(crate) fn new(url: FleetUrl) -> Self {
        Self(Arc::new(Inner { url, open: ArcSwapOption::empty(), kept: AtomicBool::new(false) }))
    }

    /// Opens it for as long as the process lives.
    pub(crate) async fn keep(&self) -> Result<Arc<Fleet>, FleetError> {
        self.0.kept.store(true, Ordering::Release);
        self.open().await
    }

    /// The store, while it is open.
    pub(crate) fn opened(&self) -> Option<Arc<Fleet>> {
        self.0.open.load_full()
    }

    /// Closes it with the process.
    pub(crate) async fn end(&self) -> Result<(), FleetError> {
        match self.0.open.swap(None) {
            Some(fleet) => fleet.close().await,
            None => Ok(()),
        }
    }
}

#[async_trait]
impl FleetSource for LeaderFleet {
    async fn open(&self) -> Result<Arc<Fleet>, FleetError> {
        if let Some(open) = self.0.open.load_full() {
            return Ok(open);
        }
        let clock = Arc::new(|| Timestamp::now().as_second());
        let fleet = Arc::new(Fleet::connect(&self.0.url, clock, Limits::default()).await?);
        self.0.open.store(Some(Arc::clone(&fleet)));
        Ok(fleet)
    }

    async fn close(&self) {
        if self.0.kept.load(Ordering::Acquire) {
            return;
        }
        if let Err(error) = self.end().await {
            tracing::warn!(%error, "what devices reported last could not be written");
        }
    }
}

/// Devices are answered elsewhere; what is asked here is only looked at.
#[async_trait]
impl Devices for LeaderFleet {
    fn memory(&self, app: &str, device: DeviceKey) -> Option<Arc<DeviceMemory>> {
        self.0.open.load().as_ref().and_then(|fleet| fleet.memory(app, device))
    }

    fn check_in(&self, _: &CheckIn<'_>) {}

    async fn record(&self, _: Vec<Event>) -> Result<(), NotStored> {
        Err(elsewhere())
    }

    async fn set_channel(
        &self,
        _: &str,
        _: DeviceKey,
        _: ChannelName,
        _: OverrideBy,
        _: Option<i64>,
    ) -> Result<(), NotStored> {
        Err(elsewhere())
    }

    async fn unset_channel(&self, _: &str, _: DeviceKey) -> Result<(), NotStored> {
        Err(elsewhere())
    }

    fn trouble(&self) -> Option<Trouble> {
        None
    }

    fn figures(&self) -> Vec<Figure> {
        self.0.open.load().as_ref().map_or_else(Vec::new, |fleet| Devices::figures(&**fleet))
    }
}

fn elsewhere() -> NotStored {
    NotStored("this process does not answer devices".to_owned())
}

//! What the rest of the program shows to this crate.

use std::{fmt, sync::Arc};

use arc_swap::ArcSwap;
use sluice_core::{
    brake::Brakes,
    snapshot::Snapshot,
    status::{Condition, Status},
};
use sluice_store::{
    control::{BrakeWatch, Freshness},
    fleet::Fleet,
    objects::Objects,
};

use crate::{devices::Devices, metrics::Figure};

/// Handles on what is served and what is said of it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Views {
    /// The snapshot that devices are answered from.
    pub snapshot: Arc<ArcSwap<Snapshot>>,
    /// The brakes that are in force.
    pub brakes: Arc<ArcSwap<Brakes>>,
    /// What brakes in the name of this process; without it the API does not.
    pub braking: Option<Arc<BrakeWatch>>,
    /// What the installation says of itself.
    pub status: Arc<ArcSwap<Status>>,
    /// What is known and noted of devices.
    pub devices: Arc<dyn Devices>,
    /// The fleet store, for explanations; a gateway has none.
    pub fleet: Option<Arc<Fleet>>,
    /// How current the snapshot is, when somebody else publishes it.
    pub freshness: Option<Arc<Freshness>>,
    /// What works in the background of this process, beside answering devices.
    pub background: Option<Arc<dyn Background>>,
    /// Where the zips are.
    pub objects: Arc<dyn Objects>,
}

/// Something that works in the background, such as an operator.
pub trait Background: fmt::Debug + Send + Sync {
    /// What does not work at present. Devices are answered all the same.
    fn trouble(&self) -> Vec<String>;

    /// Figures for metrics.
    fn figures(&self) -> Vec<Figure>;

    /// The fleet store, where it is open only while this process leads.
    fn fleet(&self) -> Option<Arc<Fleet>> {
        None
    }

    /// The condition `Notified`: how it goes to tell somebody what is decided. None: nobody is told.
    fn notified(&self) -> Option<Condition> {
        None
    }

    /// Why this process knows nothing of repositories, when another one does: it waits for its turn.
    fn waits(&self) -> Option<String> {
        None
    }
}

impl Views {
    /// The fleet store, when this process has it open.
    pub fn fleet_store(&self) -> Option<Arc<Fleet>> {
        let background = || self.background.as_ref().and_then(|background| background.fleet());
        self.fleet.clone().or_else(background)
    }

    /// Views of a process that publishes what it serves and keeps devices itself.
    pub fn of_one_process(
        snapshot: Arc<ArcSwap<Snapshot>>,
        brakes: Arc<ArcSwap<Brakes>>,
        status: Arc<ArcSwap<Status>>,
        fleet: Arc<Fleet>,
        objects: Arc<dyn Objects>,
    ) -> Self {
        Self {
            snapshot,
            brakes,
            braking: None,
            status,
            devices: fleet.clone(),
            fleet: Some(fleet),
            freshness: None,
            background: None,
            objects,
        }
    }

    /// Views of a process that only answers devices, from what others publish.
    pub fn of_a_gateway(
        snapshot: Arc<ArcSwap<Snapshot>>,
        brakes: Arc<ArcSwap<Brakes>>,
        freshness: Arc<Freshness>,
        devices: Arc<dyn Devices>,
        objects: Arc<dyn Objects>,
    ) -> Self {
        let freshness = Some(freshness);
        Self {
            snapshot,
            brakes,
            braking: None,
            status: Arc::default(),
            devices,
            fleet: None,
            freshness,
            background: None,
            objects,
        }
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use std::path::Path;

    use sluice_store::objects::Remote;

    use super::*;

    /// Views of nothing.
    pub(crate) async fn empty(dir: &Path) -> Views {
        let fleet = Fleet::open(&dir.join("fleet.sqlite"), Arc::new(|| 0)).await.unwrap();
        let snapshot = Arc::new(ArcSwap::from_pointee(Snapshot::empty()));
        let (brakes, status) = (Arc::default(), Arc::default());
        Views::of_one_process(snapshot, brakes, status, Arc::new(fleet), Arc::new(Remote::in_memory()))
    }
}

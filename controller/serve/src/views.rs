//! What the rest of the program shows to this crate.

use std::sync::Arc;

use arc_swap::ArcSwap;
use sluice_core::{snapshot::Snapshot, status::Status};
use sluice_store::{fleet::Fleet, objects::Objects};

/// Handles on what is served and what is said of it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Views {
    /// The snapshot that devices are answered from.
    pub snapshot: Arc<ArcSwap<Snapshot>>,
    /// What the installation says of itself.
    pub status: Arc<ArcSwap<Status>>,
    /// Devices and their outcomes.
    pub fleet: Arc<Fleet>,
    /// Where the zips are.
    pub objects: Arc<dyn Objects>,
}

#[cfg(test)]
pub(crate) mod testing {
    use std::path::Path;

    use sluice_store::objects::Remote;

    use super::*;

    /// Views of nothing.
    pub(crate) async fn empty(dir: &Path) -> Views {
        let fleet = Fleet::open(&dir.join("fleet.sqlite"), Arc::new(|| 0)).await.unwrap();
        Views {
            snapshot: Arc::new(ArcSwap::from_pointee(Snapshot::empty())),
            status: Arc::default(),
            fleet: Arc::new(fleet),
            objects: Arc::new(Remote::in_memory()),
        }
    }
}

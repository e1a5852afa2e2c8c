//! Whether this process can answer devices, with the reasons when it cannot.

use serde::Serialize;
use utoipa::ToSchema;

use crate::views::Views;

/// The answer of `/readyz`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Readiness {
    /// Whether devices are to be sent here.
    pub ready: bool,
    /// Generation of the snapshot that is served; 0 before the first.
    pub generation: u64,
    /// Why it is not ready.
    pub reasons: Vec<Reason>,
}

/// One reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Reason {
    /// Stable, for machines.
    pub code: &'static str,
    /// A sentence for people.
    pub message: String,
}

impl Readiness {
    /// As things stand. Git does not matter: the last good state is served without it.
    pub fn of(views: &Views, stopping: bool) -> Self {
        let mut reasons = Vec::new();
        let mut because = |code, message| reasons.push(Reason { code, message });
        let generation = views.snapshot.load().root.generation;
        if generation == 0 {
            let message =
                "no snapshot was loaded or published yet; see /api/v1/status for the state of the repository";
            because("NoSnapshot", message.to_owned());
        }
        if let Some(error) = views.fleet.figures().last_error {
            because("FleetStoreUnavailable", format!("the fleet store cannot be written: {error}"));
        }
        if stopping {
            because("Stopping", "the process is about to stop".to_owned());
        }
        Self { ready: reasons.is_empty(), generation, reasons }
    }
}

//! Whether this process can answer devices, with the reasons when it cannot.

use serde::Serialize;
use sluice_store::control::Freshness;
use utoipa::ToSchema;

use crate::{devices::Trouble, views::Views};

/// The answer of `/readyz`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Readiness {
    /// Whether devices are to be sent here.
    pub ready: bool,
    /// Generation of the snapshot that is served; 0 before the first.
    pub generation: u64,
    /// How current that is, when somebody else publishes it. A store that is away is no reason to be unready: the last
    /// good snapshot goes on being served.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store: Option<Store>,
    /// Why it is not ready.
    pub reasons: Vec<Reason>,
    /// What does not work in the background, such as the connection to a cluster. It keeps no device from its answer.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub background: Vec<String>,
}

/// What is known of the bundle store that is followed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Store {
    /// Whether it answered when it was last asked.
    pub up: bool,
    /// When it last confirmed that what is served is what is published, as in RFC 3339.
    pub confirmed: Option<String>,
    /// How many seconds ago that was.
    pub age_seconds: Option<u64>,
    /// What was wrong when it was last asked.
    pub trouble: Option<String>,
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
            let message = match views.freshness.as_ref().map(|freshness| freshness.trouble()) {
                None => {
                    "no snapshot was loaded or published yet; see /api/v1/status for the state of the repository"
                        .to_owned()
                }
                Some(None) => "no snapshot was published yet".to_owned(),
                Some(Some(trouble)) => format!("no snapshot was loaded yet: {trouble}"),
            };
            because("NoSnapshot", message);
        }
        if let Some(Trouble { code, message }) = views.devices.trouble() {
            because(code, message);
        }
        if stopping {
            because("Stopping", "the process is about to stop".to_owned());
        }
        let store = views.freshness.as_deref().map(|freshness| Store::of(freshness, jiff::Timestamp::now()));
        let background = views.background.as_ref().map_or_else(Vec::new, |background| background.trouble());
        Self { ready: reasons.is_empty(), generation, store, reasons, background }
    }
}

impl Store {
    fn of(freshness: &Freshness, now: jiff::Timestamp) -> Self {
        let confirmed = freshness.confirmed();
        Self {
            up: freshness.is_store_up(),
            confirmed: confirmed.map(|at| at.to_string()),
            age_seconds: confirmed.map(|at| u64::try_from(now.as_second() - at.as_second()).unwrap_or(0)),
            trouble: freshness.trouble(),
        }
    }
}

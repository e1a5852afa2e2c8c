//! The names that there are, for whoever asks for one that nothing has.

use std::sync::Arc;

use http::StatusCode;
use sluice_core::{snapshot::Snapshot, status::Status, suggest::unknown};

use super::ApiError;
use crate::views::Views;

/// What is declared or served at one moment.
pub(super) struct Names {
    snapshot: Arc<Snapshot>,
    status: Arc<Status>,
}

impl Names {
    pub(super) fn of(views: &Views) -> Self {
        Self { snapshot: views.snapshot.load_full(), status: views.status.load_full() }
    }

    /// That there is no app of this name.
    pub(super) fn no_app(&self, app: &str) -> ApiError {
        ApiError::new(StatusCode::NOT_FOUND, "no_app", unknown("app", app, None, self.apps()))
    }

    /// That the app has no channel of this name.
    pub(super) fn no_channel(&self, app: &str, channel: &str) -> ApiError {
        let message = unknown("channel", channel, Some(app), self.channels(app));
        ApiError::new(StatusCode::NOT_FOUND, "no_channel", message)
    }

    /// What is said of a version that the app never had, as far as is known.
    pub(super) fn no_release(&self, app: &str, version: &str) -> String {
        let known: Vec<String> = self.releases(app).collect();
        unknown("release", version, Some(app), known.iter().map(String::as_str))
    }

    pub(super) fn has_app(&self, app: &str) -> bool {
        self.apps().any(|known| known == app)
    }

    pub(super) fn has_channel(&self, app: &str, channel: &str) -> bool {
        self.channels(app).any(|known| known == channel)
    }

    pub(super) fn has_release(&self, app: &str, version: &str) -> bool {
        self.releases(app).any(|known| known == version)
    }

    fn apps(&self) -> impl Iterator<Item = &str> {
        let served = self.snapshot.apps().map(|app| app.id.as_str());
        let channels = self.status.channels.iter().map(|channel| channel.app.as_str());
        let releases = self.status.releases.iter().map(|release| release.app.as_str());
        served.chain(channels).chain(releases)
    }

    fn channels(&self, app: &str) -> impl Iterator<Item = &str> {
        let served = self.snapshot.app(app).into_iter().flat_map(|app| app.channels());
        let declared = self.status.channels.iter().filter(move |channel| channel.app.as_str() == app);
        served.map(|channel| channel.name.as_str()).chain(declared.map(|channel| channel.channel.as_str()))
    }

    fn releases(&self, app: &str) -> impl Iterator<Item = String> {
        let served = self.snapshot.app(app).into_iter().flat_map(|app| app.bundles());
        let declared = self.status.releases.iter().filter(move |release| release.app.as_str() == app);
        served.map(|bundle| bundle.name.clone()).chain(declared.map(|release| release.version.to_string()))
    }
}

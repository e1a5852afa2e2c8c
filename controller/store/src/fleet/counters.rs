//! Counters that metrics read.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use super::{census::Facts, error::FleetError};

/// What has happened since the start.
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) dropped_check_ins: AtomicU64,
    pub(crate) written_check_ins: AtomicU64,
    pub(crate) events_new: AtomicU64,
    pub(crate) events_duplicate: AtomicU64,
    pub(crate) events_refused: AtomicU64,
    pub(crate) events_unknown_app: AtomicU64,
    pub(crate) configuration_failures: AtomicU64,
    pub(crate) removed_rows: AtomicU64,
    pub(crate) commits: AtomicU64,
    pub(crate) failed_commits: AtomicU64,
    last_error: Mutex<Option<String>>,
    facts: Mutex<Facts>,
}

impl Counters {
    /// Notes how a transaction ended.
    pub(crate) fn committed<T>(&self, result: &Result<T, sqlx::Error>) {
        let error = match result {
            Ok(_) => {
                self.commits.fetch_add(1, Ordering::Relaxed);
                None
            }
            Err(error) => {
                self.failed_commits.fetch_add(1, Ordering::Relaxed);
                // Texts of the database name statements and columns, never values.
                Some(FleetError::from(error).to_string())
            }
        };
        *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = error;
    }

    /// Notes what became true of versions on devices.
    pub(crate) fn learn(&self, fresh: &Facts) {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner).join(fresh);
    }

    pub(crate) fn facts(&self) -> Facts {
        *self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a failure that is for good.
    pub(crate) fn fail(&self, error: String) {
        *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }

    pub(crate) fn last_error(&self) -> Option<String> {
        self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

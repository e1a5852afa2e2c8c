//! What can go wrong with the fleet store, told apart by what the caller has to do.

use std::path::PathBuf;

/// A failure of the fleet store.
///
/// `Busy`, `Full` and `Unavailable` pass by themselves: a device is answered 503 and tries again.
#[derive(Debug, Clone, thiserror::Error)]
pub enum FleetError {
    /// Another process has the file.
    #[error("the fleet store {path} is in use by another process; stop it, or choose another data directory")]
    InUse {
        /// The database.
        path: PathBuf,
    },
    /// The file was written by a release whose format this one cannot use.
    #[error(
        "the fleet store {path} was written by a newer release (format {found}, usable from format {readable_by} on; \
         this release understands {understood}); start the newer release, or restore a backup"
    )]
    Newer {
        /// The database.
        path: PathBuf,
        /// Its format.
        found: i64,
        /// The oldest format whose programs may use it.
        readable_by: i64,
        /// The newest format that this program knows.
        understood: i64,
    },
    /// The file is not a database, or a damaged one.
    #[error(
        "the fleet store {path} is damaged ({reason}); move it away (it is rebuilt empty) or restore a backup"
    )]
    Corrupt {
        /// The database.
        path: PathBuf,
        /// What SQLite says.
        reason: String,
    },
    /// The file cannot be opened or created.
    #[error("cannot open the fleet store {path}: {reason}")]
    Open {
        /// The database.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// More is waiting to be written than is allowed to wait.
    #[error("the fleet store has too many writes waiting")]
    Busy,
    /// No space is left on the device.
    #[error("the disk of the fleet store is full")]
    Full,
    /// Reading or writing failed.
    #[error("the fleet store is unavailable: {reason}")]
    Unavailable {
        /// Why.
        reason: String,
    },
    /// The store was closed.
    #[error("the fleet store is closed")]
    Closed,
}

impl FleetError {
    /// Whether the same call may succeed later without anybody's doing.
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::Busy | Self::Full | Self::Unavailable { .. })
    }

    /// Sorts a failure while opening.
    pub(crate) fn opening(path: &std::path::Path, error: &sqlx::Error) -> Self {
        let path = path.to_path_buf();
        match class(error) {
            Class::Locked => Self::InUse { path },
            Class::Corrupt => Self::Corrupt { path, reason: error.to_string() },
            Class::Full => Self::Full,
            Class::Other => Self::Open { path, reason: error.to_string() },
        }
    }
}

impl From<sqlx::Error> for FleetError {
    fn from(error: sqlx::Error) -> Self {
        Self::from(&error)
    }
}

impl From<&sqlx::Error> for FleetError {
    fn from(error: &sqlx::Error) -> Self {
        match class(error) {
            Class::Full => Self::Full,
            _ => Self::Unavailable { reason: error.to_string() },
        }
    }
}

enum Class {
    Locked,
    Corrupt,
    Full,
    Other,
}

/// The primary SQLite result code decides; Postgres' SQLSTATE classes are added with that back end.
fn class(error: &sqlx::Error) -> Class {
    let sqlx::Error::Database(error) = error else { return Class::Other };
    match error.code().and_then(|code| code.parse::<u32>().ok()).map(|code| code & 0xff) {
        Some(5 | 6) => Class::Locked,
        Some(11 | 26) => Class::Corrupt,
        Some(13) => Class::Full,
        _ => Class::Other,
    }
}

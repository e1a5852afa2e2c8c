//! What can go wrong with the fleet store, told apart by what the caller has to do.

use sqlx::postgres::PgDatabaseError;

use super::{dialect::taken, place::Place};

/// A failure of the fleet store.
///
/// `Busy`, `Full` and `Unavailable` pass by themselves: a device is answered 503 and tries again.
#[derive(Debug, Clone, thiserror::Error)]
pub enum FleetError {
    /// Another process has the store.
    #[error(
        "the fleet store {place} is in use by another process; stop it, or give this one a data directory or database \
         of its own"
    )]
    InUse {
        /// Where it is.
        place: String,
    },
    /// The store was written by a release whose format this one cannot use.
    #[error(
        "the fleet store {place} was written by a newer release (format {found}, usable from format {readable_by} on; \
         this release understands {understood}); start the newer release, or restore a backup"
    )]
    Newer {
        /// Where it is.
        place: String,
        /// Its format.
        found: i64,
        /// The oldest format whose programs may use it.
        readable_by: i64,
        /// The newest format that this program knows.
        understood: i64,
    },
    /// The file is not a database, or a damaged one.
    #[error(
        "the fleet store {place} is damaged ({reason}); move it away (it is rebuilt empty) or restore a backup"
    )]
    Corrupt {
        /// Where it is.
        place: String,
        /// What the database says.
        reason: String,
    },
    /// It cannot be opened or created.
    #[error("cannot open the fleet store {place}: {reason}")]
    Open {
        /// Where it is.
        place: String,
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
    /// Another process has written since this one lost its connection: what is in memory here is old.
    #[error("the fleet store {place} was taken over by another process; this one has to start again")]
    TakenOver {
        /// Where it is.
        place: String,
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
    pub(crate) fn opening(place: &Place, error: &sqlx::Error) -> Self {
        let place = place.to_string();
        match class(error) {
            Class::Locked => Self::InUse { place },
            Class::Corrupt => Self::Corrupt { place, reason: error.to_string() },
            Class::Full => Self::Full,
            Class::Other => Self::Open { place, reason: error.to_string() },
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

/// Whether a file or a table is damaged.
pub(crate) fn is_damage(error: &sqlx::Error) -> bool {
    matches!(class(error), Class::Corrupt)
}

enum Class {
    Locked,
    Corrupt,
    Full,
    Other,
}

/// Of SQLite the primary result code decides, of Postgres the SQLSTATE.
fn class(error: &sqlx::Error) -> Class {
    if taken(error) {
        return Class::Locked;
    }
    let sqlx::Error::Database(error) = error else { return Class::Other };
    if let Some(error) = error.try_downcast_ref::<PgDatabaseError>() {
        return match error.code() {
            "53100" => Class::Full,
            "XX001" | "XX002" => Class::Corrupt,
            _ => Class::Other,
        };
    }
    match error.code().and_then(|code| code.parse::<u32>().ok()).map(|code| code & 0xff) {
        Some(5 | 6) => Class::Locked,
        Some(11 | 26) => Class::Corrupt,
        Some(13) => Class::Full,
        _ => Class::Other,
    }
}

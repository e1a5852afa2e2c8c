//! What can go wrong with a Git host.

use std::time::Duration;

use crate::permissions::Operation;

/// Why a Git host did not do what it was asked. Texts are bounded, on one line, and never hold the token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ForgeError {
    /// The token is no token, or not one any more.
    #[error("{host} does not accept the token ({detail}); give one that is valid")]
    Unauthorized {
        /// The API's host.
        host: String,
        /// What it said.
        detail: String,
    },
    /// The token may not do this.
    #[error("{host} does not let the token {} ({detail}); it needs {missing}", .operation.name())]
    Forbidden {
        /// The API's host.
        host: String,
        /// What was tried.
        operation: Operation,
        /// What the token needs for it.
        missing: &'static str,
        /// What the host said.
        detail: String,
    },
    /// The repository, the pull request or the commit is not there, or the token may not see it.
    #[error(
        "{host} cannot {}: not found ({detail}); is the address of its API right, and may the token see the repository?",
        .operation.name()
    )]
    NotFound {
        /// The API's host.
        host: String,
        /// What was tried.
        operation: Operation,
        /// What the host said.
        detail: String,
    },
    /// Too many requests.
    #[error("{host} asks to wait for {} s: too many requests", .retry_after.as_secs())]
    RateLimited {
        /// The API's host.
        host: String,
        /// How long it asks to wait; an hour at most.
        retry_after: Duration,
    },
    /// It cannot be reached, or has trouble of its own.
    #[error("{host} cannot be used ({detail})")]
    Unavailable {
        /// The API's host.
        host: String,
        /// What failed.
        detail: String,
        /// How long it asks to wait, if it does; an hour at most.
        retry_after: Option<Duration>,
    },
    /// It refuses, or answers what it should not.
    #[error("{host} did not {} ({detail})", .operation.name())]
    Unexpected {
        /// The API's host.
        host: String,
        /// What was tried.
        operation: Operation,
        /// What it said.
        detail: String,
    },
}

impl ForgeError {
    /// Machine-readable reason of a condition.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Unauthorized { .. } => "ForgeUnauthorized",
            Self::Forbidden { .. } => "ForgeForbidden",
            Self::NotFound { .. } => "ForgeNotFound",
            Self::RateLimited { .. } => "ForgeRateLimited",
            Self::Unavailable { .. } => "ForgeUnavailable",
            Self::Unexpected { .. } => "ForgeRefused",
        }
    }

    /// Whether trying again can help without anybody changing anything.
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::RateLimited { .. } | Self::Unavailable { .. })
    }

    /// How long to wait at least before anything else is asked of this host.
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { retry_after, .. } => Some(*retry_after),
            Self::Unavailable { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

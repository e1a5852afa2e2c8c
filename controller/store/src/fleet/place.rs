//! Where a fleet store is: a file, or a database of a server.

use std::{fmt, path::PathBuf, str::FromStr};

use super::dialect::Server;

/// Where a fleet store is. Printing it shows neither user nor password.
#[derive(Debug, Clone)]
pub struct FleetUrl(pub(crate) Place);

#[derive(Debug, Clone)]
pub(crate) enum Place {
    /// A SQLite file.
    File(PathBuf),
    /// A database of a Postgres server.
    Server(Server),
}

/// A text that is not the URL of a fleet store. It is not repeated: it may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "is not the URL of a fleet store; write postgres://USER:PASSWORD@HOST:PORT/DATABASE, with `%` codes for characters \
     such as `@` and `/` in the password, and ?sslmode=verify-full&sslrootcert=FILE for a server whose certificate is to \
     be checked"
)]
pub struct InvalidFleetUrl;

impl FleetUrl {
    /// The store in a file.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self(Place::File(path.into()))
    }
}

impl FromStr for FleetUrl {
    type Err = InvalidFleetUrl;

    fn from_str(text: &str) -> Result<Self, InvalidFleetUrl> {
        let text = text.trim();
        if !text.starts_with("postgres://") && !text.starts_with("postgresql://") {
            return Err(InvalidFleetUrl);
        }
        Server::parse(text).map(|server| Self(Place::Server(server))).ok_or(InvalidFleetUrl)
    }
}

impl fmt::Display for FleetUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Server(server) => server.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_is_shown() {
        let url: FleetUrl = "postgres://canary-user:canary-pass@db.example.org:5433/fleet".parse().unwrap();
        let shown = format!("{url} {url:?}");
        assert!(
            shown.contains("postgres://db.example.org:5433/fleet") && !shown.contains("canary"),
            "{shown}"
        );
        for wrong in
            ["", "fleet.db", "mysql://canary@x/y", "postgres://canary:canary@x:port/y", "postgres://"]
        {
            let error = wrong.parse::<FleetUrl>().unwrap_err().to_string();
            assert!(!error.contains("canary"), "{error}");
        }
    }
}

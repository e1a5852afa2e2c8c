//! Tokens of a GitHub App: short-lived, made for one installation, renewed before they end.
//!
//! The App proves itself by a JWT that its private key signs; GitHub answers with a token that Git takes as a password.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use sluice_repo::{Access, Credentials};
use url::{Host, Url};

use crate::credentials::RepositoryAccess;

mod exchange;
#[cfg(test)]
pub(crate) mod tests;

/// How long before its end a token is renewed: longer than one fetch may take.
const EARLY: SignedDuration = SignedDuration::from_mins(5);
/// Installations whose tokens are kept. More than that many repositories belong into several operators.
const MOST: usize = 1024;

/// An App as a Secret describes it.
#[derive(Debug, Clone)]
pub struct GitHubApp {
    /// The App's id, or its client id.
    pub id: String,
    /// Which installation of it, so which repositories.
    pub installation: u64,
    /// RSA private key, PEM.
    pub key: SecretString,
    /// Address of the API.
    pub base: Url,
    /// PEM certificates of authorities to trust besides the system's.
    pub certificates: Option<String>,
}

/// Why there is no token. No text holds the key, the JWT or a token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GitHubAppError {
    /// The host does not accept the App.
    #[error(
        "{host} gives no token to the GitHub App (HTTP {status}: {detail}); check the ids and the private key, that the App is installed and may read contents, and this machine's clock"
    )]
    Refused {
        /// Host of the API.
        host: String,
        /// What it answered.
        status: u16,
        /// And why, in its words.
        detail: String,
    },
    /// The host does not answer, or not well.
    #[error("no token for the GitHub App: {host} cannot be used ({detail}); it is tried again")]
    Unavailable {
        /// Host of the API.
        host: String,
        /// What failed.
        detail: String,
    },
}

impl GitHubAppError {
    /// Machine-readable reason of a condition; the words are those of a repository that refuses or is away.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Refused { .. } => "AuthenticationFailed",
            Self::Unavailable { .. } => "Unreachable",
        }
    }

    /// Whether trying again can help without anybody changing anything.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }
}

/// The tokens that are in use.
#[derive(Debug, Default)]
pub struct Tokens(Mutex<HashMap<[u8; 32], Arc<Slot>>>);

/// Locked while its token is asked for, so that many repositories of one installation ask once.
type Slot = tokio::sync::Mutex<Option<Token>>;

#[derive(Debug)]
struct Token {
    secret: SecretString,
    ends: Timestamp,
}

impl Tokens {
    /// A token that goes on for a while yet.
    pub async fn token(&self, app: &GitHubApp, now: Timestamp) -> Result<SecretString, GitHubAppError> {
        let slot = self.slot(app.fingerprint(), now);
        let mut held = slot.lock().await;
        if let Some(token) = held.as_ref().filter(|token| now + EARLY < token.ends) {
            return Ok(token.secret.clone());
        }
        match exchange::token(app, now).await {
            Ok(fresh) => Ok(held.insert(fresh).secret.clone()),
            // The last minutes of the old one carry over a short outage.
            Err(error) => match held.as_ref() {
                Some(token) if error.is_transient() && now < token.ends => Ok(token.secret.clone()),
                _ => Err(error),
            },
        }
    }

    /// Has the next call ask for a new token: the one that was given out is refused.
    pub fn forget(&self, app: &GitHubApp) {
        self.lock().remove(&app.fingerprint());
    }

    fn slot(&self, fingerprint: [u8; 32], now: Timestamp) -> Arc<Slot> {
        let mut slots = self.lock();
        if slots.len() >= MOST && !slots.contains_key(&fingerprint) {
            slots.retain(|_, slot| {
                slot.try_lock().map_or(true, |held| held.as_ref().is_some_and(|token| now < token.ends))
            });
            if slots.len() >= MOST {
                slots.clear();
            }
        }
        slots.entry(fingerprint).or_default().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<[u8; 32], Arc<Slot>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RepositoryAccess {
    /// How the repository is reached right now, with the App's token if there is an App.
    pub async fn resolve(&self, tokens: &Tokens, now: Timestamp) -> Result<Access, GitHubAppError> {
        let mut access = self.access.clone();
        if let Some(app) = &self.github_app {
            access.credentials = Credentials::Token(tokens.token(app, now).await?);
        }
        Ok(access)
    }
}

impl GitHubApp {
    /// The address of an API: https, or http to this machine; without credentials, query and fragment.
    pub(crate) fn base(text: &str) -> Option<Url> {
        let url: Url = text.trim().parse().ok()?;
        let local = match url.host()? {
            Host::Domain(name) => name == "localhost",
            Host::Ipv4(address) => IpAddr::from(address).is_loopback(),
            Host::Ipv6(address) => IpAddr::from(address).is_loopback(),
        };
        let safe = url.scheme() == "https" || (url.scheme() == "http" && local);
        let bare = url.username().is_empty() && url.password().is_none();
        (safe && bare && url.query().is_none() && url.fragment().is_none()).then_some(url)
    }

    /// Whether a text is a key that can sign for an App.
    pub(crate) fn is_key(key: &SecretString) -> bool {
        exchange::sign("", 0, key).is_some()
    }

    /// What tells one App's tokens from another's; a new key is another App here.
    fn fingerprint(&self) -> [u8; 32] {
        let Self { id, installation, key, base, certificates: _ } = self;
        let mut hash = Sha256::new();
        for part in [id, &installation.to_string(), base.as_str(), key.expose_secret()] {
            hash.update(part.len().to_be_bytes());
            hash.update(part);
        }
        hash.finalize().into()
    }

    fn host(&self) -> String {
        self.base.host_str().unwrap_or_default().to_owned()
    }
}

/// How long the host may take, all in all.
const PATIENCE: Duration = Duration::from_secs(20);

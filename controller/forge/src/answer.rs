//! What a host answers, and what its refusals mean.

mod refusal;

use std::sync::Arc;

use reqwest::{
    StatusCode,
    header::{self, HeaderMap},
};
use secrecy::{ExposeSecret as _, SecretString};
use serde::de::DeserializeOwned;
use url::Url;

use crate::{error::ForgeError, forge::PullRequest, kind::ForgeKind, permissions::Operation, text};

/// Longest text of a host that is passed on, in characters.
const LONGEST: usize = 300;
/// Longest address that is believed to be one of a pull request.
const LONGEST_URL: usize = 2048;

/// Who was asked for what.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) kind: ForgeKind,
    pub(crate) host: String,
    pub(crate) operation: Operation,
    pub(crate) secrets: Arc<[SecretString]>,
}

/// An answer in whole.
pub(crate) struct Answer {
    pub(crate) asked: Asked,
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Asked {
    pub(crate) fn unexpected(&self, detail: &str) -> ForgeError {
        let Self { kind: _, host, operation, secrets: _ } = self;
        ForgeError::Unexpected { host: host.clone(), operation: *operation, detail: self.clean(detail) }
    }

    /// A pull request is in a state that is not known.
    pub(crate) fn unknown_state(&self, state: &str) -> ForgeError {
        self.unexpected(&format!("it is in a state that is not known: {state}"))
    }

    /// A pull request as the host names it.
    pub(crate) fn pull_request(&self, number: u64, url: String) -> Result<PullRequest, ForgeError> {
        let parsed = Url::parse(&url).ok().filter(|parsed| {
            matches!(parsed.scheme(), "http" | "https")
                && parsed.password().is_none()
                && url.len() <= LONGEST_URL
        });
        match parsed {
            Some(_) => Ok(PullRequest { number, url }),
            None => Err(self.unexpected("its answer has no address of the pull request")),
        }
    }

    /// A text of the host: bounded, on one line, and without what it was sent.
    fn clean(&self, said: &str) -> String {
        let mut said = said.to_owned();
        for secret in self.secrets.iter() {
            said = said.replace(secret.expose_secret(), "…");
        }
        text::line(&said, LONGEST)
    }
}

impl Answer {
    /// Whether it was done.
    pub(crate) fn is_success(&self) -> bool {
        // Azure DevOps answers 203 and its sign-in page to a token that it does not know.
        self.status.is_success() && self.status != StatusCode::NON_AUTHORITATIVE_INFORMATION
    }

    /// What was done, in the host's words.
    pub(crate) fn read<T: DeserializeOwned>(&self) -> Result<T, ForgeError> {
        self.done()?;
        serde_json::from_slice(&self.body).map_err(|error| {
            let html = self
                .headers
                .get(header::CONTENT_TYPE)
                .is_some_and(|t| t.as_bytes().starts_with(b"text/html"));
            let detail = if html {
                "it answers a page for people; is this the address of its API?".to_owned()
            } else {
                format!("its answer has another form than its API documents: {error}")
            };
            self.asked.unexpected(&detail)
        })
    }

    /// Nothing, where it was done.
    pub(crate) fn done(&self) -> Result<(), ForgeError> {
        if self.is_success() { Ok(()) } else { Err(self.refusal()) }
    }
}

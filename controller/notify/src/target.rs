//! Who is told.

use std::{fmt, time::Duration};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use jiff::Timestamp;
use reqwest::{StatusCode, header};
use secrecy::{ExposeSecret as _, SecretSlice};
use serde_json::Value;
use url::Url;

use crate::{
    internet::{OnTheInternet, is_elsewhere},
    message::Form,
    signature::sign,
    teller::{Decided, Listener, Undelivered},
};

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Shortest secret, in bytes.
const SHORTEST: usize = 16;

/// An address that is told.
pub struct Target {
    url: Url,
    key: Option<SecretSlice<u8>>,
    pub(crate) form: Form,
    http: reqwest::Client,
}

impl fmt::Debug for Target {
    /// Without its path, which is a secret where a webhook has no other.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({})", self.url.host_str().unwrap_or("-"))
    }
}

/// The secret cannot be one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSecret {
    /// Too short to be one.
    #[error("the secret of notifications needs at least {SHORTEST} bytes")]
    Short,
    /// Begins like one in base64, and is not.
    #[error("the secret of notifications begins with whsec_ and is not base64 after it")]
    Base64,
}

/// Messages could leave the Internet, or would pass it in clear text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotOnTheInternet {
    /// Not https.
    #[error("the address of notifications must be https")]
    Plain,
    /// A private address, or one of the machine.
    #[error("the address of notifications is not one of the Internet")]
    Private,
    /// TLS cannot be used.
    #[error("no connection can be made: {0}")]
    Client(String),
}

impl Target {
    /// An address, with the secret that messages are signed with: `whsec_` and base64, or plain text.
    pub fn new(url: Url, secret: Option<&str>, form: Form) -> Result<Self, InvalidSecret> {
        let key = match secret.map(str::trim) {
            None => None,
            Some(secret) => {
                let key = match secret.strip_prefix("whsec_") {
                    Some(encoded) => BASE64_STANDARD.decode(encoded).map_err(|_| InvalidSecret::Base64)?,
                    None => secret.as_bytes().to_vec(),
                };
                if key.len() < SHORTEST {
                    return Err(InvalidSecret::Short);
                }
                Some(SecretSlice::from(key))
            }
        };
        // Defaults cannot fail, and no redirect is followed: what is said goes where the platform team said.
        let http =
            reqwest::Client::builder().timeout(PATIENCE).redirect(reqwest::redirect::Policy::none()).build();
        Ok(Self { url, key, form, http: http.unwrap_or_default() })
    }

    /// The same, only by https and to addresses of the Internet, whatever its name means at the time. Proxies are not used: they
    /// would look the name up themselves.
    pub fn on_the_internet(self) -> Result<Self, NotOnTheInternet> {
        if self.url.scheme() != "https" {
            return Err(NotOnTheInternet::Plain);
        }
        if is_elsewhere(&self.url) {
            return Err(NotOnTheInternet::Private);
        }
        let http = reqwest::Client::builder()
            .timeout(PATIENCE)
            .redirect(reqwest::redirect::Policy::none())
            .https_only(true)
            .no_proxy()
            .dns_resolver(OnTheInternet)
            .build();
        let http = http.map_err(|error| NotOnTheInternet::Client(error.to_string()))?;
        Ok(Self { http, ..self })
    }

    /// Sends one message.
    async fn send(&self, id: &str, message: &Value, now: Timestamp) -> Result<(), Undelivered> {
        let body = message.to_string();
        let mut request = self
            .http
            .post(self.url.clone())
            .header(header::CONTENT_TYPE, self.form.content_type())
            .header("webhook-id", id)
            .header("webhook-timestamp", now.as_second().to_string());
        if let Some(key) = &self.key {
            let signature = sign(key.expose_secret(), id, now.as_second(), body.as_bytes());
            request = request.header("webhook-signature", signature);
        }
        // The error without the URL, whose path may be a secret.
        let answer = request.body(body).send().await;
        let answer = answer.map_err(|error| Undelivered::Later(cause(error)))?;
        match answer.status() {
            status if status.is_success() => Ok(()),
            status @ (StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS) => {
                Err(Undelivered::Later(format!("the address answers {status}")))
            }
            // Credentials and addresses are put right by people; nothing is lost meanwhile.
            status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND) => {
                Err(Undelivered::Later(format!("the address answers {status}; is it the right one?")))
            }
            status if status.is_client_error() => {
                Err(Undelivered::Never(format!("the address answers {status}")))
            }
            status => Err(Undelivered::Later(format!("the address answers {status}"))),
        }
    }
}

/// The last cause, which says something: the first says that a request could not be sent.
fn cause(error: reqwest::Error) -> String {
    let timeout = error.is_timeout();
    let error = error.without_url();
    let mut cause: &dyn std::error::Error = &error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    if timeout {
        "the address does not answer in time".into()
    } else {
        format!("the address is not reached: {cause}")
    }
}

impl Listener for Target {
    const MEMORY: &'static str = "notified";

    async fn hear(&self, decided: &Decided<'_>) -> Result<(), Undelivered> {
        let Decided { installation, page, index: _, row, record: _, id } = decided;
        let message = self.form.message(installation, page, row, id);
        self.send(id, &message, Timestamp::now()).await
    }
}

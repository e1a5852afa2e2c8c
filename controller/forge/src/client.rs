//! One exchange with a host's API.

use std::{fmt, sync::Arc, time::Duration};

use reqwest::{
    Method, StatusCode,
    header::{self, HeaderMap, HeaderValue},
    redirect,
};
use secrecy::SecretString;
use serde_json::Value;
use url::Url;

use crate::{
    answer::{Answer, Asked},
    error::ForgeError,
    kind::ForgeKind,
    permissions::Operation,
};

/// How long a host may take for one answer.
const PATIENCE: Duration = Duration::from_secs(20);
/// Most bytes of an answer that are read. Ten pull requests of GitHub are a quarter of a MiB.
const MOST: usize = 4 << 20;
/// Redirects that are followed; hosts have one where a repository was renamed.
const REDIRECTS: usize = 3;

/// The API of one host, with the token.
pub(crate) struct Client {
    kind: ForgeKind,
    base: Url,
    http: reqwest::Client,
    secrets: Arc<[SecretString]>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.kind, self.base)
    }
}

impl Client {
    /// The error is for people.
    pub(crate) fn new(
        kind: ForgeKind,
        base: Url,
        authorization: &str,
        secrets: Vec<SecretString>,
        certificates: Option<&str>,
    ) -> Result<Self, String> {
        let mut headers = HeaderMap::new();
        let mut token = HeaderValue::from_str(authorization).map_err(|error| error.to_string())?;
        token.set_sensitive(true);
        headers.insert(header::AUTHORIZATION, token);
        let accept = match kind {
            ForgeKind::GitHub => "application/vnd.github+json",
            _ => "application/json",
        };
        headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
        if kind == ForgeKind::GitHub {
            headers.insert("x-github-api-version", HeaderValue::from_static("2022-11-28"));
        }
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("sluice/", env!("CARGO_PKG_VERSION")))
            .default_headers(headers)
            // Followed here, as far as the token stays with the same server.
            .redirect(redirect::Policy::none())
            .timeout(PATIENCE);
        if let Some(pem) = certificates {
            let certificates = reqwest::Certificate::from_pem_bundle(pem.as_bytes()).map_err(|e| why(&e))?;
            builder = builder.tls_certs_merge(certificates);
        }
        let http = builder.build().map_err(|error| why(&error))?;
        Ok(Self { kind, base, http, secrets: secrets.into() })
    }

    pub(crate) const fn kind(&self) -> ForgeKind {
        self.kind
    }

    /// An address below that of the API. Each part is one part of the path, whatever it holds.
    pub(crate) fn url<S: AsRef<str>>(&self, path: impl IntoIterator<Item = S>) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        url
    }

    pub(crate) async fn get(&self, operation: Operation, url: Url) -> Result<Answer, ForgeError> {
        self.call(operation, Method::GET, url, None).await
    }

    pub(crate) async fn post(
        &self,
        operation: Operation,
        url: Url,
        body: &Value,
    ) -> Result<Answer, ForgeError> {
        self.call(operation, Method::POST, url, Some(body)).await
    }

    /// Asks, and gives whatever is answered.
    pub(crate) async fn call(
        &self,
        operation: Operation,
        method: Method,
        mut url: Url,
        body: Option<&Value>,
    ) -> Result<Answer, ForgeError> {
        let mut followed = 0;
        loop {
            let mut request = self.http.request(method.clone(), url.clone());
            if let Some(body) = body {
                request = request.json(body);
            }
            let answer = request.send().await.map_err(|error| self.unavailable(why(&error)))?;
            if let Some(next) = next(&method, &url, &answer)
                && followed < REDIRECTS
            {
                url = next;
                followed += 1;
                continue;
            }
            return self.read(operation, answer).await;
        }
    }

    async fn read(&self, operation: Operation, mut answer: reqwest::Response) -> Result<Answer, ForgeError> {
        let asked = Asked { kind: self.kind, host: self.host(), operation, secrets: self.secrets.clone() };
        let (status, headers) = (answer.status(), answer.headers().clone());
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|error| self.unavailable(why(&error)))? {
            body.extend_from_slice(&chunk);
            if body.len() > MOST {
                return Err(asked.unexpected("its answer is too long"));
            }
        }
        Ok(Answer { asked, status, headers, body })
    }

    fn unavailable(&self, detail: String) -> ForgeError {
        ForgeError::Unavailable { host: self.host(), detail, retry_after: None }
    }

    fn host(&self) -> String {
        self.base.host_str().unwrap_or_default().to_owned()
    }
}

/// Where a redirect leads, if the same request can go there: to the same server, and what changes something only where
/// the method stays.
fn next(method: &Method, url: &Url, answer: &reqwest::Response) -> Option<Url> {
    match answer.status() {
        StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT => {}
        StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND if method == Method::GET => {}
        _ => return None,
    }
    let next = url.join(answer.headers().get(header::LOCATION)?.to_str().ok()?).ok()?;
    (next.origin() == url.origin()).then_some(next)
}

/// What failed, to the last cause, without the address.
fn why(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "it does not answer in time".to_owned();
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    crate::text::line(&cause.to_string(), 200)
}

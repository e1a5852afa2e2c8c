//! What a refusal means.

use std::time::Duration;

use jiff::{Timestamp, fmt::rfc2822};
use reqwest::{StatusCode, header};
use serde_json::Value;
use url::Url;

use super::Answer;
use crate::{error::ForgeError, kind::ForgeKind};

/// How long to wait where the host asks to wait and does not say how long.
const SOME_TIME: Duration = Duration::from_mins(1);
/// Longest wait that a host can ask for: limits are counted by the hour.
const LONGEST: Duration = Duration::from_hours(1);

impl Answer {
    /// Why it was not done.
    pub(crate) fn refusal(&self) -> ForgeError {
        let asked = &self.asked;
        let (host, operation) = (asked.host.clone(), asked.operation);
        let detail = match self.said() {
            said if said.is_empty() => format!("HTTP {}", self.status.as_u16()),
            said => asked.clean(&format!("HTTP {}: {said}", self.status.as_u16())),
        };
        if self.is_rate_limit(&detail) {
            return ForgeError::RateLimited { host, retry_after: self.retry_after().unwrap_or(SOME_TIME) };
        }
        match self.status {
            StatusCode::UNAUTHORIZED => ForgeError::Unauthorized { host, detail },
            _ if self.is_sign_in() => {
                ForgeError::Unauthorized { host, detail: "it answers its sign-in page".to_owned() }
            }
            // 423 is an archived repository of Gitea.
            StatusCode::FORBIDDEN | StatusCode::LOCKED => {
                let missing = operation.permission(asked.kind);
                ForgeError::Forbidden { host, operation, missing, detail }
            }
            StatusCode::NOT_FOUND | StatusCode::GONE => ForgeError::NotFound { host, operation, detail },
            StatusCode::REQUEST_TIMEOUT => {
                ForgeError::Unavailable { host, detail, retry_after: self.retry_after() }
            }
            status if status.is_server_error() => {
                ForgeError::Unavailable { host, detail, retry_after: self.retry_after() }
            }
            status if status.is_redirection() => asked.unexpected(&self.elsewhere()),
            _ => ForgeError::Unexpected { host, operation, detail },
        }
    }

    /// Whether it says this, in any case.
    pub(crate) fn says(&self, words: &str) -> bool {
        self.said().to_lowercase().contains(words)
    }

    fn is_rate_limit(&self, detail: &str) -> bool {
        self.status == StatusCode::TOO_MANY_REQUESTS
            // GitHub's other way to say it.
            || (self.asked.kind == ForgeKind::GitHub
                && self.status == StatusCode::FORBIDDEN
                && (self.number("x-ratelimit-remaining") == Some(0)
                    || self.headers.contains_key(header::RETRY_AFTER)
                    || detail.to_lowercase().contains("rate limit")))
    }

    /// Azure DevOps shows its sign-in page to a token that it does not know.
    fn is_sign_in(&self) -> bool {
        self.asked.kind == ForgeKind::AzureDevOps
            && (self.status == StatusCode::NON_AUTHORITATIVE_INFORMATION
                || (self.status.is_redirection()
                    && self.text("location").is_some_and(|to| to.contains("_signin"))))
    }

    fn elsewhere(&self) -> String {
        let to = self.text("location").and_then(|to| Url::parse(to).ok());
        match to.as_ref().and_then(Url::host_str) {
            Some(host) => format!(
                "it redirects to {host}, and the token is not sent there; give the address that the repository has now"
            ),
            None => "it redirects; give the address that the repository has now".to_owned(),
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        // The host's own clock, so that ours does not matter.
        let date = |text: &str| rfc2822::parse(text).ok().map(|at| at.timestamp());
        let now = self.text("date").and_then(date);
        let until = |at: Timestamp| Duration::try_from(at.duration_since(now?)).ok();
        let asked = if let Some(text) = self.text("retry-after") {
            let seconds = text.trim().parse().map(Duration::from_secs);
            seconds.ok().or_else(|| date(text).and_then(until))
        } else {
            let reset = self.number("x-ratelimit-reset").or_else(|| self.number("ratelimit-reset"));
            reset.and_then(|at| Timestamp::from_second(at).ok()).and_then(until)
        };
        asked.map(|wait| wait.min(LONGEST))
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    fn number(&self, name: &str) -> Option<i64> {
        self.text(name)?.trim().parse().ok()
    }

    /// What the host says, from the places where hosts say it.
    fn said(&self) -> String {
        let mut said = Vec::new();
        if let Ok(Value::Object(body)) = serde_json::from_slice(&self.body) {
            for key in ["message", "error", "error_description", "errors", "scope"] {
                words(body.get(key), &mut said);
            }
        }
        if let Some(permissions) = self.text("x-accepted-github-permissions")
            && self.status == StatusCode::FORBIDDEN
        {
            said.push(format!("it asks for {permissions}"));
        }
        said.join(", ")
    }
}

/// All texts of a value, in its order. Gitea has a link to its documentation besides, and Azure DevOps a stack of types.
fn words(value: Option<&Value>, said: &mut Vec<String>) {
    match value {
        Some(Value::String(text)) if !text.is_empty() && !said.contains(text) => said.push(text.clone()),
        Some(Value::Array(values)) => values.iter().for_each(|value| words(Some(value), said)),
        Some(Value::Object(values)) => {
            let texts = values.iter().filter(|(key, _)| !matches!(key.as_str(), "resource" | "id" | "type"));
            texts.for_each(|(_, value)| words(Some(value), said));
        }
        _ => {}
    }
}

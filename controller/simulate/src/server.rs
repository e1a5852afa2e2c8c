//! Requests to the server, as clients make them.

use std::{
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use serde_json::Value;
use url::Url;

/// Longest wait for an answer, as new Android clients wait (`device-protocol` section 1).
const PATIENCE: Duration = Duration::from_secs(20);

/// The server under load.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    http: reqwest::Client,
    updates: Url,
    stats: Url,
}

/// An answer, and how long it took.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) body: Value,
    pub(crate) took: Duration,
}

impl Server {
    pub(crate) fn new(base: &Url, connections: usize) -> Result<Self, reqwest::Error> {
        let http = reqwest::Client::builder()
            .http1_only()
            .no_proxy()
            .pool_max_idle_per_host(connections)
            .timeout(PATIENCE)
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        let at = |path: &str| {
            let mut url = base.clone();
            url.set_path(&format!("{}/{path}", base.path().trim_end_matches('/')));
            url
        };
        Ok(Self { http, updates: at("updates"), stats: at("stats") })
    }

    /// Asks for an update. Nothing when there was no answer that a client understands.
    pub(crate) async fn ask(&self, from: Ipv4Addr, body: &Value) -> Option<Answer> {
        let began = Instant::now();
        let answer = self.post(&self.updates, from, body).await.ok()?;
        if !answer.status().is_success() {
            return None;
        }
        let body = answer.json().await.ok()?;
        Some(Answer { body, took: began.elapsed() })
    }

    /// Reports events. Whether they were taken.
    pub(crate) async fn report(&self, from: Ipv4Addr, body: &Value) -> bool {
        let answer = self.post(&self.stats, from, body).await;
        answer.is_ok_and(|answer| answer.status().is_success())
    }

    /// As a proxy passes it on: a server that trusts this machine believes the address.
    async fn post(&self, url: &Url, from: Ipv4Addr, body: &Value) -> reqwest::Result<reqwest::Response> {
        self.http.post(url.clone()).header("x-forwarded-for", from.to_string()).json(body).send().await
    }

    /// Downloads. Bytes that came, or nothing when it broke.
    pub(crate) async fn download(&self, url: &str) -> Option<u64> {
        let answer = self.http.get(url).send().await.ok()?.error_for_status().ok()?;
        Some(answer.bytes().await.ok()?.len() as u64)
    }
}

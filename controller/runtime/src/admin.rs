//! Talking to the admin address of a running server.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context as _, bail};
use serde::{Serialize, de::DeserializeOwned};

use crate::args::AdminArgs;

/// Name of the token file under the data directory.
pub(crate) const TOKEN_FILE: &str = "admin-token";
/// Name of the file with the admin address under the data directory.
pub(crate) const URL_FILE: &str = "admin-url";

/// A running server's admin API.
pub(crate) struct Admin {
    url: String,
    token: String,
    http: reqwest::Client,
}

impl Admin {
    /// Finds address and token, by flag or in the data directory.
    pub(crate) fn new(args: &AdminArgs) -> anyhow::Result<Self> {
        let url = match &args.admin_url {
            Some(url) => url.clone(),
            None => read(args, URL_FILE, "--admin-url")?,
        };
        let token = match &args.token_file {
            Some(file) => {
                fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?
            }
            None => read(args, TOKEN_FILE, "--token-file")?,
        };
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(30)).build()?;
        Ok(Self { url: url.trim().trim_end_matches('/').to_owned(), token: token.trim().to_owned(), http })
    }

    /// Reads a document of the API.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        self.send(self.http.get(format!("{}{path}", self.url))).await
    }

    /// Sends a document to the API and reads the answer.
    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> anyhow::Result<T> {
        self.send(self.http.post(format!("{}{path}", self.url)).json(body)).await
    }

    async fn send<T: DeserializeOwned>(&self, request: reqwest::RequestBuilder) -> anyhow::Result<T> {
        let answer = request
            .bearer_auth(&self.token)
            .send()
            .await
            .with_context(|| format!("no server answers at {}; is `sluice serve` running?", self.url))?;
        let status = answer.status();
        let text = answer.text().await.context("the server's answer was cut off")?;
        if !status.is_success() {
            let message = serde_json::from_str::<serde_json::Value>(&text)
                .ok()
                .and_then(|v| Some(v.get("message")?.as_str()?.to_owned()))
                .unwrap_or(text);
            bail!("the server answers {status}: {message}");
        }
        serde_json::from_str(&text).context("the server's answer is not what this version expects")
    }
}

fn read(args: &AdminArgs, name: &str, flag: &str) -> anyhow::Result<String> {
    let data = args.data.as_deref().with_context(|| {
        format!("say which server: --data DIR is the data directory that it was started with, or give {flag}")
    })?;
    let path = Path::new(data).join(name);
    fs::read_to_string(&path).with_context(|| {
        format!(
            "cannot read {}; is {} the data directory of a server that was started?",
            path.display(),
            data.display()
        )
    })
}

//! Talking to the admin address of a running server: on this machine, at a URL, or in a cluster.

use std::{fmt, fs, path::Path, time::Duration};

use anyhow::Context as _;
use http::{Method, StatusCode, header};
use serde::{Serialize, de::DeserializeOwned};
use sluice_kube::tunnel::Place;

use crate::{
    args::{AdminArgs, ServerArgs},
    commands::connect,
    config,
};

/// Name of the token file under the data directory.
pub(crate) const TOKEN_FILE: &str = "admin-token";
/// Name of the file with the admin address under the data directory.
pub(crate) const URL_FILE: &str = "admin-url";

/// What was asked for is refused, or there is no such thing; the program ends with [`crate::exit::FAILED`].
#[derive(Debug)]
pub(crate) struct Refused(pub(crate) String);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refused {}

/// A running server's admin API.
pub(crate) enum Admin {
    /// At an address, with a constant token.
    Url { url: String, token: String, http: reqwest::Client },
    /// In a cluster, by port-forward.
    Cluster(Place),
}

impl Admin {
    /// Finds the way: by flag, in the data directory, or in a cluster.
    pub(crate) fn new(args: &AdminArgs) -> anyhow::Result<Self> {
        let AdminArgs { server: args, cluster } = args;
        let elsewhere = match (&args.admin_url, &args.data, &args.token_file) {
            (Some(_), _, _) => Some("--admin-url"),
            (None, Some(_), _) => Some("--data"),
            (None, None, Some(_)) => Some("--token-file"),
            (None, None, None) => None,
        };
        if let Some(place) = cluster.place(elsewhere, connect::is_plugin())? {
            return Ok(Self::Cluster(place));
        }
        let url = match &args.admin_url {
            Some(url) => config::web(url).map_err(|why| anyhow::anyhow!("--admin-url: {why}"))?.into(),
            None => read(args, URL_FILE, "--admin-url")?,
        };
        let token = match &args.token_file {
            Some(file) => {
                fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?
            }
            None => read(args, TOKEN_FILE, "--token-file")?,
        };
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(30)).build()?;
        Ok(Self::Url {
            url: url.trim().trim_end_matches('/').to_owned(),
            token: token.trim().to_owned(),
            http,
        })
    }

    /// Asks as the one who brakes, unless another account is named. Returns who the cluster knows the caller as.
    pub(crate) async fn brakes_as(&mut self, args: &AdminArgs) -> anyhow::Result<Option<String>> {
        let Self::Cluster(place) = self else { return Ok(None) };
        if args.cluster.service_account.is_none() {
            place.service_account = connect::BRAKER.into();
        }
        connect::user(place).await
    }

    /// Reads a document of the API.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        self.send(Method::GET, path, None).await
    }

    /// Sends a document to the API and reads the answer.
    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> anyhow::Result<T> {
        self.send(Method::POST, path, Some(serde_json::to_vec(body)?)).await
    }

    async fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<Vec<u8>>,
    ) -> anyhow::Result<T> {
        let (status, text) = match self {
            Self::Cluster(place) => connect::ask(place, method, path, body).await?,
            Self::Url { url, token, http } => {
                let mut request = http.request(method, format!("{url}{path}")).bearer_auth(token);
                if let Some(body) = body {
                    request = request.header(header::CONTENT_TYPE, "application/json").body(body);
                }
                ask(request, url).await?
            }
        };
        if !status.is_success() {
            let message = serde_json::from_str::<serde_json::Value>(&text)
                .ok()
                .and_then(|v| Some(v.get("message")?.as_str()?.to_owned()))
                .unwrap_or(text);
            return Err(Refused(format!("the server answers {status}: {message}")).into());
        }
        serde_json::from_str(&text).context("the server's answer is not what this version expects")
    }
}

async fn ask(request: reqwest::RequestBuilder, url: &str) -> anyhow::Result<(StatusCode, String)> {
    let answer = request
        .send()
        .await
        .with_context(|| format!("no server answers at {url}; is `sluice serve` running?"))?;
    let status = answer.status();
    Ok((status, answer.text().await.context("the server's answer was cut off")?))
}

fn read(args: &ServerArgs, name: &str, flag: &str) -> anyhow::Result<String> {
    let data = args.data.as_deref().with_context(|| {
        format!(
            "say which server: --data DIR is the data directory that it was started with, --namespace NAME where its \
             operator runs in a cluster, or give {flag}"
        )
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

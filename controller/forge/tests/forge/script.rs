//! A server that answers what a script says, and fails the test when it is asked anything else.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, Method, StatusCode, Uri},
    response::{IntoResponse as _, Response},
};
use serde_json::Value;
use sluice_forge::{Forge, ForgeKind, Settings, connect};

/// What every test sends.
pub(crate) const TOKEN: &str = "canary-token";

/// One exchange.
#[derive(Clone)]
pub(crate) struct Step {
    method: Method,
    address: String,
    body: Option<Value>,
    status: u16,
    headers: Vec<(&'static str, String)>,
    json: Option<Value>,
    text: String,
}

/// A host that is being asked.
pub(crate) struct Host {
    pub(crate) base: String,
    seen: Arc<Mutex<Seen>>,
}

struct Seen {
    script: VecDeque<Step>,
    authorization: Option<String>,
    surprises: Vec<String>,
}

impl Step {
    fn new(method: Method, address: &str) -> Self {
        let address = address.to_owned();
        Self {
            method,
            address,
            body: None,
            status: 200,
            headers: Vec::new(),
            json: None,
            text: String::new(),
        }
    }

    pub(crate) fn get(address: &str) -> Self {
        Self::new(Method::GET, address)
    }

    pub(crate) fn post(address: &str, body: Value) -> Self {
        Self { body: Some(body), ..Self::new(Method::POST, address) }
    }

    pub(crate) fn put(address: &str, body: Value) -> Self {
        Self { body: Some(body), ..Self::new(Method::PUT, address) }
    }

    pub(crate) fn patch(address: &str, body: Value) -> Self {
        Self { body: Some(body), ..Self::new(Method::PATCH, address) }
    }

    /// What is answered.
    pub(crate) fn gives(self, status: u16, json: Value) -> Self {
        Self { status, json: Some(json), ..self.with("content-type", "application/json") }
    }

    pub(crate) fn text(self, status: u16, text: &str) -> Self {
        Self { status, text: text.to_owned(), ..self }
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

impl Host {
    pub(crate) async fn with(script: impl IntoIterator<Item = Step>) -> Self {
        let script = script.into_iter().collect();
        let seen = Arc::new(Mutex::new(Seen { script, authorization: None, surprises: Vec::new() }));
        let router = Router::new().fallback(answer).with_state(seen.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { base, seen }
    }

    pub(crate) fn settings(&self, kind: ForgeKind, path: &str) -> Settings {
        Settings {
            repository: format!("{}/{path}", self.base),
            kind: Some(kind),
            base: (kind == ForgeKind::Bitbucket).then(|| format!("{}/2.0", self.base).parse().unwrap()),
            user: None,
            token: TOKEN.into(),
            certificates: None,
            insecure_http: false,
        }
    }

    /// A repository of it.
    pub(crate) fn forge(&self, kind: ForgeKind) -> Arc<dyn Forge> {
        let path = match kind {
            ForgeKind::GitLab => "group/shop/releases.git",
            ForgeKind::AzureDevOps => "org/My%20Shop/_git/releases",
            _ => "shop/releases.git",
        };
        connect(&self.settings(kind, path)).unwrap()
    }

    /// Ends the test: everything was asked, and nothing else, always with this authorization.
    pub(crate) fn end(&self, authorization: &str) {
        let seen = self.seen.lock().unwrap();
        assert!(seen.surprises.is_empty(), "{}", seen.surprises.join("\n"));
        let left: Vec<_> = seen.script.iter().map(|step| &step.address).collect();
        assert!(left.is_empty(), "never asked: {left:?}");
        assert_eq!(seen.authorization.as_deref(), Some(authorization));
    }

    /// Nobody has asked anything.
    pub(crate) fn is_untouched(&self) -> bool {
        self.seen.lock().unwrap().authorization.is_none()
    }
}

async fn answer(
    State(seen): State<Arc<Mutex<Seen>>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let mut seen = seen.lock().unwrap();
    let header = |name: &str| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    let authorization = header("authorization").unwrap_or_default();
    match &seen.authorization {
        Some(before) if *before != authorization => seen.surprises.push(format!("another {authorization}")),
        _ => seen.authorization = Some(authorization),
    }
    if !header("user-agent").is_some_and(|agent| agent.starts_with("sluice/")) {
        seen.surprises.push("no user agent".into());
    }
    let asked: Option<Value> = (!body.is_empty()).then(|| serde_json::from_slice(&body).unwrap());
    let Some(step) = seen.script.pop_front() else {
        seen.surprises.push(format!("not in the script: {method} {uri}"));
        return StatusCode::IM_A_TEAPOT.into_response();
    };
    if (step.method.clone(), step.address.as_str(), &step.body) != (method.clone(), &uri.to_string(), &asked)
    {
        let Step { method: wanted, address, body, .. } = &step;
        seen.surprises.push(format!("{method} {uri} {asked:?}\ninstead of\n{wanted} {address} {body:?}"));
    }
    let mut response = Response::builder().status(step.status);
    for (name, value) in step.headers {
        response = response.header(name, value);
    }
    response.body(step.json.map_or(step.text, |json| json.to_string()).into()).unwrap()
}

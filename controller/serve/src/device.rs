//! The device side: update checks, events, channels, downloads and webhooks. The handlers are thin: bytes to a request,
//! a pure decision, the answer to bytes.

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use axum::{
    Router,
    extract::{FromRef, Request, State},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use sluice_core::{
    decide::{self, Answer, Decision, Step},
    memory::OverrideBy,
    outcome::Event,
};
use sluice_store::fleet::{CheckIn, Enrolling, Offer, network_prefix};
use tokio::sync::Semaphore;

use crate::{
    body,
    devices::NotStored,
    download,
    hooks::{self, Hook},
    metrics::{Metrics, meaning_name},
    peer::{Origin, TrustedProxies},
    protocol::{
        Checked, Invalid, Reply, channel,
        channel::{ChannelAction, Method},
        repair, stats, update,
    },
    reply::{method_not_allowed, not_found},
    site::Site,
    views::Views,
};

mod text;

use text::ShortText;

/// Bytes of an update check or a channel call: what clients send has a tenth of this.
const MOST_REQUEST: usize = 64 * 1024;

/// Bytes of reported events: 250 of them, each with long texts.
const MOST_STATS: usize = 1024 * 1024;

/// Settings of the device side.
#[derive(Debug)]
pub struct DeviceSettings {
    /// What download URLs begin with. A trailing slash is dropped.
    pub download_url: String,
    /// Proxies whose forwarding headers count.
    pub trusted_proxies: TrustedProxies,
    /// Webhooks by the name in their path. Without an entry there is no such address.
    pub hooks: HashMap<String, Hook>,
    /// How long a request body may take.
    pub body_timeout: Duration,
    /// Downloads are redirected to presigned URLs of the bundle store, valid this long, where it has such.
    pub presign: Option<Duration>,
}

impl DeviceSettings {
    /// No proxies, no webhooks.
    pub fn new(download_url: impl Into<String>) -> Self {
        Self {
            download_url: download_url.into(),
            trusted_proxies: TrustedProxies::default(),
            hooks: HashMap::new(),
            body_timeout: Duration::from_secs(15),
            presign: None,
        }
    }
}

/// Answers devices.
pub struct DeviceServer {
    pub(crate) views: Views,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) settings: DeviceSettings,
    /// A turn for each read of a file.
    pub(crate) reads: Arc<Semaphore>,
}

impl std::fmt::Debug for DeviceServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DeviceServer").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl FromRef<Arc<DeviceServer>> for TrustedProxies {
    fn from_ref(server: &Arc<DeviceServer>) -> Self {
        server.settings.trusted_proxies.clone()
    }
}

impl DeviceServer {
    /// A server over `views`.
    pub fn new(views: Views, metrics: Arc<Metrics>, mut settings: DeviceSettings) -> Arc<Self> {
        settings.download_url.truncate(settings.download_url.trim_end_matches('/').len());
        Arc::new(Self { views, metrics, settings, reads: Arc::new(Semaphore::new(download::READS)) })
    }

    /// What the device listener serves.
    pub fn site(self: &Arc<Self>) -> Site {
        let router = Router::new()
            .route("/updates", post(updates))
            .route("/stats", post(report))
            .route("/channel_self", post(set).put(which).delete(unset).get(list))
            .route("/bundles/{file}", get(download::bundle))
            .route("/hooks/{*name}", post(hooks::receive))
            .method_not_allowed_fallback(method_not_allowed)
            .fallback(async || not_found())
            .with_state(self.clone());
        Site::device(router, self.metrics.clone())
    }

    /// Answers an update check that came `from` somewhere, and notes it.
    pub fn check(&self, body: &[u8], from: &Origin, now: i64) -> Reply {
        match update::parse(body) {
            Err(Invalid::Json) => self.answer(update::parse(&repair(body)), from, now),
            read => self.answer(read, from, now),
        }
    }

    fn answer(&self, read: Result<Checked<'_>, Invalid>, from: &Origin, now: i64) -> Reply {
        let checked = match read {
            Ok(checked) => checked,
            Err(invalid) => {
                self.metrics.invalid(invalid.code());
                return invalid.reply();
            }
        };
        let mut request = checked.request();
        (request.locale, request.country) = (from.locale(), from.country());
        let snapshot = self.views.snapshot.load();
        let memory = self.views.devices.memory(request.app_id, request.device);
        // After the snapshot: what it offers anew is met by brakes that are as new.
        let brakes = self.views.brakes.load();
        let mut decision = decide::decide(&snapshot, &brakes, memory.as_deref(), &request, now);
        if decision.paced.is_some_and(|paced| !paced.take(micros())) {
            decision = decide::decide_at_limit(&snapshot, &brakes, memory.as_deref(), &request, now);
        }
        let reply = update::render(&decision.answer, &request, &self.settings.download_url);
        self.metrics.decided(&decision.answer);
        // Only apps that are served are counted, or anybody could fill the store.
        if !request.probe && snapshot.app(request.app_id).is_some() {
            self.note(&checked, &decision, from, now);
        }
        reply
    }

    fn note(&self, checked: &Checked<'_>, decision: &Decision<'_>, from: &Origin, now: i64) {
        let request = checked.request();
        let plugin = ShortText::of(request.plugin());
        let offered = match &decision.answer {
            Answer::Update(bundle) => Some(Offer { version: &bundle.name, digest: &bundle.offer.digest }),
            _ => None,
        };
        // Who is outside the audience is not one of the channel's devices.
        let outside = decision.trace.iter().any(|step| matches!(step, Step::OutsideAudience { .. }));
        let channel = decision.trace.iter().filter(|_| !outside).find_map(|step| match step {
            Step::Channel { channel, .. } => Some(*channel),
            _ => None,
        });
        self.views.devices.check_in(&CheckIn {
            app: request.app_id,
            device: request.device,
            at: now,
            platform: request.platform(),
            plugin: plugin.as_str(),
            native: request.native_text,
            os: checked.version_os().unwrap_or_default(),
            running: request.current,
            channel,
            production: request.production,
            emulator: request.emulator,
            custom_id: checked.custom_id(),
            offered,
            trial: decision.trial.map(|trial| Enrolling {
                channel: trial.channel.name.as_str(),
                line: &trial.line.key,
                membership: trial.membership,
                candidate: &trial.candidate.name,
                started: trial.started,
                prefix: Some(network_prefix(from.address)),
            }),
        });
    }

    /// Stores events. Success is only answered when they are durable.
    async fn report(&self, body: &[u8]) -> Reply {
        let batch = match stats::parse(body) {
            Ok(batch) => batch,
            Err(invalid) => return invalid.reply(),
        };
        let items = batch.items.len();
        let (events, reply) = batch.into_events();
        let invalid = items - events.len();
        let counts = meanings(&events);
        if !events.is_empty()
            && let Err(error) = self.views.devices.record(events).await
        {
            say_unavailable(&error);
            return Reply::unavailable();
        }
        for (name, n) in counts {
            self.metrics.event(name, n);
        }
        if invalid > 0 {
            self.metrics.event("invalid", invalid as u64);
        }
        reply
    }

    /// Answers a channel call, after what it changes is durable.
    async fn channel(&self, method: Method, query: &str, body: &[u8]) -> Reply {
        let call = match channel::parse(method, query, body) {
            Ok(call) => call,
            Err(invalid) => return invalid.reply(),
        };
        let snapshot = self.views.snapshot.load_full();
        let who = call.request().map(|request| (request.app_id.to_owned(), request.device, request.probe));
        let memory = who.as_ref().and_then(|(app, device, _)| self.views.devices.memory(app, *device));
        let decision = channel::decide(&snapshot, memory.as_deref(), &call);
        let devices = &self.views.devices;
        let stored = match (decision.action, who) {
            (ChannelAction::Store(channel), Some((app, device, false))) => {
                devices.set_channel(&app, device, channel, OverrideBy::Device, None).await
            }
            (ChannelAction::Delete, Some((app, device, false))) => devices.unset_channel(&app, device).await,
            _ => Ok(()),
        };
        match stored {
            Ok(()) => channel::render(&decision.answer, &call),
            Err(error) => {
                say_unavailable(&error);
                let reply = channel::render(&channel::Answer::OverrideNotAllowed, &call);
                Reply { status: 503, ..reply }
            }
        }
    }

    async fn read(&self, request: Request, most: usize) -> Result<bytes::Bytes, Response> {
        let read = body::read(request.into_body(), most, self.settings.body_timeout).await;
        read.map_err(body::BodyError::into_response)
    }

    async fn channel_call(&self, method: Method, request: Request) -> Response {
        let (parts, body) = request.into_parts();
        match self.read(Request::new(body), MOST_REQUEST).await {
            Ok(body) => {
                self.channel(method, parts.uri.query().unwrap_or_default(), &body).await.into_response()
            }
            Err(refused) => refused,
        }
    }
}

/// Counts events by meaning.
fn meanings(events: &[Event]) -> Vec<(&'static str, u64)> {
    let mut counts: Vec<(&'static str, u64)> = Vec::new();
    for event in events {
        let name = meaning_name(event.outcome().meaning);
        match counts.iter_mut().find(|(known, _)| *known == name) {
            Some((_, n)) => *n += 1,
            None => counts.push((name, 1)),
        }
    }
    counts
}

/// At `debug` because it is per request; the store itself reports when it goes away and when it is back.
fn say_unavailable(error: &NotStored) {
    tracing::debug!(%error, "a report was answered with 503");
}

/// Microseconds since the first call, on a clock that never goes back.
pub(crate) fn micros() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    u64::try_from(START.get_or_init(Instant::now).elapsed().as_micros()).unwrap_or(u64::MAX / 2)
}

fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

type Server = State<Arc<DeviceServer>>;

async fn updates(State(server): Server, from: Origin, request: Request) -> Response {
    match server.read(request, MOST_REQUEST).await {
        Ok(body) => server.check(&body, &from, now()).into_response(),
        Err(refused) => refused,
    }
}

async fn report(State(server): Server, request: Request) -> Response {
    match server.read(request, MOST_STATS).await {
        Ok(body) => server.report(&body).await.into_response(),
        Err(refused) => refused,
    }
}

async fn set(State(server): Server, request: Request) -> Response {
    server.channel_call(Method::Post, request).await
}

async fn which(State(server): Server, request: Request) -> Response {
    server.channel_call(Method::Put, request).await
}

async fn unset(State(server): Server, request: Request) -> Response {
    server.channel_call(Method::Delete, request).await
}

async fn list(State(server): Server, request: Request) -> Response {
    server.channel_call(Method::Get, request).await
}

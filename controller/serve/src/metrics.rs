//! Counters of what was served, and the figures of the rest of the program, in the `OpenMetrics` format.
//!
//! No label has a value that a device sent: a counter's values are made when the program starts, and those of what is read
//! when it is asked for come from Git.

use std::sync::Arc;

use http::StatusCode;
use prometheus_client::{
    encoding::text::encode,
    metrics::{counter::Counter, family::Family},
    registry::{Registry, Unit},
};
use sluice_core::{
    decide::Answer,
    outcome::{FailureKind, Meaning},
};

use crate::{hooks::Verdict, views::Views};

mod figures;
mod rollouts;

pub use figures::Figure;

/// The content type of what [`Metrics::text`] returns.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What a request was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route {
    Updates,
    Stats,
    Channel,
    Bundles,
    Hooks,
    Admin,
    Other,
}

const ROUTES: [&str; 7] = ["updates", "stats", "channel_self", "bundles", "hooks", "admin", "other"];
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

impl Route {
    pub(crate) fn of(path: &str) -> Self {
        match path {
            "/updates" => Self::Updates,
            "/stats" => Self::Stats,
            "/channel_self" => Self::Channel,
            _ if path.starts_with("/bundles/") => Self::Bundles,
            _ if path.starts_with("/hooks/") => Self::Hooks,
            _ => Self::Other,
        }
    }

    pub(crate) const fn name(self) -> &'static str {
        ROUTES[self as usize]
    }
}

/// The values of `code` for update checks: what was answered.
const ANSWERS: &[&str] = &[
    "update",
    "no_new_version_available",
    "builtin",
    "no_channel",
    "disable_auto_update_to_major",
    "disable_auto_update_to_minor",
    "disable_auto_update_to_patch",
    "disable_auto_update_to_metadata",
    "disable_auto_update_under_native",
    "disabled_platform_ios",
    "disabled_platform_android",
    "disabled_platform_electron",
    "disable_prod_build",
    "disable_dev_build",
    "disable_device",
    "disable_emulator",
    "key_id_mismatch",
    "unsupported_plugin_version",
    "revert_to_builtin_plugin_version_too_old",
    "invalid_json_parse_body",
    "invalid_json_body",
    "missing_device_id",
    "missing_app_id",
    "semver_error",
    "other",
];

const MEANINGS: &[&str] = &[
    "trial_started",
    "success",
    "failure_start",
    "failure_activation",
    "failure_delivery",
    "configuration_failure",
    "weak",
    "resource",
    "alive",
    "health",
    "neutral",
    "invalid",
];

/// How webhooks ended.
const HOOKS: &[&str] = &["accepted", "ignored", "refused"];

/// A counter for each value of one label. Adding takes no lock.
#[derive(Debug)]
struct Tally {
    names: &'static [&'static str],
    counters: Vec<Counter>,
}

impl Tally {
    fn new(
        registry: &mut Registry,
        name: &str,
        help: &str,
        label: &'static str,
        names: &'static [&'static str],
    ) -> Self {
        let family = Family::<[(&'static str, &'static str); 1], Counter>::default();
        registry.register(name, help, family.clone());
        let counters = names.iter().map(|name| family.get_or_create(&[(label, *name)]).clone()).collect();
        Self { names, counters }
    }

    /// Names that are not in the list count as the last one.
    fn add(&self, name: &str, n: u64) {
        let place = self.names.iter().position(|known| *known == name).unwrap_or(self.names.len() - 1);
        self.counters[place].inc_by(n);
    }
}

/// Everything that is counted.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: Vec<[Counter; CLASSES.len()]>,
    answers: Tally,
    events: Tally,
    hooks: Tally,
    pub(crate) panics: Counter,
    pub(crate) download_bytes: Counter,
}

impl Metrics {
    /// New counters. Figures of other parts are read from `views`.
    pub fn new(views: &Views) -> Arc<Self> {
        let mut registry = Registry::with_prefix("sluice");
        let family = Family::<[(&'static str, &'static str); 2], Counter>::default();
        registry.register(
            "http_requests",
            "Requests answered, by route and class of the status",
            family.clone(),
        );
        let requests = ROUTES
            .iter()
            .map(|route| {
                CLASSES.map(|class| family.get_or_create(&[("route", *route), ("class", class)]).clone())
            })
            .collect();
        let answers =
            Tally::new(&mut registry, "answers", "Update checks, by what was answered", "code", ANSWERS);
        let events = Tally::new(
            &mut registry,
            "events",
            "Reported events that were stored, by meaning",
            "meaning",
            MEANINGS,
        );
        let hooks = Tally::new(&mut registry, "hooks", "Webhooks, by result", "result", HOOKS);
        let panics = Counter::default();
        registry.register("panics", "Requests whose answering panicked", panics.clone());
        let download_bytes = Counter::default();
        let help = "Bytes of bundles handed to connections";
        registry.register_with_unit("download", help, Unit::Bytes, download_bytes.clone());
        registry.register_collector(Box::new(figures::Figures::new(views.clone())));
        Arc::new(Self { registry, requests, answers, events, hooks, panics, download_bytes })
    }

    /// Everything as text.
    pub fn text(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::with_capacity(16 * 1024);
        encode(&mut text, &self.registry)?;
        Ok(text)
    }

    pub(crate) fn answered(&self, route: Route, status: StatusCode) {
        let class = usize::from(status.as_u16() / 100).clamp(1, CLASSES.len());
        self.requests[route as usize][class - 1].inc();
    }

    pub(crate) fn decided(&self, answer: &Answer<'_>) {
        self.answers.add(answer_name(answer), 1);
    }

    /// Counts an update check that could not be read.
    pub(crate) fn invalid(&self, code: &str) {
        self.answers.add(code, 1);
    }

    pub(crate) fn event(&self, name: &str, n: u64) {
        self.events.add(name, n);
    }

    pub(crate) fn hook(&self, verdict: Verdict) {
        let name = match verdict {
            Verdict::Look => "accepted",
            Verdict::Ignored => "ignored",
            Verdict::Refused => "refused",
        };
        self.hooks.add(name, 1);
    }
}

/// The name of an answer, in metrics and in explanations.
pub(crate) fn answer_name(answer: &Answer<'_>) -> &'static str {
    match answer {
        Answer::Update(_) => "update",
        Answer::Builtin => "builtin",
        Answer::NothingNew => "no_new_version_available",
        Answer::Refused(refusal) => refusal.code.name(),
    }
}

/// The name of a meaning.
pub(crate) const fn meaning_name(meaning: Meaning) -> &'static str {
    match meaning {
        Meaning::TrialStarted => "trial_started",
        Meaning::Success => "success",
        Meaning::Failure(FailureKind::Start) => "failure_start",
        Meaning::Failure(FailureKind::Activation) => "failure_activation",
        Meaning::Failure(FailureKind::Delivery) => "failure_delivery",
        Meaning::ConfigurationFailure => "configuration_failure",
        Meaning::Weak => "weak",
        Meaning::Resource => "resource",
        Meaning::Alive => "alive",
        Meaning::Health => "health",
        Meaning::Neutral => "neutral",
    }
}

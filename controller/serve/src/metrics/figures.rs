//! Figures that other parts of the program keep, read at the moment of a scrape.

use std::fmt;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric as _},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
};
use sluice_core::{diagnostic::Severity, status};
use sluice_store::control::Freshness;

use super::rollouts;
use crate::views::Views;

/// A figure of another part of the program, without labels.
#[derive(Debug, Clone, Copy)]
pub struct Figure {
    name: &'static str,
    help: &'static str,
    value: Value,
}

#[derive(Debug, Clone, Copy)]
enum Value {
    Gauge(f64),
    Counter(u64),
}

impl Figure {
    /// Something that goes up and down.
    pub fn gauge(name: &'static str, help: &'static str, value: u64) -> Self {
        Self::reading(name, help, value as f64)
    }

    /// The same for what has fractions, or can be below zero.
    pub fn reading(name: &'static str, help: &'static str, value: f64) -> Self {
        Self { name, help, value: Value::Gauge(value) }
    }

    /// Something that only goes up while the program runs.
    pub fn counter(name: &'static str, help: &'static str, value: u64) -> Self {
        Self { name, help, value: Value::Counter(value) }
    }
}

/// Reads the views.
#[derive(Debug)]
pub(super) struct Figures(Views);

impl Figures {
    pub(super) fn new(views: Views) -> Self {
        Self(views)
    }
}

/// Writes figures of the moment.
pub(super) struct Writer<'e>(DescriptorEncoder<'e>);

impl Writer<'_> {
    fn gauge(&mut self, name: &str, help: &str, value: f64) -> fmt::Result {
        let gauge = ConstGauge::new(value);
        let metric =
            self.0.encode_descriptor(name, help, None, prometheus_client::metrics::MetricType::Gauge)?;
        gauge.encode(metric)
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let metric =
            self.0.encode_descriptor(name, help, None, prometheus_client::metrics::MetricType::Counter)?;
        ConstCounter::new(value).encode(metric)
    }

    /// A gauge for each set of labels.
    pub(super) fn gauges<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (L, f64)>,
    ) -> fmt::Result {
        let mut metric =
            self.0.encode_descriptor(name, help, None, prometheus_client::metrics::MetricType::Gauge)?;
        for (labels, figure) in values {
            ConstGauge::new(figure).encode(metric.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

impl Collector for Figures {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let out = &mut Writer(encoder);
        let Views { snapshot, brakes, status, devices, freshness, background, .. } = &self.0;
        let snapshot = snapshot.load();
        out.gauge(
            "snapshot_generation",
            "Generation of the snapshot that is served",
            snapshot.root.generation as f64,
        )?;
        out.gauge(
            "snapshot_published_timestamp_seconds",
            "When the snapshot that is served was published",
            snapshot.root.generation as f64 / 1000.0,
        )?;
        out.gauge("snapshot_apps", "Apps in the snapshot", snapshot.root.apps.len() as f64)?;
        drop(snapshot);
        let brakes = brakes.load();
        out.gauge(
            "brakes",
            "Brakes that were written, also those that Git lifted",
            brakes.iter().count() as f64,
        )?;
        let help = "Entries of the index of brakes that only a later release understands";
        out.gauge("brakes_unread", help, brakes.unread() as f64)?;
        drop(brakes);
        if let Some(freshness) = freshness {
            freshness_figures(out, freshness)?;
        }
        status_figures(out, &status.load())?;
        for Figure { name, help, value } in
            devices.figures().into_iter().chain(background.iter().flat_map(|b| b.figures()))
        {
            match value {
                Value::Gauge(value) => out.gauge(name, help, value)?,
                Value::Counter(value) => out.counter(name, help, value)?,
            }
        }
        Ok(())
    }
}

fn freshness_figures(out: &mut Writer<'_>, freshness: &Freshness) -> fmt::Result {
    let up = f64::from(u8::from(freshness.is_store_up()));
    out.gauge("store_up", "Whether the bundle store answered when it was last asked", up)?;
    let Some(confirmed) = freshness.confirmed() else { return Ok(()) };
    let help = "When the bundle store last confirmed that what is served is what is published";
    out.gauge("snapshot_checked_timestamp_seconds", help, confirmed.as_millisecond() as f64 / 1000.0)
}

fn status_figures(out: &mut Writer<'_>, status: &status::Status) -> fmt::Result {
    let contacts = status
        .repositories
        .iter()
        .filter_map(|r| Some((of_repository(&r.name), r.last_contact?.as_millisecond() as f64 / 1000.0)));
    let help = "When the repository last answered";
    out.gauges("git_last_contact_timestamp_seconds", help, contacts)?;
    let ready = |ready: bool| if ready { 1.0 } else { 0.0 };
    let repositories =
        status.repositories.iter().map(|r| (of_repository(&r.name), ready(status::is_ready(&r.conditions))));
    out.gauges("repository_ready", "Whether the repository is served as it asks", repositories)?;
    let severity =
        |wanted: Severity| status.diagnostics.iter().filter(|d| d.severity == wanted).count() as f64;
    let problems = [("error", Severity::Error), ("warning", Severity::Warning)];
    let problems = problems.map(|(name, wanted)| ([("severity", name)], severity(wanted)));
    out.gauges("diagnostics", "Problems of the observed commit", problems)?;
    let (releases, channels) = (&status.releases, &status.channels);
    let split = |ready: usize, all: usize| {
        [([("state", "ready")], ready as f64), ([("state", "not_ready")], (all - ready) as f64)]
    };
    let ready = releases.iter().filter(|r| r.is_ready()).count();
    out.gauges("releases", "Releases", split(ready, releases.len()))?;
    let ready = channels.iter().filter(|c| c.is_ready()).count();
    out.gauges("channels", "Channels", split(ready, channels.len()))?;
    rollouts::write(out, status)
}

/// Labels of a repository, which is called `namespace/name`; in embedded mode there is no namespace.
fn of_repository(name: &str) -> [(&'static str, &str); 2] {
    let (namespace, repository) = name.split_once('/').unwrap_or(("", name));
    [("namespace", namespace), ("repository", repository)]
}

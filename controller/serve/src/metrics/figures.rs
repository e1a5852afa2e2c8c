//! Figures that other parts of the program keep, read at the moment of a scrape.

use std::fmt;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
};
use sluice_core::{diagnostic::Severity, status};
use sluice_store::fleet;

use crate::views::Views;

/// Reads the views.
#[derive(Debug)]
pub(super) struct Figures(Views);

impl Figures {
    pub(super) fn new(views: Views) -> Self {
        Self(views)
    }
}

struct Writer<'e>(DescriptorEncoder<'e>);

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

    /// A gauge with one label.
    fn gauges<'v>(
        &mut self,
        name: &str,
        help: &str,
        label: &'static str,
        values: impl Iterator<Item = (&'v str, f64)>,
    ) -> fmt::Result {
        let mut metric =
            self.0.encode_descriptor(name, help, None, prometheus_client::metrics::MetricType::Gauge)?;
        for (value, figure) in values {
            ConstGauge::new(figure).encode(metric.encode_family(&[(label, value)])?)?;
        }
        Ok(())
    }
}

impl Collector for Figures {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let out = &mut Writer(encoder);
        let Views { snapshot, status, fleet, .. } = &self.0;
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
        status_figures(out, &status.load())?;
        fleet_figures(out, &fleet.figures())
    }
}

fn status_figures(out: &mut Writer<'_>, status: &status::Status) -> fmt::Result {
    let contacts = status
        .repositories
        .iter()
        .filter_map(|r| Some((r.name.as_str(), r.last_contact?.as_millisecond() as f64 / 1000.0)));
    let help = "When the repository last answered";
    out.gauges("repository_last_contact_timestamp_seconds", help, "repository", contacts)?;
    let ready = |ready: bool| if ready { 1.0 } else { 0.0 };
    let repositories =
        status.repositories.iter().map(|r| (r.name.as_str(), ready(status::is_ready(&r.conditions))));
    out.gauges(
        "repository_ready",
        "Whether the repository is served as it asks",
        "repository",
        repositories,
    )?;
    let severity =
        |wanted: Severity| status.diagnostics.iter().filter(|d| d.severity == wanted).count() as f64;
    let problems = [("error", severity(Severity::Error)), ("warning", severity(Severity::Warning))];
    out.gauges("diagnostics", "Problems of the observed commit", "severity", problems.into_iter())?;
    let (releases, channels) = (&status.releases, &status.channels);
    let ready = releases.iter().filter(|r| r.is_ready()).count();
    let split = [("ready", ready as f64), ("not_ready", (releases.len() - ready) as f64)];
    out.gauges("releases", "Releases", "state", split.into_iter())?;
    let ready = channels.iter().filter(|c| c.is_ready()).count();
    let split = [("ready", ready as f64), ("not_ready", (channels.len() - ready) as f64)];
    out.gauges("channels", "Channels", "state", split.into_iter())
}

fn fleet_figures(out: &mut Writer<'_>, figures: &fleet::Figures) -> fmt::Result {
    let f = figures;
    out.gauge(
        "fleet_writable",
        "Whether the newest commit succeeded",
        f64::from(u8::from(f.last_error.is_none())),
    )?;
    out.gauge("fleet_queued_events", "Events that wait for a commit", f.queued_events as f64)?;
    out.gauge("fleet_queued_check_ins", "Check-ins that wait for a commit", f.queued_check_ins as f64)?;
    out.gauge("fleet_remembered_devices", "Devices with a memory entry", f.remembered_devices as f64)?;
    out.gauge("fleet_cached_devices", "Devices whose state is held in memory", f.cached_devices as f64)?;
    out.counter("fleet_check_ins_written", "Check-ins that were written", f.written_check_ins)?;
    out.counter("fleet_check_ins_dropped", "Check-ins that were given up", f.dropped_check_ins)?;
    out.counter("fleet_events_new", "Events that were new", f.events_new)?;
    out.counter("fleet_events_duplicate", "Events that had been reported before", f.events_duplicate)?;
    out.counter(
        "fleet_events_refused",
        "Events that were refused because too many waited",
        f.events_refused,
    )?;
    out.counter("fleet_commits", "Successful commits", f.commits)?;
    out.counter("fleet_commits_failed", "Failed commits", f.failed_commits)?;
    out.counter("fleet_rows_removed", "Rows removed because they were old", f.removed_rows)
}

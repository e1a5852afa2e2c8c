//! How a simulation stands, while it goes on: bars on a terminal, a line now and then elsewhere.

use std::{
    collections::BTreeMap,
    io::{self, Write as _},
    time::Duration,
};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use sluice_simulate::{Live, Said, Sample, Settings, count};

/// Seconds between two plain lines.
const LINE: f64 = 10.0;

/// What is shown.
pub(crate) struct View {
    all: Option<MultiProgress>,
    head: ProgressBar,
    bars: BTreeMap<String, ProgressBar>,
    phones: u64,
    time: Duration,
    before: Sample,
    said: f64,
}

impl View {
    pub(crate) fn new(settings: &Settings, terminal: bool) -> Self {
        let all = terminal.then(MultiProgress::new);
        let head = ProgressBar::no_length();
        let head = match &all {
            Some(all) => {
                let head = all.add(head);
                head.set_style(style("{msg}"));
                head
            }
            None => head,
        };
        Self {
            all,
            head,
            bars: BTreeMap::new(),
            phones: u64::from(settings.phones),
            time: settings.time,
            before: Sample::default(),
            said: -LINE,
        }
    }
}

impl Live for View {
    fn sample(&mut self, sample: &Sample) {
        let (now, before) = (&sample.totals, &self.before.totals);
        let time = (sample.at - self.before.at).max(0.001);
        let rate = |now: u64, before: u64| now.saturating_sub(before) as f64 / time;
        let late = if now.behind > 60.0 { ", too slow for this speed" } else { "" };
        let line = format!(
            "{:.0} of {:.0} s: {:.0} checks and {:.0} reports a second, {} unanswered{late}",
            sample.at,
            self.time.as_secs_f64(),
            rate(now.checks, before.checks),
            rate(now.reports, before.reports),
            now.unanswered
        );
        let line = match &sample.said {
            Some(Said { wanted, share, phase, .. }) => {
                format!("{line}; {wanted} for {:.1} %: {phase}", share * 100.0)
            }
            None => line,
        };
        if let Some(all) = &self.all {
            self.head.set_message(line);
            for version in now.versions() {
                let failed = count(&now.launch_failed, version);
                let bar = self.bars.entry(version.to_owned()).or_insert_with(|| {
                    let bar = all.add(ProgressBar::new(self.phones));
                    bar.set_style(style("  {prefix:<14} {wide_bar} {pos:>8} {msg}"));
                    bar.set_prefix(version.to_owned());
                    bar
                });
                bar.set_position(count(&now.running, version));
                bar.set_message(if failed > 0 { format!("{failed} launches failed") } else { String::new() });
            }
        } else if sample.at - self.said >= LINE {
            self.said = sample.at;
            let running = now.versions().into_iter().map(|v| format!("{v} {}", count(&now.running, v)));
            // Standard error may be closed; there is nobody left to tell.
            let _ = writeln!(io::stderr(), "{line}; {}", running.collect::<Vec<_>>().join(", "));
        }
        self.before = sample.clone();
    }
}

fn style(template: &str) -> ProgressStyle {
    // The templates are constants.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

//! What a simulation was and what happened, for machines and for people.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::{
    plots::{self, Line},
    settings::Settings,
    tally::{Said, Sample, Totals, count},
};

/// A simulation that has ended.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// What it was made of.
    pub settings: Settings,
    /// Second by second.
    pub samples: Vec<Sample>,
}

/// The report as one page that needs nothing else.
pub fn html(report: &Report) -> Result<String, String> {
    let last = report.samples.last().cloned().unwrap_or_default();
    let Totals { checks, unanswered, reports, lost, forged, .. } = last.totals;
    let versions: Vec<String> = last.totals.versions().into_iter().map(str::to_owned).collect();
    let each = |of: fn(&Totals, &str) -> u64| -> Vec<Line> {
        let line = |version: &String| Line {
            name: version.clone(),
            points: report.samples.iter().map(|s| (s.at, of(&s.totals, version) as f64)).collect(),
        };
        versions.iter().map(line).collect()
    };
    let rate = |of: fn(&Totals) -> u64, name: &str| Line {
        name: name.to_owned(),
        points: report
            .samples
            .windows(2)
            .map(|two| {
                let count = of(&two[1].totals).saturating_sub(of(&two[0].totals));
                (two[1].at, count as f64 / (two[1].at - two[0].at).max(0.001))
            })
            .collect(),
    };
    let shares = shares(report);
    let mut plots = vec![
        plots::lines("Phones that run each bundle", "phones", &each(|t, v| count(&t.running, v)))?,
        plots::lines("Offers of each bundle", "offers", &each(|t, v| count(&t.offered, v)))?,
        plots::lines("Launches that failed", "phones", &each(|t, v| count(&t.launch_failed, v)))?,
        plots::lines("Sessions that crashed", "sessions", &each(|t, v| count(&t.crashed, v)))?,
        plots::lines(
            "Requests",
            "per second",
            &[rate(|t| t.checks, "checks"), rate(|t| t.reports, "reports")],
        )?,
    ];
    if !shares.is_empty() {
        plots.insert(
            0,
            plots::lines("Who is offered the new bundle, says the server", "% of devices", &shares)?,
        );
    }
    let mut page = String::from(HEAD);
    let Settings { server, app, phones, seed, speed, .. } = &report.settings;
    let text = format!(
        "{phones} phones of {app} against {server} for {:.0} s at {speed} times real time, seed {seed}: {checks} checks \
         answered, {unanswered} not; {reports} reports taken, {lost} lost; {forged} forged.",
        last.at
    );
    let _ = write!(page, "<p>{}</p>", escape(&text));
    page.push_str("<table><tr><th>bundle</th><th>run by</th><th>offers</th><th>launches failed</th><th>installations failed</th><th>crashes</th></tr>");
    for version in &versions {
        let t = &last.totals;
        let _ = write!(
            page,
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            escape(version),
            count(&t.running, version),
            count(&t.offered, version),
            count(&t.launch_failed, version),
            count(&t.install_failed, version),
            count(&t.crashed, version)
        );
    }
    page.push_str("</table>");
    page.push_str(&steps(report));
    for plot in plots {
        let _ = write!(page, "<figure>{plot}</figure>");
    }
    page.push_str("</body></html>\n");
    Ok(page)
}

/// The share of the devices that are offered each version that Git asked for, in percent.
fn shares(report: &Report) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    for Sample { at, said, .. } in &report.samples {
        let Some(Said { wanted, share, .. }) = said else { continue };
        let point = (*at, share * 100.0);
        match lines.iter_mut().find(|line| line.name == *wanted) {
            Some(line) => line.points.push(point),
            None => lines.push(Line { name: wanted.clone(), points: vec![point] }),
        }
    }
    lines
}

/// Each change of the rollout, in the words of the server.
fn steps(report: &Report) -> String {
    let mut rows = String::new();
    let mut before: Option<(&str, f64, &str)> = None;
    for Sample { at, said, .. } in &report.samples {
        let Some(Said { wanted, share, phase, message }) = said else { continue };
        let now = Some((wanted.as_str(), *share, phase.as_str()));
        if now != before {
            before = now;
            let _ = write!(
                rows,
                "<tr><td>{at:.0} s</td><td>{}</td><td>{:.1} %</td><td>{}</td><td class=\"said\">{}</td></tr>",
                escape(wanted),
                share * 100.0,
                escape(phase),
                escape(message)
            );
        }
    }
    if rows.is_empty() {
        return rows;
    }
    format!(
        "<h2>What the server did</h2><table><tr><th>at</th><th>bundle</th><th>offered to</th><th>state</th>\
         <th class=\"said\">in its words</th></tr>{rows}</table>"
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

const HEAD: &str = "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>Simulation</title><style>\
    body{font:15px system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem;color:#1d2733}\
    table{border-collapse:collapse}td,th{padding:.2rem .8rem;text-align:right;border-bottom:1px solid #d8dee6}\
    td:first-child,th:first-child,.said{text-align:left}figure{margin:2rem 0}svg{width:100%;height:auto}\
    </style></head><body><h1>Simulation</h1>";

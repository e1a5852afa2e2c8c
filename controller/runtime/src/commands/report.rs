//! `sluice report`: how releases of an app reach their devices and do on them.

use anyhow::ensure;
use clap::Args;
use jiff::{Timestamp, civil::Date};
use serde_json::Value;

use crate::{
    admin::Admin,
    args::{AdminArgs, StatusOutput},
    commands::{block_on, print},
    exit,
};

/// The arguments of `sluice report`.
#[derive(Debug, Args)]
pub(crate) struct ReportArgs {
    #[command(flatten)]
    admin: AdminArgs,
    /// App id
    #[arg(long, value_name = "ID")]
    app: String,
    /// Only devices that this channel answered last
    #[arg(long, value_name = "NAME")]
    channel: Option<String>,
    /// Only devices of this platform
    #[arg(long, value_name = "NAME", value_parser = ["ios", "android", "electron"])]
    platform: Option<String>,
    /// The first day: a date or a time [default: 30 days ago]
    #[arg(long, value_name = "DATE")]
    since: Option<String>,
    /// How it is printed
    #[arg(long, value_enum, default_value_t = StatusOutput::Text)]
    output: StatusOutput,
}

/// Prints the report.
pub(crate) fn run(args: &ReportArgs) -> anyhow::Result<u8> {
    if let Some(since) = &args.since {
        let is_one = since.parse::<Timestamp>().is_ok() || since.parse::<Date>().is_ok();
        ensure!(
            is_one,
            "--since: `{since}` is neither a date such as 2026-11-01 nor a time such as 2026-11-01T09:00:00Z"
        );
    }
    let admin = Admin::new(&args.admin)?;
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.append_pair("app", &args.app);
    for (name, value) in [("channel", &args.channel), ("platform", &args.platform), ("since", &args.since)] {
        if let Some(value) = value {
            query.append_pair(name, value);
        }
    }
    let report: Value = block_on(admin.get(&format!("/api/v1/report?{}", query.finish())))?;
    print(&match args.output {
        StatusOutput::Json => format!("{report:#}\n"),
        StatusOutput::Text => text(&report),
    })?;
    Ok(exit::OK)
}

/// The names of standings as they are told, in the order of an update.
const STANDINGS: [(&str, &str); 10] = [
    ("notOffered", "not offered"),
    ("offered", "offered"),
    ("downloaded", "downloaded"),
    ("installed", "installed"),
    ("running", "running"),
    ("unhealthy", "unhealthy"),
    ("deliveryFailed", "delivery failed"),
    ("installationFailed", "installation failed"),
    ("incompatible", "incompatible"),
    ("rolledBack", "rolled back"),
];

fn text(report: &Value) -> String {
    let channel = report["channel"].as_str().map_or("every channel".to_owned(), |c| format!("channel {c}"));
    let platform = report["platform"].as_str().map(|of| format!(", {of} only")).unwrap_or_default();
    let mut out = format!(
        "{} on {channel}{platform} since {}: {} devices, {} of them today\n{}\n",
        report["app"].as_str().unwrap_or("-"),
        report["since"].as_str().unwrap_or("-"),
        report["active"],
        report["activeToday"],
        standings(&report["standing"]),
    );
    let releases = list(&report["releases"]);
    if !releases.is_empty() {
        out.push('\n');
        let head = [
            "RELEASE",
            "RUNNING",
            "TODAY",
            "MONTH",
            "OFFERED",
            "DELIVERED",
            "STARTED",
            "SUCCESS",
            "DELIVERY",
            "INSTALL",
            "COMPAT",
            "HEALTH",
            "BACK",
            "SENT",
        ];
        let rows = releases.iter().map(|release| {
            let number = |field: &str| release[field].as_u64().unwrap_or(0).to_string();
            let failed = |kind: &str| release["failures"][kind].as_u64().unwrap_or(0).to_string();
            vec![
                release["version"].as_str().unwrap_or("-").to_owned(),
                number("running"),
                number("dailyActive"),
                number("monthlyActive"),
                number("offered"),
                percent(&release["deliveryRate"]),
                number("started"),
                percent(&release["successRate"]),
                failed("delivery"),
                failed("installation"),
                failed("compatibility"),
                failed("health"),
                number("rolledBack"),
                bytes(&release["bytes"]),
            ]
        });
        let head = head.iter().map(|title| (*title).to_owned()).collect();
        out.push_str(&table(&std::iter::once(head).chain(rows).collect::<Vec<_>>()));
        for release in releases {
            let line = standings(&release["standing"]);
            out.push_str(&format!("\n{}: {line}\n", release["version"].as_str().unwrap_or("-")));
            for of in list(&release["coverage"]) {
                let times: Vec<String> = of["secondsToPercent"]
                    .as_object()
                    .into_iter()
                    .flatten()
                    .map(|(percent, seconds)| format!("{percent} % after {}", length(seconds)))
                    .collect();
                if !times.is_empty() {
                    out.push_str(&format!(
                        "  on {}: {}\n",
                        of["channel"].as_str().unwrap_or("-"),
                        times.join(", ")
                    ));
                }
            }
        }
    }
    let coverage = list(&report["coverage"]).iter().filter(|of| of["releases"].as_u64().unwrap_or(0) > 0);
    let coverage: Vec<String> = coverage
        .map(|of| {
            format!(
                "  {} % of active devices: half of {} releases within {}, nine of ten within {}\n",
                of["percent"],
                of["releases"],
                length(&of["p50"]),
                length(&of["p90"])
            )
        })
        .collect();
    if !coverage.is_empty() {
        out.push_str(&format!("\nTime to coverage:\n{}", coverage.concat()));
    }
    out
}

/// What is not zero, in the order of an update.
fn standings(of: &Value) -> String {
    let parts: Vec<String> = STANDINGS
        .into_iter()
        .filter_map(|(field, words)| of[field].as_u64().filter(|n| *n > 0).map(|n| format!("{n} {words}")))
        .collect();
    if parts.is_empty() { "nobody".to_owned() } else { parts.join(", ") }
}

fn percent(rate: &Value) -> String {
    rate.as_f64().map_or("-".to_owned(), |rate| format!("{:.1}%", rate * 100.0))
}

fn bytes(of: &Value) -> String {
    let Some(mut left) = of.as_f64() else { return "-".to_owned() };
    let units = ["B", "kB", "MB", "GB", "TB"];
    let mut unit = 0;
    while left >= 1000.0 && unit + 1 < units.len() {
        (left, unit) = (left / 1000.0, unit + 1);
    }
    if unit == 0 { format!("{left} B") } else { format!("{left:.1} {}", units[unit]) }
}

fn length(seconds: &Value) -> String {
    let Some(seconds) = seconds.as_i64() else { return "-".to_owned() };
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// Columns as wide as they must be; numbers stand to the right.
fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut out = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, width))| {
            if column == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        });
        out.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        out.push('\n');
    }
    out
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[][..], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_report_is_a_table_and_a_line_for_each_release() {
        let report = json!({
            "app": "com.example.shop", "channel": null, "since": "2026-11-01", "active": 10, "activeToday": 4,
            "standing": { "notOffered": 1, "running": 9, "offered": 0 },
            "releases": [{
                "version": "1.1.0", "running": 9, "dailyActive": 3, "monthlyActive": 9, "offered": 9,
                "deliveryRate": 1.0, "started": 9, "successRate": null, "rolledBack": 0, "bytes": 2_345_678,
                "failures": { "delivery": 1, "installation": 0, "compatibility": 0, "health": 0 },
                "standing": { "running": 9 },
                "coverage": [{ "channel": "production", "secondsToPercent": { "50": 60, "90": 7300 } }],
            }],
            "coverage": [{ "percent": 50, "releases": 1, "p50": 60, "p90": 60 }, { "percent": 90, "releases": 0 }],
        });
        let text = text(&report);
        for line in [
            "com.example.shop on every channel since 2026-11-01: 10 devices, 4 of them today",
            "1 not offered, 9 running",
            "  on production: 50 % after 60 s, 90 % after 2 h",
            "  50 % of active devices: half of 1 releases within 60 s, nine of ten within 60 s",
        ] {
            assert!(text.lines().any(|found| found == line), "`{line}` is not in\n{text}");
        }
        assert!(text.contains("2.3 MB"), "{text}");
        assert!(text.contains("100.0%") && !text.contains("90 % of active"), "{text}");
    }
}

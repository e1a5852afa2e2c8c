//! `sluice simulate`: a fleet of phones against a running server.

use std::{collections::BTreeMap, fs, io::IsTerminal as _};

use anyhow::Context as _;
use sluice_simulate::{Report, Settings, Totals, count};

use crate::{commands::print, config, exit, process};

mod args;
mod follow;
mod view;

pub(crate) use args::SimulateArgs;

/// Runs the fleet and writes the reports.
pub(crate) fn run(args: &SimulateArgs) -> anyhow::Result<u8> {
    let settings = settings(args)?;
    settings.check()?;
    let live = view::View::new(&settings, std::io::stderr().is_terminal());
    let follow = follow::Follow::new(args)?;
    let report = process::until_stopped(async |stop| {
        follow.check().await?;
        let said = follow.start();
        Ok(sluice_simulate::run(settings, live, said, stop).await?)
    })?;
    if let Some(file) = &args.json {
        let text = serde_json::to_string_pretty(&report)?;
        fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))?;
    }
    if let Some(file) = &args.html {
        let page = sluice_simulate::html(&report).map_err(anyhow::Error::msg)?;
        fs::write(file, page).with_context(|| format!("cannot write {}", file.display()))?;
    }
    print(&summary(&report))?;
    // A server that never answered, or has nothing for these phones, was not tested.
    let Totals { checks, without_channel, .. } = totals(&report);
    Ok(if checks == without_channel { exit::FAILED } else { exit::OK })
}

fn settings(args: &SimulateArgs) -> anyhow::Result<Settings> {
    let bundles = args.bundle.iter().map(|text| sluice_simulate::behaviour(text));
    let bundles = bundles.collect::<Result<BTreeMap<_, _>, _>>()?;
    let incidents = args.incident.iter().map(|text| sluice_simulate::incident(text));
    let time = |flag: &str, text: &str| config::time(text).map_err(|why| anyhow::anyhow!("--{flag}: {why}"));
    Ok(Settings {
        server: config::web(&args.server).map_err(|why| anyhow::anyhow!("--server: {why}"))?,
        app: args.app.parse()?,
        channel: args.channel.as_deref().map(str::parse).transpose()?,
        phones: args.phones,
        seed: args.seed,
        speed: args.speed,
        time: time("for", &args.time)?,
        warm_up: time("warm-up", &args.warm_up)?,
        connections: args.connections,
        native: args.native.clone(),
        bundles,
        incidents: incidents.collect::<Result<_, _>>()?,
        forgers: args.forgers,
        downloads: args.downloads.clamp(0.0, 1.0),
    })
}

/// What had happened when it ended.
fn totals(report: &Report) -> Totals {
    report.samples.last().map(|last| last.totals.clone()).unwrap_or_default()
}

fn summary(report: &Report) -> String {
    let totals = totals(report);
    let Settings { app, channel, bundles, .. } = &report.settings;
    let mut text = format!(
        "{} checks answered, {} not; {} reports taken, {} lost; slowest answer {:.0} ms\n",
        totals.checks, totals.unanswered, totals.reports, totals.lost, totals.slowest
    );
    for version in totals.versions() {
        let of = |counts| count(counts, version);
        text.push_str(&format!(
            "{version}: run by {}, offered {} times, {} launches failed, {} installations failed, {} crashes\n",
            of(&totals.running),
            of(&totals.offered),
            of(&totals.launch_failed),
            of(&totals.install_failed),
            of(&totals.crashed),
        ));
    }
    if totals.checks > 0 && totals.checks == totals.without_channel {
        let channel = match channel {
            Some(channel) => format!("no channel `{channel}` that devices may choose"),
            None => "no public channel".to_owned(),
        };
        text.push_str(&format!(
            "Every check was answered `no_channel`: the server has no app `{app}`, or {channel} of it.\n"
        ));
    }
    let never = bundles.keys().filter(|version| count(&totals.offered, version) == 0);
    text.extend(never.map(|version| format!("{version} was never offered, so what it does was not seen.\n")));
    text
}

//! `sluice simulate`: a fleet of phones against a running server.

use std::{collections::BTreeMap, fs, io::IsTerminal as _};

use anyhow::Context as _;
use sluice_simulate::{Sample, Settings, count};

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
    let last = report.samples.last().cloned().unwrap_or_default();
    print(&summary(&last))?;
    // A server that never answered was not tested.
    Ok(if last.totals.checks == 0 { exit::FAILED } else { exit::OK })
}

fn settings(args: &SimulateArgs) -> anyhow::Result<Settings> {
    let bundles = args.bundle.iter().map(|text| sluice_simulate::behaviour(text));
    let bundles = bundles.collect::<Result<BTreeMap<_, _>, _>>()?;
    let incidents = args.incident.iter().map(|text| sluice_simulate::incident(text));
    let time = |flag: &str, text: &str| config::time(text).map_err(|why| anyhow::anyhow!("--{flag}: {why}"));
    Ok(Settings {
        server: args.server.parse().with_context(|| format!("--server `{}` is not a URL", args.server))?,
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

fn summary(last: &Sample) -> String {
    let totals = &last.totals;
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
    text
}

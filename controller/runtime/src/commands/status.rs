//! `sluice status`: what a running server serves, what its rollouts do and wait for, and what is wrong.

use comfy_table::{ContentArrangement, Table, presets};
use sluice_core::{
    channel::Target,
    rollout::{Phase, Progress},
    status::{ChannelStatus, Condition, LineStatus, RepositoryStatus, Status},
};

use crate::{
    admin::Admin,
    args::{StatusArgs, StatusOutput},
    commands::{block_on, print},
    exit,
};

/// Prints the status.
pub(crate) fn run(args: &StatusArgs) -> anyhow::Result<u8> {
    let admin = Admin::new(&args.admin)?;
    let text = block_on(async {
        let status: Status = admin.get("/api/v1/status").await?;
        if args.output == StatusOutput::Json {
            return Ok(format!("{}\n", serde_json::to_string_pretty(&status)?));
        }
        Ok(text(&status))
    })?;
    print(&text)?;
    Ok(exit::OK)
}

fn text(status: &Status) -> String {
    let mut repositories = table(&["REPOSITORY", "COMMIT", "READY", "STATUS"]);
    for repository in &status.repositories {
        let commit = repository.applied_commit.as_deref().map_or("-", |c| &c[..c.len().min(10)]);
        let (ready, message) = ready(&repository.conditions);
        repositories.add_row([&repository.url, commit, ready, message]);
    }
    let mut channels = table(&["CHANNEL", "APP", "WANTED", "SERVED", "READY", "STATUS"]);
    for channel in &status.channels {
        let join = |of: fn(&sluice_core::status::LineStatus) -> Option<&Target>| {
            channel
                .lines
                .iter()
                .map(|l| of(l).map_or("-".to_owned(), ToString::to_string))
                .collect::<Vec<_>>()
                .join("\n")
        };
        let (ready, message) = ready(&channel.conditions);
        channels.add_row([
            channel.channel.as_str(),
            channel.app.as_str(),
            &join(|l| Some(&l.wanted)),
            &join(|l| l.served.as_ref()),
            ready,
            message,
        ]);
    }
    let mut releases = table(&["RELEASE", "APP", "VERSION", "BUNDLE", "SIZE", "READY", "STATUS"]);
    for release in &status.releases {
        let (ready, message) = ready(&release.conditions);
        releases.add_row([
            release.name.clone(),
            release.app.to_string(),
            release.version.to_string(),
            release.digest.map_or("-".into(), |d| d.short()),
            release.size.map_or("-".into(), bytes),
            ready.into(),
            message.into(),
        ]);
    }
    let mut text = format!("{repositories}\n\n{channels}\n\n{releases}\n");
    text.extend(status.repositories.iter().filter_map(notified));
    let rollouts: String =
        running(status).map(|(channel, line, progress)| rollout(channel, line, progress)).collect();
    if !rollouts.is_empty() {
        text.push_str(&format!("\nRollouts:\n{rollouts}"));
    }
    if !status.rollbacks.is_empty() {
        text.push_str(&format!("\nRollbacks:\n{}", super::rollback::table(&status.rollbacks)));
    }
    if !status.diagnostics.is_empty() {
        text.push_str("\nProblems of the observed commit:\n");
        text.extend(status.diagnostics.iter().map(|d| format!("  {d}\n")));
    }
    text
}

/// How it goes to tell somebody what is decided.
fn notified(repository: &RepositoryStatus) -> Option<String> {
    let of = repository.conditions.iter().find(|condition| condition.r#type == "Notified")?;
    let since = if of.status { String::new() } else { format!(", since {}", of.last_transition_time) };
    Some(format!("\nNotifications ({}{since}): {}\n", of.reason, of.message))
}

/// The rollouts that are not done.
fn running(status: &Status) -> impl Iterator<Item = (&ChannelStatus, &LineStatus, &Progress)> {
    let channels = status.channels.iter().map(AsRef::as_ref);
    channels.flat_map(|channel: &ChannelStatus| {
        channel.lines.iter().filter_map(move |line| Some((channel, line, line.running()?)))
    })
}

/// What one rollout does, what it waits for and why, and what comes next.
fn rollout(channel: &ChannelStatus, line: &LineStatus, progress: &Progress) -> String {
    let Progress { phase, message, release, verdict, step, steps, upcoming, wake, .. } = progress;
    let what = release.as_ref().map_or_else(|| line.wanted.to_string(), ToString::to_string);
    let place = if channel.lines.len() > 1 { format!(" ({})", line.key) } else { String::new() };
    let how_far = match (step, steps) {
        (_, 0) => String::new(),
        (0, steps) => format!(", before step 1 of {steps}"),
        (step, steps) => format!(", step {step} of {steps}"),
    };
    let mut text = format!(
        "  {} {}{place}: {what}{how_far}, {}{}: {}\n    {message}\n",
        channel.app,
        channel.channel,
        progress.percent(),
        if progress.limited { "" } else { " of devices" },
        phase.reason()
    );
    if let Some(verdict) = verdict {
        text.push_str(&format!("    Evidence: {}\n", verdict.sentence));
    }
    if let Some(wake) = wake {
        text.push_str(&format!("    Looked at again: {wake}\n"));
    }
    let weights: Vec<String> = upcoming
        .iter()
        .map(|next| match next.at {
            Some(at) => format!("{} from {at} at the earliest", next.percent()),
            None => next.percent(),
        })
        .collect();
    if !weights.is_empty() && *phase != Phase::Braked {
        text.push_str(&format!("    To come: {}\n", weights.join(", then ")));
    }
    text
}

pub(crate) fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(header.to_vec());
    table
}

fn ready(conditions: &[Condition]) -> (&str, &str) {
    conditions
        .iter()
        .find(|c| c.r#type == "Ready")
        .map_or(("Unknown", ""), |c| (if c.status { "True" } else { "False" }, c.message.as_str()))
}

/// A size for people: binary units, three digits.
fn bytes(size: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if size < 1024 {
        return format!("{size} B");
    }
    let mut value = size as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(bytes(5 << 30), "5.0 GiB");
    }
}

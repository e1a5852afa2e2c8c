//! `sluice wait`: until a rollout has ended, for pipelines.

use std::time::{Duration, Instant};

use sluice_core::{
    rollback::Rollback,
    rollout::Phase,
    status::{ChannelStatus, Status},
    suggest::unknown,
};

use crate::{
    admin::{Admin, Refused},
    args::{WaitArgs, WaitFor},
    commands::{block_on, print},
    config, exit,
};

/// Between two looks.
const LOOK: Duration = Duration::from_secs(1);

/// Waits, and says what came.
pub(crate) fn run(args: &WaitArgs) -> anyhow::Result<u8> {
    let limit = config::time(&args.timeout).map_err(|why| anyhow::anyhow!("--timeout: {why}"))?;
    let admin = Admin::new(&args.admin)?;
    block_on(async {
        let began = Instant::now();
        let mut last = String::new();
        loop {
            match admin.get::<Status>("/api/v1/status").await {
                Ok(status) if is_unread(&status) => "no commit was read yet".clone_into(&mut last),
                Ok(status) => {
                    let channel = find(&status, &args.channel)?;
                    let (end, message) = state(&status, channel, args.release.as_deref());
                    last = message;
                    if let Some(end) = end {
                        print(&format!("{}: {last}\n", channel.channel))?;
                        return Ok(if end == args.end { exit::OK } else { exit::FAILED });
                    }
                }
                // A server that restarts is waited for; one that was never there is a mistake.
                Err(error) if last.is_empty() => return Err(error),
                Err(error) => tracing::debug!(%error, "the server does not answer"),
            }
            if began.elapsed() >= limit {
                print(&format!("{}: not {} after {}: {last}\n", args.channel, args.end, args.timeout))?;
                return Ok(exit::FAILED);
            }
            tokio::time::sleep(LOOK).await;
        }
    })
}

/// Whether it is not known yet which channels there are.
pub(crate) fn is_unread(status: &Status) -> bool {
    status.channels.is_empty() && status.repositories.iter().all(|known| known.applied_commit.is_none())
}

/// The channel of this name: as devices use it, of its object, or `<app>/<channel>`.
fn find<'a>(status: &'a Status, name: &str) -> Result<&'a ChannelStatus, Refused> {
    let is = |channel: &&ChannelStatus| {
        channel.channel.as_str() == name
            || channel.name == name
            || name
                .split_once('/')
                .is_some_and(|(app, own)| (channel.app.as_str(), channel.channel.as_str()) == (app, own))
    };
    let mut found = status.channels.iter().map(AsRef::as_ref).filter(is);
    let names = || status.channels.iter().flat_map(|channel| [channel.channel.as_str(), &channel.name]);
    let channel = found.next().ok_or_else(|| Refused(unknown("channel", name, None, names())))?;
    if let Some(other) = found.next() {
        return Err(Refused(format!(
            "several channels are called `{name}`; say {}/{name} or {}/{name}",
            channel.app, other.app
        )));
    }
    Ok(channel)
}

/// Which end has come of `release`, or of what the channel asks for, and a sentence.
fn state(status: &Status, channel: &ChannelStatus, release: Option<&str>) -> (Option<WaitFor>, String) {
    let wanted = || channel.lines.iter().map(|line| line.wanted.to_string());
    if let Some(release) = release
        && wanted().all(|wanted| wanted != release)
    {
        // Git may have been told before anybody looked.
        let is_it = |rollback: &&Rollback| {
            (&rollback.app, &rollback.channel) == (&channel.app, &channel.channel)
                && rollback.what() == release
        };
        if let Some(rollback) = status.rollbacks.iter().rfind(is_it) {
            let now: Vec<String> = wanted().collect();
            let message =
                format!("{release} was braked ({}), and {} is asked for again", rollback.why, now.join(", "));
            return (Some(WaitFor::Braked), message);
        }
        let wanted: Vec<String> = wanted().collect();
        return (None, format!("{} is asked for, and not {release}", wanted.join(", ")));
    }
    let rollouts = || channel.lines.iter().filter_map(|line| line.rollout.as_ref());
    if let Some(braked) = rollouts().find(|rollout| rollout.phase == Phase::Braked) {
        return (Some(WaitFor::Braked), braked.message.clone());
    }
    let message = channel.conditions.first().map(|ready| ready.message.clone()).unwrap_or_default();
    let complete = channel.lines.iter().all(|line| line.served.as_ref() == Some(&line.wanted));
    if complete && channel.is_ready() {
        return (Some(WaitFor::Complete), message);
    }
    (None, rollouts().next().map_or(message, |rollout| rollout.message.clone()))
}

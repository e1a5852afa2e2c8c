//! `sluice device`: what is kept of one device or custom id, forgetting it, and a channel that support chooses for it.
//!
//! Ids travel in bodies, never in URLs.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    admin::Admin,
    args::{AdminArgs, StatusOutput},
    commands::{block_on, print},
    config, exit,
};

mod text;

/// The arguments of `sluice device`.
#[derive(Debug, Args)]
pub(crate) struct DeviceArgs {
    #[command(subcommand)]
    what: DeviceCommand,
}

#[derive(Debug, Subcommand)]
enum DeviceCommand {
    /// Show what is known of a device, and what happened to it
    Show(ShowArgs),
    /// Print everything that is kept of a device, or of every device with a custom id, as JSON
    Export(WhoseArgs),
    /// Forget a device, or every device with a custom id
    Erase(EraseArgs),
    /// Put a device on a channel until a time
    Override(OverrideArgs),
    /// Take a device off the channel that it was put on
    Release(ReleaseArgs),
    /// Show what people did to the data of devices; no device is named
    Acts(ActsArgs),
}

/// Whose data.
#[derive(Debug, Args)]
struct WhoseArgs {
    #[command(flatten)]
    admin: AdminArgs,
    /// App id
    #[arg(long, value_name = "ID")]
    app: String,
    /// Device id
    #[arg(long, value_name = "ID", required_unless_present = "custom_id", conflicts_with = "custom_id")]
    device: Option<String>,
    /// The app's own id of a device or user
    #[arg(long, value_name = "ID")]
    custom_id: Option<String>,
}

#[derive(Debug, Args)]
struct ShowArgs {
    #[command(flatten)]
    whose: WhoseArgs,
    /// How it is printed
    #[arg(long, value_enum, default_value_t = StatusOutput::Text)]
    output: StatusOutput,
}

/// Who does it, and why.
#[derive(Debug, Args)]
struct AuthorArgs {
    /// Why: recorded, without the device
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Who does it [default: the name of the user]
    #[arg(long, env = "USER", value_name = "NAME")]
    by: Option<String>,
}

#[derive(Debug, Args)]
struct EraseArgs {
    #[command(flatten)]
    whose: WhoseArgs,
    #[command(flatten)]
    author: AuthorArgs,
    /// Do not ask first
    #[arg(long)]
    yes: bool,
}

/// One device.
#[derive(Debug, Args)]
struct OneArgs {
    #[command(flatten)]
    admin: AdminArgs,
    /// App id
    #[arg(long, value_name = "ID")]
    app: String,
    /// Device id
    #[arg(long, value_name = "ID")]
    device: String,
    #[command(flatten)]
    author: AuthorArgs,
}

#[derive(Debug, Args)]
struct OverrideArgs {
    #[command(flatten)]
    one: OneArgs,
    /// The channel
    #[arg(long, value_name = "NAME")]
    channel: String,
    /// When it ends: a time, or how long from now; at most 90 days
    #[arg(long, value_name = "TIME|DURATION")]
    until: String,
}

#[derive(Debug, Args)]
struct ReleaseArgs {
    #[command(flatten)]
    one: OneArgs,
}

#[derive(Debug, Args)]
struct ActsArgs {
    #[command(flatten)]
    admin: AdminArgs,
    /// App id
    #[arg(long, value_name = "ID")]
    app: String,
    /// How it is printed
    #[arg(long, value_enum, default_value_t = StatusOutput::Text)]
    output: StatusOutput,
}

/// Does it.
pub(crate) fn run(args: &DeviceArgs) -> anyhow::Result<u8> {
    match &args.what {
        DeviceCommand::Show(ShowArgs { whose, output }) => show(whose, *output),
        DeviceCommand::Export(whose) => show(whose, StatusOutput::Json),
        DeviceCommand::Erase(args) => erase(args),
        DeviceCommand::Override(OverrideArgs { one, channel, until }) => put(one, Some((channel, until))),
        DeviceCommand::Release(ReleaseArgs { one }) => put(one, None),
        DeviceCommand::Acts(args) => acts(args),
    }
}

impl WhoseArgs {
    fn body(&self) -> Value {
        json!({ "app": self.app, "device": self.device, "customId": self.custom_id })
    }
}

impl AuthorArgs {
    fn add_to(&self, body: &mut Value) {
        body["by"] = json!(self.by.as_deref().unwrap_or_default());
        body["reason"] = json!(self.reason);
    }
}

fn show(whose: &WhoseArgs, output: StatusOutput) -> anyhow::Result<u8> {
    let admin = Admin::new(&whose.admin)?;
    let kept: Value = block_on(admin.post("/api/v1/devices/export", &whose.body()))?;
    print(&match output {
        StatusOutput::Json => format!("{kept:#}\n"),
        StatusOutput::Text => text::shown(&kept),
    })?;
    let nothing = kept["devices"].as_array().is_none_or(Vec::is_empty);
    Ok(if nothing { exit::FAILED } else { exit::OK })
}

fn erase(args: &EraseArgs) -> anyhow::Result<u8> {
    let EraseArgs { whose, author, yes } = args;
    let admin = Admin::new(&whose.admin)?;
    if !yes && !agreed(&whose.app, whose.custom_id.is_some())? {
        print("Nothing is erased.\n")?;
        return Ok(exit::FAILED);
    }
    let mut body = whose.body();
    author.add_to(&mut body);
    let erased: Value = block_on(admin.post("/api/v1/devices/erase", &body))?;
    print(&match erased["devices"].as_u64() {
        Some(0) => {
            "Nothing of a device was kept, or only reports of one that never asked; they are erased.\n".into()
        }
        Some(1) => "1 device is erased. If it asks again it is a new one.\n".to_owned(),
        n => format!("{} devices are erased. If they ask again they are new ones.\n", n.unwrap_or_default()),
    })?;
    Ok(exit::OK)
}

/// Asks on the terminal.
fn agreed(app: &str, several: bool) -> anyhow::Result<bool> {
    if !io::stdin().is_terminal() {
        bail!("nobody can be asked here whether to erase; --yes says so");
    }
    let whose = if several { "every device with this custom id" } else { "this device" };
    let question = format!("Erase all that is kept of {whose} of {app}? Nothing brings it back. [y/N] ");
    io::stderr().write_all(question.as_bytes())?;
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line).context("cannot read the answer")?;
    Ok(matches!(line.trim(), "y" | "Y" | "yes"))
}

fn put(one: &OneArgs, on: Option<(&String, &String)>) -> anyhow::Result<u8> {
    let admin = Admin::new(&one.admin)?;
    let mut body = json!({ "app": one.app, "device": one.device });
    if let Some((channel, until)) = on {
        body["channel"] = json!(channel);
        body["until"] = json!(end(until, Timestamp::now())?.to_string());
    }
    one.author.add_to(&mut body);
    let done: Value = block_on(admin.post("/api/v1/devices/override", &body))?;
    print(&match (done["channel"].as_str(), done["until"].as_str()) {
        (Some(channel), Some(until)) => format!("The device is on channel {channel} until {until}.\n"),
        _ => "The device is on no channel of its own.\n".to_owned(),
    })?;
    Ok(exit::OK)
}

/// A time, or a time from now.
fn end(text: &str, now: Timestamp) -> anyhow::Result<Timestamp> {
    if let Ok(time) = text.parse() {
        return Ok(time);
    }
    let length = config::time(text)
        .map_err(|why| anyhow::anyhow!("--until: {why}; or a time such as 2026-12-24T18:00:00Z"))?;
    now.checked_add(length).context("--until is too far away")
}

fn acts(args: &ActsArgs) -> anyhow::Result<u8> {
    let admin = Admin::new(&args.admin)?;
    let query = url::form_urlencoded::Serializer::new(String::new()).append_pair("app", &args.app).finish();
    let acts: Value = block_on(admin.get(&format!("/api/v1/devices/acts?{query}")))?;
    print(&match args.output {
        StatusOutput::Json => format!("{acts:#}\n"),
        StatusOutput::Text => text::acts(&acts),
    })?;
    Ok(exit::OK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_a_time_or_a_time_from_now() {
        let now: Timestamp = "2026-11-25T12:00:00Z".parse().unwrap();
        let ends = |text| end(text, now).map(|end| end.to_string());
        assert_eq!(ends("2026-12-24T18:00:00+01:00").unwrap(), "2026-12-24T17:00:00Z");
        assert_eq!(ends("48h").unwrap(), "2026-11-27T12:00:00Z");
        assert!(ends("soon").unwrap_err().to_string().contains("--until"));
    }
}

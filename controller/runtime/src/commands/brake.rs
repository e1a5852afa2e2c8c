//! `sluice brake`: stops a bundle now. The server on this machine or the operator in a cluster is asked, or, when that is
//! down, its bundle store is written to directly.

use std::sync::Arc;

use anyhow::{Context as _, bail};
use arc_swap::ArcSwap;
use clap::{Args, Subcommand, ValueEnum};
use jiff::Timestamp;
use serde_json::{Value, json};
use sluice_core::brake::{Devices, Known, Wanted, aim};
use sluice_serve::admin::BrakeView;
use sluice_store::{
    control::{BrakeWatch, BundleStore},
    objects::{Objects, StoreUrl},
};

use crate::{
    admin::{Admin, Refused},
    args::{AdminArgs, StatusOutput},
    commands::{block_on, print},
    exit,
};

/// The arguments of `sluice brake`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct BrakeArgs {
    #[command(subcommand)]
    pub(crate) what: Option<BrakeCommand>,
    #[command(flatten)]
    pub(crate) stop: StopArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum BrakeCommand {
    /// Show what is stopped, by whom and why
    List(ListArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    way: WayArgs,
    /// How it is printed
    #[arg(long, value_enum, default_value_t = StatusOutput::Text)]
    output: StatusOutput,
}

#[derive(Debug, Args)]
pub(crate) struct StopArgs {
    /// Channel: its name, the name of its object, or `<app>/<channel>`; without it, every channel of `--app`
    #[arg(value_name = "CHANNEL")]
    channel: Option<String>,
    /// App id
    #[arg(long, value_name = "ID")]
    app: Option<String>,
    /// Version to stop [default: what the channel rolls out, else what it serves]
    #[arg(long, value_name = "VERSION")]
    release: Option<String>,
    /// Why: shown to everybody who asks
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// What becomes of devices that run it: back to what did well before, or stay until something newer comes
    #[arg(long, value_enum, default_value_t = DevicesArg::Return)]
    devices: DevicesArg,
    /// Who stops it [default: the name that the cluster knows you by, else that of the user]
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    #[arg(long, env = "USER", hide = true)]
    user: Option<String>,
    #[command(flatten)]
    way: WayArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum DevicesArg {
    Return,
    Keep,
}

/// How the bundle store is reached.
#[derive(Debug, Args)]
struct WayArgs {
    #[command(flatten)]
    admin: AdminArgs,
    /// Bundle store to write to directly, with its own credentials, when no server can be asked
    #[arg(long, value_name = "URL")]
    store: Option<String>,
}

impl WayArgs {
    fn objects(&self) -> anyhow::Result<Option<Arc<dyn Objects>>> {
        let Some(url) = &self.store else { return Ok(None) };
        Ok(Some(url.parse::<StoreUrl>().context("--store")?.open()?))
    }
}

/// Stops, or lists.
pub(crate) fn run(args: &BrakeArgs) -> anyhow::Result<u8> {
    match &args.what {
        Some(BrakeCommand::List(ListArgs { way, output })) => show(way, *output),
        // Options may come first; whoever stops something says why.
        None if args.stop.channel.as_deref() == Some("list") && args.stop.reason.is_none() => {
            show(&args.stop.way, StatusOutput::Text)
        }
        None => stop(&args.stop),
    }
}

fn stop(args: &StopArgs) -> anyhow::Result<u8> {
    let Some(reason) = &args.reason else { bail!("say why: --reason TEXT") };
    let devices = match args.devices {
        DevicesArg::Return => Devices::Return,
        DevicesArg::Keep => Devices::Keep,
    };
    let brake = if let Some(objects) = args.way.objects()? {
        let by = args.by.as_ref().or(args.user.as_ref()).cloned().unwrap_or_default();
        block_on(directly(args, objects, devices, &by, reason))?
    } else {
        let StopArgs { channel, app, release, .. } = args;
        block_on(async {
            let mut admin = Admin::new(&args.way.admin)?;
            let known = admin.brakes_as(&args.way.admin).await?;
            // A name on this machine says nothing to those who read it in a cluster.
            let by = args.by.clone().or(known).or_else(|| args.user.clone()).unwrap_or_default();
            let body = json!({
                "app": app, "channel": channel, "release": release, "devices": devices, "by": by, "reason": reason,
            });
            admin.post::<Value>("/api/v1/brakes", &body).await
        })?
    };
    let word = if brake["fresh"] == json!(false) { "was stopped before" } else { "is stopped" };
    print(&format!("{} {word} {}\n{}", subject(&brake), place(&brake), lift(&brake)))?;
    Ok(exit::OK)
}

/// Without any server: whoever has the credentials of the bundle store may stop.
async fn directly(
    args: &StopArgs,
    objects: Arc<dyn Objects>,
    devices: Devices,
    by: &str,
    reason: &str,
) -> anyhow::Result<Value> {
    let watch = BrakeWatch::new(objects.clone(), Arc::new(ArcSwap::default()), false);
    let snapshot = BundleStore::open_existing(objects).await?.load(None).await?.snapshot;
    let names = watch.channels().await?;
    let known: Vec<Known<'_>> =
        names.iter().map(|(object, app, channel)| Known { object, app, channel }).collect();
    let wanted = Wanted {
        app: args.app.as_deref(),
        channel: args.channel.as_deref(),
        release: args.release.as_deref(),
        devices,
    };
    let aim = aim(&snapshot, &known, &wanted).map_err(|error| Refused(error.to_string()))?;
    let never = format!("no bundle of {} was ever published as {}", aim.app, aim.release);
    let by = if by.is_empty() { "somebody with the store's credentials" } else { by };
    let braked = watch.stop(aim, by, reason, Timestamp::now(), false).await?.ok_or(Refused(never))?;
    Ok(json!(BrakeView::of(&braked.brake, Vec::new(), Some(braked.fresh))))
}

fn show(way: &WayArgs, output: StatusOutput) -> anyhow::Result<u8> {
    let brakes: Vec<Value> = match way.objects()? {
        Some(objects) => block_on(async {
            let (index, _) = BundleStore::open_existing(objects).await?.brakes().await?;
            Ok(index.iter().map(|brake| json!(BrakeView::of(brake, Vec::new(), None))).collect())
        })?,
        None => block_on(Admin::new(&way.admin)?.get("/api/v1/brakes"))?,
    };
    let text = match output {
        StatusOutput::Json => format!("{:#}\n", Value::from(brakes)),
        StatusOutput::Text if brakes.is_empty() => "Nothing is stopped.\n".to_owned(),
        StatusOutput::Text => brakes.iter().map(line).collect(),
    };
    print(&text)?;
    Ok(exit::OK)
}

fn line(brake: &Value) -> String {
    let text = |field: &str| brake[field].as_str().unwrap_or("-").to_owned();
    let lifted: Vec<&str> =
        brake["liftedOn"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let lifted = if lifted.is_empty() { String::new() } else { format!("; lifted on {}", lifted.join(", ")) };
    format!(
        "{}  {} {} {}\n    {} by {}: {}{lifted}\n",
        text("id"),
        text("at"),
        subject(brake),
        place(brake),
        text("devices"),
        text("by"),
        text("reason"),
    )
}

fn subject(brake: &Value) -> String {
    let text = |field: &str| brake[field].as_str().unwrap_or("-");
    let digest = text("digest");
    format!("{} {} (bundle {})", text("app"), text("release"), digest.get(..12).unwrap_or(digest))
}

fn place(brake: &Value) -> String {
    match brake["channel"].as_str() {
        Some(channel) => format!("on channel {channel}"),
        None => "on every channel".to_owned(),
    }
}

fn lift(brake: &Value) -> String {
    format!(
        "Only Git lifts it, by `allowHeld: [{}]` in the spec of a channel.\n",
        brake["id"].as_str().unwrap_or("-")
    )
}

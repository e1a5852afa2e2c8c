//! `sluice rollback`: takes a channel back, on devices at once and in Git by a commit, and shows how far that is.

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use sluice_core::rollback::Rollback;

use crate::{
    admin::Admin,
    args::{AdminArgs, StatusOutput},
    commands::{block_on, print, status},
    exit,
};

/// The arguments of `sluice rollback`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct RollbackArgs {
    #[command(subcommand)]
    what: Option<RollbackCommand>,
    #[command(flatten)]
    open: OpenArgs,
}

#[derive(Debug, Subcommand)]
enum RollbackCommand {
    /// Show rollbacks, how far each is, and what it waits for
    List(ListArgs),
}

#[derive(Debug, Args)]
struct ListArgs {
    #[command(flatten)]
    admin: AdminArgs,
    /// How they are printed
    #[arg(long, value_enum, default_value_t = StatusOutput::Text)]
    output: StatusOutput,
}

#[derive(Debug, Args)]
struct OpenArgs {
    /// Channel: its name, the name of its object, or `<app>/<channel>`
    #[arg(value_name = "CHANNEL", required = true)]
    channel: Option<String>,
    /// App id, where the channel's name does not say it
    #[arg(long, value_name = "ID")]
    app: Option<String>,
    /// Version to go back from [default: what the channel rolls out, else what it serves]
    #[arg(long, value_name = "VERSION")]
    release: Option<String>,
    /// Version to go back to, or `builtin` [default: what did well last]
    #[arg(long, value_name = "VERSION")]
    to: Option<String>,
    /// Why: stands in the commit, and is shown to everybody who asks
    #[arg(long, value_name = "TEXT", required = true)]
    reason: Option<String>,
    /// Who wants it [default: the name of the user]
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    #[arg(long, env = "USER", hide = true)]
    user: Option<String>,
    #[command(flatten)]
    admin: AdminArgs,
}

/// Opens one, or lists.
pub(crate) fn run(args: &RollbackArgs) -> anyhow::Result<u8> {
    match &args.what {
        Some(RollbackCommand::List(args)) => list(args),
        None => open(&args.open),
    }
}

fn open(args: &OpenArgs) -> anyhow::Result<u8> {
    let OpenArgs { channel, app, release, to, reason, by, user, admin } = args;
    let by = by.as_ref().or(user.as_ref());
    let body = json!({
        "app": app, "channel": channel, "release": release, "to": to, "by": by.map_or("", String::as_str), "reason": reason,
    });
    let opened: Value = block_on(async { Admin::new(admin)?.post("/api/v1/rollbacks", &body).await })?;
    let text = |field: &str| opened[field].as_str().unwrap_or("-").to_owned();
    print(&format!(
        "{} {} is stopped on channel {}, and Git is told: `sluice rollback list` shows how far that is.\nRollback {}\n",
        text("app"),
        text("release"),
        text("channel"),
        text("id"),
    ))?;
    Ok(exit::OK)
}

fn list(args: &ListArgs) -> anyhow::Result<u8> {
    let rollbacks: Vec<Rollback> = block_on(Admin::new(&args.admin)?.get("/api/v1/rollbacks"))?;
    let text = match args.output {
        StatusOutput::Json => format!("{}\n", serde_json::to_string_pretty(&rollbacks)?),
        StatusOutput::Text if rollbacks.is_empty() => "Nothing was rolled back.\n".to_owned(),
        StatusOutput::Text => table(&rollbacks),
    };
    print(&text)?;
    Ok(exit::OK)
}

/// One row a rollback.
pub(crate) fn table(rollbacks: &[Rollback]) -> String {
    let mut table = status::table(&["ROLLBACK", "APP", "CHANNEL", "FROM", "TO", "COMMIT", "PHASE", "STATUS"]);
    for rollback in rollbacks {
        let planned = rollback.planned.as_ref();
        let to = planned.map(|planned| &planned.restores).or(rollback.to.as_ref());
        let last = rollback.log.last().map_or("", |entry| entry.message.as_str());
        let status = rollback.stall.as_ref().map(|stall| format!("{}: {}", stall.reason, stall.message));
        table.add_row([
            rollback.id.to_string(),
            rollback.app.to_string(),
            rollback.channel.to_string(),
            rollback.what(),
            to.map_or("-".to_owned(), ToString::to_string),
            planned.map_or("-".to_owned(), |planned| planned.commit.chars().take(10).collect()),
            rollback.phase.reason().to_owned(),
            status.unwrap_or_else(|| last.to_owned()),
        ]);
    }
    format!("{table}\n")
}

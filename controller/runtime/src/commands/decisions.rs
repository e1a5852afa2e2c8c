//! `sluice decisions`: what was decided for an app, and whether its log is as it was written.

use std::io::{self, Write as _};

use clap::Args;
use serde_json::Value;

use crate::{
    admin::Admin,
    args::{AdminArgs, StatusOutput},
    commands::{block_on, print},
    exit,
};

/// The arguments of `sluice decisions`.
#[derive(Debug, Args)]
pub(crate) struct DecisionsArgs {
    #[command(flatten)]
    admin: AdminArgs,
    /// App id
    #[arg(long, value_name = "ID")]
    app: String,
    /// Only this channel
    #[arg(long, value_name = "NAME")]
    channel: Option<String>,
    /// Print no decisions; say whether the log is whole and unchanged
    #[arg(long)]
    verify: bool,
    /// How it is printed; `json` is one page of the log a line
    #[arg(long, value_enum, default_value_t = StatusOutput::Text)]
    output: StatusOutput,
}

/// Prints the log. A broken one ends it with exit code 1.
pub(crate) fn run(args: &DecisionsArgs) -> anyhow::Result<u8> {
    let admin = Admin::new(&args.admin)?;
    let channel = args.channel.as_ref().filter(|_| !args.verify);
    block_on(async {
        let (mut after, mut pages) = (0, 0);
        loop {
            let mut query = url::form_urlencoded::Serializer::new(String::new());
            query.append_pair("app", &args.app).append_pair("after", &after.to_string());
            if let Some(channel) = channel {
                query.append_pair("channel", channel);
            }
            let part: Value = admin.get(&format!("/api/v1/decisions?{}", query.finish())).await?;
            let found = part["pages"].as_array().map_or(&[][..], Vec::as_slice);
            pages += found.len();
            if !args.verify {
                print(&found.iter().map(|page| shown(page, args.output)).collect::<String>())?;
            }
            if let Some(broken) = part["broken"].as_str() {
                let sentence = format!("The log is broken: {broken}\n");
                if args.verify {
                    print(&sentence)?;
                } else {
                    // Standard output is the log alone.
                    io::stderr().write_all(sentence.as_bytes())?;
                }
                return Ok(exit::FAILED);
            }
            match part["next"].as_u64() {
                Some(next) => after = next,
                None => break,
            }
        }
        if args.verify {
            print(&format!(
                "The log of {} is whole: {pages} pages, each follows the one before.\n",
                args.app
            ))?;
        }
        Ok(exit::OK)
    })
}

fn shown(page: &Value, output: StatusOutput) -> String {
    if output == StatusOutput::Json {
        return format!("{page}\n");
    }
    let at = page["at"].as_str().unwrap_or("-");
    let rows = page["rows"].as_array().map_or(&[][..], Vec::as_slice);
    let text = |row: &Value, field: &str| row[field].as_str().unwrap_or("-").to_owned();
    let mut lines = String::new();
    lines.extend(rows.iter().map(|row| {
        format!("{at}  {}  {}: {}\n", text(row, "channel"), text(row, "kind"), text(row, "sentence"))
    }));
    lines
}

//! `sluice completions`: a completion script for a shell.

use clap::CommandFactory as _;

use crate::{
    args::{Cli, CompletionsArgs},
    commands::print,
    exit,
};

/// Prints the script.
pub(crate) fn run(args: &CompletionsArgs) -> anyhow::Result<u8> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "sluice", &mut script);
    print(&String::from_utf8_lossy(&script))?;
    Ok(exit::OK)
}

//! `sluice completions`: a completion script for a shell, or for kubectl.

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::{
    args::{Cli, CompletionsArgs, CompletionsShell},
    commands::print,
    exit,
};

/// What kubectl runs as `kubectl_complete-sluice`, with the words behind `kubectl sluice`, and reads one candidate a line
/// from; the last line says that files are none. It asks the program that is installed, so an upgrade does not make it old.
const KUBECTL: &str = include_str!("completions/kubectl_complete-sluice");

/// Prints the script.
pub(crate) fn run(args: &CompletionsArgs) -> anyhow::Result<u8> {
    let shell = match args.shell {
        CompletionsShell::Bash => Shell::Bash,
        CompletionsShell::Elvish => Shell::Elvish,
        CompletionsShell::Fish => Shell::Fish,
        CompletionsShell::PowerShell => Shell::PowerShell,
        CompletionsShell::Zsh => Shell::Zsh,
        CompletionsShell::Kubectl => {
            print(KUBECTL)?;
            return Ok(exit::OK);
        }
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "sluice", &mut script);
    print(&String::from_utf8_lossy(&script))?;
    Ok(exit::OK)
}

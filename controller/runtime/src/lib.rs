//! The command line: arguments, configuration, telemetry, and the wiring of the other rooms into one process.

mod admin;
mod args;
mod commands;
mod config;
mod people;
mod process;
mod render;
mod telemetry;
mod wiring;

use std::{io::Write as _, process::ExitCode};

use crate::args::{Cli, Command};

/// Exit codes, as documented in the reference.
pub mod exit {
    /// It worked; for `validate`, nothing was found.
    pub const OK: u8 = 0;
    /// For `validate`, problems were found; elsewhere the request was refused or failed.
    pub const FAILED: u8 = 1;
    /// It could not be tried: wrong arguments or settings, or something it needs is missing.
    pub const COULD_NOT: u8 = 2;
}

/// Runs the program with the arguments of this process.
pub fn main() -> ExitCode {
    // Before any thread: libgit2's settings are global and its first use sets environment variables.
    sluice_repo::init();
    let cli = Cli::of_this_process();
    let result = match cli.command {
        Command::GitWorker => sluice_repo::worker::run().map(|()| exit::OK).map_err(Into::into),
        Command::Serve(args) => commands::serve::run(*args),
        Command::Operator(args) => commands::operator::run(*args),
        Command::Gateway(args) => commands::gateway::run(*args),
        Command::Validate(args) => commands::validate::run(&args),
        Command::Status(args) => commands::status::run(&args),
        Command::Explain(args) => commands::explain::run(&args),
        Command::Wait(args) => commands::wait::run(&args),
        Command::Demo(args) => commands::demo::run(&args),
        Command::Simulate(args) => commands::simulate::run(&args),
        Command::Brake(args) => commands::brake::run(&args),
        Command::Rollback(args) => commands::rollback::run(&args),
        Command::Decisions(args) => commands::decisions::run(&args),
        Command::Report(args) => commands::report::run(&args),
        Command::Device(args) => commands::device::run(&args),
        Command::ClientConfig(args) => commands::client_config::run(&args),
        Command::Completions(args) => commands::completions::run(&args),
        Command::CheckHealth(args) => commands::check_health::run(&args),
        Command::Generate(args) => commands::generate::run(&args),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            // Standard error may be closed; there is nobody left to tell.
            let _ = writeln!(std::io::stderr(), "error: {}", chain(&error));
            let refused = error.is::<admin::Refused>();
            ExitCode::from(if refused { exit::FAILED } else { exit::COULD_NOT })
        }
    }
}

/// An error with its causes, without those that its own text repeats.
fn chain(error: &anyhow::Error) -> String {
    error.chain().skip(1).fold(error.to_string(), |mut text, cause| {
        let cause = cause.to_string();
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
        text
    })
}

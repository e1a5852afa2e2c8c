//! `sluice serve`: follow a Git repository and answer devices, in one process.

use crate::{args::ServeArgs, config, exit, process, telemetry, wiring};

/// Serves until the process is asked to stop.
pub(crate) fn run(args: ServeArgs) -> anyhow::Result<u8> {
    let mut config = config::check(args)?;
    telemetry::start(std::mem::take(&mut config.log), config.log_format);
    process::until_stopped(|stop| wiring::serve(config, stop))?;
    Ok(exit::OK)
}

//! `sluice gateway`: answers devices from a bundle store, and needs nothing else.

mod args;
mod config;
mod wiring;

pub(crate) use args::GatewayArgs;

use crate::{exit, process, telemetry};

/// Answers until the process is asked to stop.
pub(crate) fn run(args: GatewayArgs) -> anyhow::Result<u8> {
    let mut config = config::check(args)?;
    telemetry::start(std::mem::take(&mut config.log), config.log_format);
    process::until_stopped(|stop| wiring::answer(config, stop))?;
    Ok(exit::OK)
}

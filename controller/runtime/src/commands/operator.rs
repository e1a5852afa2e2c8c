//! `sluice operator`: the controllers of a Kubernetes cluster, and with `--gateway` devices as well.

mod args;
mod background;
mod config;
mod fleet;
mod wiring;

pub(crate) use args::OperatorArgs;

use crate::{exit, process, telemetry};

/// Works until the process is asked to stop.
pub(crate) fn run(args: OperatorArgs) -> anyhow::Result<u8> {
    let mut config = config::check(args)?;
    telemetry::start(std::mem::take(&mut config.log), config.log_format);
    process::until_stopped(|stop| wiring::operate(config, stop))?;
    Ok(exit::OK)
}

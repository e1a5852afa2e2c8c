//! Logs: human on a terminal, JSON elsewhere, to standard error.

use std::{fs::File, io::IsTerminal as _, sync::Mutex};

use tracing_subscriber::{EnvFilter, fmt};

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Format {
    /// Text on a terminal, JSON elsewhere.
    pub(crate) fn default_for_stderr() -> Self {
        if std::io::stderr().is_terminal() { Self::Text } else { Self::Json }
    }
}

/// Starts logging. A second call in one process changes nothing.
pub(crate) fn start(filter: EnvFilter, format: Format) {
    let builder = fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // The first subscriber stays: tests start several servers in one process.
    let _ = match format {
        Format::Text => builder.with_ansi(std::io::stderr().is_terminal()).with_target(false).try_init(),
        Format::Json => builder.json().flatten_event(true).try_init(),
    };
}

/// Starts logging to a file, for people.
pub(crate) fn start_in(file: File, filter: EnvFilter) {
    let builder = fmt().with_env_filter(filter).with_writer(Mutex::new(file));
    let _ = builder.with_ansi(false).with_target(false).try_init();
}

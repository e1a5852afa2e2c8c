//! Arguments of `sluice simulate`.

use std::path::PathBuf;

use clap::Args;

use crate::args::ServerArgs;

#[derive(Debug, Args)]
pub(crate) struct SimulateArgs {
    /// Where devices connect
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080")]
    pub(crate) server: String,
    /// Also ask the server how far its rollout is
    #[command(flatten)]
    pub(crate) admin: ServerArgs,
    /// App id
    #[arg(long, value_name = "ID")]
    pub(crate) app: String,
    /// Channel that the phones ask for [default: the public one of their platform]
    #[arg(long, value_name = "NAME")]
    pub(crate) channel: Option<String>,
    /// How many phones
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    pub(crate) phones: u32,
    /// What everything that is drawn follows from
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
    /// Simulated seconds in one real second
    #[arg(long, value_name = "N", default_value_t = 300.0)]
    pub(crate) speed: f64,
    /// How long, in real time
    #[arg(long = "for", value_name = "DURATION", default_value = "5m")]
    pub(crate) time: String,
    /// In how much real time all phones ask for the first time; before, the server knows none of them
    #[arg(long, value_name = "DURATION", default_value = "20s")]
    pub(crate) warm_up: String,
    /// Requests at one time
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub(crate) connections: usize,
    /// Native versions of the app, in equal shares
    #[arg(long, value_name = "VERSION,…", value_delimiter = ',', default_value = "1.0.0")]
    pub(crate) native: Vec<String>,
    /// What a bundle does to phones, for example `1.4.0:launch=90%,crash=8%,install=1%`; may be given again
    #[arg(long, value_name = "VERSION:CHANCES")]
    pub(crate) bundle: Vec<String>,
    /// A time in which sessions crash whatever runs, in seconds from the start, for example `120+60:20%`; may be given
    /// again
    #[arg(long, value_name = "BEGIN+LENGTH:SHARE")]
    pub(crate) incident: Vec<String>,
    /// Invented devices at one time that report failures of whatever they are offered
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) forgers: u32,
    /// Share of the downloads that are really made, 0 to 1
    #[arg(long, value_name = "SHARE", default_value_t = 0.01)]
    pub(crate) downloads: f64,
    /// Where the report is written as a page with plots
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// Where the report is written as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

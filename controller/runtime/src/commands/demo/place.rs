//! The folder that everything happens in, and the settings of the server and of the phones.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use sluice_simulate::{Behaviour, Settings};
use tempfile::TempDir;

use super::shop;
use crate::{
    args::ServeArgs,
    config::{self, ServeConfig},
};

/// How many phones there are.
pub(super) const PHONES: u32 = 2_000;
/// Simulated seconds in one real second: a day is a minute.
const SPEED: f64 = 1_500.0;
/// In how much real time all phones ask for the first time.
const WARM_UP: Duration = Duration::from_secs(10);
/// Requests of phones at one time.
const CONNECTIONS: usize = 8;
/// Longest time that phones are at work for, in which they hold what happened each second.
const DAY: Duration = Duration::from_hours(24);

/// The folder: the server's data directory, with the repository and the log beside what the server keeps.
pub(super) struct Place {
    path: PathBuf,
    temporary: Option<TempDir>,
}

impl Place {
    /// Makes it, or takes the one that somebody names.
    pub(super) fn make(wanted: Option<&Path>) -> anyhow::Result<Self> {
        let Some(wanted) = wanted else {
            let made = tempfile::Builder::new().prefix("sluice-demo-").tempdir();
            let made = made.context("a temporary folder cannot be made; --data DIR names another place")?;
            return Ok(Self { path: made.path().to_owned(), temporary: Some(made) });
        };
        let doing = || format!("--data: {} cannot be used", wanted.display());
        fs::create_dir_all(wanted).with_context(doing)?;
        let empty = fs::read_dir(wanted).with_context(doing)?.next().is_none();
        ensure!(empty, "--data: {} is not empty; name a folder that is new or empty", wanted.display());
        Ok(Self { path: wanted.canonicalize().with_context(doing)?, temporary: None })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Where the server writes what it does.
    pub(super) fn log(&self) -> PathBuf {
        self.path.join("server.log")
    }

    /// The bare repository.
    pub(super) fn repository(&self) -> PathBuf {
        self.path.join("shop.git")
    }

    pub(super) fn make_log(&self) -> anyhow::Result<File> {
        let log = self.log();
        File::create(&log).with_context(|| format!("cannot write {}", log.display()))
    }

    /// It stays when the program ends.
    pub(super) fn leave(&mut self) {
        if let Some(folder) = self.temporary.take() {
            let _ = folder.keep();
        }
    }

    /// Removes it, unless it is to stay.
    pub(super) fn remove(self) -> anyhow::Result<()> {
        let Self { path, temporary } = self;
        let Some(folder) = temporary else { return Ok(()) };
        folder.close().with_context(|| format!("{} cannot be removed", path.display()))
    }

    /// Settings of the server.
    pub(super) fn config(&self) -> anyhow::Result<ServeConfig> {
        let text = |path: &Path| path.to_str().map(str::to_owned).context("the folder's path is not UTF-8");
        let free = || Some("127.0.0.1:0".to_owned());
        let args = ServeArgs {
            repository: Some(text(&self.repository())?),
            data: Some(text(&self.path)?),
            poll: Some("250ms".to_owned()),
            write: Some("push".to_owned()),
            listen: free(),
            admin_listen: free(),
            // The phones say from where in the network each of them asks.
            trusted_proxies: Some(vec!["127.0.0.0/8".to_owned()]),
            ..ServeArgs::default()
        };
        Ok(config::check(args)?)
    }
}

/// Settings of the phones.
pub(super) fn phones(url: &str) -> anyhow::Result<Settings> {
    let bad = Behaviour { launch: 0.9, ..Behaviour::default() };
    Ok(Settings {
        server: url.parse()?,
        app: shop::APP.parse()?,
        channel: None,
        phones: PHONES,
        seed: 1,
        speed: SPEED,
        time: DAY,
        warm_up: WARM_UP,
        connections: CONNECTIONS,
        native: vec![shop::SHIPPED.to_owned()],
        bundles: BTreeMap::from([(shop::BAD.to_owned(), bad)]),
        incidents: Vec::new(),
        forgers: 0,
        downloads: 1.0,
    })
}

//! What a simulation is made of.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};
use sluice_core::ids::{AppId, ChannelName};
use url::Url;

/// A simulation.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Settings {
    /// Where devices connect.
    pub server: Url,
    /// The app that they run.
    pub app: AppId,
    /// The channel that they ask for; none: the public one.
    pub channel: Option<ChannelName>,
    /// How many there are.
    pub phones: u32,
    /// What everything that is drawn follows from.
    pub seed: u64,
    /// Simulated seconds in one real second.
    pub speed: f64,
    /// How long, in real time.
    pub time: Duration,
    /// In how much real time all phones ask for the first time.
    pub warm_up: Duration,
    /// Requests at one time.
    pub connections: usize,
    /// Native versions of the app, in equal shares.
    pub native: Vec<String>,
    /// What bundles do to phones; one that is not named does what the app itself does.
    pub bundles: BTreeMap<String, Behaviour>,
    /// Times in which every phone is in trouble, whatever it runs.
    pub incidents: Vec<Incident>,
    /// Invented devices that report failures of whatever they are offered.
    pub forgers: u32,
    /// Share of downloads that are really made; of the others only the request is saved.
    pub downloads: f64,
}

/// What a bundle does, as chances between 0 and 1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Behaviour {
    /// It does not start, and the client goes back to the bundle before.
    #[serde(default)]
    pub launch: f64,
    /// A session ends in a crash.
    #[serde(default)]
    pub crash: f64,
    /// It cannot be unpacked or verified.
    #[serde(default)]
    pub install: f64,
}

/// A time in which sessions of all phones crash, for example because a service of the app is away.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Incident {
    /// Begin, in real time from the start.
    pub from: Duration,
    /// How long.
    pub time: Duration,
    /// Chance of a crash in each session.
    pub crash: f64,
}

/// A setting that means nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSetting {
    /// Not the form of a bundle's behaviour.
    #[error(
        "`{0}` is not a bundle: expected VERSION:launch=90%,crash=8%,install=1% with at least one of the three"
    )]
    Bundle(String),
    /// Not the form of an incident.
    #[error("`{0}` is not an incident: expected BEGIN+LENGTH:SHARE in seconds, for example 120+60:20%")]
    Incident(String),
    /// Not a share.
    #[error("`{0}` is not a share: expected a number from 0% to 100%")]
    Share(String),
    /// A number out of its range.
    #[error("{0}")]
    Range(&'static str),
}

impl Settings {
    /// Whether a fleet can be made of it.
    pub fn check(&self) -> Result<(), InvalidSetting> {
        let range = |is: bool, why| if is { Ok(()) } else { Err(InvalidSetting::Range(why)) };
        range((1..=5_000_000).contains(&self.phones), "a fleet has 1 to 5,000,000 phones")?;
        range(
            self.speed.is_finite() && (1.0..=100_000.0).contains(&self.speed),
            "the speed is 1 to 100,000",
        )?;
        range((1..=4_096).contains(&self.connections), "there are 1 to 4,096 connections")?;
        range(!self.native.is_empty(), "a fleet needs at least one native version")?;
        range(self.time >= self.warm_up, "the simulation ends before all phones have asked once")
    }
}

/// Reads `1.4.0:launch=90%,crash=8%`.
pub fn behaviour(text: &str) -> Result<(String, Behaviour), InvalidSetting> {
    let wrong = || InvalidSetting::Bundle(text.to_owned());
    let (version, chances) = text.split_once(':').ok_or_else(wrong)?;
    let mut behaviour = Behaviour::default();
    for chance in chances.split(',') {
        let (name, value) = chance.split_once('=').ok_or_else(wrong)?;
        let value = share(value)?;
        match name {
            "launch" => behaviour.launch = value,
            "crash" => behaviour.crash = value,
            "install" => behaviour.install = value,
            _ => return Err(wrong()),
        }
    }
    Ok((version.to_owned(), behaviour))
}

/// Reads `120+60:20%`.
pub fn incident(text: &str) -> Result<Incident, InvalidSetting> {
    let wrong = || InvalidSetting::Incident(text.to_owned());
    let (when, crash) = text.split_once(':').ok_or_else(wrong)?;
    let (from, time) = when.split_once('+').ok_or_else(wrong)?;
    let seconds = |text: &str| text.parse().map(Duration::from_secs).map_err(|_| wrong());
    Ok(Incident { from: seconds(from)?, time: seconds(time)?, crash: share(crash)? })
}

fn share(text: &str) -> Result<f64, InvalidSetting> {
    let wrong = || InvalidSetting::Share(text.to_owned());
    let number: f64 = text.strip_suffix('%').ok_or_else(wrong)?.parse().map_err(|_| wrong())?;
    if (0.0..=100.0).contains(&number) { Ok(number / 100.0) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bundles_and_incidents_are_read() {
        let (version, bad) = behaviour("1.4.0:launch=90%,crash=0.5%").unwrap();
        assert_eq!((version.as_str(), bad), ("1.4.0", Behaviour { launch: 0.9, crash: 0.005, install: 0.0 }));
        let expected = Incident { from: Duration::from_mins(2), time: Duration::from_mins(1), crash: 0.2 };
        assert_eq!(incident("120+60:20%").unwrap(), expected);
        for wrong in ["1.4.0", "1.4.0:", "1.4.0:launch", "1.4.0:launch=2", "1.4.0:launch=200%", "1.4.0:x=1%"]
        {
            assert!(behaviour(wrong).is_err(), "{wrong}");
        }
        for wrong in ["", "1:2%", "1+2", "a+2:3%", "1+2:-3%", "1+2:NaN%"] {
            assert!(incident(wrong).is_err(), "{wrong}");
        }
    }
}

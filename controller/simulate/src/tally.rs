//! What happened, by the second.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::{
    ledger::{Entry, Told},
    phone::Change,
};

/// The shipped bundle in counts by version.
const BUILTIN: &str = "builtin";

/// One second of a simulation.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sample {
    /// Real seconds from the start.
    pub at: f64,
    /// Everything up to then.
    pub totals: Totals,
    /// What the server says of its rollout, where it is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub said: Option<Said>,
}

/// How far a rollout is, as the server tells people.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Said {
    /// The version that Git asks for.
    pub wanted: String,
    /// Share of the devices that are offered it, 0 to 1.
    pub share: f64,
    /// What it does or waits for.
    pub phase: String,
    /// The same in a sentence.
    pub message: String,
}

/// Counts from the start.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Totals {
    /// Update checks that were answered.
    pub checks: u64,
    /// Those of them whose answer was that there is no channel for them.
    #[serde(default)]
    pub without_channel: u64,
    /// Update checks that were not.
    pub unanswered: u64,
    /// Requests with events that were taken.
    pub reports: u64,
    /// Requests with events that were refused or lost.
    pub lost: u64,
    /// Reports of invented devices.
    pub forged: u64,
    /// Bytes of downloads.
    pub bytes: u64,
    /// Offers of each version.
    pub offered: BTreeMap<String, u64>,
    /// Phones that run each version now.
    pub running: BTreeMap<String, u64>,
    /// Launches of each version that failed.
    pub launch_failed: BTreeMap<String, u64>,
    /// Installations of each version that failed.
    pub install_failed: BTreeMap<String, u64>,
    /// Sessions that crashed, by version.
    pub crashed: BTreeMap<String, u64>,
    /// Phones whose word on each version the server has taken. It counts at least these.
    #[serde(default)]
    pub acknowledged: BTreeMap<String, Told>,
    /// Phones whose word on each version was sent and not answered, or may be taken for one on another version. The server
    /// may count these too.
    #[serde(default)]
    pub doubtful: BTreeMap<String, Told>,
    /// Slowest answer to a check in milliseconds.
    pub slowest: f64,
    /// Simulated seconds by which sessions are late, because the server or this machine is too slow.
    pub behind: f64,
}

impl Totals {
    /// Every version that was offered or run, sorted.
    pub fn versions(&self) -> Vec<&str> {
        let mut versions: Vec<&str> =
            self.running.keys().chain(self.offered.keys()).map(String::as_str).collect();
        versions.sort_unstable();
        versions.dedup();
        versions
    }
}

/// The count of a version; 0 when it has none.
pub fn count(counts: &BTreeMap<String, u64>, version: &str) -> u64 {
    counts.get(version).copied().unwrap_or_default()
}

/// Counts while the fleet runs.
#[derive(Debug, Default)]
pub(crate) struct Tally(Mutex<Totals>);

impl Tally {
    /// A fleet of phones that run the shipped bundle.
    pub(crate) fn new(phones: u32) -> Self {
        let running = BTreeMap::from([(BUILTIN.to_owned(), u64::from(phones))]);
        Self(Mutex::new(Totals { running, ..Totals::default() }))
    }

    pub(crate) fn totals(&self) -> Totals {
        self.note(|totals| totals.clone())
    }

    pub(crate) fn note<T>(&self, change: impl FnOnce(&mut Totals) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn answered(&self, took: Duration, offered: Option<&str>, without_channel: bool) {
        self.note(|totals| {
            totals.checks += 1;
            totals.without_channel += u64::from(without_channel);
            totals.slowest = totals.slowest.max(took.as_secs_f64() * 1_000.0);
            if let Some(version) = offered {
                *totals.offered.entry(version.to_owned()).or_default() += 1;
            }
        });
    }

    /// A request with events was taken, or not. `news`: what that changes of what phones told.
    pub(crate) fn reported(&self, taken: bool, news: Vec<(Option<Entry>, Entry)>) {
        self.note(|totals| {
            *(if taken { &mut totals.reports } else { &mut totals.lost }) += 1;
            for (known, Entry { version, fact, acknowledged }) in news {
                if known.is_some()
                    && let Some(doubtful) = totals.doubtful.get_mut(&version)
                {
                    *doubtful.of(fact) -= 1;
                }
                let counts = if acknowledged { &mut totals.acknowledged } else { &mut totals.doubtful };
                *counts.entry(version).or_default().of(fact) += 1;
            }
        });
    }

    pub(crate) fn changed(&self, changes: Vec<Change>) {
        if changes.is_empty() {
            return;
        }
        self.note(|totals| {
            for change in changes {
                match change {
                    Change::Runs { before, now } => {
                        let name = |version: Option<String>| version.unwrap_or_else(|| BUILTIN.to_owned());
                        if let Some(count) = totals.running.get_mut(&name(before)) {
                            *count = count.saturating_sub(1);
                        }
                        *totals.running.entry(name(now)).or_default() += 1;
                    }
                    Change::LaunchFailed(version) => *totals.launch_failed.entry(version).or_default() += 1,
                    Change::InstallFailed(version) => *totals.install_failed.entry(version).or_default() += 1,
                    Change::Crashed(version) => {
                        let version = version.unwrap_or_else(|| BUILTIN.to_owned());
                        *totals.crashed.entry(version).or_default() += 1;
                    }
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_phone_runs_one_bundle() {
        let tally = Tally::new(3);
        let v = |text: &str| Some(text.to_owned());
        tally.changed(vec![
            Change::Runs { before: None, now: v("1.0.0") },
            Change::Runs { before: None, now: v("1.0.0") },
            Change::Runs { before: v("1.0.0"), now: v("1.1.0") },
            Change::Runs { before: v("1.1.0"), now: None },
        ]);
        let running = tally.totals().running;
        assert_eq!(running.values().sum::<u64>(), 3);
        assert_eq!(
            running,
            BTreeMap::from([("builtin".into(), 2), ("1.0.0".into(), 1), ("1.1.0".into(), 0)])
        );
    }
}

//! What the server promised to count: once for each phone and bundle, and for ever, whatever becomes of the server.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sluice_core::{
    client::Client,
    outcome::{Attribution, FailureKind, Meaning, outcome},
};

/// What a phone told of a bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fact {
    Activated,
    LaunchFailed,
    InstallFailed,
}

impl Fact {
    /// What an event says of the bundle that it names, and whether it is of that one for certain: a server may take it for
    /// one of the bundle that it offered last.
    fn of(event: &Value, client: Client) -> Option<(&str, Self, bool)> {
        let said = outcome(event["action"].as_str()?, client);
        let fact = match said.meaning {
            Meaning::TrialStarted => Self::Activated,
            Meaning::Failure(FailureKind::Start | FailureKind::Activation) => Self::LaunchFailed,
            Meaning::Failure(FailureKind::Delivery) => Self::InstallFailed,
            _ => return None,
        };
        Some((event["version_name"].as_str()?, fact, said.attribution == Attribution::Named))
    }
}

/// Phones that told something of a bundle, each counted once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Told {
    /// That it was made active.
    pub activated: u64,
    /// That it did not start.
    pub launch_failed: u64,
    /// That it could not be installed.
    pub install_failed: u64,
}

impl Told {
    pub(crate) fn of(&mut self, fact: Fact) -> &mut u64 {
        match fact {
            Fact::Activated => &mut self.activated,
            Fact::LaunchFailed => &mut self.launch_failed,
            Fact::InstallFailed => &mut self.install_failed,
        }
    }
}

/// Something that a phone told, and how far that is known to the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) version: String,
    pub(crate) fact: Fact,
    /// Whether a request with it was answered as taken, and it is of that bundle for certain.
    pub(crate) acknowledged: bool,
}

/// What one phone told so far.
#[derive(Debug, Default)]
pub(crate) struct Ledger(Vec<Entry>);

impl Ledger {
    /// Notes a request with events. Returns what is known of it now and was not before, with what was known.
    pub(crate) fn note(&mut self, body: &Value, client: Client, taken: bool) -> Vec<(Option<Entry>, Entry)> {
        let events = body.as_array().map_or(std::slice::from_ref(body), Vec::as_slice);
        let mut news = Vec::new();
        for (version, fact, certain) in events.iter().filter_map(|event| Fact::of(event, client)) {
            let acknowledged = taken && certain;
            let now = Entry { version: version.to_owned(), fact, acknowledged };
            let known = self.0.iter_mut().find(|entry| (entry.fact, &*entry.version) == (fact, version));
            match known {
                None => {
                    self.0.push(now.clone());
                    news.push((None, now));
                }
                Some(known) if acknowledged && !known.acknowledged => {
                    news.push((Some(std::mem::replace(known, now.clone())), now));
                }
                Some(_) => {}
            }
        }
        news
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use sluice_core::{channel::Platform, client::PluginVersion};

    use super::*;

    #[test]
    fn each_fact_counts_once_and_is_doubtful_until_it_is_answered() {
        let client = Client::new(Platform::Android, PluginVersion::parse("8.51.23"));
        let event = |action: &str| json!({ "action": action, "version_name": "1.1.0" });
        let mut ledger = Ledger::default();
        let both = json!([event("set"), event("update_fail"), event("ping")]);
        let lost = ledger.note(&both, client, false);
        assert!(lost.len() == 2 && lost.iter().all(|(known, now)| known.is_none() && !now.acknowledged));
        assert!(ledger.note(&both, client, false).is_empty());
        let taken = ledger.note(&event("set"), client, true);
        assert!(taken.len() == 1 && taken[0].0.is_some() && taken[0].1.acknowledged);
        assert!(ledger.note(&event("set"), client, true).is_empty());
        assert!(ledger.note(&event("set"), client, false).is_empty(), "what was promised stays promised");
    }
}

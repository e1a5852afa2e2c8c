//! One phone: what it runs, what it says, and what it does with an answer. No I/O and no clock.

use std::net::Ipv4Addr;

use rand::{Rng, SeedableRng as _, rngs::SmallRng};
use serde_json::{Map, Value, json};
use sluice_core::client::Feature;
use uuid::Uuid;

use crate::{
    clients::{self, GENERATIONS, Generation},
    ledger::{Entry, Ledger},
    schedule::Habits,
    settings::{Behaviour, Settings},
};

/// How often a phone has no network when it is opened.
const OFFLINE: f64 = 0.03;
/// Simulated seconds that a session lasts, at least and at most.
const SESSION: std::ops::Range<f64> = 30.0..900.0;
/// Chance that a session of the app itself crashes.
const CRASH: f64 = 0.003;
/// Most events that wait on a phone (`device-protocol` section 3.1).
const MOST_WAITING: usize = 200;

/// A phone.
#[derive(Debug)]
pub(crate) struct Phone {
    id: Uuid,
    /// Where it is in the network.
    address: Ipv4Addr,
    generation: u8,
    native: u8,
    habits: Habits,
    random: SmallRng,
    /// What it runs; `None`: the shipped bundle.
    running: Option<String>,
    /// What is downloaded and not yet active.
    staged: Option<String>,
    open: bool,
    crashed: bool,
    /// Events that were not answered.
    waiting: Vec<Value>,
    ledger: Ledger,
}

/// What a phone does when its time has come.
#[derive(Debug)]
pub(crate) enum Act {
    /// It is opened: it reports `events` and asks for an update.
    Ask {
        /// Body of the check.
        check: Value,
        /// Requests to report with.
        reports: Vec<Report>,
    },
    /// It is put away: what was downloaded becomes active.
    Report(Vec<Report>),
    /// It has no network.
    Nothing,
}

/// One request with events, and whether they are kept until it is answered.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) body: Value,
    pub(crate) keeps: bool,
}

/// What changed on a phone, for the tally.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// It runs another bundle; nothing is the shipped one.
    Runs { before: Option<String>, now: Option<String> },
    /// A bundle did not start.
    LaunchFailed(String),
    /// A bundle could not be installed.
    InstallFailed(String),
    /// A session crashed on this bundle.
    Crashed(Option<String>),
}

impl Phone {
    /// The `number`-th phone of a fleet.
    pub(crate) fn new(settings: &Settings, number: u32) -> Self {
        let seed = settings.seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ (u64::from(number) << 1);
        let mut random = SmallRng::seed_from_u64(seed);
        let id = uuid::Builder::from_random_bytes(random.random()).into_uuid();
        // Of carrier networks (RFC 6598), which hold 16,384 neighbourhoods.
        let address =
            Ipv4Addr::from(u32::from(Ipv4Addr::new(100, 64, 0, 0)) | (random.random::<u32>() >> 10));
        let generation = u8::try_from(clients::draw(random.random())).unwrap_or(0);
        let native = u8::try_from(random.random_range(0..settings.native.len().min(200))).unwrap_or(0);
        let habits = Habits::draw(&mut random);
        Self {
            id,
            address,
            generation,
            native,
            habits,
            random,
            running: None,
            staged: None,
            open: false,
            crashed: false,
            waiting: Vec::new(),
            ledger: Ledger::default(),
        }
    }

    fn generation(&self) -> &'static Generation {
        &GENERATIONS[usize::from(self.generation)]
    }

    /// Where it is in the network.
    pub(crate) fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// What it runs; nothing: the shipped bundle.
    pub(crate) fn running(&self) -> Option<&str> {
        self.running.as_deref()
    }

    /// Its time has come: it is opened, or put away. `incident` is the chance of a crash whatever it runs, `clock` the
    /// milliseconds since 1970 that it believes.
    pub(crate) fn act(
        &mut self,
        settings: &Settings,
        incident: f64,
        clock: u64,
        changes: &mut Vec<Change>,
    ) -> Act {
        if self.open {
            self.open = false;
            return Act::Report(self.put_away(settings, incident, clock, changes));
        }
        if self.random.random::<f64>() < OFFLINE {
            return Act::Nothing;
        }
        self.open = true;
        let mut events = Vec::new();
        if std::mem::take(&mut self.crashed) && self.generation().reports_crashes() {
            events.push(self.event(settings, "app_crash", &self.name(settings), "", clock));
        }
        Act::Ask { check: Value::Object(self.about(settings)), reports: self.reports(events) }
    }

    /// Simulated seconds until its time comes again.
    pub(crate) fn pause(&mut self, now: f64) -> f64 {
        if self.open { self.random.random_range(SESSION) } else { self.habits.gap(now, &mut self.random) }
    }

    /// It was answered. Returns the address to download from, when it downloads.
    pub(crate) fn answered<'a>(&mut self, answer: &'a Value) -> Option<(&'a str, &'a str)> {
        if answer.get("error").is_some() || answer.get("kind").is_some() {
            return None;
        }
        let version = answer["version"].as_str()?;
        if version == "builtin" {
            self.staged = Some(String::new());
            return None;
        }
        let url = answer["url"].as_str()?;
        let known = self.staged.as_deref() == Some(version) || self.running.as_deref() == Some(version);
        (!known).then_some((version, url))
    }

    /// A download ended. Returns what it reports.
    pub(crate) fn downloaded(
        &mut self,
        settings: &Settings,
        version: &str,
        clock: u64,
        changes: &mut Vec<Change>,
    ) -> Vec<Report> {
        let behaviour = settings.bundles.get(version).copied().unwrap_or_default();
        let name = if self.random.random::<f64>() < behaviour.install {
            changes.push(Change::InstallFailed(version.to_owned()));
            "finish_download_fail"
        } else {
            self.staged = Some(version.to_owned());
            "download_complete"
        };
        let event = self.event(settings, name, version, "", clock);
        self.reports(vec![event])
    }

    /// Notes what became of a request with events. Returns what is known of them now and was not before.
    pub(crate) fn reported(&mut self, body: &Value, taken: bool) -> Vec<(Option<Entry>, Entry)> {
        let client = self.generation().client();
        self.ledger.note(body, client, taken)
    }

    /// Reports that were not answered: a new client keeps them, an old one forgets.
    pub(crate) fn unanswered(&mut self, report: Report) {
        if !report.keeps {
            return;
        }
        match report.body {
            Value::Array(events) => self.waiting.extend(events),
            event => self.waiting.push(event),
        }
        let over = self.waiting.len().saturating_sub(MOST_WAITING);
        self.waiting.drain(..over);
    }

    fn put_away(
        &mut self,
        settings: &Settings,
        incident: f64,
        clock: u64,
        changes: &mut Vec<Change>,
    ) -> Vec<Report> {
        let own = |version: Option<&str>| {
            let known = version.and_then(|version| settings.bundles.get(version));
            known.copied().unwrap_or(Behaviour { crash: CRASH, ..Behaviour::default() })
        };
        let chance = own(self.running()).crash.max(CRASH).max(incident);
        if self.random.random::<f64>() < chance {
            self.crashed = true;
            changes.push(Change::Crashed(self.running.clone()));
        }
        let Some(staged) = self.staged.take() else { return self.reports(Vec::new()) };
        let before = self.running.clone();
        let was = self.name(settings);
        if staged.is_empty() {
            self.running = None;
            changes.push(Change::Runs { before, now: None });
            let event = self.event(settings, "reset", &self.name(settings), &was, clock);
            return self.reports(vec![event]);
        }
        let mut events = vec![self.event(settings, "set", &staged, &was, clock)];
        let launches = self.generation().client().has(Feature::LaunchReady);
        if self.random.random::<f64>() < own(Some(&staged)).launch {
            changes.push(Change::LaunchFailed(staged.clone()));
            if launches {
                events.push(self.event(settings, "app_launch_timeout", &staged, "", clock + 10_000));
            }
            events.push(self.event(settings, "update_fail", &staged, "", clock + 10_000));
        } else {
            if launches {
                events.push(self.event(settings, "app_launch_ready", &staged, "", clock + 2_000));
            }
            self.running = Some(staged);
            changes.push(Change::Runs { before, now: self.running.clone() });
        }
        self.reports(events)
    }

    /// How it names what it runs.
    fn name(&self, settings: &Settings) -> String {
        match &self.running {
            Some(version) => version.clone(),
            None if self.generation().client().has(Feature::BuiltinNamedNative) => {
                settings.native[usize::from(self.native)].clone()
            }
            None => "builtin".to_owned(),
        }
    }

    /// What it says of itself in every request (`device-protocol` section 2.1).
    fn about(&self, settings: &Settings) -> Map<String, Value> {
        let Generation { platform, plugin, os, .. } = self.generation();
        let native = &settings.native[usize::from(self.native)];
        let mut about = Map::new();
        let mut say = |name: &str, value: Value| _ = about.insert(name.to_owned(), value);
        say("platform", json!(platform.name()));
        say("device_id", json!(self.id));
        say("app_id", json!(settings.app));
        say("custom_id", json!(""));
        say("version_build", json!(native));
        say("version_code", json!("1"));
        say("version_os", json!(os));
        say("version_name", json!(self.name(settings)));
        say("plugin_version", json!(plugin));
        say("is_emulator", json!(false));
        say("is_prod", json!(true));
        if self.generation().client().has(Feature::DefaultChannel) {
            say("defaultChannel", json!(settings.channel.as_ref().map_or("", |channel| channel.as_str())));
        }
        about
    }

    fn event(&self, settings: &Settings, action: &str, version: &str, before: &str, clock: u64) -> Value {
        let mut event = self.about(settings);
        let client = self.generation().client();
        event.insert("action".to_owned(), json!(action));
        event.insert("version_name".to_owned(), json!(version));
        if client.has(Feature::OldVersionName) {
            event.insert("old_version_name".to_owned(), json!(before));
        }
        if client.has(Feature::StatsArray) {
            event.insert("timestamp".to_owned(), json!(clock));
        }
        Value::Object(event)
    }

    /// The requests that bring `events`, and those that wait, as its generation does it.
    fn reports(&mut self, events: Vec<Value>) -> Vec<Report> {
        let keeps = self.generation().repeats();
        let mut all = std::mem::take(&mut self.waiting);
        all.extend(events);
        if all.is_empty() {
            return Vec::new();
        }
        if self.generation().client().has(Feature::StatsArray) {
            return vec![Report { body: Value::Array(all), keeps }];
        }
        all.into_iter().map(|body| Report { body, keeps }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::behaviour;

    fn settings() -> Settings {
        Settings {
            server: "http://127.0.0.1:1".parse().unwrap(),
            app: "com.example.shop".parse().unwrap(),
            channel: None,
            phones: 100,
            seed: 1,
            speed: 60.0,
            time: std::time::Duration::from_secs(1),
            warm_up: std::time::Duration::ZERO,
            connections: 1,
            native: vec!["1.0.0".to_owned()],
            bundles: [behaviour("2.0.0:launch=100%").unwrap()].into(),
            incidents: Vec::new(),
            forgers: 0,
            downloads: 0.0,
        }
    }

    /// Opens phones until one asks.
    fn ask(phone: &mut Phone, settings: &Settings) -> Value {
        loop {
            if let Act::Ask { check, .. } = phone.act(settings, 0.0, 0, &mut Vec::new()) {
                return check;
            }
        }
    }

    #[test]
    fn a_good_update_is_run_and_a_bad_one_is_left() {
        let settings = settings();
        for number in 0..50 {
            let mut phone = Phone::new(&settings, number);
            ask(&mut phone, &settings);
            let mut changes = Vec::new();
            for (version, runs) in [("1.1.0", "1.1.0"), ("2.0.0", "1.1.0")] {
                let answer = json!({ "version": version, "url": "http://127.0.0.1:1/x.zip" });
                assert_eq!(phone.answered(&answer).map(|(version, _)| version), Some(version));
                phone.downloaded(&settings, version, 0, &mut changes);
                assert_eq!(phone.answered(&answer), None, "it is there");
                assert!(matches!(phone.act(&settings, 0.0, 0, &mut changes), Act::Report(_)));
                assert_eq!(phone.running(), Some(runs));
                ask(&mut phone, &settings);
            }
            assert!(changes.contains(&Change::LaunchFailed("2.0.0".to_owned())));
            phone.answered(&json!({ "version": "builtin" }));
            phone.act(&settings, 0.0, 0, &mut changes);
            assert_eq!(phone.running(), None);
        }
    }

    #[test]
    fn a_refusal_changes_nothing() {
        let settings = settings();
        let mut phone = Phone::new(&settings, 1);
        ask(&mut phone, &settings);
        for answer in [
            json!({ "error": "no_new_version_available", "message": "", "kind": "up_to_date" }),
            json!({ "version": "2.0.0", "url": "http://x", "error": "x" }),
            json!(null),
        ] {
            assert_eq!(phone.answered(&answer), None);
        }
    }

    #[test]
    fn new_clients_keep_what_was_not_answered() {
        let settings = settings();
        let keeping = (0..200).find_map(|number| {
            let phone = Phone::new(&settings, number);
            phone.generation().repeats().then_some(phone)
        });
        let mut phone = keeping.unwrap();
        ask(&mut phone, &settings);
        let reports = phone.downloaded(&settings, "1.1.0", 5, &mut Vec::new());
        for report in reports {
            phone.unanswered(report);
        }
        let Act::Report(reports) = phone.act(&settings, 0.0, 9, &mut Vec::new()) else {
            panic!("it was open")
        };
        let events = reports[0].body.as_array().unwrap();
        let actions: Vec<&str> = events.iter().map(|event| event["action"].as_str().unwrap()).collect();
        assert_eq!(actions, ["download_complete", "set", "app_launch_ready"]);
    }

    #[test]
    fn a_fleet_follows_from_its_seed() {
        let settings = settings();
        let about = |number| Phone::new(&settings, number).about(&settings);
        assert_eq!(about(7), about(7));
        assert_ne!(about(7)["device_id"], about(8)["device_id"]);
        let other = Settings { seed: 2, ..settings.clone() };
        assert_ne!(about(7)["device_id"], Phone::new(&other, 7).about(&other)["device_id"]);
    }
}

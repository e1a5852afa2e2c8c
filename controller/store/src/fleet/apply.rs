//! What check-ins and events do to the rows of one batch. No database: rows are loaded before and written after.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use sha2::{Digest as _, Sha256};
use sluice_core::{
    channel::Platform,
    digest::Digest,
    ids::Version,
    native::NativeVersion,
    outcome::{Attribution, Event, FailureKind, Meaning, Outcome, Withhold},
};

use super::{
    active::Moves,
    census::{Bits, Standing, target},
    hot::{CONFIRM_SECONDS, Key},
    model::{DeviceRow, EventId, EventRow, FailedRow, First, OutcomeRow, Steps, cut},
    queue::Pending,
    registry::{App, KnownVersion},
    sql::OutcomeKey,
    trials::{Moment, Said},
    types::{Accepted, SESSION_SECONDS},
};

/// Events without a time that say the same are one when they come closer than this, in seconds. Clients and their HTTP
/// libraries repeat a request within seconds; nothing that matters happens twice to one version in a minute.
pub(crate) const UNTIMED_WINDOW: i64 = 60;

/// A `reset` this soon after `set` is taken for a failure to start, in milliseconds.
const SUSPICIOUS_RESET: i64 = 60_000;

/// A client's clock is believed for the order of attempts when it is this close to ours, in milliseconds.
const BELIEVED: i64 = 7 * 24 * 3_600_000;

/// What says that the bytes of a bundle are there.
const ARRIVED: [&str; 3] = ["download_complete", "download_zip_complete", "download_manifest_complete"];

/// Health events that count as a failure of the running bundle (`evidence-gate` section 2).
const ILL: [&str; 6] = [
    "app_crash",
    "app_crash_native",
    "app_anr",
    "webview_render_process_gone",
    "webview_content_process_terminated",
    "webview_javascript_error",
];

/// An event with what the batch needs, made where it is reported.
pub(crate) struct Report {
    pub(crate) app: Arc<App>,
    pub(crate) key: Key,
    pub(crate) id: EventId,
    pub(crate) received: i64,
    event: Event,
    outcome: Outcome,
}

impl Report {
    pub(crate) fn new(app: Arc<App>, event: Event, received: i64) -> Self {
        let key = Key { app: app.id, device: event.device };
        let mut hash = Sha256::new();
        hash.update(key.app.to_be_bytes());
        hash.update(key.device.as_bytes());
        for text in [Some(&event.action), event.version.as_ref(), event.file.as_ref()] {
            hash.update(text.map_or(u64::MAX, |t| t.len() as u64).to_be_bytes());
            hash.update(text.map_or("", |t| t));
        }
        hash.update(event.timestamp.unwrap_or(i64::MIN).to_be_bytes());
        let mut id = EventId { slot: received.div_euclid(60), hash: [0; 16] };
        // What one device says at one time lies side by side: an array of events touches one page and not twenty.
        id.hash[..6].copy_from_slice(&key.device.as_bytes()[..6]);
        id.hash[6..].copy_from_slice(&hash.finalize()[..10]);
        if let Some(at) = event.timestamp {
            id.slot = at.div_euclid(60_000);
        }
        let outcome = event.outcome();
        Self { app, key, id, received, event, outcome }
    }

    /// Where the same report may already be: an untimed one in this minute or the one before.
    pub(crate) fn candidates(&self) -> impl Iterator<Item = EventId> {
        let before = EventId { slot: self.id.slot - 1, hash: self.id.hash };
        std::iter::once(self.id).chain(self.event.timestamp.is_none().then_some(before))
    }

    /// Whether it says anything about a device or a bundle.
    pub(crate) fn speaks(&self) -> bool {
        let says = self.outcome.meaning != Meaning::Neutral || self.is_reset() || self.has_arrived();
        !self.event.probe && says
    }

    /// The device has the bytes of the bundle.
    fn has_arrived(&self) -> bool {
        ARRIVED.contains(&&*self.event.action)
    }

    fn is_reset(&self) -> bool {
        self.event.action == "reset" && self.event.old_version.is_some()
    }

    /// Milliseconds, by the device's clock where that can be.
    fn moment(&self) -> i64 {
        let ours = self.received.saturating_mul(1000);
        self.event.timestamp.filter(|at| at.abs_diff(ours) < BELIEVED.unsigned_abs()).unwrap_or(ours)
    }

    /// When it happened, as far as that is believed. A clock that is far off says nothing.
    pub(crate) fn when(&self) -> Moment {
        let ours = self.received.saturating_mul(1000);
        let happened = match self.event.timestamp {
            None => Some(self.received),
            Some(at) if at.abs_diff(ours) < BELIEVED.unsigned_abs() => Some(at.min(ours).div_euclid(1000)),
            Some(_) => None,
        };
        Moment { received: self.received, happened }
    }

    /// Whether it may say something of a device in a trial.
    pub(crate) fn concerns_trials(&self) -> bool {
        let meaning = self.outcome.meaning;
        let says = matches!(meaning, Meaning::Success | Meaning::Failure(_) | Meaning::Alive)
            || self.is_ill()
            || self.is_reset();
        says && self.event.counts()
    }

    /// Whether the running app is not well. A launch that timed out is told by the running bundle, and in both arms.
    fn is_ill(&self) -> bool {
        let health = self.outcome.meaning == Meaning::Health && ILL.contains(&&*self.event.action);
        health || self.event.action == "app_launch_timeout"
    }

    fn row(&self) -> EventRow {
        EventRow {
            id: self.id,
            key: self.key,
            action: cut(&self.event.action, 64).to_owned(),
            version: cut(self.event.version.as_deref().unwrap_or(""), 64).to_owned(),
            sent_at: self.event.timestamp,
            received: self.received,
            neutral: !self.speaks(),
        }
    }
}

/// The rows of a batch.
#[derive(Default)]
pub(crate) struct Batch {
    pub(crate) devices: HashMap<Key, DeviceRow>,
    pub(crate) changed_devices: HashSet<Key>,
    pub(crate) moves: Moves,
    pub(crate) seen: HashMap<EventId, i64>,
    pub(crate) events: Vec<EventRow>,
    pub(crate) outcomes: HashMap<OutcomeKey, OutcomeRow>,
    /// What changed, with the facts that were true before.
    pub(crate) changed_outcomes: HashMap<OutcomeKey, Bits>,
    pub(crate) failed: HashMap<(Key, Digest), FailedRow>,
    pub(crate) configuration_failures: u64,
}

impl Batch {
    /// Notes a check-in. `self.devices` has what the database has of the device. Returns what it ran before, when that is
    /// something else.
    pub(crate) fn check_in(&mut self, pending: &Pending) -> Option<String> {
        let Pending { key, at, since, about, offered, .. } = pending;
        self.moves.before(*key, self.devices.get(key));
        let row = self.devices.entry(*key).or_insert_with(|| DeviceRow::new(*at, about.clone()));
        row.contact(*since, *at);
        let before = std::mem::replace(&mut row.about, about.clone()).running;
        if let Some(known) = offered {
            row.offered = Some((known.version.to_string(), *at));
        }
        self.changed_devices.insert(*key);
        (before != about.running).then_some(before)
    }

    /// What a check-in says of versions: which was offered, which runs, and which does not any more.
    pub(crate) fn step(&mut self, pending: &Pending, left: Option<&String>) {
        let Pending { key, at, about, runs_known, offered, .. } = pending;
        let evidence = about.production && !about.emulator;
        if let Some(known) = offered {
            let at_first = |steps: &mut Steps| _ = steps.offered_at.get_or_insert(*at);
            self.walk((*key, known.version.to_string()), evidence, at_first);
        }
        if *runs_known {
            let at_first = |steps: &mut Steps| _ = steps.ran_at.get_or_insert(*at);
            self.walk((*key, about.running.clone()), evidence, at_first);
        }
        if let Some(left) = left.filter(|left| is_older(&about.running, left)) {
            let left = (*key, left.clone());
            if self.outcomes.get(&left).is_some_and(|row| row.steps.ran_at.is_some()) {
                self.walk(left, evidence, |steps| _ = steps.rolled_back_at.get_or_insert(*at));
            }
        }
    }

    fn walk(&mut self, key: OutcomeKey, evidence: bool, step: impl FnOnce(&mut Steps)) {
        let known = self.outcomes.get(&key);
        let mut row = known.cloned().unwrap_or(OutcomeRow { evidence, ..OutcomeRow::default() });
        step(&mut row.steps);
        if known != Some(&row) {
            self.put(key, row);
        }
    }

    fn put(&mut self, key: OutcomeKey, row: OutcomeRow) {
        let known = self.outcomes.insert(key.clone(), row);
        let facts = || known.as_ref().map(Bits::of).unwrap_or_default();
        self.changed_outcomes.entry(key).or_insert_with(facts);
    }

    /// Settles where the devices of the batch stand, once everything is taken in.
    pub(crate) fn stand(&mut self) {
        for (key, row) in &mut self.devices {
            let outcome = self.outcomes.get(&(*key, target(row).to_owned()));
            let standing = Some(Standing::of(row, outcome));
            if row.standing != standing {
                row.standing = standing;
                self.changed_devices.insert(*key);
            }
        }
    }

    /// A device that runs a version for a while after it was activated, without a failure, has started it.
    pub(crate) fn confirm(&mut self, key: &OutcomeKey, at: i64) {
        if let Some(mut row) = self.outcomes.get(key).cloned()
            && confirm(&mut row, at)
        {
            self.put(key.clone(), row);
        }
    }

    /// Notes a contact by an event. `since` is known when memory says that a session ended before.
    pub(crate) fn contact(&mut self, key: Key, since: Option<i64>, at: i64) {
        if let Some(row) = self.devices.get_mut(&key)
            && (since.is_some() || at > row.last_seen + SESSION_SECONDS)
        {
            self.moves.before(key, Some(row));
            row.contact(since, at);
            self.changed_devices.insert(key);
        }
    }

    /// Whether the event is new. Once it was asked for, it is not any more.
    pub(crate) fn admit(&mut self, report: &Report) -> Accepted {
        let known = report.candidates().filter_map(|id| self.seen.get(&id)).any(|received| {
            report.event.timestamp.is_some()
                || report.received.abs_diff(*received) < UNTIMED_WINDOW.unsigned_abs()
        });
        if known {
            return Accepted::Duplicate;
        }
        self.seen.insert(report.id, report.received);
        self.events.push(report.row());
        Accepted::New
    }

    /// The version that an event is about, when it is one that was ever offered.
    pub(crate) fn target(&self, report: &Report) -> Option<Arc<KnownVersion>> {
        if !report.speaks() {
            return None;
        }
        if report.is_reset() {
            return report.app.version(report.event.old_version.as_deref()?);
        }
        let named = match report.outcome.attribution {
            Attribution::Named => report.event.version.as_deref(),
            Attribution::LastOffered => None,
        };
        if let Some(named) = named {
            return report.app.version(named);
        }
        let blames = matches!(
            report.outcome.meaning,
            Meaning::Failure(_) | Meaning::Weak | Meaning::ConfigurationFailure
        );
        let row = self.devices.get(&report.key).filter(|_| blames)?;
        let (offered, _) = row.offered.as_ref()?;
        // What already runs is not downloaded any more, except by Electron.
        let delivery =
            matches!(report.outcome.meaning, Meaning::Failure(FailureKind::Delivery) | Meaning::Weak);
        if delivery && row.about.running == *offered && report.event.platform != Platform::Electron {
            return None;
        }
        report.app.version(offered)
    }

    /// Whether a version is known to have started on a device.
    pub(crate) fn has_started(&self, key: &OutcomeKey) -> bool {
        self.outcomes.get(key).is_some_and(|row| row.success_at.is_some())
    }

    /// Takes in a new event. `target` is what [`Batch::target`] said; its outcome is loaded when there is one. Returns what
    /// the event says, also when the same was said before.
    pub(crate) fn report(&mut self, report: &Report, target: Option<&KnownVersion>) -> Said {
        if report.outcome.meaning == Meaning::ConfigurationFailure {
            self.configuration_failures += 1;
        }
        let ill = report.is_ill();
        let Some(target) = target else { return Said { ill, ..Said::default() } };
        let key = (report.key, target.version.to_string());
        let known = self.outcomes.get(&key).cloned();
        let mut row =
            known.clone().unwrap_or(OutcomeRow { evidence: report.event.counts(), ..OutcomeRow::default() });
        let (said, repeated) = note(&mut row, report);
        if known.as_ref() != Some(&row)
            && row != (OutcomeRow { evidence: row.evidence, ..OutcomeRow::default() })
        {
            self.put(key, row);
        }
        let withheld = match report.outcome.withhold {
            Withhold::No => false,
            Withhold::AtOnce => true,
            Withhold::AfterRepeats => repeated,
        };
        // Memory is for devices that asked for an update at least once: others are strangers.
        if withheld && self.devices.contains_key(&report.key) {
            self.withhold(report.key, target.digest, report.event.native, report.received);
        }
        Said { ill, ..said }
    }

    fn withhold(&mut self, key: Key, digest: Digest, native: NativeVersion, at: i64) {
        self.failed.entry((key, digest)).or_insert(FailedRow { key, digest, native, at });
    }
}

/// Writes an event into an outcome. Returns what it says, and whether the deliveries failed often enough to give up.
fn note(row: &mut OutcomeRow, report: &Report) -> (Said, bool) {
    let (mut said, mut repeated) = (Said::default(), false);
    let at = report.received;
    let first = |slot: &mut Option<First>| {
        slot.get_or_insert_with(|| First { at, action: cut(&report.event.action, 64).to_owned() });
    };
    match report.outcome.meaning {
        Meaning::TrialStarted => _ = row.trial_at.get_or_insert(at),
        Meaning::Success if report.event.platform == Platform::Electron && row.launch.is_some() => {}
        Meaning::Success => {
            row.success_at.get_or_insert(at);
            said.started = true;
        }
        Meaning::Failure(FailureKind::Start | FailureKind::Activation) => {
            first(&mut row.launch);
            said.launch_failed = true;
        }
        Meaning::Failure(FailureKind::Delivery) => {
            first(&mut row.install);
            said.install_failed = true;
            repeated = row.attempts.add(report.moment());
        }
        Meaning::Weak => repeated = row.attempts.add(report.moment()),
        Meaning::Health if ILL.contains(&&*report.event.action) => first(&mut row.health),
        Meaning::Alive => said.started = confirm(row, at),
        Meaning::Neutral if report.is_reset() => {
            let soon = row.trial_at.is_some_and(|trial| (at - trial) * 1000 <= SUSPICIOUS_RESET);
            if soon && row.success_at.is_none() {
                first(&mut row.launch);
                said.launch_failed = true;
            }
        }
        Meaning::Neutral if report.has_arrived() => _ = row.steps.downloaded_at.get_or_insert(at),
        Meaning::ConfigurationFailure => first(&mut row.steps.refused),
        Meaning::Health | Meaning::Resource | Meaning::Neutral => {}
    }
    (said, repeated)
}

/// Whether a version is older than another one, or none at all: the shipped bundle is as old as the app.
fn is_older(version: &str, than: &str) -> bool {
    let parse = |text: &str| text.parse::<Version>().ok();
    parse(than).is_some_and(|than| parse(version).is_none_or(|version| version < than))
}

fn confirm(row: &mut OutcomeRow, at: i64) -> bool {
    let started = row.trial_at.is_some_and(|trial| at - trial >= CONFIRM_SECONDS);
    let open = row.success_at.is_none() && row.launch.is_none();
    if started && open {
        row.success_at = Some(at);
    }
    started && open
}

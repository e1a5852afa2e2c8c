//! What a gateway gathers from devices, and writes as segments. A device is answered once its segment is written.

use std::{
    collections::HashMap,
    fmt, io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use jiff::Timestamp;
use sluice_core::{
    digest::Digest,
    ids::{AppId, ChannelName},
    memory::{DeviceMemory, Failed, Override, OverrideBy},
    outcome::{Attribution, Event, Withhold},
    request::DeviceKey,
    snapshot::Snapshot,
};
use tokio::{
    sync::{Notify, oneshot},
    time::{Instant, MissedTickBehavior, timeout},
};
use uuid::Uuid;

use super::{
    own::Own,
    segment::{self, Gateway, Name},
    shared::{Reader, Remembered},
};
use crate::{
    fleet::{
        CheckIn, Choice, Clock, Noted, OfferMade, Reported, Segment, Trial,
        hash::{Seed, keyed_hash},
        hot::{Hot, Key},
        registry::{KnownVersion, Registry},
        remembered::Learned,
        traffic::Traffic,
    },
    objects::{Objects, ObjectsError},
};

/// How often device memory is asked for.
const MEMORY_EVERY: Duration = Duration::from_secs(2);

/// Limits of an outbox, each with a default that suits one gateway.
#[derive(Debug, Clone)]
pub struct OutboxLimits {
    /// Events and channel choices that may wait.
    pub queued_events: usize,
    /// Check-ins that may wait.
    pub queued_check_ins: usize,
    /// Devices whose last state is held in memory (about 100 bytes each).
    pub cached_devices: usize,
    /// How long what came first waits for others.
    pub gather: Duration,
    /// So many lines are not waited for any longer.
    pub segment_lines: usize,
    /// How long the bundle store may take for a segment. Devices wait for about twice as long at most.
    pub write_timeout: Duration,
}

impl Default for OutboxLimits {
    fn default() -> Self {
        Self {
            queued_events: 65_536,
            queued_check_ins: 32_768,
            cached_devices: 1_000_000,
            gather: Duration::from_millis(500),
            segment_lines: 8_192,
            write_timeout: Duration::from_secs(6),
        }
    }
}

/// Nothing was stored. Each passes by itself, but the last.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OutboxError {
    /// More waits than may wait.
    #[error("too many reports wait for the bundle store")]
    Full,
    /// The bundle store does not take segments.
    #[error("the bundle store took no reports: {0}")]
    Unavailable(String),
    /// The process is about to stop.
    #[error("the gateway is stopping")]
    Closed,
}

/// Figures for metrics and readiness.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OutboxFigures {
    /// Events and choices that wait.
    pub queued_events: u64,
    /// Check-ins that wait.
    pub queued_check_ins: u64,
    /// Whether no more may wait.
    pub full: bool,
    /// Segments that were written.
    pub segments: u64,
    /// Events that are in them.
    pub events: u64,
    /// Segments that could not be written.
    pub flush_failures: u64,
    /// Events and choices that were refused.
    pub refused_events: u64,
    /// Check-ins that were given up.
    pub dropped_check_ins: u64,
    /// Why the newest segment could not be written; nothing when it was.
    pub last_error: Option<String>,
    /// Devices that the leader remembers something of.
    pub remembered_devices: u64,
}

#[derive(Default)]
struct Counters {
    segments: AtomicU64,
    events: AtomicU64,
    flush_failures: AtomicU64,
    refused_events: AtomicU64,
    dropped_check_ins: AtomicU64,
    last_error: Mutex<Option<String>>,
}

type Waiter = oneshot::Sender<Result<(), OutboxError>>;

/// What waits.
#[derive(Default)]
struct Waiting {
    segment: Segment,
    /// The devices of the check-ins, so that they can be written by the next one when this fails.
    keys: Vec<Key>,
    learned: Vec<(Key, Learned)>,
    waiters: Vec<Waiter>,
    since: Option<Instant>,
    closing: bool,
    closed: bool,
}

impl Waiting {
    fn events(&self) -> usize {
        self.segment.events.len() + self.segment.choices.len()
    }

    fn lines(&self) -> usize {
        self.events() + self.segment.check_ins.len()
    }
}

struct Inner {
    objects: Arc<dyn Objects>,
    served: Arc<ArcSwap<Snapshot>>,
    clock: Clock,
    limits: OutboxLimits,
    gateway: Gateway,
    registry: Registry,
    hot: Hot,
    reader: Reader,
    own: Own,
    waiting: Mutex<Waiting>,
    wake: Notify,
    /// Until when contacts were lost; 0 when none were, or it was told.
    lost: AtomicI64,
    /// Bytes that were sent to devices. They go with the next segment.
    traffic: Traffic,
    counters: Counters,
}

/// What a gateway gathers. Cheap to clone.
#[derive(Clone)]
pub struct Outbox {
    inner: Arc<Inner>,
}

impl fmt::Debug for Outbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbox").finish_non_exhaustive()
    }
}

impl Outbox {
    /// Gathers for `objects`, for as long as [`Self::run`] runs. `served` says which apps there are.
    pub fn new(
        objects: Arc<dyn Objects>,
        served: Arc<ArcSwap<Snapshot>>,
        clock: Clock,
        limits: OutboxLimits,
    ) -> Self {
        let (seed, gateway) = (Seed::random(), Gateway::random());
        let inner = Inner {
            reader: Reader::new(objects.clone(), gateway, seed),
            objects,
            served,
            clock,
            gateway,
            registry: Registry::new(seed),
            hot: Hot::new(seed, limits.cached_devices),
            own: Own::new(seed),
            waiting: Mutex::default(),
            wake: Notify::new(),
            lost: AtomicI64::new(0),
            traffic: Traffic::default(),
            counters: Counters::default(),
            limits,
        };
        Self { inner: Arc::new(inner) }
    }

    /// Writes segments and reads device memory, until [`Self::close`] is called and everything that waited is written.
    pub async fn run(&self) {
        let reading = async {
            let mut every = tokio::time::interval(MEMORY_EVERY);
            every.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let mut said = None;
            loop {
                every.tick().await;
                let trouble = self.read_memory().await.err();
                if trouble != said {
                    if let Some(error) = &trouble {
                        tracing::warn!(error, "device memory of the leader could not be read");
                    } else {
                        tracing::info!("device memory of the leader is read again");
                    }
                    said = trouble;
                }
            }
        };
        tokio::select! {
            () = reading => {}
            () = self.write_segments() => {}
        }
    }

    /// Reads what the leader published, once.
    pub async fn read_memory(&self) -> Result<(), String> {
        let inner = &*self.inner;
        let read = inner.reader.look().await;
        let known = read.as_ref().ok().copied().flatten();
        inner.own.forget(known, (inner.clock)());
        read.map(drop).map_err(|error| error.to_string())
    }

    /// Refuses everything from now on, and waits until what waits is written or refused. [`Self::run`] ends then.
    pub async fn close(&self) {
        let (waiter, answered) = oneshot::channel();
        {
            let mut waiting = self.inner.waiting();
            if waiting.closed {
                return;
            }
            waiting.closing = true;
            waiting.waiters.push(waiter);
        }
        self.inner.wake.notify_one();
        // Whatever the answer is, the devices have it.
        let _ = answered.await;
    }

    /// What the decision must know of a device.
    pub fn memory(&self, app: &str, device: DeviceKey) -> Option<Arc<DeviceMemory>> {
        let inner = &*self.inner;
        let shared = inner.reader.load();
        if shared.is_empty() && inner.own.is_empty() {
            return None;
        }
        let told = shared.get(app, &device);
        let own = if inner.own.is_empty() {
            None
        } else {
            inner.registry.app_id(app).and_then(|app| inner.own.over(&Key { app, device }, told))
        };
        let Remembered { memory, expires } = own.or_else(|| told.cloned())?;
        if memory.channel.is_some() && expires.is_some_and(|at| at <= (inner.clock)()) {
            let without = DeviceMemory { channel: None, failed: memory.failed.clone() };
            return (!without.is_empty()).then(|| without.into());
        }
        (!memory.is_empty()).then_some(memory)
    }

    /// Notes an update check, when it changed something. Never waits.
    pub fn check_in(&self, check_in: &CheckIn<'_>) {
        let inner = &*self.inner;
        let dropped = || {
            inner.counters.dropped_check_ins.fetch_add(1, Ordering::Relaxed);
            inner.lost.fetch_max(check_in.at, Ordering::Relaxed);
        };
        let Some(app) = inner.registry.app_or_new(check_in.app) else { return dropped() };
        // A custom id leaves this process only as its hash. Until the key for that is known it goes without.
        let shared = inner.reader.load();
        let custom_id = check_in
            .custom_id
            .zip(shared.custom_id_key.as_ref())
            .map(|(id, key)| keyed_hash(key, id.as_bytes()));
        let seen = CheckIn { custom_id: check_in.custom_id.filter(|_| custom_id.is_some()), ..*check_in };
        let key = Key { app: app.id, device: seen.device };
        let print = inner.hot.print(&seen);
        let changed = inner.hot.changed(&key, print, seen.at, |known| inner.registry.offered(known, seen.at));
        let Some(change) = changed else { return };
        let offered = seen.offered.map(|offer| {
            let known = inner.registry.version_or_new(&app, offer.version, offer.digest, seen.at);
            inner.registry.offered(&known, seen.at);
            known
        });
        let Some(mut noted) = Noted::of(&seen, change.since, custom_id) else { return };
        noted.trial = seen.trial.as_ref().map(|trial| Trial::of(trial, shared.custom_id_key.as_ref()));
        {
            let mut waiting = inner.waiting();
            if waiting.closing || waiting.segment.check_ins.len() >= inner.limits.queued_check_ins {
                return dropped();
            }
            waiting.segment.check_ins.push(noted);
            waiting.keys.push(key);
            inner.added(waiting);
        }
        // The leader knows which versions there are; here every one but the shipped one may be.
        let running = (seen.running != seen.native).then_some(seen.running);
        inner.hot.store(key, print, &seen, running, offered);
    }

    /// Writes events. Success means that they are in the bundle store, and that [`Self::memory`] knows at once what they
    /// say by themselves; what follows from several the leader finds out.
    pub async fn record(&self, events: Vec<Event>) -> Result<(), OutboxError> {
        let inner = &*self.inner;
        let now = (inner.clock)();
        let served = inner.served.load_full();
        let (mut reports, mut learned) = (Vec::with_capacity(events.len()), Vec::new());
        for event in events {
            if event.probe || served.app(event.app.as_str()).is_none() {
                continue;
            }
            learned.extend(inner.failure(&served, &event, now));
            reports.push(Reported::of(event, now));
        }
        if reports.is_empty() {
            return Ok(());
        }
        self.ask(reports.len(), |waiting| {
            waiting.segment.events.extend(reports);
            waiting.learned.extend(learned);
        })
        .await
    }

    /// Puts a device on a channel, durably, until `expires` when that is given.
    pub async fn set_channel(
        &self,
        app: &str,
        device: DeviceKey,
        channel: ChannelName,
        by: OverrideBy,
        expires: Option<i64>,
    ) -> Result<(), OutboxError> {
        let chosen = Override { channel, by };
        self.choose(app, device, Some(chosen.clone()), expires, Learned::Override(chosen, expires)).await
    }

    /// Takes a device off its channel, durably.
    pub async fn unset_channel(&self, app: &str, device: DeviceKey) -> Result<(), OutboxError> {
        self.choose(app, device, None, None, Learned::NoOverride).await
    }

    async fn choose(
        &self,
        app: &str,
        device: DeviceKey,
        chosen: Option<Override>,
        expires: Option<i64>,
        learned: Learned,
    ) -> Result<(), OutboxError> {
        let inner = &*self.inner;
        // Apps that nobody serves have no channels.
        let Ok(name) = app.parse::<AppId>() else { return Ok(()) };
        let app = inner.registry.app_or_new(app).ok_or(OutboxError::Full)?;
        let choice = Choice { app: name, device, chosen, at: (inner.clock)(), expires };
        self.ask(1, |waiting| {
            waiting.segment.choices.push(choice);
            waiting.learned.push((Key { app: app.id, device }, learned));
        })
        .await
    }

    /// Adds what a caller waits for.
    async fn ask(&self, events: usize, add: impl FnOnce(&mut Waiting)) -> Result<(), OutboxError> {
        let inner = &*self.inner;
        let (waiter, answer) = oneshot::channel();
        let refused = {
            let mut waiting = inner.waiting();
            let there = waiting.events();
            // What is larger than everything that may wait is taken when nothing else waits.
            if waiting.closing {
                Some(OutboxError::Closed)
            } else if there > 0 && there + events > inner.limits.queued_events {
                Some(OutboxError::Full)
            } else {
                add(&mut waiting);
                waiting.waiters.push(waiter);
                inner.added(waiting);
                None
            }
        };
        if let Some(error) = refused {
            inner.counters.refused_events.fetch_add(events as u64, Ordering::Relaxed);
            return Err(error);
        }
        answer.await.unwrap_or(Err(OutboxError::Closed))
    }

    /// Notes that bytes of a zip were sent to a device. Never waits.
    pub fn sent(&self, zip: &Digest, bytes: u64) {
        self.inner.traffic.add(zip, bytes, (self.inner.clock)());
    }

    /// Figures for metrics and readiness.
    pub fn figures(&self) -> OutboxFigures {
        let inner = &*self.inner;
        let (queued_events, queued_check_ins) = {
            let waiting = inner.waiting();
            (waiting.events(), waiting.segment.check_ins.len())
        };
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let c = &inner.counters;
        OutboxFigures {
            queued_events: queued_events as u64,
            queued_check_ins: queued_check_ins as u64,
            full: queued_events >= inner.limits.queued_events,
            segments: count(&c.segments),
            events: count(&c.events),
            flush_failures: count(&c.flush_failures),
            refused_events: count(&c.refused_events),
            dropped_check_ins: count(&c.dropped_check_ins),
            last_error: c.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            remembered_devices: inner.reader.load().len() as u64,
        }
    }

    async fn write_segments(&self) {
        let inner = &*self.inner;
        for number in 1.. {
            let Waiting { segment, keys, learned, waiters, closing, .. } = inner.take().await;
            let written = inner.write(segment, number).await;
            if written.is_ok() {
                inner.own.learn(number, (inner.clock)(), learned);
            } else {
                // The next check-in of these devices is written whatever it says.
                for key in &keys {
                    inner.hot.forget(key);
                }
                inner.counters.dropped_check_ins.fetch_add(keys.len() as u64, Ordering::Relaxed);
                // Silence is judged by what the leader knows.
                inner.lost.fetch_max((inner.clock)(), Ordering::Relaxed);
            }
            for waiter in waiters {
                // A caller that went away does not want the answer.
                let _ = waiter.send(written.clone());
            }
            if closing {
                return;
            }
        }
    }
}

impl Inner {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first one starts the clock, a full segment ends the gathering.
    fn added(&self, mut waiting: MutexGuard<'_, Waiting>) {
        let first = waiting.since.is_none();
        if first {
            waiting.since = Some(Instant::now());
        }
        let wake = first || waiting.lines() >= self.limits.segment_lines;
        drop(waiting);
        if wake {
            self.wake.notify_one();
        }
    }

    /// Waits until there is a segment to write, and takes it.
    async fn take(&self) -> Waiting {
        loop {
            let until = {
                let mut waiting = self.waiting();
                let due = waiting.since.map(|since| since + self.limits.gather);
                let now = due.is_some_and(|due| due <= Instant::now())
                    || waiting.lines() >= self.limits.segment_lines;
                if now || waiting.closing {
                    waiting.closed = waiting.closing;
                    let after =
                        Waiting { closing: waiting.closing, closed: waiting.closing, ..Waiting::default() };
                    return std::mem::replace(&mut *waiting, after);
                }
                due
            };
            match until {
                Some(until) => _ = tokio::time::timeout_at(until, self.wake.notified()).await,
                None => self.wake.notified().await,
            }
        }
    }

    async fn write(&self, mut segment: Segment, number: u64) -> Result<(), OutboxError> {
        let name = Name { id: Uuid::now_v7(), gateway: self.gateway, number };
        segment.id = name.id.into_bytes();
        let dirty = self.registry.take_dirty();
        segment.offers = self.offers(&dirty.versions);
        let lost = self.lost.swap(0, Ordering::Relaxed);
        segment.lost = (lost != 0).then_some(lost);
        let sent = self.traffic.take();
        segment.sent.clone_from(&sent);
        if segment == (Segment { id: segment.id, ..Segment::default() }) {
            return Ok(());
        }
        let events = (segment.events.len() + segment.choices.len()) as u64;
        let encoding = tokio::task::spawn_blocking(move || segment::encode(segment));
        let written = match encoding.await.unwrap_or_else(|e| Err(io::Error::other(e))) {
            Ok(bytes) => {
                let key = name.key(Timestamp::now());
                match timeout(self.limits.write_timeout, self.objects.create(&key, bytes.into())).await {
                    // The name is never used again: an attempt before this one succeeded without our hearing of it.
                    Ok(Ok(()) | Err(ObjectsError::AlreadyExists(_))) => Ok(()),
                    Ok(Err(error)) => Err(error.to_string()),
                    Err(_) => Err("it does not answer".to_owned()),
                }
            }
            Err(error) => Err(error.to_string()),
        };
        let mut said = self.counters.last_error.lock().unwrap_or_else(PoisonError::into_inner);
        match &written {
            Ok(()) => {
                self.counters.segments.fetch_add(1, Ordering::Relaxed);
                self.counters.events.fetch_add(events, Ordering::Relaxed);
                if said.take().is_some() {
                    tracing::info!("reports of devices are written again");
                }
            }
            Err(error) => {
                self.counters.flush_failures.fetch_add(1, Ordering::Relaxed);
                self.counters.refused_events.fetch_add(events, Ordering::Relaxed);
                self.registry.give_back(dirty);
                self.traffic.give_back(sent);
                self.lost.fetch_max(lost, Ordering::Relaxed);
                if said.replace(error.clone()).is_none() {
                    tracing::warn!(
                        error,
                        "reports of devices are answered 503 until the bundle store takes them"
                    );
                }
            }
        }
        written.map_err(OutboxError::Unavailable)
    }

    fn offers(&self, versions: &[Arc<KnownVersion>]) -> Vec<OfferMade> {
        if versions.is_empty() {
            return Vec::new();
        }
        let names: HashMap<u32, AppId> = self
            .registry
            .apps()
            .into_iter()
            .filter_map(|app| Some((app.id, app.name.parse().ok()?)))
            .collect();
        let made = |known: &KnownVersion| {
            let app = names.get(&known.app)?.clone();
            Some(OfferMade {
                app,
                version: known.version.to_string(),
                digest: known.digest,
                at: known.last(),
            })
        };
        versions.iter().filter_map(|known| made(known)).collect()
    }

    /// The bundle that an event says has failed for good, when it says so by itself. A device that never asked here may
    /// be a stranger: the leader knows.
    fn failure(&self, served: &Snapshot, event: &Event, now: i64) -> Option<(Key, Learned)> {
        let outcome = event.outcome();
        if outcome.withhold != Withhold::AtOnce {
            return None;
        }
        let app = self.registry.app_id(event.app.as_str())?;
        let key = Key { app, device: event.device };
        let (asked, offered) = self.hot.last_offer(&key);
        if !asked {
            return None;
        }
        let named = match outcome.attribution {
            Attribution::Named => event.version.as_deref(),
            Attribution::LastOffered => None,
        };
        let digest = match named {
            Some(version) => match served.app(event.app.as_str())?.bundle(version) {
                Some(bundle) => bundle.offer.digest,
                None => offered.filter(|offer| *offer.version == *version)?.digest,
            },
            None => offered?.digest,
        };
        Some((key, Learned::Failed(Failed { digest, native: event.native, at: now })))
    }
}

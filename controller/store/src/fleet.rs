//! The fleet store: what is known of devices, what they reported, and what became of it, in one SQLite
//! file or in a database of a Postgres server.
//!
//! Three promises shape it. A check-in costs one look-up unless it changes something, and never waits
//! ([`Fleet::check_in`]). An event that was accepted is on the disk ([`Fleet::record`]). What the decision must know of
//! a device is in memory, and is there for the very next request ([`Fleet::memory`]).
//!
//! There is one writer. Callers hand it work through a bounded queue, and it commits all that waits in one
//! transaction: check-ins first, so that events find what was last offered.
//!
//! An event is counted once: by (device, action, version, time of the device), or within a minute when it has no time.
//! Whatever slips through changes nothing, because an outcome is the first of its kind per device and version.

mod active;
mod acts;
mod apply;
mod census;
mod counters;
mod damaged;
mod dialect;
mod error;
pub(crate) mod hash;
pub(crate) mod hot;
mod ingest;
mod model;
mod place;
mod queue;
mod read;
pub(crate) mod registry;
pub(crate) mod remembered;
mod retention;
mod schema;
mod sql;
mod subject;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;
pub(crate) mod traffic;
mod transaction;
pub(crate) mod trials;
mod types;
mod writer;

use std::{
    fmt,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use sluice_core::{
    ids::ChannelName,
    memory::{DeviceMemory, Override, OverrideBy},
    outcome::Event,
    request::DeviceKey,
};
use tokio::sync::oneshot;

pub use self::{
    acts::{ActKind, ActView, Author},
    census::{
        Adoption, CoverageOf, Daily, Facts, Failures, ReleaseCoverage, ReleaseReport, Report, ReportQuery,
        Standing,
    },
    error::FleetError,
    ingest::{Choice, Noted, OfferMade, Reported, Segment},
    place::{FleetUrl, InvalidFleetUrl},
    subject::{EventView, Export, Happening, OverrideView, Subject},
    traffic::Sent,
    trials::{EnrolmentView, HORIZON_SECONDS, LevelView, RolloutView, Trial},
    types::{
        Accepted, ActiveDevices, CheckIn, Declared, DeviceView, Enrolling, Figures, LastOffer, Limits, Offer,
        Offered, OutcomeCounts, OutcomeView, SESSION_SECONDS, network_prefix,
    },
};
use self::{
    counters::Counters,
    dialect::{Connection, Readers},
    hash::Seed,
    hot::{Hot, Key},
    model::{About, OverrideRow, cut},
    place::Place,
    queue::{Job, Pending, Queue},
    registry::Registry,
    remembered::Remembered,
    schema::Holder,
    traffic::Traffic,
    trials::{Journals, Trials},
    writer::Writer,
};

/// Tells the time in seconds since 1970.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// Texts of a device are cut to this many bytes.
pub(crate) const MOST_TEXT: usize = 64;

/// The fleet store.
pub struct Fleet {
    pub(crate) shared: Arc<Shared>,
    /// One question that reads whole tables at a time, so that connections are left for others.
    long_questions: tokio::sync::Mutex<()>,
}

/// What callers and the writer share.
pub(crate) struct Shared {
    pub(crate) registry: Registry,
    hot: Hot,
    pub(crate) remembered: Remembered,
    journals: Journals,
    queue: Queue,
    traffic: Traffic,
    counters: Counters,
    /// Damaged files that were set aside and are still there.
    damaged_files: u64,
    /// Since when contacts of devices are taken in without a break, in seconds since 1970.
    up_since: AtomicI64,
    /// Until when everything is taken in that others gather.
    taken_in: AtomicI64,
    clock: Clock,
    custom_id_key: [u8; 32],
    readers: Readers,
    limits: Limits,
}

impl Shared {
    /// Contacts were lost, the last one at `until`: whoever stayed away may have been here.
    fn lose(&self, until: i64) {
        self.up_since.fetch_max(until, Ordering::Relaxed);
    }
}

impl fmt::Debug for Fleet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fleet").finish_non_exhaustive()
    }
}

impl Fleet {
    /// Opens the file, or makes it, and starts the writer on the present runtime.
    pub async fn open(path: &Path, clock: Clock) -> Result<Self, FleetError> {
        Self::open_with(path, clock, Limits::default()).await
    }

    /// The same with other limits.
    pub async fn open_with(path: &Path, clock: Clock, limits: Limits) -> Result<Self, FleetError> {
        Self::connect(&FleetUrl::file(path), clock, limits).await
    }

    /// Opens a store wherever it is, makes its tables if need be, and starts the writer on the present runtime. There is
    /// one writer at a time: [`FleetError::InUse`] while another process has the store.
    ///
    /// A server that is away later comes back by itself: until then reports are refused, and decisions go on. A file that
    /// is damaged is set aside under a name with the time, and a new one begins.
    pub async fn connect(url: &FleetUrl, clock: Clock, limits: Limits) -> Result<Self, FleetError> {
        let place = url.0.clone();
        let (holder, now) = (Holder::random(), clock());
        let lock = schema::lock(&place)?;
        let suspect = damaged::is_marked(&place);
        let (connection, opened) = match open(&place, holder, &limits, now, suspect).await {
            Err(damage @ FleetError::Corrupt { .. }) => {
                damaged::set_aside(&place, damage, now)?;
                open(&place, holder, &limits, now, false).await?
            }
            opened => {
                let opened = opened?;
                if suspect {
                    damaged::unmark(&place);
                }
                opened
            }
        };
        let seed = Seed::random();
        let registry = Registry::new(seed);
        let remembered = Remembered::new(seed, limits.remembered_devices);
        let Opened { custom_id_key, loaded, trials, up_since } = opened;
        loaded.fill(&registry, &remembered, now);
        let journals = Journals::default();
        journals.load(&trials);
        let shared = Arc::new(Shared {
            registry,
            hot: Hot::new(seed, limits.cached_devices),
            remembered,
            journals,
            queue: Queue::new(&limits),
            traffic: Traffic::default(),
            counters: Counters::default(),
            damaged_files: damaged::kept(&place),
            up_since: AtomicI64::new(up_since),
            taken_in: AtomicI64::new(i64::MAX),
            clock,
            custom_id_key,
            readers: Readers::of(&place),
            limits,
        });
        let writer = Writer::new(Arc::clone(&shared), place, holder, connection, trials, lock);
        tokio::spawn(writer.run());
        Ok(Self { shared, long_questions: tokio::sync::Mutex::default() })
    }

    /// What the decision must know of a device.
    pub fn memory(&self, app: &str, device: DeviceKey) -> Option<Arc<DeviceMemory>> {
        if self.shared.remembered.len() == 0 {
            return None;
        }
        let app = self.shared.registry.app_id(app)?;
        self.shared.remembered.get(&Key { app, device })
    }

    /// Notes an update check. Never waits: what changes nothing ends here, what changes something is written within
    /// a fraction of a second, and when too much waits it is dropped and counted, and written by the next check.
    pub fn check_in(&self, check_in: &CheckIn<'_>) {
        let shared = &*self.shared;
        let Some(app) = shared.registry.app_id(check_in.app) else { return self.changed(check_in) };
        let key = Key { app, device: check_in.device };
        let print = shared.hot.print(check_in);
        if shared
            .hot
            .changed(&key, print, check_in.at, |known| shared.registry.offered(known, check_in.at))
            .is_some()
        {
            self.changed(check_in);
        }
    }

    /// The slow path: something is to be written.
    fn changed(&self, check_in: &CheckIn<'_>) {
        let CheckIn { app, device, at, platform, plugin, native, os, running, channel, .. } = *check_in;
        let shared = &*self.shared;
        let dropped = || {
            shared.counters.dropped_check_ins.fetch_add(1, Ordering::Relaxed);
            shared.lose(at);
        };
        let Some(app) = shared.registry.app_or_new(app) else { return dropped() };
        let key = Key { app: app.id, device };
        let offered = check_in.offered.map(|offer| {
            let known = shared.registry.version_or_new(&app, offer.version, offer.digest, at);
            shared.registry.offered(&known, at);
            known
        });
        let print = shared.hot.print(check_in);
        let since = shared.hot.changed(&key, print, at, |_| {}).and_then(|change| change.since);
        let own = |text: &str| cut(text, MOST_TEXT).to_owned();
        let runs_known = app.version(running).is_some();
        let about = About {
            platform: platform.name(),
            plugin: own(plugin),
            native: own(native),
            os: own(os),
            running: own(running),
            channel: channel.map(own),
            production: check_in.production,
            emulator: check_in.emulator,
            custom_id: check_in.custom_id.map(|id| hash::keyed_hash(&shared.custom_id_key, id.as_bytes())),
        };
        let trial = |enrolling| Box::new(Trial::of(enrolling, Some(&shared.custom_id_key)));
        let trial = check_in.trial.as_ref().map(trial);
        let pending = Pending { key, at, since, about, runs_known, offered: offered.clone(), trial };
        if !shared.queue.check_in(pending) {
            return dropped();
        }
        shared.hot.store(key, print, check_in, runs_known.then_some(running), offered);
    }

    /// Tells the store what versions mean, so that events that come before the first offer are understood. To be called
    /// with every new snapshot.
    pub fn declare<'a>(&self, versions: impl IntoIterator<Item = Declared<'a>>) {
        let now = (self.shared.clock)();
        for Declared { app, version, digest } in versions {
            if let Some(app) = self.shared.registry.app_or_new(app) {
                self.shared.registry.version_or_new(&app, &version.to_string(), &digest, now);
            }
        }
    }

    /// Writes events. Success means that they are on the disk, and that [`Fleet::memory`] knows their consequences.
    ///
    /// Events of unknown apps and of the publisher's probe are accepted and forgotten.
    pub async fn record(&self, events: Vec<Event>) -> Result<Vec<Accepted>, FleetError> {
        let now = (self.shared.clock)();
        let mut accepted = vec![Accepted::New; events.len()];
        let mut reports = Vec::with_capacity(events.len());
        let mut places = Vec::with_capacity(events.len());
        for (place, event) in events.into_iter().enumerate() {
            match self.shared.registry.app(event.app.as_str()) {
                Some(app) if !event.probe => {
                    reports.push(apply::Report::new(app, event, now));
                    places.push(place);
                }
                Some(_) => {}
                None => _ = self.shared.counters.events_unknown_app.fetch_add(1, Ordering::Relaxed),
            }
        }
        if reports.is_empty() {
            return Ok(accepted);
        }
        let n = reports.len() as u64;
        let written = self.ask(|reply| Job::Record(reports, reply)).await.inspect_err(|error| {
            if matches!(error, FleetError::Busy) {
                self.shared.counters.events_refused.fetch_add(n, Ordering::Relaxed);
            }
        })?;
        for (place, verdict) in places.into_iter().zip(written) {
            accepted[place] = verdict;
        }
        Ok(accepted)
    }

    /// Puts a device on a channel, durably, until `expires` (seconds since 1970) when that is given.
    pub async fn set_channel(
        &self,
        app: &str,
        device: DeviceKey,
        channel: ChannelName,
        by: OverrideBy,
        expires: Option<i64>,
    ) -> Result<(), FleetError> {
        let app = self.shared.registry.app_or_new(app).ok_or(FleetError::Busy)?;
        let key = Key { app: app.id, device };
        let row = OverrideRow {
            key,
            chosen: Override { channel, by },
            at: (self.shared.clock)(),
            expires,
            author: None,
        };
        self.ask(|reply| Job::Choose(row, None, reply)).await
    }

    /// Takes a device off its channel, durably. It may have been on none.
    pub async fn unset_channel(&self, app: &str, device: DeviceKey) -> Result<(), FleetError> {
        let Some(app) = self.shared.registry.app_id(app) else { return Ok(()) };
        self.ask(|reply| Job::Unchoose(Key { app, device }, None, reply)).await
    }

    /// Says that everything is taken in that gateways gathered until `until`, in seconds since 1970. Once anybody said so,
    /// no silence is judged beyond it; a gateway's contacts may still be on their way.
    pub(crate) fn taken_in(&self, until: i64) {
        self.shared.taken_in.store(until, Ordering::Relaxed);
    }

    /// Waits until everything that was handed over before is written.
    pub async fn flush(&self) -> Result<(), FleetError> {
        self.ask(Job::Flush).await
    }

    /// Removes what is older than the limits say, now, and returns how many rows went. It is also done in the
    /// background, bite by bite.
    pub async fn clean_up(&self) -> Result<u64, FleetError> {
        self.ask(Job::Cleanup).await
    }

    /// Writes what waits, moves the log into the file, and gives the file free. Later calls are refused.
    pub async fn close(&self) -> Result<(), FleetError> {
        self.ask(Job::Close).await
    }

    /// Figures for metrics and status.
    pub fn figures(&self) -> Figures {
        let Counters {
            dropped_check_ins,
            written_check_ins,
            events_new,
            events_duplicate,
            events_refused,
            events_unknown_app,
            configuration_failures,
            removed_rows,
            commits,
            failed_commits,
            ..
        } = &self.shared.counters;
        let (queued_events, queued_check_ins) = self.shared.queue.lengths();
        Figures {
            queued_events: queued_events as u64,
            queued_check_ins: queued_check_ins as u64,
            dropped_check_ins: dropped_check_ins.load(Ordering::Relaxed),
            written_check_ins: written_check_ins.load(Ordering::Relaxed),
            events_new: events_new.load(Ordering::Relaxed),
            events_duplicate: events_duplicate.load(Ordering::Relaxed),
            events_refused: events_refused.load(Ordering::Relaxed),
            events_unknown_app: events_unknown_app.load(Ordering::Relaxed),
            configuration_failures: configuration_failures.load(Ordering::Relaxed),
            commits: commits.load(Ordering::Relaxed),
            failed_commits: failed_commits.load(Ordering::Relaxed),
            last_error: self.shared.counters.last_error(),
            removed_rows: removed_rows.load(Ordering::Relaxed),
            remembered_devices: self.shared.remembered.len() as u64,
            cached_devices: self.shared.hot.len() as u64,
            facts: self.shared.counters.facts(),
            damaged_files: self.shared.damaged_files,
        }
    }

    /// Hands a job to the writer and waits for its answer.
    async fn ask<T>(&self, job: impl FnOnce(queue::Reply<T>) -> Job) -> Result<T, FleetError> {
        let (reply, answer) = oneshot::channel();
        self.shared.queue.job(job(reply))?;
        answer.await.unwrap_or(Err(FleetError::Closed))
    }
}

/// What an open store held.
struct Opened {
    custom_id_key: [u8; 32],
    loaded: sql::Loaded,
    trials: Trials,
    up_since: i64,
}

/// Opens a store and reads what is held in memory, of a suspect file everything. When that fails, the store is not open any
/// more.
async fn open(
    place: &Place,
    holder: Holder,
    limits: &Limits,
    now: i64,
    suspect: bool,
) -> Result<(Connection, Opened), FleetError> {
    let opening = |error: sqlx::Error| FleetError::opening(place, &error);
    let mut connection = Connection::open(place, limits).await.map_err(opening)?;
    let read = async {
        if suspect {
            damaged::check(&mut connection, place).await?;
        }
        schema::prepare(&mut connection, place, holder).await?;
        let custom_id_key = schema::custom_id_key(&mut connection, rand::random()).await.map_err(opening)?;
        let loaded = sql::load(&mut connection, now).await.map_err(opening)?;
        let trials = trials::load(&mut connection).await.map_err(opening)?;
        let up_since = trials::up_since(&mut connection, now).await.map_err(opening)?;
        Ok(Opened { custom_id_key, loaded, trials, up_since })
    };
    match read.await {
        Ok(opened) => Ok((connection, opened)),
        Err(error) => {
            drop(connection.close().await);
            Err(error)
        }
    }
}

impl Drop for Fleet {
    /// Ends the writer. Nobody waits for it; [`Fleet::close`] is for those who do.
    fn drop(&mut self) {
        let (reply, _) = oneshot::channel();
        // Already closed is as good.
        drop(self.shared.queue.job(Job::Close(reply)));
    }
}

//! Keeps the brakes of this process at what is written, and brakes in its name.
//!
//! The index is asked for every 400 ms, without its content while that is the same. The records are listed once a
//! minute, for those that a writer who was cut short left out of the index. A store that is away changes nothing: what
//! was braked stays braked.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use jiff::Timestamp;
use sluice_core::{
    brake::{Aim, Brake, BrakeIndex, Brakes},
    channel::Target,
    digest::Digest,
    ids::{AppId, ChannelName, Version},
    rollback::{Cause, Rollback},
};
use tokio::time::{Instant, MissedTickBehavior};

use super::{Braked, INDEX, NewBrake};
use crate::{
    control::{BundleStore, ControlError, decode},
    objects::{Etag, Fetched, Objects},
};

/// How often the index is asked for.
pub const BRAKES_EVERY: Duration = Duration::from_millis(400);

/// How often the records are listed.
const RECORDS_EVERY: Duration = Duration::from_mins(1);
/// The same while there is no index that can be read.
const RECORDS_SOON: Duration = Duration::from_secs(5);

/// How long the names of channels that were read are taken for what there is.
const NAMES_EVERY: Duration = Duration::from_secs(10);

/// The brakes that are in force, and what keeps them so.
#[derive(Debug)]
pub struct BrakeWatch {
    objects: Arc<dyn Objects>,
    brakes: Arc<ArcSwap<Brakes>>,
    /// Whether what the index lacks is written into it: whoever only answers devices reads only.
    mends: bool,
    turn: tokio::sync::Mutex<Turn>,
    /// Milliseconds since 1970; 0 for never.
    confirmed: AtomicI64,
    trouble: Mutex<Option<String>>,
    names: tokio::sync::Mutex<Option<(Instant, Arc<ChannelNames>)>>,
    /// Rollbacks that somebody of this process has opened.
    opened: AtomicU64,
}

/// Every channel: the name of its object, the app, and the name that devices use.
pub type ChannelNames = Vec<(String, AppId, ChannelName)>;

#[derive(Debug, Default)]
struct Turn {
    store: Option<BundleStore>,
    etag: Option<Etag>,
    listed: Option<Instant>,
}

impl BrakeWatch {
    /// Will replace `brakes` by what is written in `objects`, and put right the index when `mends`.
    pub fn new(objects: Arc<dyn Objects>, brakes: Arc<ArcSwap<Brakes>>, mends: bool) -> Arc<Self> {
        Arc::new(Self {
            objects,
            brakes,
            mends,
            turn: tokio::sync::Mutex::default(),
            confirmed: AtomicI64::new(0),
            trouble: Mutex::default(),
            names: tokio::sync::Mutex::default(),
            opened: AtomicU64::new(0),
        })
    }

    /// The brakes that are in force.
    pub fn brakes(&self) -> &Arc<ArcSwap<Brakes>> {
        &self.brakes
    }

    /// When the store last said that what is in force is what is written; nothing before it was read once.
    pub fn confirmed(&self) -> Option<Timestamp> {
        let at = self.confirmed.load(Ordering::Relaxed);
        if at == 0 { None } else { Timestamp::from_millisecond(at).ok() }
    }

    /// Follows until it is dropped.
    pub async fn run(&self) {
        let mut every = tokio::time::interval(BRAKES_EVERY);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            every.tick().await;
            // The outcome is in the log.
            let _ = self.look().await;
        }
    }

    /// Asks once, and says how that ended.
    pub async fn look(&self) -> Result<(), ControlError> {
        let looked = self.compare().await;
        if looked.is_ok() {
            self.confirmed.store(Timestamp::now().as_millisecond(), Ordering::Relaxed);
        }
        let trouble = looked.as_ref().err().map(ToString::to_string);
        let mut said = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        if *said != trouble {
            if let Some(trouble) = &trouble {
                tracing::warn!(trouble, "the brakes cannot be read; those that are known stay");
            } else {
                tracing::info!("the brakes can be read again");
            }
            *said = trouble;
        }
        looked
    }

    /// Stops a bundle, in this process at once and everywhere within a second.
    pub async fn brake(&self, wanted: NewBrake) -> Result<Braked, ControlError> {
        let store = self.store().await?;
        let braked = store.brake(wanted).await?;
        self.take(&braked.index);
        let brake = &braked.brake;
        tracing::warn!(
            brake = %brake.id, app = %brake.app, digest = %brake.digest, scope = %brake.scope, by = brake.by,
            fresh = braked.fresh, "a bundle is stopped: {}", brake.why
        );
        Ok(braked)
    }

    /// Stops what somebody aims at, and with `rollback` has Git told, too; nothing when no bundle was ever published as the
    /// version that is meant.
    pub async fn stop(
        &self,
        aim: Aim,
        by: &str,
        why: &str,
        at: Timestamp,
        rollback: bool,
    ) -> Result<Option<Braked>, ControlError> {
        let Aim { app, digest, release, scope, devices, lifted } = aim;
        let digest = match digest {
            Some(digest) => Some(digest),
            None => self.bound(&app, &release).await?,
        };
        let Some(digest) = digest else { return Ok(None) };
        let (release, by, why) = (Some(release), by.to_owned(), why.to_owned());
        let evidence = None;
        let wanted =
            NewBrake { app, digest, release, scope, devices, by, why, at, evidence, rollback, lifted };
        self.brake(wanted).await.map(Some)
    }

    /// Stops what somebody aims at, and opens its rollback, to `to` or to what did well last. One that stands gets another
    /// `to` while it has not ended. Returns what stands then. `None` as in [`Self::stop`], and where a whole app is aimed at.
    pub async fn roll_back(
        &self,
        aim: Aim,
        (by, why): (&str, &str),
        at: Timestamp,
        to: Option<Target>,
    ) -> Result<Option<(Braked, Rollback)>, ControlError> {
        let Some(braked) = self.stop(aim, by, why, at, true).await? else { return Ok(None) };
        let brake = Brake { by: by.to_owned(), why: why.to_owned(), ..braked.brake.clone() };
        let Some(rollback) = Rollback::of(&brake, Cause::Requested, to) else { return Ok(None) };
        let store = self.store().await?;
        let mut rollback = rollback;
        while !store.open_rollback(&rollback).await? {
            let Some((mut standing, etag)) = store.rollback(&rollback.app, &rollback.id).await? else {
                continue;
            };
            let other = rollback.to.is_some() && rollback.to != standing.to && !standing.phase.is_end();
            if other {
                standing.to.clone_from(&rollback.to);
                standing.stall = None;
            }
            if !other || store.write_rollback(&standing, &etag).await?.is_some() {
                rollback = standing;
                break;
            }
        }
        self.opened.fetch_add(1, Ordering::Release);
        Ok(Some((braked, rollback)))
    }

    /// How many rollbacks somebody of this process has opened.
    pub fn rollbacks_opened(&self) -> u64 {
        self.opened.load(Ordering::Acquire)
    }

    /// Who owns an app; nobody before it was ever published.
    pub async fn owner(&self, app: &AppId) -> Result<Option<String>, ControlError> {
        Ok(self.store().await?.record(app).await?.map(|record| record.owner))
    }

    /// Every channel with the name of its object, from the records of the apps: for whoever has no status to read them in.
    /// They are read once in a while only, so that nobody makes this process read by asking again and again.
    pub async fn channels(&self) -> Result<Arc<ChannelNames>, ControlError> {
        let mut known = self.names.lock().await;
        if let Some((read, names)) = known.as_ref()
            && read.elapsed() < NAMES_EVERY
        {
            return Ok(Arc::clone(names));
        }
        let names = Arc::new(self.read_channels().await?);
        *known = Some((Instant::now(), Arc::clone(&names)));
        Ok(names)
    }

    async fn read_channels(&self) -> Result<ChannelNames, ControlError> {
        let store = self.store().await?;
        let mut channels = Vec::new();
        for app in store.apps().await? {
            // A record that cannot be read is no reason not to stop what is named otherwise.
            let Ok(Some(record)) = store.record(&app).await else { continue };
            channels.extend(record.channels.into_iter().map(|(name, known)| (known.name, app.clone(), name)));
        }
        Ok(channels)
    }

    /// The bundle that a version of an app was ever bound to, also when the app offers it no more.
    async fn bound(&self, app: &AppId, version: &Version) -> Result<Option<Digest>, ControlError> {
        let record = self.store().await?.record(app).await?;
        Ok(record.and_then(|record| Some(record.versions.get(version)?.digest)))
    }

    async fn store(&self) -> Result<BundleStore, ControlError> {
        Ok(self.turn.lock().await.store(&self.objects).await?.clone())
    }

    async fn compare(&self) -> Result<(), ControlError> {
        let mut turn = self.turn.lock().await;
        let store = turn.store(&self.objects).await?.clone();
        let fetched = match &turn.etag {
            Some(etag) => self.objects.get_if_changed(INDEX, etag).await?,
            None => match self.objects.get(INDEX).await? {
                Some((bytes, etag)) => Fetched::Changed(bytes, etag),
                None => Fetched::Missing,
            },
        };
        let (readable, wait) = match fetched {
            Fetched::Unchanged => (Ok(()), RECORDS_EVERY),
            Fetched::Missing => {
                turn.etag = None;
                (Ok(()), RECORDS_SOON)
            }
            Fetched::Changed(bytes, etag) => match decode::<BrakeIndex>(INDEX, &bytes) {
                Ok(index) => {
                    self.take(&index);
                    turn.etag = Some(etag);
                    (Ok(()), RECORDS_EVERY)
                }
                Err(error) => {
                    turn.etag = None;
                    (Err(error), RECORDS_SOON)
                }
            },
        };
        if turn.listed.is_none_or(|at| at.elapsed() >= wait) {
            if self.mends && store.mend_brakes().await? > 0 {
                turn.etag = None;
            }
            let standing = self.brakes.load_full();
            let mut more = BrakeIndex::default();
            for record in store.brake_records(|id| standing.has(id)).await? {
                more.add(&record);
            }
            self.take(&more);
            turn.listed = Some(Instant::now());
            // Everything is known from the records then.
            return Ok(());
        }
        readable
    }

    /// Puts in force what `index` adds. What it lacks stays: a brake is only ever lifted by Git.
    fn take(&self, index: &BrakeIndex) {
        self.brakes.rcu(|standing| {
            let new = index.iter().filter(|brake| !standing.has(&brake.id)).count();
            if new == 0 && index.generation <= standing.generation() {
                return Arc::clone(standing);
            }
            Arc::new(Brakes::compile(index, standing))
        });
    }
}

impl Turn {
    async fn store(&mut self, objects: &Arc<dyn Objects>) -> Result<&BundleStore, ControlError> {
        match &mut self.store {
            Some(store) => Ok(store),
            none => Ok(none.insert(BundleStore::open_existing(objects.clone()).await?)),
        }
    }
}

//! The leader takes in segments: each in one transaction with its id, so that it counts once whatever is killed when.
//!
//! A look lists the folders of the last minutes; now and then everything is listed, which finds what a gateway with
//! another clock or a slow upload left elsewhere, and what is old enough to go. An object goes before its id is
//! forgotten, never the other way round.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    io,
    sync::Arc,
};

use futures::{StreamExt as _, TryStreamExt as _, future::join_all, stream};
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::segment::{self, FOLDER, Gateway, Name};
use crate::{
    fleet::{Fleet, FleetError, Segment},
    objects::{Meta, Objects, ObjectsError},
};

/// How long segments stay after they were taken in, so that a lost fleet store can be filled again.
const KEPT: SignedDuration = SignedDuration::from_hours(24);
/// The minutes that every look lists, usually one: uploads may take so long, and clocks of gateways be so far off, before
/// a segment waits for the look at everything. Listing is what a bucket charges most for.
const BEHIND: SignedDuration = SignedDuration::from_secs(15);
const AHEAD: SignedDuration = SignedDuration::from_secs(5);
/// How often everything is listed, and how often when that is much.
const ALL_EVERY: SignedDuration = SignedDuration::from_secs(30);
const MANY_EVERY: SignedDuration = SignedDuration::from_mins(5);
const MANY: usize = 20_000;
/// Segments that are fetched, and taken in by one commit, at a time.
const AT_ONCE: usize = 16;

/// Why segments wait. The next look goes on where this one stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IngestError {
    /// The bundle store failed.
    #[error("segments could not be read: {0}")]
    Objects(#[from] ObjectsError),
    /// The fleet store failed.
    #[error("segments could not be taken in: {0}")]
    Fleet(#[from] FleetError),
}

/// The newest segment that was taken in, of each gateway, and when.
pub(super) type Taken = BTreeMap<Gateway, (u64, Timestamp)>;

/// Takes in segments.
#[derive(Debug)]
pub struct Ingest {
    objects: Arc<dyn Objects>,
    fleet: Arc<Fleet>,
    kept: SignedDuration,
    /// Those that are there and were taken in, or cannot be read.
    done: HashSet<Uuid>,
    taken: Taken,
    pending: u64,
    all_at: Option<Timestamp>,
    /// The last look at everything that succeeded.
    listed_all_at: Option<Timestamp>,
}

impl Ingest {
    /// From a bundle store into a fleet store.
    pub fn new(objects: Arc<dyn Objects>, fleet: Arc<Fleet>) -> Self {
        Self {
            objects,
            fleet,
            kept: KEPT,
            done: HashSet::new(),
            taken: Taken::new(),
            pending: 0,
            all_at: None,
            listed_all_at: None,
        }
    }

    /// The same, with segments that stay for `kept` after they were written.
    #[must_use]
    pub fn keeping(self, kept: SignedDuration) -> Self {
        Self { kept, ..self }
    }

    /// How many segments the last look found and left.
    pub fn pending(&self) -> u64 {
        self.pending
    }

    /// When everything that was there was last seen, and taken in.
    pub(super) fn listed_all_at(&self) -> Option<Timestamp> {
        self.listed_all_at
    }

    pub(super) fn taken(&self) -> &Taken {
        &self.taken
    }

    /// Takes in what is new, and now and then removes what is old. Returns how many were new.
    pub async fn look(&mut self, now: Timestamp) -> Result<usize, IngestError> {
        let all = self.all_at.is_none_or(|at| now >= at || at.duration_since(now) > MANY_EVERY);
        let found = if all { self.objects.list(FOLDER).await? } else { self.recent(now).await? };
        let named = |meta: &Meta| Some((Name::of(&meta.key)?, meta.key.clone()));
        let mut fresh: Vec<(Name, String)> =
            found.iter().filter_map(named).filter(|(name, _)| !self.done.contains(&name.id)).collect();
        // In the order of time, whichever gateway they are of.
        fresh.sort_unstable_by_key(|(name, _)| name.id);
        self.pending = fresh.len() as u64;
        if all {
            fresh = self.unknown(fresh, now).await?;
        }
        let mut new = 0;
        for some in fresh.chunks(AT_ONCE) {
            new += self.take_in(some, now).await?;
            self.pending = self.pending.saturating_sub(some.len() as u64);
        }
        self.pending = 0;
        if all {
            self.listed_all_at = Some(now);
            self.remove_old(&found, now).await?;
            let every = if found.len() > MANY { MANY_EVERY } else { ALL_EVERY };
            self.all_at = Some(now + every);
        }
        Ok(new)
    }

    async fn recent(&self, now: Timestamp) -> Result<Vec<Meta>, IngestError> {
        let minutes: BTreeSet<String> = [now - BEHIND, now, now + AHEAD].map(segment::minute).into();
        let mut found = Vec::new();
        for minute in minutes {
            found.extend(self.objects.list(&minute).await?);
        }
        Ok(found)
    }

    /// Leaves out those that an earlier leader took in, without fetching them.
    async fn unknown(
        &mut self,
        found: Vec<(Name, String)>,
        now: Timestamp,
    ) -> Result<Vec<(Name, String)>, IngestError> {
        let ids = found.iter().map(|(name, _)| name.id.into_bytes()).collect();
        let known = self.fleet.known_segments(ids).await?;
        let (known, unknown): (Vec<_>, Vec<_>) =
            found.into_iter().partition(|(name, _)| known.contains(name.id.as_bytes()));
        for (name, _) in known {
            self.note(&name, now);
        }
        Ok(unknown)
    }

    async fn take_in(&mut self, some: &[(Name, String)], now: Timestamp) -> Result<usize, IngestError> {
        let fetches: Vec<_> =
            some.iter().map(|(name, key)| fetch(self.objects.clone(), *name, key.clone())).collect();
        let fetched: Vec<(Name, Option<Segment>)> =
            stream::iter(fetches).buffered(AT_ONCE).try_collect().await?;
        let fleet = &*self.fleet;
        let taking = fetched.into_iter().map(|(name, segment)| async move {
            match segment {
                Some(segment) => (name, fleet.ingest(segment).await),
                None => (name, Ok(false)),
            }
        });
        let mut new = 0;
        let mut failed = None;
        for (name, taken) in join_all(taking).await {
            match taken {
                Ok(is_new) => {
                    new += usize::from(is_new);
                    self.note(&name, now);
                }
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(new), |error| Err(error.into()))
    }

    fn note(&mut self, name: &Name, now: Timestamp) {
        self.done.insert(name.id);
        let newest = self.taken.entry(name.gateway).or_insert((name.number, now));
        *newest = (newest.0.max(name.number), now);
    }

    async fn remove_old(&mut self, found: &[Meta], now: Timestamp) -> Result<(), IngestError> {
        let before = (now - self.kept).as_second();
        let old: Vec<(Name, &str)> = found
            .iter()
            .filter(|meta| meta.modified < before)
            .filter_map(|meta| Some((Name::of(&meta.key)?, meta.key.as_str())))
            .filter(|(name, _)| self.done.contains(&name.id))
            .collect();
        for some in old.chunks(AT_ONCE) {
            join_all(some.iter().map(|(_, key)| self.objects.delete(key)))
                .await
                .into_iter()
                .collect::<Result<Vec<bool>, _>>()?;
            self.fleet.forget_segments(some.iter().map(|(name, _)| name.id.into_bytes()).collect()).await?;
            for (name, _) in some {
                self.done.remove(&name.id);
            }
        }
        let there: HashSet<Uuid> = found.iter().filter_map(|meta| Some(Name::of(&meta.key)?.id)).collect();
        self.done.retain(|id| there.contains(id));
        self.taken.retain(|_, (_, at)| now.duration_since(*at) < self.kept + self.kept);
        Ok(())
    }
}

/// Reads a segment; `None` for one that is gone or damaged.
async fn fetch(
    objects: Arc<dyn Objects>,
    name: Name,
    key: String,
) -> Result<(Name, Option<Segment>), ObjectsError> {
    let Some((bytes, _)) = objects.get(&key).await? else { return Ok((name, None)) };
    let decoding = tokio::task::spawn_blocking(move || segment::decode(name.id, &bytes));
    match decoding.await.unwrap_or_else(|e| Err(io::Error::other(e))) {
        Ok(segment) => Ok((name, Some(segment))),
        Err(error) => {
            tracing::error!(%error, object = key, "a segment of a gateway is damaged; what it holds does not count");
            Ok((name, None))
        }
    }
}

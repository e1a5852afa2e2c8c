//! The one writer: takes everything that waits, writes it in one transaction, and only then answers.
//!
//! A commit costs one flush of the disk whatever it holds, so what arrives during a commit shares the next one. After a
//! failure the connection is opened anew by the next batch, which is all the recovery that a full or absent disk needs.

use std::{
    collections::HashSet,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use sluice_core::memory::Failed;
use tokio::time::Instant;

use super::{
    Shared,
    apply::{Batch, Report},
    damaged,
    dialect::{Connection, PATIENCE, within},
    error::{FleetError, is_damage},
    hot::{Contact, Key},
    model::OverrideRow,
    place::Place,
    queue::{Gathered, Job, Pending, Taken},
    registry::Dirty,
    remembered::Learned,
    retention::Cleanup,
    schema::{self, Holder, Lock},
    sql,
    types::Accepted,
};

/// Pause between two bites of a clean-up that is not finished.
const BREATH: Duration = Duration::from_millis(50);

/// The writer's own state.
pub(crate) struct Writer {
    shared: Arc<Shared>,
    place: Place,
    holder: Holder,
    connection: Option<Connection>,
    cleanup: Cleanup,
    /// The file was found damaged, and the next start is told.
    damaged: bool,
    /// The newest commit failed.
    failing: bool,
    /// Another process took the store over; nothing is written any more.
    over: bool,
    /// Given back when the writer ends.
    _lock: Lock,
}

/// What a transaction did, told to memory and callers once it is durable.
#[derive(Default)]
struct Done {
    accepted: Vec<Vec<Accepted>>,
    /// For each segment whether it was new.
    ingested: Vec<bool>,
    learned: Vec<(Key, Learned)>,
    events_new: u64,
    events_duplicate: u64,
    configuration_failures: u64,
}

impl Done {
    /// Puts a device on a channel, or takes it off.
    async fn choose(
        &mut self,
        connection: &mut Connection,
        key: &Key,
        row: Option<&OverrideRow>,
    ) -> Result<(), sqlx::Error> {
        let learned = if let Some(row) = row {
            sql::write_overrides(connection, std::slice::from_ref(row)).await?;
            Learned::Override(row.chosen.clone(), row.expires)
        } else {
            sql::delete_override(connection, key).await?;
            Learned::NoOverride
        };
        self.learned.push((*key, learned));
        Ok(())
    }

    /// What is not an event or a check-in: channels, and which segments are new. Returns the new ones.
    async fn settle<'j>(
        &mut self,
        connection: &mut Connection,
        jobs: &'j [Job],
        now: i64,
    ) -> Result<Vec<&'j Gathered>, sqlx::Error> {
        let mut gathered = Vec::new();
        for job in jobs {
            match job {
                Job::Choose(row, _) => self.choose(connection, &row.key, Some(row)).await?,
                Job::Unchoose(key, _) => self.choose(connection, key, None).await?,
                Job::Ingest(segment, _) => {
                    let new = sql::admit_segment(connection, &segment.id, now).await?;
                    self.ingested.push(new);
                    if new {
                        for (key, row) in &segment.choices {
                            self.choose(connection, key, row.as_ref()).await?;
                        }
                        gathered.push(&**segment);
                    }
                }
                Job::Forget(ids, _) => sql::forget_segments(connection, ids).await?,
                Job::Record(..) | Job::Flush(_) | Job::Cleanup(_) | Job::Close(_) => {}
            }
        }
        Ok(gathered)
    }
}

impl Writer {
    pub(crate) fn new(
        shared: Arc<Shared>,
        place: Place,
        holder: Holder,
        connection: Connection,
        lock: Lock,
    ) -> Self {
        Self {
            shared,
            place,
            holder,
            connection: Some(connection),
            cleanup: Cleanup::default(),
            damaged: false,
            failing: false,
            over: false,
            _lock: lock,
        }
    }

    /// Writes until the store is closed.
    pub(crate) async fn run(mut self) {
        let every = Duration::from_secs(u64::try_from(self.shared.limits.cleanup_every).unwrap_or(60).max(1));
        let mut next = Instant::now() + every;
        loop {
            let taken = self.shared.queue.take(next.saturating_duration_since(Instant::now())).await;
            let closing = self.process(taken).await;
            if let Some(reply) = closing {
                let end = self.close().await;
                self.shared.queue.shut(&FleetError::Closed);
                drop(reply.send(end));
                return;
            }
            if self.over {
                let error = FleetError::TakenOver { place: self.place.to_string() };
                self.shared.counters.fail(error.to_string());
                tracing::error!(%error, "the fleet store writes no more");
                self.shared.queue.shut(&error);
                return;
            }
            if Instant::now() >= next {
                let more = self.clean_up().await;
                next = Instant::now() + if more { BREATH } else { every };
            }
        }
    }

    /// Writes a batch and answers it. Returns whom to tell when the store closes.
    async fn process(&mut self, taken: Taken) -> Option<super::queue::Reply<()>> {
        let Taken { check_ins, jobs } = taken;
        let dirty = self.shared.registry.take_dirty();
        let idle = jobs.iter().all(|job| matches!(job, Job::Flush(_) | Job::Close(_) | Job::Cleanup(_)));
        let result = if idle && check_ins.is_empty() && dirty.is_empty() {
            Ok(Done::default())
        } else {
            self.transaction(&check_ins, &jobs, &dirty).await
        };
        let counters = &self.shared.counters;
        match result {
            Ok(done) => {
                if std::mem::take(&mut self.failing) {
                    tracing::info!("the fleet store can write again");
                }
                let Done {
                    accepted,
                    ingested,
                    learned,
                    events_new,
                    events_duplicate,
                    configuration_failures,
                } = done;
                for (key, learned) in learned {
                    self.shared.remembered.learn(key, learned);
                }
                counters.written_check_ins.fetch_add(check_ins.len() as u64, Ordering::Relaxed);
                counters.events_new.fetch_add(events_new, Ordering::Relaxed);
                counters.events_duplicate.fetch_add(events_duplicate, Ordering::Relaxed);
                counters.configuration_failures.fetch_add(configuration_failures, Ordering::Relaxed);
                self.answer(jobs, accepted, ingested).await
            }
            Err(error) => {
                if is_damage(&error) && !std::mem::replace(&mut self.damaged, true) {
                    damaged::mark(&self.place);
                }
                let error = FleetError::from(error);
                if self.failing {
                    tracing::debug!(%error, "the fleet store still cannot write");
                } else {
                    tracing::warn!(%error, "the fleet store cannot write; reports are answered 503 until it can");
                }
                self.failing = true;
                self.shared.registry.give_back(dirty);
                for pending in &check_ins {
                    self.shared.hot.forget(&pending.key);
                }
                counters.dropped_check_ins.fetch_add(check_ins.len() as u64, Ordering::Relaxed);
                let mut closing = None;
                for job in jobs {
                    match job {
                        Job::Close(reply) => closing = Some(reply),
                        Job::Record(ref reports, _) => {
                            counters.events_refused.fetch_add(reports.len() as u64, Ordering::Relaxed);
                            job.refuse(&error);
                        }
                        job => job.refuse(&error),
                    }
                }
                closing
            }
        }
    }

    async fn answer(
        &mut self,
        jobs: Vec<Job>,
        accepted: Vec<Vec<Accepted>>,
        ingested: Vec<bool>,
    ) -> Option<super::queue::Reply<()>> {
        let (mut accepted, mut ingested) = (accepted.into_iter(), ingested.into_iter());
        let mut closing = None;
        for job in jobs {
            // A caller that went away does not want the answer.
            match job {
                Job::Record(_, reply) => drop(reply.send(Ok(accepted.next().unwrap_or_default()))),
                Job::Ingest(_, reply) => drop(reply.send(Ok(ingested.next().unwrap_or_default()))),
                Job::Choose(_, reply)
                | Job::Unchoose(_, reply)
                | Job::Forget(_, reply)
                | Job::Flush(reply) => drop(reply.send(Ok(()))),
                Job::Cleanup(reply) => {
                    let before = self.shared.counters.removed_rows.load(Ordering::Relaxed);
                    self.cleanup = Cleanup::default();
                    while self.clean_up().await {}
                    let after = self.shared.counters.removed_rows.load(Ordering::Relaxed);
                    drop(reply.send(Ok(after - before)));
                }
                Job::Close(reply) => closing = Some(reply),
            }
        }
        closing
    }

    /// One transaction, and the book-keeping of its success or failure.
    async fn transaction(
        &mut self,
        check_ins: &[Pending],
        jobs: &[Job],
        dirty: &Dirty,
    ) -> Result<Done, sqlx::Error> {
        let result = self.attempt(check_ins, jobs, dirty).await;
        self.shared.counters.committed(&result);
        result
    }

    async fn attempt(
        &mut self,
        check_ins: &[Pending],
        jobs: &[Job],
        dirty: &Dirty,
    ) -> Result<Done, sqlx::Error> {
        let mut connection = self.take_connection().await?;
        let result = self
            .patiently(async {
                connection.begin().await?;
                let done = write(&self.shared, &mut connection, check_ins, jobs, dirty).await?;
                connection.commit().await?;
                Ok(done)
            })
            .await;
        match &result {
            Ok(_) => self.connection = Some(connection),
            // Rolls back whatever is left. Nothing can be done about a failure to close.
            Err(_) => drop(self.patiently(connection.close()).await),
        }
        result
    }

    /// A file answers or fails; a server may do neither.
    async fn patiently<T>(
        &self,
        work: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, sqlx::Error> {
        match self.place {
            Place::File(_) => work.await,
            Place::Server(_) => within(PATIENCE, work).await,
        }
    }

    async fn take_connection(&mut self) -> Result<Connection, sqlx::Error> {
        if let Some(connection) = self.connection.take() {
            return Ok(connection);
        }
        // On the heap: a connection to a server is made by a future as large as all the rest.
        let reopened = Box::pin(schema::reopen(&self.place, self.holder, &self.shared.limits));
        let Some(mut connection) = self.patiently(reopened).await? else {
            self.over = true;
            return Err(sqlx::Error::PoolClosed);
        };
        // The commit that was cut off may have happened: what it taught is only in the database.
        let now = (self.shared.clock)();
        for (key, learned) in self.patiently(sql::learned(&mut connection, now)).await? {
            self.shared.remembered.learn(key, learned);
        }
        Ok(connection)
    }

    /// One bite. True when there is more to do at once.
    async fn clean_up(&mut self) -> bool {
        let now = (self.shared.clock)();
        self.shared.remembered.expire(now);
        let Ok(mut connection) = self.take_connection().await else { return false };
        match self.cleanup.bite(&mut connection, &self.shared.limits, now).await {
            Ok(bite) => {
                self.shared.counters.removed_rows.fetch_add(bite.removed, Ordering::Relaxed);
                self.connection = Some(connection);
                bite.more
            }
            Err(error) => {
                tracing::warn!(error = %FleetError::from(error), "the fleet store could not remove old rows");
                drop(connection.close().await);
                false
            }
        }
    }

    async fn close(&mut self) -> Result<(), FleetError> {
        let Some(mut connection) = self.connection.take() else { return Ok(()) };
        self.shared.readers.close().await;
        connection.checkpoint().await?;
        connection.close().await.map_err(FleetError::from)
    }
}

/// Everything of one transaction between its begin and its commit.
async fn write(
    shared: &Shared,
    connection: &mut Connection,
    check_ins: &[Pending],
    jobs: &[Job],
    dirty: &Dirty,
) -> Result<Done, sqlx::Error> {
    let mut done = Done::default();
    sql::write_names(connection, dirty).await?;
    let gathered = done.settle(connection, jobs, (shared.clock)()).await?;
    let here =
        jobs.iter().filter_map(|job| if let Job::Record(reports, _) = job { Some(reports) } else { None });
    // In the order of the answers; those that came by segments wait for none.
    let batches: Vec<&Vec<Report>> = here.chain(gathered.iter().map(|segment| &segment.reports)).collect();
    let records = || batches.iter().copied();
    let check_ins: Vec<&Pending> =
        check_ins.iter().chain(gathered.iter().flat_map(|segment| &segment.check_ins)).collect();
    let mut batch = Batch::default();

    // Which devices: those that checked in, those whose events mean something, and those that came back.
    let mut contacts = Vec::new();
    let mut keys: HashSet<_> = check_ins.iter().map(|pending| pending.key).collect();
    for report in records().flatten() {
        let contact = shared.hot.contact(&report.key, report.received);
        if contact != Contact::Nothing || report.speaks() {
            keys.insert(report.key);
        }
        match contact {
            Contact::Write { since } => contacts.push((report.key, Some(since), report.received)),
            Contact::Unknown => contacts.push((report.key, None, report.received)),
            Contact::Nothing => {}
        }
    }
    batch.devices = sql::devices(connection, &sorted(keys)).await?;
    for pending in &check_ins {
        batch.check_in(pending);
    }
    for (key, since, at) in contacts {
        batch.contact(key, since, at);
    }

    // Which events are new, and whose they are.
    let ids: HashSet<_> = records().flatten().flat_map(Report::candidates).collect();
    batch.seen = sql::events(connection, &sorted(ids)).await?;
    let mut fresh = Vec::new();
    for reports in records() {
        let mut accepted = Vec::with_capacity(reports.len());
        for report in reports {
            let verdict = batch.admit(report);
            if verdict == Accepted::New {
                fresh.push((report, batch.target(report)));
            }
            accepted.push(verdict);
        }
        done.accepted.push(accepted);
    }

    // What that says about versions.
    let mut wanted: HashSet<sql::OutcomeKey> = HashSet::new();
    let running = |pending: &&Pending| (pending.key, pending.about.running.clone());
    wanted.extend(check_ins.iter().filter(|pending| pending.runs_known).map(running));
    wanted.extend(
        fresh.iter().filter_map(|(report, target)| Some((report.key, target.as_ref()?.version.to_string()))),
    );
    batch.outcomes = sql::outcomes(connection, &sorted(wanted)).await?;
    for pending in check_ins.iter().filter(|pending| pending.runs_known) {
        batch.confirm(&running(pending), pending.at);
    }
    for (report, target) in &fresh {
        batch.report(report, target.as_deref());
    }

    let Batch { devices, changed_devices, mut events, outcomes, changed_outcomes, failed, .. } = batch;
    let mut rows: Vec<_> = changed_devices.iter().filter_map(|key| Some((*key, devices.get(key)?))).collect();
    rows.sort_unstable_by_key(|(key, _)| *key);
    sql::write_devices(connection, &rows).await?;
    events.sort_unstable_by_key(|row| row.id);
    sql::write_events(connection, &events).await?;
    let mut rows: Vec<_> = changed_outcomes.iter().filter_map(|key| outcomes.get_key_value(key)).collect();
    rows.sort_unstable_by_key(|(key, _)| *key);
    sql::write_outcomes(connection, &rows).await?;
    let failed: Vec<_> = failed
        .into_values()
        .filter(|row| {
            let failed = Failed { digest: row.digest, native: row.native, at: row.at };
            let news = !shared.remembered.knows(&row.key, &failed);
            if news {
                done.learned.push((row.key, Learned::Failed(failed)));
            }
            news
        })
        .collect();
    sql::write_failed(connection, &failed).await?;

    done.events_new = fresh.len() as u64;
    done.events_duplicate = done.accepted.iter().map(|a| a.len() as u64).sum::<u64>() - done.events_new;
    done.configuration_failures = batch.configuration_failures;
    Ok(done)
}

/// In the order of the table, so that neighbours are read and written together.
fn sorted<T: Ord>(set: HashSet<T>) -> Vec<T> {
    let mut list: Vec<T> = set.into_iter().collect();
    list.sort_unstable();
    list
}

//! The one writer: takes everything that waits, writes it in one transaction, and only then answers.
//!
//! A commit costs one flush of the disk whatever it holds, so what arrives during a commit shares the next one. After a
//! failure the connection is opened anew by the next batch, which is all the recovery that a full or absent disk needs.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::time::Instant;

use super::{
    Shared, damaged,
    dialect::{Connection, PATIENCE, within},
    error::{FleetError, is_damage},
    place::Place,
    queue::{Job, Pending, Taken},
    remembered::Learned,
    retention::Cleanup,
    schema::{self, Holder, Lock},
    sql,
    transaction::{Beside, Done, write},
    trials::{self, TOLERATED, Trials},
    types::Accepted,
};

/// Pause between two bites of a clean-up that is not finished.
const BREATH: Duration = Duration::from_millis(50);

/// What was said so long ago, in seconds, is in the queue if it ever will be.
const ON_THE_WAY: i64 = 5;

/// How often it is written down that contacts are taken in, in seconds.
const KEEP_UP_EVERY: i64 = 60;

/// The writer's own state.
pub(crate) struct Writer {
    shared: Arc<Shared>,
    place: Place,
    holder: Holder,
    connection: Option<Connection>,
    cleanup: Cleanup,
    /// Nothing after a failure: what was committed is read again.
    trials: Option<Trials>,
    /// When the queue was last seen empty.
    drained_at: i64,
    /// When it was last written down that contacts are taken in.
    kept_up_at: Option<i64>,
    /// Since when commits fail.
    failing_since: Option<i64>,
    /// The file was found damaged, and the next start is told.
    damaged: bool,
    /// Another process took the store over; nothing is written any more.
    over: bool,
    /// Given back when the writer ends.
    _lock: Lock,
}

impl Writer {
    pub(crate) fn new(
        shared: Arc<Shared>,
        place: Place,
        holder: Holder,
        connection: Connection,
        trials: Trials,
        lock: Lock,
    ) -> Self {
        let now = (shared.clock)();
        Self {
            shared,
            place,
            holder,
            connection: Some(connection),
            cleanup: Cleanup::default(),
            trials: Some(trials),
            drained_at: now,
            kept_up_at: None,
            failing_since: None,
            damaged: false,
            over: false,
            _lock: lock,
        }
    }

    /// Writes until the store is closed.
    pub(crate) async fn run(mut self) {
        let seconds = |n: i64| Duration::from_secs(u64::try_from(n).unwrap_or(60).max(1));
        let every = seconds(self.shared.limits.cleanup_every);
        let judge_every = seconds(self.shared.limits.judge_every);
        let mut next = Instant::now() + every;
        let mut next_judgement = Instant::now() + judge_every;
        loop {
            let until = next.min(next_judgement);
            let taken = self.shared.queue.take(until.saturating_duration_since(Instant::now())).await;
            if self.shared.queue.lengths() == (0, 0) {
                self.drained_at = (self.shared.clock)();
            }
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
            if Instant::now() >= next_judgement {
                let (_, more) = self.judge().await;
                next_judgement = Instant::now() + if more { BREATH } else { judge_every };
            }
        }
    }

    /// Writes a batch and answers it. Returns whom to tell when the store closes.
    async fn process(&mut self, taken: Taken) -> Option<super::queue::Reply<()>> {
        let Taken { check_ins, jobs } = taken;
        let (dirty, sent) = (self.shared.registry.take_dirty(), self.shared.traffic.take());
        let waits =
            |job: &Job| matches!(job, Job::Flush(_) | Job::Close(_) | Job::Cleanup(_) | Job::Judge(_));
        let idle = jobs.iter().all(waits);
        let result = if idle && check_ins.is_empty() && dirty.is_empty() && sent.is_empty() {
            Ok(Done::default())
        } else {
            self.transaction(&check_ins, &jobs, &Beside { dirty: &dirty, sent: &sent }).await
        };
        let counters = &self.shared.counters;
        match result {
            Ok(done) => {
                if let Some(since) = self.failing_since.take() {
                    tracing::info!("the fleet store can write again");
                    let now = (self.shared.clock)();
                    if now - since > TOLERATED {
                        self.shared.lose(now);
                    }
                }
                let Done {
                    accepted,
                    ingested,
                    erased,
                    learned,
                    journals,
                    events_new,
                    events_duplicate,
                    configuration_failures,
                    facts,
                } = done;
                for (key, learned) in learned {
                    if matches!(learned, Learned::Forgotten) {
                        self.shared.hot.forget(&key);
                    }
                    self.shared.remembered.learn(key, learned);
                }
                self.shared.journals.tell(journals);
                counters.learn(&facts);
                counters.written_check_ins.fetch_add(check_ins.len() as u64, Ordering::Relaxed);
                counters.events_new.fetch_add(events_new, Ordering::Relaxed);
                counters.events_duplicate.fetch_add(events_duplicate, Ordering::Relaxed);
                counters.configuration_failures.fetch_add(configuration_failures, Ordering::Relaxed);
                self.answer(jobs, accepted, ingested, erased).await
            }
            Err(error) => {
                if is_damage(&error) && !std::mem::replace(&mut self.damaged, true) {
                    damaged::mark(&self.place);
                }
                let error = FleetError::from(error);
                if self.failing_since.is_some() {
                    tracing::debug!(%error, "the fleet store still cannot write");
                } else {
                    tracing::warn!(%error, "the fleet store cannot write; reports are answered 503 until it can");
                }
                self.failing_since.get_or_insert((self.shared.clock)());
                self.shared.registry.give_back(dirty);
                self.shared.traffic.give_back(sent);
                for pending in &check_ins {
                    self.shared.hot.forget(&pending.key);
                }
                // A contact by these was not written either.
                for job in &jobs {
                    if let Job::Record(reports, _) = job {
                        for report in reports {
                            self.shared.hot.forget(&report.key);
                        }
                    }
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
        erased: Vec<u64>,
    ) -> Option<super::queue::Reply<()>> {
        let (mut accepted, mut ingested) = (accepted.into_iter(), ingested.into_iter());
        let mut erased = erased.into_iter();
        let mut closing = None;
        for job in jobs {
            // A caller that went away does not want the answer.
            match job {
                Job::Record(_, reply) => drop(reply.send(Ok(accepted.next().unwrap_or_default()))),
                Job::Ingest(_, reply) => drop(reply.send(Ok(ingested.next().unwrap_or_default()))),
                Job::Erase(_, reply) => drop(reply.send(Ok(erased.next().unwrap_or_default()))),
                Job::Choose(_, _, reply)
                | Job::Unchoose(_, _, reply)
                | Job::Forget(_, reply)
                | Job::EndRollout(_, reply)
                | Job::Flush(reply) => drop(reply.send(Ok(()))),
                Job::Cleanup(reply) => {
                    let before = self.shared.counters.removed_rows.load(Ordering::Relaxed);
                    self.cleanup = Cleanup::default();
                    while self.clean_up().await {}
                    let after = self.shared.counters.removed_rows.load(Ordering::Relaxed);
                    drop(reply.send(Ok(after - before)));
                }
                Job::Judge(reply) => {
                    let mut found = 0;
                    loop {
                        let (silent, more) = self.judge().await;
                        found += silent;
                        if !more {
                            break;
                        }
                    }
                    drop(reply.send(Ok(found)));
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
        beside: &Beside<'_>,
    ) -> Result<Done, sqlx::Error> {
        let result = self.attempt(check_ins, jobs, beside).await;
        self.shared.counters.committed(&result);
        result
    }

    async fn attempt(
        &mut self,
        check_ins: &[Pending],
        jobs: &[Job],
        beside: &Beside<'_>,
    ) -> Result<Done, sqlx::Error> {
        let mut connection = self.take_connection().await?;
        let known = self.trials.take();
        let result = self
            .patiently(async {
                let mut trials = known_or_read(&self.shared, known, &mut connection).await?;
                connection.begin().await?;
                let done = write(&self.shared, &mut connection, &mut trials, check_ins, jobs, beside).await?;
                connection.commit().await?;
                Ok((done, trials))
            })
            .await;
        match result {
            Ok((done, trials)) => {
                self.connection = Some(connection);
                self.trials = Some(trials);
                Ok(done)
            }
            Err(error) => {
                // Rolls back whatever is left. Nothing can be done about a failure to close.
                drop(self.patiently(connection.close()).await);
                Err(error)
            }
        }
    }

    /// One bite of the judgement of silence. Returns how many devices are silent, and whether there is more to do.
    async fn judge(&mut self) -> (u64, bool) {
        let now = (self.shared.clock)();
        let up_since = self.shared.up_since.load(Ordering::Relaxed);
        let until = (self.drained_at - ON_THE_WAY).min(self.shared.taken_in.load(Ordering::Relaxed));
        if self.failing_since.is_some() || self.trials.as_ref().is_some_and(|trials| !trials.any_at_all()) {
            return (0, false);
        }
        let Ok(mut connection) = self.take_connection().await else { return (0, false) };
        let keep_up = self.kept_up_at.is_none_or(|at| now < at || now - at >= KEEP_UP_EVERY);
        let known = self.trials.take();
        let result = self
            .patiently(async {
                let mut trials = known_or_read(&self.shared, known, &mut connection).await?;
                connection.begin().await?;
                trials.end_before(now - self.shared.limits.keep_devices, now);
                let most = self.shared.limits.bite;
                let judged = trials::judge(&mut connection, &mut trials, up_since, until, most).await?;
                let news = trials.write(&mut connection).await?;
                if keep_up {
                    trials::keep_up(&mut connection, up_since, now).await?;
                }
                connection.commit().await?;
                Ok((judged, news, trials))
            })
            .await;
        match result {
            Ok((judged, news, trials)) => {
                self.shared.journals.tell(news);
                self.connection = Some(connection);
                self.trials = Some(trials);
                if keep_up {
                    self.kept_up_at = Some(now);
                }
                (judged.silent, judged.more)
            }
            Err(error) => {
                tracing::warn!(error = %FleetError::from(error), "the fleet store could not look for silent devices");
                drop(self.patiently(connection.close()).await);
                (0, false)
            }
        }
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
        if self.trials.as_ref().is_some_and(Trials::any_at_all) {
            let (since, now) = (self.shared.up_since.load(Ordering::Relaxed), (self.shared.clock)());
            trials::keep_up(&mut connection, since, now).await?;
        }
        connection.checkpoint().await?;
        connection.close().await.map_err(FleetError::from)
    }
}

/// The rollouts as they are, or as they were committed.
async fn known_or_read(
    shared: &Shared,
    known: Option<Trials>,
    connection: &mut Connection,
) -> Result<Trials, sqlx::Error> {
    if let Some(known) = known {
        return Ok(known);
    }
    let trials = trials::load(connection).await?;
    shared.journals.load(&trials);
    Ok(trials)
}

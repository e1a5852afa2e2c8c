//! What waits between the callers and the one writer: bounded, and never blocking.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::{Notify, oneshot};

use super::{
    acts::Act,
    apply::Report,
    error::FleetError,
    hot::Key,
    model::{About, OverrideRow},
    registry::KnownVersion,
    subject::Erasure,
    traffic::Sent,
    trials::{Name, Trial},
    types::{Accepted, Limits},
};

/// How long check-ins are gathered before they are written. Nobody waits for them.
const GATHER: Duration = Duration::from_millis(250);

/// Events of one commit: bounds the time that a waiter waits for others, and the log.
const EVENTS_PER_COMMIT: usize = 16_384;

/// A check-in that changed something.
pub(crate) struct Pending {
    pub(crate) key: Key,
    pub(crate) at: i64,
    /// The latest contact that was known in memory.
    pub(crate) since: Option<i64>,
    pub(crate) about: About,
    /// What runs is a version that was offered at some time, and not the shipped bundle.
    pub(crate) runs_known: bool,
    pub(crate) offered: Option<Arc<KnownVersion>>,
    pub(crate) trial: Option<Box<Trial>>,
}

/// Something whose caller waits for the commit.
pub(crate) enum Job {
    /// Reported events.
    Record(Vec<Report>, Reply<Vec<Accepted>>),
    /// A channel for one device.
    Choose(OverrideRow, Option<Act>, Reply<()>),
    /// No channel for one device.
    Unchoose(Key, Option<Act>, Reply<()>),
    /// A segment of a gateway; the answer is whether it was new.
    Ingest(Box<Gathered>, Reply<bool>),
    /// These segments cannot come again.
    Forget(Vec<[u8; 16]>, Reply<()>),
    /// Nobody enrols in this rollout any more.
    EndRollout(Name, Reply<()>),
    /// Forget devices; the answer is how many there were.
    Erase(Box<Erasure>, Reply<u64>),
    /// Look for silent devices now; the answer is how many there were.
    Judge(Reply<u64>),
    /// Write what waits, now.
    Flush(Reply<()>),
    /// Clean up now, whatever the time.
    Cleanup(Reply<u64>),
    /// Write what waits, and end.
    Close(Reply<()>),
}

/// What a gateway gathered, to be taken in once.
pub(crate) struct Gathered {
    pub(crate) id: [u8; 16],
    pub(crate) check_ins: Vec<Pending>,
    pub(crate) reports: Vec<Report>,
    pub(crate) choices: Vec<(Key, Option<OverrideRow>)>,
    pub(crate) sent: Vec<Sent>,
}

/// Where the answer goes.
pub(crate) type Reply<T> = oneshot::Sender<Result<T, FleetError>>;

impl Job {
    fn events(&self) -> usize {
        match self {
            Self::Record(reports, _) => reports.len().max(1),
            Self::Ingest(gathered, _) => (gathered.reports.len() + gathered.check_ins.len()).max(1),
            _ => 1,
        }
    }

    /// Answers with an error.
    pub(crate) fn refuse(self, error: &FleetError) {
        // A caller that went away does not want the answer.
        match self {
            Self::Record(_, reply) => drop(reply.send(Err(error.clone()))),
            Self::Choose(_, _, reply)
            | Self::Unchoose(_, _, reply)
            | Self::Forget(_, reply)
            | Self::EndRollout(_, reply)
            | Self::Flush(reply)
            | Self::Close(reply) => drop(reply.send(Err(error.clone()))),
            Self::Ingest(_, reply) => drop(reply.send(Err(error.clone()))),
            Self::Cleanup(reply) | Self::Judge(reply) | Self::Erase(_, reply) => {
                drop(reply.send(Err(error.clone())));
            }
        }
    }
}

/// What the writer takes at once.
#[derive(Default)]
pub(crate) struct Taken {
    pub(crate) check_ins: Vec<Pending>,
    pub(crate) jobs: Vec<Job>,
}

#[derive(Default)]
struct Waiting {
    check_ins: Vec<Pending>,
    jobs: VecDeque<Job>,
    events: usize,
    closed: bool,
}

/// The queue.
pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
    wake: Notify,
    most_events: usize,
    most_check_ins: usize,
}

impl Queue {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            waiting: Mutex::default(),
            wake: Notify::new(),
            most_events: limits.queued_events,
            most_check_ins: limits.queued_check_ins,
        }
    }

    /// Adds a check-in, or says that there is no room.
    pub(crate) fn check_in(&self, pending: Pending) -> bool {
        let mut waiting = self.waiting();
        if waiting.closed || waiting.check_ins.len() >= self.most_check_ins {
            return false;
        }
        waiting.check_ins.push(pending);
        let n = waiting.check_ins.len();
        drop(waiting);
        // The first one starts the clock, a half-full queue ends the gathering.
        if n == 1 || n == self.most_check_ins / 2 {
            self.wake.notify_one();
        }
        true
    }

    /// Adds a job, or refuses it.
    pub(crate) fn job(&self, job: Job) -> Result<(), FleetError> {
        let mut waiting = self.waiting();
        if waiting.closed {
            return Err(FleetError::Closed);
        }
        let events = job.events();
        // A batch that is larger than the whole queue is taken when nothing else waits.
        if waiting.events > 0 && waiting.events + events > self.most_events {
            return Err(FleetError::Busy);
        }
        waiting.events += events;
        waiting.closed = matches!(job, Job::Close(_));
        waiting.jobs.push_back(job);
        drop(waiting);
        self.wake.notify_one();
        Ok(())
    }

    /// Waits until there is something to write, and takes it. Nothing when `patience` passes first.
    pub(crate) async fn take(&self, patience: Duration) -> Taken {
        let deadline = tokio::time::Instant::now() + patience;
        let mut gathering: Option<tokio::time::Instant> = None;
        loop {
            let until = {
                let mut waiting = self.waiting();
                let many = waiting.check_ins.len() >= self.most_check_ins / 2;
                let gathered = gathering.is_some_and(|until| until <= tokio::time::Instant::now());
                if !waiting.jobs.is_empty() || many || (gathered && !waiting.check_ins.is_empty()) {
                    return waiting.take();
                }
                if waiting.check_ins.is_empty() {
                    deadline
                } else {
                    *gathering.get_or_insert_with(|| tokio::time::Instant::now() + GATHER)
                }
            };
            if tokio::time::timeout_at(until, self.wake.notified()).await.is_err() && gathering.is_none() {
                return Taken::default();
            }
        }
    }

    /// Events and check-ins that wait.
    pub(crate) fn lengths(&self) -> (usize, usize) {
        let waiting = self.waiting();
        (waiting.events, waiting.check_ins.len())
    }

    /// Refuses everything from now on, and what waits.
    pub(crate) fn shut(&self, error: &FleetError) {
        let mut waiting = self.waiting();
        waiting.closed = true;
        waiting.check_ins.clear();
        let jobs = std::mem::take(&mut waiting.jobs);
        waiting.events = 0;
        drop(waiting);
        for job in jobs {
            job.refuse(error);
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn take(&mut self) -> Taken {
        let mut taken = Taken { check_ins: std::mem::take(&mut self.check_ins), jobs: Vec::new() };
        let mut events = 0;
        while let Some(job) = self.jobs.pop_front() {
            events += job.events();
            taken.jobs.push(job);
            if events >= EVENTS_PER_COMMIT {
                break;
            }
        }
        self.events = self.events.saturating_sub(events);
        taken
    }
}

//! What passes between gateways and the leader through the bundle store, when they are different processes.
//!
//! | key | written | holds |
//! | --- | --- | --- |
//! | `segments/<day>/<minute>/<id>.<gateway>.<number>.jsonl.gz` | once each, by a gateway | what devices said in a moment |
//! | `memory/index.json` | compare-and-swap, by the leader | which shards of device memory hold, and what was taken in |
//! | `memory/shards/<sha256>.json.gz` | once each, by the leader | what is remembered of some devices of an app |
//!
//! A gateway's [`Outbox`] gathers what devices say and answers them once a segment with it is written. The leader's
//! [`Relay`] takes each segment in exactly once, and publishes what the decision must know of devices, which every
//! gateway reads. What a gateway wrote itself it knows at once, and until the leader says that it has taken it in.

mod ingest;
mod memory;
mod outbox;
mod own;
mod publish;
mod segment;
mod shared;

#[cfg(test)]
mod tests;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;
use tokio::time::MissedTickBehavior;

use crate::{fleet::Fleet, objects::Objects};

pub use self::{
    ingest::{Ingest, IngestError},
    outbox::{Outbox, OutboxError, OutboxFigures, OutboxLimits},
    publish::{PublishError, Publisher},
};

/// How often segments are looked for.
const EVERY: Duration = Duration::from_secs(1);
/// How long a contact may take, in seconds, from a device to the list of segments: a segment that was begun then is written
/// by now, or its gateway says that it lost what was in it.
const ON_THE_WAY: i64 = 30;
/// How often changed device memory is published, in looks.
const PUBLISH_EVERY: u32 = 2;

/// The leader's side: takes in segments and publishes device memory, for as long as it runs.
#[derive(Debug)]
pub struct Relay {
    ingest: Ingest,
    fleet: Arc<Fleet>,
    publisher: Publisher,
    pending: Arc<AtomicU64>,
    said: Option<String>,
}

impl Relay {
    /// Between a bundle store and the fleet store, whose only writer this process is.
    pub fn new(objects: Arc<dyn Objects>, fleet: Arc<Fleet>) -> Self {
        // Nothing is, until the first look.
        fleet.taken_in(i64::MIN);
        Self {
            ingest: Ingest::new(objects.clone(), fleet.clone()),
            fleet: fleet.clone(),
            publisher: Publisher::new(objects, fleet),
            pending: Arc::default(),
            said: None,
        }
    }

    /// How many segments were found and wait for being taken in.
    pub fn pending(&self) -> Arc<AtomicU64> {
        self.pending.clone()
    }

    /// Runs until it is dropped.
    pub async fn run(mut self) {
        let mut every = tokio::time::interval(EVERY);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for look in 0_u32.. {
            every.tick().await;
            let trouble = self.look(look % PUBLISH_EVERY == 0, Timestamp::now()).await.err();
            if trouble != self.said {
                if let Some(error) = &trouble {
                    tracing::warn!(error, "what gateways gathered waits in the bundle store");
                } else {
                    tracing::info!("what gateways gather is taken in again");
                }
                self.said = trouble;
            }
        }
    }

    /// One look. Publishing comes after taking in: a process that may not write the fleet store any more fails at the
    /// first, and publishes nothing.
    async fn look(&mut self, publish: bool, now: Timestamp) -> Result<(), String> {
        let taken = self.ingest.look(now).await;
        self.pending.store(self.ingest.pending(), Ordering::Relaxed);
        taken.map_err(|e| e.to_string())?;
        if let Some(at) = self.ingest.listed_all_at() {
            self.fleet.taken_in(at.as_second() - ON_THE_WAY);
        }
        if publish {
            self.publisher.publish(self.ingest.taken(), now).await.map_err(|e| e.to_string())?;
        }
        Ok(())
    }
}

//! Who of several replicas leads: a Lease, held as client-go holds it.
//!
//! A replica compares no clocks with others: it takes a lease only when it has itself watched the holder say nothing
//! for the whole duration. Every write carries the version that was read. Whoever loses the lease may still be in the
//! middle of something; that is why everything a leader writes also carries its term, which the store hands out
//! ([`sluice_store::control::BundleStore::begin_term`]).

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
};
use tokio::{sync::Notify, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::skew::Skew;

/// Between two looks of a replica that waits.
const LOOK: Duration = Duration::from_millis(500);
/// A request that takes longer counts as failed.
const REQUEST: Duration = Duration::from_secs(5);

/// Which lease, and how it is held.
#[derive(Debug, Clone)]
pub struct LeaseSettings {
    /// Namespace of the lease.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Who this replica is, unique among them.
    pub identity: String,
    /// How long the others wait for a holder that says nothing.
    pub duration: Duration,
}

/// Takes part in the election.
#[derive(Debug, Clone)]
pub struct Election {
    api: Api<Lease>,
    settings: Arc<LeaseSettings>,
    skew: Arc<Skew>,
}

/// The lease, while this replica holds it.
#[derive(Debug)]
pub struct Leadership {
    lost: CancellationToken,
    stop: Arc<Notify>,
    renewing: JoinHandle<()>,
}

/// What a waiting replica saw of the holder, and when that changed last.
struct Observed {
    renewal: (Option<String>, Option<MicroTime>, Option<i32>),
    since: Instant,
}

/// How a renewal ended.
enum Renewal {
    Done(Lease),
    /// It is ours, as far as anybody knows; what stands there, if that could be read.
    Failed(Option<Lease>),
    /// Somebody else has it.
    Lost,
}

impl Election {
    /// Takes part with `client`. What is seen of the leader's clock goes into `skew`.
    pub(crate) fn new(client: Client, settings: LeaseSettings, skew: Arc<Skew>) -> Self {
        let api = Api::namespaced(client, &settings.namespace);
        Self { api, settings: Arc::new(settings), skew }
    }

    /// Waits until this replica leads. `trouble` hears what stands in the way, `None` once nothing does.
    pub async fn lead(&self, mut trouble: impl FnMut(Option<String>)) -> Leadership {
        let mut observed: Option<Observed> = None;
        loop {
            match self.try_take(&mut observed).await {
                Ok(Ok(lease)) => {
                    trouble(None);
                    self.skew.forget();
                    return self.hold(lease);
                }
                Ok(Err(wait)) => {
                    trouble(None);
                    tokio::time::sleep(wait).await;
                }
                Err(error) => {
                    trouble(Some(error));
                    tokio::time::sleep(LOOK).await;
                }
            }
        }
    }

    /// Takes the lease when it is free; otherwise says when to look again.
    async fn try_take(&self, observed: &mut Option<Observed>) -> Result<Result<Lease, Duration>, String> {
        let Some(lease) = answer(self.api.get_opt(&self.settings.name)).await? else {
            let fresh = Lease {
                metadata: ObjectMeta { name: Some(self.settings.name.clone()), ..ObjectMeta::default() },
                spec: Some(self.taken(0)),
            };
            return answer(self.api.create(&PostParams::default(), &fresh)).await.map(Ok);
        };
        let spec = lease.spec.clone().unwrap_or_default();
        let holder = spec.holder_identity.clone().filter(|holder| !holder.is_empty());
        let renewal = (holder.clone(), spec.renew_time.clone(), spec.lease_transitions);
        let since = match observed {
            Some(known) if known.renewal == renewal => known.since,
            _ => {
                // The first sight of a lease says nothing of a clock: its renewal may be old.
                if let (true, Some(holder), Some(renewed)) = (observed.is_some(), &holder, &spec.renew_time) {
                    self.skew.saw(holder, renewed.0, Timestamp::now());
                }
                let since = Instant::now();
                *observed = Some(Observed { renewal, since });
                since
            }
        };
        let seconds = u64::try_from(spec.lease_duration_seconds.unwrap_or(0)).unwrap_or(0);
        let left = Duration::from_secs(seconds).saturating_sub(since.elapsed());
        // A lease of our own name is from before a restart: nobody else has it.
        let free = holder.is_none_or(|holder| holder == self.settings.identity) || left.is_zero();
        if !free {
            return Ok(Err(left.min(LOOK)));
        }
        let transitions = spec.lease_transitions.unwrap_or(0).saturating_add(1);
        let taken = Lease { spec: Some(self.taken(transitions)), ..lease };
        match answer(self.api.replace(&self.settings.name, &PostParams::default(), &taken)).await {
            Ok(lease) => Ok(Ok(lease)),
            // Somebody was faster; the next look shows whom.
            Err(error) if error.contains("Conflict") => Ok(Err(Duration::ZERO)),
            Err(error) => Err(error),
        }
    }

    fn taken(&self, transitions: i32) -> LeaseSpec {
        let now = MicroTime(Timestamp::now());
        LeaseSpec {
            acquire_time: Some(now.clone()),
            renew_time: Some(now),
            holder_identity: Some(self.settings.identity.clone()),
            lease_duration_seconds: Some(self.seconds()),
            lease_transitions: Some(transitions),
            ..LeaseSpec::default()
        }
    }

    fn seconds(&self) -> i32 {
        i32::try_from(self.settings.duration.as_secs().max(1)).unwrap_or(i32::MAX)
    }

    fn hold(&self, lease: Lease) -> Leadership {
        let (lost, stop) = (CancellationToken::new(), Arc::new(Notify::new()));
        let renewing = tokio::spawn(self.clone().renew(lease, lost.clone(), Arc::clone(&stop)));
        Leadership { lost, stop, renewing }
    }

    /// Renews until asked to stop, and then frees the lease; or until it is lost.
    async fn renew(self, mut lease: Lease, lost: CancellationToken, stop: Arc<Notify>) {
        let _on_every_end = lost.clone().drop_guard();
        // Others wait for the whole duration; this one gives up before.
        let (every, deadline) = (self.settings.duration / 5, self.settings.duration * 2 / 3);
        let mut renewed = Instant::now();
        loop {
            tokio::select! {
                () = tokio::time::sleep(every) => {}
                () = stop.notified() => return self.free(lease).await,
            }
            let mut next = lease.clone();
            if let Some(spec) = &mut next.spec {
                spec.renew_time = Some(MicroTime(Timestamp::now()));
                spec.lease_duration_seconds = Some(self.seconds());
            }
            let asked = Instant::now();
            // An API server that says nothing is not waited for beyond the deadline.
            let left = deadline.saturating_sub(renewed.elapsed());
            match tokio::time::timeout(left, self.renew_once(&next)).await {
                Ok(Renewal::Done(written)) => (lease, renewed) = (written, asked),
                Ok(Renewal::Failed(Some(found))) => lease = found,
                Ok(Renewal::Failed(None)) => {}
                Ok(Renewal::Lost) => return,
                Err(_) => tracing::warn!("the lease could not be renewed: the API server does not answer"),
            }
            if renewed.elapsed() >= deadline {
                tracing::error!("the lease was not renewed in time; this replica leads no more");
                return;
            }
        }
    }

    /// Asks once, and after a failure looks what stands there.
    async fn renew_once(&self, next: &Lease) -> Renewal {
        let name = &self.settings.name;
        let error = match answer(self.api.replace(name, &PostParams::default(), next)).await {
            Ok(written) => return Renewal::Done(written),
            Err(error) => error,
        };
        tracing::warn!(error, "the lease could not be renewed");
        let Ok(Some(found)) = answer(self.api.get_opt(name)).await else { return Renewal::Failed(None) };
        let holder = found.spec.as_ref().and_then(|spec| spec.holder_identity.as_deref());
        if holder == Some(&self.settings.identity) { Renewal::Failed(Some(found)) } else { Renewal::Lost }
    }

    /// Lets the others take over at once.
    async fn free(&self, mut lease: Lease) {
        if let Some(spec) = &mut lease.spec {
            spec.holder_identity = Some(String::new());
            spec.lease_duration_seconds = Some(1);
            spec.renew_time = Some(MicroTime(Timestamp::now()));
        }
        if let Err(error) =
            answer(self.api.replace(&self.settings.name, &PostParams::default(), &lease)).await
        {
            tracing::warn!(
                error,
                "the lease could not be freed; another replica takes over when it runs out"
            );
        }
    }
}

impl Leadership {
    /// Cancelled when this replica leads no more.
    pub fn lost(&self) -> &CancellationToken {
        &self.lost
    }

    /// Gives it up, so that another replica takes over at once. Everything that a leader does must have ended.
    pub async fn release(self) {
        self.stop.notify_one();
        // The task frees the lease and ends; a panic in it would have been said.
        _ = self.renewing.await;
    }
}

/// The answer to a request, in time; what went wrong as a sentence.
async fn answer<T>(request: impl Future<Output = Result<T, kube::Error>>) -> Result<T, String> {
    match tokio::time::timeout(REQUEST, request).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(kube::Error::Api(status))) => Err(format!("{}: {}", status.reason, status.message)),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("the API server does not answer".to_owned()),
    }
}

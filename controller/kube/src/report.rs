//! Writes status and Events of the Releases and Channels of one Repository: on transitions only, the newest state only.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use futures::{StreamExt as _, stream};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::{Event, EventType, Recorder};
use serde_json::Value;
use sluice_core::{
    channel::Target,
    inventory::{Kind, ObjectId, ObjectKey},
    status::{ChannelStatus, ReleaseStatus, Status, is_ready},
};
use sluice_crds::{API_VERSION, PATH_ANNOTATION, channel, common::ConditionStatus, release};
use tokio::sync::watch;

use crate::{
    by_object::ByObject,
    cache::{Body, Cache, Held, Namespace, lock},
    events::publish,
    objects::{MANAGER, Objects},
    problem::Problem,
    status::{self, Stamp, cut},
};

/// Requests at one time.
const AT_ONCE: usize = 16;
/// Between two sweeps that somebody else's writes ask for.
const CALM: Duration = Duration::from_millis(500);
/// After a sweep that the API server did not answer.
const AGAIN: Duration = Duration::from_secs(2);
/// How long an object without any status is left without one while its bundle is being made: what is made at once needs
/// one write and not two.
const FIRST: Duration = Duration::from_secs(30);
/// Longest note of an Event.
pub(crate) const NOTE: usize = 1_000;

type Generations = Arc<ByObject<i64>>;

/// The engine's word, and the generations of the objects that it looked at.
pub(crate) type Reported = Option<(Arc<Status>, Generations)>;

/// Writes what the engine of one Repository says of its objects.
pub(crate) struct Reporter {
    objects: Objects,
    cache: Arc<Cache>,
    space: Arc<Namespace>,
    recorder: Recorder,
    epoch: u64,
    seen: Mutex<Generations>,
    /// Since when an object without any status waits for its bundle.
    waiting: Mutex<HashMap<ObjectKey, Instant>>,
    /// Objects whose status was found right: they are not looked at again until something changes.
    right: Mutex<ByObject<About>>,
    latest: watch::Sender<Reported>,
}

/// What the status of an object follows from.
struct About {
    said: Said,
    held: Arc<Held>,
    generation: i64,
}

enum Said {
    Release(Arc<ReleaseStatus>),
    Channel(Arc<ChannelStatus>),
}

impl Said {
    fn id(&self) -> ObjectId<'_> {
        match self {
            Self::Release(state) => ObjectId { kind: Kind::Release, name: &state.name },
            Self::Channel(state) => ObjectId { kind: Kind::Channel, name: &state.name },
        }
    }
}

impl About {
    fn is(&self, other: &Self) -> bool {
        let said = match (&self.said, &other.said) {
            (Said::Release(a), Said::Release(b)) => Arc::ptr_eq(a, b),
            (Said::Channel(a), Said::Channel(b)) => Arc::ptr_eq(a, b),
            _ => false,
        };
        said && Arc::ptr_eq(&self.held, &other.held) && self.generation == other.generation
    }
}

impl std::fmt::Debug for Reporter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reporter").field("namespace", &self.objects.namespace).finish_non_exhaustive()
    }
}

/// A status that has to be written.
struct Write {
    held: Arc<Held>,
    patch: Value,
    event: Option<Event>,
}

/// What a sweep writes from.
struct Sweep<'a> {
    status: &'a Status,
    seen: &'a Generations,
    now: Instant,
}

/// How a sweep ended.
#[derive(Debug, PartialEq, Eq)]
enum Swept {
    Done,
    Away,
    Deposed,
}

impl Reporter {
    pub(crate) fn new(objects: Objects, cache: Arc<Cache>, recorder: Recorder, epoch: u64) -> Self {
        let space = cache.namespace(&objects.namespace);
        let (seen, waiting, latest) = (Mutex::default(), Mutex::default(), watch::Sender::new(None));
        Self { objects, cache, space, recorder, epoch, seen, waiting, right: Mutex::default(), latest }
    }

    /// The generations that the engine's next word is about.
    pub(crate) fn saw<'a>(&self, generations: impl Iterator<Item = (ObjectId<'a>, i64)>) {
        let mut seen = ByObject::default();
        for (id, generation) in generations {
            seen.insert(id, generation);
        }
        *lock(&self.seen) = Arc::new(seen);
    }

    /// Takes note of what the engine says.
    pub(crate) fn report(&self, status: &Arc<Status>) {
        let seen = Arc::clone(&lock(&self.seen));
        self.latest.send_replace(Some((Arc::clone(status), seen)));
    }

    /// The engine's last word.
    pub(crate) fn status(&self) -> watch::Receiver<Reported> {
        self.latest.subscribe()
    }

    /// Writes until the returned future is dropped, or until a later leader has written.
    pub(crate) async fn run(&self) {
        let (mut latest, mut stirs) = (self.latest.subscribe(), self.space.stirs());
        loop {
            let said = latest.borrow_and_update().clone();
            let swept = match &said {
                Some((status, seen)) => self.sweep(status, seen).await,
                None => Swept::Done,
            };
            let pause = match swept {
                Swept::Deposed => return,
                Swept::Away => AGAIN,
                Swept::Done => CALM,
            };
            let stirred = async {
                tokio::time::sleep(pause).await;
                if swept == Swept::Done && stirs.changed().await.is_err() {
                    // A namespace is kept for as long as the process lives.
                    std::future::pending::<()>().await;
                }
            };
            tokio::select! {
                changed = latest.changed() => if changed.is_err() { return },
                () = stirred => {}
            }
        }
    }

    async fn sweep(&self, status: &Status, seen: &Generations) -> Swept {
        let sweep = Sweep { status, seen, now: Instant::now() };
        let releases = status.releases.iter().map(|state| Said::Release(Arc::clone(state)));
        let channels = status.channels.iter().map(|state| Said::Channel(Arc::clone(state)));
        let said: Vec<Said> = releases.chain(channels).collect();
        // What is written is made when its turn comes: for thousands at once it would take more room than all else.
        let mut writing = stream::iter(said).map(|said| self.show(said, &sweep)).buffer_unordered(AT_ONCE);
        let mut swept = Swept::Done;
        while let Some(written) = writing.next().await {
            match written {
                Ok(()) | Err(Problem::Gone) => {}
                Err(Problem::Away(message)) => {
                    tracing::debug!(message, "status could not be written");
                    swept = Swept::Away;
                }
                Err(problem) if problem.is_deposed() => {
                    tracing::warn!("a later leader writes status");
                    return Swept::Deposed;
                }
                Err(Problem::Refused(_, message)) => {
                    tracing::warn!(message, "the API server refuses a status");
                    swept = Swept::Away;
                }
            }
        }
        let mut right = lock(&self.right);
        if right.len() > seen.len() {
            right.retain(|id| seen.get(id).is_some());
        }
        swept
    }

    /// Brings what an object shows in line with what is said of it.
    async fn show(&self, said: Said, sweep: &Sweep<'_>) -> Result<(), Problem> {
        match self.differs(said, sweep) {
            Some(write) => self.write(write).await,
            None => Ok(()),
        }
    }

    /// What differs from what the cluster shows.
    fn differs(&self, said: Said, sweep: &Sweep<'_>) -> Option<Write> {
        let id = said.id();
        let about = About { held: self.space.get(id)?, generation: *sweep.seen.get(id)?, said };
        let held = Arc::clone(&about.held);
        if lock(&self.right).get(held.key.id()).is_some_and(|right| right.is(&about)) {
            return None;
        }
        let stamp = Stamp { generation: about.generation, epoch: self.epoch, handled: held.requested_at() };
        let differs = match (&about.said, &held.body) {
            (Said::Release(state), Body::Release(body)) => {
                if self.can_wait(&held.key, &body.1.conditions, &state.conditions, sweep.now) {
                    return None;
                }
                Self::release(state, &body.1, stamp)
            }
            (Said::Channel(state), Body::Channel(body)) => {
                if self.can_wait(&held.key, &body.1.conditions, &state.conditions, sweep.now) {
                    return None;
                }
                self.channel(state, &body.1, sweep.status, stamp)
            }
            _ => return None,
        };
        let Some((patch, event)) = differs else {
            lock(&self.right).insert(held.key.id(), about);
            return None;
        };
        Some(Write { held, patch, event })
    }

    /// What a Release shall show beside `before`.
    fn release(
        state: &ReleaseStatus,
        before: &release::ReleaseStatus,
        stamp: Stamp<'_>,
    ) -> Option<(Value, Option<Event>)> {
        let patch = status::patch(before, &status::release(state, before, stamp))?;
        Some((patch, transition(ready_reason(&before.conditions), &state.conditions, false, None)))
    }

    /// The same for a Channel.
    fn channel(
        &self,
        state: &ChannelStatus,
        before: &channel::ChannelStatus,
        status: &Status,
        stamp: Stamp<'_>,
    ) -> Option<(Value, Option<Event>)> {
        let revision = status.repositories.first().and_then(|r| r.applied_commit.as_deref());
        let release = |target: &Target| match target {
            Target::Builtin => None,
            Target::Release(version) => status.release(&state.app, version),
        };
        let digest = |target: &Target| Some(release(target)?.digest?.to_string());
        let after = status::channel(state, before, digest, revision, stamp);
        let patch = status::patch(before, &after)?;
        let served = after.release.is_some() && after.release != before.release;
        let new = state.lines.iter().zip(&after.lines).find(|(_, line)| !before.lines.contains(line));
        let related = new.and_then(|(line, _)| release(line.served.as_ref()?));
        let related = related.map(|release| self.reference(Kind::Release, &release.name));
        Some((patch, transition(ready_reason(&before.conditions), &state.conditions, served, related)))
    }

    /// An object as Events name it. Not with its resource version, by which no two Events would be of the same object:
    /// those of one object and reason become a series.
    fn reference(&self, kind: Kind, name: &str) -> ObjectReference {
        ObjectReference {
            api_version: Some(API_VERSION.to_owned()),
            kind: Some(format!("{kind:?}")),
            name: Some(name.to_owned()),
            namespace: Some(self.objects.namespace.clone()),
            ..ObjectReference::default()
        }
    }

    /// Says in an Event that an object was put right that somebody else had changed, or deleted when there is no `before`.
    pub(crate) async fn corrected(&self, held: &Held, before: Option<&Held>) {
        let writer = before.and_then(|before| before.writer.as_deref()).filter(|writer| *writer != MANAGER);
        let what = match (before, writer) {
            (None, _) => "it was deleted".to_owned(),
            (Some(_), Some(writer)) => format!("field manager `{writer}` changed it"),
            (Some(_), None) => "it was changed".to_owned(),
        };
        let file = held.substance.annotations.get(PATH_ANNOTATION).unwrap_or("its file");
        let note =
            format!("{what} behind Git's back, and is again what Git says; to change it, change {file}");
        let event = Event {
            type_: EventType::Warning,
            reason: "DriftCorrected".to_owned(),
            note: Some(cut(&note, NOTE)),
            action: "Apply".to_owned(),
            secondary: None,
        };
        self.publish(&event, held).await;
    }

    async fn publish(&self, event: &Event, held: &Held) {
        let uid = Some(held.substance.uid.clone());
        let reference = ObjectReference { uid, ..self.reference(held.key.kind, &held.key.name) };
        publish(&self.recorder, event, &reference).await;
    }

    /// Whether an object that shows nothing yet can wait a little for a status that says more than that it waits.
    fn can_wait(
        &self,
        key: &ObjectKey,
        shown: &[sluice_crds::common::Condition],
        state: &[sluice_core::status::Condition],
        now: Instant,
    ) -> bool {
        let waits = state.iter().any(|c| c.r#type == "Ready" && status::is_waiting(&c.reason));
        let mut waiting = lock(&self.waiting);
        if !shown.is_empty() || !waits {
            waiting.remove(key);
            return false;
        }
        now.duration_since(*waiting.entry(key.clone()).or_insert(now)) < FIRST
    }

    async fn write(&self, write: Write) -> Result<(), Problem> {
        let Write { held, patch, event } = write;
        let written = match self.objects.status(&held.key, &patch).await {
            Err(problem) if problem.is_deposed() => {
                // The watch may be behind; the next term has to be above this one.
                self.cache.terms.saw(self.objects.term(&held.key).await?);
                return Err(problem);
            }
            written => written?,
        };
        self.cache.wrote(&self.objects.namespace, written);
        if let Some(event) = event {
            self.publish(&event, &held).await;
        }
        Ok(())
    }
}

pub(crate) fn ready_reason(conditions: &[sluice_crds::common::Condition]) -> Option<(bool, &str)> {
    let ready = conditions.iter().find(|c| c.type_ == "Ready")?;
    Some((ready.status == ConditionStatus::True, &ready.reason))
}

/// The Event of a transition: something else is served, or something is wrong that was not before. A series shows the note
/// of its first Event, so that what is served is part of what makes one: as the `related` object.
fn transition(
    before: Option<(bool, &str)>,
    after: &[sluice_core::status::Condition],
    served: bool,
    related: Option<ObjectReference>,
) -> Option<Event> {
    let ready = after.iter().find(|c| c.r#type == "Ready")?;
    let changed = before != Some((ready.status, ready.reason.as_str()));
    let event = |type_: EventType, action: &str| Event {
        type_,
        reason: ready.reason.clone(),
        note: Some(cut(&ready.message, NOTE)),
        action: action.to_owned(),
        secondary: related,
    };
    if is_ready(after) {
        let recovered =
            changed && before.is_some_and(|(ready, reason)| !ready && !status::is_waiting(reason));
        return (served || recovered).then(|| event(EventType::Normal, "Serve"));
    }
    (changed && !status::is_waiting(&ready.reason)).then(|| event(EventType::Warning, "Reconcile"))
}

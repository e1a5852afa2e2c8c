//! Events of what is decided about rollouts: one for each row of the decision log, about the Channel.
//!
//! An Event has a name that follows from what it says, and keeps the place of the last row that it was written for. So whoever
//! goes over a row again, after a restart or as the next leader, finds that it is said; and what happens again, such as a
//! rollout that is held a second time at the same weight, becomes a series.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::{
    api::{
        core::v1::ObjectReference,
        events::v1::{Event, EventSeries},
    },
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::json;
use sluice_core::{
    decisions::{Kind, Transition},
    digest::Digest,
    ids::AppId,
    inventory::{Kind as ObjectKind, ObjectId},
};
use sluice_crds::API_VERSION;
use sluice_notify::{Decided, Listener, Undelivered};

use crate::{cache::Namespace, report::NOTE, status::cut};

/// Who says it, as the operator's other Events.
const CONTROLLER: &str = "sluice.dev/operator";
/// The row that an Event was last written for.
const ROW: &str = "sluice.dev/decision";
/// Bytes of the name of a Channel in the name of an Event.
const NAME: usize = 200;
/// Characters of a hash there.
const HASH: usize = 16;
/// Longest name of who reports, as the API server takes it.
const INSTANCE: usize = 128;

/// Writes Events about the Channels of one namespace.
pub(crate) struct Announcer {
    events: Api<Event>,
    space: Arc<Namespace>,
    namespace: String,
    instance: String,
}

impl Announcer {
    pub(crate) fn new(client: Client, space: Arc<Namespace>, namespace: &str, instance: &str) -> Self {
        Self {
            events: Api::namespaced(client, namespace),
            space,
            namespace: namespace.to_owned(),
            instance: cut(instance, INSTANCE),
        }
    }

    /// The Event of a row that nothing was said of before.
    fn event(&self, name: &str, object: &str, row: Place, decided: &Decided<'_>) -> Event {
        let held = self.space.get(ObjectId { kind: ObjectKind::Channel, name: object });
        let transition = &decided.row.transition;
        Event {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                namespace: Some(self.namespace.clone()),
                annotations: Some(BTreeMap::from([(ROW.to_owned(), row.to_string())])),
                ..ObjectMeta::default()
            },
            event_time: Some(MicroTime(decided.page.at)),
            reporting_controller: Some(CONTROLLER.to_owned()),
            reporting_instance: Some(self.instance.clone()),
            action: Some("Rollout".to_owned()),
            reason: Some(reason(transition.kind)),
            type_: Some(if is_warning(transition.kind) { "Warning" } else { "Normal" }.to_owned()),
            note: Some(cut(&decided.row.sentence, NOTE)),
            regarding: Some(ObjectReference {
                api_version: Some(API_VERSION.to_owned()),
                kind: Some("Channel".to_owned()),
                name: Some(object.to_owned()),
                namespace: Some(self.namespace.clone()),
                uid: held.map(|held| held.substance.uid.clone()),
                ..ObjectReference::default()
            }),
            ..Event::default()
        }
    }
}

impl Listener for Announcer {
    const MEMORY: &'static str = "announced";

    async fn hear(&self, decided: &Decided<'_>) -> Result<(), Undelivered> {
        let transition = &decided.row.transition;
        let Some(channel) = decided.record.channels.get(&transition.channel) else {
            return Ok(());
        };
        let row = Place { page: decided.page.sequence, row: decided.index };
        let name = name(&channel.name, &decided.page.app, transition);
        let Some(known) = self.events.get_opt(&name).await.map_err(undelivered)? else {
            let event = self.event(&name, &channel.name, row, decided);
            self.events.create(&PostParams::default(), &event).await.map_err(undelivered)?;
            return Ok(());
        };
        let said =
            known.metadata.annotations.as_ref().and_then(|all| all.get(ROW)).and_then(|at| Place::of(at));
        if said.is_some_and(|said| said >= row) {
            return Ok(());
        }
        let series = EventSeries {
            count: known.series.map_or(1, |series| series.count) + 1,
            last_observed_time: MicroTime(decided.page.at),
        };
        let patch = json!({ "metadata": { "annotations": { ROW: row.to_string() } }, "series": series });
        self.events.patch(&name, &PatchParams::default(), &Patch::Merge(&patch)).await.map_err(|error| {
            match error {
                // It expired a moment ago: the next attempt makes another.
                kube::Error::Api(status) if status.is_not_found() => {
                    Undelivered::Later(status.message.clone())
                }
                error => undelivered(error),
            }
        })?;
        Ok(())
    }
}

/// A row's place in the log of its app.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    page: u64,
    row: usize,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.page, self.row)
    }
}

impl Place {
    fn of(text: &str) -> Option<Self> {
        let (page, row) = text.split_once('-')?;
        Some(Self { page: page.parse().ok()?, row: row.parse().ok()? })
    }
}

/// The reason of a kind: these are stable.
fn reason(kind: Kind) -> String {
    format!("Rollout{kind}")
}

/// Whether somebody should look.
const fn is_warning(kind: Kind) -> bool {
    match kind {
        Kind::Held | Kind::Paused | Kind::Braked => true,
        Kind::Started
        | Kind::Advanced
        | Kind::Lowered
        | Kind::Resumed
        | Kind::Completed
        | Kind::Overtaken
        | Kind::Withdrawn => false,
    }
}

/// The same for everything that says the same.
fn name(object: &str, app: &AppId, transition: &Transition) -> String {
    let Transition { channel, line, serial, kind, release, level, weight, limited, reason } = transition;
    let said = json!([app, channel, line, serial, kind, release, level, weight, limited, reason]);
    let digest = Digest::of(said.to_string().as_bytes()).to_string();
    format!("{}.{}", cut(object, NAME).trim_end_matches(['.', '-']), cut(&digest, HASH))
}

fn undelivered(error: kube::Error) -> Undelivered {
    match error {
        // The namespace is gone.
        kube::Error::Api(status) if status.is_not_found() => Undelivered::Never(status.message.clone()),
        kube::Error::Api(status) if status.is_invalid() => {
            Undelivered::Never(format!("the API server refuses an Event: {}", status.message))
        }
        kube::Error::Api(status) => {
            Undelivered::Later(format!("an Event could not be written: {}", status.message))
        }
        _ => Undelivered::Later("an Event could not be written: the API server cannot be reached".to_owned()),
    }
}

#[cfg(test)]
mod tests;

//! Everything about one device, for whoever asks what is kept of it or wants it gone.
//!
//! Two tables are not in the order of devices: events, and custom ids. Both questions read them from one end to the other,
//! on a connection that reads, so that nobody waits for it: seconds for each ten million rows. They are for the requests
//! of people, not for every day's work.

use std::collections::HashMap;

use serde::Serialize;
use sluice_core::{memory::DeviceMemory, request::DeviceKey};

use super::{
    Fleet,
    active::Moves,
    acts::{Act, Author},
    census::Census,
    dialect::{Connection, ListStatement, Row, Values},
    error::FleetError,
    hash::keyed_hash,
    hot::Key,
    model::EventId,
    queue::Job,
    registry::App,
    sql,
    trials::{self, EnrolmentView, Trials},
    types::DeviceView,
};

use timeline::timeline;

mod timeline;

pub use timeline::Happening;

/// Whose data.
#[derive(Clone, Copy)]
pub enum Subject<'a> {
    /// A device.
    Device(DeviceKey),
    /// Every device with this id of the app's own.
    CustomId(&'a str),
}

/// Everything that is kept of a device.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Export {
    /// The app.
    pub app: String,
    /// What stands for the device here, in hexadecimal: the first half of the SHA-256 of its id.
    pub device: String,
    /// The keyed hash of its custom id, in hexadecimal.
    pub custom_id: Option<String>,
    /// What it is, and what became of versions on it; nothing of one that never asked.
    #[serde(flatten)]
    pub about: Option<DeviceView>,
    /// What decisions are told of it.
    pub remembered: Option<DeviceMemory>,
    /// The channel that it was put on.
    #[serde(rename = "override")]
    pub chosen: Option<OverrideView>,
    /// The trials that it is or was in.
    pub enrolments: Vec<EnrolmentView>,
    /// What it reported.
    pub events: Vec<EventView>,
    /// The same in order, in words.
    pub timeline: Vec<Happening>,
}

/// The channel that a device was put on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OverrideView {
    /// The channel.
    pub channel: String,
    /// `device` or `support`.
    pub by: String,
    /// Since when, in seconds since 1970.
    pub at: i64,
    /// Until when; nothing for one that does not end by itself.
    pub expires: Option<i64>,
    /// Who chose it, when a person did.
    pub who: Option<String>,
    /// Why.
    pub why: Option<String>,
}

/// A report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EventView {
    /// What happened.
    pub action: String,
    /// The version that it named.
    pub version: String,
    /// When, in milliseconds of the device's clock.
    pub sent_at: Option<i64>,
    /// When it came, in seconds since 1970.
    pub received: i64,
}

/// Devices that are to be forgotten, and their reports.
pub(crate) struct Erasure {
    keys: Vec<Key>,
    versions: Vec<(Key, String)>,
    events: Vec<EventId>,
    act: Act,
}

static DELETE_FAILED: ListStatement =
    ListStatement { head: "DELETE FROM failed WHERE (app, device) IN (", columns: 2, tail: ")" };
static DELETE_OVERRIDES: ListStatement =
    ListStatement { head: "DELETE FROM overrides WHERE (app, device) IN (", columns: 2, tail: ")" };

impl Erasure {
    /// Removes them. Returns how many devices there were.
    pub(crate) async fn write(
        &self,
        connection: &mut Connection,
        trials: &mut Trials,
        now: i64,
    ) -> Result<u64, sqlx::Error> {
        let mut moves = Moves::default();
        let devices = sql::devices(connection, &self.keys).await?;
        for (key, row) in &devices {
            moves.before(*key, Some(row));
        }
        Census::of(&devices).write(connection, &HashMap::new()).await?;
        moves.write(connection, &HashMap::new(), now).await?;
        trials::erase(connection, trials, &self.keys).await?;
        let of_version = |(key, version): &(Key, String), values: &mut Values| {
            values.add(i64::from(key.app)).add(&**version).add(&key.device.as_bytes()[..]);
        };
        sql::DELETE_OUTCOMES.write(connection, &self.versions, of_version).await?;
        DELETE_FAILED.write(connection, &self.keys, sql::bind_key).await?;
        DELETE_OVERRIDES.write(connection, &self.keys, sql::bind_key).await?;
        let of_event = |id: &EventId, values: &mut Values| _ = values.add(id.slot).add(&id.hash[..]);
        sql::DELETE_EVENTS.write(connection, &self.events, of_event).await?;
        let devices = sql::DELETE_DEVICES.write(connection, &self.keys, sql::bind_key).await?;
        self.act.write(connection, devices, now).await?;
        Ok(devices)
    }

    pub(crate) fn keys(&self) -> &[Key] {
        &self.keys
    }
}

impl Fleet {
    /// Everything that is kept of a device, or of every device with a custom id.
    pub async fn export(&self, app: &str, subject: Subject<'_>) -> Result<Vec<Export>, FleetError> {
        let _one = self.long_questions.lock().await;
        self.flush().await?;
        let Some(known) = self.shared.registry.app(app) else { return Ok(Vec::new()) };
        let mut exports = Vec::new();
        for key in self.devices_of(&known, subject).await? {
            let about = self.device(app, key.device).await?;
            let (events, remembered) = (self.events_of(&key).await?, self.shared.remembered.get(&key));
            let chosen = self.chosen(&key).await?;
            if about.is_none() && events.is_empty() && remembered.is_none() && chosen.is_none() {
                continue;
            }
            let mut connection = self.shared.readers.acquire().await?;
            let custom_id = sql::devices(&mut connection, &[key]).await?.remove(&key);
            let custom_id = custom_id.and_then(|row| row.about.custom_id).map(hex::encode);
            drop(connection);
            let enrolments = self.enrolment(app, key.device).await?;
            let events: Vec<_> = events.into_iter().map(|(_, event)| event).collect();
            exports.push(Export {
                timeline: timeline(about.as_ref(), chosen.as_ref(), &enrolments, &events),
                app: app.to_owned(),
                device: hex::encode(key.device.as_bytes()),
                custom_id,
                remembered: remembered.as_deref().cloned(),
                about,
                chosen,
                enrolments,
                events,
            });
        }
        Ok(exports)
    }

    /// Forgets a device, or every device with a custom id, durably, and returns how many there were. What journals of
    /// rollouts hold of them stays: it names nobody. A device that asks again is a new one. Who did it and why is recorded,
    /// and not to whom.
    pub async fn erase(&self, app: &str, subject: Subject<'_>, author: Author) -> Result<u64, FleetError> {
        let _one = self.long_questions.lock().await;
        self.flush().await?;
        let Some(known) = self.shared.registry.app(app) else { return Ok(0) };
        let keys = self.devices_of(&known, subject).await?;
        let mut events = Vec::new();
        for key in &keys {
            events.extend(self.events_of(key).await?.into_iter().map(|(id, _)| id));
        }
        let named = known.versions();
        let of = |key: &Key| named.iter().map(|known| (*key, known.version.to_string())).collect::<Vec<_>>();
        let versions = keys.iter().flat_map(of).collect();
        let erasure = Box::new(Erasure { keys, versions, events, act: Act::erase(known.id, author) });
        self.ask(|reply| Job::Erase(erasure, reply)).await
    }

    async fn devices_of(&self, app: &App, subject: Subject<'_>) -> Result<Vec<Key>, FleetError> {
        let custom_id = match subject {
            Subject::Device(device) => return Ok(vec![Key { app: app.id, device }]),
            Subject::CustomId(id) => keyed_hash(&self.shared.custom_id_key, id.as_bytes()),
        };
        let with_id = "SELECT app, device FROM devices WHERE app = $1 AND custom_id = $2";
        let bind = |values: &mut Values| _ = values.add(i64::from(app.id)).add(&custom_id[..]);
        let rows = self.shared.readers.fetch(with_id, bind).await?;
        Ok(rows.iter().map(|row| sql::key_of(row, 0, 1)).collect::<Result<_, _>>()?)
    }

    async fn chosen(&self, key: &Key) -> Result<Option<OverrideView>, FleetError> {
        let chosen = "SELECT channel, chosen_by, at, expires, who, why FROM overrides \
                      WHERE app = $1 AND device = $2";
        let rows = self.shared.readers.fetch(chosen, |values| sql::bind_key(key, values)).await?;
        let view = |row: &Row| {
            Ok::<_, sqlx::Error>(OverrideView {
                channel: row.try_get(0)?,
                by: row.try_get(1)?,
                at: row.try_get(2)?,
                expires: row.try_get(3)?,
                who: row.try_get(4)?,
                why: row.try_get(5)?,
            })
        };
        Ok(rows.first().map(view).transpose()?)
    }

    async fn events_of(&self, key: &Key) -> Result<Vec<(EventId, EventView)>, FleetError> {
        let events = "SELECT slot, key, action, version, sent_at, received FROM events \
                      WHERE app = $1 AND device = $2 ORDER BY slot, key";
        let rows = self.shared.readers.fetch(events, |values| sql::bind_key(key, values)).await?;
        let event = |row: &Row| {
            let id = EventId { slot: row.try_get(0)?, hash: sql::sixteen(row.try_get(1)?)? };
            let view = EventView {
                action: row.try_get(2)?,
                version: row.try_get(3)?,
                sent_at: row.try_get(4)?,
                received: row.try_get(5)?,
            };
            Ok::<_, sqlx::Error>((id, view))
        };
        Ok(rows.iter().map(event).collect::<Result<_, _>>()?)
    }
}

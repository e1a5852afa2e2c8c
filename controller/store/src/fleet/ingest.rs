//! What a gateway gathered and somebody else keeps: the same check-ins, events and channel choices, as values that can
//! be written down. Each segment of them counts once.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use sluice_core::{
    channel::Platform, client::PluginVersion, digest::Digest, ids::AppId, memory::Override,
    native::NativeVersion, outcome::Event, request::DeviceKey,
};

use super::{
    CheckIn, Fleet, MOST_TEXT,
    apply::Report,
    error::FleetError,
    hot::Key,
    model::{About, OverrideRow, cut},
    queue::{Gathered, Job, Pending},
    sql,
    traffic::Sent,
    trials::Trial,
};

/// What a gateway gathered in a moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Segment {
    /// Random, and never used again.
    pub id: [u8; 16],
    /// Check-ins that changed something.
    pub check_ins: Vec<Noted>,
    /// Events.
    pub events: Vec<Reported>,
    /// Channels that devices were put on or taken off.
    pub choices: Vec<Choice>,
    /// What was offered to anybody, also by check-ins that changed nothing.
    pub offers: Vec<OfferMade>,
    /// Until when contacts were lost at the gateway, when some were, in seconds since 1970.
    pub lost: Option<i64>,
    /// Bytes that were sent to devices.
    pub sent: Vec<Sent>,
}

/// A bundle was offered, at the latest in this minute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the fields are those of an offer")]
pub struct OfferMade {
    pub app: AppId,
    pub version: String,
    pub digest: Digest,
    pub at: i64,
}

/// A check-in that changed something, as [`super::CheckIn`] says it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the fields are those of a check-in")]
pub struct Noted {
    pub app: AppId,
    #[serde(with = "hex_key")]
    pub device: DeviceKey,
    pub at: i64,
    /// The latest contact that the gateway knew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<i64>,
    pub platform: Platform,
    pub plugin: String,
    pub native: String,
    pub os: String,
    pub running: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    pub production: bool,
    pub emulator: bool,
    /// The keyed hash of the app's own id.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "hex_hash")]
    pub custom_id: Option<[u8; 16]>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offered: Option<(String, Digest)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trial: Option<Trial>,
}

/// An event, as far as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the fields are those of an event")]
pub struct Reported {
    pub app: AppId,
    #[serde(with = "hex_key")]
    pub device: DeviceKey,
    /// When it came, in seconds since 1970.
    pub received: i64,
    pub platform: Platform,
    pub plugin: String,
    pub native: NativeVersion,
    pub action: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old_version: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<i64>,
    pub production: bool,
    pub emulator: bool,
}

/// A device was put on a channel, or taken off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Choice {
    /// The app.
    pub app: AppId,
    /// The device.
    #[serde(with = "hex_key")]
    pub device: DeviceKey,
    /// The channel; nothing when it was taken off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chosen: Option<Override>,
    /// When, in seconds since 1970.
    pub at: i64,
    /// When it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<i64>,
}

impl Noted {
    /// A check-in; `custom_id` is the keyed hash of the one it has. Of a trial it has no network prefix, see
    /// [`Trial::of`]. Nothing when the app's name is none.
    pub fn of(check_in: &CheckIn<'_>, since: Option<i64>, custom_id: Option<[u8; 16]>) -> Option<Self> {
        let own = |text: &str| cut(text, MOST_TEXT).to_owned();
        Some(Self {
            app: check_in.app.parse().ok()?,
            device: check_in.device,
            at: check_in.at,
            since,
            platform: check_in.platform,
            plugin: own(check_in.plugin),
            native: own(check_in.native),
            os: own(check_in.os),
            running: own(check_in.running),
            channel: check_in.channel.map(own),
            production: check_in.production,
            emulator: check_in.emulator,
            custom_id,
            offered: check_in.offered.map(|o| (o.version.to_owned(), *o.digest)),
            trial: check_in.trial.as_ref().map(|trial| Trial::of(trial, None)),
        })
    }
}

impl Reported {
    /// An event that came at `received`. Details that nobody keeps are left out.
    pub fn of(event: Event, received: i64) -> Self {
        let Event {
            app,
            device,
            probe: _,
            platform,
            plugin,
            native,
            action,
            version,
            file,
            old_version,
            timestamp,
            production,
            emulator,
            metadata: _,
            message: _,
        } = event;
        let plugin = plugin.to_string();
        Self {
            app,
            device,
            received,
            platform,
            plugin,
            native,
            action,
            version,
            file,
            old_version,
            timestamp,
            production,
            emulator,
        }
    }

    fn into_event(self) -> (Event, i64) {
        let Self {
            app,
            device,
            received,
            platform,
            plugin,
            native,
            action,
            version,
            file,
            old_version,
            timestamp,
            production,
            emulator,
        } = self;
        let plugin = PluginVersion::parse(&plugin);
        let event = Event {
            app,
            device,
            probe: false,
            platform,
            plugin,
            native,
            action,
            version,
            file,
            old_version,
            timestamp,
            production,
            emulator,
            metadata: Vec::new(),
            message: None,
        };
        (event, received)
    }
}

impl Fleet {
    /// Takes in what a gateway gathered, all of it in one transaction. Says whether it was new: a segment that comes
    /// again changes nothing, also after a crash.
    pub async fn ingest(&self, segment: Segment) -> Result<bool, FleetError> {
        let Segment { id, check_ins, events, choices, offers, lost, sent } = segment;
        if let Some(until) = lost {
            self.shared.lose(until);
        }
        for OfferMade { app, version, digest, at } in offers {
            if let Some(app) = self.shared.registry.app_or_new(app.as_str()) {
                let known = self.shared.registry.version_or_new(&app, cut(&version, MOST_TEXT), &digest, at);
                self.shared.registry.offered(&known, at);
            }
        }
        let mut gathered = Gathered {
            id,
            check_ins: Vec::with_capacity(check_ins.len()),
            reports: Vec::with_capacity(events.len()),
            choices: Vec::with_capacity(choices.len()),
            sent,
        };
        for noted in check_ins {
            gathered.check_ins.extend(self.pending(&noted));
        }
        for reported in events {
            let (event, received) = reported.into_event();
            if let Some(app) = self.shared.registry.app_or_new(event.app.as_str()) {
                gathered.reports.push(Report::new(app, event, received));
            }
        }
        for Choice { app, device, chosen, at, expires } in choices {
            let Some(app) = self.shared.registry.app_or_new(app.as_str()) else { continue };
            let key = Key { app: app.id, device };
            let row = chosen.map(|chosen| OverrideRow { key, chosen, at, expires, author: None });
            gathered.choices.push((key, row));
        }
        self.ask(|reply| Job::Ingest(Box::new(gathered), reply)).await
    }

    /// Forgets that these segments were taken in, after everything that could bring them again is gone.
    pub async fn forget_segments(&self, ids: Vec<[u8; 16]>) -> Result<(), FleetError> {
        self.ask(|reply| Job::Forget(ids, reply)).await
    }

    /// Which of these segments were taken in.
    pub async fn known_segments(&self, ids: Vec<[u8; 16]>) -> Result<HashSet<[u8; 16]>, FleetError> {
        // What was handed over before is either written or not.
        self.flush().await?;
        let mut connection = self.shared.readers.acquire().await?;
        Ok(sql::known_segments(&mut connection, &ids).await?)
    }

    /// The key for hashes of custom ids, for gateways.
    pub(crate) fn custom_id_key(&self) -> &[u8; 32] {
        &self.shared.custom_id_key
    }

    fn pending(&self, noted: &Noted) -> Option<Pending> {
        let registry = &self.shared.registry;
        let app = registry.app_or_new(noted.app.as_str())?;
        let key = Key { app: app.id, device: noted.device };
        let offered = noted.offered.as_ref().map(|(version, digest)| {
            let known = registry.version_or_new(&app, cut(version, MOST_TEXT), digest, noted.at);
            registry.offered(&known, noted.at);
            known
        });
        // Whoever answers it here next compares with what is written now.
        self.shared.hot.forget(&key);
        let own = |text: &str| cut(text, MOST_TEXT).to_owned();
        Some(Pending {
            key,
            at: noted.at,
            since: noted.since,
            about: About {
                platform: noted.platform.name(),
                plugin: own(&noted.plugin),
                native: own(&noted.native),
                os: own(&noted.os),
                running: own(&noted.running),
                channel: noted.channel.as_deref().map(own),
                production: noted.production,
                emulator: noted.emulator,
                custom_id: noted.custom_id,
            },
            runs_known: app.version(&noted.running).is_some(),
            offered,
            trial: noted.trial.clone().map(Box::new),
        })
    }
}

mod hex_key {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};
    use sluice_core::request::DeviceKey;

    pub(super) fn serialize<S: Serializer>(key: &DeviceKey, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(key.as_bytes()))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<DeviceKey, D::Error> {
        let text = std::borrow::Cow::<'_, str>::deserialize(deserializer)?;
        let mut key = [0; 16];
        hex::decode_to_slice(&*text, &mut key).map_err(|_| D::Error::custom("not a device"))?;
        Ok(DeviceKey::from_bytes(key))
    }
}

mod hex_hash {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    #[expect(clippy::ref_option, reason = "the derive hands it over so")]
    pub(super) fn serialize<S: Serializer>(
        hash: &Option<[u8; 16]>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match hash {
            Some(hash) => serializer.serialize_str(&hex::encode(hash)),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<[u8; 16]>, D::Error> {
        let Some(text) = Option::<std::borrow::Cow<'_, str>>::deserialize(deserializer)? else {
            return Ok(None);
        };
        let mut hash = [0; 16];
        hex::decode_to_slice(&*text, &mut hash).map_err(|_| D::Error::custom("not a hash"))?;
        Ok(Some(hash))
    }
}

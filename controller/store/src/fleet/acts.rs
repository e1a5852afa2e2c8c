//! What people do to the data of devices, and the record of it. The record names no device: an erasure would be none.

use serde::Serialize;
use sluice_core::{
    ids::ChannelName,
    memory::{Override, OverrideBy},
    request::DeviceKey,
};

use super::{
    Fleet, MOST_TEXT,
    dialect::{Connection, Values},
    error::FleetError,
    hot::Key,
    model::{OverrideRow, cut},
    queue::Job,
};

/// Bytes of a reason that are kept.
const MOST_REASON: usize = 512;

/// Acts that are told at once, the newest.
const MOST: i64 = 1_000;

/// Who does something, and why, as they say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Author {
    /// Who.
    pub who: String,
    /// Why.
    pub why: String,
}

impl Author {
    /// Cuts what they say to what is kept.
    pub fn new(who: &str, why: &str) -> Self {
        Self { who: cut(who.trim(), MOST_TEXT).to_owned(), why: cut(why.trim(), MOST_REASON).to_owned() }
    }
}

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum ActKind {
    /// Devices were forgotten.
    Erase,
    /// A device was put on a channel.
    Override,
    /// A device was taken off its channel.
    Release,
}

impl ActKind {
    const ALL: [Self; 3] = [Self::Erase, Self::Override, Self::Release];

    /// The column `kind`.
    const fn name(self) -> &'static str {
        match self {
            Self::Erase => "erase",
            Self::Override => "override",
            Self::Release => "release",
        }
    }
}

/// What a person did, as it is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ActView {
    /// When, in seconds since 1970.
    pub at: i64,
    /// What.
    pub kind: ActKind,
    /// Who.
    pub who: String,
    /// Why.
    pub why: String,
    /// How many devices it was about.
    pub devices: u64,
    /// The channel that a device was put on.
    pub channel: Option<String>,
    /// Until when.
    pub expires: Option<i64>,
}

/// What a person does, to be written with its effect.
#[derive(Debug, Clone)]
pub(crate) struct Act {
    pub(crate) app: u32,
    pub(crate) kind: ActKind,
    pub(crate) author: Author,
    pub(crate) channel: Option<String>,
    pub(crate) expires: Option<i64>,
}

impl Act {
    /// An erasure.
    pub(crate) fn erase(app: u32, author: Author) -> Self {
        Self { app, kind: ActKind::Erase, author, channel: None, expires: None }
    }

    pub(crate) async fn write(
        &self,
        connection: &mut Connection,
        devices: u64,
        now: i64,
    ) -> Result<(), sqlx::Error> {
        let Self { app, kind, author, channel, expires } = self;
        let act = "INSERT INTO acts (at, app, kind, who, why, devices, channel, expires) \
                   VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
        let bind = |values: &mut Values| {
            values.add(now).add(i64::from(*app)).add(kind.name()).add(&*author.who).add(&*author.why);
            values.add(i64::try_from(devices).unwrap_or(i64::MAX)).add(channel.as_deref()).add(*expires);
        };
        connection.execute(act, bind).await.map(drop)
    }
}

impl Fleet {
    /// Puts a device on a channel for support, durably, until `expires` (seconds since 1970), and records who did it and
    /// why.
    pub async fn put_on_channel(
        &self,
        app: &str,
        device: DeviceKey,
        channel: ChannelName,
        expires: i64,
        author: Author,
    ) -> Result<(), FleetError> {
        let app = self.shared.registry.app_or_new(app).ok_or(FleetError::Busy)?;
        let (key, expires) = (Key { app: app.id, device }, Some(expires));
        let act = Act {
            app: app.id,
            kind: ActKind::Override,
            author: author.clone(),
            channel: Some(channel.to_string()),
            expires,
        };
        let chosen = Override { channel, by: OverrideBy::Support };
        let row = OverrideRow { key, chosen, at: (self.shared.clock)(), expires, author: Some(author) };
        self.ask(|reply| Job::Choose(row, Some(act), reply)).await
    }

    /// Takes a device off its channel, whoever chose it, durably, and records who did it and why.
    pub async fn take_off_channel(
        &self,
        app: &str,
        device: DeviceKey,
        author: Author,
    ) -> Result<(), FleetError> {
        let Some(app) = self.shared.registry.app_id(app) else { return Ok(()) };
        let act = Act { app, kind: ActKind::Release, author, channel: None, expires: None };
        self.ask(|reply| Job::Unchoose(Key { app, device }, Some(act), reply)).await
    }

    /// What people did to the data of an app's devices: the newest thousand acts, newest first.
    pub async fn acts(&self, app: &str) -> Result<Vec<ActView>, FleetError> {
        let Some(app) = self.shared.registry.app_id(app) else { return Ok(Vec::new()) };
        let acts = "SELECT at, kind, who, why, devices, channel, expires FROM acts WHERE app = $1 \
                    ORDER BY seq DESC LIMIT $2";
        let rows = self.shared.readers.fetch(acts, |v| _ = v.add(i64::from(app)).add(MOST)).await?;
        let mut found = Vec::with_capacity(rows.len());
        for row in rows {
            let kind: &str = row.try_get(1)?;
            // A kind that a later release knows.
            let Some(kind) = ActKind::ALL.into_iter().find(|known| known.name() == kind) else { continue };
            found.push(ActView {
                at: row.try_get(0)?,
                kind,
                who: row.try_get(2)?,
                why: row.try_get(3)?,
                devices: u64::try_from(row.try_get::<i64>(4)?).unwrap_or(0),
                channel: row.try_get(5)?,
                expires: row.try_get(6)?,
            });
        }
        Ok(found)
    }
}

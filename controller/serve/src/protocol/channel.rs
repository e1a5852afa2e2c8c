//! The channel URL: set, get, unset and list (`device-protocol` sections 4 and 9).
//!
//! New clients keep the channel that they chose themselves and only ask whether they may; for old ones the server keeps
//! it, so that a call may change what is remembered of the device. That change is returned as a value.

use std::borrow::Cow;

use sluice_core::{
    channel::Platform,
    client::{Client, Feature, PluginVersion},
    decide::{How, Trace, select},
    digest::Digest,
    ids::ChannelName,
    memory::{DeviceMemory, OverrideBy},
    request::Request,
    snapshot::{App, ServedChannel, Snapshot},
};

use super::{
    Checked, Invalid, Reply,
    check::{self, Native, check},
    fields::{self, Fields, NotJson},
};

mod answer;

pub use answer::Answer;

/// The HTTP methods that the channel URL knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Set; for Electron also unset.
    Post,
    /// Get.
    Put,
    /// List; for Electron also get.
    Get,
    /// Unset.
    Delete,
}

/// What a device wants of its channel.
#[derive(Debug, Clone)]
pub enum Call<'a> {
    /// Use this channel; empty when it names none.
    Set {
        /// Who asks.
        from: Box<Checked<'a>>,
        /// The channel.
        channel: Cow<'a, str>,
    },
    /// Which channel is used?
    Get(Box<Checked<'a>>),
    /// Forget the channel.
    Unset(Box<Checked<'a>>),
    /// Forget the channel, from a client that does not say who it is.
    UnsetNobody,
    /// Which channels can be chosen?
    List(Lister<'a>),
}

/// Who asks for the list of channels. It needs no device.
#[derive(Debug, Clone)]
pub struct Lister<'a> {
    app_id: Cow<'a, str>,
    client: Client,
    emulator: bool,
    production: bool,
}

/// What a call changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChannelAction {
    /// Nothing.
    Nothing,
    /// The device is put on this channel, by itself.
    Store(ChannelName),
    /// The device's own choice is forgotten.
    Delete,
}

/// The answer to a call and what it changes. Make the change durable first; when that fails, answer
/// [`Answer::OverrideNotAllowed`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelDecision<'s> {
    /// What the device is told.
    pub answer: Answer<'s>,
    /// What changes.
    pub action: ChannelAction,
}

impl Call<'_> {
    /// The request behind the call, for calls that have a device: whose memory is needed.
    pub fn request(&self) -> Option<Request<'_>> {
        match self {
            Self::Set { from, .. } | Self::Get(from) | Self::Unset(from) => Some(from.request()),
            Self::UnsetNobody | Self::List(_) => None,
        }
    }

    fn client(&self) -> Client {
        match self {
            Self::Set { from, .. } | Self::Get(from) | Self::Unset(from) => from.client,
            Self::UnsetNobody => Client::new(Platform::Android, PluginVersion::OLDEST),
            Self::List(lister) => lister.client,
        }
    }
}

/// Reads a call. `query` is what follows the `?`, without it.
pub fn parse<'a>(method: Method, query: &'a str, body: &'a [u8]) -> Result<Call<'a>, Invalid> {
    let mut fields = match method {
        Method::Get => Fields::from_query(query),
        // Clients send a JSON body, the official server reads the query, and 5.x sends neither.
        Method::Delete if body.iter().all(u8::is_ascii_whitespace) => {
            let fields = Fields::from_query(query);
            if fields.is_empty {
                return Ok(Call::UnsetNobody);
            }
            fields
        }
        _ => {
            let mut fields = Fields::default();
            if !fields::parse_object(body, &mut fields).map_err(|NotJson| Invalid::Json)? {
                return Err(Invalid::Empty);
            }
            fields
        }
    };
    let electron = fields.platform.as_str().eq_ignore_ascii_case("electron");
    if method == Method::Get && (!electron || fields.action.as_str() == "list") {
        return lister(&mut fields).map(Call::List);
    }
    let unset = method == Method::Delete || (method == Method::Post && fields.action.as_str() == "unset");
    let channel = fields.channel.text_or_absent().unwrap_or_default().into_owned();
    let from = Box::new(check(&mut fields, Native::Optional)?);
    Ok(match method {
        _ if unset => Call::Unset(from),
        Method::Post => Call::Set { from, channel: channel.into() },
        _ => Call::Get(from),
    })
}

fn lister<'a>(fields: &mut Fields<'a>) -> Result<Lister<'a>, Invalid> {
    let app_id = check::text(&mut fields.app_id, "app_id")?;
    if app_id.as_str().is_empty() {
        return Err(Invalid::MissingApp);
    }
    check::check_app(app_id.as_str())?;
    let platform = check::check_platform(&mut fields.platform)?;
    let plugin = fields
        .plugin_version
        .text_or_absent()
        .map_or(PluginVersion::OLDEST, |text| PluginVersion::parse(&text));
    Ok(Lister {
        app_id: app_id.into_cow(),
        client: Client::new(platform, plugin),
        emulator: check::flag(&fields.is_emulator, false, "is_emulator")?,
        production: check::flag(&fields.is_prod, true, "is_prod")?,
    })
}

/// Decides what a call is answered and what it changes.
pub fn decide<'s>(
    snapshot: &'s Snapshot,
    memory: Option<&DeviceMemory>,
    call: &Call<'_>,
) -> ChannelDecision<'s> {
    let nothing = |answer| ChannelDecision { answer, action: ChannelAction::Nothing };
    match call {
        Call::Set { from, channel } => {
            set(snapshot.app(from.app_id()).map(AsRef::as_ref), memory, from, channel)
        }
        Call::Get(from) => nothing(get(snapshot.app(from.app_id()).map(AsRef::as_ref), memory, from)),
        Call::Unset(from) => unset(snapshot.app(from.app_id()).map(AsRef::as_ref), memory, from),
        Call::UnsetNobody => nothing(Answer::Ok),
        Call::List(lister) => nothing(Answer::List(list(snapshot, lister))),
    }
}

/// Writes the answer to `call`.
pub fn render(answer: &Answer<'_>, call: &Call<'_>) -> Reply {
    let (app, channel) = match call {
        Call::Set { from, channel } => (from.app_id(), channel.as_ref()),
        Call::Get(from) | Call::Unset(from) => (from.app_id(), ""),
        Call::UnsetNobody => ("", ""),
        Call::List(lister) => (lister.app_id.as_ref(), ""),
    };
    answer::render(answer, call.client(), app, channel)
}

/// Section 4.2. An unknown app has no channels.
fn set<'s>(
    app: Option<&'s App>,
    memory: Option<&DeviceMemory>,
    from: &Checked<'_>,
    name: &str,
) -> ChannelDecision<'s> {
    let refuse = |answer| ChannelDecision { answer, action: ChannelAction::Nothing };
    if name.is_empty() {
        return refuse(Answer::MissingChannel);
    }
    let Some((app, channel)) = app.and_then(|app| Some((app, app.channel(name)?))) else {
        return refuse(Answer::ChannelNotFound);
    };
    if !channel.access.self_assign {
        return refuse(Answer::SelfSetNotAllowed { public: channel.access.public });
    }
    if from.client.has(Feature::SelfSetOnDevice) {
        return refuse(Answer::Allowed);
    }
    if is_held(app, memory) {
        return refuse(Answer::CannotOverride);
    }
    let public = app.public_channel(from.client.platform);
    let action = if public.is_some_and(|public| public.name == channel.name) {
        ChannelAction::Delete
    } else {
        ChannelAction::Store(channel.name.clone())
    };
    ChannelDecision { answer: Answer::Ok, action }
}

/// Section 4.4. Nothing stored is what the device wants, so it is no error.
fn unset<'s>(app: Option<&'s App>, memory: Option<&DeviceMemory>, from: &Checked<'_>) -> ChannelDecision<'s> {
    let stored = memory.and_then(|m| m.channel.as_ref());
    let action = match (app, stored) {
        _ if from.client.has(Feature::SelfSetOnDevice) => ChannelAction::Nothing,
        (Some(app), Some(_)) if is_held(app, memory) => {
            return ChannelDecision { answer: Answer::CannotOverride, action: ChannelAction::Nothing };
        }
        (Some(_), Some(_)) => ChannelAction::Delete,
        _ => ChannelAction::Nothing,
    };
    ChannelDecision { answer: Answer::Ok, action }
}

/// Whether the device may not leave its override by itself: support put it there, or the channel forbids self-set.
fn is_held(app: &App, memory: Option<&DeviceMemory>) -> bool {
    memory.and_then(|m| m.channel.as_ref()).is_some_and(|stored| {
        stored.by == OverrideBy::Support
            || app.channel(stored.channel.as_str()).is_some_and(|channel| !channel.access.self_assign)
    })
}

/// Section 4.3: the channel that the update check would use, or none; never an invented one.
fn get<'s>(app: Option<&'s App>, memory: Option<&DeviceMemory>, from: &Checked<'_>) -> Answer<'s> {
    let request = from.request();
    let Some(app) = app else { return Answer::ChannelNotFound };
    let mut found = select(app, memory, &request, &mut Trace::default());
    // A client that keeps the name would go on asking for a channel that is out of its reach once support lets it go.
    if let Some((channel, How::SupportOverride)) = found
        && !channel.access.public
        && !channel.access.self_assign
        && from.client.has(Feature::PersistsGetChannel)
    {
        found = select(app, None, &request, &mut Trace::default());
    }
    let Some((channel, how)) = found else { return Answer::ChannelNotFound };
    Answer::Channel {
        name: channel.name.as_str(),
        is_override: matches!(how, How::OwnOverride | How::SupportOverride),
        allow_set: channel.access.self_assign,
    }
}

/// Section 4.5.
fn list<'s>(snapshot: &'s Snapshot, lister: &Lister<'_>) -> Vec<answer::Listed<'s>> {
    let Some(app) = snapshot.app(&lister.app_id) else { return Vec::new() };
    let open = |channel: &&ServedChannel| {
        let access = &channel.access;
        access.platforms.contains(lister.client.platform)
            && (if lister.emulator { access.emulator } else { access.device })
            && (if lister.production { access.production } else { access.development })
            && (access.public || access.self_assign)
    };
    let entry = |channel: &'s ServedChannel| answer::Listed {
        id: channel_id(app.id.as_str(), channel.name.as_str()),
        name: channel.name.as_str(),
        public: channel.access.public,
        allow_self_set: channel.access.self_assign,
    };
    app.channels().iter().filter(open).map(entry).collect()
}

/// The id of a channel in lists: 31 bits of the SHA-256 of app and channel, so that nothing has to be stored for it.
pub fn channel_id(app: &str, channel: &str) -> u32 {
    let digest = Digest::of(format!("{app}\0{channel}").as_bytes());
    let [a, b, c, d, ..] = *digest.as_bytes();
    u32::from_be_bytes([a, b, c, d]) & 0x7fff_ffff
}

#[cfg(test)]
mod tests;

//! The answers of the channel URL, as values and as JSON.

use sluice_core::{
    channel::Platform,
    client::{Client, Feature},
};

use super::super::{
    Reply,
    json::{Object, Writer},
};

/// What a device is told about its channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer<'s> {
    /// Done.
    Ok,
    /// The channel may be used; the client keeps it.
    Allowed,
    /// The channel that is used.
    Channel {
        /// Its name.
        name: &'s str,
        /// The device was put on it by name.
        is_override: bool,
        /// Devices may choose it.
        allow_set: bool,
    },
    /// The channels that can be chosen.
    List(Vec<Listed<'s>>),
    /// The call names none.
    MissingChannel,
    /// There is no such channel, app, or none for the device.
    ChannelNotFound,
    /// Devices may not choose it.
    SelfSetNotAllowed {
        /// They get it without choosing.
        public: bool,
    },
    /// The device may not leave the channel that it was put on.
    CannotOverride,
    /// The choice could not be stored.
    OverrideNotAllowed,
}

/// A channel in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed<'s> {
    /// See [`super::channel_id`].
    pub id: u32,
    /// Its name.
    pub name: &'s str,
    /// Devices without a channel of their own use it.
    pub public: bool,
    /// Devices may choose it.
    pub allow_self_set: bool,
}

/// Writes an answer for `client`; `app` and `channel` are what the call named.
pub(super) fn render(answer: &Answer<'_>, client: Client, app: &str, channel: &str) -> Reply {
    let mut body = Writer::with_capacity(128);
    match answer {
        Answer::List(channels) => list(&mut body, channels, client),
        other => body.object(|o| object(o, other, client, app, channel)),
    }
    Reply::ok(body.finish())
}

fn object(o: &mut Object<'_>, answer: &Answer<'_>, client: Client, app: &str, channel: &str) {
    match answer {
        Answer::Ok | Answer::List(_) => o.text("status", "ok"),
        Answer::Allowed => {
            o.text("status", "ok");
            o.flag("allowSet", true);
        }
        Answer::Channel { name, is_override, allow_set } => {
            o.text("channel", name);
            o.text("status", if *is_override { "override" } else { "default" });
            o.flag("allowSet", *allow_set);
            if client.platform == Platform::Electron {
                o.flag("allow_set", *allow_set);
            }
        }
        Answer::MissingChannel => error(o, "missing_channel", "Cannot find channel in body"),
        Answer::ChannelNotFound => {
            error(o, "channel_not_found", "Cannot find channel");
            o.text("channel", channel);
            o.text("app_id", app);
        }
        Answer::SelfSetNotAllowed { public } => {
            let (code, message) = if *public {
                let message =
                    "This channel is public and cannot be chosen by devices. Unset the channel instead.";
                ("public_channel_self_set_not_allowed", message)
            } else {
                ("channel_self_set_not_allowed", "This channel does not allow devices to self associate")
            };
            error(o, code, message);
        }
        Answer::CannotOverride => {
            let message = "The device was put on a channel that does not allow it to choose another one";
            error(o, "cannot_override", message);
        }
        Answer::OverrideNotAllowed => error(o, "override_not_allowed", "The choice could not be stored"),
    }
}

/// Electron takes an error without `status` for success.
fn error(o: &mut Object<'_>, code: &str, message: &str) {
    o.text("status", "error");
    o.text("error", code);
    o.text("message", message);
}

/// A bare array for phones, since 7.29.0 and 8.40.8 wait for ever on an object; an object for Electron, which takes a
/// bare array for an empty list. Old iOS fails on ids that are numbers, newer clients on ids that are not.
fn list(body: &mut Writer, channels: &[Listed<'_>], client: Client) {
    let electron = client.platform == Platform::Electron;
    let numeric = client.has(Feature::NumericListIds);
    if electron {
        body.raw(b"{\"channels\":");
    }
    body.array(channels, |item, Listed { id, name, public, allow_self_set }| {
        item.object(|o| {
            let id = id.to_string();
            if numeric {
                o.raw("id", id.as_bytes());
            } else {
                o.text("id", &id);
            }
            o.text("name", name);
            o.flag("public", *public);
            o.flag("allow_self_set", *allow_self_set);
        });
    });
    if electron {
        body.raw(b"}");
    }
}

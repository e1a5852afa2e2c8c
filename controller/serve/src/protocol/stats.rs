//! Events: `POST /stats` (`device-protocol` section 3).

use sluice_core::{
    client::PluginVersion,
    ids::AppId,
    native::NativeVersion,
    outcome::{Event, split_version_name},
    request::normalise_native,
};

use super::{
    Invalid, Reply,
    check::{check_device, check_platform},
    fields::{self, Body, Fields, NotJson, Value, cut},
    json::{Object, Writer},
    repair,
};

const ACTION_BYTES: usize = 64;
const VERSION_BYTES: usize = 128;
const FILE_BYTES: usize = 512;
const MESSAGE_BYTES: usize = 2048;

/// The events of one request.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// They came as an array, and are answered one by one.
    pub array: bool,
    /// Each event, or why it cannot be used. The request is answered 200 all the same: no client does anything useful
    /// with another status.
    pub items: Vec<Result<Event, Invalid>>,
}

impl Batch {
    /// The usable events, in their order.
    pub fn events(&self) -> impl Iterator<Item = &Event> {
        self.items.iter().filter_map(|item| item.as_ref().ok())
    }

    /// Splits the batch into its usable events and the answer to give once they are durable.
    pub fn into_events(self) -> (Vec<Event>, Reply) {
        let reply = self.reply();
        (self.items.into_iter().flatten().collect(), reply)
    }

    /// The answer once the usable events are durable.
    pub fn reply(&self) -> Reply {
        reply(self.array, self.items.iter().map(|item| item.as_ref().err().copied()))
    }
}

/// Reads a request; fails only when it is not JSON, also not once broken characters are mended, or holds more events
/// than any client does.
pub fn parse(body: &[u8]) -> Result<Batch, Invalid> {
    match read(body) {
        Err(Invalid::Json) => read(&repair(body)),
        other => other,
    }
}

fn read(body: &[u8]) -> Result<Batch, Invalid> {
    Ok(match fields::parse(body).map_err(|NotJson| Invalid::Json)? {
        Body::Object(mut fields) => Batch { array: false, items: vec![event(&mut fields)] },
        Body::Array(items) => {
            let read = |item: Option<Fields<'_>>| {
                item.ok_or(Invalid::Empty).and_then(|mut fields| event(&mut fields))
            };
            Batch { array: true, items: items.into_iter().map(read).collect() }
        }
        Body::TooMany => return Err(Invalid::TooMany),
        Body::Other => Batch { array: false, items: vec![Err(Invalid::Empty)] },
    })
}

fn reply(array: bool, mut items: impl Iterator<Item = Option<Invalid>>) -> Reply {
    let mut body = Writer::with_capacity(64);
    body.object(|o| {
        if !array {
            result(o, items.next().flatten());
            return;
        }
        o.text("status", "ok");
        let mut results = Writer::with_capacity(1024);
        results.array(items.enumerate(), |item, (index, error)| {
            item.object(|o| {
                result(o, error);
                o.number("index", index);
            });
        });
        o.raw("results", &results.finish());
    });
    Reply::ok(body.finish())
}

fn result(o: &mut Object<'_>, error: Option<Invalid>) {
    match error {
        None => o.text("status", "ok"),
        Some(error) => {
            o.text("status", "error");
            o.text("error", error.code());
            o.text("message", &error.to_string());
        }
    }
}

/// Only who sent it must be known; everything else is kept as far as it makes sense.
fn event(fields: &mut Fields<'_>) -> Result<Event, Invalid> {
    if fields.is_empty {
        return Err(Invalid::Empty);
    }
    let (device, probe) = match fields.device_id.as_str() {
        "" => return Err(Invalid::MissingDevice),
        id => check_device(id)?,
    };
    let app: AppId = match fields.app_id.as_str() {
        "" => return Err(Invalid::MissingApp),
        id => id.parse().map_err(|_| Invalid::Field { name: "app_id", expected: "a reverse-domain id" })?,
    };
    let platform = check_platform(&mut fields.platform)?;
    let plugin = fields
        .plugin_version
        .text_or_absent()
        .map_or(PluginVersion::OLDEST, |text| PluginVersion::parse(&text));
    let native = fields.version_build.text_or_absent().map_or(NativeVersion::ZERO, |text| {
        normalise_native(&text).map_or(NativeVersion::ZERO, |(native, _)| native)
    });
    let name = fields.version_name.text_or_absent();
    let (version, file) = name.as_deref().map_or((None, None), split_version_name);
    Ok(Event {
        app,
        device,
        probe,
        platform,
        plugin,
        native,
        action: owned(&fields.action, ACTION_BYTES).unwrap_or_default(),
        version: version
            .filter(|version| *version != "builtin")
            .map(|version| cut(version, VERSION_BYTES).to_owned()),
        file: file.map(|file| cut(file, FILE_BYTES).to_owned()),
        old_version: owned(&fields.old_version_name, VERSION_BYTES),
        timestamp: fields.timestamp.integer().filter(|at| *at > 0),
        production: fields.is_prod.flag(true).unwrap_or(false),
        emulator: fields.is_emulator.flag(false).unwrap_or(true),
        metadata: std::mem::take(&mut fields.metadata).0,
        message: owned(&fields.message, MESSAGE_BYTES),
    })
}

fn owned(value: &Value<'_>, bytes: usize) -> Option<String> {
    value.text_or_absent().map(|text| cut(&text, bytes).to_owned())
}

#[cfg(test)]
mod tests;

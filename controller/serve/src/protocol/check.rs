//! Checks and normalises the fields that every request has (`device-protocol` section 2.1).

use std::borrow::Cow;

use sluice_core::{
    channel::Platform,
    client::{Client, PluginVersion},
    ids::AppId,
    native::NativeVersion,
    request::{DeviceKey, PROBE_ID, Request, is_builtin, normalise_native},
};

use super::{
    Reply,
    fields::{Fields, Value, WrongType},
    json::Writer,
};

/// Why a request cannot be answered. It never repeats what was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// Not JSON.
    #[error("Invalid JSON body")]
    Json,
    /// Not an object with fields.
    #[error("Cannot parse body")]
    Empty,
    /// More events than any client holds.
    #[error("Too many events in one request")]
    TooMany,
    /// No device id.
    #[error("Cannot find device_id")]
    MissingDevice,
    /// No app id.
    #[error("Cannot find app_id")]
    MissingApp,
    /// The native version is not a version.
    #[error("Native version: version_build is not a version")]
    NativeVersion,
    /// A field is not what it should be.
    #[error("Cannot parse body")]
    Field {
        /// Its name.
        name: &'static str,
        /// What it should be.
        expected: &'static str,
    },
}

impl Invalid {
    /// The value of `error` on the wire.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Json => "invalid_json_parse_body",
            Self::Empty | Self::Field { .. } => "invalid_json_body",
            Self::TooMany => "too_many_events",
            Self::MissingDevice => "missing_device_id",
            Self::MissingApp => "missing_app_id",
            Self::NativeVersion => "semver_error",
        }
    }

    /// The answer, with status 400; 413 for too many events.
    pub fn reply(self) -> Reply {
        let mut body = Writer::with_capacity(192);
        body.object(|o| {
            o.text("error", self.code());
            o.text("message", &self.to_string());
            o.text("kind", "failed");
            let mut more = Writer::with_capacity(96);
            more.object(|more| {
                if let Self::Field { name, expected } = self {
                    let mut issues = Writer::with_capacity(64);
                    issues.array([(name, expected)], |issue, (name, expected)| {
                        issue.object(|o| {
                            o.text("path", name);
                            o.texts("message", &["expected ", expected]);
                        });
                    });
                    more.raw("issues", &issues.finish());
                }
            });
            o.raw("moreInfo", &more.finish());
        });
        Reply { status: if self == Self::TooMany { 413 } else { 400 }, body: body.finish() }
    }
}

/// How strictly the native version is read: only the update check needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Native {
    Required,
    Optional,
}

/// A request with its common fields checked and normalised. It borrows from the bytes it was read from.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts that a device states")]
pub struct Checked<'a> {
    app_id: Value<'a>,
    /// The device.
    pub device: DeviceKey,
    /// Whether it is the publisher's probe, which is no device.
    pub probe: bool,
    /// The client.
    pub client: Client,
    /// Native version.
    pub native: NativeVersion,
    native_text: Value<'a>,
    version_name: Value<'a>,
    /// Whether the shipped bundle is active.
    pub on_builtin: bool,
    default_channel: Value<'a>,
    key_id: Value<'a>,
    /// Emulator.
    pub emulator: bool,
    /// Production build.
    pub production: bool,
    custom_id: Value<'a>,
    version_os: Value<'a>,
}

impl Checked<'_> {
    /// The app, as sent.
    pub fn app_id(&self) -> &str {
        self.app_id.as_str()
    }

    /// What to decide about.
    pub fn request(&self) -> Request<'_> {
        let native_text = self.native_text.as_str();
        let some = |value: &'_ Value<'_>| -> bool { !value.as_str().is_empty() };
        Request {
            app_id: self.app_id.as_str(),
            device: self.device,
            probe: self.probe,
            client: self.client,
            native: self.native,
            native_text,
            current: if self.on_builtin { native_text } else { self.version_name.as_str() },
            on_builtin: self.on_builtin,
            default_channel: some(&self.default_channel).then(|| self.default_channel.as_str()),
            emulator: self.emulator,
            production: self.production,
            key_id: some(&self.key_id).then(|| self.key_id.as_str()),
            os: self.version_os(),
            custom_id: self.custom_id(),
            // No device says these itself.
            locale: None,
            country: None,
        }
    }

    /// What the app calls the device. Store only a keyed hash of it.
    pub fn custom_id(&self) -> Option<&str> {
        Some(self.custom_id.as_str()).filter(|id| !id.is_empty())
    }

    /// Version of the operating system.
    pub fn version_os(&self) -> Option<&str> {
        Some(self.version_os.as_str()).filter(|os| !os.is_empty())
    }
}

/// Checks the common fields in the order of the official server.
pub(super) fn check<'a>(fields: &mut Fields<'a>, native_is: Native) -> Result<Checked<'a>, Invalid> {
    if fields.is_empty {
        return Err(Invalid::Empty);
    }
    let device_id = text(&mut fields.device_id, "device_id")?;
    if device_id.as_str().is_empty() {
        return Err(Invalid::MissingDevice);
    }
    let app_id = text(&mut fields.app_id, "app_id")?;
    if app_id.as_str().is_empty() {
        return Err(Invalid::MissingApp);
    }
    let (native, native_text) = native_version(&mut fields.version_build, native_is)?;
    check_app(app_id.as_str())?;
    let (device, probe) = check_device(device_id.as_str())?;
    let platform = check_platform(&mut fields.platform)?;
    let plugin = fields
        .plugin_version
        .text_or_absent()
        .map_or(PluginVersion::OLDEST, |text| PluginVersion::parse(&text));
    let version_name = text(&mut fields.version_name, "version_name")?;
    let sent = fields.version_build.as_str();
    let on_builtin = is_builtin(platform, version_name.as_str(), sent, fields.version_code.as_str())
        || version_name.as_str() == native_text.as_str();
    let emulator = flag(&fields.is_emulator, false, "is_emulator")?;
    let production = flag(&fields.is_prod, true, "is_prod")?;
    let default_channel = text(&mut fields.default_channel, "defaultChannel")?;
    let key_id = bounded(&mut fields.key_id, "key_id", 20, "at most 20 characters")?;
    bounded(&mut fields.install_source, "install_source", 64, "at most 64 characters")?;
    let optional = |value: &mut Value<'a>| std::mem::take(value).into_text().unwrap_or_default();
    Ok(Checked {
        app_id,
        device,
        probe,
        client: Client::new(platform, plugin),
        native,
        native_text,
        version_name,
        on_builtin,
        default_channel,
        key_id,
        emulator,
        production,
        custom_id: optional(&mut fields.custom_id),
        version_os: optional(&mut fields.version_os),
    })
}

fn native_version<'a>(
    field: &mut Value<'a>,
    native_is: Native,
) -> Result<(NativeVersion, Value<'a>), Invalid> {
    let none = || (NativeVersion::ZERO, Value::Text(Cow::Borrowed("0.0.0")));
    let sent = match text(field, "version_build") {
        Ok(sent) => sent,
        Err(_) if native_is == Native::Optional => return Ok(none()),
        Err(error) => return Err(error),
    };
    *field = sent.clone();
    match normalise_native(sent.as_str()) {
        // What was sent in full goes on borrowing from the request.
        Ok((native, Cow::Borrowed(same))) if same.len() == sent.as_str().len() => Ok((native, sent)),
        Ok((native, other)) => Ok((native, Value::Text(Cow::Owned(other.into_owned())))),
        Err(_) if native_is == Native::Optional => Ok(none()),
        Err(_) if sent.as_str().is_empty() => {
            Err(Invalid::Field { name: "version_build", expected: "a version that is not empty" })
        }
        Err(_) => Err(Invalid::NativeVersion),
    }
}

/// Checks an app id; the error is the one of a body.
pub(super) fn check_app(app_id: &str) -> Result<(), Invalid> {
    if AppId::is_valid(app_id) {
        Ok(())
    } else {
        Err(Invalid::Field { name: "app_id", expected: "a reverse-domain id" })
    }
}

/// Checks a device id. Returns its key, and whether it is the publisher's probe.
pub(super) fn check_device(device_id: &str) -> Result<(DeviceKey, bool), Invalid> {
    let uuid = device_id.len() == 36
        && device_id.bytes().enumerate().all(|(index, byte)| match index {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        });
    if !uuid {
        return Err(Invalid::Field { name: "device_id", expected: "a UUID" });
    }
    Ok((DeviceKey::of(device_id), device_id == PROBE_ID))
}

/// Checks a platform.
pub(super) fn check_platform(field: &mut Value<'_>) -> Result<Platform, Invalid> {
    let name = field.as_str();
    Platform::from_name(name)
        .or_else(|| {
            Platform::ALL.into_iter().find(|platform| platform.name().eq_ignore_ascii_case(name.trim()))
        })
        .ok_or(Invalid::Field { name: "platform", expected: "ios, android or electron" })
}

pub(super) fn flag(field: &Value<'_>, default: bool, name: &'static str) -> Result<bool, Invalid> {
    field.flag(default).map_err(|WrongType| Invalid::Field { name, expected: "true or false" })
}

/// Takes a text field out, numbers as their digits.
pub(super) fn text<'a>(field: &mut Value<'a>, name: &'static str) -> Result<Value<'a>, Invalid> {
    std::mem::take(field).into_text().map_err(|WrongType| Invalid::Field { name, expected: "a string" })
}

fn bounded<'a>(
    field: &mut Value<'a>,
    name: &'static str,
    characters: usize,
    expected: &'static str,
) -> Result<Value<'a>, Invalid> {
    let value = text(field, name)?;
    if value.as_str().len() > characters && value.as_str().chars().count() > characters {
        return Err(Invalid::Field { name, expected });
    }
    Ok(value)
}

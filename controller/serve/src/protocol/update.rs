//! The update check: `POST /updates` (`device-protocol` section 2).

use sluice_core::{
    client::Feature,
    decide::{Answer, Old, Refusal, RefusalCode},
    request::Request,
    snapshot::ServedBundle,
};

use super::{
    Checked, Invalid, Reply,
    check::{Native, check},
    fields::{self, Fields, NotJson},
    json::{Object, Writer},
};

const NOTHING_NEW: &[u8] =
    br#"{"error":"no_new_version_available","message":"No new version available","kind":"up_to_date"}"#;
const NO_CHANNEL: &[u8] =
    br#"{"error":"no_channel","message":"no default channel or override","kind":"failed"}"#;
const BUILTIN: &[u8] = br#"{"version":"builtin"}"#;

/// Reads an update check. What is wrong with it is answered by [`Invalid::reply`].
pub fn parse(body: &[u8]) -> Result<Checked<'_>, Invalid> {
    let mut fields = Fields::default();
    if !fields::parse_object(body, &mut fields).map_err(|NotJson| Invalid::Json)? {
        return Err(Invalid::Empty);
    }
    check(&mut fields, Native::Required)
}

/// The path of a bundle's zip below the download URL.
pub fn download_path(bundle: &ServedBundle) -> String {
    format!("/bundles/{}.zip", bundle.sha256)
}

/// Writes the answer in the form that the client understands. `base_url` has no trailing slash.
pub fn render(answer: &Answer<'_>, request: &Request<'_>, base_url: &str) -> Reply {
    match answer {
        Answer::Update(bundle) => render_update(bundle, request, base_url),
        Answer::Builtin => Reply::ok(BUILTIN),
        Answer::NothingNew => Reply::ok(NOTHING_NEW),
        Answer::Refused(Refusal { code: RefusalCode::NoChannel, .. }) => Reply::ok(NO_CHANNEL),
        Answer::Refused(refusal) => render_refusal(refusal, request),
    }
}

/// A success answer has none of the keys `error`, `message` and `kind`: any of them stops the update on some client.
/// Nor has it a manifest until deltas are served: an empty one makes an empty bundle.
fn render_update(bundle: &ServedBundle, request: &Request<'_>, base_url: &str) -> Reply {
    let ServedBundle { sha256, crc32, offer, .. } = bundle;
    let checksum = if request.client.has(Feature::Sha256Checksum) { sha256 } else { crc32 };
    let more = offer.link.as_ref().map_or(0, String::len) + offer.notes.as_ref().map_or(0, String::len);
    let mut body = Writer::with_capacity(320 + base_url.len() + more);
    body.object(|o| {
        o.text("version", &bundle.name);
        o.texts("url", &[base_url, "/bundles/", sha256, ".zip"]);
        o.text("checksum", checksum);
        // Never null: Android up to 8.51.14 fails on it.
        o.text("session_key", "");
        if request.client.has(Feature::LinkAndComment) {
            let mut optional = |key, value: &Option<String>| {
                if let Some(text) = value.as_deref().filter(|text| !text.is_empty()) {
                    o.text(key, text);
                }
            };
            optional("link", &offer.link);
            optional("comment", &offer.notes);
        }
    });
    Reply::ok(body.finish())
}

/// A refusal never has a `url`: Electron installs whatever has one.
fn render_refusal(refusal: &Refusal<'_>, request: &Request<'_>) -> Reply {
    let Refusal { code, version, bundle_key } = *refusal;
    let mut body = Writer::with_capacity(256);
    body.object(|o| {
        o.text("error", code.name());
        match code {
            RefusalCode::UnsupportedPluginVersion => {
                let plugin = request.plugin().to_string();
                o.texts(
                    "message",
                    &[
                        "Plugin version ",
                        &plugin,
                        " (v4) is no longer supported. Please upgrade to v5.10.0 or later.",
                    ],
                );
            }
            _ => o.text("message", code.message()),
        }
        o.text("kind", code.kind().name());
        if code == RefusalCode::KeyIdMismatch {
            keys(o, request.key_id, bundle_key);
        } else if let Some(version) = version {
            o.text("version", version);
        }
        match code.old() {
            Old::Absent => {}
            Old::Current => o.text("old", request.current),
            Old::Native => o.text("old", request.native_text),
        }
        if code.is_breaking() {
            o.flag("major", true);
        }
    });
    Reply::ok(body.finish())
}

fn keys(o: &mut Object<'_>, device: Option<&str>, bundle: Option<&str>) {
    o.text("deviceKeyId", device.unwrap_or_default());
    o.text("bundleKeyId", bundle.unwrap_or_default());
}

#[cfg(test)]
mod tests;

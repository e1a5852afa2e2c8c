//! What a device says in an update check, after the normalisations of `device-protocol` section 2.1.

use std::{borrow::Cow, fmt};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{
    channel::{AudienceFacts, Platform},
    client::{Client, PluginVersion},
    native::{InvalidNativeVersion, NativeVersion},
};

/// What stands for a device everywhere behind the protocol: the first 16 bytes of the SHA-256 of its lower-cased id.
/// The id itself is never kept.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DeviceKey([u8; 16]);

impl DeviceKey {
    /// The key of a device id, in whatever case it was sent.
    pub fn of(id: &str) -> Self {
        let mut hash = Sha256::new();
        let mut lower = [0_u8; 64];
        for chunk in id.as_bytes().chunks(lower.len()) {
            let lower = &mut lower[..chunk.len()];
            lower.copy_from_slice(chunk);
            lower.make_ascii_lowercase();
            hash.update(lower);
        }
        let digest = hash.finalize();
        let mut key = [0; 16];
        key.copy_from_slice(&digest[..16]);
        Self(key)
    }

    /// Wraps stored bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes, to store.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Debug for DeviceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DeviceKey(…)")
    }
}

/// The id that the publisher's command-line probe sends: it is answered and never counted.
pub const PROBE_ID: &str = "00000000-0000-0000-0000-000000000000";

/// An update check.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts that a device states")]
pub struct Request<'a> {
    /// Reverse-domain id of the app, as sent.
    pub app_id: &'a str,
    /// The device.
    pub device: DeviceKey,
    /// Whether it is the publisher's probe, which is no device.
    pub probe: bool,
    /// The client and what it can be told.
    pub client: Client,
    /// Native version of the app.
    pub native: NativeVersion,
    /// The same as sent, padded to three numbers.
    pub native_text: &'a str,
    /// Name of the active bundle; the native version on the shipped one.
    pub current: &'a str,
    /// Whether the active bundle is the shipped one.
    pub on_builtin: bool,
    /// The channel that the device wants.
    pub default_channel: Option<&'a str>,
    /// Whether it is an emulator.
    pub emulator: bool,
    /// Whether it is a production build.
    pub production: bool,
    /// Start of the public key that the device holds.
    pub key_id: Option<&'a str>,
    /// Version of the operating system, as sent.
    pub os: Option<&'a str>,
    /// The id that the app gave the device.
    pub custom_id: Option<&'a str>,
    /// Its language, as a trusted proxy passes it.
    pub locale: Option<&'a str>,
    /// Its country, as a trusted proxy passes it.
    pub country: Option<&'a str>,
}

impl<'a> Request<'a> {
    /// What an audience may ask for.
    pub fn audience_facts(&self) -> AudienceFacts<'a> {
        let Self { device, client, native, os, custom_id, locale, country, .. } = *self;
        let Client { platform, plugin, .. } = client;
        AudienceFacts { platform, native, os, plugin, custom_id, device, locale, country }
    }

    /// The platform.
    pub fn platform(&self) -> Platform {
        self.client.platform
    }

    /// The plugin's version as stated.
    pub fn plugin(&self) -> PluginVersion {
        self.client.plugin
    }
}

/// Reads `version_build`: its numbers, and its text padded to three numbers. `builtin` and `unknown` are 0.0.0.
pub fn normalise_native(text: &str) -> Result<(NativeVersion, Cow<'_, str>), InvalidNativeVersion> {
    let text = text.trim();
    let native: NativeVersion = text.parse()?;
    let padded = match text {
        "builtin" | "unknown" => Cow::Borrowed("0.0.0"),
        _ if text.bytes().all(|b| b.is_ascii_digit() || b == b'.') && text.matches('.').count() < 2 => {
            Cow::Owned(native.to_string())
        }
        _ => Cow::Borrowed(text),
    };
    Ok((native, padded))
}

/// Whether a device that names its active bundle `version_name` runs the shipped one. Electron names that one by the
/// app's version, which it sends as `version_code`.
pub fn is_builtin(platform: Platform, version_name: &str, version_build: &str, version_code: &str) -> bool {
    version_name.is_empty()
        || version_name == "builtin"
        || version_name == version_build
        || (platform == Platform::Electron && version_name == version_code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_ignores_case_and_shows_nothing() {
        let upper = "1B4E28BA-2FA1-11D2-883F-0016D3CCA427";
        assert_eq!(DeviceKey::of(upper), DeviceKey::of(&upper.to_lowercase()));
        assert_ne!(DeviceKey::of(upper), DeviceKey::of(PROBE_ID));
        let long = "A".repeat(1000);
        assert_eq!(DeviceKey::of(&long), DeviceKey::of(&long.to_lowercase()));
        assert_eq!(format!("{:?}", DeviceKey::of(upper)), "DeviceKey(…)");
        let digest = Sha256::digest(upper.to_lowercase());
        assert_eq!(DeviceKey::of(upper).as_bytes()[..], digest[..16]);
    }

    #[test]
    fn native_versions_are_padded() {
        for (sent, padded) in [
            ("1", "1.0.0"),
            ("1.2", "1.2.0"),
            ("1.2.3", "1.2.3"),
            ("1.2.3-beta", "1.2.3-beta"),
            ("builtin", "0.0.0"),
            ("unknown", "0.0.0"),
            (" 2.1 ", "2.1.0"),
            ("1.2.3.4", "1.2.3.4"),
        ] {
            assert_eq!(normalise_native(sent).unwrap().1, padded, "{sent}");
        }
        for bad in ["", "x.y", "1..2", "99999999999999999999"] {
            assert!(normalise_native(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_shipped_bundle_by_its_names() {
        for (name, build, code, phone, electron) in [
            ("builtin", "1.0", "7", true, true),
            ("", "1.0", "7", true, true),
            ("1.0", "1.0", "7", true, true),
            ("1.2.3", "1.0", "1.2.3", false, true),
            ("2.0.0", "1.0", "7", false, false),
        ] {
            assert_eq!(is_builtin(Platform::Ios, name, build, code), phone, "{name}");
            assert_eq!(is_builtin(Platform::Electron, name, build, code), electron, "{name}");
        }
    }
}

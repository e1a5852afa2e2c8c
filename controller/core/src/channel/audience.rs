//! Whom a channel or a step is limited to, among those that ask for it.

use std::{collections::BTreeSet, fmt};

use serde::{Deserialize, Serialize};

use super::{Platform, Platforms};
use crate::{
    client::PluginVersion,
    native::{NativeRange, NativeVersion},
    request::DeviceKey,
};

/// Whom a channel or a step is limited to. Every condition that is given must hold; of a list, one entry.
///
/// A device that does not say what a condition is about does not meet it: nobody is moved by a guess.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Audience {
    /// Platforms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platforms: Option<Platforms>,
    /// Native versions of the app.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub native: Option<NativeRange>,
    /// Versions of the operating system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub os: Option<NativeRange>,
    /// Versions of the updater plugin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plugin: Option<NativeRange>,
    /// Patterns of the id that the app gave the device; `*` stands for any run of characters.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub custom_ids: Vec<String>,
    /// Devices.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub devices: BTreeSet<DeviceKey>,
    /// Languages, such as `fr` for all of French or `fr-CA`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub locales: Vec<String>,
    /// Countries by their two letters.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub countries: Vec<String>,
}

/// What is known of a device that an audience may ask for.
#[derive(Debug, Clone, Copy)]
pub struct AudienceFacts<'a> {
    /// The platform.
    pub platform: Platform,
    /// Native version of the app.
    pub native: NativeVersion,
    /// Version of the operating system, as sent.
    pub os: Option<&'a str>,
    /// Version of the plugin.
    pub plugin: PluginVersion,
    /// The id that the app gave it.
    pub custom_id: Option<&'a str>,
    /// The device.
    pub device: DeviceKey,
    /// Its language, as a trusted proxy passes it.
    pub locale: Option<&'a str>,
    /// Its country, as a trusted proxy passes it.
    pub country: Option<&'a str>,
}

/// What a condition of an audience is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// The platform.
    Platform,
    /// The native version of the app.
    Native,
    /// The version of the operating system.
    Os,
    /// The version of the updater plugin.
    Plugin,
    /// The id of the device.
    Device,
    /// The id that the app gave it.
    CustomId,
    /// Its language.
    Locale,
    /// Its country.
    Country,
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Platform => "platform",
            Self::Native => "native version",
            Self::Os => "version of the operating system",
            Self::Plugin => "plugin version",
            Self::Device => "id",
            Self::CustomId => "custom id",
            Self::Locale => "language",
            Self::Country => "country",
        })
    }
}

impl Audience {
    /// Whether the audience has the device.
    pub fn admits(&self, facts: &AudienceFacts<'_>) -> bool {
        self.unmet(facts).is_none()
    }

    /// The first condition that the device does not meet; nothing when the audience has it. Allocates nothing.
    pub fn unmet(&self, facts: &AudienceFacts<'_>) -> Option<Condition> {
        let Self { platforms, native, os, plugin, custom_ids, devices, locales, countries } = self;
        let version = |range: &NativeRange, sent: Option<&str>| {
            sent.and_then(|text| text.parse().ok()).is_some_and(|version| range.contains(version))
        };
        let listed = |list: &[String], sent: Option<&str>, same: fn(&str, &str) -> bool| {
            list.is_empty() || sent.is_some_and(|sent| list.iter().any(|entry| same(entry, sent)))
        };
        if !platforms.is_none_or(|platforms| platforms.contains(facts.platform)) {
            Some(Condition::Platform)
        } else if !native.as_ref().is_none_or(|range| range.contains(facts.native)) {
            Some(Condition::Native)
        } else if !os.as_ref().is_none_or(|range| version(range, facts.os)) {
            Some(Condition::Os)
        } else if !plugin.as_ref().is_none_or(|range| range.contains(facts.plugin.numbers())) {
            Some(Condition::Plugin)
        } else if !devices.is_empty() && !devices.contains(&facts.device) {
            Some(Condition::Device)
        } else if !listed(custom_ids, facts.custom_id, is_like) {
            Some(Condition::CustomId)
        } else if !listed(locales, facts.locale, speaks) {
            Some(Condition::Locale)
        } else if !listed(countries, facts.country, str::eq_ignore_ascii_case) {
            Some(Condition::Country)
        } else {
            None
        }
    }

    /// Whether nothing is asked for.
    pub fn is_everybody(&self) -> bool {
        *self == Self::default()
    }
}

/// Whether `text` is what `pattern` describes, in which `*` stands for any run of characters. Takes at most the product
/// of their lengths, whatever the pattern: it runs while a device waits.
fn is_like(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut at, mut from) = (0, 0);
    // After the last `*`, and how much of the text it stands for so far.
    let mut star: Option<(usize, usize)> = None;
    while from < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at + 1, from));
                at += 1;
            }
            Some(byte) if *byte == text[from] => {
                at += 1;
                from += 1;
            }
            _ => {
                let Some((after, covered)) = star else { return false };
                star = Some((after, covered + 1));
                (at, from) = (after, covered + 1);
            }
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

/// Whether a language is the wanted one or a kind of it: `fr-CA` is `fr`.
fn speaks(wanted: &str, sent: &str) -> bool {
    let mut sent = sent.split(['-', '_']);
    wanted.split(['-', '_']).all(|part| sent.next().is_some_and(|sent| sent.eq_ignore_ascii_case(part)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts<'a>() -> AudienceFacts<'a> {
        AudienceFacts {
            platform: Platform::Android,
            native: NativeVersion(4, 2, 0),
            os: Some("14"),
            plugin: PluginVersion::new(7, 1, 0),
            custom_id: Some("staff-ada"),
            device: DeviceKey::of("a"),
            locale: Some("fr_CA"),
            country: Some("ca"),
        }
    }

    fn audience(json: &str) -> Audience {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn every_condition_must_hold() {
        for (json, admitted) in [
            ("{}", true),
            (r#"{"platforms": ["android"]}"#, true),
            (r#"{"platforms": ["ios", "electron"]}"#, false),
            (r#"{"native": ">=4.0.0 <5.0.0", "os": ">=13"}"#, true),
            (r#"{"native": ">=4.0.0 <5.0.0", "os": ">=15"}"#, false),
            (r#"{"plugin": ">=7.1.0"}"#, true),
            (r#"{"plugin": ">=7.2.0"}"#, false),
            (r#"{"customIds": ["qa-*", "staff-*"]}"#, true),
            (r#"{"customIds": ["staff"]}"#, false),
            (r#"{"locales": ["de", "fr"], "countries": ["CA"]}"#, true),
            (r#"{"locales": ["fr-FR"]}"#, false),
            (r#"{"countries": ["FR"]}"#, false),
        ] {
            assert_eq!(audience(json).admits(&facts()), admitted, "{json}");
        }
        let two = audience(r#"{"os": ">=15", "countries": ["FR"]}"#);
        assert_eq!(two.unmet(&facts()), Some(Condition::Os), "the first that does not hold is named");
        let mut one = Audience::default();
        one.devices.insert(DeviceKey::of("A"));
        assert!(one.admits(&facts()), "ids have no case");
        assert!(!one.admits(&AudienceFacts { device: DeviceKey::of("b"), ..facts() }));
        assert_eq!(audience(&serde_json::to_string(&one).unwrap()), one);
    }

    #[test]
    fn what_is_not_known_does_not_hold() {
        let silent = AudienceFacts { os: None, custom_id: None, locale: None, country: None, ..facts() };
        for json in [
            r#"{"os": ">=1"}"#,
            r#"{"customIds": ["*"]}"#,
            r#"{"locales": ["fr"]}"#,
            r#"{"countries": ["CA"]}"#,
        ] {
            assert!(!audience(json).admits(&silent), "{json}");
        }
        assert!(!audience(r#"{"os": ">=1"}"#).admits(&AudienceFacts { os: Some("Tiramisu"), ..facts() }));
    }

    #[test]
    fn patterns() {
        for (pattern, text, like) in [
            ("*", "", true),
            ("a*c", "abbc", true),
            ("a*c", "abcb", false),
            ("*b*b*", "abab", true),
            ("", "", true),
            ("", "a", false),
            ("a", "a*", false),
        ] {
            assert_eq!(is_like(pattern, text), like, "{pattern} {text}");
        }
        assert!(!is_like(&"*a".repeat(64), &"b".repeat(4_096)));
    }
}

//! Which client asks, and what it can be told: the generations of the updater and the feature thresholds of
//! `device-protocol` section 0.

use crate::{channel::Platform, native::NativeVersion};

/// The version of the updater plugin in a device's app.
///
/// A pre-release sorts before its release. Whatever is not a version counts as the oldest client there is, since
/// that one is told the least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PluginVersion {
    major: u32,
    minor: u32,
    patch: u32,
    /// Not a pre-release; `false` sorts first.
    released: bool,
}

impl PluginVersion {
    /// The oldest client that is served.
    pub const OLDEST: Self = Self::new(5, 0, 0);

    /// A released version.
    pub const fn new(major: u32, minor: u32, patch: u32) -> Self {
        Self { major, minor, patch, released: true }
    }

    /// Reads `plugin_version` as devices send it. Missing numbers are 0; text that does not start with a number is
    /// [`Self::OLDEST`].
    pub fn parse(text: &str) -> Self {
        let text = text.trim();
        let text = text.strip_prefix(['v', 'V']).unwrap_or(text);
        let text = text.split('+').next().unwrap_or(text);
        let (numbers, released) = text.split_once('-').map_or((text, true), |(numbers, _)| (numbers, false));
        let mut found = [0_u32; 3];
        for (index, part) in numbers.split('.').enumerate() {
            let digits = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
            match (digits.then(|| part.parse()), found.get_mut(index)) {
                (Some(Ok(number)), Some(slot)) => *slot = number,
                (Some(Ok(_)), None) => {}
                _ => return Self::OLDEST,
            }
        }
        Self { major: found[0], minor: found[1], patch: found[2], released }
    }

    /// The first number.
    pub const fn major(self) -> u32 {
        self.major
    }

    /// Its numbers, to hold against a range.
    pub fn numbers(self) -> NativeVersion {
        NativeVersion(self.major.into(), self.minor.into(), self.patch.into())
    }
}

impl std::fmt::Display for PluginVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { major, minor, patch, released } = self;
        write!(f, "{major}.{minor}.{patch}{}", if *released { "" } else { "-pre" })
    }
}

/// What a client can do or be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Feature {
    /// Sends `defaultChannel`.
    DefaultChannel,
    /// Sends `old_version_name`; events name the bundle they are about.
    OldVersionName,
    /// Goes back to the shipped bundle on `{"version":"builtin"}`.
    BuiltinAnswer,
    /// Installs from a manifest and decides per file whether brotli applies.
    Manifest,
    /// The checksum of an unencrypted zip is its SHA-256 (before: its CRC-32).
    Sha256Checksum,
    /// Decrypts bundles with a public key.
    PublicKey,
    /// Expects an encrypted checksum in the form called v3 (before: v2).
    ChecksumV3,
    /// Asks for the list of channels.
    ListChannels,
    /// Expects numbers as ids in that list (before: strings).
    NumericListIds,
    /// Keeps the channel it chose itself and sends it as `defaultChannel` (before: the server keeps it).
    SelfSetOnDevice,
    /// Waits after a 429 as long as `Retry-After` says. Others may fall silent until the app restarts.
    RetryAfter,
    /// Reads `kind` in answers.
    Kind,
    /// Sends events in arrays, with a timestamp.
    StatsArray,
    /// States `key_id` when it holds a public key.
    KeyId,
    /// States enough characters of `key_id` to compare them.
    FullKeyId,
    /// Names the shipped bundle by the native version (before: `builtin`).
    BuiltinNamedNative,
    /// Keeps the channel that a get-channel answer names as its own default.
    PersistsGetChannel,
    /// Drops its channel on `unset: true` in a set-channel answer.
    UnsetAnswer,
    /// Keeps `link` and `comment` of an update.
    LinkAndComment,
    /// Sends `download_fail` only when a download or check failed, not for every refusal.
    DownloadFailWeighs,
    /// Reports `app_launch_ready`.
    LaunchReady,
    /// Android starts no download without a checksum, and none without a session key when it holds a public key.
    ChecksumRequired,
}

type Threshold = Option<(u32, u32)>;

/// First minor and patch that has a feature, per major version; `None`: never.
struct Row {
    v5: Threshold,
    v6: Threshold,
    v7: Threshold,
    v8: Threshold,
    /// For the back-ports 5.43, 6.39, 7.41 and later, which carry the code of 8 under their own major.
    back: Threshold,
    electron: bool,
}

const ALL: Threshold = Some((0, 0));
const NEVER: Threshold = None;

#[expect(clippy::unnecessary_wraps, reason = "a threshold among others that may be absent")]
const fn at(minor: u32, patch: u32) -> Threshold {
    Some((minor, patch))
}

const fn row(v5: Threshold, v6: Threshold, v7: Threshold, v8: Threshold) -> Row {
    Row { v5, v6, v7, v8, back: v8, electron: false }
}

impl Row {
    const fn back(self, back: Threshold) -> Self {
        Self { back, ..self }
    }

    const fn electron(self) -> Self {
        Self { electron: true, ..self }
    }
}

impl Feature {
    /// Every feature.
    pub const ALL: [Self; 22] = [
        Self::DefaultChannel,
        Self::OldVersionName,
        Self::BuiltinAnswer,
        Self::Manifest,
        Self::Sha256Checksum,
        Self::PublicKey,
        Self::ChecksumV3,
        Self::ListChannels,
        Self::NumericListIds,
        Self::SelfSetOnDevice,
        Self::RetryAfter,
        Self::Kind,
        Self::StatsArray,
        Self::KeyId,
        Self::FullKeyId,
        Self::BuiltinNamedNative,
        Self::PersistsGetChannel,
        Self::UnsetAnswer,
        Self::LinkAndComment,
        Self::DownloadFailWeighs,
        Self::LaunchReady,
        Self::ChecksumRequired,
    ];

    /// The thresholds. Of the 5.x and 6.x between the last old release and the first back-port none was seen; there
    /// the value that the official server assumes is taken.
    const fn row(self) -> Row {
        match self {
            Self::DefaultChannel => row(at(5, 0), ALL, ALL, ALL).electron(),
            Self::OldVersionName => row(at(9, 0), ALL, ALL, ALL).electron(),
            Self::BuiltinAnswer => row(at(50, 1), at(2, 0), at(0, 2), ALL),
            Self::Manifest => row(at(50, 1), at(14, 28), at(0, 38), ALL),
            Self::Sha256Checksum => row(at(10, 0), at(14, 28), at(0, 2), ALL).electron(),
            Self::PublicKey => row(at(10, 0), at(1, 18), at(0, 2), ALL),
            Self::ChecksumV3 => row(at(30, 0), at(30, 0), at(30, 0), ALL),
            Self::ListChannels => row(at(50, 1), at(14, 28), at(5, 0), ALL).electron(),
            Self::NumericListIds => row(at(50, 1), at(50, 1), at(50, 1), at(47, 7)).electron(),
            Self::SelfSetOnDevice => row(at(34, 0), at(34, 0), at(34, 0), ALL).electron(),
            Self::RetryAfter => row(NEVER, NEVER, NEVER, at(51, 5)).back(at(51, 15)),
            Self::Kind => row(at(50, 1), at(50, 1), at(50, 1), at(45, 11)).back(at(45, 10)),
            Self::StatsArray => row(at(50, 1), at(50, 1), at(50, 1), at(42, 0)),
            Self::KeyId => row(at(50, 1), at(50, 1), at(50, 1), at(2, 0)).electron(),
            Self::FullKeyId => row(at(50, 1), at(50, 1), at(50, 1), at(40, 8)),
            Self::BuiltinNamedNative => row(at(50, 1), at(50, 1), at(50, 1), at(44, 0)).electron(),
            Self::PersistsGetChannel => row(at(50, 1), at(50, 1), at(50, 1), at(47, 9)),
            Self::UnsetAnswer => row(at(50, 1), at(50, 1), at(50, 1), at(42, 6)),
            Self::LinkAndComment => row(at(35, 0), at(35, 0), at(36, 0), ALL),
            // The back-ports keep their own thresholds here: 5.43 and 5.45 were not seen to be careful.
            Self::DownloadFailWeighs => row(at(50, 1), at(27, 10), at(28, 0), ALL).back(NEVER).electron(),
            Self::LaunchReady => row(NEVER, NEVER, NEVER, at(51, 0)),
            Self::ChecksumRequired => row(NEVER, NEVER, NEVER, at(51, 23)).back(NEVER),
        }
    }
}

/// A client: the platform and the plugin's generation decide everything that it can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Client {
    /// The platform.
    pub platform: Platform,
    /// What it states.
    pub plugin: PluginVersion,
    /// The generation that it behaves like.
    generation: PluginVersion,
}

impl Client {
    /// Recognises a client.
    ///
    /// 7.0.0, 9.0.0 and 10.0.0 exactly are the oldest v5 code under another number, like anything below 5. Any other
    /// 9 or later is taken for the newest 8.
    pub const fn new(platform: Platform, plugin: PluginVersion) -> Self {
        let generation = match (plugin.major, plugin.minor, plugin.patch) {
            (0..=4, _, _) | (7 | 9 | 10, 0, 0) => PluginVersion::OLDEST,
            (9.., _, _) => PluginVersion::new(8, u32::MAX, u32::MAX),
            _ => plugin,
        };
        Self { platform, plugin, generation }
    }

    /// Whether the client has `feature`.
    pub fn has(self, feature: Feature) -> bool {
        let row = feature.row();
        if self.platform == Platform::Electron {
            return row.electron;
        }
        let PluginVersion { major, minor, .. } = self.generation;
        let back_port = matches!((major, minor), (5, 43..) | (6, 39..) | (7, 41..));
        let threshold = match major {
            _ if back_port && row.back.is_some() => row.back,
            5 => row.v5,
            6 => row.v6,
            7 => row.v7,
            _ => row.v8,
        };
        threshold.is_some_and(|(minor, patch)| self.generation >= PluginVersion::new(major, minor, patch))
    }

    /// Whether it is too old to be served at all: plugin 4 on a phone.
    pub fn is_refused(self) -> bool {
        self.platform != Platform::Electron && self.plugin.major == 4
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mobile(plugin: &str) -> Client {
        Client::new(Platform::Android, PluginVersion::parse(plugin))
    }

    /// Section 0.2, row by row: the last plugin without the feature and the first with it, per line.
    #[test]
    fn thresholds() {
        let rows: [(Feature, &[(&str, &str)]); 20] = [
            (Feature::DefaultChannel, &[("5.4.9", "5.5.0")]),
            (Feature::OldVersionName, &[("5.8.9", "5.9.0")]),
            (Feature::BuiltinAnswer, &[("5.9.5", "5.43.3"), ("6.1.18", "6.2.0"), ("7.0.1", "7.0.2")]),
            (Feature::Manifest, &[("5.9.5", "5.43.3"), ("6.14.27", "6.14.28"), ("7.0.37", "7.0.38")]),
            (Feature::Sha256Checksum, &[("5.9.5", "5.50.1"), ("6.14.27", "6.14.28"), ("7.0.1", "7.0.2")]),
            (Feature::PublicKey, &[("5.9.5", "5.50.1"), ("6.1.17", "6.1.18"), ("7.0.1", "7.0.2")]),
            (Feature::ChecksumV3, &[("5.9.5", "5.43.3"), ("6.27.11", "6.39.0"), ("7.29.0", "7.30.0")]),
            (Feature::ListChannels, &[("5.9.5", "5.43.3"), ("6.14.27", "6.14.28"), ("7.4.9", "7.5.0")]),
            (
                Feature::NumericListIds,
                &[("5.45.10", "5.50.1"), ("6.45.10", "6.50.1"), ("7.45.10", "7.50.1"), ("8.47.6", "8.47.7")],
            ),
            (Feature::SelfSetOnDevice, &[("5.9.5", "5.43.3"), ("6.27.11", "6.39.0"), ("7.33.4", "7.34.0")]),
            (Feature::RetryAfter, &[("6.50.2", "6.51.15"), ("7.50.2", "7.51.15"), ("8.51.4", "8.51.5")]),
            (
                Feature::Kind,
                &[
                    ("5.43.3", "5.45.10"),
                    ("6.42.3", "6.45.10"),
                    ("7.41.1", "7.45.10"),
                    ("8.45.10", "8.45.11"),
                ],
            ),
            (
                Feature::StatsArray,
                &[("5.9.5", "5.43.3"), ("6.39.0", "6.42.3"), ("7.41.1", "7.45.10"), ("8.41.9", "8.42.0")],
            ),
            (
                Feature::KeyId,
                &[("5.9.5", "5.43.3"), ("6.27.11", "6.39.0"), ("7.36.1", "7.41.1"), ("8.1.9", "8.2.0")],
            ),
            (
                Feature::FullKeyId,
                &[("5.9.5", "5.43.3"), ("6.39.0", "6.42.3"), ("7.36.1", "7.41.1"), ("8.40.7", "8.40.8")],
            ),
            (
                Feature::BuiltinNamedNative,
                &[("5.43.3", "5.45.10"), ("6.42.3", "6.45.10"), ("7.41.1", "7.45.10"), ("8.43.9", "8.44.0")],
            ),
            (
                Feature::PersistsGetChannel,
                &[("5.45.10", "5.50.1"), ("7.45.10", "7.50.1"), ("8.47.8", "8.47.9")],
            ),
            (
                Feature::UnsetAnswer,
                &[("5.9.5", "5.43.3"), ("6.42.3", "6.45.10"), ("7.41.1", "7.45.10"), ("8.42.5", "8.42.6")],
            ),
            (Feature::LinkAndComment, &[("5.9.5", "5.50.1"), ("6.27.11", "6.50.1"), ("7.35.9", "7.36.0")]),
            (
                Feature::DownloadFailWeighs,
                &[("5.45.10", "5.50.1"), ("6.25.8", "6.27.10"), ("7.27.9", "7.28.0")],
            ),
        ];
        for (feature, boundaries) in rows {
            for (last_without, first_with) in boundaries {
                assert!(!mobile(last_without).has(feature), "{last_without} has {feature:?}");
                assert!(mobile(first_with).has(feature), "{first_with} has no {feature:?}");
            }
            assert!(mobile("8.51.23").has(feature), "{feature:?} in the newest");
            assert!(!mobile("5.0.0").has(feature), "{feature:?} in the oldest");
        }
        assert!(
            !mobile("8.51.22").has(Feature::ChecksumRequired)
                && mobile("8.51.23").has(Feature::ChecksumRequired)
        );
        assert!(!mobile("8.50.9").has(Feature::LaunchReady) && mobile("8.51.0").has(Feature::LaunchReady));
    }

    #[test]
    fn numbers_that_mislead() {
        for odd in ["7.0.0", "9.0.0", "10.0.0", "", "x", "1.2", "3.9.9", "99999999999.0.0", "latest"] {
            for feature in Feature::ALL {
                assert_eq!(mobile(odd).has(feature), mobile("5.0.0").has(feature), "{odd} {feature:?}");
            }
        }
        for new in ["9.0.1", "9.1.0", "10.0.1", "11.0.0", "40.1.2"] {
            for feature in Feature::ALL {
                assert!(mobile(new).has(feature), "{new} {feature:?}");
            }
        }
        assert!(mobile("4.17.3").is_refused());
        assert!(!mobile("5.0.0").is_refused());
        assert!(PluginVersion::parse("7.35.0-alpha.0") < PluginVersion::parse("7.35.0"));
        assert!(PluginVersion::parse("7.35.0-alpha.0") > PluginVersion::parse("7.34.9"));
        assert_eq!(PluginVersion::parse("8.1.2+5"), PluginVersion::new(8, 1, 2));
        assert_eq!(PluginVersion::parse("8"), PluginVersion::new(8, 0, 0));
    }

    #[test]
    fn electron_is_known_by_its_platform() {
        for plugin in ["0.0.1", "4.0.0", "8.51.23", "x"] {
            let client = Client::new(Platform::Electron, PluginVersion::parse(plugin));
            assert!(!client.is_refused());
            assert!(client.has(Feature::Sha256Checksum) && client.has(Feature::SelfSetOnDevice));
            for never in [Feature::BuiltinAnswer, Feature::PublicKey, Feature::Manifest, Feature::RetryAfter]
            {
                assert!(!client.has(never), "{never:?}");
            }
        }
    }
}

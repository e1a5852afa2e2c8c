//! Identifiers that must not be mixed up, each checked where it is made.

use std::{borrow::Borrow, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Why a text is not the identifier it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidId {
    /// Not a reverse-domain id.
    #[error(
        "`{0}` is not an app id: expected a reverse-domain id such as com.example.shop, at most 128 characters"
    )]
    App(String),
    /// Not a channel name.
    #[error(
        "`{0}` is not a channel name: expected 1 to 63 letters, digits, `.`, `_` or `-`, starting with a letter or digit"
    )]
    Channel(String),
    /// Not a version.
    #[error("`{text}` is not a version: {reason}")]
    Version {
        /// What was given.
        text: String,
        /// What semantic versioning says against it.
        reason: String,
    },
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str { &self.0 }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.write_str(&self.0) }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.write_str(&self.0) }
        }
        impl Borrow<str> for $name {
            fn borrow(&self) -> &str { &self.0 }
        }
        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str { &self.0 }
        }
        impl TryFrom<String> for $name {
            type Error = InvalidId;
            fn try_from(text: String) -> Result<Self, InvalidId> { text.parse() }
        }
        impl From<$name> for String {
            fn from(id: $name) -> String { id.0 }
        }
    };
}

text_id! {
    /// The reverse-domain id that a device sends as `app_id`: `^[A-Za-z0-9]+(\.[\w-]+)+$`
    /// (`device-protocol` section 2.1), at most 128 characters.
    AppId
}

text_id! {
    /// The name under which devices ask for a channel: 1 to 63 letters, digits, `.`, `_` or `-`,
    /// starting with a letter or digit.
    ChannelName
}

impl AppId {
    /// Whether `text` is an app id.
    pub fn is_valid(text: &str) -> bool {
        let mut parts = text.split('.');
        let first =
            parts.next().is_some_and(|p| !p.is_empty() && p.bytes().all(|b| b.is_ascii_alphanumeric()));
        let word =
            |p: &str| !p.is_empty() && p.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
        let mut rest = 0;
        let well = first
            && text.len() <= 128
            && parts.all(|p| {
                rest += 1;
                word(p)
            });
        well && rest > 0
    }
}

impl FromStr for AppId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        if Self::is_valid(text) { Ok(Self(text.to_owned())) } else { Err(InvalidId::App(text.to_owned())) }
    }
}

impl FromStr for ChannelName {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let well = (1..=63).contains(&text.len())
            && text.as_bytes()[0].is_ascii_alphanumeric()
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
        if well { Ok(Self(text.to_owned())) } else { Err(InvalidId::Channel(text.to_owned())) }
    }
}

/// The version of a release: semantic, without build metadata, so that its text is its identity.
/// Devices see it as the bundle's name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Version(semver::Version);

impl Version {
    /// The parsed form.
    pub fn semver(&self) -> &semver::Version {
        &self.0
    }
}

impl FromStr for Version {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let refuse = |reason: String| InvalidId::Version { text: text.to_owned(), reason };
        if text.len() > 64 {
            return Err(refuse("it is longer than 64 characters".into()));
        }
        let version = semver::Version::parse(text).map_err(|e| refuse(e.to_string()))?;
        if !version.build.is_empty() {
            return Err(refuse(
                "build metadata (`+…`) is not allowed, since two builds would share one version".into(),
            ));
        }
        Ok(Self(version))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl TryFrom<String> for Version {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<Self, InvalidId> {
        text.parse()
    }
}

impl From<Version> for String {
    fn from(version: Version) -> String {
        version.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn app_ids() {
        for good in ["com.example.shop", "org.example-app.x_1", "1a.b"] {
            assert!(good.parse::<AppId>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "com",
            "com.",
            ".com",
            "com..x",
            "com.exa mple",
            "c-m.x",
            "com/x.y",
            &format!("a.{}", "b".repeat(200)),
        ] {
            assert!(bad.parse::<AppId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn versions_have_no_build_metadata() {
        assert!("1.2.3-rc.1".parse::<Version>().is_ok());
        for bad in ["1.2", "v1.2.3", "1.2.3+4", ""] {
            assert!(bad.parse::<Version>().is_err(), "{bad}");
        }
    }
}

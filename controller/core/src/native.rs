//! Versions of the native app, and ranges of them.
//!
//! A native version compares by its three numbers alone; pre-release tags and build metadata are dropped
//! (`1.2.0-beta` asks for what `1.2.0` asks for). A range is therefore one interval, which makes matching two
//! comparisons and lets `validate` see empty and overlapping ranges.

use std::{fmt, str::FromStr};

use semver::Op;
use serde::{Deserialize, Serialize};

/// Major, minor and patch of the native app.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NativeVersion(pub u64, pub u64, pub u64);

/// The text does not start with a number.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a version: expected up to three numbers separated by dots, such as 1, 1.2 or 1.2.3")]
pub struct InvalidNativeVersion;

impl NativeVersion {
    /// What `builtin` and `unknown` stand for (`device-protocol` section 2.1, normalisation 3).
    pub const ZERO: Self = Self(0, 0, 0);
}

impl fmt::Display for NativeVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

impl FromStr for NativeVersion {
    type Err = InvalidNativeVersion;

    /// Reads `version_build` as devices send it: short forms are padded, `builtin` and `unknown` are 0.0.0,
    /// a fourth number, a pre-release tag and build metadata are ignored.
    fn from_str(text: &str) -> Result<Self, InvalidNativeVersion> {
        let text = text.trim();
        if matches!(text, "builtin" | "unknown") {
            return Ok(Self::ZERO);
        }
        let text = text.strip_prefix(['v', 'V']).unwrap_or(text);
        let end = text.find(['-', '+', ' ']).unwrap_or(text.len());
        let mut numbers = [0_u64; 3];
        for (index, part) in text[..end].split('.').enumerate() {
            if part.is_empty() || !part.bytes().all(|b| b.is_ascii_digit()) {
                return Err(InvalidNativeVersion);
            }
            let number = part.parse().map_err(|_| InvalidNativeVersion)?;
            if let Some(slot) = numbers.get_mut(index) {
                *slot = number;
            }
        }
        Ok(Self(numbers[0], numbers[1], numbers[2]))
    }
}

impl From<&semver::Version> for NativeVersion {
    fn from(v: &semver::Version) -> Self {
        Self(v.major, v.minor, v.patch)
    }
}

/// A range of native versions: comparators joined by spaces or commas, all of which must hold.
/// A full version without an operator means exactly that version, as it does in npm.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NativeRange {
    text: String,
    from: NativeVersion,
    /// First version that is outside again; `None` without an upper bound.
    below: Option<NativeVersion>,
}

/// The text is not a range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a version range: {reason}; write for example \">=1.0.0 <5.0.0\"")]
pub struct InvalidRange {
    text: String,
    reason: String,
}

impl NativeRange {
    /// Whether `version` is inside.
    pub fn contains(&self, version: NativeVersion) -> bool {
        version >= self.from && self.below.is_none_or(|below| version < below)
    }

    /// Whether no version is inside.
    pub fn is_empty(&self) -> bool {
        self.below.is_some_and(|below| below <= self.from)
    }

    /// Whether every version of `other` is also inside `self`.
    pub fn covers(&self, other: &Self) -> bool {
        other.is_empty()
            || (self.from <= other.from
                && self.below.is_none_or(|mine| other.below.is_some_and(|theirs| theirs <= mine)))
    }

    /// Whether some version is inside both.
    pub fn overlaps(&self, other: &Self) -> bool {
        !self.intersection(other).is_empty()
    }

    /// The range that holds `from` and everything below `below`.
    pub fn between(from: NativeVersion, below: Option<NativeVersion>) -> Self {
        let text = below.map_or_else(|| format!(">={from}"), |below| format!(">={from} <{below}"));
        Self { text, from, below }
    }

    /// The versions inside both.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        let below = match (self.below, other.below) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        Self::between(self.from.max(other.from), below)
    }

    /// The lowest version inside, when there is one.
    pub fn lowest(&self) -> NativeVersion {
        self.from
    }

    /// The first version above everything inside, when there is one.
    pub fn below(&self) -> Option<NativeVersion> {
        self.below
    }

    /// The text it was read from.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for NativeRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for NativeRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl From<NativeRange> for String {
    fn from(range: NativeRange) -> String {
        range.text
    }
}

impl TryFrom<String> for NativeRange {
    type Error = InvalidRange;

    fn try_from(text: String) -> Result<Self, InvalidRange> {
        text.parse()
    }
}

impl FromStr for NativeRange {
    type Err = InvalidRange;

    fn from_str(text: &str) -> Result<Self, InvalidRange> {
        let refuse = |reason: &str| InvalidRange { text: text.to_owned(), reason: reason.to_owned() };
        if text.contains("||") {
            return Err(refuse("alternatives (`||`) are not supported, use two lines"));
        }
        let mut range = Self { text: text.to_owned(), from: NativeVersion::ZERO, below: None };
        let mut any = false;
        for comparator in comparators(text) {
            any = true;
            let parsed = semver::Comparator::parse(&comparator)
                .map_err(|e| refuse(&format!("in `{comparator}`, {e}")))?;
            if !parsed.pre.is_empty() {
                return Err(refuse("native versions compare without their pre-release tag, leave it out"));
            }
            let bare = comparator.starts_with(|c: char| c.is_ascii_digit());
            let (from, below) = interval(&parsed, bare).ok_or_else(|| refuse("a number is too large"))?;
            range.from = range.from.max(from);
            range.below = match (range.below, below) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            };
        }
        if any { Ok(range) } else { Err(refuse("it is empty")) }
    }
}

/// Splits at spaces and commas, and joins an operator with the number that follows it (`>= 1.0`).
fn comparators(text: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for token in text.split([' ', ',', '\t', '\n']).filter(|t| !t.is_empty()) {
        match found.last_mut() {
            Some(last) if last.bytes().all(|b| b"<>=^~".contains(&b)) => last.push_str(token),
            _ => found.push(token.to_owned()),
        }
    }
    found
}

/// The half-open interval of one comparator; `None` when a bound does not fit.
fn interval(c: &semver::Comparator, bare: bool) -> Option<(NativeVersion, Option<NativeVersion>)> {
    let low = NativeVersion(c.major, c.minor.unwrap_or(0), c.patch.unwrap_or(0));
    let next_major = || Some(NativeVersion(c.major.checked_add(1)?, 0, 0));
    let next_minor = || Some(NativeVersion(c.major, low.1.checked_add(1)?, 0));
    let next_patch = || Some(NativeVersion(c.major, low.1, low.2.checked_add(1)?));
    // The first version after everything that the (partial) version names.
    let after = || match (c.minor, c.patch) {
        (None, _) => next_major(),
        (Some(_), None) => next_minor(),
        (Some(_), Some(_)) => next_patch(),
    };
    Some(match c.op {
        Op::Greater => (after()?, None),
        Op::GreaterEq => (low, None),
        Op::Less => (NativeVersion::ZERO, Some(low)),
        Op::LessEq => (NativeVersion::ZERO, Some(after()?)),
        Op::Tilde => (low, Some(if c.minor.is_none() { next_major()? } else { next_minor()? })),
        Op::Caret if !bare => (
            low,
            Some(match (c.major, c.minor, c.patch) {
                (0, Some(0), Some(_)) => next_patch()?,
                (0, Some(_), _) => next_minor()?,
                _ => next_major()?,
            }),
        ),
        _ => (low, Some(after()?)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn native(text: &str) -> NativeVersion {
        text.parse().unwrap()
    }

    fn range(text: &str) -> NativeRange {
        text.parse().unwrap()
    }

    #[test]
    fn native_versions_as_devices_send_them() {
        for (text, expected) in [
            ("1", NativeVersion(1, 0, 0)),
            ("1.2", NativeVersion(1, 2, 0)),
            ("1.2.3-beta.4", NativeVersion(1, 2, 3)),
            ("1.2.3+45", NativeVersion(1, 2, 3)),
            ("1.2.3.4", NativeVersion(1, 2, 3)),
            ("builtin", NativeVersion::ZERO),
            ("unknown", NativeVersion::ZERO),
            ("007.01", NativeVersion(7, 1, 0)),
        ] {
            assert_eq!(text.parse(), Ok(expected), "{text}");
        }
        for bad in ["", "x", "1.x", "1..2", "-1", "99999999999999999999"] {
            assert!(bad.parse::<NativeVersion>().is_err(), "{bad}");
        }
    }

    #[test]
    fn ranges_are_intervals() {
        for (text, inside, outside) in [
            (">=1.0.0 <5.0.0", vec!["1.0.0", "4.99.99"], vec!["0.9.9", "5.0.0"]),
            (">=1.0.0,<5.0.0", vec!["1.0.0"], vec!["5.0.0"]),
            (">= 1.0.0, < 5.0.0", vec!["1.0.0"], vec!["5.0.0"]),
            ("1.2.3", vec!["1.2.3"], vec!["1.2.4", "1.2.2"]),
            ("1.2", vec!["1.2.0", "1.2.9"], vec!["1.3.0"]),
            ("^1.2", vec!["1.2.0", "1.9.0"], vec!["2.0.0", "1.1.9"]),
            ("~1.2.3", vec!["1.2.3", "1.2.9"], vec!["1.3.0"]),
            (">1", vec!["2.0.0"], vec!["1.9.9"]),
            ("<=1.2", vec!["1.2.9", "0.0.0"], vec!["1.3.0"]),
            ("1.x", vec!["1.0.0", "1.9.9"], vec!["2.0.0"]),
            ("^0.0.3", vec!["0.0.3"], vec!["0.0.4"]),
        ] {
            for v in inside {
                assert!(range(text).contains(native(v)), "{v} in {text}");
            }
            for v in outside {
                assert!(!range(text).contains(native(v)), "{v} not in {text}");
            }
        }
        for bad in ["", "  ", "x", ">=1.0.0 || <1", ">=1.0.0-rc.1", ">=99999999999999999999"] {
            assert!(bad.parse::<NativeRange>().is_err(), "{bad}");
        }
    }

    #[test]
    fn emptiness_and_overlap() {
        assert!(range(">=2 <1").is_empty());
        assert!(!range(">=1 <2").is_empty());
        assert!(range(">=1").covers(&range(">=1.5 <2")));
        assert!(!range(">=1.6").covers(&range(">=1.5 <2")));
        assert!(range("<2").overlaps(&range(">=1")));
        assert!(!range("<1").overlaps(&range(">=1")));
    }
}

//! SHA-256 digests, and the bundle digest that is the identity of what runs on a phone.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

/// A SHA-256 value, written as 64 lower-case hexadecimal characters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

/// The text is not 64 lower-case hexadecimal characters.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a SHA-256 digest: expected 64 lower-case hexadecimal characters")]
pub struct InvalidDigest;

impl Digest {
    /// The SHA-256 of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// Wraps a value that was computed elsewhere.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 raw bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The first twelve hexadecimal characters, for people.
    pub fn short(&self) -> String {
        hex::encode(&self.0[..6])
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0_u8; 64];
        hex::encode_to_slice(self.0, &mut text).expect("64 characters hold 32 bytes");
        f.write_str(std::str::from_utf8(&text).expect("hexadecimal is ASCII"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = InvalidDigest;

    fn from_str(text: &str) -> Result<Self, InvalidDigest> {
        if text.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(InvalidDigest);
        }
        let mut bytes = [0_u8; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| InvalidDigest)?;
        Ok(Self(bytes))
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// One file of a bundle: the unit over which the bundle digest is taken.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct BundleFile {
    /// Relative path with `/` separators, as the file is found on the phone.
    pub path: String,
    /// Plaintext size in bytes.
    pub size: u64,
    /// SHA-256 of the plaintext.
    pub sha256: Digest,
}

/// The identity of a set of files, whatever their packing or encryption: SHA-256 over one line
/// `<path> NUL <size in decimal> NUL <sha256 in hex> LF` per file, sorted by the bytes of the path.
///
/// Returns the same digest for any order of `files`.
pub fn bundle_digest<'a>(files: impl IntoIterator<Item = &'a BundleFile>) -> Digest {
    let mut files: Vec<&BundleFile> = files.into_iter().collect();
    files.sort_unstable_by(|a, b| a.path.as_bytes().cmp(b.path.as_bytes()));
    let mut hash = Sha256::new();
    for BundleFile { path, size, sha256 } in files {
        hash.update(path.as_bytes());
        hash.update([0]);
        hash.update(size.to_string().as_bytes());
        hash.update([0]);
        hash.update(sha256.to_string().as_bytes());
        hash.update(b"\n");
    }
    Digest(hash.finalize().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, content: &str) -> BundleFile {
        BundleFile { path: path.into(), size: content.len() as u64, sha256: Digest::of(content.as_bytes()) }
    }

    #[test]
    fn bundle_digest_ignores_order_and_sees_every_field() {
        let (a, b) = (file("a", "1"), file("b", "2"));
        let both = bundle_digest([&a, &b]);
        assert_eq!(both, bundle_digest([&b, &a]));
        assert_ne!(both, bundle_digest([&a]));
        assert_ne!(both, bundle_digest([&a, &file("c", "2")]));
        assert_ne!(both, bundle_digest([&a, &file("b", "3")]));
    }

    #[test]
    fn text_form_is_strict() {
        let digest = Digest::of(b"x");
        assert_eq!(digest.to_string().parse(), Ok(digest));
        assert_eq!(digest.to_string().to_uppercase().parse::<Digest>(), Err(InvalidDigest));
        assert_eq!("abc".parse::<Digest>(), Err(InvalidDigest));
    }
}

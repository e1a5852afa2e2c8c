//! Hashing for the hot path: a seeded 128-bit multiply-and-fold, and the keyed hash of custom ids.
//!
//! Device keys are parts of a SHA-256 that strangers can grind, so maps are seeded per process.

use std::hash::{BuildHasher, Hasher, RandomState};

use sha2::{Digest as _, Sha256};

const MULTIPLIER: u64 = 0x9E37_79B9_7F4A_7C15;

/// A per-process seed that builds [`Fold`] hashers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seed(u64, u64);

impl Seed {
    pub(crate) fn random() -> Self {
        Self(RandomState::new().hash_one(1_u8), RandomState::new().hash_one(2_u8) | 1)
    }
}

impl BuildHasher for Seed {
    type Hasher = Fold;

    fn build_hasher(&self) -> Fold {
        Fold { state: self.0, key: self.1 }
    }
}

/// A fast hasher without resistance against somebody who knows the seed.
#[derive(Debug)]
pub(crate) struct Fold {
    state: u64,
    key: u64,
}

impl Fold {
    fn mix(&mut self, word: u64) {
        let product =
            u128::from(self.state ^ word ^ self.key) * u128::from(MULTIPLIER ^ self.key.rotate_left(17) | 1);
        #[expect(clippy::cast_possible_truncation, reason = "both halves are used")]
        let (low, high) = (product as u64, (product >> 64) as u64);
        self.state = low ^ high ^ self.state.rotate_left(23);
    }

    /// Adds a text with its length, so that neighbouring fields cannot run into each other.
    pub(crate) fn text(&mut self, text: &str) {
        self.mix(text.len() as u64);
        self.write(text.as_bytes());
    }
}

impl Hasher for Fold {
    fn finish(&self) -> u64 {
        let product = u128::from(self.state ^ self.key) * u128::from(MULTIPLIER);
        #[expect(clippy::cast_possible_truncation, reason = "both halves are used")]
        let folded = product as u64 ^ (product >> 64) as u64;
        folded
    }

    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.mix(u64::from_le_bytes(*word));
        }
        if !rest.is_empty() {
            let mut last = [0_u8; 8];
            last[..rest.len()].copy_from_slice(rest);
            self.mix(u64::from_le_bytes(last));
        }
    }

    fn write_u8(&mut self, n: u8) {
        self.mix(u64::from(n));
    }

    fn write_u32(&mut self, n: u32) {
        self.mix(u64::from(n));
    }

    fn write_u64(&mut self, n: u64) {
        self.mix(n);
    }

    fn write_usize(&mut self, n: usize) {
        self.mix(n as u64);
    }
}

/// HMAC-SHA-256 (RFC 2104) with a key of one block or less, cut to 16 bytes.
pub(crate) fn keyed_hash(key: &[u8; 32], message: &[u8]) -> [u8; 16] {
    let pad = |byte: u8| {
        let mut block = [byte; 64];
        block.iter_mut().zip(key).for_each(|(b, k)| *b ^= k);
        block
    };
    let inner = Sha256::new().chain_update(pad(0x36)).chain_update(message).finalize();
    let outer: [u8; 32] = Sha256::new().chain_update(pad(0x5c)).chain_update(inner).finalize().into();
    let mut half = [0; 16];
    half.copy_from_slice(&outer[..16]);
    half
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keyed_hash_is_hmac() {
        // RFC 4231, test case 1: the key of 20 bytes 0x0b is padded with zeros like any short key.
        let mut key = [0; 32];
        key[..20].fill(0x0b);
        assert_eq!(hex::encode(keyed_hash(&key, b"Hi There")), "b0344c61d8db38535ca8afceaf0bf12b");
    }

    #[test]
    fn fields_do_not_run_into_each_other() {
        let seed = Seed::random();
        let of = |a: &str, b: &str| {
            let mut hash = seed.build_hasher();
            hash.text(a);
            hash.text(b);
            hash.finish()
        };
        assert_ne!(of("ab", "c"), of("a", "bc"));
        assert_ne!(of("", "a"), of("a", ""));
        assert_eq!(of("x", "y"), of("x", "y"));
    }

    #[test]
    fn device_keys_spread_over_shards() {
        let seed = Seed::random();
        let mut shards = [0_u32; 16];
        for n in 0..16_000_u32 {
            let key = sluice_core::digest::Digest::of(&n.to_be_bytes());
            let shard = seed.hash_one(&key.as_bytes()[..16]) >> 60;
            shards[usize::try_from(shard).unwrap()] += 1;
        }
        assert!(shards.iter().all(|n| (800..1200).contains(n)), "{shards:?}");
    }
}

//! Which devices a rollout reaches: arithmetic on the device's id, so that every replica says the same, after every
//! restart, and a larger weight only adds devices (rule 10; `evidence-gate` section 6).
//!
//! What is hashed is the device's key and not its id, so that the place of a device can be told where the id is not known.
//! The keys of a line's devices are spread on a ring by its salt. A rollout begins at an offset that goes round the ring
//! by the golden ratio, so that the burden of being first is shared: at 5 % the first thirteen rollouts share no device.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use sha2::{Digest as _, Sha256};

use crate::{request::DeviceKey, trial::Arm};

/// A share of the audience in parts per million.
pub type Ppm = u32;

/// Everybody.
pub const ALL: Ppm = 1_000_000;

/// How many times larger than the treatment arm the control arm of a level is at most. More would cost writes and hardly
/// sharpen a verdict.
const CONTROLS: Ppm = 19;

/// 2^64 divided by the golden ratio.
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// Random bytes of one line, made once and never shown: who knows them can choose ids that are always first.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Salt([u8; 32]);

impl Salt {
    /// Wraps random bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The place of a device on the ring of the line.
    pub fn place(&self, device: &DeviceKey) -> u64 {
        let hash = Sha256::new().chain_update(self.0).chain_update(device.as_bytes()).finalize();
        u64::from_be_bytes(hash[..8].try_into().expect("eight bytes"))
    }
}

impl fmt::Debug for Salt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Salt(…)")
    }
}

impl Serialize for Salt {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(self.0))
    }
}

impl<'de> Deserialize<'de> for Salt {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'_, str>::deserialize(deserializer)?;
        let mut bytes = [0; 32];
        hex::decode_to_slice(&*text, &mut bytes).map_err(|_| D::Error::custom("not a salt"))?;
        Ok(Self(bytes))
    }
}

/// How consecutive rollouts of a line choose who is first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Order {
    /// Others each time, so that the burden is shared.
    #[default]
    Fair,
    /// At random each time, for experiments that must not know of each other.
    Independent,
    /// The same volunteers each time.
    Ring,
}

/// The cohort of one level of one rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cohort {
    /// The salt of the line.
    pub salt: Salt,
    /// Number of the rollout in its line.
    pub serial: u64,
    /// How rollouts of the line choose who is first.
    #[serde(default)]
    pub order: Order,
    /// The share that is reached.
    pub weight: Ppm,
    /// The share that the level before reached.
    pub below: Ppm,
}

impl Cohort {
    /// The place of a device in this rollout: the lower, the earlier it is reached. In 2^-64 of the audience.
    pub fn rank(&self, device: &DeviceKey) -> u64 {
        match self.order {
            Order::Fair => self.salt.place(device).wrapping_sub(self.serial.wrapping_mul(GOLDEN)),
            Order::Ring => self.salt.place(device),
            Order::Independent => {
                let hash = Sha256::new()
                    .chain_update(self.salt.0)
                    .chain_update(self.serial.to_be_bytes())
                    .chain_update(device.as_bytes())
                    .finalize();
                u64::from_be_bytes(hash[..8].try_into().expect("eight bytes"))
            }
        }
    }

    /// Whether a device of this rank is reached.
    pub const fn reaches(&self, rank: u64) -> bool {
        is_below(rank, self.weight)
    }

    /// The arm of a device of this rank: treatment in the slice that the level added, control at the far end of the
    /// ring, which later levels reach last. Nothing for the others, of which earlier levels tell or too many are left.
    pub fn arm(&self, rank: u64) -> Option<Arm> {
        if is_below(rank, self.weight) {
            return (!is_below(rank, self.below)).then_some(Arm::Treatment);
        }
        (!is_below(rank, ALL - self.control())).then_some(Arm::Control)
    }

    /// The share that is in the treatment arm.
    pub const fn treatment(&self) -> Ppm {
        self.weight.saturating_sub(self.below)
    }

    /// The share that is in the control arm; 0 at 100 %.
    pub fn control(&self) -> Ppm {
        self.treatment().saturating_mul(CONTROLS).min(ALL.saturating_sub(self.weight))
    }
}

/// Whether `rank` is in the first `share` of the ring. In 128 bits, so that 100 % is everybody.
pub(crate) const fn is_below(rank: u64, share: Ppm) -> bool {
    (rank as u128) * (ALL as u128) < ((share as u128) << 64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cohort(serial: u64, weight: Ppm, below: Ppm) -> Cohort {
        Cohort { salt: Salt::from_bytes([7; 32]), serial, order: Order::Fair, weight, below }
    }

    fn devices(count: u32) -> impl Iterator<Item = DeviceKey> {
        (0..count).map(|n| DeviceKey::of(&n.to_string()))
    }

    #[test]
    fn a_larger_weight_only_adds_devices() {
        for device in devices(2_000) {
            let rank = cohort(3, 0, 0).rank(&device);
            let mut reached = false;
            for weight in [0, 1, 500, 10_000, 250_000, 999_999, ALL] {
                let now = cohort(3, weight, 0).reaches(rank);
                assert!(now || !reached);
                reached = now;
            }
            assert!(reached, "100 % is everybody");
            assert!(!cohort(3, 0, 0).reaches(rank), "0 % is nobody");
        }
        assert!(cohort(0, ALL, 0).reaches(u64::MAX));
        assert!(!cohort(0, ALL - 1, 0).reaches(u64::MAX));
    }

    #[test]
    fn shares_are_what_they_say() {
        let all = 40_000;
        for (weight, below) in [(50_000, 10_000), (10_000, 0), (500_000, 250_000)] {
            let cohort = cohort(5, weight, below);
            let arms: Vec<_> = devices(all).map(|device| cohort.arm(cohort.rank(&device))).collect();
            for (arm, share) in [(Arm::Treatment, cohort.treatment()), (Arm::Control, cohort.control())] {
                let found = arms.iter().filter(|found| **found == Some(arm)).count();
                let expected = f64::from(all) * f64::from(share) / f64::from(ALL);
                #[expect(clippy::cast_precision_loss, reason = "small counts")]
                let off = (found as f64 - expected).abs();
                assert!(off < 5.0 * expected.sqrt(), "{arm:?} at {weight}: {found}, expected {expected}");
            }
        }
        assert_eq!(cohort(5, ALL, 500_000).control(), 0);
        assert_eq!(cohort(5, 10_000, 0).control(), 190_000);
        assert_eq!(cohort(5, 600_000, 500_000).control(), 400_000);
    }

    #[test]
    fn the_burden_of_being_first_is_shared() {
        for device in devices(5_000) {
            let first = (1..=13).filter(|serial| {
                let cohort = cohort(*serial, 50_000, 0);
                cohort.reaches(cohort.rank(&device))
            });
            assert!(first.count() <= 1);
        }
        let ring = |serial| Cohort { order: Order::Ring, ..cohort(serial, 50_000, 0) };
        for device in devices(100) {
            assert_eq!(ring(1).rank(&device), ring(2).rank(&device));
        }
    }

    #[test]
    fn the_salt_is_not_shown() {
        assert_eq!(format!("{:?}", Salt::from_bytes([1; 32])), "Salt(…)");
        let written = serde_json::to_string(&Salt::from_bytes([1; 32])).unwrap();
        assert_eq!(serde_json::from_str::<Salt>(&written).unwrap(), Salt::from_bytes([1; 32]));
    }
}

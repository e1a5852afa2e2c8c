//! How device memory stands in the bundle store: a small index, and shards that are named by their content.

use std::{
    collections::BTreeMap,
    io::{self, Read as _, Write as _},
};

use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use serde::{Deserialize, Serialize};
use sluice_core::{
    digest::Digest,
    ids::AppId,
    memory::{DeviceMemory, Failed, Override},
    request::DeviceKey,
};

/// The index.
pub(super) const INDEX: &str = "memory/index.json";
/// Where shards are.
pub(super) const SHARDS: &str = "memory/shards";
/// The format that this program writes and reads.
pub(super) const FORMAT: u32 = 1;
/// Devices of a shard, about. More make the app have more shards.
pub(super) const DEVICES_PER_SHARD: usize = 1_000;
/// An app has at most so many: a shard has the devices whose key begins with its number.
pub(super) const MOST_SHARDS: usize = 256;
const MOST_BYTES: u64 = 256 << 20;

/// Which shards hold, and what the leader took in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Index {
    pub(super) format: u32,
    /// The key for hashes of custom ids, in hexadecimal.
    pub(super) custom_id_key: String,
    /// The shards of each app; a power of two of them, `None` for one without devices.
    pub(super) apps: BTreeMap<AppId, Vec<Option<Digest>>>,
    /// The number of the newest segment that is in the shards, of each gateway.
    pub(super) gateways: BTreeMap<String, u64>,
}

/// What is remembered of some devices of an app.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Shard {
    /// By the device's key in hexadecimal.
    pub(super) devices: BTreeMap<String, Entry>,
}

/// What is remembered of one device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) channel: Option<Override>,
    /// When the channel ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) expires: Option<i64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) failed: Vec<Failed>,
}

impl Index {
    /// How many shards an app has.
    pub(super) fn apps_len(&self, app: &str) -> usize {
        self.apps.iter().find(|(known, _)| known.as_str() == app).map_or(0, |(_, shards)| shards.len())
    }
}

impl Entry {
    pub(super) fn of(memory: &DeviceMemory, expires: Option<i64>) -> Self {
        Self { channel: memory.channel.clone(), expires, failed: memory.failed.clone() }
    }
}

/// Where a shard is.
pub(super) fn shard_key(digest: &Digest) -> String {
    format!("{SHARDS}/{digest}.json.gz")
}

/// The number of the shard, of `count`, that a device is in.
pub(super) fn place(device: &DeviceKey, count: usize) -> usize {
    usize::from(device.as_bytes()[0]) & (count.max(1) - 1)
}

/// How many shards so many devices have. What there is stays until it is far off, because another number rewrites all.
pub(super) fn shards_for(devices: usize, present: usize) -> usize {
    let wanted = devices.div_ceil(DEVICES_PER_SHARD).max(1).next_power_of_two().min(MOST_SHARDS);
    if present.is_power_of_two() && present <= MOST_SHARDS && wanted <= present && wanted * 4 > present {
        present
    } else {
        wanted
    }
}

pub(super) fn encode(shard: &Shard) -> io::Result<Vec<u8>> {
    let mut writer = GzEncoder::new(Vec::new(), Compression::fast());
    serde_json::to_writer(&mut writer, shard)?;
    writer.flush()?;
    writer.finish()
}

pub(super) fn decode(bytes: &[u8]) -> io::Result<BTreeMap<DeviceKey, Entry>> {
    let mut text = String::new();
    GzDecoder::new(bytes).take(MOST_BYTES).read_to_string(&mut text)?;
    let Shard { devices } = serde_json::from_str(&text)?;
    let key = |hexadecimal: &str| {
        let mut key = [0; 16];
        hex::decode_to_slice(hexadecimal, &mut key).ok().map(|()| DeviceKey::from_bytes(key))
    };
    // Another form of the key is of a later release.
    Ok(devices.into_iter().filter_map(|(device, entry)| Some((key(&device)?, entry))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_grow_with_devices_and_do_not_flap() {
        let mut present = 1;
        for (devices, count) in
            [(0, 1), (1_000, 1), (1_001, 2), (900, 2), (5_000, 8), (2_100, 8), (1_900, 2), (9_000_000, 256)]
        {
            present = shards_for(devices, present);
            assert_eq!(present, count, "{devices}");
        }
        let device = DeviceKey::from_bytes([0xab; 16]);
        assert_eq!((place(&device, 1), place(&device, 16), place(&device, 256)), (0, 0xb, 0xab));
    }
}

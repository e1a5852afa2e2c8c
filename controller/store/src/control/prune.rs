//! Removing shards that nobody can be reading any more.

use std::collections::BTreeSet;

use jiff::Timestamp;
use sluice_core::{digest::Digest, snapshot::Root};

use super::{
    BundleStore, ControlError, read,
    snapshots::{milliseconds, root_key, shard_key},
};

/// A gateway that read a root has so long to read its shards.
pub(super) const KEPT_SECONDS: i64 = 600;

impl BundleStore {
    /// Removes shards that no root of the last ten minutes refers to, and that are older than that themselves. Returns
    /// how many went.
    ///
    /// A root counts as long as it stood: the newest one from before the ten minutes was still served in them. When a
    /// root that matters cannot be read, nothing is removed (rule 5).
    pub async fn prune_shards(&self, now: Timestamp) -> Result<usize, ControlError> {
        let _turn = self.publishing.lock().await;
        let Some((current, _)) = self.root().await? else { return Ok(0) };
        let since = milliseconds(now).saturating_sub(KEPT_SECONDS.unsigned_abs() * 1000);
        let generation =
            |key: &str| -> Option<u64> { key.strip_prefix("roots/")?.strip_suffix(".json")?.parse().ok() };
        let mut generations: Vec<u64> =
            self.objects.list("roots").await?.iter().filter_map(|m| generation(&m.key)).collect();
        generations.sort_unstable();
        // Those of one generation and below were replaced before the ten minutes.
        let first_kept = generations.iter().rev().find(|g| **g <= since).copied().unwrap_or(0);

        let mut kept: BTreeSet<Digest> = current.apps.values().copied().collect();
        for old in generations.iter().filter(|g| **g >= first_kept) {
            let Some(root) = read::<Root>(&*self.objects, &root_key(*old)).await? else { continue };
            kept.extend(root.apps.values());
        }
        let kept: BTreeSet<String> = kept.iter().map(shard_key).collect();
        let mut removed = 0;
        for shard in self.objects.list("shards").await? {
            let old = shard.modified < now.as_second() - KEPT_SECONDS;
            if old && !kept.contains(&shard.key) && self.objects.delete(&shard.key).await? {
                removed += 1;
            }
        }
        // Last: should this be cut short, the next run still knows what was referred to.
        for old in generations.iter().filter(|g| **g < first_kept && **g != current.generation) {
            self.objects.delete(&root_key(*old)).await?;
        }
        Ok(removed)
    }
}

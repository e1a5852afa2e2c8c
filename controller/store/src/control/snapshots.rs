//! Publishing and loading snapshots.

use std::{collections::BTreeMap, sync::Arc};

use futures::{StreamExt as _, stream};
use jiff::Timestamp;
use sluice_core::{
    digest::Digest,
    ids::AppId,
    snapshot::{self, App, Root, Shard, Snapshot},
};

use super::{BundleStore, ControlError, decode, encode, read_addressed};
use crate::objects::{Etag, Fetched, ObjectsError};

pub(super) const ROOT: &str = "root.json";
const ATTEMPTS: usize = 64;
/// Shards that are fetched or written at a time.
const AT_ONCE: usize = 16;

/// The outcome of publishing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// The root that stands now.
    pub root: Root,
    /// Whether it is a new generation; false when everything stood there already.
    pub changed: bool,
}

/// A snapshot as it was loaded.
#[derive(Debug)]
pub struct Loaded {
    /// What can be served. An app in `problems` is as it was in the snapshot before, or absent.
    pub snapshot: Snapshot,
    /// Apps whose shard could not be loaded; the next load tries again.
    pub problems: Vec<(AppId, ControlError)>,
    /// Version of the root, for [`BundleStore::load_if_changed`]; `None` while nothing is published.
    pub etag: Option<Etag>,
}

impl BundleStore {
    /// The root that stands, with its version.
    pub async fn root(&self) -> Result<Option<(Root, Etag)>, ControlError> {
        let Some((bytes, etag)) = self.objects.get(ROOT).await? else { return Ok(None) };
        Ok(Some((decode_root(&bytes)?, etag)))
    }

    /// Publishes changed apps (`None` removes one) over what stands, as a new generation: max(previous + 1,
    /// milliseconds since 1970). Whoever holds an older term than the published one is refused (rule 3).
    pub async fn publish(
        &self,
        epoch: u64,
        changes: &BTreeMap<AppId, Option<Arc<Shard>>>,
        now: Timestamp,
    ) -> Result<Published, ControlError> {
        let _turn = self.publishing.lock().await;
        let changed = self.put_shards(changes).await?;
        for _ in 0..ATTEMPTS {
            let standing = self.root().await?;
            let mut apps = standing.as_ref().map(|(root, _)| root.apps.clone()).unwrap_or_default();
            for (app, digest) in &changed {
                match digest {
                    Some(digest) => apps.insert(app.clone(), *digest),
                    None => apps.remove(app),
                };
            }
            let previous = match &standing {
                Some((root, _)) if root.epoch > epoch => {
                    return Err(ControlError::Superseded(Box::new(root.clone())));
                }
                Some((root, _))
                    if root.epoch == epoch
                        && root.apps == apps
                        && root.installation == *self.installation =>
                {
                    return Ok(Published { root: root.clone(), changed: false });
                }
                Some((root, _)) => root.generation,
                None => 0,
            };
            let root = Root {
                format: snapshot::FORMAT,
                installation: self.installation.to_string(),
                epoch,
                generation: previous.saturating_add(1).max(milliseconds(now)),
                apps,
            };
            if self.put_root(&root, standing.map(|(_, etag)| etag)).await? {
                return Ok(Published { root, changed: true });
            }
        }
        Err(ControlError::Contended(ROOT.into()))
    }

    /// Begins a leader's term: publishes what stands under a new epoch, which is above every earlier one whatever a
    /// clock says, and above `shown`, the latest that was seen elsewhere. From then on nobody of an earlier term can
    /// publish (rule 3).
    pub async fn begin_term(&self, now: Timestamp, shown: u64) -> Result<u64, ControlError> {
        let seconds = u64::try_from(now.as_second()).unwrap_or(0);
        for _ in 0..ATTEMPTS {
            let standing = self.root().await?.map_or(0, |(root, _)| root.epoch);
            // Seconds, so that a store that was restored from a backup is ahead of what the lost one said, as far as
            // clocks were right.
            let epoch = standing.max(shown).saturating_add(1).max(seconds);
            match self.publish(epoch, &BTreeMap::new(), now).await {
                // Written by us, or nobody has that term.
                Ok(Published { changed: true, .. }) => return Ok(epoch),
                // Somebody else began the same term a moment ago.
                Ok(Published { changed: false, .. }) | Err(ControlError::Superseded(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Err(ControlError::Contended(ROOT.into()))
    }

    /// Loads what is published. Shards that `previous` has are not fetched again. A root older than `previous` is
    /// refused with [`ControlError::Superseded`] (rule 3).
    pub async fn load(&self, previous: Option<&Snapshot>) -> Result<Loaded, ControlError> {
        match self.root().await? {
            Some((root, etag)) => self.assemble(root, etag, previous).await,
            None => match previous.filter(|previous| previous.root.generation > 0) {
                // What was published cannot become unpublished: the store lost it (rule 5).
                Some(_) => Err(ControlError::Missing(ROOT.into())),
                None => Ok(Loaded { snapshot: Snapshot::empty(), problems: Vec::new(), etag: None }),
            },
        }
    }

    /// As [`Self::load`], but `None` when the root is still the version `etag`.
    pub async fn load_if_changed(
        &self,
        previous: &Snapshot,
        etag: &Etag,
    ) -> Result<Option<Loaded>, ControlError> {
        match self.objects.get_if_changed(ROOT, etag).await? {
            Fetched::Unchanged => Ok(None),
            Fetched::Missing => Err(ControlError::Missing(ROOT.into())),
            Fetched::Changed(bytes, etag) => {
                self.assemble(decode_root(&bytes)?, etag, Some(previous)).await.map(Some)
            }
        }
    }

    /// Writes the shards, once each, and returns what the root shall say.
    async fn put_shards(
        &self,
        changes: &BTreeMap<AppId, Option<Arc<Shard>>>,
    ) -> Result<BTreeMap<AppId, Option<Digest>>, ControlError> {
        // Encoded before the first await, so that the future borrows nothing of the shards.
        let encoded: Vec<(AppId, Option<Vec<u8>>)> =
            changes.iter().map(|(app, shard)| (app.clone(), shard.as_deref().map(encode))).collect();
        let mut writes = stream::iter(encoded)
            .map(|(app, bytes)| async move {
                let Some(bytes) = bytes else { return Ok((app, None)) };
                let digest = Digest::of(&bytes);
                self.put_addressed(&shard_key(&digest), &digest, bytes).await.map(|()| (app, Some(digest)))
            })
            .buffer_unordered(AT_ONCE);
        let mut written = BTreeMap::new();
        while let Some(done) = writes.next().await {
            let (app, digest) = done?;
            written.insert(app, digest);
        }
        Ok(written)
    }

    /// Puts the newest root of the last ten minutes in the place of one that cannot be read: the last good state is
    /// served rather than none (rule 5).
    pub(super) async fn mend_root(&self) -> Result<(), ControlError> {
        let Err(ControlError::Damaged { reason, .. }) = self.root().await else { return Ok(()) };
        let mut kept: Vec<(u64, String)> = Vec::new();
        for meta in self.objects.list("roots").await? {
            let name = meta.key.strip_prefix("roots/").and_then(|k| k.strip_suffix(".json"));
            let generation: Option<u64> = name.and_then(|name| name.parse().ok());
            kept.extend(generation.map(|generation| (generation, meta.key.clone())));
        }
        kept.sort_unstable();
        for (generation, key) in kept.into_iter().rev() {
            let Some((bytes, _)) = self.objects.get(&key).await? else { continue };
            if decode_root(&bytes).is_ok() {
                tracing::error!(
                    generation,
                    reason,
                    "the root of the snapshot is damaged; the newest one kept is served"
                );
                self.objects.replace(ROOT, bytes, None).await?;
                return Ok(());
            }
        }
        Ok(())
    }

    /// Says whether it was written; false when somebody else was faster.
    async fn put_root(&self, root: &Root, standing: Option<Etag>) -> Result<bool, ControlError> {
        let bytes = encode(root);
        // Kept first: a root that devices were served by is never without its entry. One that loses the race is pruned.
        self.objects.replace(&root_key(root.generation), bytes.clone().into(), None).await?;
        let written = match standing {
            Some(etag) => self.objects.replace(ROOT, bytes.into(), Some(&etag)).await.map(|_| ()),
            None => self.objects.create(ROOT, bytes.into()).await,
        };
        match written {
            Ok(()) => Ok(true),
            Err(ObjectsError::Conflict(_) | ObjectsError::AlreadyExists(_)) => Ok(false),
            Err(e) => Err(e.into()),
        }
    }

    async fn assemble(
        &self,
        mut root: Root,
        etag: Etag,
        previous: Option<&Snapshot>,
    ) -> Result<Loaded, ControlError> {
        if let Some(before) = previous.map(|p| &p.root)
            && (root.epoch, root.generation) < (before.epoch, before.generation)
        {
            return Err(ControlError::Superseded(Box::new(before.clone())));
        }
        let known =
            |app: &AppId| previous.and_then(|p| Some((*p.root.apps.get(app)?, p.app(app.as_str())?.clone())));
        let (mut apps, mut wanted) = (Vec::with_capacity(root.apps.len()), Vec::new());
        for (app, digest) in &root.apps {
            match known(app) {
                Some((same, compiled)) if same == *digest => apps.push(compiled),
                _ => wanted.push((app.clone(), *digest)),
            }
        }
        let mut problems = Vec::new();
        let mut fetches = stream::iter(wanted)
            .map(|(app, digest)| async move { (self.fetch_shard(&app, &digest).await, app) })
            .buffer_unordered(AT_ONCE);
        while let Some((fetched, app)) = fetches.next().await {
            match fetched {
                Ok(compiled) => apps.push(Arc::new(compiled)),
                Err(problem) => {
                    // The app stays as it was, and the root of this snapshot says so: then the next load tries again.
                    match known(&app) {
                        Some((digest, compiled)) => {
                            root.apps.insert(app.clone(), digest);
                            apps.push(compiled);
                        }
                        None => {
                            root.apps.remove(&app);
                        }
                    }
                    problems.push((app, problem));
                }
            }
        }
        problems.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(Loaded { snapshot: Snapshot::new(root, apps), problems, etag: Some(etag) })
    }

    /// The shard of `app` that a root names.
    pub async fn shard(&self, app: &AppId, digest: &Digest) -> Result<Shard, ControlError> {
        let key = shard_key(digest);
        let shard: Shard = decode(&key, &read_addressed(&*self.objects, &key, digest).await?)?;
        if shard.app != *app {
            return Err(ControlError::Damaged { key, reason: format!("it is the shard of {}", shard.app) });
        }
        Ok(shard)
    }

    async fn fetch_shard(&self, app: &AppId, digest: &Digest) -> Result<App, ControlError> {
        Ok(App::compile(self.shard(app, digest).await?)?)
    }
}

pub(super) fn shard_key(digest: &Digest) -> String {
    format!("shards/{digest}.json")
}

pub(super) fn root_key(generation: u64) -> String {
    format!("roots/{generation}.json")
}

pub(super) fn milliseconds(at: Timestamp) -> u64 {
    u64::try_from(at.as_millisecond()).unwrap_or(0)
}

fn decode_root(bytes: &[u8]) -> Result<Root, ControlError> {
    let root: Root = decode(ROOT, bytes)?;
    if root.format > snapshot::FORMAT { Err(ControlError::TooNew { found: root.format }) } else { Ok(root) }
}

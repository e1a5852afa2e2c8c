//! The inventory as it is stored: a document that names its parts by digest, so that a push writes only the parts that
//! it changed.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sluice_core::{
    digest::Digest,
    inventory::{FileEntries, FileEntry, Inventory, ObjectKey},
};
use sluice_repo::CommitId;
use sluice_store::{
    control::{BundleStore, ControlError},
    objects::Etag,
};

use crate::{EngineError, apply::readable};

/// Parts that the files are divided into, by the first byte of the SHA-256 of their path.
const PARTS: u8 = 64;

/// The document.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    commit: String,
    parser: String,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    leaving: BTreeSet<ObjectKey>,
    /// By number; what has no files has no part.
    parts: BTreeMap<u8, Digest>,
}

/// What is stored of an inventory.
#[derive(Debug, Default)]
pub(crate) struct Saved {
    name: String,
    etag: Option<Etag>,
    inventory: Arc<Inventory>,
    parts: BTreeMap<u8, Digest>,
}

/// The commit that was worked with last, from before a restart: what [`sluice_repo::SourceSettings::known`] asks for.
pub async fn last_commit(store: &BundleStore, owner: &str) -> Result<Option<CommitId>, EngineError> {
    let stored = readable(store.document::<Document>(owner).await)?.flatten();
    Ok(stored.and_then(|(document, _)| document.commit.parse().ok()))
}

impl Saved {
    /// What is stored as `name`; nothing when it cannot be read, and then it is read from Git.
    pub(crate) async fn load(store: &BundleStore, name: &str) -> Result<Self, EngineError> {
        let mut saved = Self { name: name.to_owned(), ..Self::default() };
        let Some((document, etag)) = readable(store.document::<Document>(name).await)?.flatten() else {
            return Ok(saved);
        };
        saved.etag = Some(etag);
        let mut files = FileEntries::new();
        for digest in document.parts.values() {
            match readable(store.part::<FileEntries>(name, digest).await)? {
                Some(part) => files.extend(part),
                // Half of what is declared would be taken for all of it.
                None => return Ok(saved),
            }
        }
        let Document { commit, parser, leaving, parts } = document;
        saved.inventory = Arc::new(Inventory { commit, parser, files, leaving });
        saved.parts = parts;
        Ok(saved)
    }

    /// What is stored.
    pub(crate) fn inventory(&self) -> &Arc<Inventory> {
        &self.inventory
    }

    /// Stores `inventory`, as the leader of term `epoch`.
    pub(crate) async fn save(
        &mut self,
        inventory: &Arc<Inventory>,
        epoch: u64,
        store: &BundleStore,
    ) -> Result<(), ControlError> {
        let (before, after) = (&self.inventory.files, &inventory.files);
        let changed = |(path, file): (&String, &Arc<FileEntry>)| {
            (before.get(path) != Some(file)).then(|| part_of(path))
        };
        let gone = before.keys().filter(|path| !after.contains_key(*path)).map(|path| part_of(path));
        let changed: BTreeSet<u8> = after.iter().filter_map(changed).chain(gone).collect();
        let mut files: BTreeMap<u8, BTreeMap<&str, &FileEntry>> =
            changed.into_iter().map(|part| (part, BTreeMap::new())).collect();
        if !files.is_empty() {
            for (path, file) in after {
                if let Some(files) = files.get_mut(&part_of(path)) {
                    files.insert(path, file);
                }
            }
        }
        let mut parts = self.parts.clone();
        for (part, files) in files {
            if files.is_empty() {
                parts.remove(&part);
            } else {
                parts.insert(part, store.put_part(&self.name, &files).await?);
            }
        }
        let document = Document {
            commit: inventory.commit.clone(),
            parser: inventory.parser.clone(),
            leaving: inventory.leaving.clone(),
            parts: parts.clone(),
        };
        self.etag = Some(store.put_document(epoch, &self.name, &document, self.etag.as_ref()).await?);
        (self.inventory, self.parts) = (Arc::clone(inventory), parts);
        Ok(())
    }

    /// Removes parts that the stored document does not name any more.
    pub(crate) async fn prune(&self, store: &BundleStore) -> Result<usize, ControlError> {
        store.prune_parts(&self.name, &self.parts.values().copied().collect(), Timestamp::now()).await
    }
}

fn part_of(path: &str) -> u8 {
    Digest::of(path.as_bytes()).as_bytes()[0] % PARTS
}

#[cfg(test)]
mod tests {
    use sluice_store::objects::Directory;

    use super::*;

    fn inventory(commit: &str, files: impl IntoIterator<Item = (String, String)>) -> Arc<Inventory> {
        let entry = |(path, oid)| {
            let file = FileEntry { oid, objects: Vec::new(), problems: Vec::new(), complete: true };
            (path, Arc::new(file))
        };
        let files = files.into_iter().map(entry).collect();
        Arc::new(Inventory { commit: commit.into(), parser: "1".into(), files, leaving: BTreeSet::new() })
    }

    #[tokio::test]
    async fn a_change_writes_the_part_that_it_is_in() {
        let folder = tempfile::tempdir().unwrap();
        let objects = Arc::new(Directory::open(folder.path()).unwrap());
        let store = BundleStore::open(objects, "fresh").await.unwrap();
        let written = || std::fs::read_dir(folder.path().join("inventory/team/shop")).unwrap().count();

        let paths = |count: usize| (0..count).map(|n| (format!("{n}.yaml"), "1".to_owned()));
        let first = inventory(&"a".repeat(40), paths(1_000));
        let mut saved = Saved::load(&store, "team/shop").await.unwrap();
        assert_eq!(**saved.inventory(), Inventory::default());
        saved.save(&first, 1, &store).await.unwrap();
        assert_eq!(written(), usize::from(PARTS));
        assert_eq!(last_commit(&store, "team/shop").await.unwrap(), Some("a".repeat(40).parse().unwrap()));

        let mut files = first.files.clone();
        files.insert("7.yaml".into(), Arc::new(FileEntry { oid: "2".into(), ..(*files["7.yaml"]).clone() }));
        files.remove("8.yaml");
        let second = Arc::new(Inventory { commit: "b".repeat(40), files, ..(*first).clone() });
        saved.save(&second, 1, &store).await.unwrap();
        assert!(written() <= usize::from(PARTS) + 2, "{}", written());
        let again = Saved::load(&store, "team/shop").await.unwrap();
        assert_eq!((again.inventory(), &again.parts), (&second, &saved.parts));

        // Another process, which knows nothing of what was written before, ends at the same parts.
        let mut other = Saved::load(&store, "team/shop").await.unwrap();
        other.save(&inventory(&"c".repeat(40), []), 2, &store).await.unwrap();
        assert_eq!(Saved::load(&store, "team/shop").await.unwrap().inventory().files.len(), 0);
        assert_eq!(other.prune(&store).await.unwrap(), 0, "they are younger than ten minutes");
        other.save(&second, 2, &store).await.unwrap();
        assert_eq!(other.parts, saved.parts);

        // One part that cannot be read is nothing that could be trusted.
        let part = other.parts.values().next().unwrap();
        std::fs::write(folder.path().join(format!("inventory/team/shop/{part}.json")), "{}").unwrap();
        let damaged = Saved::load(&store, "team/shop").await.unwrap();
        assert_eq!(**damaged.inventory(), Inventory::default());
        let mut mended = damaged;
        mended.save(&second, 3, &store).await.unwrap();
        assert_eq!(Saved::load(&store, "team/shop").await.unwrap().inventory(), &second);
    }
}

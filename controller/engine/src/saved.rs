//! The inventory as it is stored: a document that names its parts by digest, so that a push writes only the parts that
//! it changed.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sluice_core::{
    channel::Channel,
    diagnostic::{Code, Location},
    digest::Digest,
    inventory::{FileEntries, FileEntry, Inventory, Located, Object, ObjectKey},
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
    #[serde(default)]
    parts: BTreeMap<u8, Digest>,
    /// What the release before this one wrote in place of parts.
    #[serde(default, skip_serializing)]
    files: FileEntries,
}

/// What is stored of an inventory.
#[derive(Debug, Default)]
pub(crate) struct Saved {
    name: String,
    etag: Option<Etag>,
    inventory: Arc<Inventory>,
    parts: BTreeMap<u8, Digest>,
    /// Whether something is stored that cannot be read.
    damaged: bool,
    /// Whether it is stored without parts, which the next write makes.
    whole: bool,
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
        let Some(found) = readable(store.document::<Document>(name).await)? else {
            return Ok(Self { damaged: true, ..saved });
        };
        let Some((document, etag)) = found else { return Ok(saved) };
        saved.etag = Some(etag);
        let Document { commit, parser, leaving, parts, mut files } = document;
        saved.whole = !files.is_empty();
        for digest in parts.values() {
            match readable(store.part::<FileEntries>(name, digest).await)? {
                Some(part) => files.extend(part),
                // Half of what is declared would be taken for all of it.
                None => return Ok(Self { damaged: true, ..saved }),
            }
        }
        saved.inventory = Arc::new(Inventory { commit, parser, files, leaving });
        saved.parts = parts;
        Ok(saved)
    }

    /// What was declared, as far as that is known. When it cannot be read that is nothing but the channels that are
    /// served, as they are: they leave by a commit that allows it, not by being forgotten (rule 5).
    pub(crate) fn baseline(&self, served: impl Iterator<Item = Channel>) -> Arc<Inventory> {
        if !self.damaged {
            return Arc::clone(&self.inventory);
        }
        let kept = |channel: Channel| {
            Arc::new(Located {
                object: Object::Channel(Box::new(channel)),
                at: Location::default(),
                fields: BTreeMap::new(),
                stale: true,
                held: true,
                refused: Some(Code::Unreadable),
            })
        };
        let objects = served.map(kept).collect();
        let file = FileEntry { oid: String::new(), objects, problems: Vec::new(), complete: true };
        Arc::new(Inventory { files: [(String::new(), Arc::new(file))].into(), ..Inventory::default() })
    }

    /// What is stored.
    #[cfg(test)]
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
        let nothing = FileEntries::new();
        let before = if self.whole { &nothing } else { &self.inventory.files };
        let after = &inventory.files;
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
            files: FileEntries::new(),
        };
        self.etag = Some(store.put_document(epoch, &self.name, &document, self.etag.as_ref()).await?);
        (self.inventory, self.parts) = (Arc::clone(inventory), parts);
        (self.whole, self.damaged) = (false, false);
        Ok(())
    }

    /// Removes parts that the stored document does not name any more. Those that a later leader wrote are not this one's
    /// to remove.
    pub(crate) async fn prune(&self, store: &BundleStore) -> Result<usize, ControlError> {
        let standing = store.document::<Document>(&self.name).await?.map(|(_, etag)| etag);
        if standing != self.etag {
            return Ok(0);
        }
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
        let written = || std::fs::read_dir(folder.path().join("inventory/team/shop.parts")).unwrap().count();

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

        // One that was paused meanwhile removes nothing of that, however old it is.
        let hour_ago = std::time::SystemTime::from(Timestamp::now() - jiff::SignedDuration::from_hours(1));
        for part in std::fs::read_dir(folder.path().join("inventory/team/shop.parts")).unwrap() {
            let part = std::fs::File::options().write(true).open(part.unwrap().path()).unwrap();
            part.set_modified(hour_ago).unwrap();
        }
        let mut paused = Saved::load(&store, "team/shop").await.unwrap();
        paused.parts.clear();
        other
            .save(&Arc::new(Inventory { commit: "d".repeat(40), ..(*second).clone() }), 2, &store)
            .await
            .unwrap();
        assert_eq!(paused.prune(&store).await.unwrap(), 0);
        other.save(&second, 2, &store).await.unwrap();
        assert!(other.prune(&store).await.unwrap() > 0, "those of the first");
        assert_eq!(Saved::load(&store, "team/shop").await.unwrap().inventory(), &second);

        // One part that cannot be read is nothing that could be trusted.
        let part = other.parts.values().next().unwrap();
        std::fs::write(folder.path().join(format!("inventory/team/shop.parts/{part}.json")), "{}").unwrap();
        let damaged = Saved::load(&store, "team/shop").await.unwrap();
        assert_eq!(**damaged.inventory(), Inventory::default());
        let mut mended = damaged;
        mended.save(&second, 3, &store).await.unwrap();
        assert_eq!(Saved::load(&store, "team/shop").await.unwrap().inventory(), &second);

        // What the release before this one wrote is read, and written in parts.
        store.put_document(3, "team/shop", &*first, None).await.unwrap();
        let mut older = Saved::load(&store, "team/shop").await.unwrap();
        assert_eq!(older.inventory(), &first);
        older.save(&second, 3, &store).await.unwrap();
        assert_eq!(Saved::load(&store, "team/shop").await.unwrap().inventory(), &second);

        // A name that looks like the document of another one.
        let mut alike = Saved::load(&store, "team/shop.json").await.unwrap();
        alike.save(&first, 3, &store).await.unwrap();
        assert_eq!(Saved::load(&store, "team/shop").await.unwrap().inventory(), &second);
        assert_eq!(Saved::load(&store, "team/shop.json").await.unwrap().inventory(), &first);
    }
}

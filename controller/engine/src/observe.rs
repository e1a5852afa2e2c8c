//! Step one: what a commit declares, read from the mirror, and what its bundles are made from.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use sluice_core::{
    ids::AppId,
    inventory::{FileEntries, FileEntry, Inventory, Located, Object, leave_out_bundles},
    observed::Found,
    release::{Release, Source},
};
use sluice_manifest::{Unread, is_candidate, is_plausible, limits::FILE_BYTES, parse_file};
use sluice_repo::{Change, CommitId, Entry, Kind, ReadError, Reader};

use crate::Folder;

/// What a commit declares, as it was read.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Read {
    pub(crate) files: FileEntries,
    /// Whether files were left out because they stand inside a bundle.
    pub(crate) hides: bool,
}

/// The files of `commit` that may declare something of ours. A file whose content `before` knows is not read again, and
/// when `before` was read from the commit `since` and hides nothing, only what changed since then is looked at.
///
/// An error means that the commit could not be read in full: nothing follows from it.
pub(crate) fn files(
    reader: &Reader,
    commit: CommitId,
    folder: &Folder,
    before: &Inventory,
    parser: &str,
    since: Option<CommitId>,
) -> Result<Read, ReadError> {
    let reuse = before.parser == parser;
    if let Some(since) = since.filter(|since| reuse && reader.has(*since))
        && let Some(files) = files_since(reader, (since, commit), folder, before)?
    {
        return Ok(Read { files, hides: false });
    }
    let mut files = FileEntries::new();
    for entry in reader.entries(commit, &folder.path, &folder.filter, &mut |_| true)? {
        let known = before.files.get(&entry.path);
        let same = known.filter(|file| reuse && file.oid.parse() == Ok(entry.oid));
        if let Some(file) = same.map(declared_now).or_else(|| file(reader, &entry, known)) {
            files.insert(entry.path, file);
        }
    }
    let hides = leave_out_bundles(&mut files) > 0;
    Ok(Read { files, hides })
}

/// The same from what differs between two commits. `None`: it takes a look at everything.
fn files_since(
    reader: &Reader,
    commits: (CommitId, CommitId),
    folder: &Folder,
    before: &Inventory,
) -> Result<Option<FileEntries>, ReadError> {
    // What could not be read then is tried again, changed or not.
    if before.files.values().any(|file| file.oid.is_empty()) {
        return Ok(None);
    }
    let Some(changes) = reader.changes(commits, &folder.path, &folder.filter)? else { return Ok(None) };
    let mut files: FileEntries =
        before.files.iter().map(|(path, file)| (path.clone(), declared_now(file))).collect();
    for Change { path, entry } in changes {
        match entry.and_then(|entry| file(reader, &entry, before.files.get(&path))) {
            Some(new) => files.insert(path, new),
            None => files.remove(&path),
        };
    }
    // Which files a bundle hides depends on all of them.
    Ok(if leave_out_bundles(&mut files) == 0 { Some(files) } else { None })
}

/// A file of the same content. Objects that were stale are not declared by it: the step adds them again if they are
/// still unknown.
fn declared_now(file: &Arc<FileEntry>) -> Arc<FileEntry> {
    if file.objects.iter().all(|located| !located.stale) {
        return Arc::clone(file);
    }
    let mut file = FileEntry::clone(file);
    file.objects.retain(|located| !located.stale);
    Arc::new(file)
}

/// Reads a file that was `known` with other content, or not at all.
fn file(reader: &Reader, entry: &Entry, known: Option<&Arc<FileEntry>>) -> Option<Arc<FileEntry>> {
    let declared = known.is_some_and(|file| !file.objects.is_empty());
    read(reader, entry).or_else(|| if declared { garbage(reader, entry) } else { None }).map(Arc::new)
}

/// The files of `commit` that declare something of ours, without anything known before.
pub fn files_of_commit(reader: &Reader, commit: CommitId, folder: &Folder) -> Result<FileEntries, ReadError> {
    Ok(files(reader, commit, folder, &Inventory::default(), "none", None)?.files)
}

/// A file that declared something before, and whose content is now nothing that anybody would write: what it declared is
/// Unknown, not absent. `None`: it is a document of another kind, and declares nothing on purpose.
fn garbage(reader: &Reader, entry: &Entry) -> Option<FileEntry> {
    let bytes = reader.read(entry.oid, FILE_BYTES as u64).ok()?;
    if is_plausible(&bytes) {
        return None;
    }
    Some(Unread::Garbage.entry(&entry.path, entry.oid.to_string()))
}

/// Reads one entry. `None`: it is nothing of ours.
fn read(reader: &Reader, entry: &Entry) -> Option<FileEntry> {
    let oid = entry.oid.to_string();
    let unread = |why: Unread| Some(why.entry(&entry.path, oid.clone()));
    match entry.kind {
        Kind::Submodule => unread(Unread::Submodule),
        _ if !is_candidate(&entry.path) => None,
        Kind::Symlink => unread(Unread::Symlink),
        Kind::Unnameable => unread(Unread::Unnameable),
        Kind::Tree => None,
        Kind::Blob | Kind::Executable => match reader.read(entry.oid, FILE_BYTES as u64) {
            Ok(bytes) => parse_file(&entry.path, &bytes).into_entry(oid),
            Err(ReadError::TooLarge { size, .. }) => unread(Unread::TooLarge(size)),
            // No content has the empty id, so the next pass reads it again.
            Err(error) => Some(Unread::Failed(error.to_string()).entry(&entry.path, String::new())),
        },
    }
}

/// What is at the paths of one app's bundles.
pub(crate) type Paths = Arc<BTreeMap<String, Found>>;

/// What `commit` has at each path that a bundle of `objects` is made from, by app. Where that is what is `known`, it is
/// the same value. What could not be looked up is left out: not observed is not absent.
pub(crate) fn paths(
    reader: &Reader,
    commit: CommitId,
    objects: &[Arc<Located>],
    known: &BTreeMap<AppId, Paths>,
) -> Result<BTreeMap<AppId, Paths>, ReadError> {
    let mut finder = reader.finder(commit)?;
    let mut apps: HashMap<&AppId, BTreeMap<&str, Found>> = HashMap::new();
    for located in objects {
        let Object::Release(release) = &located.object else { continue };
        let Release { app, source: Source::Path(path), .. } = &**release else {
            continue;
        };
        let found = match finder.find(path) {
            Ok(Some(Entry { kind: Kind::Tree | Kind::Blob | Kind::Executable, oid, .. })) => {
                Found::Object(oid.to_string())
            }
            Ok(Some(_)) => Found::Other,
            Ok(None) | Err(ReadError::BadPath(_)) => Found::Nothing,
            Err(error) => {
                tracing::warn!(path, %error, "the bundle of a release could not be looked up");
                continue;
            }
        };
        apps.entry(app).or_default().insert(path, found);
    }
    let own = |found: BTreeMap<&str, Found>| {
        Arc::new(found.into_iter().map(|(path, found)| (path.to_owned(), found)).collect())
    };
    let same = |known: &&Paths, found: &BTreeMap<&str, Found>| {
        known
            .iter()
            .map(|(path, found)| (path.as_str(), found))
            .eq(found.iter().map(|(path, found)| (*path, found)))
    };
    let apps = apps.into_iter().map(|(app, found)| {
        let known = known.get(app).filter(|known| same(known, &found));
        (app.clone(), known.map_or_else(|| own(found), Arc::clone))
    });
    Ok(apps.collect())
}

#[cfg(test)]
#[path = "observe/tests.rs"]
mod tests;

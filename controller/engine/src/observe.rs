//! Step one: what a commit declares, read from the mirror, and what its bundles are made from.

use std::collections::BTreeMap;

use sluice_core::{
    diagnostic::{Code, Diagnostic, Location},
    ids::AppId,
    inventory::{FileEntry, Inventory, Located, leave_out_bundles},
    plan::{Failure, ReleaseId},
    record::AppRecord,
    release::Source,
    resolve::{Owner, resolve},
};
use sluice_manifest::{Unread, is_candidate, is_plausible, limits::FILE_BYTES, parse_file};
use sluice_repo::{CommitId, Entry, Kind, ReadError, Reader};

use crate::Folder;

/// The files of `commit` that may declare something of ours. A file whose content `before` knows is not read again.
///
/// An error means that the commit could not be read in full: nothing follows from it.
pub(crate) fn files(
    reader: &Reader,
    commit: CommitId,
    folder: &Folder,
    before: &Inventory,
    parser: &str,
) -> Result<BTreeMap<String, FileEntry>, ReadError> {
    let mut files = BTreeMap::new();
    let reuse = before.parser == parser;
    for entry in reader.entries(commit, &folder.path, &folder.filter, &mut |_| true)? {
        let known = before.files.get(&entry.path).filter(|file| reuse && file.oid == entry.oid.to_string());
        let file = match known {
            // Stale objects are not declared by this content: the step adds them again if they are still unknown.
            Some(file) => {
                let mut file = file.clone();
                file.objects.retain(|located| !located.stale);
                Some(file)
            }
            None => read(reader, &entry).or_else(|| {
                let declared = before.files.get(&entry.path).is_some_and(|file| !file.objects.is_empty());
                declared.then(|| garbage(reader, &entry)).flatten()
            }),
        };
        if let Some(file) = file {
            files.insert(entry.path, file);
        }
    }
    leave_out_bundles(&mut files);
    Ok(files)
}

/// The files of `commit` that declare something of ours, without anything known before.
pub fn files_of_commit(
    reader: &Reader,
    commit: CommitId,
    folder: &Folder,
) -> Result<BTreeMap<String, FileEntry>, ReadError> {
    files(reader, commit, folder, &Inventory::default(), "none")
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

/// Where the bundle of a release comes from, and where to report when it does not.
pub(crate) struct Wanted {
    id: ReleaseId,
    source: Source,
    at: Location,
    /// The commit does not declare it; it stands as an earlier one did.
    stale: bool,
}

/// The releases that hold their versions. What another one claims the same version for must not be taken for theirs.
pub(crate) fn wanted<'a>(
    objects: impl IntoIterator<Item = &'a Located>,
    owner: &Owner,
    records: &BTreeMap<AppId, AppRecord>,
) -> Vec<Wanted> {
    let resolved = resolve(objects, owner, records);
    let releases = resolved.apps.iter().flat_map(|(app, declared)| {
        declared.releases.iter().map(move |(version, (release, located))| Wanted {
            id: (app.clone(), version.clone()),
            source: release.source.clone(),
            at: located.field("spec.bundle.path"),
            stale: located.stale,
        })
    });
    releases.collect()
}

/// What each release's bundle is made from in `commit`, and the releases whose path leads nowhere.
pub(crate) fn sources(
    reader: &Reader,
    commit: CommitId,
    wanted: Vec<Wanted>,
) -> (BTreeMap<ReleaseId, String>, BTreeMap<ReleaseId, Failure>) {
    let mut sources = BTreeMap::new();
    let mut failures = BTreeMap::new();
    for Wanted { id, source, at, stale } in wanted {
        let mut fail = |id: ReleaseId, code: Code, message: String| {
            // What the commit does not declare need not be in it.
            if !stale {
                let problem = Diagnostic::new(code, at.clone(), message);
                failures.insert(id, Failure { source: String::new(), problem });
            }
        };
        match source {
            Source::Oci { .. } => {}
            Source::Https { sha256, .. } => {
                sources.insert(id, format!("sha256:{sha256}"));
            }
            Source::Path(path) => match reader.find(commit, &path) {
                Ok(Some(Entry { kind: Kind::Tree | Kind::Blob | Kind::Executable, oid, .. })) => {
                    sources.insert(id, format!("git:{oid}"));
                }
                Ok(Some(_)) => fail(
                    id,
                    Code::BundleNotFound,
                    format!(
                        "`{path}` is a symbolic link or a submodule; a bundle is a directory or a zip file"
                    ),
                ),
                Ok(None) | Err(ReadError::BadPath(_)) => fail(
                    id,
                    Code::BundleNotFound,
                    format!(
                        "there is no `{path}` in this commit; commit the web build there, or correct the path"
                    ),
                ),
                // Not observed is not absent: what is known of the release stays.
                Err(error) => tracing::warn!(path, %error, "the bundle of a release could not be looked up"),
            },
        }
    }
    (sources, failures)
}

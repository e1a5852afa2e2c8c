//! `--base`: a version that is used again with other bytes is found before it is merged.

use std::collections::BTreeMap;

use anyhow::Context as _;
use sluice_bundle::{Limits, Packed, pack};
use sluice_core::{
    diagnostic::{Code, Diagnostic},
    inventory::{FileEntries, Located, Object},
    observed::ReleaseId,
    release::{Release, Source},
};
use sluice_engine::{Folder, files_of_commit, from_git};
use sluice_repo::{CommitId, Reader};

use super::{Tree, disk};

/// Releases of `files` whose version had other bytes in `revision`.
pub(super) fn burnt(tree: &Tree, files: &FileEntries, revision: &str) -> anyhow::Result<Vec<Diagnostic>> {
    let (reader, _) = Reader::discover(&tree.root)
        .with_context(|| format!("--base needs a Git repository, and {} is in none", tree.root.display()))?;
    let commit = reader.resolve(revision).context("--base")?;
    let folder = Folder { path: tree.folder.clone(), ..Folder::default() };
    // A folder that was not there yet declared nothing.
    let before = files_of_commit(&reader, commit, &folder).unwrap_or_default();
    let before = releases(&before);
    let mut problems = Vec::new();
    for (id, (release, located)) in releases(files) {
        let Some((old, _)) = before.get(&id) else { continue };
        if !changed(tree, &reader, commit, old, release).with_context(|| format!("--base: {}", located.at))? {
            continue;
        }
        let message = format!(
            "version {} of {} has other bytes than in {revision}. A version never changes: publish a new one",
            id.1, id.0
        );
        problems.push(Diagnostic::new(Code::VersionBurnt, located.field("spec.version"), message));
    }
    Ok(problems)
}

fn releases(files: &FileEntries) -> BTreeMap<ReleaseId, (&Release, &Located)> {
    let objects = files.values().flat_map(|file| &file.objects);
    objects
        .filter_map(|located| match &located.object {
            Object::Release(release) => {
                Some(((release.app.clone(), release.version.clone()), (&**release, &**located)))
            }
            Object::Channel(_) => None,
        })
        .collect()
}

/// Whether the bundle is another one. Sources of different kinds cannot be compared here; the server does.
fn changed(
    tree: &Tree,
    reader: &Reader,
    commit: CommitId,
    old: &Release,
    new: &Release,
) -> anyhow::Result<bool> {
    match (&old.source, &new.source) {
        (Source::Path(old), Source::Path(new)) => {
            let limits = Limits::default();
            // What could not be packed then was never served, and what cannot be packed now is a problem of its own.
            let Ok(before) = from_git(reader, commit, old, &limits, &mut tempfile::tempfile()?) else {
                return Ok(false);
            };
            let Ok(mut files) = disk::open(tree, new, &limits) else { return Ok(false) };
            let now: Result<Packed, _> = pack(&mut *files, &limits, &mut tempfile::tempfile()?);
            Ok(now.is_ok_and(|now| now.digest != before.digest))
        }
        (Source::Https { sha256: old, .. }, Source::Https { sha256: new, .. }) => Ok(old != new),
        _ => Ok(false),
    }
}

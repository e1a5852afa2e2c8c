//! A mirror on disk: opening, cleaning, checking and repacking. Only the worker writes to it.

use std::{
    collections::HashSet,
    fs, io,
    path::{Path, PathBuf},
};

use git2::{ObjectType, Oid, Repository, RepositoryInitOptions};

use super::classify;
use crate::{error::RepoError, mirror::tree};

/// The commit that was found last.
pub(crate) const CURRENT: &str = "refs/sluice/current";
/// Below it, tips that were rewritten away: what was released once stays readable.
const KEPT: &str = "refs/sluice/kept";

/// Opens the mirror, makes it when it is not there, and with `check` cleans it and looks whether it is whole.
pub(super) fn open(path: &Path, shown: &str, check: bool) -> Result<Repository, RepoError> {
    if !path.join("HEAD").exists() {
        remove(path)?;
        return create(path).map_err(|error| RepoError::Storage { detail: error.message().to_owned() });
    }
    if check {
        clean(path).map_err(|error| RepoError::Storage { detail: error.to_string() })?;
    }
    let repository = Repository::open_bare(path).map_err(|error| classify::local(&error, shown))?;
    configure(&repository).map_err(|error| classify::local(&error, shown))?;
    if check {
        verify(&repository, shown)?;
    }
    Ok(repository)
}

/// Moves a mirror away and deletes it. Readers that have it open go on reading.
pub(super) fn remove(path: &Path) -> Result<(), RepoError> {
    let storage = |error: io::Error| RepoError::Storage { detail: error.to_string() };
    if !path.exists() {
        return Ok(());
    }
    let aside = path.with_extension("old");
    let _ = fs::remove_dir_all(&aside);
    fs::rename(path, &aside).map_err(storage)?;
    fs::remove_dir_all(&aside).map_err(storage)
}

fn create(path: &Path) -> Result<Repository, git2::Error> {
    let mut options = RepositoryInitOptions::new();
    options.bare(true).mkpath(true).external_template(false).initial_head("main");
    let repository = Repository::init_opts(path, &options)?;
    configure(&repository)?;
    Ok(repository)
}

/// The one setting that a connection reads from here: it has no argument for it.
fn configure(repository: &Repository) -> Result<(), git2::Error> {
    let mut config = repository.config()?;
    if config.get_bool("http.followRedirects").ok() != Some(false) {
        config.set_bool("http.followRedirects", false)?;
    }
    Ok(())
}

/// Removes what a killed predecessor left behind. There is one writer, so every lock is a stale one.
fn clean(path: &Path) -> io::Result<()> {
    remove_locks(path, 0)?;
    let packs = path.join("objects/pack");
    let Ok(entries) = fs::read_dir(&packs) else { return Ok(()) };
    for entry in entries {
        let file = entry?.path();
        let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        // Half a pack, and a pack whose index was deleted or never written.
        let orphan = file.extension().is_some_and(|e| e == "pack") && !file.with_extension("idx").exists();
        if name.starts_with("pack_git2_") || name.starts_with("tmp_") || orphan {
            fs::remove_file(&file)?;
        }
    }
    Ok(())
}

fn remove_locks(folder: &Path, depth: usize) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if entry.file_type()?.is_dir() {
            if depth < 32 && !(depth == 0 && name == "objects") {
                remove_locks(&entry.path(), depth + 1)?;
            }
        } else if Path::new(&name).extension().is_some_and(|extension| extension == "lock") {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Looks whether the current commit can be read with all its folders, and whether all its files are listed.
fn verify(repository: &Repository, shown: &str) -> Result<(), RepoError> {
    let corrupt = |error: git2::Error| classify::local(&error, shown);
    let Some(current) = current(repository) else { return Ok(()) };
    let odb = repository.odb().map_err(corrupt)?;
    let root = repository.find_commit(current).map_err(corrupt)?.tree_id();
    let mut seen = HashSet::new();
    let mut open = vec![root];
    while let Some(id) = open.pop() {
        if !seen.insert(id) {
            continue;
        }
        let object = odb.read(id).map_err(corrupt)?;
        for child in tree::parse(object.data()).unwrap_or_default() {
            if child.is_tree() {
                open.push(child.oid.git());
            } else if child.is_blob() && !odb.exists(child.oid.git()) {
                return Err(RepoError::Corrupt {
                    url: shown.to_owned(),
                    detail: format!("object {} is missing", child.oid),
                });
            }
        }
    }
    Ok(())
}

/// The commit that was found last.
pub(crate) fn current(repository: &Repository) -> Option<Oid> {
    repository.refname_to_id(CURRENT).ok()
}

/// Writes down the commit that was found, and keeps the last one when it is not among its ancestors.
pub(super) fn remember(
    repository: &Repository,
    commit: Oid,
    rewritten: Option<Oid>,
) -> Result<(), git2::Error> {
    if let Some(old) = rewritten
        && repository.odb()?.exists(old)
    {
        repository.reference(&format!("{KEPT}/{old}"), old, true, "rewritten")?;
    }
    if current(repository) != Some(commit) {
        repository.reference(CURRENT, commit, true, "found")?;
    }
    Ok(())
}

/// Makes one pack of many: every fetch adds one, and each costs a descriptor and slows every look-up.
pub(super) fn repack(path: &Path, shown: &str, at: usize) -> Result<(), RepoError> {
    let storage = |error: io::Error| RepoError::Storage { detail: error.to_string() };
    let folder = path.join("objects/pack");
    let old = packs(&folder).map_err(storage)?;
    if old.len() < at.max(2) {
        return Ok(());
    }
    let name = pack_everything(path, &folder).map_err(|error| classify::local(&error, shown))?;
    for pack in old {
        if pack.file_stem().is_some_and(|stem| stem.to_string_lossy() == format!("pack-{name}")) {
            continue;
        }
        // The index first: a pack without one is not looked at, an index without its pack is an error.
        for extension in ["idx", "rev", "bitmap", "keep", "mtimes", "pack"] {
            match fs::remove_file(pack.with_extension(extension)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(storage(error)),
                _ => {}
            }
        }
    }
    Ok(())
}

fn packs(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
        Ok(entries) => {
            for entry in entries {
                let path = entry?.path();
                if path.extension().is_some_and(|extension| extension == "pack") {
                    found.push(path);
                }
            }
        }
    }
    Ok(found)
}

/// Packs all that any reference leads to and returns the name of the pack.
fn pack_everything(path: &Path, folder: &Path) -> Result<String, git2::Error> {
    let repository = Repository::open_bare(path)?;
    let mut builder = repository.packbuilder()?;
    builder.set_threads(1);
    let mut walk = repository.revwalk()?;
    for reference in repository.references()? {
        let reference = reference?;
        // A walk follows commits only: the tag objects on the way are added one by one.
        let mut object = reference.resolve()?.peel(ObjectType::Any)?;
        while let Some(tag) = object.as_tag() {
            builder.insert_object(object.id(), None)?;
            object = tag.target()?;
        }
        match object.kind() {
            Some(ObjectType::Commit) => walk.push(object.id())?,
            _ => builder.insert_recursive(object.id(), None)?,
        }
    }
    builder.insert_walk(&mut walk)?;
    builder.write(folder, 0)?;
    Ok(builder.name()?.unwrap_or_default().to_owned())
}

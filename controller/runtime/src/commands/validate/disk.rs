//! The files of a directory, read as the engine reads those of a commit.

use std::{
    fs::{self, File},
    io::Read,
    path::Path,
    sync::Arc,
};

use anyhow::Context as _;
use sluice_bundle::{BundleError, FileMeta, Files, Limits, ZipFiles, check};
use sluice_core::{
    diagnostic::Code,
    inventory::{FileEntries, FileEntry},
};
use sluice_manifest::{Unread, is_candidate, limits::FILE_BYTES, parse_file};
use walkdir::{DirEntry, WalkDir};

use super::Tree;

/// Every file that declares something of ours, or fails to.
pub(super) fn files(tree: &Tree) -> anyhow::Result<FileEntries> {
    let mut files = FileEntries::new();
    let start = tree.root.join(&tree.folder);
    for entry in
        WalkDir::new(&start).sort_by_file_name().into_iter().filter_entry(|e| e.file_name() != ".git")
    {
        let entry = entry.context("cannot read the directory")?;
        let Some(path) = relative(&tree.root, entry.path()) else { continue };
        if let Some(file) = read(&entry, &path)? {
            files.insert(path, Arc::new(file));
        }
    }
    Ok(files)
}

/// The path from the root, with `/` separators. `None`: it is not text, and cannot be one of ours.
fn relative(root: &Path, path: &Path) -> Option<String> {
    path.strip_prefix(root).ok()?.to_str().map(str::to_owned)
}

fn read(entry: &DirEntry, path: &str) -> anyhow::Result<Option<FileEntry>> {
    let unread = |why: Unread| Ok(Some(why.entry(path, String::new())));
    let kind = entry.file_type();
    if kind.is_dir() {
        let submodule = entry.depth() > 0 && entry.path().join(".git").is_file();
        return if submodule { unread(Unread::Submodule) } else { Ok(None) };
    }
    if !is_candidate(path) {
        return Ok(None);
    }
    if kind.is_symlink() {
        return unread(Unread::Symlink);
    }
    if !kind.is_file() {
        // A pipe or a socket: Git does not hold such things.
        return Ok(None);
    }
    let size = entry.metadata().with_context(|| format!("cannot read {path}"))?.len();
    if size > FILE_BYTES as u64 {
        return unread(Unread::TooLarge(size));
    }
    let bytes = fs::read(entry.path()).with_context(|| format!("cannot read {path}"))?;
    Ok(parse_file(path, &bytes).into_entry(String::new()))
}

/// Why the bundle at `path` could not be served; nothing when it can, as far as names and sizes tell.
pub(super) fn check_bundle(tree: &Tree, path: &str, limits: &Limits) -> Option<(Code, String)> {
    let found = open(tree, path, limits).and_then(|files| check(&*files, limits).map_err(Into::into));
    found.err().map(|error| match error.downcast_ref::<BundleError>() {
        Some(bundle) => (bundle.code(), error.to_string()),
        None => (Code::BundleNotFound, format!("{error:#}")),
    })
}

/// The files of the bundle at `path` of the tree: a directory or a zip.
pub(super) fn open(tree: &Tree, path: &str, limits: &Limits) -> anyhow::Result<Box<dyn Files>> {
    let at = tree.root.join(path);
    let missing = || format!("there is no `{path}`; put the web build there, or correct the path");
    let metadata = fs::symlink_metadata(&at).with_context(missing)?;
    if metadata.is_dir() {
        return Ok(Box::new(DiskFiles::list(&at)?));
    }
    anyhow::ensure!(metadata.is_file(), "`{path}` is a symbolic link; a bundle is a directory or a zip file");
    Ok(Box::new(ZipFiles::open(File::open(&at).with_context(missing)?, limits)?))
}

/// The files of a directory.
struct DiskFiles {
    root: std::path::PathBuf,
    metas: Vec<FileMeta>,
}

impl DiskFiles {
    fn list(root: &Path) -> anyhow::Result<Self> {
        let mut metas = Vec::new();
        for entry in WalkDir::new(root).sort_by_file_name() {
            let entry = entry.context("cannot read the bundle")?;
            if entry.file_type().is_dir() {
                continue;
            }
            let shown =
                entry.path().strip_prefix(root).unwrap_or(entry.path()).to_string_lossy().into_owned();
            anyhow::ensure!(
                entry.file_type().is_file() && entry.path().to_str().is_some(),
                "`{shown}` is a symbolic link or named by something that is not text; a bundle is made of plain files"
            );
            metas.push(FileMeta { path: shown, size: entry.metadata()?.len(), crc32: None });
        }
        Ok(Self { root: root.to_owned(), metas })
    }
}

impl Files for DiskFiles {
    fn list(&self) -> &[FileMeta] {
        &self.metas
    }

    fn open(&mut self, index: usize) -> Result<Box<dyn Read + '_>, BundleError> {
        let path = &self.metas[index].path;
        let file = File::open(self.root.join(path)).map_err(|e| BundleError::read(path, e))?;
        Ok(Box::new(file))
    }
}

//! Folders of a commit: finding a path, listing what lies below one.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use git2::ObjectType;

use super::{
    Reader,
    paths::{self, PathFilter},
};
use crate::{
    error::ReadError,
    ids::{CommitId, ObjectId},
};

/// Most entries that one listing returns.
const MAX_ENTRIES: usize = 1_000_000;
/// Deepest nesting of folders.
const MAX_DEPTH: usize = 100;
/// Most entries of folders that are kept between listings.
const MAX_CACHED: usize = 500_000;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A file.
    Blob,
    /// A file with the executable bit.
    Executable,
    /// A folder; only [`Reader::find`] returns it.
    Tree,
    /// A symbolic link.
    Symlink,
    /// A submodule.
    Submodule,
    /// Something whose name cannot be used as one: not UTF-8, or made to confuse. Its path is an approximation.
    Unnameable,
}

/// Something at a path of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Path from the root of the repository.
    pub path: String,
    /// What it is.
    pub kind: Kind,
    /// The object there.
    pub oid: ObjectId,
}

/// A path that is not the same in two commits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Path from the root of the repository.
    pub path: String,
    /// What the later commit has there, if anything.
    pub entry: Option<Entry>,
}

/// One line of a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Child {
    name: Box<str>,
    kind: Kind,
    pub(crate) oid: ObjectId,
}

impl Child {
    pub(crate) fn is_tree(&self) -> bool {
        self.kind == Kind::Tree
    }

    pub(crate) fn is_blob(&self) -> bool {
        matches!(self.kind, Kind::Blob | Kind::Executable | Kind::Symlink)
    }
}

/// Folders that were read lately. They never change under their id, so one commit's listing serves the next one's.
#[derive(Debug, Default)]
pub struct Cache {
    folders: Mutex<Folders>,
}

#[derive(Debug, Default)]
struct Folders {
    by_id: HashMap<ObjectId, Arc<[Child]>>,
    entries: usize,
}

impl Cache {
    fn get(&self, id: ObjectId) -> Option<Arc<[Child]>> {
        self.folders.lock().unwrap_or_else(PoisonError::into_inner).by_id.get(&id).cloned()
    }

    fn put(&self, id: ObjectId, children: &Arc<[Child]>) {
        let mut folders = self.folders.lock().unwrap_or_else(PoisonError::into_inner);
        if folders.entries + children.len() > MAX_CACHED {
            // Starting afresh keeps it simple and costs one full listing.
            *folders = Folders::default();
        }
        if folders.by_id.insert(id, Arc::clone(children)).is_none() {
            folders.entries += children.len() + 1;
        }
    }
}

/// Takes the raw form of a folder apart: `mode name NUL id`, again and again.
pub(crate) fn parse(mut data: &[u8]) -> Option<Vec<Child>> {
    let mut children = Vec::new();
    while !data.is_empty() {
        let space = data.iter().position(|byte| *byte == b' ')?;
        let mode = u32::from_str_radix(std::str::from_utf8(&data[..space]).ok()?, 8).ok()?;
        let rest = &data[space + 1..];
        let end = rest.iter().position(|byte| *byte == 0)?;
        let id: [u8; 20] = rest.get(end + 1..end + 21)?.try_into().ok()?;
        let (name, sound) = name(&rest[..end]);
        let kind = match mode & 0o170_000 {
            _ if !sound => Kind::Unnameable,
            0o040_000 => Kind::Tree,
            0o100_000 if mode & 0o100 != 0 => Kind::Executable,
            0o100_000 => Kind::Blob,
            0o120_000 => Kind::Symlink,
            0o160_000 => Kind::Submodule,
            _ => Kind::Unnameable,
        };
        children.push(Child { name, kind, oid: ObjectId::new(id) });
        data = &rest[end + 21..];
    }
    Some(children)
}

/// A name as text, and whether it is one that can be used.
fn name(bytes: &[u8]) -> (Box<str>, bool) {
    match std::str::from_utf8(bytes) {
        Ok(text) => {
            let odd = matches!(text, "" | "." | "..")
                || text.eq_ignore_ascii_case(".git")
                || text.chars().any(|c| c.is_control() || matches!(c, '/' | '\\'));
            (text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect(), !odd)
        }
        Err(_) => (String::from_utf8_lossy(bytes).into(), false),
    }
}

/// The child of this name. Git sorts a folder's entries as if the names of folders ended with a slash; thousands of
/// releases are looked up in one folder, so they are not gone through one by one.
fn named<'c>(children: &'c [Child], name: &str) -> Option<&'c Child> {
    let key = |child: &'c Child| child.name.bytes().chain(child.is_tree().then_some(b'/'));
    let by = |end: Option<u8>| {
        let found = children.binary_search_by(|child| key(child).cmp(name.bytes().chain(end)));
        found.ok().map(|at| &children[at])
    };
    let is = |child: &&Child| &*child.name == name && child.kind != Kind::Unnameable;
    // An entry whose name cannot be used stands where its real name belongs, and may upset the order.
    by(None).or_else(|| by(Some(b'/'))).filter(is).or_else(|| {
        let upset = children.iter().any(|child| child.kind == Kind::Unnameable);
        if upset { children.iter().find(is) } else { None }
    })
}

impl Reader {
    fn children(&self, id: ObjectId) -> Result<Arc<[Child]>, ReadError> {
        if let Some(known) = self.cache().get(id) {
            return Ok(known);
        }
        let data = self.object(id, ObjectType::Tree)?;
        let parsed = parse(&data).ok_or_else(|| ReadError::Object {
            id: id.to_string(),
            detail: "it is not a folder".to_owned(),
        })?;
        let children: Arc<[Child]> = parsed.into();
        self.cache().put(id, &children);
        Ok(children)
    }

    /// What is at `path` of a commit; nothing when there is nothing. The empty path is the root folder.
    pub fn find(&self, commit: CommitId, path: &str) -> Result<Option<Entry>, ReadError> {
        self.finder(commit)?.find(path)
    }

    /// Finds many paths of one commit.
    pub fn finder(&self, commit: CommitId) -> Result<Finder<'_>, ReadError> {
        Ok(Finder { reader: self, root: self.commit(commit)?.tree, last: None })
    }

    /// Everything below the folder `under` of a commit, in order of paths, that `filter` wants. `descend` is asked for
    /// every folder by its path from the root, and one that it declines is not read.
    ///
    /// A missing folder is an error and never an empty list.
    pub fn entries(
        &self,
        commit: CommitId,
        under: &str,
        filter: &PathFilter,
        descend: &mut dyn FnMut(&str) -> bool,
    ) -> Result<Vec<Entry>, ReadError> {
        let root = self
            .find(commit, under)?
            .ok_or_else(|| ReadError::NoSuchPath { path: under.to_owned(), commit: commit.to_string() })?;
        if root.kind != Kind::Tree {
            return Err(ReadError::NotAFolder { path: root.path, commit: commit.to_string() });
        }
        let skip = if root.path.is_empty() { 0 } else { root.path.len() + 1 };
        let mut found = Vec::new();
        self.list(root.oid, &root.path, descend, &mut |entry: Entry| {
            if filter.matches(&entry.path[skip..]) {
                found.push(entry);
            }
        })?;
        Ok(found)
    }

    /// What differs below the folder `under` between two commits, as far as `filter` wants it: each path that is not
    /// the same in both, and what `to` has there. Folders that are the same are not looked into.
    ///
    /// `None`: the difference cannot be told, because of a name that is no path; [`Self::entries`] can.
    pub fn changes(
        &self,
        (from, to): (CommitId, CommitId),
        under: &str,
        filter: &PathFilter,
    ) -> Result<Option<Vec<Change>>, ReadError> {
        let folder = |commit: CommitId| match self.find(commit, under)? {
            Some(Entry { kind: Kind::Tree, path, oid }) => Ok((path, oid)),
            _ => Err(ReadError::NoSuchPath { path: under.to_owned(), commit: commit.to_string() }),
        };
        let ((path, before), (_, after)) = (folder(from)?, folder(to)?);
        let skip = if path.is_empty() { 0 } else { path.len() + 1 };
        let mut found = Vec::new();
        let mut note = |path: String, entry: Option<&Child>| {
            if filter.matches(&path[skip..]) {
                let entry = entry.map(|child| Entry { path: path.clone(), kind: child.kind, oid: child.oid });
                found.push(Change { path, entry });
            }
        };
        let mut open = vec![(path, Some(before), Some(after), 0)];
        while let Some((folder, before, after, depth)) = open.pop() {
            if before == after {
                continue;
            }
            if depth >= MAX_DEPTH {
                return Err(ReadError::TooMany { path: folder, limit: MAX_ENTRIES });
            }
            let children =
                |id: Option<ObjectId>| id.map_or_else(|| Ok(Arc::default()), |id| self.children(id));
            let (before, after) = (children(before)?, children(after)?);
            if before.iter().chain(&*after).any(|child| child.kind == Kind::Unnameable) {
                return Ok(None);
            }
            let by_name = |child: &Child| (child.name.clone(), child.is_tree());
            let mut gone: HashMap<_, &Child> = before.iter().map(|child| (by_name(child), child)).collect();
            for child in &*after {
                let known = gone.remove(&by_name(child));
                if known == Some(child) {
                    continue;
                }
                let path = join(&folder, &child.name);
                if child.is_tree() {
                    open.push((path, known.map(|known| known.oid), Some(child.oid), depth + 1));
                } else {
                    note(path, Some(child));
                }
            }
            for child in gone.into_values() {
                let path = join(&folder, &child.name);
                // What became a folder, or was one, has a line for itself and one for each file below.
                if child.is_tree() {
                    open.push((path, Some(child.oid), None, depth + 1));
                } else {
                    note(path, None);
                }
            }
        }
        Ok(Some(found))
    }

    /// Everything below a folder given by its id, with paths relative to it.
    pub fn files(&self, tree: ObjectId) -> Result<Vec<Entry>, ReadError> {
        let mut found = Vec::new();
        self.list(tree, "", &mut |_| true, &mut |entry| found.push(entry))?;
        Ok(found)
    }

    fn list(
        &self,
        tree: ObjectId,
        path: &str,
        descend: &mut dyn FnMut(&str) -> bool,
        found: &mut dyn FnMut(Entry),
    ) -> Result<(), ReadError> {
        let too_many = || ReadError::TooMany { path: path.to_owned(), limit: MAX_ENTRIES };
        // The position in every folder that is open, so that nothing is recursive.
        let mut open = vec![(path.to_owned(), self.children(tree)?, 0)];
        let mut visited = 0;
        while let Some((folder, children, at)) = open.last_mut() {
            let Some(child) = children.get(*at).cloned() else {
                open.pop();
                continue;
            };
            *at += 1;
            visited += 1;
            let path = join(folder, &child.name);
            if visited > MAX_ENTRIES {
                return Err(too_many());
            }
            if child.kind != Kind::Tree {
                found(Entry { path, kind: child.kind, oid: child.oid });
            } else if descend(&path) {
                if open.len() >= MAX_DEPTH {
                    return Err(too_many());
                }
                let children = self.children(child.oid)?;
                open.push((path, children, 0));
            }
        }
        Ok(())
    }
}

/// Finds paths of one commit. Thousands of bundles lie in few folders: the last folder is kept at hand.
#[derive(Debug)]
pub struct Finder<'r> {
    reader: &'r Reader,
    root: ObjectId,
    last: Option<(String, Arc<[Child]>)>,
}

impl Finder<'_> {
    /// What is at `path`; nothing when there is nothing. The empty path is the root folder.
    pub fn find(&mut self, path: &str) -> Result<Option<Entry>, ReadError> {
        let mut parts = paths::parts(path)?;
        let Some(name) = parts.pop() else {
            return Ok(Some(Entry { path: String::new(), kind: Kind::Tree, oid: self.root }));
        };
        let folder = parts.join("/");
        if self.last.as_ref().is_none_or(|(last, _)| *last != folder) {
            let mut children = self.reader.children(self.root)?;
            for part in parts {
                let Some(child) = named(&children, part).filter(|child| child.is_tree()) else {
                    return Ok(None);
                };
                children = self.reader.children(child.oid)?;
            }
            self.last = Some((folder, children));
        }
        let (folder, children) = self.last.as_ref().expect("it was set above");
        Ok(named(children, name).map(|child| Entry {
            path: join(folder, name),
            kind: child.kind,
            oid: child.oid,
        }))
    }
}

fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(mode: &str, name: &[u8]) -> Vec<u8> {
        let mut line = format!("{mode} ").into_bytes();
        line.extend_from_slice(name);
        line.push(0);
        line.extend_from_slice(&[7; 20]);
        line
    }

    #[test]
    fn kinds_and_odd_names_are_told_apart() {
        let cases: [(&str, &[u8], Kind); 12] = [
            ("100644", b"a.yaml", Kind::Blob),
            ("100664", b"old.yaml", Kind::Blob),
            ("100755", b"run", Kind::Executable),
            ("40000", b"folder", Kind::Tree),
            ("120000", b"link", Kind::Symlink),
            ("160000", b"module", Kind::Submodule),
            ("100644", b"\xff.yaml", Kind::Unnameable),
            ("100644", b"..", Kind::Unnameable),
            ("40000", b".GIT", Kind::Unnameable),
            ("100644", b"a/b", Kind::Unnameable),
            ("100644", b"a\\b", Kind::Unnameable),
            ("100644", b"a\nb", Kind::Unnameable),
        ];
        let data: Vec<u8> = cases.iter().flat_map(|(mode, name, _)| line(mode, name)).collect();
        let parsed = parse(&data).unwrap();
        for ((_, name, kind), child) in cases.iter().zip(&parsed) {
            assert_eq!(child.kind, *kind, "{}", String::from_utf8_lossy(name));
            assert!(!child.name.contains('\n'));
        }
        assert!(parse(&data[..data.len() - 1]).is_none());
        assert!(parse(b"100644").is_none());
        assert!(parse(b"rubbish name\0").is_none());
    }

    #[test]
    fn a_name_is_found_in_the_order_of_git() {
        // `a` and `foo` are folders: Git sorts them as `a/` and `foo/`.
        let entries: [(&str, &[u8]); 7] = [
            ("100644", b"a.b"),
            ("40000", b"a"),
            ("100644", b"a0"),
            ("100644", b"foo-bar"),
            ("40000", b"foo"),
            ("100644", b"foo0"),
            ("100644", b"z"),
        ];
        let data: Vec<u8> = entries.iter().flat_map(|(mode, name)| line(mode, name)).collect();
        let children = parse(&data).unwrap();
        for (_, name) in entries {
            let name = std::str::from_utf8(name).unwrap();
            assert_eq!(named(&children, name).map(|child| &*child.name), Some(name));
        }
        for absent in ["", "a/", "a1", "b", "fo", "zz"] {
            assert!(named(&children, absent).is_none(), "{absent}");
        }
        // One name that cannot be used upsets the order, and nothing else.
        let upset: Vec<u8> = [("100644", &b"b"[..]), ("100644", b"\xff"), ("100644", b"c")]
            .iter()
            .flat_map(|(m, n)| line(m, n))
            .collect();
        let children = parse(&upset).unwrap();
        assert!(named(&children, "c").is_some() && named(&children, "b").is_some());
    }
}

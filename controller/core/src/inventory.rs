//! What a repository declares, file by file, and how one commit's declarations follow from the last one's.
//!
//! Each object is Present, Absent or Unknown in a commit. An object that its file declared before is Unknown while
//! that file, or a document of it, cannot be read: it stays as it was (rule 5). Absent it is only in a commit that was
//! read in full, and a commit that would remove too much is refused until somebody says so.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use crate::{
    channel::Channel,
    diagnostic::{Code, Diagnostic, Location, Position},
    ids::{AppId, ChannelName},
    release::{Release, Source},
};

/// A typed document of the repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Object {
    /// A `Release`.
    Release(Box<Release>),
    /// A `Channel`.
    Channel(Box<Channel>),
}

impl Object {
    /// `metadata.name`.
    pub fn name(&self) -> &str {
        match self {
            Self::Release(r) => &r.name,
            Self::Channel(c) => &c.name,
        }
    }

    /// The app it belongs to.
    pub fn app(&self) -> &AppId {
        match self {
            Self::Release(r) => &r.app,
            Self::Channel(c) => &c.app,
        }
    }

    /// Kind and name, the identity of the object.
    pub fn key(&self) -> ObjectKey {
        self.id().key()
    }

    /// The same, borrowed.
    pub fn id(&self) -> ObjectId<'_> {
        match self {
            Self::Release(release) => ObjectId { kind: Kind::Release, name: &release.name },
            Self::Channel(channel) => ObjectId { kind: Kind::Channel, name: &channel.name },
        }
    }
}

/// The kinds that are read from Git.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// `Release`.
    Release,
    /// `Channel`.
    Channel,
}

/// Identity of an object inside its namespace.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ObjectKey {
    /// Kind.
    pub kind: Kind,
    /// `metadata.name`.
    pub name: String,
}

impl ObjectKey {
    /// The same, borrowed.
    pub fn id(&self) -> ObjectId<'_> {
        ObjectId { kind: self.kind, name: &self.name }
    }
}

impl std::fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.id().fmt(f)
    }
}

/// An [`ObjectKey`] that borrows its name: what thousands of objects are looked up by for each commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectId<'a> {
    /// Kind.
    pub kind: Kind,
    /// `metadata.name`.
    pub name: &'a str,
}

impl ObjectId<'_> {
    /// A key of its own.
    pub fn key(self) -> ObjectKey {
        ObjectKey { kind: self.kind, name: self.name.to_owned() }
    }
}

impl std::fmt::Display for ObjectId<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} {}", self.kind, self.name)
    }
}

/// An object with the place it was read from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Located {
    /// The object.
    pub object: Object,
    /// Where its document begins.
    pub at: Location,
    /// Where its fields are, by path (`spec.release`, `spec.releases[1].release`).
    #[serde(default)]
    pub fields: BTreeMap<String, Position>,
    /// It was not readable in this commit and stands as it was in an earlier one.
    #[serde(default)]
    pub stale: bool,
    /// This file has the name: of two documents of one name in a later commit, it keeps it.
    #[serde(default)]
    pub held: bool,
    /// Why it could not be put into force: it then stays as it was last served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<Code>,
}

impl Located {
    /// Where `field` is, else where the document begins.
    pub fn field(&self, field: &str) -> Location {
        self.fields.get(field).map_or_else(|| self.at.clone(), |at| at.within(&self.at.file))
    }
}

/// What one file declares.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FileEntry {
    /// Git object id of the content that was read.
    pub oid: String,
    /// Its objects, stale ones included.
    pub objects: Vec<Arc<Located>>,
    /// Its problems.
    #[serde(default)]
    pub problems: Vec<Diagnostic>,
    /// Whether every document of ours in it was understood.
    pub complete: bool,
}

/// What files declare, by path. An unchanged file is the same value in one commit and the next.
pub type FileEntries = BTreeMap<String, Arc<FileEntry>>;

/// What a repository declares.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Inventory {
    /// The commit, in full; empty before the first.
    pub commit: String,
    /// Version of the program that parsed it: another version parses every file again.
    pub parser: String,
    /// By path. Files without documents of ours are not listed.
    pub files: FileEntries,
    /// What is no longer declared, and still has to be removed from where it was put into force.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub leaving: BTreeSet<ObjectKey>,
}

/// The step from one commit to the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What the new commit declares, Unknown objects included as they were.
    pub next: Inventory,
    /// What it no longer declares.
    pub removed: Vec<Arc<Located>>,
}

impl Inventory {
    /// Every object, in the order of their files.
    pub fn objects(&self) -> impl Iterator<Item = &Arc<Located>> {
        self.files.values().flat_map(|file| &file.objects)
    }

    /// Every problem of a file.
    pub fn problems(&self) -> impl Iterator<Item = &Diagnostic> {
        self.files.values().flat_map(|file| &file.problems)
    }

    /// The step from `self` to a commit whose files were read as `files`.
    ///
    /// An incomplete file keeps the objects that it declared before and that no file declares now.
    pub fn step(&self, commit: String, parser: String, mut files: FileEntries) -> Step {
        let objects = || files.values().flat_map(|file| &file.objects);
        let present: HashSet<ObjectId<'_>> =
            objects().filter(|located| !located.stale).map(|located| located.object.id()).collect();
        let found: HashSet<ObjectKey> = objects()
            .filter(|located| located.stale && present.contains(&located.object.id()))
            .map(|located| located.object.key())
            .collect();
        let absent: Vec<(&String, &Arc<Located>)> = self
            .files
            .iter()
            .flat_map(|(path, file)| file.objects.iter().map(move |located| (path, located)))
            .filter(|(_, located)| !present.contains(&located.object.id()))
            .collect();
        let left = |located: &Arc<Located>| !(located.stale && found.contains(&located.object.key()));
        for file in files.values_mut().filter(|file| !file.objects.iter().all(left)) {
            Arc::make_mut(file).objects.retain(left);
        }
        let mut removed = Vec::new();
        for (path, located) in absent {
            match files.get_mut(path) {
                Some(now) if !now.complete => {
                    if now.objects.iter().all(|o| o.object.id() != located.object.id()) {
                        let located = Located { stale: true, ..Located::clone(located) };
                        Arc::make_mut(now).objects.push(Arc::new(located));
                    }
                }
                _ => removed.push(Arc::clone(located)),
            }
        }
        self.hand_on_names(&mut files);
        let mut next = Self { commit, parser, files, leaving: self.leaving.clone() };
        next.leaving.extend(removed.iter().map(|located| located.object.key()));
        next.keep_declared();
        Step { next, removed }
    }

    /// Notes in `files` which document has each name. What was read a moment ago is nobody else's yet, and is not copied
    /// for that.
    fn hand_on_names(&self, files: &mut FileEntries) {
        let before = holders(self.objects());
        let had = |located: &Located| {
            before.get(&located.object.id()).is_some_and(|holder| holder.at.file == located.at.file)
        };
        let objects = || files.values().flat_map(|file| &file.objects);
        let now = holders_by(objects(), had);
        let has = |located: &Arc<Located>| Arc::ptr_eq(now[&located.object.id()], located);
        let held: Vec<bool> = objects().map(has).collect();
        let mut rest = &held[..];
        for file in files.values_mut() {
            let held = rest.split_off(..file.objects.len()).unwrap_or_default();
            if file.objects.iter().zip(held).all(|(located, held)| located.held == *held) {
                continue;
            }
            for (located, held) in Arc::make_mut(file).objects.iter_mut().zip(held) {
                if located.held != *held {
                    Arc::make_mut(located).held = *held;
                }
            }
        }
    }

    /// What is declared does not leave.
    fn keep_declared(&mut self) {
        if self.leaving.is_empty() {
            return;
        }
        let declared: HashSet<ObjectId<'_>> =
            self.files.values().flat_map(|file| &file.objects).map(|located| located.object.id()).collect();
        self.leaving.retain(|key| !declared.contains(&key.id()));
    }
}

/// Of the documents of one kind and name, the one that counts: one that was read rather than one that was not, one that
/// had the name already, then the first by file and line.
pub fn holders<'a>(
    objects: impl IntoIterator<Item = &'a Arc<Located>>,
) -> HashMap<ObjectId<'a>, &'a Arc<Located>> {
    holders_by(objects, |located| located.held)
}

fn holders_by<'a>(
    objects: impl IntoIterator<Item = &'a Arc<Located>>,
    had: impl Fn(&Located) -> bool,
) -> HashMap<ObjectId<'a>, &'a Arc<Located>> {
    let mut holders: HashMap<ObjectId<'_>, &Arc<Located>> = HashMap::new();
    for located in objects {
        let rank = |located: &'a Arc<Located>| (located.stale, !had(located), &located.at);
        let holder = holders.entry(located.object.id()).or_insert(located);
        if rank(located) < rank(holder) {
            *holder = located;
        }
    }
    holders
}

/// Leaves out the files that stand below a bundle: what an app contains is never read as manifests.
///
/// A release that stands inside its own bundle hides nothing, and neither does one inside another release's bundle.
/// Says how many were left out.
pub fn leave_out_bundles(files: &mut FileEntries) -> usize {
    let is_below =
        |path: &str, folder: &str| path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'));
    let below = |path: &str, bundles: &HashSet<&str>| {
        path.match_indices('/').any(|(slash, _)| bundles.contains(&path[..slash]))
    };
    let all: Vec<(&str, &str)> = files
        .iter()
        .flat_map(|(path, file)| file.objects.iter().map(move |located| (path.as_str(), &located.object)))
        .filter_map(|(path, object)| match object {
            Object::Release(release) => match &release.source {
                Source::Path(bundle) => Some((path, bundle.as_str())),
                Source::Https { .. } | Source::Oci { .. } => None,
            },
            Object::Channel(_) => None,
        })
        .filter(|(path, bundle)| !bundle.is_empty() && !is_below(path, bundle))
        .collect();
    let any: HashSet<&str> = all.iter().map(|(_, bundle)| *bundle).collect();
    let outside = all.iter().filter(|(path, _)| !below(path, &any));
    let bundles: HashSet<&str> = outside.map(|(_, bundle)| *bundle).collect();
    let inside: Vec<String> = files.keys().filter(|path| below(path, &bundles)).cloned().collect();
    for path in &inside {
        files.remove(path);
    }
    inside.len()
}

/// What the guard needs to know beside the step.
#[derive(Debug, Clone, Default)]
pub struct PruneGuard {
    /// The highest `Sluice-Allow-Prune` among the commits since the last applied one.
    pub allowed: usize,
    /// Channels that devices used lately.
    pub in_use: BTreeSet<(AppId, ChannelName)>,
}

impl PruneGuard {
    /// Refuses a mass delete (rule 5): more than half of the objects and at least five, or any channel that serves
    /// devices, unless a trailer allows at least that many.
    ///
    /// Returns the problem to report when the step must not be taken.
    pub fn refuse(&self, before: &Inventory, step: &Step) -> Option<Diagnostic> {
        let removed = step.removed.len();
        let total = before.objects().count();
        let mass = removed >= 5 && removed * 2 > total;
        let used = step.removed.iter().find(|located| match &located.object {
            Object::Channel(c) => self.in_use.contains(&(c.app.clone(), c.channel.clone())),
            Object::Release(_) => false,
        });
        if self.allowed >= removed || !(mass || used.is_some()) {
            return None;
        }
        let what = match used {
            Some(located) => format!(
                "the commit removes {} objects, among them channel {}, which devices use",
                removed,
                located.object.name()
            ),
            None => format!("the commit removes {removed} of {total} objects"),
        };
        let at = step.removed.first().map(|located| located.at.clone()).unwrap_or_default();
        let message = format!(
            "{what}; nothing was removed and everything is served as before. To go through with it, push a commit with \
             the trailer `Sluice-Allow-Prune: {removed}`"
        );
        Some(Diagnostic::new(Code::PruneRefused, Location { line: 0, column: 0, ..at }, message))
    }
}

impl Step {
    /// The same step with everything that it would remove kept as it was.
    #[must_use]
    pub fn keeping_removed(mut self) -> Self {
        for located in std::mem::take(&mut self.removed) {
            let file = self.next.files.entry(located.at.file.clone()).or_insert_with(|| {
                Arc::new(FileEntry {
                    oid: String::new(),
                    objects: Vec::new(),
                    problems: Vec::new(),
                    complete: false,
                })
            });
            // The file stays as complete as it was read: the next commit that leaves it alone asks again what it removes.
            Arc::make_mut(file).objects.push(Arc::new(Located { stale: true, ..Located::clone(&located) }));
        }
        self.next.keep_declared();
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::{Access, Line, Platforms, Target};

    fn channel(file: &str, name: &str) -> Located {
        let line = Line { native: None, platforms: Platforms::ALL, target: Target::Builtin };
        Located {
            object: Object::Channel(Box::new(Channel::new(
                name.into(),
                "com.example.shop".parse().unwrap(),
                name.parse().unwrap(),
                vec![line],
                Access::default(),
            ))),
            at: Location { file: file.into(), line: 1, column: 1 },
            fields: BTreeMap::new(),
            stale: false,
            held: false,
            refused: None,
        }
    }

    fn files(list: &[(&str, &[&str], bool)]) -> FileEntries {
        list.iter()
            .map(|(path, names, complete)| {
                let objects = names.iter().map(|name| Arc::new(channel(path, name))).collect();
                let entry = FileEntry {
                    oid: format!("{names:?}"),
                    objects,
                    problems: Vec::new(),
                    complete: *complete,
                };
                ((*path).to_owned(), Arc::new(entry))
            })
            .collect()
    }

    fn first(list: &[(&str, &[&str], bool)]) -> Inventory {
        Inventory::default().step("1".into(), String::new(), files(list)).next
    }

    fn names(inventory: &Inventory) -> Vec<String> {
        inventory.objects().map(|o| o.object.name().to_owned()).collect()
    }

    #[test]
    fn an_unreadable_document_keeps_what_its_file_declared() {
        let before = first(&[("a.yaml", &["a", "b"], true), ("c.yaml", &["c"], true)]);
        let step = before.step(
            "2".into(),
            String::new(),
            files(&[("a.yaml", &["a"], false), ("c.yaml", &["c"], true)]),
        );
        assert!(step.removed.is_empty());
        assert_eq!(names(&step.next), ["a", "b", "c"]);
        let again = step.next.step(
            "3".into(),
            String::new(),
            files(&[("a.yaml", &[], false), ("c.yaml", &["c"], true)]),
        );
        assert_eq!(names(&again.next), ["a", "b", "c"], "Unknown twice in a row");
        let mended = again.next.step(
            "4".into(),
            String::new(),
            files(&[("a.yaml", &["a"], true), ("c.yaml", &["c"], true)]),
        );
        assert_eq!(names(&mended.next), ["a", "c"]);
        assert_eq!(mended.removed.len(), 1);
    }

    #[test]
    fn of_two_documents_of_one_name_the_one_that_was_applied_keeps_it() {
        let before = first(&[("m.yaml", &["a"], true)]);
        let both = files(&[("a.yaml", &["a"], true), ("m.yaml", &["a"], true)]);
        let second = before.step("2".into(), String::new(), both.clone()).next;
        assert_eq!(holders(second.objects()).into_values().next().unwrap().at.file, "m.yaml");
        let third = second.step("3".into(), String::new(), both).next;
        assert_eq!(holders(third.objects()).into_values().next().unwrap().at.file, "m.yaml");
        let moved = third.step("4".into(), String::new(), files(&[("a.yaml", &["a"], true)]));
        assert!(moved.removed.is_empty());
    }

    #[test]
    fn an_object_that_moved_to_another_file_is_present() {
        let before = first(&[("a.yaml", &["a"], true)]);
        let step = before.step(
            "2".into(),
            String::new(),
            files(&[("a.yaml", &[], false), ("b.yaml", &["a"], true)]),
        );
        assert_eq!(names(&step.next), ["a"]);
        assert!(step.removed.is_empty());
    }

    #[test]
    fn the_content_of_bundles_is_not_read() {
        let release = |file: &str, bundle: &str| {
            let mut located = crate::resolve::tests::release("r", "1.0.0");
            let edited = Arc::make_mut(&mut located);
            edited.at.file = file.into();
            if let Object::Release(release) = &mut edited.object {
                release.source = Source::Path(bundle.into());
            }
            let objects = vec![located];
            Arc::new(FileEntry { oid: String::new(), objects, problems: Vec::new(), complete: true })
        };
        let mut all = files(&[("channels/a.yaml", &["a"], true), ("bundles/1-x/c.yaml", &["c"], true)]);
        all.insert("releases/1.yaml".into(), release("releases/1.yaml", "bundles/1"));
        all.insert("bundles/1/x/evil.yaml".into(), release("bundles/1/x/evil.yaml", "channels"));
        all.insert("own/r.yaml".into(), release("own/r.yaml", "own"));
        leave_out_bundles(&mut all);
        let left: Vec<&str> = all.keys().map(String::as_str).collect();
        assert_eq!(left, ["bundles/1-x/c.yaml", "channels/a.yaml", "own/r.yaml", "releases/1.yaml"]);
    }

    #[test]
    fn a_mass_delete_needs_the_trailer() {
        let before = first(&[("a.yaml", &["a", "b", "c", "d", "e", "f", "g", "h"], true)]);
        let step = before.step("2".into(), String::new(), files(&[("a.yaml", &["a"], true)]));
        let refused = PruneGuard::default().refuse(&before, &step).unwrap();
        assert!(refused.message.contains("Sluice-Allow-Prune: 7"), "{}", refused.message);
        assert!(PruneGuard { allowed: 6, ..PruneGuard::default() }.refuse(&before, &step).is_some());
        assert!(PruneGuard { allowed: 7, ..PruneGuard::default() }.refuse(&before, &step).is_none());
        assert_eq!(names(&step.keeping_removed().next).len(), 8);
    }

    #[test]
    fn what_was_kept_leaves_with_a_later_commit_that_allows_it() {
        let before = first(&[("a.yaml", &["a", "b"], true), ("c.yaml", &["c"], true)]);
        let now = files(&[("a.yaml", &["a"], true)]);
        let refused = before.step("2".into(), String::new(), now.clone());
        assert_eq!(refused.removed.len(), 2);
        let kept = refused.keeping_removed().next;
        assert_eq!(names(&kept), ["a", "b", "c"]);
        let next = kept.step("3".into(), String::new(), now);
        assert_eq!(next.removed.len(), 2, "a file that only lost a document as well as one that is gone");
        assert_eq!(names(&next.next), ["a"]);
    }

    #[test]
    fn a_channel_in_use_needs_the_trailer() {
        let before = first(&[("a.yaml", &["a", "b"], true)]);
        let step = before.step("2".into(), String::new(), files(&[("a.yaml", &["a"], true)]));
        assert!(PruneGuard::default().refuse(&before, &step).is_none());
        let in_use = [("com.example.shop".parse().unwrap(), "b".parse().unwrap())].into();
        assert!(PruneGuard { allowed: 0, in_use }.refuse(&before, &step).is_some());
    }
}

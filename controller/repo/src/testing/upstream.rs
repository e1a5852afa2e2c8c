//! A bare repository that tests commit to without a checkout.

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicI64, Ordering},
};

use git2::{
    FileMode, ObjectType, Oid, Repository, RepositoryInitOptions, Signature, Time, build::TreeUpdateBuilder,
};
use tempfile::TempDir;

use crate::{CommitId, Reference, RepositoryUrl, SourceSettings};

/// A bare repository in a temporary folder.
#[derive(Debug)]
pub struct Upstream {
    folder: TempDir,
    /// Commits get rising times, the same in every run.
    clock: AtomicI64,
}

/// What a commit changes.
#[derive(Debug, Default)]
pub struct Changes {
    steps: Vec<(Vec<u8>, Step)>,
    message: Option<String>,
}

#[derive(Debug)]
enum Step {
    Put(Vec<u8>, FileMode),
    Submodule,
    Remove,
}

impl Changes {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Writes a file.
    #[must_use]
    pub fn file(self, path: &str, content: impl AsRef<[u8]>) -> Self {
        self.raw(path.as_bytes(), content)
    }

    /// Writes a file whose path need not be UTF-8.
    #[must_use]
    pub fn raw(mut self, path: &[u8], content: impl AsRef<[u8]>) -> Self {
        self.steps.push((path.to_vec(), Step::Put(content.as_ref().to_vec(), FileMode::Blob)));
        self
    }

    /// Writes a symbolic link.
    #[must_use]
    pub fn symlink(mut self, path: &str, target: &str) -> Self {
        self.steps.push((path.into(), Step::Put(target.into(), FileMode::Link)));
        self
    }

    /// Adds a submodule.
    #[must_use]
    pub fn submodule(mut self, path: &str) -> Self {
        self.steps.push((path.into(), Step::Submodule));
        self
    }

    /// Removes a file or folder.
    #[must_use]
    pub fn remove(mut self, path: &str) -> Self {
        self.steps.push((path.into(), Step::Remove));
        self
    }

    /// Sets the message of the commit.
    #[must_use]
    pub fn message(mut self, message: &str) -> Self {
        self.message = Some(message.to_owned());
        self
    }
}

impl Default for Upstream {
    fn default() -> Self {
        Self::new()
    }
}

impl Upstream {
    /// An empty repository.
    pub fn new() -> Self {
        crate::init();
        let folder = tempfile::tempdir().unwrap();
        let mut options = RepositoryInitOptions::new();
        options.bare(true).mkpath(true).external_template(false).initial_head("main");
        Repository::init_opts(folder.path().join("releases.git"), &options).unwrap();
        Self { folder, clock: AtomicI64::new(1_790_000_000) }
    }

    /// Where it is.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("releases.git")
    }

    /// Its address as a local path.
    pub fn url(&self) -> RepositoryUrl {
        self.path().to_str().unwrap().parse().unwrap()
    }

    /// Settings that follow its branch `main` by path.
    pub fn settings(&self) -> SourceSettings {
        SourceSettings::new(self.url(), Reference::branch("main").unwrap())
    }

    /// Commits to `main`.
    pub fn commit(&self, changes: Changes) -> CommitId {
        self.commit_on("main", changes)
    }

    /// Commits to a branch, which is made when it is not there.
    #[expect(clippy::needless_pass_by_value, reason = "changes are made for one commit")]
    pub fn commit_on(&self, branch: &str, changes: Changes) -> CommitId {
        let repository = self.open();
        let name = format!("refs/heads/{branch}");
        loop {
            let parent = repository.refname_to_id(&name).ok();
            let commit = self.write(&repository, parent, &changes);
            // Others may push at the same time, and what they pushed stays.
            let moved = match parent {
                Some(parent) => repository.reference_matching(&name, commit, true, parent, "test"),
                None => repository.reference(&name, commit, false, "test"),
            };
            if moved.is_ok() {
                return CommitId::from_git(commit);
            }
        }
    }

    /// Moves a branch to a new commit on `parent`, whatever it was before: a force push.
    #[expect(clippy::needless_pass_by_value, reason = "changes are made for one commit")]
    pub fn rewrite(&self, branch: &str, parent: Option<CommitId>, changes: Changes) -> CommitId {
        let repository = self.open();
        let commit = self.write(&repository, parent.map(CommitId::git), &changes);
        repository.reference(&format!("refs/heads/{branch}"), commit, true, "test").unwrap();
        CommitId::from_git(commit)
    }

    /// Moves a branch to a commit, whatever it was before.
    pub fn reset(&self, branch: &str, commit: CommitId) {
        self.open().reference(&format!("refs/heads/{branch}"), commit.git(), true, "test").unwrap();
    }

    /// Deletes a branch.
    pub fn delete_branch(&self, branch: &str) {
        self.open().find_reference(&format!("refs/heads/{branch}")).unwrap().delete().unwrap();
    }

    /// The tip of a branch.
    pub fn tip(&self, branch: &str) -> Option<CommitId> {
        self.open().refname_to_id(&format!("refs/heads/{branch}")).ok().map(CommitId::from_git)
    }

    /// Lets everybody push over HTTP.
    pub fn take_pushes(&self) {
        self.open().config().unwrap().set_bool("http.receivepack", true).unwrap();
    }

    /// Runs a shell script before a push is taken; one that fails refuses it.
    pub fn pre_receive(&self, script: &str) {
        use std::os::unix::fs::PermissionsExt as _;
        let file = self.path().join("hooks/pre-receive");
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Sets a lightweight tag.
    pub fn tag(&self, name: &str, commit: CommitId) {
        self.open().reference(&format!("refs/tags/{name}"), commit.git(), true, "test").unwrap();
    }

    /// Sets an annotated tag.
    pub fn annotated_tag(&self, name: &str, commit: CommitId) {
        let repository = self.open();
        let target = repository.find_object(commit.git(), Some(ObjectType::Commit)).unwrap();
        repository.tag(name, &target, &self.signature(), "A tag.", true).unwrap();
    }

    /// The folder above it, which servers serve.
    pub(super) fn parent(&self) -> &Path {
        self.folder.path()
    }

    fn open(&self) -> Repository {
        Repository::open_bare(self.path()).unwrap()
    }

    fn signature(&self) -> Signature<'static> {
        let time = self.clock.fetch_add(1, Ordering::Relaxed);
        Signature::new("Ada Example", "ada@example.org", &Time::new(time, 0)).unwrap()
    }

    fn write(&self, repository: &Repository, parent: Option<Oid>, changes: &Changes) -> Oid {
        let parent = parent.map(|id| repository.find_commit(id).unwrap());
        let base = match &parent {
            Some(commit) => commit.tree().unwrap(),
            None => repository.find_tree(repository.treebuilder(None).unwrap().write().unwrap()).unwrap(),
        };
        let mut update = TreeUpdateBuilder::new();
        for (path, step) in &changes.steps {
            let path = path.as_slice();
            match step {
                Step::Put(content, mode) => {
                    update.upsert(path, repository.blob(content).unwrap(), *mode);
                }
                Step::Submodule => {
                    let elsewhere = Oid::from_str("1234567890123456789012345678901234567890").unwrap();
                    update.upsert(path, elsewhere, FileMode::Commit);
                }
                Step::Remove => {
                    update.remove(path);
                }
            }
        }
        let tree = repository.find_tree(update.create_updated(repository, &base).unwrap()).unwrap();
        let author = self.signature();
        let message = changes.message.as_deref().unwrap_or("Change things");
        let parents: Vec<_> = parent.iter().collect();
        repository.commit(None, &author, &author, message, &tree, &parents).unwrap()
    }
}

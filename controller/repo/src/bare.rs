//! A bare repository of this machine that this program makes and commits to, without a clone and without Git.

use std::path::{Path, PathBuf};

use git2::{Repository, RepositoryInitOptions, Signature, Time};

use crate::{
    draft::{Edit, Identity, edited},
    ids::CommitId,
};

/// A repository that could not be made or written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the repository {} cannot be written: {detail}", path.display())]
pub struct WriteError {
    path: PathBuf,
    detail: String,
}

/// A bare repository, and the branch that is committed to.
#[derive(Debug, Clone)]
pub struct Bare {
    path: PathBuf,
    branch: String,
}

impl Bare {
    /// Makes an empty repository whose HEAD is `branch`. Fails where there is one already.
    pub fn create(path: impl Into<PathBuf>, branch: &str) -> Result<Self, WriteError> {
        crate::sys::init();
        let made = Self { path: path.into(), branch: branch.to_owned() };
        let mut options = RepositoryInitOptions::new();
        options.bare(true).no_reinit(true).mkpath(true).external_template(false).initial_head(branch);
        Repository::init_opts(&made.path, &options).map_err(|error| made.failed(&error))?;
        Ok(made)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Commits `edits` on top of the branch, at `time` (seconds since 1970). Fails when the branch moves meanwhile.
    pub fn commit(
        &self,
        edits: &[Edit],
        identity: &Identity,
        time: i64,
        message: &str,
    ) -> Result<CommitId, WriteError> {
        self.write(edits, identity, time, message).map_err(|error| self.failed(&error))
    }

    fn write(
        &self,
        edits: &[Edit],
        identity: &Identity,
        time: i64,
        message: &str,
    ) -> Result<CommitId, git2::Error> {
        let repository = Repository::open_bare(&self.path)?;
        let name = format!("refs/heads/{}", self.branch);
        let parent = match repository.refname_to_id(&name) {
            Ok(tip) => Some(repository.find_commit(tip)?),
            Err(error) if error.code() == git2::ErrorCode::NotFound => None,
            Err(error) => return Err(error),
        };
        let base = match &parent {
            Some(commit) => commit.tree()?,
            None => repository.find_tree(repository.treebuilder(None)?.write()?)?,
        };
        let tree = repository.find_tree(edited(&repository, &base, edits)?)?;
        let signature = Signature::new(&identity.name, &identity.email, &Time::new(time, 0))?;
        let parents: Vec<_> = parent.iter().collect();
        // It refuses a parent that is not the tip any more.
        let id = repository.commit(Some(&name), &signature, &signature, message, &tree, &parents)?;
        Ok(CommitId::from_git(id))
    }

    fn failed(&self, error: &git2::Error) -> WriteError {
        WriteError { path: self.path.clone(), detail: error.message().to_owned() }
    }
}

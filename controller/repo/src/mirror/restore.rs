//! Taking a commit back on top of a later one by exact restore: each path that it changed gets back what was there before,
//! and only when nobody touched that path since.
//!
//! libgit2 has a revert, which is not Git's: measured over many thousand random histories it edited other files than Git
//! does, and was clean where Git finds a conflict. An exact restore was never wrong.

use git2::{Delta, DiffFindOptions};

use super::{Entry, Kind, PathFilter, Reader};
use crate::{
    draft::{Content, Edit},
    error::ReadError,
    ids::CommitId,
};

/// Share of its content, in percent, at which a file that went and one that came are one that was renamed, as in Git.
const SIMILAR: u16 = 50;
/// Files that went or came, beyond which nobody compares them with each other.
const MOST_COMPARED: usize = 1_000;

/// Why a commit cannot be taken back exactly.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotExact {
    /// It is the first commit.
    #[error("nothing is before it")]
    First,
    /// It moved files.
    #[error("it renames files")]
    Renames,
    /// A path that it changed was changed again.
    #[error("`{0}` was changed since")]
    Changed(String),
    /// The folder of a file that it deleted is gone.
    #[error("the folder of `{0}` is gone")]
    FolderGone(String),
    /// A path is a folder, a link or a submodule on one of the sides, or cannot be used as one.
    #[error("`{0}` is not a plain file everywhere")]
    NotAFile(String),
}

impl Reader {
    /// What must change on `tip` so that `bad` was never made: its first parent's content of every path that it changed.
    /// An empty list: that is so already.
    pub fn exact_restore(
        &self,
        bad: CommitId,
        tip: CommitId,
    ) -> Result<Result<Vec<Edit>, NotExact>, ReadError> {
        let Some(parent) = self.commit(bad)?.parents.first().copied() else {
            return Ok(Err(NotExact::First));
        };
        let Some(changes) = self.changes((parent, bad), "", &PathFilter::default())? else {
            return Ok(Err(NotExact::NotAFile("a name that is no text".to_owned())));
        };
        let (mut before, mut now) = (self.finder(parent)?, self.finder(tip)?);
        let mut edits = Vec::new();
        let (mut went, mut came) = (0, 0);
        for change in changes {
            let path = change.path;
            let (Some(was), Some(made), Some(found)) = (
                side(before.find(&path)?.as_ref()),
                side(change.entry.as_ref()),
                side(now.find(&path)?.as_ref()),
            ) else {
                return Ok(Err(NotExact::NotAFile(path)));
            };
            went += usize::from(was.is_some() && made.is_none());
            came += usize::from(was.is_none() && made.is_some());
            if was.is_some() && found == was {
                continue;
            }
            if found != made {
                return Ok(Err(NotExact::Changed(path)));
            }
            let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
            let mut gone = || Ok(now.find(folder)?.is_none_or(|entry| entry.kind != Kind::Tree));
            if made.is_none() && gone()? {
                return Ok(Err(NotExact::FolderGone(path)));
            }
            let content = was.map_or(Content::Absent, |(executable, id)| Content::Known { executable, id });
            edits.push(Edit { path, content });
        }
        if went > 0 && came > 0 && self.renames((parent, bad), went.max(came))? {
            return Ok(Err(NotExact::Renames));
        }
        edits.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(Ok(edits))
    }

    /// Whether Git would say that files were renamed between two commits.
    fn renames(&self, (from, to): (CommitId, CommitId), files: usize) -> Result<bool, ReadError> {
        if files > MOST_COMPARED {
            return Ok(true);
        }
        self.retry(to.git(), |repository| {
            let tree = |commit: CommitId| repository.find_commit(commit.git())?.tree();
            let mut diff = repository.diff_tree_to_tree(Some(&tree(from)?), Some(&tree(to)?), None)?;
            diff.find_similar(Some(DiffFindOptions::new().renames(true).rename_threshold(SIMILAR)))?;
            Ok(diff.deltas().any(|delta| delta.status() == Delta::Renamed))
        })
    }
}

/// What is on one side: nothing, or a file; `None`: something else.
#[expect(clippy::option_option, reason = "the outer one says whether it can be worked with at all")]
fn side(entry: Option<&Entry>) -> Option<Option<(bool, crate::ids::ObjectId)>> {
    match entry {
        None => Some(None),
        Some(Entry { kind: Kind::Blob, oid, .. }) => Some(Some((false, *oid))),
        Some(Entry { kind: Kind::Executable, oid, .. }) => Some(Some((true, *oid))),
        Some(_) => None,
    }
}

//! Commits: who, when, why, and which lie between two of them.

use git2::Sort;

use super::Reader;
use crate::{
    error::ReadError,
    ids::{CommitId, ObjectId},
};

/// Longest message that is kept of one commit.
const MAX_MESSAGE: usize = 64 << 10;

/// A commit in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitInfo {
    /// Its id.
    pub id: CommitId,
    /// Its root folder.
    pub tree: ObjectId,
    /// When it was committed, in seconds since 1970. Whoever commits chooses it.
    pub time: i64,
    /// Name of the author.
    pub author: String,
    /// Mail address of the author.
    pub email: String,
    /// Its message, cut at 64 KiB.
    pub message: String,
    /// Its parents, the first one first.
    pub parents: Vec<CommitId>,
}

impl CommitInfo {
    /// The first line of its message.
    pub fn subject(&self) -> &str {
        self.message.lines().find(|line| !line.trim().is_empty()).unwrap_or_default().trim()
    }
}

/// The commits between two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Messages {
    /// Newest first.
    pub commits: Vec<CommitInfo>,
    /// There are more than were asked for.
    pub truncated: bool,
}

impl Messages {
    /// How many deletions the newest trailer among them allows.
    pub fn allowed_prune(&self) -> Option<u64> {
        self.commits.iter().find_map(|commit| crate::trailers::allowed_prune(&commit.message))
    }
}

impl Reader {
    /// A commit in words.
    pub fn commit(&self, id: CommitId) -> Result<CommitInfo, ReadError> {
        self.retry(id.git(), |repository| {
            let commit = repository.find_commit(id.git())?;
            let mut message = String::from_utf8_lossy(commit.message_bytes()).into_owned();
            if message.len() > MAX_MESSAGE {
                message.truncate(message.floor_char_boundary(MAX_MESSAGE));
            }
            let by = commit.author();
            let author = String::from_utf8_lossy(by.name_bytes()).into_owned();
            let email = String::from_utf8_lossy(by.email_bytes()).into_owned();
            Ok(CommitInfo {
                id,
                tree: ObjectId::from_git(commit.tree_id()),
                time: commit.time().seconds(),
                author,
                email,
                message,
                parents: commit.parent_ids().map(CommitId::from_git).collect(),
            })
        })
    }

    /// The commits that lead to `to` and not to `from`, newest first, at most `limit`. Without `from` it is `to` alone.
    pub fn messages(
        &self,
        from: Option<CommitId>,
        to: CommitId,
        limit: usize,
    ) -> Result<Messages, ReadError> {
        let Some(from) = from else {
            return Ok(Messages { commits: vec![self.commit(to)?], truncated: false });
        };
        let ids = self.retry(to.git(), |repository| {
            // The walk itself would take an absent commit for one that hides nothing.
            repository.find_commit(from.git())?;
            let mut walk = repository.revwalk()?;
            walk.set_sorting(Sort::TOPOLOGICAL | Sort::TIME)?;
            walk.push(to.git())?;
            walk.hide(from.git())?;
            walk.take(limit.saturating_add(1)).collect::<Result<Vec<_>, _>>()
        })?;
        let truncated = ids.len() > limit;
        let commits = ids
            .into_iter()
            .take(limit)
            .map(|id| self.commit(CommitId::from_git(id)))
            .collect::<Result<_, _>>()?;
        Ok(Messages { commits, truncated })
    }

    /// The newest commit that leads to `tip`, and was committed after `since` (seconds since 1970), whose trailers `wanted`
    /// takes. Of a longer history than `limit` commits the rest is not looked at.
    pub fn find_trailer(
        &self,
        tip: CommitId,
        since: i64,
        limit: usize,
        wanted: impl Fn(&str, &str) -> bool,
    ) -> Result<Option<CommitId>, ReadError> {
        self.retry(tip.git(), |repository| {
            let mut walk = repository.revwalk()?;
            walk.set_sorting(Sort::TIME)?;
            walk.push(tip.git())?;
            for id in walk.take(limit) {
                let commit = repository.find_commit(id?)?;
                if commit.time().seconds() < since {
                    return Ok(None);
                }
                let message = String::from_utf8_lossy(commit.message_bytes());
                if crate::trailers::parse(&message).into_iter().any(|(key, value)| wanted(key, value)) {
                    return Ok(Some(CommitId::from_git(commit.id())));
                }
            }
            Ok(None)
        })
    }

    /// Whether `old` is `new` or among its ancestors. An error when either cannot be read.
    pub fn contains(&self, new: CommitId, old: CommitId) -> Result<bool, ReadError> {
        if new == old {
            return Ok(true);
        }
        self.retry(new.git(), |repository| repository.graph_descendant_of(new.git(), old.git()))
    }

    /// Whether a commit is in this repository.
    pub fn has(&self, id: CommitId) -> bool {
        self.git().find_commit(id.git()).is_ok() || self.commit(id).is_ok()
    }
}

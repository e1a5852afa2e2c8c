//! What is asked of a Git host.

use std::fmt;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{error::ForgeError, kind::ForgeKind};

/// One repository at a Git host.
#[async_trait]
pub trait Forge: fmt::Debug + Send + Sync {
    /// Which host it is.
    fn kind(&self) -> ForgeKind;

    /// Opens a pull request, or finds the one that its branch has already, be it open, merged or closed: an open one before
    /// others, then the newest. Those who ask at the same time get the same one. The branch must have been pushed.
    async fn propose(&self, proposal: &Proposal) -> Result<PullRequest, ForgeError>;

    /// What has become of a pull request.
    async fn state(&self, pull_request: &PullRequest) -> Result<State, ForgeError>;

    /// Says something on a pull request. Saying it twice is seen twice.
    async fn comment(&self, pull_request: &PullRequest, text: &str) -> Result<(), ForgeError>;

    /// Closes a pull request without merging it. One that is merged or closed stays as it is.
    async fn close(&self, pull_request: &PullRequest) -> Result<(), ForgeError>;

    /// Shows a status on a commit, in place of the one before with the same context.
    async fn commit_status(&self, status: &CommitStatus) -> Result<(), ForgeError>;
}

/// A pull request that is wanted. Texts that are longer than a host takes are cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// The branch with the commits, of the same repository, without `refs/heads/`.
    pub head: String,
    /// The branch that they are for.
    pub base: String,
    /// One line.
    pub title: String,
    /// Markdown.
    pub body: String,
    /// Labels, as far as the host has them: Bitbucket has none, Gitea only those that the repository has. A label that cannot
    /// be set is no error.
    pub labels: Vec<String>,
}

/// A pull request of a repository (a merge request, on GitLab).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PullRequest {
    /// Its number, as people see it.
    pub number: u64,
    /// Where people see it: http or https.
    pub url: String,
}

/// What has become of a pull request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// It waits.
    Open,
    /// Its commits are on the branch that they were for, in some form.
    Merged,
    /// It was closed without that.
    Closed,
}

/// What is shown on a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitStatus {
    /// The commit's full id.
    pub commit: String,
    /// Tells it from the statuses of others, and stays the same over time: `sluice/shop-production`.
    pub context: String,
    /// How it is.
    pub state: CommitState,
    /// One line for people; cut at 140 characters where the host takes no more.
    pub description: String,
    /// Where to read more.
    pub url: Option<url::Url>,
}

/// How a commit is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CommitState {
    /// Not known yet.
    Pending,
    /// Well.
    Success,
    /// Not well.
    Failure,
}

/// The one among several pull requests of a branch, which are given newest first.
pub(crate) fn best(found: impl IntoIterator<Item = (State, PullRequest)>) -> Option<PullRequest> {
    let mut found: Vec<_> = found.into_iter().collect();
    found.sort_by_key(|(state, _)| *state != State::Open);
    found.into_iter().next().map(|(_, pull_request)| pull_request)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_one_is_the_best_and_then_the_newest() {
        let one = |number| PullRequest { number, url: String::new() };
        let best =
            |found: &[(State, u64)]| best(found.iter().map(|&(state, n)| (state, one(n)))).map(|p| p.number);
        assert_eq!(best(&[(State::Closed, 3), (State::Open, 2), (State::Open, 1)]), Some(2));
        assert_eq!(best(&[(State::Closed, 3), (State::Merged, 2)]), Some(3));
        assert_eq!(best(&[]), None);
    }
}

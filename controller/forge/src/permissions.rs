//! What a token must be allowed, by host. `docs/rollback.md` has the same as a table.

use crate::kind::ForgeKind;

/// What was tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// [`Forge::propose`](crate::Forge::propose).
    Propose,
    /// [`Forge::state`](crate::Forge::state).
    State,
    /// [`Forge::comment`](crate::Forge::comment).
    Comment,
    /// [`Forge::close`](crate::Forge::close).
    Close,
    /// [`Forge::commit_status`](crate::Forge::commit_status).
    CommitStatus,
}

impl Operation {
    /// What it is, for people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Propose => "open a pull request",
            Self::State => "read a pull request",
            Self::Comment => "comment on a pull request",
            Self::Close => "close a pull request",
            Self::CommitStatus => "set a commit status",
        }
    }

    /// What the token must be allowed for it.
    pub const fn permission(self, kind: ForgeKind) -> &'static str {
        match (kind, self) {
            (ForgeKind::GitHub, Self::CommitStatus) => {
                "repository permission \"Commit statuses: read and write\" (classic tokens: scope repo)"
            }
            (ForgeKind::GitHub, Self::State) => {
                "repository permission \"Pull requests: read\" (classic tokens: scope repo)"
            }
            (ForgeKind::GitHub, _) => {
                "repository permission \"Pull requests: read and write\" (classic tokens: scope repo)"
            }
            (ForgeKind::GitLab, Self::CommitStatus) => {
                "scope api and role Developer; for a commit of a protected branch a role that may push to it"
            }
            (ForgeKind::GitLab, _) => "scope api and role Developer",
            (ForgeKind::Gitea, Self::State) => "scope read:repository",
            (ForgeKind::Gitea, Self::Comment) => "scope write:issue, and access to pull requests",
            (ForgeKind::Gitea, Self::Propose) => "scope write:repository, and write:issue for labels",
            (ForgeKind::Gitea, _) => "scope write:repository, of a user who may write to the repository",
            (ForgeKind::Bitbucket, Self::CommitStatus) => {
                "scope repository (API tokens: read:repository:bitbucket and write:repository:bitbucket)"
            }
            (ForgeKind::Bitbucket, Self::State) => {
                "scope pullrequest (API tokens: read:pullrequest:bitbucket)"
            }
            (ForgeKind::Bitbucket, _) => {
                "scope pullrequest:write (API tokens: read:pullrequest:bitbucket and write:pullrequest:bitbucket)"
            }
            (ForgeKind::AzureDevOps, Self::CommitStatus) => "scope \"Code (status)\"",
            (ForgeKind::AzureDevOps, Self::State) => "scope \"Code (read)\"",
            (ForgeKind::AzureDevOps, _) => {
                "scope \"Code (read & write)\", and \"Contribute to pull requests\" on the repository"
            }
        }
    }
}

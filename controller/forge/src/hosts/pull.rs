//! A pull request as GitHub and Gitea describe it.

use serde::Deserialize;

use crate::{
    answer::Asked,
    error::ForgeError,
    forge::{CommitState, PullRequest, State},
};

#[derive(Deserialize)]
pub(crate) struct Pull {
    pub(crate) number: u64,
    html_url: String,
    state: String,
    merged_at: Option<String>,
    head: Option<End>,
    base: Option<End>,
}

#[derive(Deserialize)]
struct End {
    #[serde(rename = "ref")]
    name: String,
    repo: Option<Repository>,
}

#[derive(Deserialize, PartialEq)]
struct Repository {
    id: u64,
}

impl Pull {
    /// Whether it is from this branch of the same repository, and not from one of a fork.
    pub(crate) fn is_from(&self, branch: &str) -> bool {
        let (Some(head), Some(base)) = (&self.head, &self.base) else { return false };
        head.name == branch && head.repo.is_some() && head.repo == base.repo
    }

    pub(crate) fn state(&self, asked: &Asked) -> Result<State, ForgeError> {
        match self.state.as_str() {
            _ if self.merged_at.is_some() => Ok(State::Merged),
            "open" => Ok(State::Open),
            "closed" => Ok(State::Closed),
            other => Err(asked.unknown_state(other)),
        }
    }

    pub(crate) fn named(self, asked: &Asked) -> Result<PullRequest, ForgeError> {
        asked.pull_request(self.number, self.html_url)
    }

    pub(crate) fn with_state(self, asked: &Asked) -> Result<(State, PullRequest), ForgeError> {
        Ok((self.state(asked)?, self.named(asked)?))
    }
}

/// A state of a commit as both name it.
pub(crate) const fn commit_state(state: CommitState) -> &'static str {
    match state {
        CommitState::Pending => "pending",
        CommitState::Success => "success",
        CommitState::Failure => "failure",
    }
}

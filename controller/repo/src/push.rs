//! Changing a branch of the server: one commit on top of the one that it was planned on, or nothing.

use serde::{Deserialize, Serialize};

use crate::{draft::Draft, error::RepoError, ids::CommitId};

/// What is to be pushed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Push {
    /// Short name of the branch.
    pub branch: String,
    /// The tip that the branch must have on the server; `None`: it must not be there.
    pub expected: Option<CommitId>,
    /// The commit.
    pub draft: Draft,
}

/// What came of a push.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Pushed {
    /// The branch is at the commit.
    Landed,
    /// It was refused, and nothing changed.
    Refused(Refusal, String),
    /// Nothing was sent.
    NotSent(RepoError),
    /// It may have landed, or may land later. Fetch and look for the commit; absent means not yet.
    Unknown(String),
}

/// Why a push was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// The branch is not where it was: plan again on the new tip.
    Raced,
    /// The branch takes no such commits: it is protected, or a hook declined it.
    Protected,
    /// The server does not say why in words that are known.
    Other,
}

impl Refusal {
    /// By the words of the server: the status of the reference, and what it told beside it.
    pub(crate) fn of(status: &str, told: &str) -> Self {
        const RACED: [&str; 6] = [
            "non-fast-forward",
            "fetch first",
            "cannot lock ref",
            "failed to update ref",
            "reference already exists",
            "stale info",
        ];
        const PROTECTED: [&str; 8] = [
            "protected",
            "hook declined",
            "signature",
            "not allowed",
            "prohibited",
            "pull request",
            "merge request",
            "checked out",
        ];
        let any = |words: &[&str], text: &str| words.iter().any(|word| text.contains(word));
        let (status, told) = (status.to_ascii_lowercase(), told.to_ascii_lowercase());
        if any(&RACED, &status) {
            Self::Raced
        } else if any(&PROTECTED, &status) || any(&PROTECTED, &told) {
            Self::Protected
        } else {
            Self::Other
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("non-fast-forward", "", Refusal::Raced)]
    #[case("failed to update ref", "error: cannot lock ref", Refusal::Raced)]
    #[case("pre-receive hook declined", "only by pull request", Refusal::Protected)]
    #[case("protected branch hook declined", "GH006: Protected branch update failed", Refusal::Protected)]
    #[case("branch is currently checked out", "", Refusal::Protected)]
    #[case("unpacker error", "disk full", Refusal::Other)]
    fn words_of_servers(#[case] status: &str, #[case] told: &str, #[case] refusal: Refusal) {
        assert_eq!(Refusal::of(status, told), refusal);
    }
}

//! What of a repository is followed.

use std::fmt;

use semver::{Version, VersionReq};
use serde::{Deserialize, Serialize};

use crate::{error::SettingsError, ids::CommitId};

/// What a repository is at.
pub(crate) const HEAD: &str = "HEAD";

/// What of a repository is followed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Reference {
    /// The tip of a branch.
    Branch(String),
    /// A tag.
    Tag(String),
    /// The tag with the highest version in a range; a leading `v` of tags is ignored.
    Semver(VersionReq),
    /// One commit, for ever.
    Commit(CommitId),
}

/// A reference as a server lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Advertised {
    pub(crate) name: String,
    pub(crate) oid: git2::Oid,
}

impl Reference {
    /// A branch by its short name.
    pub fn branch(name: &str) -> Result<Self, SettingsError> {
        check("branch", "refs/heads/", name).map(Self::Branch)
    }

    /// A tag by its short name.
    pub fn tag(name: &str) -> Result<Self, SettingsError> {
        check("tag", "refs/tags/", name).map(Self::Tag)
    }

    /// A range of versions; spaces and commas both mean "and".
    pub fn semver(range: &str) -> Result<Self, SettingsError> {
        let refuse =
            |reason: String| SettingsError::Reference(format!("`{range}` is not a version range: {reason}"));
        let mut joined = String::new();
        for word in range.split([' ', ',']).filter(|word| !word.is_empty()) {
            // `>= 1.0` is one comparison in two words.
            let after_operator = joined.ends_with(['<', '>', '=', '^', '~']);
            if !joined.is_empty() && !after_operator {
                joined.push(',');
            }
            joined.push_str(word);
        }
        if joined.is_empty() {
            return Err(refuse("it is empty".to_owned()));
        }
        VersionReq::parse(&joined).map(Self::Semver).map_err(|error| refuse(error.to_string()))
    }

    /// A commit by its full id.
    pub fn commit(id: &str) -> Result<Self, SettingsError> {
        id.parse().map(Self::Commit).map_err(|_| {
            SettingsError::Reference("a commit is named by its 40 hexadecimal digits".to_owned())
        })
    }

    /// The branch that it names, when it names one: only a branch takes commits.
    pub fn as_branch(&self) -> Option<&str> {
        match self {
            Self::Branch(name) => Some(name),
            Self::Tag(_) | Self::Semver(_) | Self::Commit(_) => None,
        }
    }

    /// What to fetch to have it. `head`: whether the server has a HEAD.
    pub(crate) fn refspecs(&self, chosen: Option<&str>, head: bool) -> Vec<String> {
        match (self, chosen) {
            // A server need not hand out a commit by id, so everything that may lead to it is fetched. In a checkout of CI
            // nothing but HEAD does.
            (Self::Commit(_), _) | (_, None) => {
                let all = ["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"].map(str::to_owned);
                all.into_iter().chain(head.then(|| format!("+{HEAD}:refs/sluice/head"))).collect()
            }
            (_, Some(name)) => vec![format!("+{name}:{name}")],
        }
    }

    /// The names of those of its kind, sorted.
    pub(crate) fn others(&self, heads: &[Advertised]) -> Vec<String> {
        let prefix = match self {
            Self::Branch(_) => "refs/heads/",
            Self::Tag(_) | Self::Semver(_) => "refs/tags/",
            Self::Commit(_) => return Vec::new(),
        };
        let names = heads.iter().filter_map(|head| head.name.strip_prefix(prefix));
        // What an annotated tag leads to is listed under its name and this.
        let mut names: Vec<String> = names.filter(|name| !name.ends_with("^{}")).map(str::to_owned).collect();
        names.sort();
        names
    }

    /// The advertised reference that it means.
    pub(crate) fn choose<'a>(&self, heads: &'a [Advertised]) -> Option<&'a Advertised> {
        match self {
            Self::Branch(name) => heads.iter().find(|h| h.name.strip_prefix("refs/heads/") == Some(name)),
            Self::Tag(name) => heads.iter().find(|h| h.name.strip_prefix("refs/tags/") == Some(name)),
            Self::Semver(range) => heads
                .iter()
                .filter_map(|head| Some((tag_version(head.name.strip_prefix("refs/tags/")?)?, head)))
                .filter(|(version, _)| range.matches(version))
                .max_by(|(a, x), (b, y)| a.cmp(b).then_with(|| y.name.cmp(&x.name)))
                .map(|(_, head)| head),
            Self::Commit(_) => None,
        }
    }
}

/// The version that a tag names.
fn tag_version(tag: &str) -> Option<Version> {
    Version::parse(tag.strip_prefix('v').unwrap_or(tag)).ok()
}

fn check(what: &str, prefix: &str, name: &str) -> Result<String, SettingsError> {
    if name.starts_with('-') || !git2::Reference::is_valid_name(&format!("{prefix}{name}")) {
        return Err(SettingsError::Reference(format!("`{name}` is not the name of a {what}")));
    }
    Ok(name.to_owned())
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Branch(name) => write!(f, "branch `{name}`"),
            Self::Tag(name) => write!(f, "tag `{name}`"),
            Self::Semver(range) => write!(f, "tag with a version in `{range}`"),
            Self::Commit(id) => write!(f, "commit {id}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn heads(names: &[&str]) -> Vec<Advertised> {
        names.iter().map(|name| Advertised { name: (*name).to_owned(), oid: git2::Oid::ZERO_SHA1 }).collect()
    }

    #[rstest]
    #[case("^1.0", Some("refs/tags/v1.10.0"))]
    #[case(">=1.0.0 <1.5.0", Some("refs/tags/1.2.0"))]
    #[case(">= 1.0.0, < 1.5.0", Some("refs/tags/1.2.0"))]
    #[case(">=3", None)]
    #[case("=2.0.0-rc.1", Some("refs/tags/v2.0.0-rc.1"))]
    fn the_highest_matching_tag_is_chosen(#[case] range: &str, #[case] expected: Option<&str>) {
        let heads = heads(&[
            "refs/heads/9.9.9",
            "refs/tags/1.2.0",
            "refs/tags/v1.10.0",
            "refs/tags/v1.9.0",
            "refs/tags/v2.0.0-rc.1",
            "refs/tags/nightly",
            "refs/tags/v1.10.0^{}",
        ]);
        let chosen = Reference::semver(range).unwrap().choose(&heads).map(|head| head.name.clone());
        assert_eq!(chosen.as_deref(), expected);
    }

    #[rstest]
    #[case("-x")]
    #[case("a b")]
    #[case("a..b")]
    #[case("*")]
    #[case("")]
    fn names_that_git_refuses_are_refused(#[case] name: &str) {
        assert!(Reference::branch(name).is_err());
        assert!(Reference::tag(name).is_err());
    }

    #[test]
    fn ranges_and_commits_are_checked() {
        assert!(Reference::semver("").is_err());
        assert!(Reference::semver("latest").is_err());
        assert!(Reference::commit("abc").is_err());
    }
}

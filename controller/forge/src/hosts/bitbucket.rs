//! Bitbucket Cloud.

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use url::Url;

use crate::{
    answer::Asked,
    client::Client,
    error::ForgeError,
    forge::{CommitState, CommitStatus, Forge, Proposal, PullRequest, State, best},
    kind::ForgeKind,
    permissions::Operation,
    text::{fit, line},
};

/// Longest title, description, description of a status, and key of one.
const TITLE: usize = 255;
const BODY: usize = 32_000;
const DESCRIPTION: usize = 140;
const KEY: usize = 40;
/// Digits of a digest that tell long keys apart.
const DIGITS: usize = 8;

/// A repository of it.
#[derive(Debug)]
pub(crate) struct Bitbucket {
    pub(crate) client: Client,
    pub(crate) workspace: String,
    pub(crate) name: String,
    /// Where people see it.
    pub(crate) web: Url,
}

#[derive(Deserialize)]
struct Page {
    values: Vec<Pull>,
}

#[derive(Deserialize)]
struct Pull {
    id: u64,
    state: String,
    links: Links,
    source: End,
    destination: End,
}

#[derive(Deserialize)]
struct Links {
    html: Link,
}

#[derive(Deserialize)]
struct Link {
    href: String,
}

#[derive(Deserialize)]
struct End {
    branch: Branch,
    repository: Option<Repository>,
}

#[derive(Deserialize)]
struct Branch {
    name: String,
}

#[derive(Deserialize, PartialEq)]
struct Repository {
    full_name: String,
}

impl Pull {
    fn is_from(&self, branch: &str) -> bool {
        self.source.branch.name == branch
            && self.source.repository.is_some()
            && self.source.repository == self.destination.repository
    }

    fn state(&self, asked: &Asked) -> Result<State, ForgeError> {
        match self.state.as_str() {
            "OPEN" => Ok(State::Open),
            "MERGED" => Ok(State::Merged),
            "DECLINED" | "SUPERSEDED" => Ok(State::Closed),
            other => Err(asked.unknown_state(other)),
        }
    }

    fn named(self, asked: &Asked) -> Result<PullRequest, ForgeError> {
        asked.pull_request(self.id, self.links.html.href)
    }
}

impl Bitbucket {
    fn url(&self, path: &[&str]) -> Url {
        self.client.url(["repositories", &self.workspace, &self.name].iter().chain(path))
    }

    fn pull(&self, pull_request: &PullRequest, rest: &[&str]) -> Url {
        let number = pull_request.number.to_string();
        self.url(&[&["pullrequests", &number], rest].concat())
    }

    /// Without states it lists those that are open.
    fn list(&self, head: &str) -> Url {
        let mut url = self.url(&["pullrequests"]);
        let states = ["OPEN", "MERGED", "DECLINED", "SUPERSEDED"];
        url.query_pairs_mut()
            .append_pair("q", &format!("source.branch.name = {}", json!(head)))
            .extend_pairs(states.map(|state| ("state", state)))
            .append_pair("sort", "-created_on")
            .append_pair("pagelen", "10");
        url
    }

    async fn find(&self, head: &str) -> Result<Option<PullRequest>, ForgeError> {
        let url = self.list(head);
        let answer = self.client.get(Operation::Propose, url).await?;
        let found = answer.read::<Page>()?.values.into_iter().filter(|pull| pull.is_from(head));
        let found = found.map(|pull| Ok((pull.state(&answer.asked)?, pull.named(&answer.asked)?)));
        Ok(best(found.collect::<Result<Vec<_>, _>>()?))
    }
}

#[async_trait]
impl Forge for Bitbucket {
    fn kind(&self) -> ForgeKind {
        self.client.kind()
    }

    async fn propose(&self, proposal: &Proposal) -> Result<PullRequest, ForgeError> {
        // It has no labels.
        let Proposal { head, base, title, body, labels: _ } = proposal;
        if let Some(found) = self.find(head).await? {
            return Ok(found);
        }
        let wanted = json!({
            "title": line(title, TITLE),
            "description": fit(body, BODY),
            "source": { "branch": { "name": head } },
            "destination": { "branch": { "name": base } },
        });
        let answer = self.client.post(Operation::Propose, self.url(&["pullrequests"]), &wanted).await?;
        if !answer.is_success() && answer.says("already exists") {
            // Somebody was faster.
            return self.find(head).await?.ok_or_else(|| answer.refusal());
        }
        answer.read::<Pull>()?.named(&answer.asked)
    }

    async fn state(&self, pull_request: &PullRequest) -> Result<State, ForgeError> {
        let answer = self.client.get(Operation::State, self.pull(pull_request, &[])).await?;
        answer.read::<Pull>()?.state(&answer.asked)
    }

    async fn comment(&self, pull_request: &PullRequest, text: &str) -> Result<(), ForgeError> {
        let body = json!({ "content": { "raw": fit(text, BODY) } });
        self.client.post(Operation::Comment, self.pull(pull_request, &["comments"]), &body).await?.done()
    }

    async fn close(&self, pull_request: &PullRequest) -> Result<(), ForgeError> {
        if self.state(pull_request).await? != State::Open {
            return Ok(());
        }
        self.client.post(Operation::Close, self.pull(pull_request, &["decline"]), &json!({})).await?.done()
    }

    async fn commit_status(&self, status: &CommitStatus) -> Result<(), ForgeError> {
        let CommitStatus { commit, context, state, description, url } = status;
        let name = match state {
            CommitState::Pending => "INPROGRESS",
            CommitState::Success => "SUCCESSFUL",
            CommitState::Failure => "FAILED",
        };
        // It takes no status without an address.
        let own = || {
            let mut own = self.web.clone();
            own.set_path(&format!("/{}/{}/commits/{commit}", self.workspace, self.name));
            own
        };
        let body = json!({
            "key": key(context),
            "name": context,
            "state": name,
            "description": line(description, DESCRIPTION),
            "url": url.clone().unwrap_or_else(own),
        });
        let path = self.url(&["commit", commit, "statuses", "build"]);
        self.client.post(Operation::CommitStatus, path, &body).await?.done()
    }
}

/// A context as a key: long ones keep their beginning and differ by a digest.
fn key(context: &str) -> String {
    if context.encode_utf16().count() <= KEY {
        return context.to_owned();
    }
    let digest = hex::encode(Sha256::digest(context));
    let beginning: String = context.chars().filter(char::is_ascii).take(KEY - DIGITS - 1).collect();
    format!("{beginning}-{}", &digest[..DIGITS])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_short_and_differ() {
        assert_eq!(key("sluice/shop-production"), "sluice/shop-production");
        let (one, two) = (key(&format!("{}1", "x".repeat(60))), key(&format!("{}2", "x".repeat(60))));
        assert!(one.len() == KEY && two.len() == KEY && one != two, "{one} {two}");
    }
}

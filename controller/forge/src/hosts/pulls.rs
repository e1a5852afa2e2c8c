//! GitHub, Gitea and Forgejo, whose APIs are nearly the same. They differ in how a pull request is found.

use async_trait::async_trait;
use reqwest::{Method, StatusCode};
use serde_json::json;
use url::Url;

use super::pull::{Pull, commit_state};
use crate::{
    client::Client,
    error::ForgeError,
    forge::{CommitStatus, Forge, Proposal, PullRequest, State, best},
    kind::ForgeKind,
    permissions::Operation,
    text::{fit, line},
};

/// Longest title: Gitea's.
const TITLE: usize = 255;
/// Longest body: GitHub's.
const BODY: usize = 65_000;
/// Longest description of a status: GitHub's.
const DESCRIPTION: usize = 140;

/// A repository at one of them.
#[derive(Debug)]
pub(crate) struct Pulls {
    pub(crate) client: Client,
    pub(crate) owner: String,
    pub(crate) name: String,
}

impl Pulls {
    fn url(&self, path: &[&str]) -> Url {
        self.client.url(["repos", &self.owner, &self.name].iter().chain(path))
    }

    fn pull(&self, pull_request: &PullRequest) -> Url {
        self.url(&["pulls", &pull_request.number.to_string()])
    }

    fn issue(&self, pull_request: &PullRequest, what: &str) -> Url {
        self.url(&["issues", &pull_request.number.to_string(), what])
    }

    async fn find(&self, base: &str, head: &str) -> Result<Option<PullRequest>, ForgeError> {
        match self.client.kind() {
            ForgeKind::GitHub => self.find_by_head(head).await,
            _ => self.find_by_both(base, head).await,
        }
    }

    /// GitHub's list can be filtered by the branch, and by nothing when its owner is left out.
    async fn find_by_head(&self, head: &str) -> Result<Option<PullRequest>, ForgeError> {
        let mut url = self.url(&["pulls"]);
        url.query_pairs_mut()
            .append_pair("head", &format!("{}:{head}", self.owner))
            .append_pair("state", "all")
            .append_pair("sort", "created")
            .append_pair("direction", "desc")
            .append_pair("per_page", "10");
        let answer = self.client.get(Operation::Propose, url).await?;
        let found = answer.read::<Vec<Pull>>()?.into_iter().filter(|pull| pull.is_from(head));
        let found: Vec<_> = found.map(|pull| pull.with_state(&answer.asked)).collect::<Result<_, _>>()?;
        Ok(best(found))
    }

    /// Gitea finds one by both branches, be it open or not. Where they have had several it may be any of them, so that an open
    /// one is looked for in the list, too, which can be filtered by nothing that helps.
    async fn find_by_both(&self, base: &str, head: &str) -> Result<Option<PullRequest>, ForgeError> {
        let mut path = vec!["pulls", base];
        path.extend(head.split('/'));
        let answer = self.client.get(Operation::Propose, self.url(&path)).await?;
        let one = match answer.status {
            StatusCode::NOT_FOUND => None,
            _ => Some(answer.read::<Pull>()?.with_state(&answer.asked)?),
        };
        if let Some((State::Open, open)) = one {
            return Ok(Some(open));
        }
        Ok(self.first_open(head).await?.or(one.map(|(_, pull_request)| pull_request)))
    }

    /// The first of those that are open; of many, among the latest.
    async fn first_open(&self, head: &str) -> Result<Option<PullRequest>, ForgeError> {
        let mut url = self.url(&["pulls"]);
        url.query_pairs_mut().append_pair("state", "open").append_pair("limit", "50");
        let answer = self.client.get(Operation::Propose, url).await?;
        let open = answer.read::<Vec<Pull>>()?.into_iter().filter(|pull| pull.is_from(head));
        open.min_by_key(|pull| pull.number).map(|pull| pull.named(&answer.asked)).transpose()
    }
}

#[async_trait]
impl Forge for Pulls {
    fn kind(&self) -> ForgeKind {
        self.client.kind()
    }

    async fn propose(&self, proposal: &Proposal) -> Result<PullRequest, ForgeError> {
        let Proposal { head, base, title, body, labels } = proposal;
        if let Some(found) = self.find(base, head).await? {
            return Ok(found);
        }
        let (title, body) = (line(title, TITLE), fit(body, BODY));
        let wanted = json!({ "head": head, "base": base, "title": title, "body": body });
        let answer = self.client.post(Operation::Propose, self.url(&["pulls"]), &wanted).await?;
        // GitHub says it in words only.
        let raced = answer.status == StatusCode::CONFLICT
            || (answer.status == StatusCode::UNPROCESSABLE_ENTITY && answer.says("already exists"));
        if raced {
            return self.find(base, head).await?.ok_or_else(|| answer.refusal());
        }
        let made = answer.read::<Pull>()?.named(&answer.asked)?;
        // Gitea opens two where two ask at the same time: everybody keeps the first.
        if self.client.kind() == ForgeKind::Gitea
            && let Some(first) = self.first_open(head).await?
            && first.number < made.number
        {
            self.close(&made).await?;
            return Ok(first);
        }
        if !labels.is_empty() {
            let url = self.issue(&made, "labels");
            let labelled = self.client.post(Operation::Propose, url, &json!({ "labels": labels })).await;
            if let Err(error) = labelled.and_then(|answer| answer.done()) {
                tracing::warn!(pull_request = made.number, "a pull request has no labels: {error}");
            }
        }
        Ok(made)
    }

    async fn state(&self, pull_request: &PullRequest) -> Result<State, ForgeError> {
        let answer = self.client.get(Operation::State, self.pull(pull_request)).await?;
        answer.read::<Pull>()?.state(&answer.asked)
    }

    async fn comment(&self, pull_request: &PullRequest, text: &str) -> Result<(), ForgeError> {
        let url = self.issue(pull_request, "comments");
        self.client.post(Operation::Comment, url, &json!({ "body": fit(text, BODY) })).await?.done()
    }

    async fn close(&self, pull_request: &PullRequest) -> Result<(), ForgeError> {
        if self.state(pull_request).await? != State::Open {
            return Ok(());
        }
        let (url, body) = (self.pull(pull_request), json!({ "state": "closed" }));
        self.client.call(Operation::Close, Method::PATCH, url, Some(&body)).await?.done()
    }

    async fn commit_status(&self, status: &CommitStatus) -> Result<(), ForgeError> {
        let CommitStatus { commit, context, state, description, url } = status;
        let description = line(description, DESCRIPTION);
        let mut body =
            json!({ "state": commit_state(*state), "context": context, "description": description });
        if let Some(url) = url {
            body["target_url"] = json!(url);
        }
        self.client.post(Operation::CommitStatus, self.url(&["statuses", commit]), &body).await?.done()
    }
}

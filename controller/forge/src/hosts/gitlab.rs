//! GitLab.

use async_trait::async_trait;
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde_json::json;
use url::Url;

use crate::{
    answer::Asked,
    client::Client,
    error::ForgeError,
    forge::{CommitState, CommitStatus, Forge, Proposal, PullRequest, State, best},
    kind::ForgeKind,
    permissions::Operation,
    text::{fit, line, without_commands},
};

/// Longest title, description and description of a status.
const TITLE: usize = 255;
const BODY: usize = 1_000_000;
const DESCRIPTION: usize = 140;

/// A project of it.
#[derive(Debug)]
pub(crate) struct GitLab {
    pub(crate) client: Client,
    /// Its path with all groups.
    pub(crate) project: String,
}

#[derive(Deserialize)]
struct MergeRequest {
    iid: u64,
    web_url: String,
    state: String,
    source_branch: String,
    source_project_id: Option<u64>,
    target_project_id: Option<u64>,
}

impl MergeRequest {
    fn is_from(&self, branch: &str) -> bool {
        self.source_branch == branch && self.source_project_id == self.target_project_id
    }

    fn state(&self, asked: &Asked) -> Result<State, ForgeError> {
        match self.state.as_str() {
            // Locked while it is being merged.
            "opened" | "locked" => Ok(State::Open),
            "merged" => Ok(State::Merged),
            "closed" => Ok(State::Closed),
            other => Err(asked.unknown_state(other)),
        }
    }

    fn named(self, asked: &Asked) -> Result<PullRequest, ForgeError> {
        asked.pull_request(self.iid, self.web_url)
    }
}

impl GitLab {
    fn url(&self, path: &[&str]) -> Url {
        self.client.url(["projects", &self.project].iter().chain(path))
    }

    fn merge_request(&self, pull_request: &PullRequest, rest: &[&str]) -> Url {
        let number = pull_request.number.to_string();
        self.url(&[&["merge_requests", &number], rest].concat())
    }

    async fn find(&self, head: &str) -> Result<Option<PullRequest>, ForgeError> {
        let mut url = self.url(&["merge_requests"]);
        url.query_pairs_mut()
            .append_pair("source_branch", head)
            .append_pair("state", "all")
            .append_pair("order_by", "created_at")
            .append_pair("sort", "desc")
            .append_pair("per_page", "20");
        let answer = self.client.get(Operation::Propose, url).await?;
        let found = answer.read::<Vec<MergeRequest>>()?.into_iter().filter(|one| one.is_from(head));
        let found = found.map(|one| Ok((one.state(&answer.asked)?, one.named(&answer.asked)?)));
        Ok(best(found.collect::<Result<Vec<_>, _>>()?))
    }
}

#[async_trait]
impl Forge for GitLab {
    fn kind(&self) -> ForgeKind {
        self.client.kind()
    }

    async fn propose(&self, proposal: &Proposal) -> Result<PullRequest, ForgeError> {
        let Proposal { head, base, title, body, labels } = proposal;
        if let Some(found) = self.find(head).await? {
            return Ok(found);
        }
        let wanted = json!({
            "source_branch": head,
            "target_branch": base,
            "title": line(title, TITLE),
            "description": fit(&without_commands(body), BODY),
            "labels": labels.join(","),
        });
        let url = self.url(&["merge_requests"]);
        let answer = self.client.post(Operation::Propose, url, &wanted).await?;
        if answer.status == StatusCode::CONFLICT {
            // Somebody was faster.
            return self.find(head).await?.ok_or_else(|| answer.refusal());
        }
        answer.read::<MergeRequest>()?.named(&answer.asked)
    }

    async fn state(&self, pull_request: &PullRequest) -> Result<State, ForgeError> {
        let answer = self.client.get(Operation::State, self.merge_request(pull_request, &[])).await?;
        answer.read::<MergeRequest>()?.state(&answer.asked)
    }

    async fn comment(&self, pull_request: &PullRequest, text: &str) -> Result<(), ForgeError> {
        let url = self.merge_request(pull_request, &["notes"]);
        let body = json!({ "body": fit(&without_commands(text), BODY) });
        self.client.post(Operation::Comment, url, &body).await?.done()
    }

    async fn close(&self, pull_request: &PullRequest) -> Result<(), ForgeError> {
        if self.state(pull_request).await? != State::Open {
            return Ok(());
        }
        let (url, body) = (self.merge_request(pull_request, &[]), json!({ "state_event": "close" }));
        self.client.call(Operation::Close, Method::PUT, url, Some(&body)).await?.done()
    }

    async fn commit_status(&self, status: &CommitStatus) -> Result<(), ForgeError> {
        let CommitStatus { commit, context, state, description, url } = status;
        let name = match state {
            CommitState::Pending => "pending",
            CommitState::Success => "success",
            CommitState::Failure => "failed",
        };
        let description = line(description, DESCRIPTION);
        let mut body = json!({ "state": name, "name": context, "description": description });
        if let Some(url) = url {
            body["target_url"] = json!(url);
        }
        let answer =
            self.client.post(Operation::CommitStatus, self.url(&["statuses", commit]), &body).await?;
        // Its states are those of a pipeline, where what waits cannot begin to wait.
        let waits_already = *state == CommitState::Pending
            && answer.status == StatusCode::BAD_REQUEST
            && answer.says("cannot transition status via :enqueue from :pending");
        if waits_already { Ok(()) } else { answer.done() }
    }
}

//! Azure DevOps Services and Server.

mod address;

use async_trait::async_trait;
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde_json::json;
use url::Url;

pub(crate) use self::address::repository;
use crate::{
    answer::Asked,
    client::Client,
    error::ForgeError,
    forge::{CommitState, CommitStatus, Forge, Proposal, PullRequest, State, best},
    kind::ForgeKind,
    permissions::Operation,
    text::{fit, line},
};

/// The newest version that Server 2022 speaks as well.
const VERSION: &str = "7.0";
/// Longest title, description and description of a status.
const TITLE: usize = 400;
const BODY: usize = 4_000;
const DESCRIPTION: usize = 140;
/// Longest comment.
const COMMENT: usize = 100_000;

/// A repository of it.
#[derive(Debug)]
pub(crate) struct Azure {
    pub(crate) client: Client,
    pub(crate) project: String,
    pub(crate) name: String,
}

#[derive(Deserialize)]
struct List {
    value: Vec<Pull>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Pull {
    #[serde(rename = "pullRequestId")]
    number: u64,
    status: String,
    source_ref_name: String,
    /// Where it is from, if not from the same repository.
    fork_source: Option<serde::de::IgnoredAny>,
}

impl Pull {
    fn state(&self, asked: &Asked) -> Result<State, ForgeError> {
        match self.status.as_str() {
            "active" => Ok(State::Open),
            "completed" => Ok(State::Merged),
            "abandoned" => Ok(State::Closed),
            other => Err(asked.unknown_state(other)),
        }
    }
}

impl Azure {
    fn url(&self, path: &[&str]) -> Url {
        let repository = [self.project.as_str(), "_apis", "git", "repositories", &self.name];
        let mut url = self.client.url(repository.iter().chain(path));
        url.query_pairs_mut().append_pair("api-version", VERSION);
        url
    }

    fn pull(&self, pull_request: &PullRequest, rest: &[&str]) -> Url {
        let number = pull_request.number.to_string();
        self.url(&[&["pullrequests", &number], rest].concat())
    }

    /// Its answers have the address of the API only.
    fn named(&self, pull: &Pull, asked: &Asked) -> Result<PullRequest, ForgeError> {
        let number = pull.number;
        let path = [self.project.as_str(), "_git", &self.name, "pullrequest", &number.to_string()];
        asked.pull_request(number, self.client.url(path).into())
    }

    async fn find(&self, head: &str) -> Result<Option<PullRequest>, ForgeError> {
        let head = full(head);
        let mut url = self.url(&["pullrequests"]);
        url.query_pairs_mut()
            .append_pair("searchCriteria.sourceRefName", &head)
            .append_pair("searchCriteria.status", "all")
            .append_pair("$top", "20");
        let answer = self.client.get(Operation::Propose, url).await?;
        let list = answer.read::<List>()?.value;
        let found = list.iter().filter(|pull| pull.source_ref_name == head && pull.fork_source.is_none());
        let found = found.map(|pull| Ok((pull.state(&answer.asked)?, self.named(pull, &answer.asked)?)));
        Ok(best(found.collect::<Result<Vec<_>, _>>()?))
    }
}

#[async_trait]
impl Forge for Azure {
    fn kind(&self) -> ForgeKind {
        self.client.kind()
    }

    async fn propose(&self, proposal: &Proposal) -> Result<PullRequest, ForgeError> {
        let Proposal { head, base, title, body, labels } = proposal;
        if let Some(found) = self.find(head).await? {
            return Ok(found);
        }
        let labels: Vec<_> = labels.iter().map(|name| json!({ "name": name })).collect();
        let wanted = json!({
            "sourceRefName": full(head),
            "targetRefName": full(base),
            "title": line(title, TITLE),
            "description": fit(body, BODY),
            "labels": labels,
        });
        let answer = self.client.post(Operation::Propose, self.url(&["pullrequests"]), &wanted).await?;
        if answer.status == StatusCode::CONFLICT {
            // Somebody was faster.
            return self.find(head).await?.ok_or_else(|| answer.refusal());
        }
        self.named(&answer.read::<Pull>()?, &answer.asked)
    }

    async fn state(&self, pull_request: &PullRequest) -> Result<State, ForgeError> {
        let answer = self.client.get(Operation::State, self.pull(pull_request, &[])).await?;
        answer.read::<Pull>()?.state(&answer.asked)
    }

    async fn comment(&self, pull_request: &PullRequest, text: &str) -> Result<(), ForgeError> {
        let comment = json!({ "parentCommentId": 0, "content": fit(text, COMMENT), "commentType": "text" });
        // A thread that is active holds up the merge where a policy asks for all of them to be resolved.
        let body = json!({ "comments": [comment], "status": "closed" });
        self.client.post(Operation::Comment, self.pull(pull_request, &["threads"]), &body).await?.done()
    }

    async fn close(&self, pull_request: &PullRequest) -> Result<(), ForgeError> {
        if self.state(pull_request).await? != State::Open {
            return Ok(());
        }
        let (url, body) = (self.pull(pull_request, &[]), json!({ "status": "abandoned" }));
        self.client.call(Operation::Close, Method::PATCH, url, Some(&body)).await?.done()
    }

    async fn commit_status(&self, status: &CommitStatus) -> Result<(), ForgeError> {
        let CommitStatus { commit, context, state, description, url } = status;
        let name = match state {
            CommitState::Pending => "pending",
            CommitState::Success => "succeeded",
            CommitState::Failure => "failed",
        };
        let (genre, short) = context.rsplit_once('/').unwrap_or(("sluice", context));
        let mut body = json!({
            "state": name,
            "description": line(description, DESCRIPTION),
            "context": { "name": short, "genre": genre },
        });
        if let Some(url) = url {
            body["targetUrl"] = json!(url);
        }
        let path = self.url(&["commits", commit, "statuses"]);
        self.client.post(Operation::CommitStatus, path, &body).await?.done()
    }
}

fn full(branch: &str) -> String {
    format!("refs/heads/{branch}")
}

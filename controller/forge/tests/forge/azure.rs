use serde_json::{Value, json};
use sluice_forge::{CommitState, ForgeKind, State, connect};

use crate::{
    COMMIT, HEAD, description, number, proposal,
    script::{Host, Step},
    status,
};

const LIST: &str = "/org/My%20Shop/_apis/git/repositories/releases/pullrequests?api-version=7.0&searchCriteria.sourceRefName=refs%2Fheads%2Frollback%2Fshop%2F1a2b&searchCriteria.status=all&%24top=20";
const ALL: &str = "/org/My%20Shop/_apis/git/repositories/releases/pullrequests?api-version=7.0";
const ONE: &str = "/org/My%20Shop/_apis/git/repositories/releases/pullrequests/7?api-version=7.0";
const AUTHORIZATION: &str = "Basic OmNhbmFyeS10b2tlbg==";

fn pull(id: u64, status: &str) -> Value {
    json!({
        "repository": { "id": "3411ebc1", "name": "releases", "url": "https://dev.azure.com/…" },
        "pullRequestId": id,
        "status": status,
        "sourceRefName": format!("refs/heads/{HEAD}"),
        "targetRefName": "refs/heads/main",
        "url": "https://dev.azure.com/…",
    })
}

fn list(value: &[Value]) -> Value {
    json!({ "value": value, "count": value.len() })
}

fn wanted() -> Value {
    json!({
        "sourceRefName": format!("refs/heads/{HEAD}"),
        "targetRefName": "refs/heads/main",
        "title": "Roll back shop to 1.4.1",
        "description": "It breaks.\n/merge",
        "labels": [{ "name": "rollback" }, { "name": "ota" }],
    })
}

#[tokio::test]
async fn a_pull_request_is_opened_once() {
    let mut fork = pull(9, "active");
    fork["forkSource"] = json!({ "name": "refs/heads/x" });
    let host = Host::with([
        Step::get(LIST).gives(200, list(&[fork])),
        Step::post(ALL, wanted()).gives(201, pull(7, "active")),
        Step::get(LIST).gives(200, list(&[pull(8, "abandoned"), pull(7, "active")])),
    ])
    .await;
    let forge = host.forge(ForgeKind::AzureDevOps);
    let made = forge.propose(&proposal()).await.unwrap();
    assert_eq!(made.number, 7);
    assert_eq!(made.url, format!("{}/org/My%20Shop/_git/releases/pullrequest/7", host.base));
    assert_eq!(forge.propose(&proposal()).await.unwrap(), made);
    host.end(AUTHORIZATION);
}

#[tokio::test]
async fn whoever_was_faster_is_found() {
    let exists = json!({
        "$id": "1",
        "innerException": null,
        "message": "TF401179: An active pull request for the source and target branch already exists.",
        "typeName": "Microsoft.TeamFoundation.Git.Server.GitPullRequestExistsException, Microsoft.TeamFoundation.Git.Server",
        "typeKey": "GitPullRequestExistsException",
        "errorCode": 0,
        "eventId": 3000,
    });
    let host = Host::with([
        Step::get(LIST).gives(200, list(&[])),
        Step::post(ALL, wanted()).gives(409, exists),
        Step::get(LIST).gives(200, list(&[pull(7, "active")])),
    ])
    .await;
    assert_eq!(host.forge(ForgeKind::AzureDevOps).propose(&proposal()).await.unwrap().number, 7);
    host.end(AUTHORIZATION);
}

#[tokio::test]
async fn states_are_told_apart() {
    for (status, expected) in
        [("active", State::Open), ("completed", State::Merged), ("abandoned", State::Closed)]
    {
        let host = Host::with([Step::get(ONE).gives(200, pull(7, status))]).await;
        assert_eq!(host.forge(ForgeKind::AzureDevOps).state(&number(7)).await.unwrap(), expected);
    }
}

#[tokio::test]
async fn comments_closes_and_shows_a_status() {
    let repository = "/org/My%20Shop/_apis/git/repositories/releases";
    let host = Host::with([
        Step::post(
            &format!("{repository}/pullrequests/7/threads?api-version=7.0"),
            json!({
                "comments": [{ "parentCommentId": 0, "content": "fixed", "commentType": "text" }],
                "status": "closed",
            }),
        )
        .gives(200, json!({})),
        Step::get(ONE).gives(200, pull(7, "active")),
        Step::patch(ONE, json!({ "status": "abandoned" })).gives(200, pull(7, "abandoned")),
        Step::post(
            &format!("{repository}/commits/{COMMIT}/statuses?api-version=7.0"),
            json!({
                "state": "succeeded",
                "description": description(),
                "context": { "name": "shop", "genre": "sluice" },
                "targetUrl": "https://ota.example.org/shop",
            }),
        )
        .gives(200, json!({})),
    ])
    .await;
    let forge = host.forge(ForgeKind::AzureDevOps);
    forge.comment(&number(7), "fixed").await.unwrap();
    forge.close(&number(7)).await.unwrap();
    forge.commit_status(&status(CommitState::Success)).await.unwrap();
    host.end(AUTHORIZATION);
}

#[tokio::test]
async fn a_token_of_entra_id_is_not_a_password() {
    let host = Host::with([Step::get(ONE).gives(200, pull(7, "active"))]).await;
    let mut settings = host.settings(ForgeKind::AzureDevOps, "org/My%20Shop/_git/releases");
    settings.token = "eyJhbGciOi.eyJzdWIi.c2ln".into();
    connect(&settings).unwrap().state(&number(7)).await.unwrap();
    host.end("Bearer eyJhbGciOi.eyJzdWIi.c2ln");
}

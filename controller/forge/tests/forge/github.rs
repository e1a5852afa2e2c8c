use serde_json::{Value, json};
use sluice_forge::{CommitState, ForgeKind, State};

use crate::{
    COMMIT, HEAD, description, number, proposal,
    script::{Host, Step},
    status,
};

const LIST: &str = "/api/v3/repos/shop/releases/pulls?head=shop%3Arollback%2Fshop%2F1a2b&state=all&sort=created&direction=desc&per_page=10";
const PULLS: &str = "/api/v3/repos/shop/releases/pulls";
const ONE: &str = "/api/v3/repos/shop/releases/pulls/7";

fn pull(number: u64, state: &str, merged: bool) -> Value {
    json!({
        "number": number,
        "html_url": format!("https://github.com/shop/releases/pull/{number}"),
        "state": state,
        "merged_at": merged.then_some("2026-11-30T23:00:00Z"),
        "title": "x",
        "head": { "label": "shop:x", "ref": HEAD, "sha": COMMIT, "repo": { "id": 1, "full_name": "shop/releases" } },
        "base": { "label": "shop:main", "ref": "main", "sha": COMMIT, "repo": { "id": 1, "full_name": "shop/releases" } },
    })
}

fn wanted() -> Value {
    json!({ "head": HEAD, "base": "main", "title": "Roll back shop to 1.4.1", "body": "It breaks.\n/merge" })
}

fn exists() -> Value {
    json!({
        "message": "Validation Failed",
        "errors": [{
            "resource": "PullRequest",
            "code": "custom",
            "message": "A pull request already exists for shop:rollback/shop/1a2b.",
        }],
        "documentation_url": "https://docs.github.com/rest/pulls/pulls#create-a-pull-request",
        "status": "422",
    })
}

#[tokio::test]
async fn a_pull_request_is_opened_with_its_labels() {
    let host = Host::with([
        Step::get(LIST).gives(200, json!([])),
        Step::post(PULLS, wanted()).gives(201, pull(7, "open", false)),
        Step::post("/api/v3/repos/shop/releases/issues/7/labels", json!({ "labels": ["rollback", "ota"] }))
            .gives(200, json!([])),
    ])
    .await;
    let made = host.forge(ForgeKind::GitHub).propose(&proposal()).await.unwrap();
    assert_eq!((made.number, made.url.as_str()), (7, "https://github.com/shop/releases/pull/7"));
    host.end("Bearer canary-token");
}

#[tokio::test]
async fn labels_that_cannot_be_set_are_no_error() {
    let host = Host::with([
        Step::get(LIST).gives(200, json!([])),
        Step::post(PULLS, wanted()).gives(201, pull(7, "open", false)),
        Step::post("/api/v3/repos/shop/releases/issues/7/labels", json!({ "labels": ["rollback", "ota"] }))
            .gives(403, json!({ "message": "Resource not accessible by integration" })),
    ])
    .await;
    assert_eq!(host.forge(ForgeKind::GitHub).propose(&proposal()).await.unwrap().number, 7);
    host.end("Bearer canary-token");
}

#[tokio::test]
async fn a_pull_request_of_the_branch_is_found() {
    let mut fork = pull(9, "open", false);
    fork["head"]["repo"]["id"] = json!(2);
    let mut deleted_fork = pull(8, "open", false);
    deleted_fork["head"]["repo"] = Value::Null;
    let closed = pull(6, "closed", false);
    let merged = pull(5, "closed", true);
    for (list, found) in [
        (json!([fork, deleted_fork, closed, pull(4, "open", false)]), 4),
        (json!([closed, merged]), 6),
        (json!([merged]), 5),
    ] {
        let host = Host::with([Step::get(LIST).gives(200, list)]).await;
        assert_eq!(host.forge(ForgeKind::GitHub).propose(&proposal()).await.unwrap().number, found);
        host.end("Bearer canary-token");
    }
}

#[tokio::test]
async fn whoever_was_faster_is_found() {
    let host = Host::with([
        Step::get(LIST).gives(200, json!([])),
        Step::post(PULLS, wanted()).gives(422, exists()),
        Step::get(LIST).gives(200, json!([pull(7, "open", false)])),
    ])
    .await;
    assert_eq!(host.forge(ForgeKind::GitHub).propose(&proposal()).await.unwrap().number, 7);
    host.end("Bearer canary-token");
}

#[tokio::test]
async fn what_exists_and_is_not_found_is_told_in_the_hosts_words() {
    let host = Host::with([
        Step::get(LIST).gives(200, json!([])),
        Step::post(PULLS, wanted()).gives(422, exists()),
        Step::get(LIST).gives(200, json!([])),
    ])
    .await;
    let error = host.forge(ForgeKind::GitHub).propose(&proposal()).await.unwrap_err();
    assert_eq!(error.reason(), "ForgeRefused");
    assert!(error.to_string().contains("already exists for shop:rollback"), "{error}");
}

#[tokio::test]
async fn states_are_told_apart() {
    for (state, merged, expected) in
        [("open", false, State::Open), ("closed", false, State::Closed), ("closed", true, State::Merged)]
    {
        let host = Host::with([Step::get(ONE).gives(200, pull(7, state, merged))]).await;
        assert_eq!(host.forge(ForgeKind::GitHub).state(&number(7)).await.unwrap(), expected);
    }
}

#[tokio::test]
async fn comments_closes_and_shows_a_status() {
    let host = Host::with([
        Step::post("/api/v3/repos/shop/releases/issues/7/comments", json!({ "body": "fixed by 1.4.3" }))
            .gives(201, json!({})),
        Step::get(ONE).gives(200, pull(7, "open", false)),
        Step::patch(ONE, json!({ "state": "closed" })).gives(200, pull(7, "closed", false)),
        Step::get(ONE).gives(200, pull(7, "closed", true)),
        Step::post(
            &format!("/api/v3/repos/shop/releases/statuses/{COMMIT}"),
            json!({
                "state": "failure",
                "context": "sluice/shop",
                "description": description(),
                "target_url": "https://ota.example.org/shop",
            }),
        )
        .gives(201, json!({})),
    ])
    .await;
    let forge = host.forge(ForgeKind::GitHub);
    forge.comment(&number(7), "fixed by 1.4.3").await.unwrap();
    forge.close(&number(7)).await.unwrap();
    // Merged meanwhile: nothing is closed.
    forge.close(&number(7)).await.unwrap();
    forge.commit_status(&status(CommitState::Failure)).await.unwrap();
    host.end("Bearer canary-token");
}

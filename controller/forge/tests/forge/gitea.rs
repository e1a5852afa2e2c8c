use serde_json::{Value, json};
use sluice_forge::{CommitState, ForgeKind, State};

use crate::{
    COMMIT, HEAD, description, number, proposal,
    script::{Host, Step},
    status,
};

const BOTH: &str = "/api/v1/repos/shop/releases/pulls/main/rollback/shop/1a2b";
const OPEN: &str = "/api/v1/repos/shop/releases/pulls?state=open&limit=50";
const PULLS: &str = "/api/v1/repos/shop/releases/pulls";
const ONE: &str = "/api/v1/repos/shop/releases/pulls/7";

fn pull(number: u64, state: &str, merged: bool) -> Value {
    json!({
        "id": 100 + number,
        "number": number,
        "html_url": format!("https://gitea.example.org/shop/releases/pulls/{number}"),
        "state": state,
        "merged": merged,
        "merged_at": if merged { json!("2026-11-30T23:00:00Z") } else { Value::Null },
        "head": { "label": HEAD, "ref": HEAD, "sha": COMMIT, "repo_id": 1, "repo": { "id": 1 } },
        "base": { "label": "main", "ref": "main", "sha": COMMIT, "repo_id": 1, "repo": { "id": 1 } },
    })
}

fn wanted() -> Value {
    json!({ "head": HEAD, "base": "main", "title": "Roll back shop to 1.4.1", "body": "It breaks.\n/merge" })
}

fn absent() -> Value {
    json!({ "errors": null, "message": "not found", "url": "https://gitea.example.org/api/swagger" })
}

#[tokio::test]
async fn a_pull_request_is_opened_with_its_labels() {
    let host = Host::with([
        Step::get(BOTH).gives(404, absent()),
        Step::get(OPEN).gives(200, json!([])),
        Step::post(PULLS, wanted()).gives(201, pull(7, "open", false)),
        Step::get(OPEN).gives(200, json!([pull(7, "open", false)])),
        Step::post("/api/v1/repos/shop/releases/issues/7/labels", json!({ "labels": ["rollback", "ota"] }))
            .gives(200, json!([])),
    ])
    .await;
    let made = host.forge(ForgeKind::Gitea).propose(&proposal()).await.unwrap();
    assert_eq!((made.number, made.url.as_str()), (7, "https://gitea.example.org/shop/releases/pulls/7"));
    host.end("token canary-token");
}

#[tokio::test]
async fn a_pull_request_of_the_branch_is_found() {
    let host = Host::with([
        Step::get(BOTH).gives(200, pull(7, "open", false)),
        Step::get(BOTH).gives(200, pull(5, "closed", false)),
        Step::get(OPEN).gives(200, json!([pull(8, "open", false)])),
        Step::get(BOTH).gives(200, pull(5, "closed", true)),
        Step::get(OPEN).gives(200, json!([])),
    ])
    .await;
    let forge = host.forge(ForgeKind::Gitea);
    for number in [7, 8, 5] {
        assert_eq!(forge.propose(&proposal()).await.unwrap().number, number);
    }
    host.end("token canary-token");
}

#[tokio::test]
async fn whoever_was_faster_is_found() {
    let exists = "pull request already exists for these targets [id: 1, issue_id: 2, head_repo_id: 1]";
    let host = Host::with([
        Step::get(BOTH).gives(404, absent()),
        Step::get(OPEN).gives(200, json!([])),
        Step::post(PULLS, wanted()).gives(409, json!({ "message": exists, "url": "x" })),
        Step::get(BOTH).gives(200, pull(7, "open", false)),
    ])
    .await;
    assert_eq!(host.forge(ForgeKind::Gitea).propose(&proposal()).await.unwrap().number, 7);
    host.end("token canary-token");
}

#[tokio::test]
async fn of_two_that_were_opened_at_the_same_time_the_first_stays() {
    let host = Host::with([
        Step::get(BOTH).gives(404, absent()),
        Step::get(OPEN).gives(200, json!([])),
        Step::post(PULLS, wanted()).gives(201, pull(7, "open", false)),
        Step::get(OPEN).gives(200, json!([pull(7, "open", false), pull(6, "open", false)])),
        Step::get(ONE).gives(200, pull(7, "open", false)),
        Step::patch(ONE, json!({ "state": "closed" })).gives(201, pull(7, "closed", false)),
    ])
    .await;
    assert_eq!(host.forge(ForgeKind::Gitea).propose(&proposal()).await.unwrap().number, 6);
    host.end("token canary-token");
}

#[tokio::test]
async fn comments_closes_and_shows_a_status() {
    let host = Host::with([
        Step::get(ONE).gives(200, pull(7, "closed", true)),
        Step::post("/api/v1/repos/shop/releases/issues/7/comments", json!({ "body": "fixed" }))
            .gives(201, json!({})),
        Step::get(ONE).gives(200, pull(7, "open", false)),
        Step::patch(ONE, json!({ "state": "closed" })).gives(201, pull(7, "closed", false)),
        Step::post(
            &format!("/api/v1/repos/shop/releases/statuses/{COMMIT}"),
            json!({
                "state": "success",
                "context": "sluice/shop",
                "description": description(),
                "target_url": "https://ota.example.org/shop",
            }),
        )
        .gives(201, json!({})),
    ])
    .await;
    let forge = host.forge(ForgeKind::Gitea);
    assert_eq!(forge.state(&number(7)).await.unwrap(), State::Merged);
    forge.comment(&number(7), "fixed").await.unwrap();
    forge.close(&number(7)).await.unwrap();
    forge.commit_status(&status(CommitState::Success)).await.unwrap();
    host.end("token canary-token");
}

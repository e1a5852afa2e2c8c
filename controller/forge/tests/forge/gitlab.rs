use serde_json::{Value, json};
use sluice_forge::{CommitState, ForgeKind, State};

use crate::{
    COMMIT, HEAD, description, number, proposal,
    script::{Host, Step},
    status,
};

const LIST: &str = "/api/v4/projects/group%2Fshop%2Freleases/merge_requests?source_branch=rollback%2Fshop%2F1a2b&state=all&order_by=created_at&sort=desc&per_page=20";
const ALL: &str = "/api/v4/projects/group%2Fshop%2Freleases/merge_requests";
const ONE: &str = "/api/v4/projects/group%2Fshop%2Freleases/merge_requests/7";

fn merge_request(iid: u64, state: &str) -> Value {
    json!({
        "id": 100 + iid,
        "iid": iid,
        "project_id": 3,
        "title": "x",
        "state": state,
        "source_branch": HEAD,
        "target_branch": "main",
        "source_project_id": 3,
        "target_project_id": 3,
        "web_url": format!("https://gitlab.com/group/shop/releases/-/merge_requests/{iid}"),
    })
}

fn wanted() -> Value {
    json!({
        "source_branch": HEAD,
        "target_branch": "main",
        "title": "Roll back shop to 1.4.1",
        "description": "It breaks.\n\\/merge",
        "labels": "rollback,ota",
    })
}

#[tokio::test]
async fn a_merge_request_is_opened_with_its_labels_and_no_commands() {
    let host = Host::with([
        Step::get(LIST).gives(200, json!([])),
        Step::post(ALL, wanted()).gives(201, merge_request(7, "opened")),
    ])
    .await;
    let made = host.forge(ForgeKind::GitLab).propose(&proposal()).await.unwrap();
    assert_eq!(
        (made.number, made.url.as_str()),
        (7, "https://gitlab.com/group/shop/releases/-/merge_requests/7")
    );
    host.end("Bearer canary-token");
}

#[tokio::test]
async fn a_merge_request_of_the_branch_is_found() {
    let mut fork = merge_request(9, "opened");
    fork["source_project_id"] = json!(4);
    let list = json!([fork, merge_request(8, "closed"), merge_request(7, "opened")]);
    let host = Host::with([Step::get(LIST).gives(200, list)]).await;
    assert_eq!(host.forge(ForgeKind::GitLab).propose(&proposal()).await.unwrap().number, 7);
    host.end("Bearer canary-token");
}

#[tokio::test]
async fn whoever_was_faster_is_found() {
    let exists =
        json!({ "message": ["Another open merge request already exists for this source branch: !7"] });
    let host = Host::with([
        Step::get(LIST).gives(200, json!([])),
        Step::post(ALL, wanted()).gives(409, exists),
        Step::get(LIST).gives(200, json!([merge_request(7, "opened")])),
    ])
    .await;
    assert_eq!(host.forge(ForgeKind::GitLab).propose(&proposal()).await.unwrap().number, 7);
    host.end("Bearer canary-token");
}

#[tokio::test]
async fn states_are_told_apart() {
    for (state, expected) in [
        ("opened", State::Open),
        ("locked", State::Open),
        ("merged", State::Merged),
        ("closed", State::Closed),
    ] {
        let host = Host::with([Step::get(ONE).gives(200, merge_request(7, state))]).await;
        assert_eq!(host.forge(ForgeKind::GitLab).state(&number(7)).await.unwrap(), expected);
    }
    let host = Host::with([Step::get(ONE).gives(200, merge_request(7, "frozen"))]).await;
    let error = host.forge(ForgeKind::GitLab).state(&number(7)).await.unwrap_err();
    assert!(error.to_string().contains("frozen"), "{error}");
}

#[tokio::test]
async fn comments_and_closes() {
    let host = Host::with([
        Step::post(&format!("{ONE}/notes"), json!({ "body": "\\/close it" })).gives(201, json!({})),
        Step::get(ONE).gives(200, merge_request(7, "opened")),
        Step::put(ONE, json!({ "state_event": "close" })).gives(200, merge_request(7, "closed")),
    ])
    .await;
    let forge = host.forge(ForgeKind::GitLab);
    forge.comment(&number(7), "/close it").await.unwrap();
    forge.close(&number(7)).await.unwrap();
    host.end("Bearer canary-token");
}

#[tokio::test]
async fn a_status_that_waits_already_goes_on_waiting() {
    let address = format!("/api/v4/projects/group%2Fshop%2Freleases/statuses/{COMMIT}");
    let sent = |state: &str| {
        json!({
            "state": state,
            "name": "sluice/shop",
            "description": description(),
            "target_url": "https://ota.example.org/shop",
        })
    };
    let waits = json!({
        "message": "Cannot transition status via :enqueue from :pending (Reason(s): Status cannot transition via \"enqueue\")",
    });
    let host = Host::with([
        Step::post(&address, sent("pending")).gives(201, json!({})),
        Step::post(&address, sent("pending")).gives(400, waits.clone()),
        Step::post(&address, sent("failed")).gives(201, json!({})),
        Step::post(&address, sent("success")).gives(400, waits),
    ])
    .await;
    let forge = host.forge(ForgeKind::GitLab);
    forge.commit_status(&status(CommitState::Pending)).await.unwrap();
    forge.commit_status(&status(CommitState::Pending)).await.unwrap();
    forge.commit_status(&status(CommitState::Failure)).await.unwrap();
    forge.commit_status(&status(CommitState::Success)).await.unwrap_err();
    host.end("Bearer canary-token");
}

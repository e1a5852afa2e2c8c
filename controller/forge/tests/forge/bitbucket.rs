use serde_json::{Value, json};
use sluice_forge::{CommitState, CommitStatus, ForgeKind, State, connect};

use crate::{
    COMMIT, HEAD, description, number, proposal,
    script::{Host, Step},
    status,
};

const LIST: &str = "/2.0/repositories/shop/releases/pullrequests?q=source.branch.name+%3D+%22rollback%2Fshop%2F1a2b%22&state=OPEN&state=MERGED&state=DECLINED&state=SUPERSEDED&sort=-created_on&pagelen=10";
const ALL: &str = "/2.0/repositories/shop/releases/pullrequests";
const ONE: &str = "/2.0/repositories/shop/releases/pullrequests/7";

fn pull(id: u64, state: &str) -> Value {
    let repository = json!({ "type": "repository", "full_name": "shop/releases" });
    json!({
        "type": "pullrequest",
        "id": id,
        "state": state,
        "title": "x",
        "links": { "html": { "href": format!("https://bitbucket.org/shop/releases/pull-requests/{id}") } },
        "source": { "branch": { "name": HEAD }, "repository": repository },
        "destination": { "branch": { "name": "main" }, "repository": repository },
    })
}

fn page(values: &[Value]) -> Value {
    json!({ "pagelen": 10, "page": 1, "size": values.len(), "values": values })
}

fn wanted() -> Value {
    json!({
        "title": "Roll back shop to 1.4.1",
        "description": "It breaks.\n/merge",
        "source": { "branch": { "name": HEAD } },
        "destination": { "branch": { "name": "main" } },
    })
}

#[tokio::test]
async fn a_pull_request_is_opened_once() {
    let mut fork = pull(9, "OPEN");
    fork["source"]["repository"]["full_name"] = json!("somebody/releases");
    let host = Host::with([
        Step::get(LIST).gives(200, page(&[fork])),
        Step::post(ALL, wanted()).gives(201, pull(7, "OPEN")),
        Step::get(LIST).gives(200, page(&[pull(8, "DECLINED"), pull(7, "OPEN")])),
    ])
    .await;
    let forge = host.forge(ForgeKind::Bitbucket);
    let made = forge.propose(&proposal()).await.unwrap();
    assert_eq!((made.number, made.url.as_str()), (7, "https://bitbucket.org/shop/releases/pull-requests/7"));
    assert_eq!(forge.propose(&proposal()).await.unwrap(), made);
    host.end("Bearer canary-token");
}

#[tokio::test]
async fn states_are_told_apart() {
    for (state, expected) in [
        ("OPEN", State::Open),
        ("MERGED", State::Merged),
        ("DECLINED", State::Closed),
        ("SUPERSEDED", State::Closed),
    ] {
        let host = Host::with([Step::get(ONE).gives(200, pull(7, state))]).await;
        assert_eq!(host.forge(ForgeKind::Bitbucket).state(&number(7)).await.unwrap(), expected);
    }
}

#[tokio::test]
async fn comments_closes_and_shows_a_status_as_the_owner_of_an_api_token() {
    let sent = |url: &str| {
        json!({
            "key": "sluice/shop",
            "name": "sluice/shop",
            "state": "INPROGRESS",
            "description": description(),
            "url": url,
        })
    };
    let address = format!("/2.0/repositories/shop/releases/commit/{COMMIT}/statuses/build");
    let host = Host::with([
        Step::post(&format!("{ONE}/comments"), json!({ "content": { "raw": "fixed" } }))
            .gives(201, json!({})),
        Step::get(ONE).gives(200, pull(7, "OPEN")),
        Step::post(&format!("{ONE}/decline"), json!({})).gives(200, pull(7, "DECLINED")),
        Step::post(&address, sent("https://ota.example.org/shop")).gives(201, json!({})),
    ])
    .await;
    let mut settings = host.settings(ForgeKind::Bitbucket, "shop/releases");
    settings.user = Some("bot@example.org".into());
    let forge = connect(&settings).unwrap();
    forge.comment(&number(7), "fixed").await.unwrap();
    forge.close(&number(7)).await.unwrap();
    forge.commit_status(&status(CommitState::Pending)).await.unwrap();
    host.end("Basic Ym90QGV4YW1wbGUub3JnOmNhbmFyeS10b2tlbg==");

    let own = format!("{}/shop/releases/commits/{COMMIT}", host.base);
    let other = Host::with([Step::post(&address, sent(&own)).gives(201, json!({}))]).await;
    settings.base = Some(format!("{}/2.0", other.base).parse().unwrap());
    settings.user = Some("x-token-auth".into());
    let status = CommitStatus { url: None, ..status(CommitState::Pending) };
    connect(&settings).unwrap().commit_status(&status).await.unwrap();
    other.end("Bearer canary-token");
}

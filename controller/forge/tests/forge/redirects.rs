use serde_json::json;
use sluice_forge::{CommitState, ForgeKind, State};

use crate::{
    COMMIT, number,
    script::{Host, Step},
    status,
};

const ONE: &str = "/api/v3/repos/shop/releases/pulls/7";

fn open() -> serde_json::Value {
    json!({ "number": 7, "html_url": "https://github.com/shop/new/pull/7", "state": "open" })
}

#[tokio::test]
async fn a_repository_that_was_renamed_is_followed() {
    let address = format!("/api/v3/repos/shop/releases/statuses/{COMMIT}");
    let host = Host::with([
        Step::get(ONE).text(301, "").with("location", "/api/v3/repositories/1/pulls/7"),
        Step::get("/api/v3/repositories/1/pulls/7").gives(200, open()),
    ])
    .await;
    assert_eq!(host.forge(ForgeKind::GitHub).state(&number(7)).await.unwrap(), State::Open);
    host.end("Bearer canary-token");

    // What changes something goes on only where its method and body do.
    let body = json!({
        "state": "pending",
        "context": "sluice/shop",
        "description": crate::description(),
        "target_url": "https://ota.example.org/shop",
    });
    let host = Host::with([
        Step::post(&address, body.clone())
            .text(307, "")
            .with("location", "/api/v3/repositories/1/statuses/x"),
        Step::post("/api/v3/repositories/1/statuses/x", body.clone()).gives(201, json!({})),
        Step::post(&address, body).text(302, "").with("location", "/api/v3/repositories/1/statuses/x"),
    ])
    .await;
    let forge = host.forge(ForgeKind::GitHub);
    forge.commit_status(&status(CommitState::Pending)).await.unwrap();
    assert!(forge.commit_status(&status(CommitState::Pending)).await.is_err());
    host.end("Bearer canary-token");
}

#[tokio::test]
async fn the_token_goes_to_no_other_host() {
    let other = Host::with([]).await;
    for status in [301, 302, 303, 307, 308] {
        let step = Step::get(ONE).text(status, "").with("location", format!("{}/stolen", other.base));
        let host = Host::with([step]).await;
        let error = host.forge(ForgeKind::GitHub).state(&number(7)).await.unwrap_err();
        assert!(error.to_string().contains("redirects to 127.0.0.1"), "{error}");
        assert!(!error.is_transient());
    }
    assert!(other.is_untouched());
}

#[tokio::test]
async fn a_circle_ends() {
    let host = Host::with(vec![Step::get(ONE).text(307, "").with("location", ONE); 4]).await;
    assert!(host.forge(ForgeKind::GitHub).state(&number(7)).await.is_err());
    host.end("Bearer canary-token");
}

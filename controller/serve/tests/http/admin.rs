//! Health, metrics and the API.

use std::sync::Arc;

use serde_json::json;
use sluice_core::snapshot::Snapshot;
use sluice_serve::{
    admin::{Admin, Token},
    listener::Limits,
};
use tokio_util::sync::CancellationToken;

use crate::{
    wire::{get, post, request, send},
    world::{CANARY, Running, TOKEN, World, ask},
};

fn bearer() -> String {
    format!("Bearer {TOKEN}")
}

#[tokio::test]
async fn the_api_wants_the_token() {
    let world = World::new().await;
    let at = world.serve_admin().await.address;
    for path in ["/api/v1/status", "/api/v1/openapi.json", "/api/v1/elsewhere"] {
        for header in ["", "Bearer wrong-token-of-length", "Basic YTpi"] {
            let answer = get(at, path, &[("authorization", header)]).await;
            assert_eq!(answer.status, 401, "{path} {header}");
            assert!(answer.header("www-authenticate").unwrap().starts_with("Bearer"));
            assert!(answer.json()["message"].as_str().unwrap().contains("Authorization"));
        }
    }
    let authorization = bearer();
    let with = [("authorization", authorization.as_str())];
    assert_eq!(get(at, "/api/v1/status", &with).await.json()["generation"], 7);
    let document = get(at, "/api/v1/openapi.json", &with).await.json();
    assert!(document["paths"]["/api/v1/explain"]["post"].is_object());
    assert_eq!(get(at, "/api/v1/elsewhere", &with).await.status, 404);
    assert_eq!(send(at, request("DELETE", "/api/v1/status", &with, b"")).await.status, 405);
}

#[tokio::test]
async fn an_answer_is_explained_and_nothing_is_noted() {
    let world = World::new().await;
    let at = world.serve_admin().await.address;
    let authorization = bearer();
    let explain = async |body: Vec<u8>| {
        let headers = [("authorization", authorization.as_str())];
        send(at, request("POST", "/api/v1/explain", &headers, &body)).await
    };
    let answer = explain(ask(json!({}))).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let body = answer.json();
    assert_eq!((body["answer"].as_str(), body["status"].as_u64()), (Some("update"), Some(200)));
    assert!(!body["trace"].as_array().unwrap().is_empty());
    assert_eq!(body["device"], json!(null));
    let exact = post(world.serve().await.address, "/updates", ask(json!({}))).await;
    assert_eq!(body["bodyText"].as_str(), Some(exact.text()));
    assert_eq!(body["body"], exact.json());
    assert_eq!(&body["summary"], body["trace"].as_array().unwrap().last().unwrap());
    world.fleet.flush().await.unwrap();
    assert_eq!(world.fleet.figures().written_check_ins, 1);
    let seen = explain(ask(json!({}))).await;
    assert_eq!(seen.json()["device"]["lastOffer"]["version"], "1.4.2");
    assert!(!seen.text().contains(CANARY));
    let bad = explain(b"nonsense".to_vec()).await.json();
    assert_eq!(
        (bad["answer"].as_str(), bad["status"].as_u64()),
        (Some("invalid_json_parse_body"), Some(400))
    );
}

#[tokio::test]
async fn health_and_readiness() {
    let world = World::new().await;
    let stopping = CancellationToken::new();
    let admin = Admin::new(world.device.clone(), Token::new(TOKEN).unwrap(), stopping.clone());
    let running = Running::start(admin.site(), None, Limits::default()).await;
    let at = running.address;
    let ready = async || {
        let answer = get(at, "/readyz", &[]).await;
        let codes: Vec<_> = answer.json()["reasons"]
            .as_array()
            .unwrap()
            .iter()
            .map(|r| r["code"].as_str().unwrap().to_owned())
            .collect();
        (answer.status, codes)
    };
    assert_eq!(ready().await, (200, vec![]));
    let served = world.views.snapshot.swap(Arc::new(Snapshot::empty()));
    assert_eq!(ready().await, (503, vec!["NoSnapshot".to_owned()]));
    world.views.snapshot.store(served);
    stopping.cancel();
    assert_eq!(ready().await, (503, vec!["Stopping".to_owned()]));
    assert_eq!(get(at, "/healthz", &[]).await.status, 200);
    let page = get(at, "/", &[]).await;
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    assert_eq!(get(at, "/elsewhere", &[]).await.status, 404);
    assert_eq!(post(at, "/healthz", "").await.status, 405);
}

#[tokio::test]
async fn metrics_count_by_fixed_labels() {
    let world = World::new().await;
    let at = world.serve().await.address;
    post(at, "/updates", ask(json!({}))).await;
    post(at, "/updates", ask(json!({"platform": "nonsense"}))).await;
    post(at, "/updates", ask(json!({"app_id": "org.example.unknown"}))).await;
    post(at, "/stats", ask(json!({"action": "set", "version_name": "1.4.2"}))).await;
    get(at, &world.bundle(), &[]).await;
    get(at, "/some/odd/path", &[]).await;
    let admin = world.serve_admin().await.address;
    let answer = get(admin, "/metrics", &[]).await;
    assert_eq!(answer.status, 200);
    assert!(answer.header("content-type").unwrap().starts_with("application/openmetrics-text"));
    let text = answer.text();
    for line in [
        "sluice_http_requests_total{route=\"updates\",class=\"2xx\"} 2",
        "sluice_http_requests_total{route=\"updates\",class=\"4xx\"} 1",
        "sluice_http_requests_total{route=\"other\",class=\"4xx\"} 1",
        "sluice_answers_total{code=\"update\"} 1",
        "sluice_answers_total{code=\"no_channel\"} 1",
        "sluice_answers_total{code=\"invalid_json_body\"} 1",
        "sluice_events_total{meaning=\"trial_started\"} 1",
        "sluice_download_bytes_total 200000",
        "sluice_fleet_events_new_total 1",
        "sluice_fleet_writable 1.0",
        "sluice_snapshot_generation 1790000000123.0",
        "sluice_diagnostics{severity=\"error\"} 0.0",
        "# EOF",
    ] {
        assert!(text.lines().any(|l| l == line), "{line} is missing in\n{text}");
    }
    assert!(!text.contains(CANARY) && !text.contains("nonsense") && !text.contains("org.example"));
}

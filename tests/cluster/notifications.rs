//! Whom a Repository tells what becomes of its rollouts: a real receiver behind HTTP, the address and the secret in a Secret.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU16, Ordering},
};

use axum::{Router, body::Bytes, extract::State, http::HeaderMap, http::StatusCode, routing::post};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sluice_crds::{Repository, common::Condition};

use crate::support::{LIMIT, Phone, World, shop, until};

const TOKEN: &str = "a-secret-that-messages-are-signed-with";

/// Somebody who is told, and answers as they are set to.
struct Receiver {
    answer: AtomicU16,
    heard: Mutex<Vec<(HeaderMap, Bytes)>>,
    url: String,
}

impl Receiver {
    async fn start() -> Arc<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/secret-path", listener.local_addr().unwrap());
        let receiver = Arc::new(Self { answer: AtomicU16::new(204), heard: Mutex::default(), url });
        let site = Router::new().route("/secret-path", post(hear)).with_state(Arc::clone(&receiver));
        tokio::spawn(async move { axum::serve(listener, site).await });
        receiver
    }

    /// Kind and release of everything that was heard.
    fn told(&self) -> Vec<(String, String)> {
        let heard = self.heard.lock().unwrap();
        let events = heard.iter().map(|(_, body)| serde_json::from_slice::<Value>(body).unwrap());
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        events.map(|event| (text(&event["data"]["kind"]), text(&event["data"]["release"]))).collect()
    }

    async fn hears(&self, release: &str) {
        until(LIMIT, &format!("{release} is told"), async || {
            let told = self.told();
            if told.iter().any(|(_, of)| of == release) { Ok(()) } else { Err(told) }
        })
        .await;
    }
}

async fn hear(State(receiver): State<Arc<Receiver>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let answer = StatusCode::from_u16(receiver.answer.load(Ordering::Relaxed)).unwrap();
    if answer.is_success() {
        receiver.heard.lock().unwrap().push((headers, body));
    }
    answer
}

/// Waits for the condition `Notified` of this reason.
async fn notified(world: &World, reason: &str) -> Condition {
    until(LIMIT, &format!("Notified says {reason}"), async || {
        let repository = world.api::<Repository>().get("shop").await.unwrap();
        let conditions = repository.status.map(|status| status.conditions).unwrap_or_default();
        match conditions.iter().find(|c| c.type_ == "Notified" && c.reason == reason) {
            Some(found) => Ok(found.clone()),
            None => Err(format!("{conditions:?}")),
        }
    })
    .await
}

/// Asks for a look, which reads Secrets again.
async fn ask(world: &World) {
    let look = json!({ "metadata": { "annotations": { "sluice.dev/requestedAt": "now" } } });
    let params = kube::api::PatchParams::default();
    world.api::<Repository>().patch("shop", &params, &kube::api::Patch::Merge(&look)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_becomes_of_rollouts_is_told_once_signed_and_retried() {
    let world = World::empty().await;
    world.upstream.commit(shop());
    let receiver = Receiver::start().await;
    world.follow(json!({ "notifications": { "secretRef": { "name": "told" }, "network": "Any" } })).await;
    let operator = world.operator().await;
    let phone = Phone::new(1);

    // Without the Secret everything is released all the same.
    operator.offers(&phone, "1.1.0").await;
    let condition = notified(&world, "CredentialsMissing").await;
    assert!(condition.message.contains("told"), "{condition:?}");
    world.await_channel("shop-production", "Served").await;
    world.secret("told", &json!({ "address": receiver.url, "token": TOKEN })).await;
    ask(&world).await;
    notified(&world, "Delivered").await;

    world.move_to("1.2.0");
    operator.hint().await;
    receiver.hears("1.2.0").await;

    // While it is away, everything is kept for it, and the Repository says so.
    receiver.answer.store(503, Ordering::Relaxed);
    world.move_to("1.1.0");
    operator.hint().await;
    operator.offers(&phone, "1.1.0").await;
    let condition = notified(&world, "DeliveryFailing").await;
    assert!(condition.message.contains("503") && !condition.message.contains("secret-path"), "{condition:?}");
    let before = receiver.told().len();
    receiver.answer.store(204, Ordering::Relaxed);
    until(LIMIT, "it is told afterwards", async || (receiver.told().len() > before).then_some(())).await;
    notified(&world, "Delivered").await;

    // Another leader tells nothing again.
    assert!(operator.stop().await.success());
    let operator = world.operator().await;
    operator.leads().await;
    world.move_to("1.2.0");
    operator.hint().await;
    let count = |told: &[(String, String)]| told.iter().filter(|(_, of)| of == "1.2.0").count();
    let first = count(&receiver.told());
    until(LIMIT, "it is told by the next leader", async || (count(&receiver.told()) > first).then_some(()))
        .await;

    let log = operator.log();
    let heard = receiver.heard.lock().unwrap();
    let mut ids = Vec::new();
    for (headers, body) in heard.iter() {
        let header = |name: &str| headers[name].to_str().unwrap();
        let (id, at) = (header("webhook-id"), header("webhook-timestamp"));
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(TOKEN.as_bytes()).unwrap();
        mac.update(format!("{id}.{at}.").as_bytes());
        mac.update(body);
        let given = header("webhook-signature").strip_prefix("v1,").unwrap().to_owned();
        let made = BASE64_STANDARD.encode(mac.finalize().into_bytes());
        assert_eq!(given, made);
        ids.push(id.to_owned());
        let text = std::str::from_utf8(body).unwrap();
        assert!(!text.contains(phone.body()["device_id"].as_str().unwrap()), "{text}");
    }
    let all = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), all, "each row was told once");
    assert!(!log.contains(TOKEN) && !log.contains("secret-path"), "{log}");
}

/// Who may write the Secret must not reach into the operator's network, unless the platform team says so.
#[tokio::test(flavor = "multi_thread")]
async fn an_address_inside_is_refused_unless_the_repository_allows_it() {
    let world = World::empty().await;
    world.upstream.commit(shop());
    let receiver = Receiver::start().await;
    world
        .secret("told", &json!({ "address": receiver.url.replace("http:", "https:"), "token": TOKEN }))
        .await;
    world.follow(json!({ "notifications": { "secretRef": { "name": "told" } } })).await;
    let operator = world.operator().await;
    let condition = notified(&world, "CredentialsInvalid").await;
    assert!(condition.message.contains("not one of the Internet"), "{condition:?}");
    assert!(!condition.message.contains("secret-path"), "{condition:?}");
    operator.offers(&Phone::new(1), "1.1.0").await;

    // In the form of Slack, where the platform team allows it.
    let notifications = json!({ "secretRef": { "name": "told" }, "network": "Any", "form": "Slack" });
    world.secret("told", &json!({ "address": receiver.url, "token": "" })).await;
    world.follow(json!({ "notifications": notifications })).await;
    notified(&world, "Delivered").await;
    world.move_to("1.2.0");
    operator.hint().await;
    until(LIMIT, "a text is told", async || {
        let heard = receiver.heard.lock().unwrap();
        let texts = heard.iter().map(|(_, body)| serde_json::from_slice::<Value>(body).unwrap());
        let mut texts = texts.filter_map(|body| Some(body["text"].as_str()?.to_owned()));
        texts.any(|text| text.contains("1.2.0")).then_some(())
    })
    .await;
}

//! Against a real HTTP server that sometimes refuses.

use std::sync::{
    Mutex,
    atomic::{AtomicU16, Ordering},
};

use axum::{Router, extract::State, routing::post};
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde_json::Value;
use sluice_core::{
    channel::Target as Runs,
    decisions::{Because, Kind, Numbers, Transition},
    gate::ArmNumbers,
};
use sluice_store::objects::Directory;

use super::*;
use crate::{Form, Target};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn owner() -> Owner {
    Owner { name: "team/shop".into(), apps: vec!["com.example.*".into()] }
}

#[derive(Default)]
struct Heard {
    answer: AtomicU16,
    all: Mutex<Vec<(HeaderMap, Bytes)>>,
}

impl Heard {
    fn weights(&self) -> Vec<Value> {
        let all = self.all.lock().unwrap();
        let event = |body: &Bytes| serde_json::from_slice::<Value>(body).unwrap();
        all.iter().map(|(_, body)| event(body)["data"]["weight"].clone()).collect()
    }
}

async fn hear(State(heard): State<Arc<Heard>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let answer = StatusCode::from_u16(heard.answer.load(Ordering::Relaxed)).unwrap();
    if answer.is_success() {
        heard.all.lock().unwrap().push((headers, body));
    }
    answer
}

struct World {
    _folder: tempfile::TempDir,
    store: Arc<BundleStore>,
    heard: Arc<Heard>,
    url: url::Url,
    app: AppId,
}

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let objects = Arc::new(Directory::open(folder.path()).unwrap());
        let store = Arc::new(BundleStore::open(objects, "fresh").await.unwrap());
        let heard = Arc::new(Heard { answer: AtomicU16::new(200), ..Heard::default() });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap()).parse().unwrap();
        let site = Router::new().route("/hook", post(hear)).with_state(Arc::clone(&heard));
        tokio::spawn(async move { axum::serve(listener, site).await });
        let app: AppId = "com.example.shop".parse().unwrap();
        store.claim(&app, "team/shop").await.unwrap();
        Self { _folder: folder, store, heard, url, app }
    }

    fn teller(&self, form: Form) -> Teller<Target> {
        let target = Target::new(self.url.clone(), Some(SECRET), form).unwrap();
        Teller::new(Arc::clone(&self.store), 0, owner(), target, broadcast::channel(1).1)
    }

    /// Weights of a page, in percent.
    async fn decide(&self, weights: &[u32]) {
        self.decide_as("team/shop", weights).await;
    }

    async fn decide_as(&self, owner: &str, weights: &[u32]) {
        let mut rows: Vec<Row> = weights.iter().map(|weight| row(weight * 10_000)).collect();
        let head = self.store.record(&self.app).await.unwrap().unwrap().decisions;
        let head =
            self.store.append_decisions(&self.app, head, Timestamp::UNIX_EPOCH, &mut rows).await.unwrap();
        self.store
            .update_record(0, &self.app, owner, |record| {
                record.decisions = head;
                Ok::<(), ControlError>(())
            })
            .await
            .unwrap();
    }
}

fn row(weight: u32) -> Row {
    let transition = Transition {
        channel: "production".parse().unwrap(),
        line: "ios|*".into(),
        serial: 2,
        kind: Kind::Advanced,
        release: Runs::Release("1.1.0".parse().unwrap()),
        level: 1,
        weight,
        limited: false,
        reason: "Proven".into(),
    };
    let treatment = ArmNumbers { enrolled: 120, ..ArmNumbers::default() };
    let because = Because {
        kind: Kind::Advanced,
        reason: "Proven".into(),
        sentence: "0 of 120 failed".into(),
        numbers: Some(Numbers { treatment, control: ArmNumbers::default() }),
    };
    Row::new(transition, Some(&because))
}

#[tokio::test]
async fn everything_is_told_once_in_order_and_signed() {
    let world = World::new().await;
    world.decide(&[1]).await;
    world.teller(Form::CloudEvents).tell(&Which::All).await.unwrap();
    assert!(world.heard.weights().is_empty(), "what was before is history");
    world.decide(&[2, 3]).await;
    world.teller(Form::CloudEvents).tell(&Which::All).await.unwrap();
    world.decide(&[4]).await;
    world.heard.answer.store(503, Ordering::Relaxed);
    world.decide(&[5]).await;
    let Waits { why, decisions } = world.teller(Form::CloudEvents).tell(&Which::All).await.unwrap_err();
    assert!(why.contains("503") && !why.contains("hook") && decisions == 2, "{decisions}: {why}");
    world.heard.answer.store(200, Ordering::Relaxed);
    for _ in 0..2 {
        world.teller(Form::CloudEvents).tell(&Which::All).await.unwrap();
    }
    assert_eq!(world.heard.weights(), [2.0, 3.0, 4.0, 5.0]);

    let all = world.heard.all.lock().unwrap();
    for (headers, body) in all.iter() {
        let header = |name: &str| headers[name].to_str().unwrap();
        let key = base64::Engine::decode(&base64::prelude::BASE64_STANDARD, &SECRET[6..]).unwrap();
        let at = header("webhook-timestamp").parse().unwrap();
        assert_eq!(header("webhook-signature"), crate::signature::sign(&key, header("webhook-id"), at, body));
        let event: Value = serde_json::from_slice(body).unwrap();
        assert_eq!((&event["specversion"], &event["id"]), (&"1.0".into(), &header("webhook-id").into()));
        assert_eq!(event["type"], "dev.sluice.rollout.advanced");
        assert_eq!(event["subject"], "com.example.shop/production");
        let data = &event["data"];
        assert!(data["sentence"].as_str().unwrap().ends_with(" of production: 0 of 120 failed"), "{data}");
        assert_eq!(
            (&data["reason"], &data["numbers"]["treatment"]["enrolled"]),
            (&"Proven".into(), &120.into())
        );
    }
}

/// The app that comes after somebody began to listen is told whole; another team's, and one that is not named, is not.
#[tokio::test]
async fn only_the_apps_that_are_named_are_looked_at_and_a_new_one_from_its_beginning() {
    let world = World::new().await;
    let other: AppId = "com.example.bank".parse().unwrap();
    world.store.claim(&other, "team/bank").await.unwrap();
    let empty = Owner { name: "team/late".into(), ..owner() };
    let target = Target::new(world.url.clone(), Some(SECRET), Form::CloudEvents).unwrap();
    let late = Teller::new(Arc::clone(&world.store), 0, empty, target, broadcast::channel(1).1);
    late.tell(&Which::All).await.unwrap();
    // It begins after the first look, with an app of its own.
    let world = World { app: "com.example.late".parse().unwrap(), ..world };
    world.store.claim(&world.app, "team/late").await.unwrap();
    world.decide_as("team/late", &[1, 2]).await;
    late.tell(&Which::These(BTreeSet::from([other]))).await.unwrap();
    assert!(world.heard.weights().is_empty());
    late.tell(&Which::These(BTreeSet::from([world.app.clone()]))).await.unwrap();
    assert_eq!(world.heard.weights(), [1.0, 2.0]);
}

/// Old news in one burst are none.
#[tokio::test]
async fn who_is_told_again_after_a_time_without_is_told_from_then_on() {
    let world = World::new().await;
    world.teller(Form::CloudEvents).tell(&Which::All).await.unwrap();
    world.decide(&[1]).await;
    for _ in 0..2 {
        Teller::<Target>::forget(&world.store, 0, &owner()).await.unwrap();
    }
    world.teller(Form::CloudEvents).tell(&Which::All).await.unwrap();
    world.decide(&[2]).await;
    world.teller(Form::CloudEvents).tell(&Which::All).await.unwrap();
    assert_eq!(world.heard.weights(), [2.0]);
}

/// More pages than are read at one time, while nobody says that there is more.
#[tokio::test]
async fn a_long_log_is_told_to_its_end() {
    let world = World::new().await;
    let teller = world.teller(Form::CloudEvents);
    teller.tell(&Which::All).await.unwrap();
    for weight in 1..=40 {
        world.decide(&[weight]).await;
    }
    teller.tell(&Which::All).await.unwrap();
    let expected: Vec<f64> = (1..=40).map(f64::from).collect();
    assert_eq!(world.heard.weights(), expected);
}

#[tokio::test]
async fn what_is_never_taken_stops_nothing() {
    let world = World::new().await;
    world.teller(Form::Slack).tell(&Which::All).await.unwrap();
    world.decide(&[1]).await;
    world.heard.answer.store(400, Ordering::Relaxed);
    let teller = world.teller(Form::Slack);
    teller.tell(&Which::All).await.unwrap();
    assert!(teller.delivery().borrow().left_out.as_ref().unwrap().why.contains("400"));
    world.heard.answer.store(200, Ordering::Relaxed);
    world.decide(&[2]).await;
    world.teller(Form::Slack).tell(&Which::All).await.unwrap();
    let all = world.heard.all.lock().unwrap();
    let [(headers, body)] = all.as_slice() else { panic!("{} messages", all.len()) };
    assert_eq!(headers["content-type"], "application/json");
    let text = serde_json::from_slice::<Value>(body).unwrap()["text"].as_str().unwrap().to_owned();
    assert!(text.contains("com.example.shop") && text.contains("2 %"), "{text}");
}

#[test]
fn secrets_are_checked_and_not_shown() {
    let url: url::Url = "https://hooks.example.org/services/T000/secret-path".parse().unwrap();
    assert!(Target::new(url.clone(), Some("short"), Form::Slack).is_err());
    assert!(Target::new(url.clone(), Some("whsec_%%%"), Form::Slack).is_err());
    let target = Target::new(url, Some(SECRET), Form::Slack).unwrap();
    let shown = format!("{target:?}");
    assert!(!shown.contains("secret-path") && !shown.contains("MfKQ"), "{shown}");
}

#[tokio::test]
async fn a_name_that_leads_inside_is_not_followed() {
    let world = World::new().await;
    let inside: url::Url = format!("https://localhost:{}/hook", world.url.port().unwrap()).parse().unwrap();
    let target = Target::new(inside, Some(SECRET), Form::Slack).unwrap().on_the_internet().unwrap();
    let teller = Teller::new(Arc::clone(&world.store), 0, owner(), target, broadcast::channel(1).1);
    teller.tell(&Which::All).await.unwrap();
    world.decide(&[1]).await;
    let why = teller.tell(&Which::All).await.unwrap_err().why;
    assert!(why.contains("not one of the Internet") && !why.contains("hook"), "{why}");
    for (url, wrong) in [
        ("http://hooks.example.org/", crate::NotOnTheInternet::Plain),
        ("https://169.254.169.254/latest", crate::NotOnTheInternet::Private),
        ("https://[::1]/", crate::NotOnTheInternet::Private),
    ] {
        let target = Target::new(url.parse().unwrap(), Some(SECRET), Form::Slack).unwrap();
        assert_eq!(target.on_the_internet().unwrap_err(), wrong, "{url}");
    }
}

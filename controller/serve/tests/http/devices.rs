//! Update checks, events and channels.

use serde_json::json;
use sluice_store::fleet::Limits;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::{
    wire::{connect, get, post, request, send},
    world::{APP, CANARY, LOG, Wanted, World, ask},
};

#[tokio::test]
async fn an_update_check_is_answered_with_the_bundle() {
    let world = World::new().await;
    let running = world.serve().await;
    let answer = post(running.address, "/updates", ask(json!({}))).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let body = answer.json();
    assert_eq!(body["version"], "1.4.2");
    assert_eq!(body["url"], format!("https://ota.example.org{}", world.bundle()));
    assert_eq!(body["checksum"], world.sha256.to_string());
    world.fleet.flush().await.unwrap();
    let key = sluice_core::request::DeviceKey::of(CANARY);
    let device = world.fleet.device(APP, key).await.unwrap().expect("it is remembered");
    assert_eq!(device.channel.as_deref(), Some("production"));
    assert_eq!(device.plugin, "8.51.23");
    assert_eq!(device.offered.unwrap().version, "1.4.2");
}

#[tokio::test]
async fn unknown_apps_are_answered_and_not_stored() {
    let world = World::new().await;
    let running = world.serve().await;
    let answer = post(running.address, "/updates", ask(json!({"app_id": "org.example.unknown"}))).await;
    assert_eq!((answer.status, answer.json()["error"].as_str()), (200, Some("no_channel")));
    world.fleet.flush().await.unwrap();
    assert_eq!(world.fleet.figures().written_check_ins, 0);
}

#[tokio::test]
async fn odd_requests_are_answered_with_json_and_never_with_5xx() {
    let world = World::new().await;
    let running = world.serve().await;
    let large = vec![b'x'; 70_000];
    let huge = vec![b'{'; 1_200_000];
    let chunked = |size: usize| {
        let mut bytes = b"POST /updates HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
        bytes.extend_from_slice(format!("{size:x}\r\n").as_bytes());
        bytes.resize(bytes.len() + size, b'x');
        bytes.extend_from_slice(b"\r\n0\r\n\r\n");
        bytes
    };
    for (name, bytes, status) in [
        ("not JSON", request("POST", "/updates", &[], b"nonsense"), 400),
        ("empty", request("POST", "/updates", &[], b""), 400),
        ("an array", request("POST", "/updates", &[], b"[]"), 400),
        ("not UTF-8", request("POST", "/updates", &[], b"{\"app_id\":\"\xff\xfe\"}"), 400),
        ("too large", request("POST", "/updates", &[], &large), 413),
        ("too large, in chunks", chunked(70_000), 413),
        (
            "announced as enormous",
            b"POST /updates HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999\r\n\r\n".to_vec(),
            413,
        ),
        ("too many events", request("POST", "/stats", &[], &huge), 413),
        ("events that are not JSON", request("POST", "/stats", &[], b"\xff"), 400),
        ("another method", request("GET", "/updates", &[], b""), 405),
        ("another method", request("PUT", "/stats", &[], b"{}"), 405),
        ("another method", request("PATCH", "/channel_self", &[], b"{}"), 405),
        ("another method", request("DELETE", "/bundles/x.zip", &[], b""), 405),
        ("another path", request("POST", "/", &[], b"{}"), 404),
        ("another path", request("GET", "/bundles/", &[], b""), 404),
        ("another path", request("GET", "/updates/manifest_size", &[], b""), 404),
        ("a query", request("GET", "/channel_self?%ff=%zz&&=", &[], b""), 400),
    ] {
        let answer = send(running.address, bytes).await;
        assert_eq!(answer.status, status, "{name}: {}", answer.text());
        assert_eq!(answer.header("content-type"), Some("application/json"), "{name}");
        assert!(answer.json()["error"].is_string(), "{name}");
        assert!(answer.json()["message"].is_string(), "{name}");
    }
    let answer = send(running.address, request("GET", "/updates", &[], b"")).await;
    assert_eq!(answer.header("allow"), Some("POST"));
}

#[tokio::test]
async fn events_are_acknowledged_when_they_are_durable() {
    let world = World::new().await;
    let running = world.serve().await;
    assert_eq!(post(running.address, "/updates", ask(json!({}))).await.status, 200);
    let event = ask(json!({"action": "set", "version_name": "1.4.2"}));
    let answer = post(running.address, "/stats", &event).await;
    assert_eq!((answer.status, answer.json()), (200, json!({"status": "ok"})));
    assert_eq!(world.fleet.figures().events_new, 1);
    let array = [b"[".as_slice(), &event, b",", b"{}]"].concat();
    let answer = post(running.address, "/stats", array).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["results"][0]["status"], "ok");
    assert_eq!(answer.json()["results"][1]["status"], "error");
    let answer = post(running.address, "/stats", "[]").await;
    assert_eq!((answer.status, answer.json()), (200, json!({"status": "ok", "results": []})));
}

#[tokio::test]
async fn a_full_disk_refuses_events_and_decisions_go_on() {
    let fleet = Some(Limits { max_pages: Some(100), ..Limits::default() });
    let world = World::with(Wanted { fleet, ..Wanted::default() }).await;
    let running = world.serve().await;
    let mut refused = None;
    for batch in 0..1_000 {
        let event = |place| {
            let timestamp = batch * 100 + place + 1;
            let further = json!({"action": "set", "version_name": "1.4.2", "timestamp": timestamp});
            serde_json::from_slice::<serde_json::Value>(&ask(further)).unwrap()
        };
        let events: Vec<_> = (0..100).map(event).collect();
        let answer = post(running.address, "/stats", serde_json::to_vec(&events).unwrap()).await;
        if answer.status != 200 {
            refused = Some(answer);
            break;
        }
    }
    let answer = refused.expect("the store is full at some time");
    assert_eq!(answer.status, 503);
    assert!(answer.json()["error"].is_string());
    assert_eq!(answer.header("retry-after"), None);
    assert_eq!(post(running.address, "/updates", ask(json!({}))).await.json()["version"], "1.4.2");
}

#[tokio::test]
async fn a_closed_store_refuses_what_must_be_durable_and_decisions_go_on() {
    let world = World::new().await;
    let running = world.serve().await;
    world.fleet.close().await.unwrap();
    let event = ask(json!({"action": "set", "version_name": "1.4.2"}));
    assert_eq!(post(running.address, "/stats", event).await.status, 503);
    let old = ask(json!({"channel": "beta", "plugin_version": "6.14.20"}));
    let answer = post(running.address, "/channel_self", old).await;
    assert_eq!((answer.status, answer.json()["error"].as_str()), (503, Some("override_not_allowed")));
    assert_eq!(post(running.address, "/updates", ask(json!({}))).await.json()["version"], "1.4.2");
}

#[tokio::test]
async fn every_verb_of_the_channel_url() {
    let world = World::new().await;
    let at = world.serve().await.address;
    let old = |further: serde_json::Value| {
        let mut body: serde_json::Value = serde_json::from_slice(&ask(further)).unwrap();
        body["plugin_version"] = "6.14.20".into();
        body.to_string().into_bytes()
    };
    let put = async |body: Vec<u8>| send(at, request("PUT", "/channel_self", &[], &body)).await.json();
    assert_eq!(put(old(json!({}))).await["channel"], "production");
    let answer = post(at, "/channel_self", old(json!({"channel": "beta"}))).await;
    assert_eq!((answer.status, &answer.json()["status"]), (200, &json!("ok")), "{}", answer.text());
    assert_eq!(put(old(json!({}))).await["channel"], "beta");
    let answer = send(at, request("DELETE", "/channel_self", &[], &old(json!({})))).await;
    assert_eq!((answer.status, &answer.json()["status"]), (200, &json!("ok")), "{}", answer.text());
    assert_eq!(put(old(json!({}))).await["channel"], "production");
    let bare = b"DELETE /channel_self HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n";
    assert_eq!(send(at, bare).await.json()["status"], "ok");
    let answer = post(at, "/channel_self", ask(json!({"channel": "beta"}))).await;
    assert_eq!(answer.json()["allowSet"], true);
    let query = format!("/channel_self?app_id={APP}&platform=ios&device_id={CANARY}&plugin_version=8.51.23");
    let names: Vec<_> =
        get(at, &query, &[]).await.json().as_array().unwrap().iter().map(|c| c["name"].clone()).collect();
    assert_eq!(names, ["production", "beta"]);
}

#[tokio::test]
async fn no_log_line_holds_a_device_id() {
    let world = World::new().await;
    let at = world.serve().await.address;
    world.fleet.close().await.unwrap();
    for id in [CANARY.to_owned(), CANARY.to_uppercase()] {
        for path in ["/updates", "/stats", "/channel_self", "/hooks/x", "/elsewhere"] {
            for further in [
                json!({"device_id": id, "action": "set", "version_name": "1.4.2", "channel": "beta"}),
                json!({"device_id": format!("{id}x")}),
                json!({"device_id": id, "platform": id, "version_build": id, "custom_id": id, "plugin_version": id}),
                json!({"device_id": {"x": id}}),
            ] {
                post(at, path, ask(further)).await;
            }
            post(at, path, format!("{{\"device_id\":\"{id}\"")).await;
            get(at, &format!("{path}?device_id={id}"), &[]).await;
            send(at, request("DELETE", &format!("{path}?device_id={id}&app_id={APP}"), &[], b"")).await;
        }
        let mut stream = connect(at).await;
        stream.write_all(format!("NONSENSE {id}\r\n\r\n").as_bytes()).await.unwrap();
        stream.read_to_end(&mut Vec::new()).await.unwrap();
    }
    let log = LOG.lock().unwrap().to_lowercase();
    // So that this cannot pass because nothing was captured.
    assert!(log.contains("answered with 503"), "{log}");
    let line = log.lines().find(|line| line.contains(CANARY));
    assert_eq!(line, None);
}

//! Events as clients send them, and as nobody should.

use proptest::prelude::*;
use serde_json::{Value, json};
use sluice_core::{
    channel::Platform,
    outcome::{Attribution, Meaning},
    request::DeviceKey,
};

use super::*;
use crate::protocol::fixture::{APP, DEVICE, PLATFORMS, PLUGINS, fields, recorded, with};

fn batch(body: &Value) -> Batch {
    parse(&serde_json::to_vec(body).unwrap()).unwrap()
}

fn answer(batch: &Batch) -> Value {
    let reply = batch.reply();
    assert_eq!(reply.status, 200);
    serde_json::from_slice(&reply.body).unwrap()
}

fn sent(action: &str) -> Value {
    with(fields("android", "8.51.23"), "action", json!(action))
}

fn single(body: &Value) -> Event {
    let batch = batch(body);
    assert_eq!(answer(&batch), json!({"status": "ok"}));
    batch.items[0].clone().unwrap()
}

#[test]
fn recorded_events() {
    for request in recorded("/stats") {
        let batch = parse(&request.body).unwrap();
        let event = batch.events().next().unwrap();
        assert_eq!(event.app.as_str(), APP);
        assert_eq!(event.plugin, PluginVersion::parse(&request.plugin), "{}", request.name);
        assert!(event.counts());
        match (request.plugin.as_str(), request.name.contains("worker")) {
            ("8.51.23", false) => {
                assert_eq!(
                    answer(&batch),
                    json!({"status": "ok", "results": [{"status": "ok", "index": 0}, {"status": "ok", "index": 1}]})
                );
                assert_eq!((event.action.as_str(), event.version.as_deref()), ("set", Some("2.0.0")));
                assert_eq!(event.old_version.as_deref(), Some("1.0.0"));
                assert_eq!(event.timestamp, Some(1_795_495_935_487));
                assert_eq!(event.outcome().meaning, Meaning::TrialStarted);
            }
            ("10.0.0", true) => {
                assert_eq!((event.action.as_str(), event.version.as_deref()), ("download_fail", None));
                assert_eq!(event.outcome().meaning, Meaning::Neutral);
            }
            _ => {
                assert_eq!(answer(&batch), json!({"status": "ok"}));
                assert_eq!(event.timestamp, None);
            }
        }
    }
}

#[test]
fn an_event_in_full() {
    let mut body = with(sent("download_manifest_file_fail"), "version_name", json!("2.0.0:assets/a:b.js"));
    body["device_id"] = json!(DEVICE.to_uppercase());
    body["metadata"] = json!({"error": "timeout", "odd": [1], "code": 7});
    body["timestamp"] = json!("1795495935487");
    let event = single(&body);
    assert_eq!(event.device, DeviceKey::of(DEVICE));
    assert_eq!((event.version.as_deref(), event.file.as_deref()), (Some("2.0.0"), Some("assets/a:b.js")));
    assert_eq!(
        event.metadata,
        [("code".to_owned(), "7".to_owned()), ("error".to_owned(), "timeout".to_owned())]
    );
    assert_eq!((event.timestamp, event.platform), (Some(1_795_495_935_487), Platform::Android));
    assert_eq!(event.outcome().attribution, Attribution::Named);
}

#[test]
fn a_failure_without_a_name_is_of_what_was_last_offered() {
    for name in [json!(null), json!(""), json!("builtin"), json!({})] {
        let event = single(&with(sent("update_fail"), "version_name", name));
        assert_eq!((event.version.as_deref(), event.outcome().attribution), (None, Attribution::LastOffered));
    }
    let alive = single(&with(sent("app_moved_to_foreground"), "version_name", json!("")));
    assert_eq!(alive.outcome().attribution, Attribution::Named);
}

#[test]
fn odd_events_are_kept() {
    let unknown = single(&sent("an_action_of_tomorrow"));
    assert_eq!(
        (unknown.action.as_str(), unknown.outcome().meaning),
        ("an_action_of_tomorrow", Meaning::Neutral)
    );
    let mut bare = json!({"app_id": APP, "device_id": DEVICE, "platform": "ios"});
    let event = single(&bare);
    assert_eq!((event.action.as_str(), event.version, event.native), ("", None, NativeVersion::ZERO));
    bare["action"] = json!("é".repeat(1000));
    bare["version_name"] = json!("9".repeat(100_000));
    bare["timestamp"] = json!(-5);
    let event = single(&bare);
    assert!(event.action.len() <= ACTION_BYTES && event.version.unwrap().len() <= VERSION_BYTES);
    assert_eq!(event.timestamp, None);
    // What is not said clearly is no evidence.
    assert!(!single(&with(sent("set"), "is_prod", json!([]))).counts());
    assert!(!single(&with(sent("set"), "is_emulator", json!("maybe"))).counts());
    assert!(!single(&with(sent("set"), "device_id", json!(sluice_core::request::PROBE_ID))).counts());
}

#[test]
fn bad_items_do_not_spoil_the_others() {
    let body = json!([
        sent("set"),
        5,
        null,
        {},
        with(sent("set"), "app_id", json!("x")),
        with(sent("set"), "device_id", json!(null)),
        sent("app_launch_ready"),
        [sent("set")],
    ]);
    let batch = batch(&body);
    assert_eq!(batch.events().count(), 2);
    let answer = answer(&batch);
    let results = answer["results"].as_array().unwrap();
    assert_eq!(answer["status"], "ok");
    assert_eq!(results.len(), 8);
    for (index, result) in results.iter().enumerate() {
        assert_eq!(result["index"], json!(index));
        let expected = if matches!(index, 0 | 6) { "ok" } else { "error" };
        assert_eq!(result["status"], expected, "{index}");
        assert_eq!(result.get("error").is_some(), expected == "error");
    }
    assert_eq!(results[5]["error"], "missing_device_id");
}

#[test]
fn whatever_is_json_is_200() {
    let empty = batch(&json!([]));
    assert_eq!(answer(&empty), json!({"status": "ok", "results": []}));
    for odd in [json!({}), json!(null), json!(1), json!("x"), json!(true), json!({"app_id": APP})] {
        let batch = batch(&odd);
        assert_eq!(answer(&batch)["status"], "error", "{odd}");
        assert_eq!(batch.into_events().0, []);
    }
    for broken in [&b""[..], b"{", b"[{]", b"\xff"] {
        assert_eq!(parse(broken), Err(Invalid::Json));
    }
}

#[test]
fn an_array_of_250() {
    let body: Vec<Value> = (0..250).map(|n| with(sent("set"), "timestamp", json!(n + 1))).collect();
    let (events, reply) = batch(&json!(body)).into_events();
    assert_eq!((events.len(), reply.status), (250, 200));
    assert!(events.windows(2).all(|pair| pair[0].timestamp < pair[1].timestamp));
}

proptest! {
    #[test]
    fn any_event_is_answered_200(
        plugin in prop::sample::select(&PLUGINS[..]),
        platform in prop::sample::select(&PLATFORMS[..]),
        name in prop::sample::select(&["app_id", "device_id", "platform", "action", "version_name", "version_build",
            "timestamp", "metadata", "is_prod", "old_version_name", "message", "plugin_version"][..]),
        value in prop_oneof![
            any::<String>().prop_map(Value::from), any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from), Just(json!(null)), Just(json!([[]])), Just(json!({"a": {}})),
            Just(json!(u64::MAX)),
        ],
        array in any::<bool>(),
        bytes in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        let event = with(with(fields(platform, plugin), "action", json!("update_fail")), name, value);
        let batch = batch(&if array { json!([event]) } else { event });
        answer(&batch);
        for event in batch.events() {
            event.outcome();
        }
        if let Ok(batch) = parse(&bytes) {
            answer(&batch);
        }
    }
}

#[test]
fn an_array_is_bounded() {
    let array = |n: usize| format!("[{}]", vec!["1"; n].join(","));
    assert_eq!(parse(array(1_000).as_bytes()).unwrap().items.len(), 1_000);
    let refused = parse(array(1_001).as_bytes()).unwrap_err();
    assert_eq!((refused, refused.reply().status), (Invalid::TooMany, 413));
    assert!(refused.reply().body.len() < 1_000);
}

#[test]
fn half_a_character_costs_no_batch() {
    let event = |metadata: &str| {
        format!(
            r#"{{"app_id":"com.example.shop","device_id":"00000000-0000-4000-8000-000000000001","platform":"ios",
                "plugin_version":"8.51.23","action":"set","version_name":"1.0.0","metadata":{{"a":"{metadata}"}}}}"#
        )
    };
    let body = format!("[{},{}]", event("whole"), event(r"cut\ud83d"));
    assert_eq!(parse(body.as_bytes()).unwrap().events().count(), 2);
}

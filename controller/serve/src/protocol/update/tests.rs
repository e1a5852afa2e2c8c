//! Update checks of every client generation, well and badly formed.

use proptest::prelude::*;
use serde_json::{Value, json};
use sluice_core::{brake::Brakes, decide::decide, digest::Digest, memory::DeviceMemory};

use super::*;
use crate::protocol::fixture::{APP, PLATFORMS, PLUGINS, fields, recorded, snapshot, snapshot_of, with};

const BASE: &str = "https://ota.example.org";

fn answer(body: &[u8]) -> (u16, Value) {
    answer_from(&snapshot(), None, body)
}

fn answer_from(
    snapshot: &sluice_core::snapshot::Snapshot,
    memory: Option<&DeviceMemory>,
    body: &[u8],
) -> (u16, Value) {
    let reply = match parse(body) {
        Err(invalid) => invalid.reply(),
        Ok(checked) => {
            let request = checked.request();
            render(&decide(snapshot, &Brakes::none(), memory, &request, 0).answer, &request, BASE)
        }
    };
    (reply.status, serde_json::from_slice(&reply.body).unwrap())
}

fn ask(body: &Value) -> Value {
    let (status, answer) = answer(&serde_json::to_vec(body).unwrap());
    assert_eq!(status, 200, "{answer}");
    answer
}

fn sha256() -> String {
    Digest::of(b"zip").to_string()
}

#[test]
fn recorded_update_checks() {
    for request in recorded("/updates") {
        let (status, answer) = answer(&request.body);
        let old = matches!(request.plugin.as_str(), "5.9.5" | "6.14.20" | "10.0.0");
        let checksum = if old { "0217b5e2".to_owned() } else { sha256() };
        let mut expected = json!({
            "version": "1.5.0", "url": format!("{BASE}/bundles/{}.zip", sha256()),
            "checksum": checksum, "session_key": "",
        });
        if request.plugin.starts_with('8') {
            expected["link"] = json!("https://example.org/notes");
            expected["comment"] = json!("Fixes the \"basket\" total.\n");
        }
        assert_eq!((status, answer), (200, expected), "{}", request.name);
    }
}

#[test]
fn refusals_carry_what_clients_read() {
    let major = ask(&with(fields("android", "8.51.23"), "defaultChannel", json!("major")));
    assert_eq!(
        major,
        json!({
            "error": "disable_auto_update_to_major", "message": "Cannot upgrade major version", "kind": "blocked",
            "version": "3.0.0", "old": "1.0.0", "major": true,
        })
    );
    let current = ask(&with(fields("ios", "6.14.20"), "version_name", json!("1.5.0")));
    assert_eq!(
        current,
        json!({
            "error": "no_new_version_available", "message": "No new version available", "kind": "up_to_date",
        })
    );
    let unknown = ask(&with(fields("ios", "8.51.23"), "app_id", json!("com.example.unknown")));
    let closed = ask(&with(fields("ios", "8.51.23"), "defaultChannel", json!("private")));
    assert_eq!(unknown, closed);
    assert_eq!(unknown["error"], "no_channel");
    let old = ask(&fields("android", "4.17.3"));
    assert_eq!(old["error"], "unsupported_plugin_version");
    assert!(old["message"].as_str().unwrap().contains("4.17.3"));
    let key = ask(&with(fields("ios", "8.51.23"), "key_id", json!("MIIBCgKCAQEAsyjtLM18")));
    assert_eq!(
        (&key["error"], &key["deviceKeyId"]),
        (&json!("key_id_mismatch"), &json!("MIIBCgKCAQEAsyjtLM18"))
    );
    let under =
        with(with(fields("ios", "8.51.23"), "version_build", json!("1.9")), "version_name", json!("1.8.0"));
    let under = ask(&under);
    assert_eq!(
        (&under["error"], &under["old"]),
        (&json!("disable_auto_update_under_native"), &json!("1.8.0"))
    );
}

/// Section 2.3.
#[test]
fn back_to_the_shipped_bundle() {
    let shipped = |platform, plugin| with(fields(platform, plugin), "defaultChannel", json!("shipped"));
    for (platform, plugin) in
        [("ios", "7.0.2"), ("android", "6.2.0"), ("android", "8.51.23"), ("ios", "5.50.1")]
    {
        assert_eq!(ask(&shipped(platform, plugin)), json!({"version": "builtin"}), "{platform} {plugin}");
    }
    for (platform, plugin) in
        [("ios", "7.0.1"), ("android", "6.1.18"), ("android", "9.0.0"), ("electron", "0.0.1")]
    {
        let refusal = ask(&shipped(platform, plugin));
        assert_eq!(refusal["error"], "revert_to_builtin_plugin_version_too_old", "{platform} {plugin}");
        assert_eq!(refusal["kind"], "failed");
    }
    for name in ["builtin", "", "1.0.0"] {
        let there = with(shipped("ios", "8.51.23"), "version_name", json!(name));
        assert_eq!(ask(&there)["error"], "no_new_version_available", "{name:?}");
    }
    let electron = with(
        with(shipped("electron", "0.0.1"), "version_code", json!("4.5.6")),
        "version_name",
        json!("4.5.6"),
    );
    assert_eq!(ask(&electron)["error"], "no_new_version_available");
}

/// Section 2.1: each failure and its code.
#[test]
fn what_is_refused_with_400() {
    let good = fields("ios", "8.51.23");
    let long = "x".repeat(65);
    for (field, value, code) in [
        ("device_id", json!(null), "missing_device_id"),
        ("device_id", json!(""), "missing_device_id"),
        ("device_id", json!("not-a-uuid"), "invalid_json_body"),
        ("device_id", json!({}), "invalid_json_body"),
        ("app_id", json!(null), "missing_app_id"),
        ("app_id", json!("nodots"), "invalid_json_body"),
        ("version_build", json!("x.y"), "semver_error"),
        ("version_build", json!(""), "invalid_json_body"),
        ("version_build", json!(null), "invalid_json_body"),
        ("platform", json!("windows"), "invalid_json_body"),
        ("platform", json!(null), "invalid_json_body"),
        ("is_prod", json!("maybe"), "invalid_json_body"),
        ("is_emulator", json!([]), "invalid_json_body"),
        ("defaultChannel", json!({}), "invalid_json_body"),
        ("key_id", json!("MIIBCgKCAQEAsyjtLM18x"), "invalid_json_body"),
        ("install_source", json!(long), "invalid_json_body"),
    ] {
        let (status, answer) =
            answer(&serde_json::to_vec(&with(good.clone(), field, value.clone())).unwrap());
        assert_eq!((status, &answer["error"]), (400, &json!(code)), "{field} {value}");
        assert!(answer["message"].is_string() && answer["moreInfo"].is_object());
        if code == "invalid_json_body" {
            assert_eq!(answer["moreInfo"]["issues"][0]["path"], json!(field));
        }
    }
    for (body, code) in [
        (&b"{"[..], "invalid_json_parse_body"),
        (b"", "invalid_json_parse_body"),
        (b"\xff\xfe", "invalid_json_parse_body"),
        (b"{\"app_id\":\"\xff\"}", "invalid_json_parse_body"),
        (b"{}", "invalid_json_body"),
        (b"[]", "invalid_json_body"),
        (b"null", "invalid_json_body"),
        (b"\"text\"", "invalid_json_body"),
    ] {
        let (status, answer) = answer(body);
        assert_eq!((status, &answer["error"]), (400, &json!(code)), "{body:?}");
    }
}

/// Section 2.1: what changes nothing.
#[test]
fn what_is_tolerated() {
    let expected = ask(&fields("ios", "8.51.23"));
    assert_eq!(expected["version"], "1.5.0");
    for (field, value) in [
        ("device_id", json!("1B4E28BA-2FA1-41D2-883F-0016D3CCA427")),
        ("version_build", json!("1")),
        ("version_build", json!(1)),
        ("version_build", json!(1.0)),
        ("version_build", json!("builtin")),
        ("version_name", json!(null)),
        ("version_code", json!(17)),
        ("version_os", json!(null)),
        ("version_os", json!({"x": 1})),
        ("custom_id", json!(null)),
        ("custom_id", json!(["odd"])),
        ("custom_id", json!("x".repeat(10_000))),
        ("is_prod", json!(null)),
        ("is_prod", json!("true")),
        ("is_emulator", json!(0)),
        ("defaultChannel", json!(null)),
        ("key_id", json!("")),
        ("install_source", json!(null)),
        ("unknown", json!({"deep": [[[1]]]})),
        ("platform", json!("iOS")),
    ] {
        let mut asked = with(fields("ios", "8.51.23"), field, value.clone());
        if field == "version_build" && value == "builtin" {
            // 0.0.0 is below the major version 1.
            asked["defaultChannel"] = json!("production");
            assert_eq!(ask(&asked)["old"], "0.0.0");
            continue;
        }
        assert_eq!(ask(&asked), expected, "{field} {value}");
    }
    let mut without = fields("ios", "8.51.23");
    for field in ["custom_id", "version_code", "version_os", "is_prod", "is_emulator", "defaultChannel"] {
        without.as_object_mut().unwrap().remove(field);
    }
    assert_eq!(ask(&without), expected);
    let doubled = r#"{"platform":"x","platform":"ios","app_id":"org.example.app","version_build":"1",
        "device_id":"1b4e28ba-2fa1-41d2-883f-0016d3cca427","plugin_version":"8.51.23"}"#;
    assert_eq!(answer(doubled.as_bytes()).1["version"], "1.5.0");
}

#[test]
fn the_probe_is_known() {
    let body = serde_json::to_vec(&with(
        fields("ios", "8.51.23"),
        "device_id",
        json!(sluice_core::request::PROBE_ID),
    ));
    let body = body.unwrap();
    let checked = parse(&body).unwrap();
    assert!(checked.request().probe);
    let body = serde_json::to_vec(&fields("ios", "8.51.23")).unwrap();
    assert!(!parse(&body).unwrap().request().probe);
}

/// Every wrong value there is.
fn odd() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        "[0-9.a-z-]{0,40}".prop_map(Value::from),
        (0..200_000_usize).prop_map(|n| Value::from("9".repeat(n))),
        Just(json!([1, "x", {"y": [null]}])),
        Just(json!({"a": {"b": []}})),
        Just(json!("builtin")),
        Just(json!("4.0.0")),
        Just(json!("99999999999999999999.1.1")),
        Just(json!("1.5.0\u{0}\"\\\u{7f}")),
        Just(json!("major")),
        Just(json!("shipped")),
        Just(json!("private")),
    ]
}

const NAMES: [&str; 14] = [
    "app_id",
    "device_id",
    "platform",
    "plugin_version",
    "version_name",
    "version_build",
    "version_code",
    "version_os",
    "custom_id",
    "defaultChannel",
    "install_source",
    "key_id",
    "is_emulator",
    "is_prod",
];

/// The types that iOS decodes; another one makes it drop the whole answer.
fn assert_ios_types(answer: &Value) {
    for (key, value) in answer.as_object().unwrap() {
        let well = match key.as_str() {
            "version" | "checksum" | "url" | "message" | "error" | "kind" | "session_key" | "link"
            | "comment" => value.is_string(),
            "major" | "breaking" => value.is_boolean(),
            "manifest" => value.as_array().is_some_and(|files| !files.is_empty()),
            _ => true,
        };
        assert!(well, "{key}: {value}");
    }
}

/// The hard rules of section 2.2.
fn assert_hard_rules(status: u16, answer: &Value) {
    assert_ios_types(answer);
    let fields = answer.as_object().unwrap();
    if fields.contains_key("error") {
        assert!(status == 200 || status == 400);
        assert!(["up_to_date", "blocked", "failed"].contains(&answer["kind"].as_str().unwrap()));
        assert!(answer["message"].is_string());
        for never in ["url", "checksum", "session_key", "manifest", "breaking"] {
            assert!(!fields.contains_key(never), "{never} in {answer}");
        }
    } else {
        assert_eq!(status, 200);
        assert!(!fields.contains_key("message") && !fields.contains_key("kind"), "{answer}");
        if answer["version"] == "builtin" {
            assert_eq!(fields.len(), 1);
        } else {
            assert!(answer["url"].as_str().unwrap().starts_with("https://"));
            assert!(answer["session_key"].is_string());
            let checksum = answer["checksum"].as_str().unwrap();
            assert!(checksum.len() == 64 || checksum.len() == 8);
            assert!(checksum.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)));
            assert!(!answer["version"].as_str().unwrap().contains(':'));
        }
    }
}

proptest! {
    #[test]
    fn any_field_may_be_wrong(
        plugin in prop::sample::select(&PLUGINS[..]),
        platform in prop::sample::select(&PLATFORMS[..]),
        wrong in prop::collection::vec((prop::sample::select(&NAMES[..]), prop::option::of(odd())), 0..4),
    ) {
        let mut asked = fields(platform, plugin);
        for (name, value) in wrong {
            match value {
                Some(value) => asked[name] = value,
                None => { asked.as_object_mut().unwrap().remove(name); }
            }
        }
        let (status, answer) = answer(&serde_json::to_vec(&asked).unwrap());
        assert_hard_rules(status, &answer);
    }

    #[test]
    fn any_bytes_are_answered(
        plugin in prop::sample::select(&PLUGINS[..]),
        at in any::<prop::sample::Index>(),
        noise in prop::collection::vec(any::<u8>(), 0..8),
        raw in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        let (status, wild) = answer(&raw);
        assert_hard_rules(status, &wild);
        let mut body = serde_json::to_vec(&fields("ios", plugin)).unwrap();
        let at = at.index(body.len());
        body.splice(at..at, noise);
        let (status, wild) = answer(&body);
        assert_hard_rules(status, &wild);
    }
}

#[test]
fn every_generation_and_target_keeps_the_hard_rules() {
    let keyed = snapshot_of(&json!({
        "app": APP,
        "offers": { "1.5.0": {
            "digest": Digest::of(b"a"), "zip": { "sha256": Digest::of(b"zip"), "crc32": 1, "size": 3 },
            "keyId": "MIIBCgKCAQEAsyjtLM18",
        } },
        "channels": [{
            "channel": "production", "public": true, "selfAssign": false, "platforms": ["ios", "android"],
            "production": false, "development": true, "device": true, "emulator": false,
            "upgrade": "SameMinor", "underNative": false,
            "lines": [{ "platforms": ["ios", "android"], "stable": "1.5.0" }],
        }],
    }));
    let normal = snapshot();
    for plugin in PLUGINS {
        for platform in PLATFORMS {
            for channel in ["", "beta", "major", "phones-only", "private", "production", "shipped", "none"] {
                for runs in ["builtin", "1.0.0", "1.5.0", "0.1.0"] {
                    let asked = with(fields(platform, plugin), "defaultChannel", json!(channel));
                    let asked = serde_json::to_vec(&with(asked, "version_name", json!(runs))).unwrap();
                    for snapshot in [&normal, &keyed] {
                        let (status, answer) = answer_from(snapshot, None, &asked);
                        assert_eq!(status, 200);
                        assert_hard_rules(status, &answer);
                    }
                }
            }
        }
    }
}

//! The channel URL: sections 4.2 to 4.5 and 9 of `device-protocol`.

use proptest::prelude::*;
use serde_json::{Value, json};
use sluice_core::memory::Override;

use super::*;
use crate::protocol::fixture::{APP, DEVICE, PLATFORMS, PLUGINS, fields, recorded, snapshot, with};

fn stored(channel: &str, by: OverrideBy) -> DeviceMemory {
    DeviceMemory { channel: Some(Override { channel: channel.parse().unwrap(), by }), failed: Vec::new() }
}

fn run(
    method: Method,
    query: &str,
    body: &[u8],
    memory: Option<&DeviceMemory>,
) -> (u16, Value, ChannelAction) {
    let snapshot = snapshot();
    let (reply, action) = match parse(method, query, body) {
        Err(invalid) => (invalid.reply(), ChannelAction::Nothing),
        Ok(call) => {
            let decision = decide(&snapshot, memory, &call);
            (render(&decision.answer, &call), decision.action)
        }
    };
    (reply.status, serde_json::from_slice(&reply.body).unwrap(), action)
}

fn call(method: Method, body: &Value, memory: Option<&DeviceMemory>) -> (Value, ChannelAction) {
    let (status, answer, action) = run(method, "", &serde_json::to_vec(body).unwrap(), memory);
    assert_eq!(status, 200, "{answer}");
    (answer, action)
}

fn set(plugin: &str, channel: &str, memory: Option<&DeviceMemory>) -> (Value, ChannelAction) {
    call(Method::Post, &with(fields("android", plugin), "channel", json!(channel)), memory)
}

fn query(fields: &Value) -> String {
    let pair = |(name, value): (&String, &Value)| {
        format!("{name}={}", value.as_str().map_or(value.to_string(), str::to_owned))
    };
    fields.as_object().unwrap().iter().map(pair).collect::<Vec<_>>().join("&")
}

fn method(name: &str) -> Method {
    match name {
        "POST" => Method::Post,
        "PUT" => Method::Put,
        "GET" => Method::Get,
        "DELETE" => Method::Delete,
        other => panic!("{other}"),
    }
}

#[test]
fn recorded_channel_calls() {
    for request in recorded("/channel_self") {
        let (status, answer, action) = run(method(&request.method), &request.query, &request.body, None);
        let new = request.plugin.starts_with('8');
        let (expected, change) = match request.method.as_str() {
            "POST" if new => (json!({"status": "ok", "allowSet": true}), ChannelAction::Nothing),
            "POST" => (json!({"status": "ok"}), ChannelAction::Store("beta".parse().unwrap())),
            "PUT" if new && request.name.contains("channel-put") => {
                (json!({"channel": "beta", "status": "default", "allowSet": true}), ChannelAction::Nothing)
            }
            "PUT" => (
                json!({"channel": "production", "status": "default", "allowSet": false}),
                ChannelAction::Nothing,
            ),
            "DELETE" => (json!({"status": "ok"}), ChannelAction::Nothing),
            _ => {
                let names: Vec<_> = answer.as_array().unwrap().iter().map(|c| c["name"].clone()).collect();
                let expected = ["beta", "major", "phones-only", "production", "shipped"];
                assert_eq!(names, expected, "{}", request.name);
                continue;
            }
        };
        assert_eq!((status, answer, action), (200, expected, change), "{}", request.name);
    }
}

/// Section 4.2, row by row.
#[test]
fn set_a_channel() {
    let errors = [
        ("", "missing_channel"),
        ("nightly", "channel_not_found"),
        ("production", "public_channel_self_set_not_allowed"),
        ("private", "channel_self_set_not_allowed"),
    ];
    for plugin in ["5.9.5", "7.29.0", "8.51.23"] {
        for (channel, code) in errors {
            let (answer, action) = set(plugin, channel, None);
            assert_eq!(
                (&answer["error"], action),
                (&json!(code), ChannelAction::Nothing),
                "{plugin} {channel}"
            );
            assert_eq!(answer["status"], "error");
        }
    }
    let own = stored("major", OverrideBy::Device);
    let forbidden = stored("private", OverrideBy::Device);
    let support = stored("major", OverrideBy::Support);
    let gone = stored("gone", OverrideBy::Device);
    let keep = || ChannelAction::Store("beta".parse().unwrap());
    for (memory, answer, action) in [
        (None, json!({"status": "ok"}), keep()),
        (Some(&own), json!({"status": "ok"}), keep()),
        (Some(&gone), json!({"status": "ok"}), keep()),
        (Some(&forbidden), json!("cannot_override"), ChannelAction::Nothing),
        (Some(&support), json!("cannot_override"), ChannelAction::Nothing),
    ] {
        let (got, change) = set("7.33.4", "beta", memory);
        let got = if answer.is_string() { got["error"].clone() } else { got };
        assert_eq!((got, change), (answer, action));
        let (new, change) = set("7.34.0", "beta", memory);
        assert_eq!((new, change), (json!({"status": "ok", "allowSet": true}), ChannelAction::Nothing));
    }
    let unknown =
        with(with(fields("ios", "8.51.23"), "channel", json!("beta")), "app_id", json!("com.example.other"));
    assert_eq!(call(Method::Post, &unknown, None).0["error"], "channel_not_found");
}

#[test]
fn an_old_client_that_sets_the_public_channel_is_forgotten() {
    let snapshot = crate::protocol::fixture::snapshot_of(&json!({
        "app": APP, "offers": {},
        "channels": [{
            "channel": "production", "public": true, "selfAssign": true, "platforms": ["ios", "android"],
            "production": true, "development": true, "device": true, "emulator": true,
            "upgrade": "Any", "underNative": false, "lines": [],
        }],
    }));
    let body =
        serde_json::to_vec(&with(fields("android", "6.14.20"), "channel", json!("production"))).unwrap();
    let call = parse(Method::Post, "", &body).unwrap();
    let decision = decide(&snapshot, None, &call);
    assert_eq!((decision.answer, decision.action), (Answer::Ok, ChannelAction::Delete));
}

/// Section 4.3.
#[test]
fn get_the_channel() {
    let get = |plugin, wish: &str, memory: Option<&DeviceMemory>| {
        call(Method::Put, &with(fields("ios", plugin), "defaultChannel", json!(wish)), memory).0
    };
    let own = stored("beta", OverrideBy::Device);
    let support = stored("private", OverrideBy::Support);
    let is = |channel, status, allow| json!({"channel": channel, "status": status, "allowSet": allow});
    assert_eq!(get("7.29.0", "", Some(&own)), is("beta", "override", true));
    assert_eq!(get("8.51.23", "", Some(&own)), is("production", "default", false));
    assert_eq!(get("8.51.23", "beta", None), is("beta", "default", true));
    assert_eq!(get("8.47.8", "", Some(&support)), is("private", "override", false));
    // It would go on asking for it.
    assert_eq!(get("8.47.9", "", Some(&support)), is("production", "default", false));
    for wish in ["private", "nightly"] {
        assert_eq!(get("8.51.23", wish, None)["error"], "channel_not_found");
    }
    let unknown = with(fields("ios", "8.51.23"), "app_id", json!("com.example.other"));
    assert_eq!(call(Method::Put, &unknown, None).0["error"], "channel_not_found");
}

/// Section 4.4: body, query, or nothing.
#[test]
fn unset_the_channel() {
    let own = stored("beta", OverrideBy::Device);
    let ok = json!({"status": "ok"});
    let old = fields("android", "7.29.0");
    assert_eq!(call(Method::Delete, &old, Some(&own)), (ok.clone(), ChannelAction::Delete));
    assert_eq!(call(Method::Delete, &old, None), (ok.clone(), ChannelAction::Nothing));
    assert_eq!(run(Method::Delete, &query(&old), b"", Some(&own)), (200, ok.clone(), ChannelAction::Delete));
    assert_eq!(run(Method::Delete, "", b"", Some(&own)), (200, ok.clone(), ChannelAction::Nothing));
    assert_eq!(call(Method::Delete, &fields("ios", "8.51.23"), Some(&own)), (ok, ChannelAction::Nothing));
    for held in [stored("private", OverrideBy::Device), stored("beta", OverrideBy::Support)] {
        let (answer, action) = call(Method::Delete, &old, Some(&held));
        assert_eq!((&answer["error"], action), (&json!("cannot_override"), ChannelAction::Nothing));
    }
}

/// Section 4.5.
#[test]
fn list_the_channels() {
    let list = |platform: &str, plugin: &str, extra: &str| {
        run(
            Method::Get,
            &format!("app_id={APP}&platform={platform}&plugin_version={plugin}{extra}"),
            b"",
            None,
        )
        .1
    };
    for (platform, plugin, number) in [
        ("ios", "8.47.6", false),
        ("ios", "8.47.7", true),
        ("ios", "7.29.0", false),
        ("ios", "6.50.1", true),
        ("android", "8.51.23", true),
        ("ios", "9.0.0", false),
    ] {
        let channels = list(platform, plugin, "&is_prod=true&is_emulator=false");
        let id = channel_id(APP, "beta");
        let id = if number { json!(id) } else { json!(id.to_string()) };
        let expected = json!({"id": id, "name": "beta", "public": false, "allow_self_set": true});
        assert_eq!(channels[0], expected, "{platform} {plugin}");
        assert_eq!(channels.as_array().unwrap().len(), 5);
    }
    for excluded in ["&is_emulator=true", "&is_prod=false"] {
        let channels = list("ios", "8.51.23", excluded);
        assert!(channels.as_array().unwrap().iter().all(|c| c["name"] != "phones-only"), "{excluded}");
    }
    let other = run(Method::Get, "app_id=com.example.other&platform=ios&plugin_version=8.51.23", b"", None);
    assert_eq!(other, (200, json!([]), ChannelAction::Nothing));
    for (query, code) in [
        ("platform=ios", "missing_app_id"),
        ("", "missing_app_id"),
        ("app_id=x&platform=ios", "invalid_json_body"),
        ("app_id=com.example.shop&platform=x", "invalid_json_body"),
    ] {
        let (status, answer, _) = run(Method::Get, query, b"", None);
        assert_eq!((status, &answer["error"]), (400, &json!(code)), "{query}");
    }
    assert_eq!(channel_id(APP, "beta"), channel_id(APP, "beta"));
    assert!(channel_id(APP, "beta") != channel_id(APP, "major") && channel_id(APP, "beta") < 1 << 31);
}

/// Section 9.
#[test]
fn electron_has_its_own_calls() {
    // Absent instead of empty, and no name for the shipped bundle.
    let mut electron = with(fields("electron", "0.0.1"), "version_name", json!(""));
    electron
        .as_object_mut()
        .unwrap()
        .retain(|name, _| !matches!(name.as_str(), "custom_id" | "defaultChannel"));
    let listed = run(Method::Get, &format!("{}&action=list", query(&electron)), b"", None).1;
    let names: Vec<_> = listed["channels"].as_array().unwrap().iter().map(|c| c["name"].clone()).collect();
    assert_eq!(names, ["beta", "major", "production", "shipped"]);
    let got = run(Method::Get, &query(&electron), b"", None).1;
    assert_eq!(
        got,
        json!({"channel": "production", "status": "default", "allowSet": false, "allow_set": false})
    );
    let set = |channel| {
        let body = with(with(electron.clone(), "action", json!("set")), "channel", json!(channel));
        call(Method::Post, &body, None)
    };
    assert_eq!(set("beta"), (json!({"status": "ok", "allowSet": true}), ChannelAction::Nothing));
    assert_eq!(set("private").0["status"], "error");
    let unset = with(electron.clone(), "action", json!("unset"));
    assert_eq!(call(Method::Post, &unset, None), (json!({"status": "ok"}), ChannelAction::Nothing));
}

proptest! {
    /// Never a panic, always JSON with 200 or 400, and errors that every client takes for errors.
    #[test]
    fn any_call_is_answered(
        verb in prop::sample::select(&["POST", "PUT", "GET", "DELETE"][..]),
        plugin in prop::sample::select(&PLUGINS[..]),
        platform in prop::sample::select(&PLATFORMS[..]),
        name in prop::sample::select(&["app_id", "device_id", "platform", "channel", "action", "version_build", "is_prod"][..]),
        value in prop_oneof![
            any::<String>().prop_map(Value::from), any::<i64>().prop_map(Value::from), Just(json!(null)),
            Just(json!({})), Just(json!("list")), Just(json!("unset")), Just(json!(DEVICE)),
        ],
        raw in any::<String>(),
        bytes in prop::collection::vec(any::<u8>(), 0..32),
    ) {
        let asked = with(fields(platform, plugin), name, value);
        for (query, body) in [
            (query(&asked), serde_json::to_vec(&asked).unwrap()),
            (raw, bytes),
        ] {
            let (status, answer, _) = run(method(verb), &query, &body, None);
            prop_assert!(status == 200 || status == 400);
            if let Some(error) = answer.get("error") {
                prop_assert!(error.is_string() && answer["message"].is_string());
                prop_assert!(status == 400 || answer["status"] == "error");
            }
            prop_assert!(answer.get("unset").is_none_or(Value::is_boolean));
        }
    }
}

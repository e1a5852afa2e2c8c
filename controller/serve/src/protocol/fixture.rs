//! A snapshot, devices of every generation and recorded requests, for the tests of the protocol.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use serde_json::{Value, json};
use sluice_core::{
    digest::Digest,
    snapshot::{App, FORMAT, Root, Shard, Snapshot},
};

/// The app of the recorded requests.
pub(super) const APP: &str = "org.example.app";

/// An id as devices send it.
pub(super) const DEVICE: &str = "1b4e28ba-2fa1-41d2-883f-0016d3cca427";

/// One plugin of every generation, and values that are none.
pub(super) const PLUGINS: [&str; 33] = [
    "5.0.0", "5.5.0", "5.9.5", "5.43.3", "5.45.10", "5.50.1", "6.0.70", "6.1.18", "6.14.20", "6.14.28",
    "6.25.4", "6.27.11", "6.39.0", "6.45.10", "6.50.1", "7.0.0", "7.0.2", "7.16.0", "7.22.0", "7.29.0",
    "7.34.0", "7.36.1", "7.50.1", "8.2.0", "8.40.8", "8.45.11", "8.47.7", "8.51.5", "8.51.23", "9.0.0",
    "10.0.0", "4.17.3", "0.0.1",
];

/// The three platforms.
pub(super) const PLATFORMS: [&str; 3] = ["ios", "android", "electron"];

/// A snapshot with one app: `production` (public), `beta` (self-assignable), `open` (both) and `private`.
pub(super) fn snapshot() -> Snapshot {
    let offer = |version: &str| {
        json!({
            "digest": Digest::of(version.as_bytes()),
            "zip": { "sha256": Digest::of(b"zip"), "crc32": 0x0217_b5e2, "size": 3 },
            "notes": "Fixes the \"basket\" total.\n", "link": "https://example.org/notes",
        })
    };
    let channel = |name: &str, public: bool, self_assign: bool, version: &str| {
        json!({
            "channel": name, "public": public, "selfAssign": self_assign,
            "platforms": ["ios", "android", "electron"],
            "production": true, "development": true, "device": true, "emulator": true,
            "upgrade": "SameMajor", "underNative": false,
            "lines": [{ "platforms": ["ios", "android", "electron"], "stable": version }],
        })
    };
    let mut phones = channel("phones-only", false, true, "1.5.0");
    phones["platforms"] = json!(["ios", "android"]);
    phones["emulator"] = json!(false);
    phones["development"] = json!(false);
    snapshot_of(&json!({
        "app": APP,
        "offers": { "1.5.0": offer("1.5.0"), "1.6.0-rc.1": offer("1.6.0-rc.1"), "3.0.0": offer("3.0.0") },
        "channels": [
            channel("beta", false, true, "1.6.0-rc.1"),
            channel("major", false, true, "3.0.0"),
            phones,
            channel("private", false, false, "1.6.0-rc.1"),
            channel("production", true, false, "1.5.0"),
            channel("shipped", false, true, "builtin"),
        ],
    }))
}

/// A snapshot with the app of this shard.
pub(super) fn snapshot_of(shard: &Value) -> Snapshot {
    let shard: Shard = serde_json::from_value(shard.clone()).unwrap();
    let root =
        Root { format: FORMAT, installation: "x".into(), epoch: 0, generation: 1, apps: BTreeMap::new() };
    Snapshot::new(root, [Arc::new(App::compile(shard).unwrap())])
}

/// What a device of this kind sends with every request.
pub(super) fn fields(platform: &str, plugin: &str) -> Value {
    json!({
        "app_id": APP, "device_id": DEVICE, "platform": platform, "plugin_version": plugin, "version_name": "1.2.0",
        "version_build": "1.0.0", "version_code": "1", "version_os": "14", "custom_id": "", "is_prod": true,
        "is_emulator": false, "defaultChannel": "",
    })
}

/// `fields` with one field changed.
pub(super) fn with(mut fields: Value, name: &str, value: Value) -> Value {
    fields[name] = value;
    fields
}

/// A recorded request.
#[derive(Debug)]
pub(super) struct Recorded {
    /// Its file.
    pub(super) name: String,
    /// HTTP method.
    pub(super) method: String,
    /// The plugin, from the file's name.
    pub(super) plugin: String,
    /// Query string.
    pub(super) query: String,
    /// Body.
    pub(super) body: Vec<u8>,
}

/// The recorded requests to `path`.
pub(super) fn recorded(path: &str) -> Vec<Recorded> {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/requests");
    let mut found = Vec::new();
    for entry in directory.read_dir().unwrap() {
        let file = entry.unwrap().path();
        let request: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        if request["path"] != path {
            continue;
        }
        let name = file.file_stem().unwrap().to_str().unwrap().to_owned();
        let pairs = request["query"].as_object().unwrap().iter();
        let query: Vec<String> =
            pairs.map(|(name, value)| format!("{name}={}", value.as_str().unwrap())).collect();
        let body = match &request["body"] {
            Value::String(text) => text.clone().into_bytes(),
            body => serde_json::to_vec(body).unwrap(),
        };
        found.push(Recorded {
            plugin: name.split('-').next().unwrap().to_owned(),
            name,
            method: request["method"].as_str().unwrap().to_owned(),
            query: query.join("&"),
            body,
        });
    }
    assert!(!found.is_empty(), "no recorded request to {path}");
    found
}

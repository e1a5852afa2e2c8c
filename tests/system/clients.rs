//! Requests that real clients sent, replayed: each generation gets what it understands.

use std::{collections::BTreeMap, fs, path::Path};

use serde_json::{Value, json};
use sluice_repo::testing::Changes;

use crate::support::{APP, ROOT, Reply, Server, World, channel, crc32, phone, sha256, with_version};

/// The plugin versions that requests were recorded of.
const GENERATIONS: [&str; 6] = ["5.9.5", "6.14.20", "7.29.0", "8.40.8", "8.51.23", "10.0.0"];
/// Those whose zip checksum is a CRC-32.
const CRC: [&str; 3] = ["5.9.5", "6.14.20", "10.0.0"];
/// Those that keep a channel they chose themselves.
const KEEPS_CHANNEL: [&str; 2] = ["8.40.8", "8.51.23"];

/// A recorded request, for our app, from a phone of its own per generation.
struct Recorded {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    query: BTreeMap<String, String>,
    body: Value,
}

impl Recorded {
    fn read(generation: &str, name: &str) -> Option<Self> {
        let file = Path::new(ROOT).join(format!("tests/fixtures/requests/{generation}-{name}.json"));
        let text = fs::read_to_string(file).ok()?;
        let number = GENERATIONS.iter().position(|known| *known == generation).unwrap();
        let text = text.replace("org.example.app", APP).replace(
            "00000000-0000-4000-8000-000000000001",
            &format!("00000000-0000-4000-8000-{number:012}"),
        );
        let recorded: Value = serde_json::from_str(&text).unwrap();
        let pairs = |part: &str| {
            let pairs = recorded[part].as_object().unwrap().iter();
            pairs.map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned())).collect::<Vec<_>>()
        };
        Some(Self {
            method: recorded["method"].as_str().unwrap().to_owned(),
            path: recorded["path"].as_str().unwrap().to_owned(),
            headers: pairs("headers").into_iter().filter(|(name, _)| name != "content-length").collect(),
            query: pairs("query").into_iter().collect(),
            body: recorded["body"].clone(),
        })
    }

    fn send(&self, server: &Server) -> Reply {
        let query: Vec<String> = self.query.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let target =
            if query.is_empty() { self.path.clone() } else { format!("{}?{}", self.path, query.join("&")) };
        let body = if self.body == "" { String::new() } else { self.body.to_string() };
        let headers: Vec<(&str, &str)> = self.headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        let reply = server.send(&self.method, &target, &headers, body.as_bytes());
        assert!(reply.header("content-length").is_some(), "old clients wait for ever without a length");
        assert!(reply.header("content-encoding").is_none());
        reply
    }
}

fn replay(server: &Server, generation: &str, name: &str) -> Value {
    let recorded = Recorded::read(generation, name).unwrap_or_else(|| panic!("no {name} of {generation}"));
    recorded.send(server).has_status(200).json()
}

/// Production serves 2.0.0 and whoever joins beta 2.1.0, to native version 1.
fn world() -> World {
    let world = World::empty();
    let changes =
        ["2.0.0", "2.1.0"].iter().fold(Changes::new(), |changes, version| with_version(changes, version));
    let any = "  native: { upgrade: Any }\n";
    world.commit(
        changes
            .file(
                "channels/production.yaml",
                channel("production", "2.0.0", &format!("{any}  public: true\n")),
            )
            .file(
                "channels/beta.yaml",
                channel("beta", "2.1.0", &format!("{any}  allow: {{ selfAssign: true }}\n")),
            )
            .file("channels/staff.yaml", channel("staff", "2.1.0", any)),
    );
    world
}

fn serve(world: &World) -> Server {
    let server = world.serve();
    phone(99).awaits(&server, "2.0.0");
    phone(99).with("defaultChannel", "beta").awaits(&server, "2.1.0");
    server
}

#[test]
fn every_generation_is_offered_what_it_can_verify() {
    let world = world();
    let server = serve(&world);
    for generation in GENERATIONS {
        let answer = replay(&server, generation, "updates");
        let zip = server.download(&answer);
        let checksum = if CRC.contains(&generation) { crc32(&zip) } else { sha256(&zip) };
        assert_eq!(answer["version"], "2.0.0", "{generation}: {answer}");
        assert_eq!(answer["checksum"], checksum, "{generation}: {answer}");
        assert_eq!(answer["session_key"], "", "{generation}: {answer}");
        for key in ["error", "message", "kind", "manifest"] {
            assert!(answer.get(key).is_none(), "{generation}: {answer}");
        }
    }
}

#[test]
fn every_generation_reports() {
    let world = world();
    let server = serve(&world);
    let mut sent = 0;
    for generation in GENERATIONS {
        replay(&server, generation, "updates");
        for name in ["stats", "worker-stats"] {
            let Some(recorded) = Recorded::read(generation, name) else { continue };
            let answer = recorded.send(&server).has_status(200).json();
            assert_eq!(answer["status"], "ok", "{generation} {name}: {answer}");
            match recorded.body.as_array() {
                None => sent += 1,
                Some(events) => {
                    sent += events.len();
                    let expected: Vec<Value> =
                        (0..events.len()).map(|index| json!({ "status": "ok", "index": index })).collect();
                    assert_eq!(answer["results"], Value::Array(expected), "{generation}");
                }
            }
        }
    }
    assert!(sent >= 10, "{sent}");
    assert_eq!(server.metric("sluice_fleet_events_new_total").to_string(), sent.to_string());
    let recorded = Recorded::read("8.51.23", "updates").unwrap();
    server.eventually("the report of the newest client is known", |server| {
        let known = server.explain(&recorded.body);
        let outcomes = known["device"]["outcomes"].as_array()?.clone();
        outcomes.iter().find(|o| o["version"] == "2.0.0" && o["activated"].is_string()).map(|_| ())
    });
}

#[test]
fn every_generation_changes_its_channel() {
    let world = world();
    let server = serve(&world);
    for generation in GENERATIONS {
        let keeps = KEEPS_CHANNEL.contains(&generation);
        let set = replay(&server, generation, "channel-post");
        let expected =
            if keeps { json!({ "status": "ok", "allowSet": true }) } else { json!({ "status": "ok" }) };
        assert_eq!(set, expected, "{generation}");

        // The server remembers it for old clients; new ones say it themselves.
        let now = if keeps { "2.0.0" } else { "2.1.0" };
        assert_eq!(replay(&server, generation, "updates")["version"], now, "{generation}");

        let got = replay(&server, generation, "channel-put");
        let status = if keeps { "default" } else { "override" };
        assert_eq!(got["channel"], "beta", "{generation}: {got}");
        assert_eq!(got["status"], status, "{generation}: {got}");
        assert_eq!(got["allowSet"], true, "{generation}: {got}");

        if Recorded::read(generation, "channel-delete").is_some() {
            assert_eq!(
                replay(&server, generation, "channel-delete"),
                json!({ "status": "ok" }),
                "{generation}"
            );
            // 5.9.5 does not say who it is.
            let after = if generation == "5.9.5" { "2.1.0" } else { "2.0.0" };
            assert_eq!(replay(&server, generation, "updates")["version"], after, "{generation}");
        }
    }
}

#[test]
fn every_generation_lists_channels_in_its_own_form() {
    let world = world();
    let server = serve(&world);
    let mut lists = 0;
    for generation in GENERATIONS {
        let Some(recorded) = Recorded::read(generation, "channel-get") else { continue };
        let list = recorded.send(&server).has_status(200).json();
        let channels = list.as_array().unwrap_or_else(|| panic!("{generation} waits for ever on {list}"));
        let names: Vec<&str> = channels.iter().map(|channel| channel["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["beta", "production"], "{generation}");
        for channel in channels {
            let number = generation == "8.51.23";
            assert!(
                if number { channel["id"].is_u64() } else { channel["id"].is_string() },
                "{generation}: {channel}"
            );
            assert_eq!(channel["public"], channel["name"] == "production");
            assert_eq!(channel["allow_self_set"], channel["name"] == "beta");
        }
        lists += 1;
    }
    assert_eq!(lists, 3);
}

#[test]
fn refusals_carry_nothing_to_install() {
    let world = world();
    let server = serve(&world);
    let unknown_app = phone(1).with("app_id", "com.example.other").asks(&server);
    let closed_channel = phone(1).with("defaultChannel", "staff").asks(&server);
    let unknown_channel = phone(1).with("defaultChannel", "nowhere").asks(&server);
    assert_eq!(unknown_app, unknown_channel, "apps must not be told apart");
    assert_eq!(unknown_app, closed_channel);
    let current = phone(1).with("version_name", "2.0.0").asks(&server);
    let plugin_four = phone(1).with("plugin_version", "4.17.3").asks(&server);
    for answer in [unknown_app, current, plugin_four] {
        let text = |name: &str| answer[name].as_str().is_some_and(|text| !text.is_empty());
        assert!(text("error") && text("message") && text("kind"), "{answer}");
        assert!(answer.get("url").is_none(), "{answer}");
    }
    for (body, code) in [
        (Value::Null, "invalid_json_body"),
        (json!({}), "invalid_json_body"),
        (json!({ "app_id": APP }), "missing_device_id"),
        (json!({ "device_id": "00000000-0000-4000-8000-000000000001" }), "missing_app_id"),
        (phone(1).with("version_build", "one").body(), "semver_error"),
    ] {
        let refused = server.post("/updates", &body).has_status(400).json();
        assert_eq!(refused["error"], code, "{body}");
    }
    let refused = server.send("POST", "/updates", &[], b"\xff{").has_status(400).json();
    assert_eq!(refused["error"], "invalid_json_parse_body");
}

//! Rollouts that decide by evidence: the real program, and a fleet of simulated phones.

use std::process::{Child, Command, Stdio};

use serde_json::Value;
use sluice_repo::testing::Changes;

use crate::support::{APP, Server, World, channel, eventually, phone, program, tool, with_version};

/// A rollout whose steps take seconds, and a gate that is content with little.
const STEPS: &str = "  public: true\n  rollout:\n    ramp: \"Off\"\n    steps: [{ weight: 20%, soak: 2s }, { weight: 50%, soak: 2s }]\n  \
                     gate: { horizon: 2s, minExposure: 20, margin: 20% }\n";

/// A fleet at work, until it goes out of scope.
struct Fleet(Child);

impl Fleet {
    fn start(server: &Server, bundle: &str) -> Self {
        let url = server.url();
        let arguments = [
            "simulate",
            "--server",
            &url,
            "--app",
            APP,
            "--phones",
            "1500",
            "--connections",
            "8",
            "--speed",
            "3000",
            "--warm-up",
            "3s",
            "--for",
            "5m",
            "--downloads",
            "0",
            "--bundle",
            bundle,
        ];
        Self(program().args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn rollout(server: &Server) -> Value {
    server.status()["channels"][0]["lines"][0].clone()
}

#[test]
fn a_good_release_reaches_everybody_and_a_bad_one_is_taken_back() {
    let world = World::empty();
    let everybody = "  public: true\n  rollout: { strategy: Immediate }\n";
    let changes = ["1.1.0", "1.2.0", "1.3.0"].into_iter().fold(Changes::new(), with_version);
    world.commit(changes.file("channels/production.yaml", channel("production", "1.1.0", everybody)));
    let server = world.serve_with(&["--trusted-proxies", "127.0.0.0/8"]);
    phone(1).awaits(&server, "1.1.0");
    let _fleet = Fleet::start(&server, "1.3.0:launch=90%");
    // Only devices that were known before a rollout weigh.
    eventually("the fleet is known", || {
        (server.metric("sluice_fleet_cached_devices") >= 1_400.0).then_some(())
    });

    world.commit(Changes::new().file("channels/production.yaml", channel("production", "1.2.0", STEPS)));
    server.eventually("1.2.0 is for a part of the fleet", |server| {
        (rollout(server)["rollout"]["weight"] == 200_000).then_some(())
    });
    server
        .eventually("1.2.0 is for everybody", |server| (rollout(server)["served"] == "1.2.0").then_some(()));

    world.commit(Changes::new().file("channels/production.yaml", channel("production", "1.3.0", STEPS)));
    // What was there before the merge is no answer.
    let wait = ["shop-production", "--for", "braked", "--release", "1.3.0", "--timeout", "2m"];
    let waited = server.ask("wait", &wait).exits(0).out;
    assert!(waited.contains("1.3.0"), "{waited}");
    let line = rollout(&server);
    // Whoever waits for its completion is told at once.
    server.ask("wait", &["production", "--release", "1.3.0", "--timeout", "2m"]).exits(1);
    let other = server.ask("wait", &["production", "--release", "9.9.9", "--timeout", "1s"]).exits(1).out;
    assert!(other.contains("is asked for, and not 9.9.9"), "{other}");
    assert_eq!(line["served"], "1.2.0", "{line}");
    // Who runs it is returned, and nobody is offered it.
    let on_it = phone(2).with("version_name", "1.3.0");
    assert_eq!(on_it.asks(&server)["version"], "1.2.0");
    for number in 10..60 {
        assert_ne!(phone(number).asks(&server)["version"], "1.3.0");
    }
    let brakes = server.ask("brake", &["list"]).exits(0).out;
    assert!(brakes.contains("1.3.0") && brakes.contains("gate"), "{brakes}");
    assert!(!brakes.contains("1.2.0"), "the good one is not blamed: {brakes}");
    // Git is told, once and with the reason.
    server.eventually("the revert is on the branch", |server| {
        (server.status()["rollbacks"][0]["phase"] == "Complete").then_some(())
    });
    let mut log = Command::new("git");
    let log = tool(log.args(["log", "--format=%B", "main"]).current_dir(world.upstream.path()));
    assert!(log.starts_with("Roll back production to 1.2.0: "), "{log}");
    assert!(log.contains("Requested-By: gate") && log.contains("the candidate"), "{log}");
    assert_eq!(log.matches("Rollback-Id: ").count(), 1, "{log}");
    the_log_says_why(&server);
    // It stays so after a restart.
    assert!(server.stop().success());
    let server = world.serve();
    assert_eq!(on_it.asks(&server)["version"], "1.2.0");
}

/// Rows that follow from evidence say it in a sentence, and have its numbers.
fn the_log_says_why(server: &Server) {
    let log = server.ask("decisions", &["--app", APP, "--output", "json"]).exits(0).out;
    let pages = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let rows: Vec<Value> = pages.flat_map(|page| page["rows"].as_array().unwrap().clone()).collect();
    let of = |kind: &str, release: &str| {
        let found = rows.iter().find(|row| row["kind"] == kind && row["release"] == release);
        found.unwrap_or_else(|| panic!("{kind} of {release} is not in {log}"))
    };
    for kind in ["Advanced", "Completed"] {
        let row = of(kind, "1.2.0");
        assert_eq!(row["reason"], "Proven", "{row}");
        let sentence = row["sentence"].as_str().unwrap();
        assert!(sentence.contains(": the candidate fails less than 20 points more often than"), "{sentence}");
        for arm in ["treatment", "control"] {
            assert!(row["numbers"][arm]["enrolled"].as_u64().unwrap() >= 20, "{row}");
        }
    }
    let braked = of("Braked", "1.3.0");
    let (id, sentence) = (braked["reason"].as_str().unwrap(), braked["sentence"].as_str().unwrap());
    let start = format!("1.3.0 is braked on production (brake {id}, by gate: ");
    assert!(sentence.starts_with(&start) && sentence.contains(" of "), "{sentence}");
    assert!(braked["numbers"]["treatment"]["shown"].as_u64().unwrap() > 0, "{braked}");
    assert_eq!(of("Started", "1.3.0")["numbers"], Value::Null, "Git alone");
}

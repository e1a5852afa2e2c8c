//! `kill -9` at any moment, and what is there afterwards, also without Git.

use std::{
    collections::BTreeMap,
    fs,
    sync::{
        Mutex,
        atomic::{AtomicU32, Ordering},
    },
    thread,
};

use serde_json::Value;
use sluice_repo::testing::Changes;

use crate::support::{
    Seeded, Server, World, channel, eventually, index, phone, sha256, sluice, unzip, with_version,
};

/// Rounds of work that end with a kill.
const ROUNDS: usize = 6;
/// Phones that report at one time.
const REPORTERS: usize = 3;

/// What the server promised.
#[derive(Default)]
struct Promises {
    /// The checksum behind each version that a phone was offered.
    offered: Mutex<BTreeMap<String, Value>>,
    /// Phones whose report was answered 200, with the version that they reported.
    reported: Mutex<BTreeMap<u32, String>>,
    next_phone: AtomicU32,
}

impl Promises {
    /// One phone asks, and reports that it runs what it was offered. False once the server is gone.
    fn visit(&self, server: &Server) -> bool {
        let number = self.next_phone.fetch_add(1, Ordering::Relaxed);
        let Ok(answer) = server.try_post("/updates", &phone(number).body()) else { return false };
        let answer = answer.has_status(200).json();
        let version = answer["version"].as_str().unwrap_or_else(|| panic!("no update: {answer}")).to_owned();
        self.note(&version, &answer);
        let Ok(taken) = server.try_post("/stats", &phone(number).event("set", &version)) else {
            return false;
        };
        assert_eq!(taken.has_status(200).json()["status"], "ok");
        self.reported.lock().unwrap().insert(number, version);
        true
    }

    /// A version has one checksum for ever.
    fn note(&self, version: &str, answer: &Value) {
        let mut offered = self.offered.lock().unwrap();
        let known = offered.entry(version.to_owned()).or_insert_with(|| answer.clone());
        assert_eq!(known["checksum"], answer["checksum"], "{version} has other bytes than before");
    }

    fn reports(&self) -> usize {
        self.reported.lock().unwrap().len()
    }
}

/// A new version that production moves to, with a file that does not compress.
fn publish(world: &World, number: u32) {
    let version = format!("1.3.{number}");
    let mut seeded = Seeded(u64::from(number));
    let noise: Vec<u8> = (0..1_000_000).map(|_| seeded.below(256).to_le_bytes()[0]).collect();
    world.commit(
        with_version(Changes::new(), &version)
            .file(&format!("bundles/{version}/noise.bin"), noise)
            .file("channels/production.yaml", channel("production", &version, EVERYBODY)),
    );
}

/// At once, however many phones there are.
const EVERYBODY: &str = "  public: true\n  rollout: { strategy: Immediate }\n";

/// What the server logs on its way from a commit to an answer: the moments to be killed at.
const MOMENTS: [&str; 3] = ["new commit", "is being made", "making bundles"];

#[test]
fn killed_at_any_moment() {
    let world = World::shop();
    let mut seeded = Seeded(20_261_124);
    let promises = Promises::default();
    let mut published = 0;
    let mut server = world.serve();
    phone(9_999).awaits(&server, "1.1.0");
    for round in 0..ROUNDS {
        let enough = promises.reports() + 5 + seeded.below(60) as usize;
        thread::scope(|scope| {
            for _ in 0..REPORTERS {
                scope.spawn(|| while promises.reports() < enough && promises.visit(&server) {});
            }
            for _ in 0..=seeded.below(4) {
                publish(&world, published);
                published += 1;
                let wait = promises.reports() + seeded.below(12) as usize;
                eventually("reports arrive", || (promises.reports() >= wait.min(enough)).then_some(()));
            }
            eventually("enough reports arrive", || (promises.reports() >= enough).then_some(()));
            // Reporters of the last moment may be in the middle of a request.
        });
        let moment = MOMENTS[round % MOMENTS.len()];
        let seen = |server: &Server| server.log().matches(moment).count();
        let before = seen(&server);
        publish(&world, published);
        published += 1;
        eventually("the moment comes", || (seen(&server) > before).then_some(()));
        server.kill();
        server = world.serve();
        promises.visit(&server);
    }
    let last = format!("1.3.{}", published - 1);
    phone(9_999).awaits(&server, &last);
    promises.visit(&server);
    server.kill();

    // Without Git.
    fs::rename(world.upstream.path(), world.file("away.git")).unwrap();
    let server = world.serve();
    server.await_reason("RepositoryNotFound");
    assert_eq!(phone(9_999).asks(&server)["version"], last);
    for (version, answer) in promises.offered.lock().unwrap().iter() {
        let zip = server.download(answer);
        assert_eq!(answer["checksum"], sha256(&zip), "{version}");
        assert!(unzip(&zip)["index.html"] == index(version).into_bytes(), "{version}");
    }
    let reported = promises.reported.lock().unwrap();
    assert!(reported.len() >= 5 * ROUNDS);
    for number in reported.keys() {
        phone(*number).asks(&server);
    }
    for (number, version) in reported.iter() {
        server.eventually(&format!("the report of phone {number} about {version} is known"), |server| {
            let known = server.explain(&phone(*number).body());
            let outcomes = known["device"]["outcomes"].as_array()?.clone();
            outcomes.iter().find(|o| o["version"] == *version && o["activated"].is_string()).map(|_| ())
        });
    }
    assert!(server.stop().success());
}

#[test]
fn a_report_that_comes_again_after_a_crash_counts_once() {
    let world = World::shop();
    let server = world.serve();
    let phone = phone(1);
    phone.awaits(&server, "1.1.0");
    let report = phone.event("set", "1.1.0");
    server.post("/stats", &report).has_status(200);
    assert!((server.metric("sluice_fleet_events_new_total") - 1.0).abs() < 0.5);
    server.kill();
    let server = world.serve();
    server.post("/stats", &report).has_status(200);
    server.post("/stats", &phone.event("download_complete", "1.1.0")).has_status(200);
    assert!((server.metric("sluice_fleet_events_duplicate_total") - 1.0).abs() < 0.5);
    assert!((server.metric("sluice_fleet_events_new_total") - 1.0).abs() < 0.5);
}

#[test]
fn a_failure_is_remembered_after_a_crash() {
    let world = World::shop();
    let server = world.serve();
    phone(1).awaits(&server, "1.1.0");
    server.post("/stats", &phone(1).event("update_fail", "1.1.0")).has_status(200);
    assert_eq!(phone(1).asks(&server)["error"], "no_new_version_available");
    server.kill();
    let server = world.serve();
    assert_eq!(phone(1).asks(&server)["error"], "no_new_version_available");
    phone(2).downloads(&server, "1.1.0");
}

#[test]
fn a_data_directory_has_one_process() {
    let world = World::shop();
    let server = world.serve();
    let (upstream, data) = (world.upstream.path(), world.data());
    let arguments = [
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--admin-listen",
        "127.0.0.1:0",
        "--repository",
        upstream.to_str().unwrap(),
        "--data",
        data.to_str().unwrap(),
    ];
    let refused = sluice(arguments).exits(2);
    assert!(refused.err.contains("is in use by another process (pid "), "{refused:?}");
    phone(1).awaits(&server, "1.1.0");
    assert!(server.stop().success());

    // What a much newer release wrote is left alone, and says which is needed.
    let format = data.join("store/format.json");
    assert!(format.is_file());
    fs::write(&format, r#"{"format":99,"readableFrom":99}"#).unwrap();
    let refused = sluice(arguments).exits(2);
    assert!(refused.err.contains("format 99"), "{refused:?}");
}

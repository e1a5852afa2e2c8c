//! Damage in the data directory, found at the next start: the last good state is served, and one damaged thing is one
//! damaged thing.

use std::{
    fs,
    path::{Path, PathBuf},
};

use sluice_repo::testing::Changes;

use crate::support::{World, channel, phone};

/// The files of the store whose path holds `part`.
fn stored(data: &Path, part: &str) -> Vec<PathBuf> {
    let files = walkdir::WalkDir::new(data.join("store")).into_iter().map(Result::unwrap);
    let found: Vec<PathBuf> = files
        .filter(|entry| entry.file_type().is_file() && entry.path().to_str().unwrap().contains(part))
        .map(walkdir::DirEntry::into_path)
        .collect();
    assert!(!found.is_empty(), "nothing is stored as {part}");
    found
}

fn truncate(path: &Path) {
    let bytes = fs::read(path).unwrap();
    fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
}

#[test]
fn whatever_is_damaged_phones_are_answered_as_before() {
    for part in ["/shards/", "/record.json", "/inventory/", "/root.json", "/artefacts/", "/bundles/"] {
        let world = World::shop();
        let server = world.serve();
        let before = phone(1).awaits(&server, "1.1.0");
        assert!(server.stop().success());
        for path in stored(&world.data(), part) {
            truncate(&path);
        }
        let server = world.serve();
        let after = phone(1).awaits(&server, "1.1.0");
        let strip = |answer: &serde_json::Value| answer["checksum"].clone();
        assert_eq!(strip(&after), strip(&before), "{part}");
        phone(1).downloads(&server, "1.1.0");
    }
}

#[test]
fn a_channel_does_not_vanish_because_a_damaged_fleet_store_forgot_who_uses_it() {
    let world = World::shop();
    let server = world.serve();
    phone(1).awaits(&server, "1.1.0");
    assert!(server.stop().success());
    fs::write(world.data().join("fleet.db"), b"-----BEGIN AGE ENCRYPTED FILE-----".repeat(300)).unwrap();
    world.commit(Changes::new().remove("channels/production.yaml"));
    let server = world.serve();
    server.await_problem("PruneRefused");
    phone(2).awaits(&server, "1.1.0");
    world.commit(Changes::new().message("Close the shop\n\nSluice-Allow-Prune: 1\n"));
    server.eventually("the channel is gone", |server| {
        (phone(1).asks(server)["error"] == "no_channel").then_some(())
    });
}

#[test]
fn without_a_readable_fleet_store_phones_are_answered_all_the_same() {
    let world = World::shop();
    let database = world.data().join("fleet.db");
    let server = world.serve();
    phone(1).awaits(&server, "1.1.0");
    server.post("/stats", &phone(1).event("set", "1.1.0")).has_status(200);
    assert!(server.stop().success());
    let good = fs::read(&database).unwrap();
    // Not a database, one that was cut, and one whose pages are another file's.
    let garbage = b"-----BEGIN AGE ENCRYPTED FILE-----".repeat(300);
    let cut = good[..good.len() / 2].to_vec();
    let mixed = [&good[..4_096], &vec![0x5a; good.len() - 4_096][..]].concat();
    for (damaged, kept) in [(garbage, 1.0), (cut, 2.0), (mixed, 3.0)] {
        fs::write(&database, &damaged).unwrap();
        let server = world.serve();
        assert_eq!(phone(1).asks(&server)["version"], "1.1.0");
        server.post("/stats", &phone(2).event("set", "1.1.0")).has_status(200);
        assert!((server.metric("sluice_fleet_damaged_files") - kept).abs() < 0.5, "{kept} of them");
        assert!(server.log().contains("FleetStoreDamaged"), "{}", server.log());
        assert_eq!(server.admin("/readyz").has_status(200).json()["ready"], true);
        assert!(server.stop().success());
        let asides = || fs::read_dir(world.data()).unwrap().map(|file| file.unwrap().path());
        let found = asides().any(|path| {
            path.to_str().unwrap().contains("fleet.db.damaged-") && fs::read(&path).unwrap() == damaged
        });
        assert!(found, "{:?}", asides().collect::<Vec<_>>());
    }
    // What the last of them begot is whole.
    let server = world.serve();
    assert!(!server.log().contains("FleetStoreDamaged"), "{}", server.log());
}

#[test]
fn what_is_lost_is_not_offered_while_it_cannot_be_made_again() {
    let world = World::shop();
    let server = world.serve();
    phone(1).awaits(&server, "1.1.0");
    assert!(server.stop().success());
    fs::remove_dir_all(world.upstream.path()).unwrap();
    for mirror in fs::read_dir(world.data().join("mirrors")).unwrap() {
        fs::remove_dir_all(mirror.unwrap().path()).unwrap();
    }
    for path in stored(&world.data(), "/artefacts/") {
        fs::remove_file(path).unwrap();
    }
    let server = world.serve();
    server.eventually("the lost bundle is not offered", |server| {
        (phone(1).asks(server)["error"] == "no_new_version_available").then_some(())
    });
}

#[test]
fn a_file_that_turns_to_garbage_removes_nothing() {
    let world = World::shop();
    let server = world.serve();
    phone(1).awaits(&server, "1.1.0");
    for garbage in [&b"\x8f\xe2\x01\xff\x90"[..], b"-----BEGIN AGE ENCRYPTED FILE-----\nYWdlLWVuY3J5cHRpb24"]
    {
        let commit = world.commit(Changes::new().file("channels/production.yaml", garbage));
        server.await_commit(&commit);
        let problem = server.await_problem("Syntax");
        assert_eq!(problem["file"], "channels/production.yaml");
        assert_eq!(phone(1).asks(&server)["version"], "1.1.0");
    }
}

#[test]
fn a_damaged_inventory_and_a_file_that_cannot_be_read_remove_nothing() {
    let world = World::shop();
    let server = world.serve();
    let before = phone(1).awaits(&server, "1.1.0");
    server.eventually("the phone is known", |server| {
        server.explain(&phone(1).body())["device"]["channel"].is_string().then_some(())
    });
    let commit = world.commit(Changes::new().file("channels/production.yaml", "\u{1}garbage"));
    server.await_commit(&commit);
    assert!(server.stop().success());
    for path in stored(&world.data(), "/inventory/") {
        truncate(&path);
    }
    let server = world.serve();
    server.await_commit(&commit);
    server.await_problem("PruneRefused");
    assert_eq!(phone(1).asks(&server)["checksum"], before["checksum"]);
    assert!(server.stop().success());
    // It is mended by the file.
    let text = channel("production", "1.2.0", "  public: true\n");
    let commit = world.commit(Changes::new().file("channels/production.yaml", text));
    let server = world.serve();
    let status = server.await_commit(&commit);
    assert_eq!(status["diagnostics"].as_array().unwrap().len(), 0, "{status}");
    phone(1).awaits(&server, "1.2.0");
}

#[test]
fn a_damaged_inventory_a_lost_bundle_and_git_away_remove_nothing() {
    let world = World::shop();
    let server = world.serve();
    let before = phone(1).awaits(&server, "1.1.0");
    assert!(server.stop().success());
    for path in stored(&world.data(), "/inventory/") {
        truncate(&path);
    }
    for path in stored(&world.data(), "/artefacts/") {
        fs::remove_file(path).unwrap();
    }
    let commit = world.upstream.commit(Changes::new().message("Nothing new"));
    world.upstream.delete_branch("main");
    let server = world.serve();
    server.await_reason("ReferenceMissing");
    assert_eq!(phone(1).asks(&server)["checksum"], before["checksum"]);
    world.upstream.reset("main", commit);
    server.await_reason("Applied");
    phone(1).awaits(&server, "1.1.0");
    phone(1).downloads(&server, "1.1.0");
}

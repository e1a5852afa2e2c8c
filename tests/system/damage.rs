//! Damage in the data directory, found at the next start: the last good state is served, and one damaged thing is one
//! damaged thing.

use std::{
    fs,
    path::{Path, PathBuf},
};

use sluice_repo::testing::Changes;

use crate::support::{World, phone};

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

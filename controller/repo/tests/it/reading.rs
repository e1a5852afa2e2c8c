use sluice_repo::{
    CommitId, Entry, Kind, Launch, PathFilter, ReadError, Reader,
    testing::{Changes, Upstream},
};

use crate::{Rig, moved};

async fn read(upstream: &Upstream) -> (Rig, Reader, CommitId) {
    let rig = Rig::with(Launch::InProcess);
    let source = rig.source(upstream.settings());
    let commit = moved(&source).await;
    let reader = source.mirror().open().unwrap();
    (rig, reader, commit)
}

fn paths(entries: &[Entry]) -> Vec<(&str, Kind)> {
    entries.iter().map(|entry| (entry.path.as_str(), entry.kind)).collect()
}

#[tokio::test]
async fn every_kind_of_entry_is_listed() {
    let upstream = Upstream::new();
    upstream.commit(
        Changes::new()
            .file("apps/a.yaml", "a")
            .file("apps/b/c.yaml", "c")
            .file("apps/bundles/1.0.0/index.html", "x")
            .file("README.md", "r")
            .symlink("apps/link", "/etc/passwd")
            .submodule("apps/module")
            .raw(b"apps/caf\xe9.yaml", "latin"),
    );
    let (_rig, reader, commit) = read(&upstream).await;
    let all = PathFilter::default();
    let mut asked = Vec::new();
    let found = reader
        .entries(commit, "./apps/", &all, &mut |folder| {
            asked.push(folder.to_owned());
            folder != "apps/bundles"
        })
        .unwrap();
    assert_eq!(
        paths(&found),
        [
            ("apps/a.yaml", Kind::Blob),
            ("apps/b/c.yaml", Kind::Blob),
            ("apps/caf\u{fffd}.yaml", Kind::Unnameable),
            ("apps/link", Kind::Symlink),
            ("apps/module", Kind::Submodule),
        ]
    );
    assert_eq!(asked, ["apps/b", "apps/bundles"]);
    let yaml = PathFilter::new(&["**/*.yaml"], &["b"]).unwrap();
    let found = reader.entries(commit, "apps", &yaml, &mut |_| true).unwrap();
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!(reader.entries(commit, "", &all, &mut |_| true).unwrap().len(), 7);
}

#[tokio::test]
async fn paths_are_found_or_clearly_not() {
    let upstream = Upstream::new();
    upstream.commit(Changes::new().file("a/b/c.yaml", "c").symlink("link", "a"));
    let (_rig, reader, commit) = read(&upstream).await;
    let all = PathFilter::default();
    let folder = reader.find(commit, "a/b").unwrap().unwrap();
    assert_eq!(folder.kind, Kind::Tree);
    assert_eq!(paths(&reader.files(folder.oid).unwrap()), [("c.yaml", Kind::Blob)]);
    let file = reader.find(commit, "a/b/c.yaml").unwrap().unwrap();
    assert_eq!((reader.read(file.oid, 1).unwrap(), reader.size(file.oid).unwrap()), (b"c".to_vec(), 1));
    for absent in ["a/x", "a/b/c.yaml/d", "link/b", "x"] {
        assert_eq!(reader.find(commit, absent), Ok(None), "{absent}");
        let error = reader.entries(commit, absent, &all, &mut |_| true).unwrap_err();
        assert!(matches!(error, ReadError::NoSuchPath { .. }), "{absent}: {error:?}");
    }
    for path in ["a/b/c.yaml", "link"] {
        let error = reader.entries(commit, path, &all, &mut |_| true).unwrap_err();
        assert!(matches!(error, ReadError::NotAFolder { .. }), "{path}: {error:?}");
    }
    assert!(matches!(reader.find(commit, "../x"), Err(ReadError::BadPath(_))));
    assert!(reader.size(folder.oid).is_err(), "a folder is no file");
    assert!(reader.files(file.oid).is_err(), "a file is no folder");
    let nobody: CommitId = "1234567890123456789012345678901234567890".parse().unwrap();
    assert!(matches!(reader.find(nobody, "a"), Err(ReadError::Object { .. })));
    assert!(!reader.has(nobody));
}

#[tokio::test]
async fn large_files_are_not_loaded() {
    let upstream = Upstream::new();
    upstream.commit(Changes::new().file("big", vec![0; 5000]));
    let (_rig, reader, commit) = read(&upstream).await;
    let file = reader.find(commit, "big").unwrap().unwrap();
    assert_eq!(reader.read(file.oid, 4999), Err(ReadError::TooLarge { size: 5000, limit: 4999 }));
    assert_eq!(reader.read(file.oid, 5000).unwrap().len(), 5000);
}

#[tokio::test]
async fn commits_between_two_are_listed_with_their_trailers() {
    let upstream = Upstream::new();
    let first = upstream.commit(Changes::new().file("a", "1").message("First"));
    let absent: CommitId = "1234567890123456789012345678901234567890".parse().unwrap();
    upstream.commit(
        Changes::new()
            .file("a", "2")
            .message("Remove the old apps\n\nThey are gone.\n\nSluice-Allow-Prune: 12\n"),
    );
    let last = upstream.commit(Changes::new().file("a", "3").message("Last\n"));
    let (_rig, reader, commit) = read(&upstream).await;
    assert_eq!(commit, last);
    let between = reader.messages(Some(first), last, 10).unwrap();
    let subjects: Vec<_> = between.commits.iter().map(sluice_repo::CommitInfo::subject).collect();
    assert_eq!(subjects, ["Last", "Remove the old apps"]);
    assert!(!between.truncated);
    assert_eq!(between.allowed_prune(), Some(12));
    let cut = reader.messages(Some(first), last, 1).unwrap();
    assert!(cut.truncated);
    assert_eq!(cut.allowed_prune(), None);
    assert_eq!(reader.messages(None, last, 10).unwrap().commits.len(), 1);
    assert_eq!(reader.messages(Some(last), last, 10).unwrap().commits, []);
    assert!(
        reader.messages(Some(absent), last, 10).is_err(),
        "a commit that is not here is no reason to list everything"
    );
    assert_eq!(reader.contains(last, first), Ok(true));
    assert_eq!(reader.contains(first, last), Ok(false));
    let info = reader.commit(last).unwrap();
    assert_eq!((info.author.as_str(), info.parents.len()), ("Ada Example", 1));
    assert!(info.time >= 1_790_000_000);
}

#[tokio::test]
async fn unchanged_folders_are_not_read_again() {
    let upstream = Upstream::new();
    let mut changes = Changes::new();
    for folder in 0..100 {
        for file in 0..100 {
            changes = changes.file(&format!("apps/{folder}/{file}.yaml"), "x");
        }
    }
    upstream.commit(changes);
    let rig = Rig::with(Launch::InProcess);
    let source = rig.source(upstream.settings());
    let first = moved(&source).await;
    let all = PathFilter::default();
    let before = source.mirror().open().unwrap().entries(first, "apps", &all, &mut |_| true).unwrap();
    assert_eq!(before.len(), 10_000);
    upstream.commit(Changes::new().file("apps/7/7.yaml", "changed"));
    let second = moved(&source).await;
    let after = source.mirror().open().unwrap().entries(second, "apps", &all, &mut |_| true).unwrap();
    let changed: Vec<_> =
        before.iter().zip(&after).filter(|(a, b)| a != b).map(|(_, b)| b.path.as_str()).collect();
    assert_eq!(changed, ["apps/7/7.yaml"]);
}

#[test]
fn a_clone_is_read_in_place() {
    let upstream = Upstream::new();
    let first = upstream.commit(Changes::new().file("apps/a.yaml", "one"));
    let folder = tempfile::tempdir().unwrap();
    let clone = folder.path().join("clone");
    let status = std::process::Command::new("git")
        .args(["clone", "-q", "-b", "main"])
        .arg(upstream.path())
        .arg(&clone)
        .status()
        .expect("this test needs the program `git`");
    assert!(status.success());
    let (reader, inside) = Reader::discover(&clone.join("apps")).unwrap();
    assert_eq!(inside, "apps");
    assert_eq!(reader.resolve("HEAD"), Ok(first));
    assert_eq!(reader.resolve("main"), Ok(first));
    assert!(reader.find(first, "apps/a.yaml").unwrap().is_some());
    assert!(reader.resolve("nothing").is_err());
    assert!(Reader::discover(folder.path()).is_err());
}

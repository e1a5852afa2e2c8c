use std::fs;

use sluice_repo::{
    Launch, Poll, Reference, RepoError, SourceSettings,
    testing::{Changes, Upstream},
};

use crate::{Rig, error, moved, packs};

fn follow(upstream: &Upstream, reference: Reference) -> SourceSettings {
    SourceSettings::new(upstream.url(), reference)
}

#[tokio::test]
async fn a_branch_is_followed() {
    let upstream = Upstream::new();
    let rig = Rig::new();
    let source = rig.source(upstream.settings());
    let first = upstream.commit(Changes::new().file("a.yaml", "one"));
    assert_eq!(source.poll().await, Ok(Poll::Moved { from: None, to: first }));
    assert_eq!(source.poll().await, Ok(Poll::Unchanged));
    upstream.commit_on("other", Changes::new().file("b.yaml", "two"));
    assert_eq!(source.poll().await, Ok(Poll::Unchanged), "another branch");
    let second = upstream.commit(Changes::new().file("a.yaml", "two"));
    assert_eq!(source.poll().await, Ok(Poll::Moved { from: Some(first), to: second }));
    assert_eq!(source.commit(), Some(second));
    assert_eq!(source.mirror().current(), Ok(Some(second)));
}

#[tokio::test]
async fn local_repositories_need_no_process() {
    let upstream = Upstream::new();
    let first = upstream.commit(Changes::new().file("a.yaml", "one"));
    let rig = Rig::with(Launch::InProcess);
    let source = rig.source(upstream.settings());
    assert_eq!(moved(&source).await, first);
    let second = upstream.rewrite("main", None, Changes::new().file("a.yaml", "two"));
    assert_eq!(source.poll().await, Ok(Poll::Rewritten { from: first, to: second }));
    let remote = "https://git.example.org/a".parse().unwrap();
    assert!(rig.mirrors.source(SourceSettings::new(remote, Reference::branch("main").unwrap())).is_err());
}

#[tokio::test]
async fn a_clone_with_a_work_tree_and_a_file_url_are_repositories() {
    let upstream = Upstream::new();
    let first = upstream.commit(Changes::new().file("a.yaml", "one"));
    let rig = Rig::new();
    let clone = rig.path().join("clone");
    let status = std::process::Command::new("git")
        .args(["clone", "-q", "-b", "main"])
        .arg(upstream.path())
        .arg(&clone)
        .status()
        .expect("this test needs the program `git`");
    assert!(status.success());
    for text in [clone.to_str().unwrap().to_owned(), format!("file://{}", clone.to_str().unwrap())] {
        let settings = SourceSettings::new(text.parse().unwrap(), Reference::branch("main").unwrap());
        assert_eq!(moved(&rig.source(settings)).await, first, "{text}");
    }
}

/// As CI checks out: at a commit, with no branch.
#[tokio::test]
async fn a_clone_at_a_commit_says_how_it_can_be_followed() {
    let upstream = Upstream::new();
    let first = upstream.commit(Changes::new().file("a.yaml", "one"));
    upstream.commit(Changes::new().file("a.yaml", "two"));
    let rig = Rig::new();
    let clone = rig.path().join("clone");
    let git = |arguments: &[&str]| {
        let done = std::process::Command::new("git").args(arguments).status();
        assert!(done.expect("this test needs the program `git`").success());
    };
    let (to, at) = (clone.to_str().unwrap(), first.to_string());
    git(&["clone", "-q", upstream.path().to_str().unwrap(), to]);
    git(&["-C", to, "checkout", "-q", "--detach", &at]);
    git(&["-C", to, "branch", "-q", "-D", "main"]);
    let of = |reference| SourceSettings::new(to.parse().unwrap(), reference);
    let branch = || Reference::branch("main").unwrap();
    let detached = error(&rig.source(of(branch()))).await.to_string();
    assert!(detached.contains("no branch `main`, nor any other"), "{detached}");
    assert!(detached.contains(&format!("`--commit {at}`")), "{detached}");
    assert_eq!(moved(&rig.source(of(Reference::commit(&at).unwrap()))).await, first);
    git(&["-C", to, "branch", "trunk"]);
    let named = error(&rig.source(of(branch()))).await.to_string();
    assert!(named.contains("it has `trunk`") && named.contains("--branch NAME"), "{named}");
}

#[tokio::test]
async fn a_missing_reference_is_an_error_and_not_emptiness() {
    let upstream = Upstream::new();
    let rig = Rig::new();
    let source = rig.source(upstream.settings());
    let empty = error(&source).await;
    assert!(matches!(empty, RepoError::ReferenceMissing { empty: true, .. }), "{empty:?}");
    assert!(empty.to_string().contains("the repository is empty"), "{empty}");
    let first = upstream.commit(Changes::new().file("a.yaml", "one"));
    upstream.commit_on("other", Changes::new().file("a.yaml", "one"));
    assert_eq!(moved(&source).await, first);
    upstream.delete_branch("main");
    let deleted = error(&source).await;
    assert!(matches!(deleted, RepoError::ReferenceMissing { empty: false, .. }), "{deleted:?}");
    assert!(!deleted.is_transient());
    assert_eq!(source.commit(), Some(first), "what was known stays known");
    assert_eq!(source.mirror().current(), Ok(Some(first)));
    upstream.reset("main", first);
    assert_eq!(source.poll().await, Ok(Poll::Unchanged));
}

#[tokio::test]
async fn a_repository_that_is_not_there_is_not_found() {
    let rig = Rig::new();
    let url = rig.path().join("nowhere.git").to_str().unwrap().parse().unwrap();
    let found = error(&rig.source(SourceSettings::new(url, Reference::branch("main").unwrap()))).await;
    assert!(matches!(found, RepoError::NotFound { .. }), "{found:?}");
}

#[tokio::test]
async fn rewritten_history_is_told_and_kept() {
    let upstream = Upstream::new();
    let base = upstream.commit(Changes::new().file("a.yaml", "base"));
    let lost = upstream.commit(Changes::new().file("a.yaml", "lost"));
    let rig = Rig::new();
    let source = rig.source(upstream.settings());
    assert_eq!(moved(&source).await, lost);
    let other = upstream.rewrite("main", Some(base), Changes::new().file("a.yaml", "other"));
    assert_eq!(source.poll().await, Ok(Poll::Rewritten { from: lost, to: other }));
    upstream.reset("main", base);
    assert_eq!(source.poll().await, Ok(Poll::Rewritten { from: other, to: base }), "rewound to an ancestor");
    upstream.reset("main", other);
    assert_eq!(source.poll().await, Ok(Poll::Moved { from: Some(base), to: other }), "forward again");
    let reader = source.mirror().open().unwrap();
    assert!(reader.has(lost), "what was released once stays readable");
}

#[tokio::test]
async fn tags_versions_and_commits_are_followed() {
    let upstream = Upstream::new();
    let one = upstream.commit(Changes::new().file("a", "1"));
    let two = upstream.commit(Changes::new().file("a", "2"));
    let three = upstream.commit(Changes::new().file("a", "3"));
    upstream.tag("v1.2.0", one);
    upstream.annotated_tag("v1.10.0", two);
    upstream.tag("v2.0.0", three);
    upstream.tag("nightly", three);
    let rig = Rig::new();
    let tag = rig.source(follow(&upstream, Reference::tag("v1.10.0").unwrap()));
    assert_eq!(moved(&tag).await, two, "an annotated tag leads to its commit");
    assert_eq!(tag.poll().await, Ok(Poll::Unchanged));
    let range = rig.source(follow(&upstream, Reference::semver("^1").unwrap()));
    assert_eq!(moved(&range).await, two);
    upstream.tag("v1.11.0", three);
    assert_eq!(range.poll().await, Ok(Poll::Moved { from: Some(two), to: three }));
    let none = error(&rig.source(follow(&upstream, Reference::semver(">=3").unwrap()))).await;
    assert!(matches!(none, RepoError::ReferenceMissing { empty: false, .. }), "{none:?}");
    let commit = rig.source(follow(&upstream, Reference::commit(&one.to_string()).unwrap()));
    assert_eq!(moved(&commit).await, one);
    assert_eq!(commit.poll().await, Ok(Poll::Unchanged));
    let absent = Reference::commit("1234567890123456789012345678901234567890").unwrap();
    let absent = error(&rig.source(follow(&upstream, absent))).await;
    assert!(matches!(absent, RepoError::ReferenceMissing { .. }), "{absent:?}");
}

#[tokio::test]
async fn many_packs_become_one_and_history_stays() {
    let upstream = Upstream::new();
    let rig = Rig::new();
    let mirrors = sluice_repo::Mirrors::with_repack_at(rig.path().join("few"), crate::launch(), 10);
    let source = mirrors.source(upstream.settings()).unwrap();
    let mut commits = Vec::new();
    let mut most = 0;
    for round in 0..25 {
        commits.push(upstream.commit(Changes::new().file("a.yaml", format!("{round}"))));
        moved(&source).await;
        most = most.max(packs(&source));
    }
    assert!((5..10).contains(&most), "{most} packs");
    upstream.annotated_tag("v1.0.0", commits[0]);
    let reader = source.mirror().open().unwrap();
    for (round, commit) in commits.iter().enumerate() {
        let entry = reader.find(*commit, "a.yaml").unwrap().unwrap();
        assert_eq!(reader.read(entry.oid, 100).unwrap(), format!("{round}").into_bytes());
    }
    assert_eq!(source.poll().await, Ok(Poll::Unchanged));
}

#[tokio::test]
async fn a_reader_that_was_open_before_a_repack_goes_on() {
    let upstream = Upstream::new();
    let rig = Rig::new();
    let mirrors = sluice_repo::Mirrors::with_repack_at(rig.path().join("few"), crate::launch(), 3);
    let source = mirrors.source(upstream.settings()).unwrap();
    let first = upstream.commit(Changes::new().file("a.yaml", "first"));
    moved(&source).await;
    let reader = source.mirror().open().unwrap();
    for round in 0..7 {
        upstream.commit(Changes::new().file("a.yaml", format!("{round}")));
        moved(&source).await;
    }
    let entry = reader.find(first, "a.yaml").unwrap().unwrap();
    assert_eq!(reader.read(entry.oid, 100).unwrap(), b"first");
}

#[tokio::test]
async fn followers_of_one_reference_share_a_mirror_and_unused_ones_go() {
    let upstream = Upstream::new();
    upstream.commit(Changes::new().file("a.yaml", "one"));
    upstream.tag("v1", upstream.commit(Changes::new().file("a.yaml", "two")));
    let rig = Rig::new();
    let (one, two) = (rig.source(upstream.settings()), rig.source(upstream.settings()));
    let tag = rig.source(follow(&upstream, Reference::tag("v1").unwrap()));
    moved(&one).await;
    moved(&two).await;
    moved(&tag).await;
    assert_eq!(one.path(), two.path());
    assert_ne!(one.path(), tag.path());
    let gone = tag.path().to_owned();
    drop(tag);
    assert_eq!(rig.mirrors.remove_unused().unwrap(), 1);
    assert!(!gone.exists());
    assert_eq!(one.poll().await, Ok(Poll::Unchanged));
    let names: Vec<_> = fs::read_dir(one.path().parent().unwrap()).unwrap().collect();
    assert_eq!(names.len(), 2, "one mirror and its home: {names:?}");
}

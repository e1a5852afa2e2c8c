use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use sluice_repo::{
    Mirrors, Poll, Reference, RepoError, SourceSettings,
    testing::{Behaviour, Changes, SmartHttp, Upstream},
};

use crate::{Rig, error, launch, moved, packs};

fn pack_files(mirror: &Path, extension: &str) -> Vec<std::path::PathBuf> {
    fs::read_dir(mirror.join("objects/pack"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == extension))
        .collect()
}

fn leftovers(mirror: &Path) -> usize {
    let Ok(entries) = fs::read_dir(mirror.join("objects/pack")) else { return 0 };
    entries
        .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with("pack_git2_"))
        .count()
}

#[tokio::test]
async fn a_kept_mirror_is_used_after_a_restart() {
    let upstream = Upstream::new();
    let first = upstream.commit(Changes::new().file("a.yaml", "one"));
    let server = SmartHttp::start(&upstream);
    let settings = SourceSettings::new(server.url(), Reference::branch("main").unwrap());
    let rig = Rig::new();
    let root = rig.path().join("kept");
    let before = Mirrors::new(&root, launch()).source(settings.clone()).unwrap();
    assert_eq!(moved(&before).await, first);
    drop(before);
    server.seen();
    let after =
        Mirrors::new(&root, launch()).source(SourceSettings { known: Some(first), ..settings }).unwrap();
    assert_eq!(after.mirror().current(), Ok(Some(first)), "readable before the server is asked");
    assert_eq!(after.poll().await, Ok(Poll::Unchanged));
    assert_eq!(server.seen().len(), 1, "nothing was fetched again");
    fs::remove_dir_all(after.path()).unwrap();
    assert_eq!(after.poll().await, Ok(Poll::Unchanged), "a wiped mirror is made again");
    assert!(after.mirror().open().unwrap().has(first));
    let second = upstream.rewrite("main", None, Changes::new().file("a.yaml", "two"));
    fs::remove_dir_all(after.path()).unwrap();
    assert_eq!(after.poll().await, Ok(Poll::Rewritten { from: first, to: second }), "also when it is wiped");
}

#[tokio::test]
async fn a_damaged_mirror_is_made_again() {
    type Damage = (&'static str, fn(&Path));
    let upstream = Upstream::new();
    let first = upstream.commit(Changes::new().file("a.yaml", "one").file("b/c.yaml", "two"));
    let rig = Rig::new();
    let root = rig.path().join("kept");
    let damage: [Damage; 5] = [
        ("pack gone", |mirror| {
            for file in pack_files(mirror, "pack") {
                fs::remove_file(file).unwrap();
            }
        }),
        ("pack empty", |mirror| {
            for file in pack_files(mirror, "pack") {
                fs::remove_file(&file).unwrap();
                fs::write(file, b"").unwrap();
            }
        }),
        ("pack garbled", |mirror| {
            for file in pack_files(mirror, "pack") {
                let mut bytes = fs::read(&file).unwrap();
                bytes[12..].iter_mut().for_each(|byte| *byte = !*byte);
                fs::remove_file(&file).unwrap();
                fs::write(file, bytes).unwrap();
            }
        }),
        ("no objects", |mirror| fs::remove_dir_all(mirror.join("objects")).unwrap()),
        ("garbled settings", |mirror| fs::write(mirror.join("config"), b"[core\n").unwrap()),
    ];
    for (what, damage) in damage {
        // Another process each time: a running worker has the files open.
        let source = Mirrors::new(&root, launch()).source(upstream.settings()).unwrap();
        assert_eq!(moved(&source).await, first, "before {what}");
        let path = source.path().to_owned();
        drop(source);
        damage(&path);
        let source = Mirrors::new(&root, launch()).source(upstream.settings()).unwrap();
        assert_eq!(moved(&source).await, first, "{what}");
        let reader = source.mirror().open().unwrap();
        let entry = reader.find(first, "b/c.yaml").unwrap().unwrap();
        assert_eq!(reader.read(entry.oid, 10).unwrap(), b"two", "{what}");
    }
}

#[tokio::test]
async fn a_file_that_cannot_be_read_is_an_error_and_a_rebuild_helps() {
    let upstream = Upstream::new();
    let first = upstream.commit(Changes::new().file("a.yaml", "one"));
    let rig = Rig::new();
    let source = rig.source(upstream.settings());
    moved(&source).await;
    for file in pack_files(source.path(), "pack").into_iter().chain(pack_files(source.path(), "idx")) {
        fs::remove_file(file).unwrap();
    }
    let reader = source.mirror().open().unwrap();
    assert!(reader.find(first, "a.yaml").is_err());
    assert_eq!(source.rebuild().await, Ok(Poll::Unchanged));
    let reader = source.mirror().open().unwrap();
    assert!(reader.find(first, "a.yaml").unwrap().is_some());
}

#[tokio::test]
async fn a_kill_in_the_middle_of_a_fetch_is_recovered_from() {
    let upstream = Upstream::new();
    let noise: Vec<u8> = (0..300_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()).collect();
    let first = upstream.commit(Changes::new().file("big", noise));
    let server = SmartHttp::start(&upstream);
    server.behave(Behaviour::HangInPack);
    let rig = Rig::new();
    let settings = SourceSettings::new(server.url(), Reference::branch("main").unwrap());
    let source = rig
        .mirrors
        .source(SourceSettings { deadline: std::time::Duration::from_secs(4), ..settings })
        .unwrap();
    // The deadline kills the worker with SIGKILL while half of the pack has come.
    let found = error(&source).await;
    assert!(matches!(found, RepoError::Timeout { .. }), "{found:?}");
    assert_eq!(leftovers(source.path()), 1, "the kill left half a pack");
    fs::write(source.path().join("refs/heads/main.lock"), b"").unwrap();
    fs::write(source.path().join("packed-refs.lock"), b"").unwrap();
    fs::write(source.path().join("config.lock"), b"").unwrap();
    assert_eq!(source.mirror().current(), Ok(None));
    server.behave(Behaviour::Normal);
    assert_eq!(moved(&source).await, first);
    assert_eq!((leftovers(source.path()), packs(&source)), (0, 1));
}

#[tokio::test]
async fn a_dropped_poll_kills_its_worker() {
    let upstream = Upstream::new();
    let first = upstream.commit(Changes::new().file("a.yaml", "one"));
    let server = SmartHttp::start(&upstream);
    server.behave(Behaviour::Hang);
    let rig = Rig::new();
    let source = rig.source(SourceSettings::new(server.url(), Reference::branch("main").unwrap()));
    let (server, came) = (std::sync::Arc::new(server), tokio::sync::oneshot::channel());
    let waiting = std::sync::Arc::clone(&server);
    std::thread::spawn(move || {
        waiting.wait_for("info/refs");
        let _ = came.0.send(());
    });
    tokio::select! {
        outcome = source.poll() => panic!("{outcome:?}"),
        _ = came.1 => {}
    }
    server.behave(Behaviour::Normal);
    assert_eq!(moved(&source).await, first);
}

#[tokio::test]
async fn a_worker_that_cannot_start_or_dies_is_told() {
    let upstream = Upstream::new();
    upstream.commit(Changes::new().file("a.yaml", "one"));
    for (program, args) in
        [("/nowhere/sluice", vec![]), ("/bin/false", vec![]), ("/bin/echo", vec!["no json".into()])]
    {
        let rig = Rig::with(sluice_repo::Launch::Process { program: program.into(), args });
        let found = error(&rig.source(upstream.settings())).await;
        assert!(matches!(found, RepoError::Worker { .. }), "{program}: {found:?}");
    }
}

#[test]
fn a_worker_ends_when_its_parent_goes() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_sluice-git-worker"))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
}

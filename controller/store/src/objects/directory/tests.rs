//! What is particular to a directory: other processes, and being killed.

use std::{
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
};

use super::*;

/// In this environment variable a test that runs itself as a child finds its directory.
const CHILD: &str = "SLUICE_TEST_STORE";

fn child_directory() -> Option<PathBuf> {
    std::env::var_os(CHILD).map(PathBuf::from)
}

fn child(test: &str, root: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([test, "--exact", "--nocapture", "--include-ignored", "--test-threads=1"]);
    command.env(CHILD, root).stdout(Stdio::piped()).stderr(Stdio::null());
    command
}

/// Not a test by itself: writes objects named by their content until it is killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "run by killed_at_any_moment"]
async fn writes_until_killed() {
    let Some(root) = child_directory() else { return };
    let store = Directory::open(&root).unwrap();
    let writers = (0..4_u64).map(|writer| {
        let store = store.clone();
        tokio::spawn(async move {
            for round in 0_u64.. {
                let size = usize::try_from((round * 7_919 + writer * 104_729) % 300_000).unwrap();
                let mut content = vec![u8::try_from(round % 256).unwrap(); size];
                content.extend_from_slice(format!("{writer} {round} {}", std::process::id()).as_bytes());
                let key = format!("objects/{}", Digest::of(&content));
                if round % 2 == 0 {
                    let mut file = store.scratch().unwrap();
                    file.write_all(&content).unwrap();
                    store.create(&key, Content::File(file)).await.unwrap();
                } else {
                    store.create(&key, content.into()).await.unwrap();
                }
                store.replace("head", Bytes::from(format!("{key}\n").repeat(500)), None).await.unwrap();
                println!("wrote {key}");
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
}

#[tokio::test]
async fn killed_at_any_moment() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("store");
    let mut acknowledged = Vec::new();
    for round in 0..5_usize {
        let mut process = child("objects::directory::tests::writes_until_killed", &root).spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        // The child never ends by itself, so what it is doing when the signal comes is left to chance.
        while acknowledged.len() < (round + 1) * 7 {
            let line = lines.next().expect("the child writes on").unwrap();
            acknowledged.extend(line.rsplit_once("wrote ").map(|(_, key)| key.to_owned()));
        }
        process.kill().unwrap();
        process.wait().unwrap();
        acknowledged.extend(
            lines.map_while(Result::ok).filter_map(|l| l.rsplit_once("wrote ").map(|(_, k)| k.to_owned())),
        );
    }
    let left = fs::read_dir(root.join(TEMPORARY)).unwrap().count();
    let store = Directory::open(&root).unwrap();
    assert!(left > 0, "a killed process leaves its temporary folder");
    assert_eq!(fs::read_dir(root.join(TEMPORARY)).unwrap().count(), 1, "and the next opener removes it");

    let listed = store.list("objects").await.unwrap();
    for meta in &listed {
        let (content, _) = store.get(&meta.key).await.unwrap().unwrap();
        assert_eq!(meta.key, format!("objects/{}", Digest::of(&content)), "an object is whole or not there");
    }
    for key in acknowledged.iter().filter(|key| key.len() == 72) {
        assert!(listed.iter().any(|meta| meta.key == *key), "{key} was acknowledged");
    }
    let (head, _) = store.get("head").await.unwrap().unwrap();
    let head = std::str::from_utf8(&head).unwrap();
    assert_eq!(head.lines().count(), 500);
    assert!(head.lines().all(|line| head.starts_with(line)));
}

/// Not a test by itself: adds 50 to a counter.
#[tokio::test]
#[ignore = "run by processes_do_not_lose_updates"]
async fn counts_up() {
    let Some(root) = child_directory() else { return };
    add(&Directory::open(&root).unwrap(), 50).await;
}

async fn add(store: &Directory, mut times: usize) {
    while times > 0 {
        let (content, etag) = store.get("counter").await.unwrap().unwrap();
        let next = std::str::from_utf8(&content).unwrap().parse::<u64>().unwrap() + 1;
        match store.replace("counter", next.to_string().into(), Some(&etag)).await {
            Ok(_) => times -= 1,
            Err(ObjectsError::Conflict(_)) => {}
            Err(e) => panic!("{e}"),
        }
    }
}

#[tokio::test]
async fn processes_do_not_lose_updates() {
    let folder = tempfile::tempdir().unwrap();
    let store = Directory::open(folder.path()).unwrap();
    store.create("counter", b"0".to_vec().into()).await.unwrap();
    let children: Vec<_> = (0..2)
        .map(|_| child("objects::directory::tests::counts_up", folder.path()).spawn().unwrap())
        .collect();
    add(&store, 50).await;
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(store.get("counter").await.unwrap().unwrap().0, "150");
}

#[tokio::test]
async fn an_opener_leaves_the_files_of_a_living_one() {
    let folder = tempfile::tempdir().unwrap();
    let first = Directory::open(folder.path()).unwrap();
    let mut scratch = first.scratch().unwrap();
    scratch.write_all(b"x").unwrap();
    let second = Directory::open(folder.path()).unwrap();
    assert!(scratch.path().exists());
    first.create("a", Content::File(scratch)).await.unwrap();
    assert_eq!(second.get("a").await.unwrap().unwrap().0, "x");
    drop((first, second));
    assert_eq!(fs::read_dir(folder.path().join(TEMPORARY)).unwrap().count(), 0);
}

#[tokio::test]
async fn foreign_files_are_not_objects() {
    let folder = tempfile::tempdir().unwrap();
    let store = Directory::open(folder.path()).unwrap();
    store.create("a/b", b"1".to_vec().into()).await.unwrap();
    fs::create_dir(folder.path().join("lost+found")).unwrap();
    fs::write(folder.path().join(".swp"), b"").unwrap();
    fs::write(folder.path().join("a/x~"), b"").unwrap();
    std::os::unix::fs::symlink("/etc/passwd", folder.path().join("a/link")).unwrap();
    let keys: Vec<String> = store.list("").await.unwrap().into_iter().map(|m| m.key).collect();
    assert_eq!(keys, ["a/b"]);
    assert_eq!(store.get("a/b/c").await.unwrap(), None);
    assert_eq!(store.head("a").await.unwrap(), None);
}

/// Not a test by itself: runs on a file system of 256 KiB.
#[tokio::test]
#[ignore = "run by a_full_disk_corrupts_nothing"]
async fn fills_the_disk() {
    let root = PathBuf::from(std::env::var_os(crate::small_disk::FOLDER).expect("the small file system"));
    let store = Directory::open(&root).unwrap();
    let head = store.replace("head", Bytes::from_static(b"old"), None).await.unwrap();
    let mut written = Vec::new();
    let full = loop {
        let content = vec![u8::try_from(written.len()).unwrap(); 50_000];
        let key = format!("objects/{}", Digest::of(&content));
        match store.create(&key, content.into()).await {
            Ok(()) => written.push(key),
            Err(e) => break e,
        }
    };
    assert!(matches!(full, ObjectsError::Full { .. }), "{full}");
    let refused = store.replace("head", vec![b'x'; 50_000].into(), Some(&head)).await;
    assert!(matches!(refused, Err(ObjectsError::Full { .. })), "{refused:?}");
    assert_eq!(store.get("head").await.unwrap().unwrap().0, "old");
    let listed: Vec<String> = store.list("objects").await.unwrap().into_iter().map(|m| m.key).collect();
    assert_eq!(listed.len(), written.len());
    for key in &listed {
        let (content, _) = store.get(key).await.unwrap().unwrap();
        assert_eq!(*key, format!("objects/{}", Digest::of(&content)));
    }
    store.delete(&written[0]).await.unwrap();
    store.create("objects/again", vec![1_u8; 40_000].into()).await.unwrap();
}

#[test]
fn a_full_disk_corrupts_nothing() {
    crate::small_disk::run("objects::directory::tests::fills_the_disk", "256k");
}

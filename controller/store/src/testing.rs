//! What every back end of [`Objects`] must do, as one suite of checks.

use std::{collections::BTreeSet, io::Write as _, sync::Arc};

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use sluice_core::digest::Digest;

use crate::objects::{Content, Etag, Fetched, Objects, ObjectsError};

/// Runs every check over an empty store. Panics with the first thing that is not as it must be.
#[expect(clippy::panic, clippy::missing_panics_doc, reason = "this is a test")]
pub async fn conformance(objects: Arc<dyn Objects>) {
    missing(&*objects).await;
    create_and_replace(&*objects).await;
    odd_keys(&*objects).await;
    lists(&*objects).await;
    ranges(&*objects).await;
    files(&*objects).await;
    creation_races(&objects).await;
    swap_races(&objects).await;
    let Ok(left) = objects.list("").await else { panic!("the store can be listed at the end") };
    assert!(left.iter().all(|m| m.key.starts_with("conformance/")), "nothing else is listed: {left:?}");
}

async fn missing(objects: &dyn Objects) {
    let key = "conformance/none";
    assert_eq!(ok(objects.get(key).await), None);
    assert_eq!(ok(objects.head(key).await), None);
    assert!(ok(objects.read(key, None).await).is_none());
    assert!(!ok(objects.delete(key).await) || objects.local_path(key).is_none());
    assert_eq!(ok(objects.list("conformance").await), Vec::new());
    ok(objects.create(key, bytes("x")).await);
    let (_, etag) = some(ok(objects.get(key).await));
    ok(objects.delete(key).await);
    assert_eq!(ok(objects.get_if_changed(key, &etag).await), Fetched::Missing);
    let lost = objects.replace(key, Bytes::from_static(b"y"), Some(&etag)).await;
    assert!(matches!(lost, Err(ObjectsError::Conflict(_))), "a deleted object is not swapped: {lost:?}");
    assert_eq!(ok(objects.get(key).await), None);
}

async fn create_and_replace(objects: &dyn Objects) {
    let key = "conformance/a/b.json";
    ok(objects.create(key, bytes("one")).await);
    let again = objects.create(key, bytes("two")).await;
    assert!(matches!(again, Err(ObjectsError::AlreadyExists(_))), "{again:?}");
    let (content, first) = some(ok(objects.get(key).await));
    assert_eq!(content, "one");
    assert_eq!(ok(objects.get_if_changed(key, &first).await), Fetched::Unchanged);

    let second = ok(objects.replace(key, Bytes::from_static(b"two"), Some(&first)).await);
    assert_ne!(first, second);
    assert_eq!(some(ok(objects.get(key).await)), (Bytes::from_static(b"two"), second.clone()));
    let fetched = ok(objects.get_if_changed(key, &first).await);
    assert_eq!(fetched, Fetched::Changed(Bytes::from_static(b"two"), second.clone()));
    let stale = objects.replace(key, Bytes::from_static(b"three"), Some(&first)).await;
    assert!(matches!(stale, Err(ObjectsError::Conflict(_))), "{stale:?}");
    assert_eq!(some(ok(objects.get(key).await)).0, "two");

    ok(objects.replace(key, Bytes::from_static(b"four"), None).await);
    ok(objects.replace("conformance/new", Bytes::from_static(b"five"), None).await);
    assert_eq!(some(ok(objects.get(key).await)).0, "four");
    assert_eq!(some(ok(objects.get("conformance/new").await)).0, "five");
    let head = some(ok(objects.head(key).await));
    assert_eq!((head.key.as_str(), head.size), (key, 4));
    assert!(head.modified > 1_600_000_000, "{head:?}");
    assert!(ok(objects.delete(key).await));
    assert!(ok(objects.delete("conformance/new").await));
    assert_eq!(ok(objects.get(key).await), None);
    ok(objects.create("conformance/empty", bytes("")).await);
    assert_eq!(some(ok(objects.get("conformance/empty").await)).0, "");
    ok(objects.delete("conformance/empty").await);
}

async fn odd_keys(objects: &dyn Objects) {
    let long = "x".repeat(201);
    let deep = "a/".repeat(400) + "b";
    let refused = [
        "",
        "/",
        "/a",
        "a/",
        "a//b",
        ".",
        "..",
        "../a",
        "a/../b",
        "a/./b",
        ".hidden",
        "a/.tmp",
        "a b",
        "a\\b",
        "a\0b",
        "ü",
        "a%2fb",
        "a:b",
        long.as_str(),
        deep.as_str(),
    ];
    for key in refused {
        let invalid = |e: ObjectsError| matches!(e, ObjectsError::InvalidKey(_));
        assert!(objects.get(key).await.is_err_and(invalid), "get {key:?}");
        assert!(objects.head(key).await.is_err_and(invalid), "head {key:?}");
        assert!(objects.create(key, bytes("x")).await.is_err_and(invalid), "create {key:?}");
        assert!(objects.replace(key, Bytes::new(), None).await.is_err_and(invalid), "replace {key:?}");
        assert!(objects.delete(key).await.is_err_and(invalid), "delete {key:?}");
        assert!(objects.read(key, None).await.is_err_and(invalid), "read {key:?}");
        assert!(objects.local_path(key).is_none(), "path of {key:?}");
    }
    let longest = format!("conformance/{}", "x".repeat(200));
    for key in ["conformance/A-b_c.d", "conformance/com.example.shop/record.json", "conformance/0", &longest]
    {
        ok(objects.create(key, bytes(key)).await);
        assert_eq!(some(ok(objects.get(key).await)).0, key);
        ok(objects.delete(key).await);
    }
}

async fn lists(objects: &dyn Objects) {
    let keys = ["conformance/l/b", "conformance/l/a/2", "conformance/l/a/1", "conformance/l2/c"];
    for key in keys {
        ok(objects.create(key, bytes(key)).await);
    }
    let names = |prefix: &'static str| async move {
        ok(objects.list(prefix).await).into_iter().map(|m| (m.key, m.size)).collect::<Vec<_>>()
    };
    let expected = |keys: &[&str]| keys.iter().map(|k| ((*k).to_owned(), k.len() as u64)).collect::<Vec<_>>();
    let all = expected(&["conformance/l/a/1", "conformance/l/a/2", "conformance/l/b"]);
    assert_eq!(names("conformance/l").await, all, "a prefix is a folder, not the start of a name");
    assert_eq!(names("conformance/l/").await, all);
    assert_eq!(names("conformance/l/a").await, all[..2]);
    assert_eq!(names("conformance/none").await, Vec::new());
    assert_eq!(names("").await.len(), 4);
    for key in keys {
        ok(objects.delete(key).await);
    }
}

async fn ranges(objects: &dyn Objects) {
    let key = "conformance/ranges";
    let content: Vec<u8> = (0..200_000_u32).map(|n| u8::try_from(n % 251).unwrap_or(0)).collect();
    ok(objects.create(key, content.clone().into()).await);
    for (range, expected) in [
        (None, 0..200_000),
        (Some(0..0), 0..0),
        (Some(0..1), 0..1),
        (Some(65_530..65_550), 65_530..65_550),
        (Some(199_999..200_000), 199_999..200_000),
        (Some(199_990..999_999), 199_990..200_000),
        (Some(200_000..200_001), 200_000..200_000),
        (Some(300_000..400_000), 200_000..200_000),
        (Some(100..u64::MAX), 100..200_000),
    ] {
        let reading = some(ok(objects.read(key, range.clone()).await));
        assert_eq!((reading.size, &reading.range), (200_000, &expected), "{range:?}");
        let chunks: Vec<Bytes> = ok(reading.chunks.try_collect().await);
        let (start, end) = (index(expected.start), index(expected.end));
        assert_eq!(chunks.concat(), content[start..end], "{range:?}");
    }
    ok(objects.delete(key).await);
}

/// Files small enough for one request, and one that needs several.
async fn files(objects: &dyn Objects) {
    for (key, size) in [("conformance/small", 5_usize), ("conformance/big", (20 << 20) + 3)] {
        let content: Vec<u8> = (0..size).map(|n| u8::try_from(n % 253).unwrap_or(0)).collect();
        let scratch = || {
            let mut file = ok(objects.scratch());
            ok(file.write_all(&content));
            file
        };
        let file = scratch();
        let path = file.path().to_owned();
        ok(objects.create(key, Content::File(file)).await);
        assert!(!path.exists(), "the temporary name is gone");
        let again = objects.create(key, Content::File(scratch())).await;
        assert!(matches!(again, Err(ObjectsError::AlreadyExists(_))), "{again:?}");
        let reading = some(ok(objects.read(key, None).await));
        let chunks: Vec<Bytes> = ok(reading.chunks.try_collect().await);
        assert_eq!(Digest::of(&chunks.concat()), Digest::of(&content));
        if let Some(path) = objects.local_path(key) {
            assert_eq!(ok(path.metadata()).len(), size as u64);
        }
        let listed = ok(objects.list("").await);
        assert_eq!(listed.len(), 1, "no temporary or staged object is listed: {listed:?}");
        ok(objects.delete(key).await);
    }
}

/// Two at once: one wins, and its content is what stands.
async fn creation_races(objects: &Arc<dyn Objects>) {
    for round in 0..20 {
        let key = format!("conformance/races/{round}");
        let racers = (0..4).map(|racer| {
            let (objects, key) = (objects.clone(), key.clone());
            tokio::spawn(async move { (racer, objects.create(&key, bytes(&format!("{racer}"))).await) })
        });
        let mut won = Vec::new();
        for racer in racers.collect::<Vec<_>>() {
            match ok(racer.await) {
                (racer, Ok(())) => won.push(racer.to_string()),
                (_, Err(ObjectsError::AlreadyExists(_))) => {}
                (_, Err(e)) => assert_eq!(e.to_string(), "", "no other outcome"),
            }
        }
        assert_eq!(won.len(), 1, "one of four creators wins");
        assert_eq!(some(ok(objects.get(&key).await)).0, won[0]);
        ok(objects.delete(&key).await);
    }
}

/// A hundred increments by eight tasks: none is lost.
async fn swap_races(objects: &Arc<dyn Objects>) {
    const INCREMENTS: usize = 100;
    let key = "conformance/counter";
    ok(objects.create(key, bytes("0")).await);
    let seen: Vec<BTreeSet<usize>> = stream::iter(0..8)
        .map(|task| {
            let objects = objects.clone();
            let mine = INCREMENTS / 8 + usize::from(task < INCREMENTS % 8);
            ok_spawn(async move {
                let mut written = BTreeSet::new();
                while written.len() < mine {
                    let (content, etag) = some(ok(objects.get(key).await));
                    let next = ok(ok(std::str::from_utf8(&content)).parse::<usize>()) + 1;
                    match objects.replace(key, next.to_string().into(), Some(&etag)).await {
                        Ok(_) => assert!(written.insert(next)),
                        Err(ObjectsError::Conflict(_)) => {}
                        Err(e) => assert_eq!(e.to_string(), "", "no other outcome"),
                    }
                }
                written
            })
        })
        .buffer_unordered(8)
        .collect()
        .await;
    let all: BTreeSet<usize> = seen.into_iter().flatten().collect();
    assert_eq!(all, (1..=INCREMENTS).collect());
    let (content, etag): (Bytes, Etag) = some(ok(objects.get(key).await));
    assert_eq!(content, INCREMENTS.to_string());
    assert_eq!(ok(objects.get_if_changed(key, &etag).await), Fetched::Unchanged);
    ok(objects.delete(key).await);
}

async fn ok_spawn<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    ok(tokio::spawn(work).await)
}

fn bytes(text: &str) -> Content {
    text.as_bytes().to_vec().into()
}

fn index(position: u64) -> usize {
    ok(usize::try_from(position))
}

#[expect(clippy::panic, reason = "this is a test")]
#[track_caller]
fn ok<T, E: std::fmt::Display>(result: Result<T, E>) -> T {
    match result {
        Ok(value) => value,
        Err(e) => panic!("{e}"),
    }
}

#[expect(clippy::panic, reason = "this is a test")]
#[track_caller]
fn some<T>(found: Option<T>) -> T {
    match found {
        Some(value) => value,
        None => panic!("there is no such object"),
    }
}

//! The bundle store over every back end.

use std::{collections::BTreeMap, io::Write as _};

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use sluice_core::{
    channel::{Access, Platforms, Target},
    digest::{BundleFile, bundle_digest},
    ids::Version,
    record::{AppRecord, Binding, Zip},
    release::RollbackPolicy,
    snapshot::{ChannelEntry, LineEntry, Offer, Served, Shard, Snapshot},
};

use super::*;
use crate::objects::{Directory, Remote};

mod brakes;
mod decisions;
mod follower;

struct Stores {
    _folder: tempfile::TempDir,
    all: Vec<Arc<dyn Objects>>,
}

/// A directory, memory, and a bucket of a real S3 server.
async fn stores() -> Stores {
    let folder = tempfile::tempdir().unwrap();
    let directory = Directory::open(folder.path()).unwrap();
    let bucket = crate::objects::tests::bucket("/prefix").await;
    Stores { _folder: folder, all: vec![Arc::new(directory), Arc::new(Remote::in_memory()), bucket] }
}

async fn open(objects: &Arc<dyn Objects>) -> BundleStore {
    BundleStore::open(objects.clone(), "fresh").await.unwrap()
}

fn app(id: &str) -> AppId {
    id.parse().unwrap()
}

fn version(text: &str) -> Version {
    text.parse().unwrap()
}

fn zip(seed: &str) -> Zip {
    Zip { sha256: Digest::of(seed.as_bytes()), crc32: 7, size: 3 }
}

fn shard(id: &str, release: &str) -> Shard {
    let offer = Offer {
        digest: Digest::of(release.as_bytes()),
        zip: zip(release),
        native: None,
        rollback: RollbackPolicy::Allowed,
        notes: None,
        link: None,
        key_id: None,
    };
    let stable = Some(Target::Release(version(release)));
    Shard {
        app: app(id),
        offers: [(version(release), offer)].into(),
        channels: vec![ChannelEntry {
            channel: "production".parse().unwrap(),
            access: Access { public: true, ..Access::default() },
            lines: vec![LineEntry::serving(None, Platforms::ALL, stable)],
            allow_held: Vec::new(),
            audience: None,
        }],
    }
}

fn change(id: &str, release: &str) -> BTreeMap<AppId, Option<Arc<Shard>>> {
    [(app(id), Some(Arc::new(shard(id, release))))].into()
}

fn served(snapshot: &Snapshot, id: &str) -> Option<String> {
    let channel = snapshot.app(id)?.channel("production")?;
    match channel.lines[0].stable.as_ref()? {
        Served::Bundle(bundle) => Some(bundle.name.clone()),
        Served::Builtin => None,
    }
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

async fn edit(objects: &Arc<dyn Objects>, key: &str, edit: impl FnOnce(&mut Value)) {
    let (bytes, etag) = objects.get(key).await.unwrap().unwrap();
    let mut value = serde_json::from_slice(&bytes).unwrap();
    edit(&mut value);
    objects.replace(key, serde_json::to_vec(&value).unwrap().into(), Some(&etag)).await.unwrap();
}

#[tokio::test]
async fn an_installation_has_one_id() {
    for objects in stores().await.all {
        assert!(matches!(
            BundleStore::open_existing(objects.clone()).await,
            Err(ControlError::NotInitialised)
        ));
        assert_eq!(objects.list("").await.unwrap(), Vec::new());
        assert_eq!(BundleStore::open(objects.clone(), "first").await.unwrap().installation(), "first");
        assert_eq!(BundleStore::open(objects.clone(), "second").await.unwrap().installation(), "first");
        assert_eq!(BundleStore::open_existing(objects).await.unwrap().installation(), "first");
    }
}

#[tokio::test]
async fn a_far_newer_store_is_refused_and_a_readable_one_left_alone() {
    for objects in stores().await.all {
        open(&objects).await;
        edit(&objects, FORMAT_KEY, |f| {
            *f = json!({"format": FORMAT + 1, "readableFrom": FORMAT, "more": true});
        })
        .await;
        open(&objects).await;
        let (kept, _) = objects.get(FORMAT_KEY).await.unwrap().unwrap();
        assert!(std::str::from_utf8(&kept).unwrap().contains("more"));

        edit(&objects, FORMAT_KEY, |f| *f = json!({"format": FORMAT + 5, "readableFrom": FORMAT + 2})).await;
        let error = BundleStore::open(objects.clone(), "x").await.unwrap_err();
        assert!(error.to_string().contains("needs a program that reads it"), "{error}");
        assert!(BundleStore::open_existing(objects.clone()).await.is_err());

        edit(&objects, FORMAT_KEY, |f| *f = json!({"format": 0, "readableFrom": 0})).await;
        open(&objects).await;
        let format: Format = read(&*objects, FORMAT_KEY).await.unwrap().unwrap();
        assert_eq!(format.format, FORMAT);
    }
}

#[tokio::test]
async fn publish_and_load() {
    for objects in stores().await.all {
        let store = open(&objects).await;
        let empty = store.load(None).await.unwrap();
        assert_eq!((empty.snapshot.root.generation, empty.etag), (0, None));

        let first = store.publish(0, &change("com.a", "1.0.0"), at(0)).await.unwrap();
        assert!(first.changed);
        assert_eq!(first.root.generation, 1_800_000_000_000);
        store.publish(0, &change("com.b", "2.0.0"), at(1)).await.unwrap();
        let one = store.load(None).await.unwrap();
        assert!(one.problems.is_empty());
        assert_eq!(served(&one.snapshot, "com.a").unwrap(), "1.0.0");
        assert_eq!(served(&one.snapshot, "com.b").unwrap(), "2.0.0");
        let etag = one.etag.unwrap();
        assert!(store.load_if_changed(&one.snapshot, &etag).await.unwrap().is_none());

        // Only what changed is fetched: the compiled app is the same one.
        store.publish(0, &change("com.b", "2.1.0"), at(2)).await.unwrap();
        let two = store.load_if_changed(&one.snapshot, &etag).await.unwrap().unwrap();
        assert_eq!(served(&two.snapshot, "com.b").unwrap(), "2.1.0");
        assert!(Arc::ptr_eq(one.snapshot.app("com.a").unwrap(), two.snapshot.app("com.a").unwrap()));
        assert!(!Arc::ptr_eq(one.snapshot.app("com.b").unwrap(), two.snapshot.app("com.b").unwrap()));

        let same = store.publish(0, &change("com.b", "2.1.0"), at(3)).await.unwrap();
        assert!(!same.changed, "nothing new is no new generation");
        assert_eq!(same.root, two.snapshot.root);

        let removed = store.publish(0, &[(app("com.b"), None)].into(), at(4)).await.unwrap();
        assert!(removed.changed);
        let three = store.load(Some(&two.snapshot)).await.unwrap();
        assert!(three.snapshot.app("com.b").is_none());
        assert_eq!(served(&three.snapshot, "com.a").unwrap(), "1.0.0");
    }
}

/// Rule 3.
#[tokio::test]
async fn generations_only_go_up() {
    for objects in stores().await.all {
        let store = open(&objects).await;
        let ahead = store.publish(3, &change("com.a", "1.0.0"), at(100)).await.unwrap().root;
        // The clock went back, or another machine's clock is behind.
        let next = store.publish(3, &change("com.a", "1.0.1"), at(0)).await.unwrap().root;
        assert_eq!(next.generation, ahead.generation + 1);
        // A leader of an older term.
        let error = store.publish(2, &change("com.a", "6.6.6"), at(200)).await.unwrap_err();
        assert!(matches!(error, ControlError::Superseded(root) if *root == next));
        let now = store.load(None).await.unwrap();
        assert_eq!(served(&now.snapshot, "com.a").unwrap(), "1.0.1");
        // A new term with the same content is a new generation.
        let termed = store.publish(4, &change("com.a", "1.0.1"), at(0)).await.unwrap();
        assert_eq!((termed.changed, termed.root.generation), (true, next.generation + 1));

        // A store that was restored from an older backup.
        let later = store.load(None).await.unwrap();
        objects.replace("root.json", encode(&next).into(), None).await.unwrap();
        let error = store.load(Some(&later.snapshot)).await.unwrap_err();
        assert!(matches!(&error, ControlError::Superseded(root) if **root == termed.root), "{error}");
        let etag = later.etag.unwrap();
        assert!(store.load_if_changed(&later.snapshot, &etag).await.is_err());
        // A store that was wiped.
        objects.delete("root.json").await.unwrap();
        assert!(matches!(store.load(Some(&later.snapshot)).await, Err(ControlError::Missing(_))));
        assert!(store.load_if_changed(&later.snapshot, &etag).await.is_err());
        let fresh = store.publish(4, &change("com.a", "1.0.2"), at(300)).await.unwrap();
        assert!(fresh.root.generation > termed.root.generation);
        assert_eq!(
            served(&store.load(Some(&later.snapshot)).await.unwrap().snapshot, "com.a").unwrap(),
            "1.0.2"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn publishers_at_once_lose_nothing() {
    for objects in stores().await.all {
        let ids: Vec<String> = (0..16).map(|n| format!("com.app{n}")).collect();
        let tasks: Vec<_> = ids
            .iter()
            .cloned()
            .map(|id| {
                let objects = objects.clone();
                // Each with a store of its own, as if it were another process.
                tokio::spawn(async move {
                    let store = open(&objects).await;
                    store.publish(0, &change(&id, "1.0.0"), at(0)).await.unwrap().root.generation
                })
            })
            .collect();
        let mut generations = std::collections::BTreeSet::new();
        for task in tasks {
            generations.insert(task.await.unwrap());
        }
        assert_eq!(generations.len(), 16, "every generation is used once");
        let snapshot = open(&objects).await.load(None).await.unwrap().snapshot;
        assert!(ids.iter().all(|id| snapshot.app(id).is_some()));
        assert_eq!(Some(&snapshot.root.generation), generations.last());
    }
}

/// Rules 5 and 9: one damaged shard is one app that stays as it was.
#[tokio::test]
async fn a_damaged_shard_is_one_apps_problem() {
    for objects in stores().await.all {
        let store = open(&objects).await;
        store.publish(0, &change("com.a", "1.0.0"), at(0)).await.unwrap();
        let before = store.load(None).await.unwrap().snapshot;
        let mut both = change("com.a", "1.0.1");
        both.extend(change("com.b", "2.0.0"));
        let root = store.publish(0, &both, at(1)).await.unwrap().root;
        let key = snapshots::shard_key(&root.apps[&app("com.a")]);
        let (good, _) = objects.get(&key).await.unwrap().unwrap();

        for damage in [Some(Bytes::from_static(b"{}")), None] {
            match damage {
                Some(bytes) => drop(objects.replace(&key, bytes, None).await.unwrap()),
                None => drop(objects.delete(&key).await.unwrap()),
            }
            let loaded = store.load(Some(&before)).await.unwrap();
            assert_eq!(loaded.problems.len(), 1);
            assert_eq!(loaded.problems[0].0, app("com.a"));
            assert_eq!(served(&loaded.snapshot, "com.a").unwrap(), "1.0.0", "as it was");
            assert_eq!(served(&loaded.snapshot, "com.b").unwrap(), "2.0.0");
            // Without a memory of it the app is absent, the other one is served.
            let cold = store.load(None).await.unwrap();
            assert!(cold.snapshot.app("com.a").is_none());
            assert_eq!(served(&cold.snapshot, "com.b").unwrap(), "2.0.0");
        }
        let still = store.load(Some(&before)).await.unwrap().snapshot;
        objects.create(&key, good.to_vec().into()).await.unwrap();
        let healed = store.load(Some(&still)).await.unwrap();
        assert!(healed.problems.is_empty());
        assert_eq!(served(&healed.snapshot, "com.a").unwrap(), "1.0.1");
    }
}

#[tokio::test]
async fn shards_of_ten_minutes_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let objects: Arc<dyn Objects> = Arc::new(Directory::open(folder.path()).unwrap());
    let store = open(&objects).await;
    let minute = |n: i64| at(n * 60);
    let publish = async |release: &str, minutes: i64| {
        let root = store.publish(0, &change("com.a", release), minute(minutes)).await.unwrap().root;
        let key = snapshots::shard_key(&root.apps[&app("com.a")]);
        // Files count by their own age too; make them as old as the story says.
        let file = std::fs::File::options().write(true).open(folder.path().join(&key)).unwrap();
        file.set_modified(minute(minutes).into()).unwrap();
        key
    };
    let shards =
        async || objects.list("shards").await.unwrap().into_iter().map(|m| m.key).collect::<Vec<_>>();
    let first = publish("1.0.0", 0).await;
    let second = publish("1.0.1", 20).await;
    let third = publish("1.0.2", 29).await;

    // At 30 minutes, the second one was replaced a minute ago; the first one ten minutes ago, to the second.
    assert_eq!(store.prune_shards(minute(30)).await.unwrap(), 1);
    let left = shards().await;
    assert!(!left.contains(&first) && left.contains(&second) && left.contains(&third), "{left:?}");
    assert_eq!(store.prune_shards(minute(38)).await.unwrap(), 0, "the second was served nine minutes ago");
    assert_eq!(store.prune_shards(minute(40)).await.unwrap(), 1);
    assert_eq!(shards().await, std::slice::from_ref(&third));
    assert_eq!(store.prune_shards(minute(100_000)).await.unwrap(), 0, "what is served is never removed");
    assert_eq!(served(&store.load(None).await.unwrap().snapshot, "com.a").unwrap(), "1.0.2");

    // A shard that came back: it is referred to again, however old its file is.
    let again = publish("1.0.1", 200).await;
    assert_eq!(again, second);
    assert_eq!(store.prune_shards(minute(205)).await.unwrap(), 0);
    // Written a moment ago and not referred to yet, as by a publisher in another process.
    let fresh = format!("shards/{}.json", Digest::of(b"fresh"));
    objects.create(&fresh, b"fresh".to_vec().into()).await.unwrap();
    std::fs::File::options()
        .write(true)
        .open(folder.path().join(&fresh))
        .unwrap()
        .set_modified((minute(300) - SignedDuration::from_secs(5)).into())
        .unwrap();
    store.prune_shards(minute(300)).await.unwrap();
    assert!(shards().await.contains(&fresh));
}

fn bind(record: &mut AppRecord, text: &str) {
    let binding = Binding {
        digest: Digest::of(text.as_bytes()),
        release: format!("shop-{text}"),
        source: "git".into(),
        zip: zip(text),
    };
    record.versions.insert(version(text), binding.into());
}

/// Rule 13.
#[tokio::test]
async fn an_app_belongs_to_whom_came_first() {
    for objects in stores().await.all {
        let store = open(&objects).await;
        let shop = app("com.example.shop");
        assert_eq!(store.record(&shop).await.unwrap(), None);
        let ignore = |_: &mut AppRecord| Ok::<(), ControlError>(());
        let error = store.update_record(0, &shop, "team/a", ignore).await.unwrap_err();
        assert!(matches!(error, ControlError::Unowned(_)));
        store.claim(&shop, "team/a").await.unwrap();
        store.claim(&shop, "team/a").await.unwrap();
        for error in [
            store.claim(&shop, "team/b").await.unwrap_err(),
            store.update_record(0, &shop, "team/b", ignore).await.unwrap_err(),
            store.transfer(&shop, "team/b", "team/c").await.unwrap_err(),
        ] {
            assert_eq!(error.to_string(), "app com.example.shop belongs to team/a");
        }
        let steal = |record: &mut AppRecord| {
            record.owner = "team/b".into();
            bind(record, "1.0.0");
            Ok::<(), ControlError>(())
        };
        let kept = store.update_record(0, &shop, "team/a", steal).await.unwrap();
        assert_eq!((kept.owner.as_str(), kept.versions.len()), ("team/a", 1));
        store.transfer(&shop, "team/a", "team/b").await.unwrap();
        assert_eq!(store.record(&shop).await.unwrap().unwrap().owner, "team/b");
        assert_eq!(store.record(&shop).await.unwrap().unwrap().versions.len(), 1);
        store.claim(&app("com.example.ads"), "team/a").await.unwrap();
        assert_eq!(store.apps().await.unwrap(), [app("com.example.ads"), shop]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn updates_at_once_lose_nothing() {
    for objects in stores().await.all {
        let store = open(&objects).await;
        let shop = app("com.example.shop");
        store.claim(&shop, "o").await.unwrap();
        let tasks: Vec<_> = (0..16)
            .map(|n| {
                let (store, shop) = (store.clone(), shop.clone());
                tokio::spawn(async move {
                    let add = |record: &mut AppRecord| {
                        bind(record, &format!("1.0.{n}"));
                        Ok::<(), ControlError>(())
                    };
                    store.update_record(0, &shop, "o", add).await.unwrap();
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(store.record(&shop).await.unwrap().unwrap().versions.len(), 16);
    }
}

#[tokio::test]
async fn a_change_that_refuses_writes_nothing() {
    for objects in stores().await.all {
        let store = open(&objects).await;
        let shop = app("com.example.shop");
        store.claim(&shop, "o").await.unwrap();
        let (before, etag) = objects.get("apps/com.example.shop/record.json").await.unwrap().unwrap();
        let refuse = |record: &mut AppRecord| {
            bind(record, "1.0.0");
            Err(ControlError::Missing("bytes".into()))
        };
        assert!(store.update_record(0, &shop, "o", refuse).await.is_err());
        store.update_record(0, &shop, "o", |_| Ok::<(), ControlError>(())).await.unwrap();
        assert_eq!(objects.get("apps/com.example.shop/record.json").await.unwrap(), Some((before, etag)));
    }
}

/// What the next release writes can be read by this one, and survives it.
#[tokio::test]
async fn unknown_fields_are_ignored_and_kept() {
    for objects in stores().await.all {
        let store = open(&objects).await;
        let shop = app("com.example.shop");
        store.claim(&shop, "o").await.unwrap();
        let add = |text: &'static str| {
            move |record: &mut AppRecord| {
                bind(record, text);
                record.channels.entry("production".parse().unwrap()).or_default().name =
                    format!("shop-{text}");
                Ok::<(), ControlError>(())
            }
        };
        store.update_record(0, &shop, "o", add("1.0.0")).await.unwrap();
        let key = "apps/com.example.shop/record.json";
        edit(&objects, key, |record| {
            record["holds"] = json!([{"id": "h1"}]);
            record["versions"]["1.0.0"]["delta"] = json!({"a": 1});
            record["channels"]["production"]["salt"] = json!("x");
        })
        .await;
        assert_eq!(store.record(&shop).await.unwrap().unwrap().versions.len(), 1);
        store.update_record(0, &shop, "o", add("1.0.1")).await.unwrap();
        let record: Value = read(&*objects, key).await.unwrap().unwrap();
        assert_eq!(record["holds"], json!([{"id": "h1"}]));
        assert_eq!(record["versions"]["1.0.0"]["delta"], json!({"a": 1}));
        assert_eq!(record["channels"]["production"]["salt"], json!("x"));
        assert_eq!(record["channels"]["production"]["name"], json!("shop-1.0.1"));
        let drop_first = |record: &mut AppRecord| {
            record.versions.remove(&version("1.0.0"));
            Ok::<(), ControlError>(())
        };
        store.update_record(0, &shop, "o", drop_first).await.unwrap();
        let record: Value = read(&*objects, key).await.unwrap().unwrap();
        assert_eq!(record["versions"].as_object().unwrap().keys().collect::<Vec<_>>(), ["1.0.1"]);

        // A root and a shard of the next release.
        let mut future = serde_json::to_value(shard("com.a", "1.0.0")).unwrap();
        future["brakes"] = json!([]);
        future["channels"][0]["holdback"] = json!({"all": true});
        future["offers"]["1.0.0"]["deltas"] = json!([]);
        let bytes = encode(&future);
        let digest = Digest::of(&bytes);
        objects.create(&snapshots::shard_key(&digest), bytes.into()).await.unwrap();
        let root = json!({"format": 1, "installation": "i", "epoch": 0, "generation": 5, "apps": {"com.a": digest}, "more": 1});
        objects.create("root.json", encode(&root).into()).await.unwrap();
        let loaded = store.load(None).await.unwrap();
        assert!(loaded.problems.is_empty(), "{:?}", loaded.problems);
        assert_eq!(served(&loaded.snapshot, "com.a").unwrap(), "1.0.0");
        edit(&objects, "root.json", |root| root["format"] = json!(99)).await;
        assert!(matches!(store.load(None).await, Err(ControlError::TooNew { found: 99 })));
    }
}

#[tokio::test]
async fn artefacts_are_written_once_and_mended() {
    for objects in stores().await.all {
        let store = open(&objects).await;
        let content = b"PK zip".to_vec();
        let digest = Digest::of(&content);
        let file = || {
            let mut file = objects.scratch().unwrap();
            file.write_all(&content).unwrap();
            file
        };
        assert_eq!(store.verify(&digest).await.unwrap(), Verified::Missing);
        assert_eq!(store.artefact_size(&digest).await.unwrap(), None);
        store.put_artefact(&digest, file()).await.unwrap();
        store.put_artefact(&digest, file()).await.unwrap();
        assert_eq!(store.verify(&digest).await.unwrap(), Verified::Good);
        assert_eq!(store.artefact_size(&digest).await.unwrap(), Some(6));
        assert_eq!(store.artefacts().await.unwrap(), [digest]);

        objects
            .replace(&BundleStore::artefact_key(&digest), Bytes::from_static(b"PK zap"), None)
            .await
            .unwrap();
        let found = Digest::of(b"PK zap");
        assert_eq!(store.verify(&digest).await.unwrap(), Verified::Damaged { found });
        store.put_artefact(&digest, file()).await.unwrap();
        assert_eq!(store.verify(&digest).await.unwrap(), Verified::Good);
    }
}

#[tokio::test]
async fn the_first_packing_of_a_bundle_stays() {
    for objects in stores().await.all {
        let store = open(&objects).await;
        let files = vec![BundleFile { path: "index.html".into(), size: 1, sha256: Digest::of(b"x") }];
        let index = BundleIndex { digest: bundle_digest(&files), files, zip: zip("first") };
        assert_eq!(store.bundle(&index.digest).await.unwrap(), None);
        assert_eq!(store.put_bundle(&index).await.unwrap(), index);
        let other = BundleIndex { zip: zip("second"), ..index.clone() };
        assert_eq!(store.put_bundle(&other).await.unwrap(), index);
        assert_eq!(store.bundle(&index.digest).await.unwrap(), Some(index));
    }
}

#[tokio::test]
async fn documents_come_back() {
    for objects in stores().await.all {
        let store = open(&objects).await;
        assert!(store.document::<Value>("default").await.unwrap().is_none());
        let first = store.put_document(0, "default", &json!({"commit": "a"}), None).await.unwrap();
        store.put_document(0, "default", &json!({"commit": "b"}), Some(&first)).await.unwrap();
        store.put_document(0, "default", &json!({"commit": "c"}), Some(&first)).await.unwrap();
        let (document, _) = store.document::<Value>("default").await.unwrap().unwrap();
        assert_eq!(document, json!({"commit": "c"}));
        assert!(store.document::<Value>("../x").await.is_err());
        objects.replace("inventory/default.json", Bytes::from_static(b"{\"commit\":"), None).await.unwrap();
        let error = store.document::<Value>("default").await.unwrap_err();
        assert!(error.to_string().starts_with("object inventory/default.json is damaged"), "{error}");
    }
}

/// Rule 3.
#[tokio::test]
async fn a_former_leader_writes_nothing_over_a_later_one() {
    for objects in stores().await.all {
        let (former, later) = (open(&objects).await, open(&objects).await);
        let now = Timestamp::from_second(1_000).unwrap();
        let old = former.begin_term(now, 0).await.unwrap();
        let shop = app("com.example.shop");
        former.claim(&shop, "o").await.unwrap();
        let seen = former.put_document(old, "o", &json!(1), None).await.unwrap();
        let changes = [(shop.clone(), Some(Arc::new(shard("com.example.shop", "1.0.0"))))].into();
        former.publish(old, &changes, now).await.unwrap();

        // A clock that runs behind makes no earlier term.
        let new = later.begin_term(Timestamp::UNIX_EPOCH, 0).await.unwrap();
        assert!(new > old);
        let add = |text: &'static str| {
            move |record: &mut AppRecord| {
                bind(record, text);
                Ok::<(), ControlError>(())
            }
        };
        later.update_record(new, &shop, "o", add("2.0.0")).await.unwrap();
        later.put_document(new, "o", &json!(2), Some(&seen)).await.unwrap();

        let changes = [(shop.clone(), None)].into();
        let refused = former.publish(old, &changes, now).await.unwrap_err();
        assert!(matches!(refused, ControlError::Superseded(_)), "{refused}");
        let refused = former.update_record(old, &shop, "o", add("3.0.0")).await.unwrap_err();
        assert!(matches!(refused, ControlError::Deposed { .. }), "{refused}");
        for over in [Some(&seen), None] {
            let refused = former.put_document(old, "o", &json!(3), over).await.unwrap_err();
            assert!(matches!(refused, ControlError::Deposed { .. }), "{refused}");
        }
        let record = later.record(&shop).await.unwrap().unwrap();
        assert_eq!(record.versions.keys().map(ToString::to_string).collect::<Vec<_>>(), ["2.0.0"]);
        assert_eq!(later.document::<Value>("o").await.unwrap().unwrap().0, json!(2));
        let (root, _) = later.root().await.unwrap().unwrap();
        assert!(root.epoch == new && root.apps.contains_key(&shop));
        // A later leader may write over a document that it has not seen.
        later.put_document(new, "o", &json!(4), None).await.unwrap();
    }
}

/// A store from an older backup, after a leader whose clock ran ahead: what that one wrote elsewhere still shows.
#[tokio::test]
async fn a_term_is_above_what_was_seen_elsewhere() {
    for objects in stores().await.all {
        let store = open(&objects).await;
        let now = Timestamp::from_second(1_000).unwrap();
        assert_eq!(store.begin_term(now, 0).await.unwrap(), 1_000);
        assert_eq!(store.begin_term(now, 5_000).await.unwrap(), 5_001);
        // What is published counts as well, and does not fall back.
        assert_eq!(store.begin_term(now, 3_000).await.unwrap(), 5_002);
        assert_eq!(store.root().await.unwrap().unwrap().0.epoch, 5_002);
    }
}

#[tokio::test]
async fn of_two_that_begin_a_term_at_once_each_gets_its_own() {
    for objects in stores().await.all {
        let now = Timestamp::from_second(1_000).unwrap();
        let begin = async || open(&objects).await.begin_term(now, 0).await.unwrap();
        let (a, b, c) = tokio::join!(begin(), begin(), begin());
        let terms: std::collections::BTreeSet<u64> = [a, b, c].into();
        assert_eq!(terms.len(), 3, "{terms:?}");
    }
}

//! Brakes over every back end.

use arc_swap::ArcSwap;
use sluice_core::brake::{Brake, BrakeIndex, Brakes, Devices, Scope};

use super::*;

const INDEX: &str = "brakes/index.json";

fn wanted(app_id: &str, bundle: &str) -> NewBrake {
    NewBrake {
        app: app(app_id),
        digest: Digest::of(bundle.as_bytes()),
        release: Some(version("1.5.0")),
        scope: Scope::Channel("production".parse().unwrap()),
        devices: Devices::Return,
        by: "gate".into(),
        why: "it\nbreaks".into(),
        at: at(0),
        evidence: Some(json!({ "failed": 9 })),
        rollback: false,
        lifted: Vec::new(),
    }
}

fn watch(objects: &Arc<dyn Objects>, mends: bool) -> Arc<BrakeWatch> {
    BrakeWatch::new(objects.clone(), Arc::new(ArcSwap::from_pointee(Brakes::none())), mends)
}

fn count(watch: &BrakeWatch) -> usize {
    watch.brakes().load().iter().count()
}

#[tokio::test]
async fn the_same_brake_twice_is_one() {
    for objects in stores().await.all {
        let store = open(&objects).await;
        assert_eq!(store.brakes().await.unwrap().0, BrakeIndex::default());
        let first = store.brake(wanted("com.a", "bad")).await.unwrap();
        assert!(first.fresh);
        assert_eq!((first.brake.why.as_str(), first.index.brakes.len()), ("it breaks", 1));
        let (index, etag) = store.brakes().await.unwrap();
        assert!(etag.is_some() && index == first.index);
        assert!(!serde_json::to_string(&index).unwrap().contains("evidence"));
        let again = NewBrake { by: "somebody".into(), at: at(9), ..wanted("com.a", "bad") };
        let second = store.brake(again.clone()).await.unwrap();
        assert!(!second.fresh);
        assert_eq!((&second.brake.id, second.brake.by.as_str()), (&first.brake.id, "gate"));
        assert_eq!(second.index.generation, first.index.generation, "nothing is written");
        let whole = store.brake_record(&app("com.a"), &first.brake.id).await.unwrap().unwrap();
        assert_eq!(whole.evidence, Some(json!({ "failed": 9 })));

        // Less than what stands is what stands; more is another one.
        let keep = NewBrake { devices: Devices::Keep, ..again.clone() };
        assert_eq!(store.brake(keep).await.unwrap().brake.id, first.brake.id);
        let everywhere = NewBrake { scope: Scope::App, ..again.clone() };
        assert!(store.brake(everywhere).await.unwrap().fresh);
        // Lifted by Git, so that it would stop nothing.
        let lifted = NewBrake { lifted: vec![first.brake.id.to_string()], ..again };
        let third = store.brake(lifted.clone()).await.unwrap();
        assert!(third.fresh && third.brake.id != first.brake.id);
        assert!(!store.brake(lifted).await.unwrap().fresh);
        assert_eq!(store.brakes().await.unwrap().0.brakes.len(), 3);
        assert!(third.index.generation > first.index.generation);
    }
}

/// Rule 6: any replica, at the same time, without asking anybody.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn brakes_at_once_lose_nothing() {
    for objects in stores().await.all {
        open(&objects).await;
        let tasks: Vec<_> = (0..16)
            .map(|n| {
                let objects = objects.clone();
                // Each bundle by two, each with a store of its own.
                tokio::spawn(async move {
                    open(&objects).await.brake(wanted("com.a", &format!("bad {}", n / 2))).await.unwrap()
                })
            })
            .collect();
        let mut fresh = 0;
        for task in tasks {
            fresh += usize::from(task.await.unwrap().fresh);
        }
        assert_eq!(fresh, 8, "each is written once");
        let (index, _) = open(&objects).await.brakes().await.unwrap();
        assert_eq!(index.brakes.len(), 8);
        assert_eq!(objects.list("brakes/apps").await.unwrap().len(), 8);
    }
}

#[tokio::test]
async fn a_lost_or_damaged_index_is_made_again() {
    for objects in stores().await.all {
        let store = open(&objects).await;
        let first = store.brake(wanted("com.a", "bad")).await.unwrap();
        for damage in [None, Some("{\"format\":1,\"gene")] {
            match damage {
                None => drop(objects.delete(INDEX).await.unwrap()),
                Some(text) => {
                    drop(objects.replace(INDEX, Bytes::from_static(text.as_bytes()), None).await.unwrap());
                }
            }
            let (index, etag) = store.brakes().await.unwrap();
            let so_far = 1 + usize::from(damage.is_some());
            assert_eq!((index.brakes.len(), etag), (so_far, None));
            // Whoever reads only finds it, and writes nothing.
            let reader = watch(&objects, false);
            reader.look().await.unwrap();
            assert_eq!(count(&reader), so_far);
            assert!(store.brakes().await.unwrap().1.is_none());
            // The next brake, or the next look of who may, makes it again.
            let bundle = if damage.is_none() { "worse" } else { "bad" };
            store.brake(wanted("com.b", bundle)).await.unwrap();
            watch(&objects, true).look().await.unwrap();
            let (index, etag) = store.brakes().await.unwrap();
            // Two in one millisecond may have one generation; nothing is lost by it, since brakes are only added.
            assert!(etag.is_some() && index.generation >= first.index.generation);
            assert!(index.iter().any(|brake| brake.id == first.brake.id));
        }
        assert_eq!(store.mend_brakes().await.unwrap(), 0);
    }
}

/// A writer that dies between the record and the index.
#[tokio::test]
async fn a_record_without_its_entry_is_found() {
    for objects in stores().await.all {
        let store = open(&objects).await;
        let first = store.brake(wanted("com.a", "bad")).await.unwrap();
        let (kept, _) = objects.get(INDEX).await.unwrap().unwrap();
        let second = store.brake(wanted("com.a", "worse")).await.unwrap();
        objects.replace(INDEX, kept, None).await.unwrap();

        let reader = watch(&objects, false);
        reader.look().await.unwrap();
        assert_eq!(count(&reader), 2, "a process that starts reads the records");
        let (index, _) = store.brakes().await.unwrap();
        assert_eq!(index.brakes.len(), 1);
        // Whoever wanted it tries again.
        let again = store.brake(wanted("com.a", "worse")).await.unwrap();
        assert!(!again.fresh && again.brake == second.brake, "its record stands");
        assert_eq!(again.index.brakes.len(), 2);
        assert!(again.index.iter().any(|brake| brake.id == first.brake.id));
    }
}

#[tokio::test]
async fn an_unreadable_record_is_one_brakes_problem() {
    for objects in stores().await.all {
        let store = open(&objects).await;
        let first = store.brake(wanted("com.a", "bad")).await.unwrap();
        store.brake(wanted("com.a", "worse")).await.unwrap();
        let key = format!("brakes/apps/com.a/{}.json", first.brake.id);
        objects.replace(&key, Bytes::from_static(b"{"), None).await.unwrap();
        let reader = watch(&objects, false);
        reader.look().await.unwrap();
        assert_eq!(count(&reader), 2, "the index has it");
        objects.delete(INDEX).await.unwrap();
        assert_eq!(store.brakes().await.unwrap().0.brakes.len(), 1);
        // Written again by whoever brakes it again.
        assert!(store.brake(wanted("com.a", "bad")).await.unwrap().fresh);
        let read: Brake = store.brake_record(&app("com.a"), &first.brake.id).await.unwrap().unwrap();
        assert_eq!(read.digest, first.brake.digest);
        assert_eq!(store.brakes().await.unwrap().0.brakes.len(), 2);
    }
}

/// An app may be called like the index.
#[tokio::test]
async fn no_app_is_in_the_way_of_the_index() {
    for objects in stores().await.all {
        let store = open(&objects).await;
        for id in ["index.json", "apps.index", "com.a"] {
            store.brake(wanted(id, "bad")).await.unwrap();
        }
        assert_eq!(store.brakes().await.unwrap().0.brakes.len(), 3);
    }
}

#[tokio::test]
async fn what_is_written_elsewhere_is_in_force_at_the_next_look() {
    for objects in stores().await.all {
        let watch = watch(&objects, false);
        assert!(matches!(watch.look().await, Err(ControlError::NotInitialised)));
        assert_eq!(watch.confirmed(), None);
        let store = open(&objects).await;
        watch.look().await.unwrap();
        assert!(watch.confirmed().is_some());
        assert_eq!(count(&watch), 0);
        let braked = store.brake(wanted("com.a", "bad")).await.unwrap();
        watch.look().await.unwrap();
        assert_eq!(count(&watch), 1);
        assert_eq!(watch.brakes().load().generation(), braked.index.generation);
        let before = watch.brakes().load_full();
        watch.look().await.unwrap();
        assert!(Arc::ptr_eq(&before, &watch.brakes().load_full()), "nothing is compiled for nothing");
        // By this process: at once.
        watch.brake(wanted("com.b", "bad")).await.unwrap();
        assert_eq!(count(&watch), 2);
        // An older index, as from a backup, takes nothing back; nor does none.
        let older = BrakeIndex { generation: 1, ..BrakeIndex::default() };
        objects.replace(INDEX, encode(&older).into(), None).await.unwrap();
        watch.look().await.unwrap();
        assert_eq!(count(&watch), 2);
        objects.delete(INDEX).await.unwrap();
        watch.look().await.unwrap();
        assert_eq!(count(&watch), 2);
    }
}

/// Nothing is served before the brakes are known.
#[tokio::test]
async fn a_gateway_that_starts_reads_brakes_first() {
    let folder = tempfile::tempdir().unwrap();
    let objects: Arc<dyn Objects> = Arc::new(Directory::open(folder.path()).unwrap());
    let store = open(&objects).await;
    store.publish(1, &change("com.a", "1.0.0"), at(0)).await.unwrap();
    store.brake(wanted("com.a", "1.0.0")).await.unwrap();
    // The file system fails there.
    let (brakes_folder, away) = (folder.path().join("brakes"), folder.path().join("away"));
    let fail = || {
        std::fs::rename(&brakes_folder, &away).unwrap();
        std::fs::create_dir_all(brakes_folder.join("index.json")).unwrap();
    };
    fail();
    let brakes = watch(&objects, false);
    let snapshot = Arc::new(ArcSwap::from_pointee(Snapshot::empty()));
    let mut follower = Follower::new(objects, snapshot.clone(), brakes.clone());
    follower.look().await.unwrap_err();
    assert_eq!(snapshot.load().root.generation, 0);
    std::fs::remove_dir_all(&brakes_folder).unwrap();
    std::fs::rename(&away, &brakes_folder).unwrap();
    follower.look().await.unwrap();
    assert_eq!((served(&snapshot.load(), "com.a").as_deref(), count(&brakes)), (Some("1.0.0"), 1));
    // Known once, they stay through an outage.
    fail();
    brakes.look().await.unwrap_err();
    assert_eq!(count(&brakes), 1);
}

/// Whoever asks again and again does not make this process read all records each time.
#[tokio::test]
async fn names_of_channels_are_read_once_in_a_while() {
    let objects = &stores().await.all[0];
    let store = open(objects).await;
    store.claim(&app("com.a"), "team").await.unwrap();
    let watch = watch(objects, false);
    let first = watch.channels().await.unwrap();
    assert!(Arc::ptr_eq(&first, &watch.channels().await.unwrap()));
}

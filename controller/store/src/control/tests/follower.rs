//! Following what somebody else publishes.

use arc_swap::ArcSwap;

use super::*;

struct World {
    folder: tempfile::TempDir,
    served: Arc<ArcSwap<Snapshot>>,
    follower: Follower,
    freshness: Arc<Freshness>,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let objects: Arc<dyn Objects> = Arc::new(Directory::open(folder.path().join("store")).unwrap());
        let served = Arc::new(ArcSwap::from_pointee(Snapshot::empty()));
        let follower =
            Follower::new(objects.clone(), served.clone(), BrakeWatch::new(objects, Arc::default(), false));
        let freshness = follower.freshness();
        Self { folder, served, follower, freshness }
    }

    /// The writer's own handle.
    fn objects(&self) -> Arc<dyn Objects> {
        Arc::new(Directory::open(self.folder.path().join("store")).unwrap())
    }

    fn serves(&self) -> Option<String> {
        served(&self.served.load(), "com.example.shop")
    }
}

#[tokio::test]
async fn it_waits_for_a_store_and_follows_what_is_published() {
    let mut world = World::new();
    let none = world.follower.look().await.unwrap_err();
    assert!(matches!(none, FollowError::Control(ControlError::NotInitialised)), "{none}");
    assert_eq!((world.freshness.confirmed(), world.freshness.is_store_up()), (None, true));
    let store = open(&world.objects()).await;
    world.follower.look().await.unwrap();
    assert_eq!(world.served.load().root.generation, 0);
    for release in ["1.0.0", "1.1.0"] {
        let published = store.publish(1, &change("com.example.shop", release), at(0)).await.unwrap();
        world.follower.look().await.unwrap();
        assert_eq!(world.serves().as_deref(), Some(release));
        assert_eq!(world.served.load().root, published.root);
    }
    let before = world.served.load_full();
    world.follower.look().await.unwrap();
    assert!(Arc::ptr_eq(&before, &world.served.load_full()), "nothing is loaded when nothing changed");
    assert!(world.freshness.confirmed().is_some() && world.freshness.trouble().is_none());
}

#[tokio::test]
async fn an_outage_keeps_the_last_good_one() {
    let mut world = World::new();
    let objects = world.objects();
    let store = open(&objects).await;
    store.publish(1, &change("com.example.shop", "1.0.0"), at(0)).await.unwrap();
    world.follower.look().await.unwrap();
    let confirmed = world.freshness.confirmed();

    let (there, away) = (world.folder.path().join("store"), world.folder.path().join("away"));
    std::fs::rename(&there, &away).unwrap();
    let lost = world.follower.look().await.unwrap_err();
    assert!(lost.to_string().contains("root.json"), "{lost}");
    assert_eq!(world.serves().as_deref(), Some("1.0.0"));
    assert_eq!(world.freshness.confirmed(), confirmed, "its age goes on from the last answer");
    assert!(world.freshness.trouble().is_some());
    std::fs::rename(&away, &there).unwrap();
    world.follower.look().await.unwrap();
    assert!(world.freshness.confirmed() >= confirmed && world.freshness.trouble().is_none());

    // A file where the folder was: the file system itself fails.
    std::fs::rename(&there, &away).unwrap();
    std::fs::create_dir_all(there.join("root.json")).unwrap();
    let failed = world.follower.look().await.unwrap_err();
    assert!(!world.freshness.is_store_up(), "{failed}");
    std::fs::remove_dir_all(&there).unwrap();
    std::fs::rename(&away, &there).unwrap();
    store.publish(1, &change("com.example.shop", "1.1.0"), at(1)).await.unwrap();
    world.follower.look().await.unwrap();
    assert!(world.freshness.is_store_up());
    assert_eq!(world.serves().as_deref(), Some("1.1.0"));
}

/// Rule 3: a store that was put back from a backup.
#[tokio::test]
async fn an_older_generation_is_refused_and_said() {
    let mut world = World::new();
    let objects = world.objects();
    let store = open(&objects).await;
    store.publish(2, &change("com.example.shop", "1.0.0"), at(0)).await.unwrap();
    let (backup, _) = objects.get("root.json").await.unwrap().unwrap();
    store.publish(2, &change("com.example.shop", "1.1.0"), at(10)).await.unwrap();
    world.follower.look().await.unwrap();
    let (confirmed, before) = (world.freshness.confirmed(), world.served.load_full());

    objects.replace("root.json", backup, None).await.unwrap();
    for _ in 0..2 {
        let older = world.follower.look().await.unwrap_err();
        assert!(matches!(older, FollowError::Older { epoch: 2, .. }), "{older}");
        assert!(Arc::ptr_eq(&before, &world.served.load_full()));
        assert_eq!(world.freshness.confirmed(), confirmed);
        assert!(world.freshness.is_store_up() && world.freshness.trouble().is_some());
    }
    // What is published over the backup is later than both.
    store.publish(2, &change("com.example.shop", "1.2.0"), at(20)).await.unwrap();
    world.follower.look().await.unwrap();
    assert_eq!(world.serves().as_deref(), Some("1.2.0"));
}

#[tokio::test]
async fn one_damaged_app_is_one_damaged_app() {
    let mut world = World::new();
    let objects = world.objects();
    let store = open(&objects).await;
    store.publish(1, &change("com.example.shop", "1.0.0"), at(0)).await.unwrap();
    world.follower.look().await.unwrap();
    let mut both = change("com.example.shop", "1.1.0");
    both.extend(change("com.example.other", "3.0.0"));
    let published = store.publish(1, &both, at(1)).await.unwrap();
    let key = format!("shards/{}.json", published.root.apps[&app("com.example.shop")]);
    let (good, _) = objects.get(&key).await.unwrap().unwrap();
    objects.replace(&key, Bytes::from_static(b"{}"), None).await.unwrap();

    let incomplete = world.follower.look().await.unwrap_err();
    assert!(matches!(incomplete, FollowError::Incomplete { count: 1, .. }), "{incomplete}");
    assert_eq!(world.serves().as_deref(), Some("1.0.0"));
    assert_eq!(served(&world.served.load(), "com.example.other").as_deref(), Some("3.0.0"));
    objects.replace(&key, good, None).await.unwrap();
    world.follower.look().await.unwrap();
    assert_eq!(world.serves().as_deref(), Some("1.1.0"));
}

/// `operator --gateway`: the engine of the same process swaps too.
#[tokio::test]
async fn what_this_process_served_meanwhile_stays() {
    let mut world = World::new();
    let store = open(&world.objects()).await;
    store.publish(1, &change("com.example.shop", "1.0.0"), at(0)).await.unwrap();
    world.follower.look().await.unwrap();
    store.publish(1, &change("com.example.shop", "1.1.0"), at(1)).await.unwrap();
    let own = Arc::new(store.load(None).await.unwrap().snapshot);
    advance(&world.served, &own).unwrap();
    world.follower.look().await.unwrap();
    assert_eq!(world.serves().as_deref(), Some("1.1.0"));
    assert_eq!(world.served.load().root.generation, own.root.generation);
}

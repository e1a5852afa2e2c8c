//! A leader and gateways over one bundle store.

mod faults;
mod sharing;
mod trials;

use std::{
    collections::BTreeMap,
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Duration,
};

use arc_swap::ArcSwap;
use jiff::SignedDuration;
use sluice_core::{
    channel::{Access, Platforms, Target},
    ids::Version,
    memory::OverrideBy,
    record::Zip,
    release::RollbackPolicy,
    snapshot::{App, ChannelEntry, FORMAT, LineEntry, Offer, Root, Shard, Snapshot},
};
use sluice_test_parts::until;

use super::*;
use crate::{
    fleet::{
        Clock,
        testing::{APP, Hands, bundle, check, device, event},
    },
    objects::Directory,
};

const LIMIT: Duration = Duration::from_mins(1);

/// A bundle store in a directory, and a fleet store in a file.
struct World {
    folder: tempfile::TempDir,
    hands: Hands,
}

impl World {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), hands: Hands::default() }
    }

    fn objects(&self) -> Arc<dyn Objects> {
        Arc::new(Directory::open(self.folder.path().join("store")).unwrap())
    }

    async fn fleet(&self) -> Arc<Fleet> {
        let path = self.folder.path().join("fleet.db");
        Arc::new(Fleet::open(&path, self.hands.clock()).await.unwrap())
    }

    /// A gateway that writes what it gathers at once.
    fn gateway(&self) -> Outbox {
        gateway(self.objects(), self.hands.clock())
    }

    fn segments(&self) -> usize {
        files(&self.folder.path().join("store/segments"))
    }

    fn shards(&self) -> usize {
        files(&self.folder.path().join("store/memory/shards"))
    }
}

fn gateway(objects: Arc<dyn Objects>, clock: Clock) -> Outbox {
    let limits = OutboxLimits {
        gather: Duration::from_millis(5),
        write_timeout: Duration::from_secs(2),
        ..OutboxLimits::default()
    };
    let outbox = Outbox::new(objects, Arc::new(ArcSwap::from_pointee(shop())), clock, limits);
    let running = outbox.clone();
    tokio::spawn(async move { running.run().await });
    outbox
}

fn files(folder: &std::path::Path) -> usize {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    entries.map(|entry| entry.unwrap().path()).map(|path| if path.is_dir() { files(&path) } else { 1 }).sum()
}

/// A snapshot that offers 2.0.0.
fn shop() -> Snapshot {
    let version: Version = "2.0.0".parse().unwrap();
    let digest = bundle("2.0.0");
    let offer = Offer {
        digest,
        zip: Zip { sha256: digest, crc32: 1, size: 1 },
        native: None,
        rollback: RollbackPolicy::default(),
        notes: None,
        link: None,
        key_id: None,
    };
    let stable = Some(Target::Release(version.clone()));
    let shard = Shard {
        app: APP.parse().unwrap(),
        offers: BTreeMap::from([(version, offer)]),
        channels: vec![ChannelEntry {
            channel: "production".parse().unwrap(),
            access: Access { public: true, ..Access::default() },
            lines: vec![LineEntry::serving(None, Platforms::ALL, stable)],
            allow_held: Vec::new(),
            audience: None,
        }],
    };
    let apps = BTreeMap::from([(shard.app.clone(), digest)]);
    let root = Root { format: FORMAT, installation: "i".into(), epoch: 0, generation: 1, apps };
    Snapshot::new(root, [Arc::new(App::compile(shard).unwrap())])
}

fn asks(outbox: &Outbox, hands: &Hands, n: u64) {
    let digest = bundle("2.0.0");
    outbox.check_in(&check(n, hands.now(), "1.0.0", Some(("2.0.0", &digest))));
}

async fn fails(outbox: &Outbox, n: u64) {
    outbox.record(vec![event(n, "update_fail", Some("2.0.0"), Some(1))]).await.unwrap();
}

async fn chooses(outbox: &Outbox, n: u64, channel: &str) {
    let channel = channel.parse().unwrap();
    outbox.set_channel(APP, device(n), channel, OverrideBy::Device, None).await.unwrap();
}

fn channel(memory: Option<Arc<sluice_core::memory::DeviceMemory>>) -> Option<String> {
    Some(memory?.channel.as_ref()?.channel.to_string())
}

fn has_failed(memory: Option<Arc<sluice_core::memory::DeviceMemory>>) -> bool {
    memory.is_some_and(|memory| memory.failed.iter().any(|f| f.digest == bundle("2.0.0")))
}

#[tokio::test]
async fn what_gateways_gather_is_counted_once() {
    let world = World::new();
    let (one, two, fleet) = (world.gateway(), world.gateway(), world.fleet().await);
    for n in 0..20 {
        asks(if n % 2 == 0 { &one } else { &two }, &world.hands, n);
    }
    // Each device reports to both, as clients that are not answered in time do.
    for gateway in [&one, &two] {
        for n in 0..20 {
            fails(gateway, n).await;
        }
    }
    chooses(&two, 1, "beta").await;
    let mut ingest = Ingest::new(world.objects(), fleet.clone());
    let now = Timestamp::now();
    assert!(ingest.look(now).await.unwrap() >= 2);
    assert_eq!(ingest.look(now).await.unwrap(), 0);
    let counts = fleet.outcome_counts(APP).await.unwrap();
    assert_eq!((counts["2.0.0"].devices, counts["2.0.0"].launch_failures), (20, 20));
    let figures = fleet.figures();
    assert_eq!((figures.events_new, figures.events_duplicate, figures.written_check_ins), (20, 20, 0));
    assert_eq!(channel(fleet.memory(APP, device(1))), Some("beta".to_owned()));
    let view = fleet.device(APP, device(3)).await.unwrap().unwrap();
    assert_eq!((view.offered.map(|o| o.version), view.sessions), (Some("2.0.0".to_owned()), 1));
    assert_eq!(one.figures().events + two.figures().events, 41);
}

#[tokio::test]
async fn check_ins_that_change_nothing_write_nothing() {
    let world = World::new();
    let gateway = world.gateway();
    for _ in 0..100 {
        asks(&gateway, &world.hands, 1);
    }
    until(LIMIT, "the first one is written", async || gateway.figures().segments == 1).await;
    for _ in 0..100 {
        asks(&gateway, &world.hands, 1);
    }
    fails(&gateway, 1).await;
    assert_eq!((gateway.figures().segments, world.segments()), (2, 2));
}

#[tokio::test]
async fn what_nobody_serves_is_answered_and_forgotten() {
    let world = World::new();
    let gateway = world.gateway();
    let mut elsewhere = event(1, "set", Some("1.0.0"), None);
    elsewhere.app = "com.example.other".parse().unwrap();
    let mut probe = event(1, "set", Some("2.0.0"), None);
    probe.probe = true;
    gateway.record(vec![elsewhere, probe]).await.unwrap();
    gateway.record(Vec::new()).await.unwrap();
    assert_eq!(world.segments(), 0);
}

#[tokio::test]
async fn what_waits_is_written_before_the_end() {
    let world = World::new();
    let limits = OutboxLimits { gather: Duration::from_hours(1), ..OutboxLimits::default() };
    let served = Arc::new(ArcSwap::from_pointee(shop()));
    let outbox = Outbox::new(world.objects(), served, world.hands.clock(), limits);
    let running = outbox.clone();
    let run = tokio::spawn(async move { running.run().await });
    asks(&outbox, &world.hands, 1);
    let report = outbox.clone();
    let reported =
        tokio::spawn(async move { report.record(vec![event(1, "set", Some("2.0.0"), None)]).await });
    until(LIMIT, "it waits", async || outbox.figures().queued_events == 1).await;
    outbox.close().await;
    reported.await.unwrap().unwrap();
    run.await.unwrap();
    assert_eq!(world.segments(), 1);
    let late = outbox.record(vec![event(1, "set", None, None)]).await;
    assert_eq!(late, Err(OutboxError::Closed));
    outbox.close().await;
}

#[tokio::test]
async fn too_much_is_refused_and_taken_later() {
    let world = World::new();
    let limits = OutboxLimits { queued_events: 4, queued_check_ins: 2, ..OutboxLimits::default() };
    let served = Arc::new(ArcSwap::from_pointee(shop()));
    let outbox = Outbox::new(world.objects(), served, world.hands.clock(), limits);
    let all = |n: i64| vec![event(1, "download_1", None, Some(n)), event(1, "download_2", None, Some(n))];
    let waits = [outbox.clone(), outbox.clone()]
        .map(|outbox| tokio::spawn(async move { outbox.record(all(1)).await }));
    until(LIMIT, "four wait", async || outbox.figures().queued_events == 4).await;
    assert!(outbox.figures().full);
    assert_eq!(outbox.record(all(2)).await, Err(OutboxError::Full));
    for n in 0..5 {
        asks(&outbox, &world.hands, n);
    }
    let figures = outbox.figures();
    assert_eq!((figures.refused_events, figures.queued_check_ins, figures.dropped_check_ins), (2, 2, 3));
    let running = outbox.clone();
    tokio::spawn(async move { running.run().await });
    for wait in waits {
        wait.await.unwrap().unwrap();
    }
    outbox.record(all(2)).await.unwrap();
    // The first check of a dropped device after that is written.
    asks(&outbox, &world.hands, 4);
    fails(&outbox, 4).await;
    let fleet = world.fleet().await;
    Ingest::new(world.objects(), fleet.clone()).look(Timestamp::now()).await.unwrap();
    assert!(fleet.device(APP, device(4)).await.unwrap().is_some());
    assert!(fleet.device(APP, device(3)).await.unwrap().is_none());
}

/// Custom ids leave a gateway as keyed hashes, and not before the key is known.
#[tokio::test]
async fn custom_ids_are_hashed_with_the_key_of_the_installation() {
    let world = World::new();
    let (gateway, fleet) = (world.gateway(), world.fleet().await);
    let digest = bundle("2.0.0");
    let mut named = check(1, world.hands.now(), "1.0.0", Some(("2.0.0", &digest)));
    named.custom_id = Some("somebody@example.org");
    gateway.check_in(&named);
    fails(&gateway, 1).await;
    let mut relay = Relay::new(world.objects(), fleet.clone());
    relay.look(true, Timestamp::now()).await.unwrap();
    gateway.read_memory().await.unwrap();
    gateway.check_in(&named);
    fails(&gateway, 2).await;
    relay.look(true, Timestamp::now()).await.unwrap();
    let mut hashes = Vec::new();
    for meta in world.objects().list("segments").await.unwrap() {
        let (bytes, _) = world.objects().get(&meta.key).await.unwrap().unwrap();
        let segment = segment::decode(uuid::Uuid::nil(), &bytes).unwrap();
        hashes.extend(segment.check_ins.into_iter().map(|noted| noted.custom_id));
    }
    let expected = crate::fleet::hash::keyed_hash(fleet.custom_id_key(), b"somebody@example.org");
    assert_eq!(hashes, [None, Some(expected)]);
}

/// Ends a future after so many polls, as a kill would.
struct Cut<'a, F> {
    work: Pin<&'a mut F>,
    polls: usize,
}

impl<F: Future> Future for Cut<'_, F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.polls == 0 {
            return Poll::Ready(None);
        }
        self.polls -= 1;
        self.work.as_mut().poll(cx).map(Some)
    }
}

async fn cut<F: Future>(polls: usize, work: F) -> Option<F::Output> {
    Cut { work: pin!(work), polls }.await
}

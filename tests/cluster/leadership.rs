//! Several operators over one bundle store and one lease: one leads, and no former leader's write survives the next one's.

mod rounds;

use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use sluice_repo::testing::Changes;
use tokio::time::sleep;

use crate::support::{Bucket, LIMIT, Replica, Witness, World, channel, until, with_release};

/// The lease of most tests here, short so that they are.
const LEASE: Duration = Duration::from_secs(5);

/// What replicas share.
struct Scene {
    world: World,
    bucket: Bucket,
    witness: Witness,
    commits: u32,
}

impl Scene {
    async fn new() -> Self {
        let world = World::shop().await;
        let bucket = Bucket::new().await;
        let witness = Witness::of(&world, &bucket);
        Self { world, bucket, witness, commits: 0 }
    }

    async fn replica(&self, name: &'static str) -> Replica {
        Replica::new(&self.world, &self.bucket, name, LEASE).await
    }

    /// Merges a new release and moves the channel to it. Returns its version.
    fn merge(&mut self) -> String {
        self.commits += 1;
        let version = format!("2.{}.0", self.commits);
        let changes = with_release(Changes::new(), &version);
        self.world.upstream.commit(changes.file("channels/production.yaml", channel("production", &version)));
        version
    }

    /// Waits until devices are offered this version. Returns term and generation.
    async fn serves(&self, version: &str) -> (u64, u64) {
        until(LIMIT, &format!("{version} is published"), async || {
            let (epoch, generation, served) = self.bucket.serves().await;
            if served.as_deref() == Some(version) { Ok((epoch, generation)) } else { Err((epoch, served)) }
        })
        .await
    }

    /// Waits until the channel says so too. Returns the term that says it.
    async fn says(&self, version: &str) -> u64 {
        self.world.says("shop-production", version).await
    }

    async fn lease(&self) -> LeaseSpec {
        self.world.api::<Lease>().get("sluice").await.unwrap().spec.unwrap()
    }

    /// Makes sure that one replica keeps the lease for longer than it lasts, while the other waits for it.
    async fn holds(&self, holder: &Replica, waiting: &Replica) {
        let seconds = |lease: &LeaseSpec| lease.renew_time.as_ref().unwrap().0.as_second();
        let first = self.lease().await;
        until(LIMIT, "the lease is renewed for longer than it lasts", async || {
            let now = self.lease().await;
            assert_eq!(now.holder_identity.as_deref(), Some(holder.name));
            assert_eq!(now.lease_transitions, first.lease_transitions);
            assert!(!waiting.says_it_leads().await);
            seconds(&now) - seconds(&first) > 2 + i64::try_from(LEASE.as_secs()).unwrap()
        })
        .await;
    }
}

/// Waits until the replica leads.
async fn leads(replica: &Replica) {
    let what = format!("{} leads", replica.name);
    until(LIMIT, &what, async || replica.says_it_leads().await).await;
}

#[expect(clippy::print_stdout, reason = "figures for whoever runs it with --nocapture")]
fn figure(what: &str, took: Duration) {
    println!("{what}: {:.2} s", took.as_secs_f64());
}

#[tokio::test(flavor = "multi_thread")]
async fn another_replica_takes_over() {
    let mut scene = Scene::new().await;
    let mut leader = scene.replica("a").await;
    let mut other = scene.replica("b").await;
    leader.start().await;
    leads(&leader).await;
    scene.serves("1.1.0").await;
    other.start().await;
    for _ in 0..3 {
        other.follows().await;
        leader.kill();
        let killed = Instant::now();
        let version = scene.merge();
        scene.serves(&version).await;
        figure("killed, and the other has published (lease 5 s)", killed.elapsed());
        leader.start().await;
        std::mem::swap(&mut leader, &mut other);

        other.follows().await;
        let version = scene.merge();
        let asked = Instant::now();
        leader.stop().await;
        scene.serves(&version).await;
        figure("asked to stop, and the other has published", asked.elapsed());
        leader.start().await;
        std::mem::swap(&mut leader, &mut other);
    }
    let last = scene.bucket.serves().await.2.unwrap();
    scene.says(&last).await;
    assert!(scene.witness.testify().terms.len() >= 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_a_paused_leader_has_under_way_survives() {
    let mut scene = Scene::new().await;
    let mut leader = scene.replica("a").await;
    let mut other = scene.replica("b").await;
    leader.start().await;
    leads(&leader).await;
    scene.serves("1.1.0").await;
    // A publication is several requests, each waiting for the one before: they take long enough to stop between them.
    for pause_after in [0, 400, 800, 1_200].map(Duration::from_millis) {
        other.start().await;
        other.follows().await;
        leader.store.delay(Duration::from_millis(100));
        let read = leader.process().log().matches("compared with the cluster").count();
        let overtaken = scene.merge();
        until(LIMIT, "the leader works with the commit", async || {
            leader.process().log().matches("compared with the cluster").count() > read
        })
        .await;
        // Not waiting for anything: the moment of the pause is what differs between rounds.
        sleep(pause_after).await;
        leader.process().signal("STOP");
        let (_, before, _) = scene.bucket.serves().await;

        leads(&other).await;
        let version = scene.merge();
        let (term, _) = scene.serves(&version).await;
        assert_eq!(scene.says(&version).await, term);
        leader.process().signal("CONT");
        until(LIMIT, "the former leader knows", async || {
            leader.process().log().contains("this replica leads no more").then_some(())
        })
        .await;
        leader.follows().await;
        let (stands, generation, served) = scene.bucket.serves().await;
        assert_eq!(
            (stands, served.as_deref()),
            (term, Some(version.as_str())),
            "{overtaken} was published late"
        );
        assert!(generation > before);
        let record = scene.bucket.record().await.unwrap();
        assert_eq!(record.epoch, term);
        assert_eq!(scene.says(&version).await, term);
        scene.witness.testify();
        // The other way round; its next process has a log of its own.
        leader.stop().await;
        leader.store.delay(Duration::ZERO);
        std::mem::swap(&mut leader, &mut other);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_without_the_api_server_steps_down_before_another_leads() {
    let mut scene = Scene::new().await;
    let mut leader = scene.replica("a").await;
    let mut other = scene.replica("b").await;
    leader.start().await;
    leads(&leader).await;
    scene.serves("1.1.0").await;
    other.start().await;
    for refused in [false, true] {
        other.follows().await;
        if refused {
            leader.api.refuse().await;
        } else {
            leader.api.cut();
        }
        let cut = Instant::now();
        // Both reach the store and Git.
        let version = scene.merge();
        let (mut stepped_down, mut both) = (None, 0);
        until(LIMIT, "the other leads", async || {
            // Asked in this order: who leads no more cannot lead again while it is cut off.
            let (new, old) = (other.says_it_leads().await, leader.says_it_leads().await);
            if !old && stepped_down.is_none() {
                stepped_down = Some(cut.elapsed());
            }
            both += u32::from(new && old);
            new
        })
        .await;
        assert_eq!(both, 0, "both led at one time");
        figure("cut off, and it leads no more (lease 5 s)", stepped_down.unwrap());
        figure("cut off, and the other leads", cut.elapsed());
        let (term, _) = scene.serves(&version).await;
        assert_eq!(scene.says(&version).await, term);
        leader.api.heal().await;
        leader.follows().await;
        assert_eq!(scene.bucket.serves().await.0, term);
        let version = scene.merge();
        assert_eq!(scene.serves(&version).await.0, term);
        scene.witness.testify();
        std::mem::swap(&mut leader, &mut other);
    }
}

/// Waits until a replica that waits says by how many minutes its clock is ahead of the leader's.
async fn sees_skew(replica: &Replica, minutes: i32) {
    let expected = f64::from(minutes) * 60.0;
    until(LIMIT, &format!("a skew of {minutes} minutes is told"), async || {
        let skew = replica.process().metric("sluice_clock_skew_seconds").await;
        if (skew - expected).abs() < 5.0 { Ok(()) } else { Err(skew) }
    })
    .await;
    assert!(replica.process().log().contains(r#""reason":"ClockSkew""#));
}

/// A clock that is ten minutes wrong, on either side and either way.
#[tokio::test(flavor = "multi_thread")]
async fn wrong_clocks_change_nothing() {
    for minutes in [10, -10] {
        let mut scene = Scene::new().await;
        let mut right = scene.replica("right").await;
        let mut wrong = scene.replica("wrong").await.with_clock(minutes);
        right.start().await;
        leads(&right).await;
        let (term, generation) = scene.serves("1.1.0").await;
        wrong.start().await;
        scene.holds(&right, &wrong).await;
        sees_skew(&wrong, minutes).await;
        right.kill();
        leads(&wrong).await;
        let version = scene.merge();
        let (later, newer) = scene.serves(&version).await;
        assert!(later > term && newer > generation);
        right.start().await;
        scene.holds(&wrong, &right).await;
        sees_skew(&right, -minutes).await;
        wrong.stop().await;
        leads(&right).await;
        let version = scene.merge();
        let (last, newest) = scene.serves(&version).await;
        assert!(last > later && newest > newer);
        scene.says(&version).await;
        scene.witness.testify();
    }
}

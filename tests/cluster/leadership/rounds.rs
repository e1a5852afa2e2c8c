//! Two operators over random kills, pauses and partitions: no generation goes backwards, and no former leader's write
//! survives a newer one's.

use std::time::{Duration, Instant};

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use tokio::time::sleep;

use super::Scene;
use crate::support::Replica;

/// The shortest lease there is, so that much happens in little time.
const LEASE: Duration = Duration::from_secs(3);
/// Rounds in every run of the tests. `SLUICE_ROUNDS` asks for another number.
const ROUNDS: u64 = 40;

/// How one replica is.
struct Subject {
    replica: Replica,
    paused: bool,
    api: Wire,
    store: Wire,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wire {
    Whole,
    Cut,
    Refused,
}

/// What happens to a replica.
#[derive(Debug, Clone, Copy)]
enum Action {
    Start,
    Kill,
    Stop,
    Pause,
    Resume,
    Api(Wire),
    Store(Wire),
    /// The store is so many milliseconds away.
    Delay(u64),
}

impl Subject {
    /// Something that can happen to it as it is.
    fn action(&self, random: &mut StdRng) -> Action {
        if !self.replica.runs() {
            return Action::Start;
        }
        if self.paused {
            return if random.random_ratio(1, 5) { Action::Kill } else { Action::Resume };
        }
        let broken = if random.random() { Wire::Cut } else { Wire::Refused };
        match random.random_range(0..6) {
            _ if self.api != Wire::Whole => Action::Api(Wire::Whole),
            _ if self.store != Wire::Whole => Action::Store(Wire::Whole),
            0 => Action::Kill,
            1 => Action::Stop,
            2 => Action::Pause,
            3 => Action::Api(broken),
            4 => Action::Store(broken),
            _ => Action::Delay(random.random_range(0..60)),
        }
    }

    /// Whether it cannot lead as things are.
    fn is_hindered(&self) -> bool {
        !self.replica.runs() || self.paused || self.api != Wire::Whole || self.store != Wire::Whole
    }

    async fn undergo(&mut self, action: Action) {
        match action {
            // A process that cannot reach the store listens when it can.
            Action::Start => {
                self.undergo_wire(Action::Store(Wire::Whole)).await;
                self.replica.start().await;
            }
            Action::Kill => {
                self.paused = false;
                self.replica.kill();
            }
            Action::Stop => self.replica.stop().await,
            Action::Pause => {
                self.paused = true;
                self.replica.process().signal("STOP");
            }
            Action::Resume => {
                self.paused = false;
                self.replica.process().signal("CONT");
            }
            Action::Api(_) | Action::Store(_) | Action::Delay(_) => self.undergo_wire(action).await,
        }
    }

    async fn undergo_wire(&mut self, action: Action) {
        let (proxy, wire) = match action {
            Action::Api(wire) => {
                self.api = wire;
                (&self.replica.api, wire)
            }
            Action::Store(wire) => {
                self.store = wire;
                (&self.replica.store, wire)
            }
            Action::Delay(milliseconds) => {
                return self.replica.store.delay(Duration::from_millis(milliseconds));
            }
            other => unreachable!("{other:?} happens to no wire"),
        };
        match wire {
            Wire::Whole => proxy.heal().await,
            Wire::Cut => proxy.cut(),
            Wire::Refused => proxy.refuse().await,
        }
    }

    /// Everything is well again.
    async fn mend(&mut self) {
        for action in [Action::Api(Wire::Whole), Action::Store(Wire::Whole), Action::Delay(0)] {
            self.undergo(action).await;
        }
        if self.paused {
            self.undergo(Action::Resume).await;
        }
        if !self.replica.runs() {
            self.undergo(Action::Start).await;
        }
    }
}

/// A number that whoever runs the tests may give.
#[expect(clippy::disallowed_methods, reason = "a setting of the test, not of the program")]
fn given(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_write_of_a_former_leader_survives_random_faults() {
    let seed = given("SLUICE_SEED").unwrap_or_else(rand::random);
    let rounds = given("SLUICE_ROUNDS").unwrap_or(ROUNDS);
    // A failure is repeated with the seed that it shows.
    println!("SLUICE_SEED={seed} SLUICE_ROUNDS={rounds}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut scene = Scene::new().await;
    let mut subjects = Vec::new();
    for name in ["a", "b"] {
        let replica = Replica::new(&scene.world, &scene.bucket, name, LEASE).await;
        subjects.push(Subject { replica, paused: false, api: Wire::Whole, store: Wire::Whole });
    }
    subjects[0].replica.start().await;
    scene.serves("1.1.0").await;
    subjects[1].replica.start().await;

    let began = Instant::now();
    scene.merge();
    for round in 0..rounds {
        // Mostly one at a time: nobody takes over while nobody can.
        let hindered = subjects.iter().position(Subject::is_hindered).filter(|_| random.random_ratio(3, 4));
        let chosen = hindered.unwrap_or_else(|| random.random_range(0..subjects.len()));
        let action = subjects[chosen].action(&mut random);
        println!(
            "{:7.2} round {round}: {} {action:?}",
            began.elapsed().as_secs_f64(),
            subjects[chosen].replica.name
        );
        subjects[chosen].undergo(action).await;
        if random.random_ratio(1, 2) {
            scene.merge();
        }
        // Not waiting for anything: how long the world stays like this is part of what is random. Most rounds end in the
        // middle of something; some last longer than the lease and what it takes to lead.
        let most = if random.random_ratio(1, 8) { 5_500 } else { 400 };
        sleep(Duration::from_millis(random.random_range(20..most))).await;
    }
    let (epoch, generation, served) = scene.bucket.serves().await;
    println!(
        "{:7.2} before mending: term {epoch}, generation {generation}, {served:?}",
        began.elapsed().as_secs_f64()
    );
    for subject in &mut subjects {
        subject.mend().await;
    }
    let mended = Instant::now();
    let last = scene.merge();
    let (term, _) = scene.serves(&last).await;
    let healed = mended.elapsed();
    assert!(scene.says(&last).await <= term);
    // Nothing comes late, and the next fault is a fault like the first one.
    let mut leading = Vec::new();
    for (index, subject) in subjects.iter().enumerate() {
        if subject.replica.says_it_leads().await {
            leading.push(index);
        }
    }
    assert_eq!(leading.len(), 1, "{leading:?}");
    assert_eq!(scene.bucket.serves().await.2.as_deref(), Some(last.as_str()));
    subjects[leading[0]].undergo(Action::Kill).await;
    let next = scene.merge();
    assert!(scene.serves(&next).await.0 > term);
    let seen = scene.witness.testify();
    println!(
        "{rounds} rounds in {:.0} s: {} merges, {} terms, {} generations, {} states of objects, {} looks at the bucket; \
         after mending the last merge was published within {:.1} s",
        began.elapsed().as_secs_f64(),
        scene.commits,
        seen.terms.len(),
        seen.generations.len(),
        seen.states,
        seen.looks,
        healed.as_secs_f64(),
    );
    assert!(seen.terms.len() > 1, "nobody took over: {:?}", seen.terms);
}

use std::{collections::BTreeMap, sync::Arc};

use jiff::SignedDuration;

use super::*;
use crate::{
    brake::Devices,
    channel::{
        Access, Approval, Audience, Freeze, Gate, Line, OnBad, OnDecrease, OnInconclusive, Platforms, Ramp,
        Rollout, Step, Window,
    },
    cohort::{ALL, Ppm},
    decisions::Kind,
    gate::ArmNumbers,
    record::{Binding, Zip},
};

const HOUR: u64 = 3_600;

fn version(text: &str) -> Version {
    text.parse().unwrap()
}

fn digest(text: &str) -> Digest {
    Digest::of(text.as_bytes())
}

fn bundles() -> BTreeMap<Version, Arc<Binding>> {
    let binding = |text: &str| {
        let zip = Zip { sha256: digest(text), crc32: 0, size: 1 };
        let (release, source) = (text.into(), text.into());
        (version(text), Arc::new(Binding { digest: digest(text), release, source, zip }))
    };
    ["1.0.0", "2.0.0", "3.0.0"].map(binding).into()
}

fn brake(id: &str, release: &str, channel: Option<&str>) -> Braked {
    let (id, channel) = (id.to_owned(), channel.map(|name| name.parse().unwrap()));
    Braked { id, digest: digest(release), channel, by: "gate".into(), why: "Broken: 5 of 10".into() }
}

fn step(weight: Ppm, soak: u64) -> Step {
    Step { size: Size::Share(weight), soak, approval: false, audience: None }
}

/// A line of a channel, and all that its rollout follows from.
struct World {
    channel: Channel,
    wanted: Target,
    record: LineRecord,
    now: Timestamp,
    active: u64,
    away: bool,
    ready: bool,
    verdict: Option<Verdict>,
    freezes: Vec<Freeze>,
    brakes: Vec<Braked>,
    bundles: BTreeMap<Version, Arc<Binding>>,
}

impl World {
    /// One that serves 1.0.0 to 10,000 devices, and rolls out at 1 % for an hour, and 10 % for two.
    fn new() -> Self {
        let line = Line { native: None, platforms: Platforms::ALL, target: Target::Builtin };
        let (app, name) = ("com.example.shop".parse().unwrap(), "production".parse().unwrap());
        let mut channel = Channel::new("c".into(), app, name, vec![line], Access::default());
        channel.rollout.strategy = Strategy::Steps;
        channel.rollout.steps = vec![step(10_000, HOUR), step(100_000, 2 * HOUR)];
        channel.rollout.ramp = Ramp::Off;
        let record = LineRecord {
            stable: Some(Target::Release(version("1.0.0"))),
            serial: 1,
            ..LineRecord::default()
        };
        Self {
            channel,
            wanted: Target::Release(version("2.0.0")),
            record,
            now: "2026-11-25T10:00:00Z".parse().unwrap(),
            active: 10_000,
            away: false,
            ready: true,
            verdict: None,
            freezes: Vec::new(),
            brakes: Vec::new(),
            bundles: bundles(),
        }
    }

    /// One pass; the same again changes nothing.
    fn pass(&mut self) -> Next {
        let facts = Facts {
            now: self.now,
            seed: [1; 32],
            active: self.active,
            fleet_away: self.away,
            verdict: self.verdict.as_ref(),
            freezes: &self.freezes,
            brakes: &self.brakes,
            ready: self.ready,
            bundles: &self.bundles,
        };
        let first = next(&self.channel, &self.wanted, &self.record, &facts);
        let again = next(&self.channel, &self.wanted, &first.record, &facts);
        assert_eq!(again.record, first.record, "the same facts twice");
        assert_eq!((again.open, &again.served), (first.open, &first.served));
        let told = changes(&self.record, &first.record);
        if told.is_empty() {
            assert_eq!(first.record.because, self.record.because, "numbers alone write no record");
        }
        for because in first.record.because.iter().filter(|_| !told.is_empty()) {
            assert!(told.iter().any(|change| because.is_of(change.kind, change.reason)), "{because:?}");
        }
        self.record = first.record.clone();
        Next { brake: again.brake.or(first.brake), ..first }
    }

    fn phase(&mut self) -> Phase {
        self.pass().progress.phase
    }

    fn want(&mut self, text: &str) {
        self.wanted = Target::try_from(text.to_owned()).unwrap();
    }

    fn sleep(&mut self, seconds: u64) {
        self.now += SignedDuration::from_secs(i64::try_from(seconds).unwrap());
    }

    fn candidate(&self) -> &Candidate {
        self.record.candidate.as_ref().unwrap()
    }

    fn weight(&self) -> Ppm {
        self.record.candidate.as_ref().map_or(0, |candidate| candidate.weight)
    }

    /// What the gate says of the present level.
    fn says(&mut self, decision: Decision, shown: u32) {
        let level = self.record.candidate.as_ref().map_or(0, |candidate| candidate.level);
        let (reason, sentence) = ("Test".into(), "the gate says so".into());
        let (serial, control) = (self.record.serial, ArmNumbers::default());
        let treatment = ArmNumbers { shown, ..control };
        self.verdict = Some(Verdict { serial, level, decision, reason, sentence, treatment, control });
    }

    fn is_done(&self) -> bool {
        self.record.stable.as_ref() == Some(&self.wanted) && self.record.candidate.is_none()
    }
}

#[test]
fn from_step_to_step() {
    let mut world = World::new();
    let started = world.pass();
    assert_eq!((started.progress.phase, started.open, world.weight()), (Phase::Soaking, true, 10_000));
    let at: Vec<_> =
        started.progress.upcoming.iter().map(|m| (m.weight, m.at.unwrap().to_string())).collect();
    let expected = [(100_000, "2026-11-25T11:00:00Z"), (ALL, "2026-11-25T13:00:00Z")];
    assert_eq!(at, expected.map(|(weight, at)| (weight, at.to_owned())));
    world.says(Decision::Advance, 99);
    assert_eq!(world.phase(), Phase::Soaking, "evidence does not shorten a step");
    world.sleep(HOUR);
    assert_eq!(world.pass().progress.step, 2);
    assert_eq!((world.weight(), world.candidate().below, world.candidate().level), (100_000, 10_000, 1));
    world.sleep(2 * HOUR);
    assert_eq!(world.phase(), Phase::Held, "a verdict on the level before does not count");
    world.says(Decision::Advance, 99);
    let done = world.pass();
    assert_eq!((done.progress.phase, done.progress.percent().as_str()), (Phase::Completed, "100%"));
    assert!(world.is_done());
    assert_eq!((world.record.serial, world.record.history[0].release.clone()), (2, version("1.0.0")));
    let until = world.record.watch.as_ref().unwrap().until;
    assert_eq!(until.duration_since(world.now), SignedDuration::from_hours(24));
    world.now = until;
    world.pass();
    assert_eq!(world.record.watch, None);
}

#[test]
fn the_first_release_of_a_channel() {
    let mut world = World::new();
    world.record = LineRecord::default();
    world.channel.rollout.strategy = Strategy::Auto;
    world.pass();
    assert!(world.is_done(), "Auto has nobody to compare with");
    let mut world = World::new();
    world.record = LineRecord::default();
    world.pass();
    assert_eq!((world.record.stable.clone(), world.weight(), world.record.serial), (None, 10_000, 1));
}

#[test]
fn auto_counts_devices_and_immediate_does_not() {
    for (strategy, active, weight) in
        [(Strategy::Auto, 199, 0), (Strategy::Auto, 10_000, 2_000), (Strategy::Immediate, 10_000, 0)]
    {
        let mut world = World::new();
        (world.channel.rollout.strategy, world.active) = (strategy, active);
        world.pass();
        assert_eq!((world.weight(), world.is_done()), (weight, weight == 0), "{strategy:?} {active}");
    }
    let mut world = World::new();
    (world.channel.rollout.strategy, world.away) = (Strategy::Auto, true);
    assert_eq!(world.phase(), Phase::EvidenceUnavailable);
    assert_eq!(world.record.serial, 1, "nobody knows how many devices there are");
}

#[test]
fn the_ramp_follows_outcomes() {
    let mut world = World::new();
    world.channel.rollout.ramp = Ramp::Auto;
    world.active = 100_000;
    assert_eq!(world.phase(), Phase::Progressing);
    assert_eq!(world.weight(), 500);
    for (decision, shown, weight) in [
        (Decision::Hold, 9, 500),
        (Decision::Hold, 20, 2_000),
        (Decision::Pause, 60, 2_000),
        (Decision::Hold, 10, 2_000),
        (Decision::Hold, 60, 10_000),
    ] {
        world.says(decision, shown);
        world.pass();
        assert_eq!(world.weight(), weight, "{decision:?} {shown}");
    }
    assert_eq!(world.candidate().soaking_since, Some(world.now), "it soaks at its full weight only");
}

#[test]
fn soak_counts_while_evidence_can_arrive() {
    let mut world = World::new();
    world.pass();
    world.says(Decision::Advance, 99);
    world.sleep(HOUR / 2);
    world.away = true;
    assert_eq!(world.phase(), Phase::EvidenceUnavailable);
    world.sleep(48 * HOUR);
    world.pass();
    assert_eq!(world.weight(), 10_000);
    world.away = false;
    assert_eq!(world.phase(), Phase::Soaking);
    world.sleep(HOUR / 2);
    world.pass();
    assert_eq!(world.weight(), 100_000);
}

#[test]
fn windows_freezes_and_a_first_time_hold_the_start_and_each_step() {
    let mut world = World::new();
    let window = Window {
        days: Vec::new(),
        from: "12:00".parse().unwrap(),
        to: "13:00".parse().unwrap(),
        time_zone: "UTC".into(),
    };
    world.channel.rollout.window = Some(window);
    let waits = world.pass();
    assert_eq!((waits.progress.phase, world.record.serial), (Phase::WaitingForWindow, 1));
    let noon = waits.progress.wake.unwrap();
    assert_eq!(noon.to_string(), "2026-11-25T12:00:00Z");
    assert_eq!(waits.progress.upcoming[0].at, Some(noon));
    world.now = noon;
    assert_eq!(world.phase(), Phase::Soaking);
    world.sleep(HOUR);
    world.says(Decision::Advance, 99);
    let waits = world.pass();
    assert_eq!((waits.progress.phase, waits.open), (Phase::WaitingForWindow, true), "the cohort stays open");
    world.freezes.push(Freeze {
        name: "sales".into(),
        from: world.now,
        to: "2026-11-27T00:00:00Z".parse().unwrap(),
        reason: Some("Black Friday".into()),
    });
    let frozen = world.pass();
    assert_eq!(frozen.progress.phase, Phase::Frozen);
    assert!(frozen.progress.message.contains("Black Friday"), "{}", frozen.progress.message);
    assert_eq!(frozen.progress.wake.unwrap().to_string(), "2026-11-27T12:00:00Z");
    world.channel.urgent = Some(Urgent { release: version("3.0.0"), reason: "another one".into() });
    assert_eq!(world.phase(), Phase::Frozen, "urgent is one release");
    world.channel.urgent = Some(Urgent { release: version("2.0.0"), reason: "it burns".into() });
    world.pass();
    assert_eq!(world.weight(), 100_000);
}

#[test]
fn an_approval_lets_go_on_and_restarts_nothing() {
    let mut world = World::new();
    world.channel.rollout.steps[0].approval = true;
    world.pass();
    world.sleep(HOUR);
    world.says(Decision::Advance, 99);
    let waits = world.pass();
    assert_eq!(waits.progress.phase, Phase::WaitingForApproval);
    assert_eq!(waits.progress.upcoming[0].at, None, "that depends on more than time");
    world.channel.approvals.insert(Approval { release: version("1.0.0"), step: 1 });
    assert_eq!(world.phase(), Phase::WaitingForApproval);
    let started = world.candidate().started;
    world.channel.approvals.insert(Approval { release: version("2.0.0"), step: 1 });
    world.pass();
    assert_eq!((world.weight(), world.candidate().started, world.record.serial), (100_000, started, 2));
}

#[test]
fn an_approval_shows_while_the_step_still_soaks() {
    let mut world = World::new();
    world.channel.rollout.steps[0].approval = true;
    let message = world.pass().progress.message;
    assert!(message.ends_with("; after that a person approves step 1 in Git"), "{message}");
    world.channel.approvals.insert(Approval { release: version("2.0.0"), step: 1 });
    let soaks = world.pass().progress;
    assert_eq!(
        (soaks.phase, soaks.message.as_str()),
        (
            Phase::Soaking,
            "2.0.0 stays at 1% until 2026-11-25T11:00:00Z at least; step 1 is approved: it goes to 10% after that, as \
             evidence allows"
        )
    );
    assert_eq!(soaks.upcoming[0].at, soaks.wake, "time alone is between it and the next weight");
    // Also where it stands for evidence that is missing, which it may do only after a while.
    world.sleep(HOUR);
    world.says(Decision::Hold, 3);
    let held = world.pass().progress;
    assert_eq!(held.phase, Phase::Held);
    let until = "step 1 is approved, so it goes on at 2026-11-26T11:00:00Z also without more evidence";
    assert!(held.message.ends_with(until), "{}", held.message);
}

#[test]
fn a_first_release_says_why_it_is_held() {
    let mut world = World::new();
    world.record.stable = None;
    world.pass();
    world.sleep(HOUR);
    let held = world.pass().progress;
    assert_eq!(held.phase, Phase::Held);
    for words in ["first release of this channel", "strategy: Immediate", "approve step 1, which counts from"]
    {
        assert!(held.message.contains(words), "{}", held.message);
    }
    world.channel.rollout.strategy = Strategy::Immediate;
    assert_eq!(world.phase(), Phase::Completed, "that is what is to be done");
    let mut later = World::new();
    later.pass();
    later.sleep(HOUR);
    let held = later.pass().progress;
    assert!(!held.message.contains("first release"), "{}", held.message);
}

#[test]
fn inconclusive_evidence() {
    for (on_inconclusive, weight, brake) in [
        (OnInconclusive::Hold, 10_000, false),
        (OnInconclusive::Advance, 100_000, false),
        (OnInconclusive::Rollback, 10_000, true),
    ] {
        let mut world = World::new();
        world.channel.gate = Gate { on_inconclusive, ..Gate::default() };
        world.pass();
        world.sleep(HOUR);
        world.says(Decision::Hold, 3);
        let held = world.pass();
        assert_eq!(held.progress.phase, Phase::Held);
        assert_eq!(held.progress.wake, Some(world.now + SignedDuration::from_hours(24)));
        world.sleep(24 * HOUR);
        let next = world.pass();
        assert_eq!((world.weight(), next.brake.is_some()), (weight, brake), "{on_inconclusive:?}");
        if on_inconclusive == OnInconclusive::Hold {
            world.channel.approvals.insert(Approval { release: version("2.0.0"), step: 1 });
            world.pass();
            assert_eq!(world.weight(), 100_000, "a person decides");
        }
    }
}

#[test]
fn bad_evidence() {
    let mut world = World::new();
    world.pass();
    world.says(Decision::Pause, 20);
    let paused = world.pass();
    assert_eq!((paused.progress.phase, paused.open), (Phase::Paused, false));
    world.verdict = None;
    assert_eq!(world.phase(), Phase::Paused, "not to know is no reason");
    world.says(Decision::Hold, 20);
    assert!(world.pass().open, "the cause went away");
    world.says(Decision::Abort, 20);
    let abort = world.pass();
    assert_eq!((abort.progress.phase, abort.open), (Phase::Braked, false));
    assert_eq!(abort.brake.unwrap().digest, digest("2.0.0"));
    let own = world.channel.channel.clone();
    world.brakes.push(brake("b-1", "2.0.0", Some(own.as_str())));
    assert_eq!(world.pass().brake, None, "it stands");
    world.brakes.clear();
    world.says(Decision::Advance, 20);
    assert_eq!(world.phase(), Phase::Braked, "only Git lifts it");
    world.channel.allow_held.insert("b-1".into());
    assert!(world.pass().open);

    world.says(Decision::Abort, 20);
    world.channel.gate = Gate { on_bad: OnBad::Notify, ..Gate::default() };
    world.sleep(99 * HOUR);
    let told = world.pass();
    assert_eq!((told.progress.phase, told.brake, world.weight()), (Phase::Held, None, 10_000));
}

#[test]
fn a_brake_of_another_channel_pauses_here() {
    let mut world = World::new();
    world.pass();
    world.brakes.push(brake("b-1", "2.0.0", Some("beta")));
    let paused = world.pass();
    assert_eq!((paused.progress.phase, paused.open), (Phase::Paused, false));
    assert!(paused.progress.message.contains("beta"));
    world.brakes.clear();
    assert!(world.pass().open);
}

#[test]
fn a_braked_release_does_not_start() {
    let mut world = World::new();
    world.brakes.push(brake("b-1", "2.0.0", None));
    assert_eq!(world.phase(), Phase::Braked);
    assert_eq!(world.record.serial, 1);
    world.channel.allow_held.insert("b-1".into());
    assert_eq!(world.phase(), Phase::Soaking);
}

#[test]
fn a_newer_release_overtakes() {
    let mut world = World::new();
    world.pass();
    world.want("3.0.0");
    world.pass();
    assert_eq!((world.record.serial, world.record.kept.clone()), (3, vec![version("2.0.0")]));
    let mut braked = World::new();
    braked.pass();
    braked.brakes.push(brake("b-1", "2.0.0", None));
    braked.pass();
    braked.want("3.0.0");
    braked.pass();
    assert!(braked.record.kept.is_empty(), "nobody keeps what is braked");
    // Everybody is moved to what is completed.
    world.channel.rollout.strategy = Strategy::Immediate;
    world.pass();
    assert!(world.is_done() && world.record.kept.is_empty());
}

#[test]
fn going_back() {
    for (devices, kept) in [(Devices::Return, vec![]), (Devices::Keep, vec![version("2.0.0")])] {
        let mut world = World::new();
        world.channel.gate = Gate { devices, ..Gate::default() };
        world.pass();
        world.want("1.0.0");
        assert_eq!(world.phase(), Phase::Completed);
        assert_eq!((world.record.kept.clone(), world.record.serial), (kept, 2));
    }
    let mut world = World::new();
    world.channel.rollout.strategy = Strategy::Immediate;
    world.pass();
    world.channel.rollout.strategy = Strategy::Steps;
    world.freezes.push(Freeze { name: "f".into(), from: Timestamp::MIN, to: Timestamp::MAX, reason: None });
    world.want("1.0.0");
    world.pass();
    assert!(world.is_done(), "what was well before is back at once");
    assert_eq!(
        world.record.history.iter().map(|h| h.release.clone()).collect::<Vec<_>>(),
        [version("2.0.0")]
    );
    world.want("builtin");
    world.pass();
    assert!(world.is_done());
    world.want("3.0.0");
    assert_eq!(world.phase(), Phase::Frozen);
}

#[test]
fn what_did_badly_is_not_remembered() {
    let mut world = World::new();
    world.channel.rollout.strategy = Strategy::Immediate;
    world.pass();
    world.says(Decision::Abort, 50);
    assert_eq!(world.pass().brake.unwrap().digest, digest("2.0.0"));
    world.brakes.push(brake("b-1", "2.0.0", None));
    assert_eq!(world.phase(), Phase::Braked);
    world.want("3.0.0");
    world.pass();
    assert_eq!(
        world.record.history.iter().map(|h| h.release.clone()).collect::<Vec<_>>(),
        [version("1.0.0")]
    );
}

#[test]
fn suspended_in_the_middle() {
    let mut world = World::new();
    world.pass();
    world.channel.suspend = true;
    world.says(Decision::Advance, 99);
    world.sleep(HOUR);
    let suspended = world.pass();
    assert_eq!((suspended.progress.phase, suspended.open, world.weight()), (Phase::Suspended, false, 10_000));
    world.says(Decision::Abort, 99);
    assert!(world.pass().brake.is_some(), "the gate stays on");
}

#[test]
fn steps_edited_in_the_middle() {
    let start = || {
        let mut world = World::new();
        world.pass();
        world.sleep(HOUR);
        world.says(Decision::Advance, 99);
        world.pass();
        assert_eq!(world.weight(), 100_000);
        world
    };
    // One that is inserted before is passed already.
    let mut world = start();
    world.channel.rollout.steps.insert(1, step(50_000, HOUR));
    let progress = world.pass().progress;
    assert_eq!((progress.step, progress.steps, world.weight()), (3, 3, 100_000));
    // The present one is lowered: nothing, or as the channel says.
    let mut world = start();
    world.channel.rollout.steps[1] = step(50_000, HOUR);
    world.pass();
    assert_eq!(world.weight(), 100_000);
    assert!(!world.candidate().returning);
    world.channel.rollout.on_decrease = OnDecrease::Return;
    world.pass();
    assert!(world.candidate().returning, "who is not reached any more goes back");
    assert_eq!((world.weight(), world.candidate().below), (50_000, 50_000));
    // It is raised, or gone: that needs evidence and does not need more time.
    let mut world = start();
    world.channel.rollout.steps[1] = step(300_000, HOUR);
    assert_eq!(world.phase(), Phase::Held);
    world.says(Decision::Advance, 99);
    world.pass();
    assert_eq!(world.weight(), 300_000);
}

#[test]
fn a_step_of_its_own_audience() {
    let mut world = World::new();
    let staff = Audience { custom_ids: vec!["staff-*".into()], ..Audience::default() };
    world.channel.rollout.steps.insert(1, Step { audience: Some(staff.clone()), ..step(ALL, 0) });
    world.pass();
    world.sleep(HOUR);
    world.says(Decision::Advance, 99);
    world.pass();
    let candidate = world.candidate();
    assert_eq!((candidate.weight, candidate.below, &candidate.audience), (ALL, 10_000, &Some(staff.clone())));
    assert_eq!(candidate.reached, [crate::record::Reach { audience: None, weight: 10_000 }]);
    world.says(Decision::Advance, 99);
    world.pass();
    let candidate = world.candidate();
    assert_eq!((candidate.weight, candidate.below, &candidate.audience), (100_000, 10_000, &None));
    assert_eq!(candidate.reached, [crate::record::Reach { audience: Some(staff), weight: ALL }]);
}

/// The same numbers on every machine (xorshift).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

#[test]
fn whatever_happens() {
    for seed in 1..=400_u64 {
        let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let mut world = World::new();
        for _ in 0..60 {
            match dice.roll(16) {
                0 => {
                    world
                        .want(["1.0.0", "2.0.0", "3.0.0", "builtin"][usize::try_from(dice.roll(4)).unwrap()]);
                }
                1 => world.channel.suspend = dice.roll(2) == 0,
                2 => world.away = dice.roll(2) == 0,
                3 => world.ready = dice.roll(4) > 0,
                4 => {
                    let weights = [(10_000, 0), (50_000, HOUR), (100_000, 60), (500_000, 0)];
                    let kept = weights.into_iter().filter(|_| dice.roll(3) > 0);
                    world.channel.rollout.steps = kept.map(|(weight, soak)| step(weight, soak)).collect();
                }
                5 => {
                    let strategies = [Strategy::Auto, Strategy::Steps, Strategy::Steps, Strategy::Immediate];
                    world.channel.rollout.strategy = strategies[usize::try_from(dice.roll(4)).unwrap()];
                }
                6 => {
                    let to = world.now + SignedDuration::from_secs(i64::try_from(dice.roll(7_200)).unwrap());
                    world.freezes = vec![Freeze { name: "f".into(), from: world.now, to, reason: None }];
                }
                7 => {
                    let bad = ["2.0.0", "3.0.0"][usize::try_from(dice.roll(2)).unwrap()];
                    world.brakes.push(brake(&format!("b-{bad}"), bad, None));
                }
                8 => world.brakes.clear(),
                9 => world.now -= SignedDuration::from_secs(i64::try_from(dice.roll(9_000)).unwrap()),
                10 => {
                    world.channel.rollout.ramp =
                        [Ramp::Auto, Ramp::Off][usize::try_from(dice.roll(2)).unwrap()];
                }
                11 | 12 => world.sleep(dice.roll(2 * HOUR)),
                _ => {
                    let all = [
                        Decision::Advance,
                        Decision::Advance,
                        Decision::Hold,
                        Decision::Pause,
                        Decision::Abort,
                    ];
                    world.says(
                        all[usize::try_from(dice.roll(5)).unwrap()],
                        dice.roll(200).try_into().unwrap(),
                    );
                }
            }
            let before = world.record.clone();
            let now = latest(&before).map_or(world.now, |recorded| recorded.max(world.now));
            let shut = !Schedule::new(&world.channel.rollout, &world.freezes, false).is_open(now);
            let next = world.pass();
            let after = &world.record;
            assert!(after.serial >= before.serial, "seed {seed}: the serial only rises");
            assert!(after.salt == before.salt || before.salt.is_none(), "seed {seed}: the salt stays");
            let (Some(was), Some(is)) = (&before.candidate, &after.candidate) else { continue };
            if after.serial != before.serial {
                continue;
            }
            assert!(is.weight >= was.weight, "seed {seed}: the weight never falls");
            assert!(
                is.level - was.level <= 1 && (is.level == was.level) == (is.weight == was.weight),
                "seed {seed}"
            );
            let verdict = world.verdict.as_ref().filter(|verdict| verdict.serial == before.serial);
            let braked = world.brakes.iter().any(|brake| brake.digest == is.digest);
            let bad = verdict.is_some_and(|verdict| verdict.decision >= Decision::Pause);
            if shut || bad || braked || world.channel.suspend || world.away || !world.ready {
                assert_eq!(is.weight, was.weight, "seed {seed}: {:?}", next.progress);
            }
            if bad || braked || is.braked.is_some() || world.channel.suspend {
                assert!(!next.open, "seed {seed}: nobody new");
            }
            let wanted = Some(world.wanted.clone()).filter(|wanted| *wanted != Target::Builtin);
            assert_eq!(next.progress.release.map(Target::Release), wanted, "seed {seed}");
        }
    }
}

#[test]
fn good_evidence_ends_at_everybody() {
    for ramp in [Ramp::Auto, Ramp::Off] {
        for soak in [0, 60] {
            for active in [0, 3, 40, 5_000, 3_000_000] {
                let mut world = World::new();
                world.active = active;
                let staff = Audience { platforms: Some(Platforms::ALL), ..Audience::default() };
                world.channel.rollout = Rollout {
                    strategy: Strategy::Steps,
                    steps: vec![
                        Step { audience: Some(staff), ..step(ALL, soak) },
                        Step { size: Size::Devices(20), ..step(1, soak) },
                        step(50_000, soak),
                        Step { size: Size::Devices(5_000), ..step(1, soak) },
                        step(999_999, soak),
                    ],
                    ramp,
                    ..Rollout::default()
                };
                let mut passes = 0;
                while !world.is_done() {
                    world.says(Decision::Advance, passes * 10);
                    world.pass();
                    world.sleep(30);
                    passes += 1;
                    assert!(passes < 60, "{ramp:?} {soak} {active}: {:?}", world.record.candidate);
                }
            }
        }
    }
}

#[test]
fn a_clock_that_jumps_back_changes_nothing() {
    let mut world = World::new();
    world.pass();
    world.sleep(HOUR);
    world.says(Decision::Advance, 99);
    world.pass();
    let before = world.record.clone();
    world.says(Decision::Advance, 99);
    world.now -= SignedDuration::from_hours(20_000);
    assert_eq!(world.phase(), Phase::Soaking);
    assert_eq!(world.record, before);
}

/// What the last change followed from: kind, reason and the devices of the candidate that had shown an outcome.
fn because(world: &World) -> Vec<(Kind, &str, Option<u32>)> {
    let shown = |because: &Because| because.numbers.map(|numbers| numbers.treatment.shown);
    world.record.because.iter().map(|b| (b.kind, b.reason.as_str(), shown(b))).collect()
}

#[test]
fn what_changes_by_evidence_keeps_it() {
    let mut world = World::new();
    world.pass();
    assert_eq!(because(&world), [], "a start follows from Git");
    world.says(Decision::Hold, 3);
    world.sleep(HOUR);
    world.pass();
    assert_eq!(because(&world), [(Kind::Held, "Test", Some(3))]);
    world.says(Decision::Hold, 50);
    world.pass();
    assert_eq!(because(&world), [(Kind::Held, "Test", Some(3))], "numbers alone change nothing");
    world.says(Decision::Pause, 51);
    world.pass();
    assert_eq!(because(&world), [(Kind::Paused, "Test", Some(51))]);
    world.says(Decision::Advance, 99);
    world.pass();
    // The level that follows has no evidence yet.
    assert_eq!(because(&world), [(Kind::Resumed, "Test", Some(99)), (Kind::Advanced, "Test", Some(99))]);
    world.sleep(2 * HOUR);
    world.pass();
    assert_eq!(because(&world), [], "a verdict on the level before says nothing of this one");
    world.says(Decision::Advance, 200);
    world.pass();
    assert!(world.is_done());
    assert_eq!(because(&world), [(Kind::Completed, "Test", Some(200))]);
    world.want("builtin");
    world.pass();
    assert_eq!(because(&world), [], "Git alone");
}

#[test]
fn what_goes_on_without_enough_evidence_says_so() {
    for (on_inconclusive, reason) in
        [(OnInconclusive::Hold, "Approved"), (OnInconclusive::Advance, "Inconclusive")]
    {
        let mut world = World::new();
        world.channel.gate = Gate { on_inconclusive, ..Gate::default() };
        world.channel.approvals.insert(Approval { release: version("2.0.0"), step: 1 });
        world.pass();
        world.sleep(HOUR);
        world.says(Decision::Hold, 3);
        world.pass();
        world.sleep(24 * HOUR);
        world.pass();
        assert_eq!(because(&world), [(Kind::Advanced, reason, Some(3))]);
        assert!(world.record.because[0].sentence.ends_with(": the gate says so"));
    }
    let mut world = World::new();
    (world.channel.rollout.ramp, world.active) = (Ramp::Auto, 100_000);
    world.pass();
    world.says(Decision::Hold, 20);
    world.pass();
    assert_eq!(because(&world), [(Kind::Advanced, "Opening", Some(20))]);
}

#[test]
fn a_brake_is_kept_with_who_and_why() {
    for (by, shown) in [("gate", Some(10)), ("rosa", None)] {
        let mut world = World::new();
        world.pass();
        world.says(Decision::Abort, 10);
        world.pass();
        world.brakes.push(Braked { by: by.into(), ..brake("b-1", "2.0.0", None) });
        let said = format!("2.0.0 is braked (brake b-1, by {by}: Broken: 5 of 10), so nobody is offered it");
        let message = world.pass().progress.message;
        assert!(message.starts_with(&said), "{message}");
        assert_eq!(because(&world), [(Kind::Braked, "b-1", shown)]);
        // A program that has just begun knows no brakes, and says the same.
        (world.brakes, world.verdict) = (Vec::new(), None);
        assert_eq!(world.pass().progress.message, message);
    }
}

/// The release that everybody has is braked, with one that did well before or none.
#[test]
fn what_is_braked_is_not_served() {
    let mut world = World::new();
    world.channel.rollout.strategy = Strategy::Immediate;
    world.pass();
    assert_eq!(world.pass().served, Some(Target::Release(version("2.0.0"))));
    world.says(Decision::Abort, 10);
    world.brakes.push(brake("b-1", "2.0.0", Some("production")));
    let braked = world.pass();
    assert_eq!((braked.progress.phase, braked.progress.weight), (Phase::Braked, 0));
    assert_eq!(braked.served, Some(Target::Release(version("1.0.0"))));
    assert_eq!(
        braked.progress.message,
        "2.0.0 is braked (brake b-1, by gate: Broken: 5 of 10): devices are offered 1.0.0 instead"
    );
    assert_eq!(because(&world), [(Kind::Braked, "b-1", Some(10))]);
    world.brakes.push(brake("b-2", "1.0.0", Some("beta")));
    let nothing = world.pass();
    assert_eq!(nothing.served, None, "what is paused is no way back either");
    assert!(nothing.progress.message.ends_with("go back to the shipped bundle"), "{nothing:?}");
    world.brakes.clear();
    assert_eq!(world.phase(), Phase::Braked, "only Git lifts it");
    world.channel.allow_held.insert("b-1".into());
    let lifted = world.pass();
    assert_eq!((lifted.progress.phase, lifted.served), (Phase::Completed, world.record.stable.clone()));
    assert_eq!(because(&world), []);
}

#[test]
fn what_was_braked_is_no_way_back() {
    let mut world = World::new();
    world.brakes.push(brake("b-1", "1.0.0", None));
    let started = world.pass();
    assert_eq!((started.progress.phase, started.served), (Phase::Soaking, None));
    assert_eq!((world.record.braked.as_deref(), because(&world).len()), (Some("b-1"), 1));
    world.brakes.clear();
    world.channel.rollout.strategy = Strategy::Immediate;
    world.want("3.0.0");
    world.pass();
    assert!(world.is_done() && world.record.history.is_empty(), "{:?}", world.record);
    assert_eq!(world.record.braked, None);
}

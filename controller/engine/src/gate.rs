//! The gate at work: folds what the trials of running rollouts say, judges them, and brakes at once.
//!
//! It has a task of its own, since a pass of the engine may take as long as Git and bundles take, and a brake must not
//! wait for either. What it finds goes back to the engine as [`Facts`], of which the next plan is made.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use sluice_core::{
    brake::{Brakes, Devices, GATE, Scope},
    channel::{Channel, OnBad, Statistics, Target},
    cohort::{ALL, Cohort, Ppm},
    digest::Digest,
    gate::{Decision, Design, Evidence, Look, Policy, Reason, Records, Share, Verdict, judge},
    ids::{AppId, ChannelName, Version},
    observed::{Braked, Fleet as LineFacts},
    record::{AppRecord, Candidate, LineRecord},
    rollout,
    trial::RolloutId,
};
use sluice_store::{
    control::{BrakeWatch, NewBrake},
    fleet::{Fleet, FleetError},
};
use tokio::{sync::watch, time::MissedTickBehavior};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(500);
/// How long what is said of a rollout stays, while only its numbers change.
const CALM: Duration = Duration::from_secs(10);
/// How often devices are counted.
const COUNT: Duration = Duration::from_secs(15);
/// Entries of journals that are read at one time.
const ENTRIES: usize = 4_096;

/// A rollout that is judged.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Subject {
    tried: Tried,
    policy: Policy,
    /// Whether bad evidence brakes.
    brakes: bool,
    /// Whether Git is told of the brake.
    rollback: bool,
    devices: Devices,
    lifted: Vec<String>,
}

/// What a rollout tries, and how far it has come.
#[derive(Debug, Clone, PartialEq)]
struct Tried {
    id: RolloutId,
    release: Option<Version>,
    digest: Digest,
    level: u32,
    weight: Ppm,
    share: Option<Share>,
    since: Timestamp,
}

/// What is known of the devices of the owner's apps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Facts {
    /// Whether the fleet store is away. Before the first look nobody knows.
    pub(crate) away: bool,
    /// By app, channel and line.
    pub(crate) verdicts: BTreeMap<RolloutId, rollout::Verdict>,
    /// Devices that were active in the last seven days.
    pub(crate) active: BTreeMap<(AppId, ChannelName), u64>,
    /// Those of them that no channel serves.
    pub(crate) unserved: BTreeMap<AppId, u64>,
    /// What is braked.
    pub(crate) brakes: BTreeMap<AppId, Arc<Vec<Braked>>>,
}

impl Default for Facts {
    fn default() -> Self {
        Self {
            away: true,
            verdicts: BTreeMap::new(),
            active: BTreeMap::new(),
            unserved: BTreeMap::new(),
            brakes: BTreeMap::new(),
        }
    }
}

impl Facts {
    /// What is known of one line.
    pub(crate) fn line(&self, app: &AppId, channel: &ChannelName, key: &str, line: &LineRecord) -> LineFacts {
        let id = RolloutId {
            app: app.clone(),
            channel: channel.clone(),
            line: key.to_owned(),
            serial: line.serial,
        };
        let active = self.active.get(&(app.clone(), channel.clone())).copied().unwrap_or_default();
        let unserved = self.unserved.get(app).copied().unwrap_or_default();
        LineFacts { active, unserved, verdict: self.verdicts.get(&id).cloned() }
    }
}

/// A rollout whose journal is folded.
#[derive(Debug)]
struct Running {
    evidence: Evidence,
    design: Design,
    /// Entries that are folded in.
    seen: u64,
    /// What was said last, of which level, and when.
    said: Option<((Decision, Reason, u32), Instant)>,
}

/// Judges the rollouts of one owner.
#[derive(Debug)]
pub(crate) struct Gate {
    fleet: Arc<Fleet>,
    watch: Arc<BrakeWatch>,
    subjects: watch::Receiver<Arc<Vec<Subject>>>,
    facts: watch::Sender<Arc<Facts>>,
    running: BTreeMap<RolloutId, Running>,
    counted: Option<Instant>,
    known: Facts,
    /// The brakes that are in `known`.
    brakes: Option<Arc<Brakes>>,
}

impl Gate {
    /// A gate that will judge what it is told, and says what it finds.
    pub(crate) fn new(
        fleet: Arc<Fleet>,
        watch: Arc<BrakeWatch>,
        subjects: watch::Receiver<Arc<Vec<Subject>>>,
    ) -> (Self, watch::Receiver<Arc<Facts>>) {
        let (facts, found) = watch::channel(Arc::default());
        let (running, known) = (BTreeMap::new(), Facts::default());
        let mut gate = Self { fleet, watch, subjects, facts, running, counted: None, known, brakes: None };
        // What is braked is known from the start, whatever becomes of the fleet store.
        gate.read_brakes();
        gate.facts.send_replace(Arc::new(gate.known.clone()));
        (gate, found)
    }

    /// Looks again and again until the returned future is dropped.
    pub(crate) async fn run(mut self) {
        let mut every = tokio::time::interval(LOOK);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            every.tick().await;
            self.look().await;
        }
    }

    /// Looks once.
    pub(crate) async fn look(&mut self) {
        let subjects = self.subjects.borrow_and_update().clone();
        let writable = self.fleet.figures().last_error.is_none();
        let looked = self.look_at(&subjects, writable).await;
        let away = looked.is_err() || !writable;
        if let Err(error) = looked
            && !self.known.away
        {
            tracing::warn!(%error, "evidence cannot be read: no rollout goes on until it can");
        }
        self.known.away = away;
        self.read_brakes();
        self.facts.send_if_modified(|facts| {
            let differs = **facts != self.known;
            if differs {
                *facts = Arc::new(self.known.clone());
            }
            differs
        });
    }

    async fn look_at(&mut self, subjects: &[Subject], writable: bool) -> Result<(), FleetError> {
        self.count().await?;
        let mut behind: Vec<&Subject> = subjects.iter().collect();
        while !behind.is_empty() {
            let (read, rest) = self.fold(behind).await?;
            for subject in read {
                let Some(verdict) = self.judge(subject, writable) else { continue };
                if verdict.decision == Decision::Abort && subject.brakes {
                    let evidence = serde_json::to_value(&verdict.numbers).ok();
                    let reason = verdict.reason.reason();
                    subject.stop(&self.watch, reason, &verdict.sentence, evidence).await;
                }
                self.say(&subject.tried, verdict);
            }
            behind = rest;
        }
        // Last: what has ended can wait, and a brake cannot.
        let judged: BTreeSet<&RolloutId> = subjects.iter().map(|subject| &subject.tried.id).collect();
        let over: Vec<RolloutId> = self.running.keys().filter(|id| !judged.contains(id)).cloned().collect();
        for id in over {
            self.fleet.end_rollout(&id).await?;
            self.running.remove(&id);
            self.known.verdicts.remove(&id);
        }
        Ok(())
    }

    /// Counts the devices of each channel, now and then. Beyond a thousand to two digits, so that what is planned from it
    /// is not planned again for every device that comes.
    async fn count(&mut self) -> Result<(), FleetError> {
        if self.counted.is_some_and(|counted| counted.elapsed() < COUNT) {
            return Ok(());
        }
        let (mut active, mut unserved) = (BTreeMap::new(), BTreeMap::new());
        for counted in self.fleet.active_devices().await? {
            let (Ok(app), devices) = (counted.app.parse(), two_digits(counted.devices)) else { continue };
            match counted.channel.as_deref().map(str::parse) {
                None => _ = unserved.insert(app, devices),
                Some(Ok(channel)) => _ = active.insert((app, channel), devices),
                Some(Err(_)) => {}
            }
        }
        (self.known.active, self.known.unserved) = (active, unserved);
        self.counted = Some(Instant::now());
        Ok(())
    }

    /// Folds the next entries of these, of all in one question: a database far away is asked once a look and not once a
    /// rollout. Returns whose journals are read to the end, and whose may go on.
    async fn fold<'s>(
        &mut self,
        subjects: Vec<&'s Subject>,
    ) -> Result<(Vec<&'s Subject>, Vec<&'s Subject>), FleetError> {
        let most = (ENTRIES / subjects.len()).max(1);
        let mut of = Vec::with_capacity(subjects.len());
        for Subject { tried: Tried { id, .. }, policy, .. } in &subjects {
            let design = Design::new(policy, &Records::default());
            let fresh = || Running { evidence: Evidence::new(design), design, seen: 0, said: None };
            let running = self.running.entry(id.clone()).or_insert_with(fresh);
            if running.design != design {
                *running = fresh();
            }
            of.push((id, running.seen));
        }
        let news = self.fleet.news(&of, most).await?;
        let (mut read, mut rest) = (Vec::new(), Vec::new());
        for (subject, entries) in subjects.into_iter().zip(news) {
            if let Some(running) = self.running.get_mut(&subject.tried.id) {
                for (number, entry) in &entries {
                    running.evidence.apply(entry);
                    running.seen = *number;
                }
            }
            if entries.len() < most { read.push(subject) } else { rest.push(subject) }
        }
        Ok((read, rest))
    }

    /// Judges by what is folded.
    fn judge(&self, subject: &Subject, writable: bool) -> Option<Verdict> {
        let Subject { tried: Tried { id, level, weight, share, since, .. }, policy, .. } = subject;
        let evidence = &self.running.get(id)?.evidence;
        let look = Look {
            now: Timestamp::now().as_second(),
            first_level: *level,
            weight_ppm: *weight,
            began: since.as_second(),
            // The schedule says by itself how long a step soaks.
            soaked: true,
            available: writable,
            last: share.is_none(),
            shares: share.as_slice(),
            paused: &[],
        };
        Some(judge(evidence, policy, &look))
    }

    /// Passes on a verdict when it is another one, and its numbers now and then.
    fn say(&mut self, tried: &Tried, verdict: Verdict) {
        let Tried { id, level, .. } = tried;
        let Some(running) = self.running.get_mut(id) else { return };
        let what = (verdict.decision, verdict.reason, *level);
        if running.said.is_some_and(|(said, at)| said == what && at.elapsed() < CALM) {
            return;
        }
        running.said = Some((what, Instant::now()));
        let verdict = rollout::Verdict {
            serial: id.serial,
            level: *level,
            decision: verdict.decision,
            reason: verdict.reason.reason().to_owned(),
            sentence: verdict.sentence,
            treatment: verdict.numbers.treatment,
            control: verdict.numbers.control,
        };
        self.known.verdicts.insert(id.clone(), verdict);
    }

    fn read_brakes(&mut self) {
        let brakes = self.watch.brakes().load_full();
        if self.brakes.as_ref().is_some_and(|known| Arc::ptr_eq(known, &brakes)) {
            return;
        }
        let mut all: BTreeMap<AppId, Vec<Braked>> = BTreeMap::new();
        for brake in brakes.iter() {
            let channel = match &brake.scope {
                Scope::App => None,
                Scope::Channel(channel) => Some(channel.clone()),
            };
            let (by, why) = (brake.by.clone(), brake.why.clone());
            let braked = Braked { id: brake.id.to_string(), digest: brake.digest, channel, by, why };
            all.entry(brake.app.clone()).or_default().push(braked);
        }
        self.known.brakes = all.into_iter().map(|(app, brakes)| (app, Arc::new(brakes))).collect();
        self.brakes = Some(brakes);
    }
}

impl Subject {
    /// Whether it tries this bundle on this channel.
    pub(crate) fn is(&self, app: &AppId, channel: &ChannelName, digest: &Digest) -> bool {
        let Tried { id, digest: own, .. } = &self.tried;
        (&id.app, &id.channel, own) == (app, channel, digest)
    }

    /// Stops its bundle, unless that was done. Tried again at the next look or plan when the store is away.
    pub(crate) async fn stop(
        &self,
        watch: &BrakeWatch,
        reason: &str,
        sentence: &str,
        evidence: Option<serde_json::Value>,
    ) {
        let Self { tried: Tried { id, release, digest, .. }, devices, rollback, lifted, .. } = self;
        let brakes = watch.brakes().load();
        let acting = brakes.of(id.app.as_str()).and_then(|app| app.on(digest, id.channel.as_str(), lifted));
        if acting.is_some_and(|acting| acting.stops()) {
            return;
        }
        let wanted = NewBrake {
            app: id.app.clone(),
            digest: *digest,
            release: release.clone(),
            scope: Scope::Channel(id.channel.clone()),
            devices: *devices,
            by: GATE.to_owned(),
            why: format!("{reason}: {sentence}"),
            at: Timestamp::now(),
            evidence,
            rollback: *rollback,
            lifted: lifted.clone(),
        };
        if let Err(error) = watch.brake(wanted).await {
            let RolloutId { app, channel, .. } = id;
            tracing::error!(%app, %channel, %error, "the brake could not be written; it is tried again");
        }
    }
}

/// The rollouts of an app that are judged, as `channels` ask for it.
pub(crate) fn subjects<'a>(
    record: &'a AppRecord,
    channels: impl Fn(&ChannelName) -> Option<&'a Channel>,
) -> Vec<Subject> {
    let mut all = Vec::new();
    for (name, channel) in &record.channels {
        let Some(declared) = channels(name) else { continue };
        for (key, line) in &channel.lines {
            let id = RolloutId {
                app: record.app.clone(),
                channel: name.clone(),
                line: key.clone(),
                serial: line.serial,
            };
            all.extend(subject(id, line, declared));
        }
    }
    all
}

fn subject(id: RolloutId, line: &LineRecord, channel: &Channel) -> Option<Subject> {
    let gate = &channel.gate;
    Some(Subject {
        tried: tried(id, line)?,
        policy: policy(gate.statistics),
        brakes: gate.on_bad != OnBad::Notify,
        rollback: gate.on_bad == OnBad::Rollback,
        devices: gate.devices,
        lifted: channel.allow_held.iter().cloned().collect(),
    })
}

/// What is tried on a line: its candidate, or else what everybody has since not long ago.
fn tried(id: RolloutId, line: &LineRecord) -> Option<Tried> {
    if let Some(candidate) = line.candidate.as_ref().filter(|candidate| candidate.braked.is_none()) {
        let Candidate { release, digest, order, level, weight, below, level_since, .. } = candidate;
        let cohort =
            Cohort { salt: line.salt?, serial: line.serial, order: *order, weight: *weight, below: *below };
        let (treatment, control) = (f64::from(cohort.treatment()), f64::from(cohort.control()));
        let share =
            (control > 0.0).then(|| Share { level: *level, treatment: treatment / (treatment + control) });
        return Some(Tried {
            id,
            release: Some(release.clone()),
            digest: *digest,
            level: *level,
            weight: *weight,
            share,
            since: *level_since,
        });
    }
    // There is no control any more, and what it breaks shows all the same. It is judged by its own rollout: what a later
    // one showed says nothing of it.
    let watch = line.watch.as_ref().filter(|watch| watch.serial > 0)?;
    let release = match &line.stable {
        Some(Target::Release(version)) => Some(version.clone()),
        _ => None,
    };
    Some(Tried {
        id: RolloutId { serial: watch.serial, ..id },
        release,
        digest: watch.digest,
        level: u32::MAX,
        weight: ALL,
        share: None,
        since: watch.until,
    })
}

/// The gate's own values, where the channel names none.
fn policy(statistics: Statistics) -> Policy {
    let Statistics { alpha, horizon, min_exposure, margin } = statistics;
    let share = |ppm: Ppm| f64::from(ppm) / f64::from(ALL);
    let own = Policy::default();
    Policy {
        alpha: alpha.map_or(own.alpha, share),
        horizon: horizon.and_then(|seconds| i64::try_from(seconds).ok()).unwrap_or(own.horizon),
        min_exposure: min_exposure.and_then(|n| u32::try_from(n).ok()).unwrap_or(own.min_exposure),
        early_margin: margin.map_or(own.early_margin, share),
        late_margin: margin.map_or(own.late_margin, share),
        ..own
    }
}

/// A count of devices, beyond a thousand rounded down to two digits.
fn two_digits(devices: u64) -> u64 {
    let mut unit = 1;
    while devices / unit >= 1_000 {
        unit *= 10;
    }
    devices / unit * unit
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channel() -> Channel {
        let line = sluice_core::channel::Line {
            native: None,
            platforms: sluice_core::channel::Platforms::ALL,
            target: sluice_core::channel::Target::Release("1.2.0".parse().unwrap()),
        };
        let access = sluice_core::channel::Access::default();
        Channel::new(
            "shop-production".into(),
            "com.example.shop".parse().unwrap(),
            "production".parse().unwrap(),
            vec![line],
            access,
        )
    }

    /// What a rollout that ended badly showed is not held against the release that was good before it.
    #[test]
    fn a_release_is_judged_by_its_own_rollout() {
        let watch = sluice_core::record::Watch {
            serial: 2,
            digest: Digest::of(b"good"),
            until: Timestamp::MAX,
            adverse: None,
        };
        let line = LineRecord { serial: 3, watch: Some(watch), ..LineRecord::default() };
        let id = RolloutId {
            app: "com.example.shop".parse().unwrap(),
            channel: "production".parse().unwrap(),
            line: "*".into(),
            serial: line.serial,
        };
        let subject = subject(id, &line, &channel()).unwrap();
        assert_eq!((subject.tried.id.serial, subject.tried.digest), (2, Digest::of(b"good")));
    }

    #[test]
    fn small_fleets_are_counted_exactly() {
        let all = [0, 199, 200, 999, 1_000, 1_234, 56_789, 1_999_999].map(two_digits);
        assert_eq!(all, [0, 199, 200, 999, 1_000, 1_230, 56_700, 1_990_000]);
    }
}

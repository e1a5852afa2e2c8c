//! The state machine of one line.

mod because;
mod brakes;
mod progressing;
mod settle;
mod words;

use jiff::Timestamp;

use super::{
    Blocked, BrakeRequest, Decision, Facts, Next, Phase, Progress, Schedule, Verdict, forecast::after,
};
use crate::{
    channel::{Channel, Size, Strategy, Target, Urgent},
    cohort::Salt,
    decisions::{Because, changes},
    digest::Digest,
    ids::Version,
    observed::Braked,
    record::{Candidate, LineRecord},
};

/// What a line that wants `wanted` becomes. The same facts again change nothing more.
pub fn next(channel: &Channel, wanted: &Target, before: &LineRecord, facts: &Facts<'_>) -> Next {
    // Whole seconds, as records are read by people; and never before what is recorded.
    let now = Timestamp::from_second(facts.now.as_second()).unwrap_or(facts.now);
    let now = latest(before).map_or(now, |recorded| recorded.max(now));
    let urgent = matches!((&channel.urgent, wanted), (Some(Urgent { release, .. }), Target::Release(wanted)) if release == wanted);
    let schedule = Schedule::new(&channel.rollout, facts.freezes, urgent);
    let (record, because) = (before.clone(), Vec::new());
    let mut pass = Pass { channel, wanted, facts, now, schedule, record, open: false, brake: None, because };
    let progress = pass.run();
    let served = pass.served();
    let Pass { mut record, open, brake, mut because, .. } = pass;
    let told = changes(before, &record);
    if !told.is_empty() {
        because.retain(|because| told.iter().any(|change| because.is_of(change.kind, change.reason)));
        record.because = because;
    }
    Next { record, served, open, progress, brake }
}

/// The last time that is recorded.
fn latest(record: &LineRecord) -> Option<Timestamp> {
    let candidate = record.candidate.as_ref().map(|candidate| {
        let Candidate { started, step_since, level_since, soaking_since, held_since, .. } = candidate;
        let optional = [*soaking_since, *held_since].into_iter().flatten();
        optional.fold(*started.max(step_since).max(level_since), Timestamp::max)
    });
    candidate.max(record.history.iter().map(|healthy| healthy.until).max())
}

/// One call of [`next`].
struct Pass<'a> {
    channel: &'a Channel,
    wanted: &'a Target,
    facts: &'a Facts<'a>,
    now: Timestamp,
    schedule: Schedule<'a>,
    record: LineRecord,
    open: bool,
    brake: Option<BrakeRequest>,
    /// What changes of this pass follow from.
    because: Vec<Because>,
}

/// Whether something was done, so that there may be more to do, or what is waited for.
enum Turn {
    Moved,
    /// The last step is over.
    Finished,
    Waits(Progress),
}

impl Pass<'_> {
    fn run(&mut self) -> Progress {
        loop {
            self.open = false;
            self.look_after_stable();
            let running = self.record.candidate.as_ref().map(|candidate| &candidate.release);
            let turn = match self.wanted {
                Target::Release(version) if running == Some(version) => self.go_on(),
                wanted if self.record.stable.as_ref() == Some(wanted) => Turn::Waits(self.settle()),
                _ => self.begin(),
            };
            match turn {
                Turn::Waits(progress) => return progress,
                Turn::Finished => self.complete(),
                Turn::Moved => {}
            }
        }
    }

    /// Starts the rollout of what is wanted, or puts it into force at once.
    fn begin(&mut self) -> Turn {
        let Target::Release(version) = self.wanted else {
            if self.channel.suspend {
                return Turn::Waits(self.suspended());
            }
            return Turn::Finished;
        };
        let Some(digest) = self.facts.bundles.get(version).map(|b| b.digest).filter(|_| self.facts.ready)
        else {
            return Turn::Waits(
                self.waits(Phase::Preparing, format!("the bundle of {version} is not ready")),
            );
        };
        if let Some(progress) = self.refused(version, digest) {
            return Turn::Waits(progress);
        }
        if self.channel.suspend {
            return Turn::Waits(self.suspended());
        }
        if self.record.history.iter().any(|healthy| healthy.release == *version && healthy.digest == digest) {
            return Turn::Finished;
        }
        let rollout = &self.channel.rollout;
        let first = self.record.stable.is_none() && self.record.candidate.is_none();
        let by_count = match rollout.strategy {
            Strategy::Immediate => false,
            Strategy::Auto => !first,
            Strategy::Steps => rollout.steps.iter().any(|step| matches!(step.size, Size::Devices(_))),
        };
        if by_count && self.facts.fleet_away {
            let message = format!(
                "{version} does not start: the fleet store is away, so nobody knows how many devices there are"
            );
            return Turn::Waits(self.waits(Phase::EvidenceUnavailable, message));
        }
        let steps = if first && rollout.strategy == Strategy::Auto {
            Vec::new()
        } else {
            super::plan(rollout, self.facts.active)
        };
        if let Some(mut progress) = self.closed(&format!("the rollout of {version}")) {
            let wake = progress.wake;
            progress.steps = count(steps.len());
            progress.upcoming = super::forecast::upcoming(&steps, 0, 0, wake, &self.schedule);
            return Turn::Waits(progress);
        }
        if steps.is_empty() {
            return Turn::Finished;
        }
        self.start(version.clone(), digest, &steps);
        Turn::Moved
    }

    fn start(&mut self, release: Version, digest: Digest, steps: &[super::Planned]) {
        self.supersede();
        self.record.serial += 1;
        self.record.salt.get_or_insert(Salt::from_bytes(self.facts.seed));
        self.record.kept.retain(|kept| *kept != release);
        let mut candidate = Candidate {
            release,
            digest,
            started: self.now,
            active: self.facts.active,
            order: self.channel.rollout.order,
            step: 0,
            step_since: self.now,
            target: 0,
            level: 0,
            weight: 0,
            below: 0,
            level_since: self.now,
            audience: None,
            reached: Vec::new(),
            soaked: 0,
            soaking_since: None,
            returning: false,
            held_since: None,
            paused: None,
            braked: None,
        };
        let ramp = self.channel.rollout.ramp;
        candidate.enter(0, &steps[0], self.now, |target| progressing::first(ramp, target, self.facts.active));
        candidate.level = 0;
        candidate.soak(self.now, !self.facts.fleet_away);
        self.record.candidate = Some(candidate);
    }

    /// What the gate says of the newest rollout, whose bundle this is. Where Git has lifted the brake that an Abort led
    /// to, that verdict counts no more.
    fn verdict(&self, digest: Digest) -> Option<&Verdict> {
        let lifted = |brake: &Braked| brake.digest == digest && self.channel.allow_held.contains(&brake.id);
        let verdict = self.facts.verdict.filter(|verdict| verdict.serial == self.record.serial)?;
        let overruled = verdict.decision == Decision::Abort && self.facts.brakes.iter().any(lifted);
        (!overruled).then_some(verdict)
    }

    /// Why `what` may not go on now, by the schedule alone.
    fn closed(&self, what: &str) -> Option<Progress> {
        let wake = self.schedule.next_open(self.now);
        let until = wake.map_or_else(|| "for ever".to_owned(), |wake| format!("until {wake}"));
        let (phase, message) = match self.schedule.blocked(self.now)? {
            Blocked::NotBefore(_) => (Phase::NotBefore, format!("{what} waits {until}, as the channel asks")),
            Blocked::Frozen(freeze) => {
                let reason = freeze.reason.as_ref().map_or_else(String::new, |reason| format!(": {reason}"));
                (Phase::Frozen, format!("{what} waits {until}: freeze {} is on{reason}", freeze.name))
            }
            Blocked::Window => (Phase::WaitingForWindow, format!("{what} waits for its window, {until}")),
            Blocked::Never(why) => (Phase::WaitingForWindow, format!("{what} waits {until}: {why}")),
        };
        Some(Progress { wake, ..self.waits(phase, message) })
    }

    fn suspended(&self) -> Progress {
        self.waits(
            Phase::Suspended,
            format!("the channel is suspended, so nobody is moved to {}", self.wanted),
        )
    }

    /// A state that has no steps.
    fn waits(&self, phase: Phase, message: String) -> Progress {
        let release = match self.wanted {
            Target::Release(version) => Some(version.clone()),
            Target::Builtin => None,
        };
        Progress { release, ..Progress::new(phase, message) }
    }
}

impl Verdict {
    /// Whether the release must not go on.
    fn is_adverse(&self) -> bool {
        matches!(self.decision, Decision::Pause | Decision::Abort)
    }
}

/// A number of steps.
fn count(steps: usize) -> u32 {
    u32::try_from(steps).unwrap_or(u32::MAX)
}

#[cfg(test)]
#[path = "next/tests.rs"]
mod tests;

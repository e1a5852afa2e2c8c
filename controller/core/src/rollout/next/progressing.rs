//! A rollout on its way: from step to step.

use jiff::Timestamp;

use super::{
    Decision, Pass, Phase, Progress, Turn, Verdict, after, count,
    words::{self, Then},
};
use crate::{
    channel::{OnBad, OnDecrease, OnInconclusive, Ramp},
    cohort::Ppm,
    decisions::Kind,
    record::{Candidate, Reach},
    rollout::{
        forecast::{seconds, upcoming},
        progress::percent,
        steps::{Planned, opening, plan},
    },
};

/// Where a candidate is among the steps of its channel as they are now.
struct Place {
    /// The step that it is in; `None`: its weight is that of no step any more.
    step: Option<usize>,
    /// The step that follows; the number of steps: everybody.
    next: usize,
}

/// How far a candidate is, for people.
pub(super) fn share(candidate: &Candidate) -> String {
    let of = if candidate.audience.is_some() { " of the audience of its step" } else { "" };
    format!("{}{of}", percent(candidate.weight))
}

/// The weight with which a step begins.
pub(super) fn first(ramp: Ramp, target: Ppm, active: u64) -> Ppm {
    match ramp {
        Ramp::Auto => opening(target, active, 0),
        Ramp::Off => target,
    }
}

impl Candidate {
    /// Enters a step.
    pub(super) fn enter(&mut self, index: usize, step: &Planned, now: Timestamp, first: impl Fn(Ppm) -> Ppm) {
        let here = Reach { audience: self.audience.take(), weight: self.weight };
        if here.weight > 0 {
            self.reached.retain(|reach| reach.audience != here.audience);
            self.reached.push(here);
        }
        let known = self.reached.iter().position(|reach| reach.audience == step.audience);
        let before = known.map_or(0, |known| self.reached.remove(known).weight);
        self.step = count(index);
        self.step_since = now;
        self.audience.clone_from(&step.audience);
        self.target = step.weight.max(before);
        self.weight = before;
        let weight = if self.audience.is_none() { first(self.target) } else { self.target };
        self.raise(weight.max(before), now);
    }

    /// Another weight comes into force.
    fn raise(&mut self, weight: Ppm, now: Timestamp) {
        // Of a part of the audience, too, whom the steps for everybody reached is not added by this level.
        self.below = self.weight.max(self.general()).min(weight);
        self.weight = weight;
        self.level += 1;
        self.level_since = now;
        (self.soaked, self.soaking_since, self.held_since) = (0, None, None);
    }

    /// Counts the time that it soaks: only while evidence can arrive, and at the full weight of its step.
    pub(super) fn soak(&mut self, now: Timestamp, healthy: bool) {
        match self.soaking_since {
            None if healthy && self.weight >= self.target => self.soaking_since = Some(now),
            Some(since) if !healthy => {
                self.soaked += seconds(since, now);
                self.soaking_since = None;
            }
            _ => {}
        }
    }

    fn soaked(&self, now: Timestamp) -> u64 {
        self.soaked + self.soaking_since.map_or(0, |since| seconds(since, now))
    }

    /// Where it is among `steps`, which may have been edited since.
    fn place(&self, steps: &[Planned]) -> Place {
        let same = |step: &Planned| step.weight == self.target && step.audience == self.audience;
        let index = usize::try_from(self.step).unwrap_or(usize::MAX);
        let step = if steps.get(index).is_some_and(same) { Some(index) } else { steps.iter().position(same) };
        let next = step.map_or_else(
            || {
                let general = self.reach();
                let beyond = |step: &Planned| step.audience.is_none() && step.weight > general;
                steps.iter().position(beyond).unwrap_or(steps.len())
            },
            |step| step + 1,
        );
        Place { step, next }
    }

    /// The share of everybody that it reaches or is on its way to.
    fn reach(&self) -> Ppm {
        if self.audience.is_none() { self.target } else { self.general() }
    }

    /// The share of everybody that steps before the present one reached, when that one is for a part of them.
    fn general(&self) -> Ppm {
        if self.audience.is_none() {
            return 0;
        }
        self.reached.iter().find(|reach| reach.audience.is_none()).map_or(0, |reach| reach.weight)
    }
}

impl Pass<'_> {
    /// One turn of a rollout that runs.
    pub(super) fn go_on(&mut self) -> Turn {
        let (now, away) = (self.now, self.facts.fleet_away);
        let Some(mut candidate) = self.record.candidate.take() else { return Turn::Moved };
        let steps = plan(&self.channel.rollout, candidate.active);
        candidate.soak(now, !away);
        candidate.braked = self.standing(candidate.digest, candidate.braked.take());
        if let Some(verdict) = self.verdict(candidate.digest).cloned() {
            self.pause(&mut candidate, &verdict);
        }
        let turn = self.turn(&mut candidate, &steps);
        self.record.candidate = Some(candidate);
        turn
    }

    /// A pause lasts as long as what causes it.
    fn pause(&mut self, candidate: &mut Candidate, verdict: &Verdict) {
        match (verdict.decision, candidate.paused.is_some()) {
            (Decision::Pause, false) => {
                candidate.paused = Some(verdict.sentence.clone());
                self.follows(Kind::Paused, verdict);
            }
            (Decision::Advance | Decision::Hold, true) => {
                candidate.paused = None;
                self.follows(Kind::Resumed, verdict);
            }
            _ => {}
        }
    }

    fn turn(&mut self, candidate: &mut Candidate, steps: &[Planned]) -> Turn {
        let place = candidate.place(steps);
        if let Some((phase, message)) = self.stopped(candidate) {
            return Turn::Waits(self.report(candidate, steps, &place, phase, message, None));
        }
        self.open = candidate.weight > 0;
        if !self.facts.ready {
            let message = format!("the bundle of {} is not ready", candidate.release);
            return Turn::Waits(self.report(candidate, steps, &place, Phase::Preparing, message, None));
        }
        if self.lower(candidate, steps, &place) {
            return Turn::Moved;
        }
        let what = format!("the rollout of {}", candidate.release);
        let advance = self.is_advance(candidate);
        // Everybody at once needs no evidence.
        let at_once = steps.is_empty();
        if candidate.weight < candidate.target && !at_once {
            let shown =
                self.verdict(candidate.digest).map_or(0, |verdict| u64::from(verdict.treatment.shown));
            let ramp = if candidate.step == 0 { self.channel.rollout.ramp } else { Ramp::Off };
            let weight = match ramp {
                Ramp::Auto if !advance => opening(candidate.target, candidate.active, shown),
                _ => candidate.target,
            };
            let (phase, message) = if self.facts.fleet_away {
                away(candidate)
            } else if weight <= candidate.weight || self.is_bad(candidate) {
                let message = format!(
                    "{} opens: more devices follow as the first ones show that they do well",
                    candidate.release
                );
                (Phase::Progressing, message)
            } else if let Some(closed) = self.closed(&what) {
                return Turn::Waits(self.closed_at(closed, candidate, steps, &place));
            } else {
                self.opens(candidate, ramp, advance);
                candidate.raise(weight, self.now);
                candidate.soak(self.now, !self.facts.fleet_away);
                return Turn::Moved;
            };
            return Turn::Waits(self.report(candidate, steps, &place, phase, message, None));
        }
        if !at_once && let Some(waits) = self.unproven(candidate, steps, &place, advance) {
            return Turn::Waits(waits);
        }
        if let Some(closed) = self.closed(&what) {
            return Turn::Waits(self.closed_at(closed, candidate, steps, &place));
        }
        if !at_once {
            let kind = if place.next < steps.len() { Kind::Advanced } else { Kind::Completed };
            self.goes(kind, candidate, advance);
        }
        let Some(step) = steps.get(place.next) else { return Turn::Finished };
        candidate.enter(place.next, step, self.now, |target| target);
        candidate.soak(self.now, !self.facts.fleet_away);
        Turn::Moved
    }

    /// Why nobody new may be offered it, whatever else holds.
    fn stopped(&mut self, candidate: &Candidate) -> Option<(Phase, String)> {
        let release = &candidate.release;
        if let Some(id) = &candidate.braked {
            return Some((Phase::Braked, self.ended(release, id)));
        }
        if self.channel.gate.on_bad != OnBad::Notify
            && let Some(Verdict { reason, sentence, .. }) =
                self.verdict(candidate.digest).filter(|verdict| verdict.decision == Decision::Abort).cloned()
        {
            self.ask_for_brake(candidate.digest, &reason, &sentence);
            return Some((Phase::Braked, format!("{release} is being braked: {sentence}")));
        }
        if let Some(paused) = &candidate.paused {
            return Some((Phase::Paused, format!("nobody new is offered {release}: {paused}")));
        }
        if let Some(progress) = self.refused(release, candidate.digest) {
            return Some((progress.phase, progress.message));
        }
        let message = || format!("the channel is suspended, so nobody new is offered {release}");
        self.channel.suspend.then(|| (Phase::Suspended, message()))
    }

    /// Lowers the weight to that of an edited step, where the channel wants that. It stays above nothing: to take a
    /// release back from everybody is a change of `release`.
    fn lower(&mut self, candidate: &mut Candidate, steps: &[Planned], place: &Place) -> bool {
        let wanted = self.channel.rollout.on_decrease == OnDecrease::Return;
        if !wanted || place.step.is_some() || candidate.audience.is_some() {
            return false;
        }
        let below = |step: &Planned| step.audience.is_none() && step.weight < candidate.target;
        let Some(index) = steps.iter().rposition(below) else { return false };
        candidate.step = count(index);
        candidate.step_since = self.now;
        candidate.target = steps[index].weight;
        candidate.returning |= candidate.target < candidate.weight;
        candidate.raise(candidate.weight.min(candidate.target), self.now);
        candidate.soak(self.now, !self.facts.fleet_away);
        true
    }

    /// What the step that it is in still lacks, beside time at which it may go on.
    fn unproven(
        &mut self,
        candidate: &mut Candidate,
        steps: &[Planned],
        place: &Place,
        advance: bool,
    ) -> Option<Progress> {
        let (now, release) = (self.now, candidate.release.clone());
        let step = place.step.map(|index| &steps[index]);
        let soak = step.map_or(0, |step| step.soak);
        let left = soak.saturating_sub(candidate.soaked(now));
        let approved = step.is_some_and(|step| {
            let approval = crate::channel::Approval { release: release.clone(), step: step.number };
            self.channel.approvals.contains(&approval)
        });
        if left > 0 && candidate.soaking_since.is_some() {
            let ready = after(now, left);
            let message = words::soaking(candidate, ready, step, steps.get(place.next), approved);
            let ready_at = ready.filter(|_| step.is_none_or(|step| !step.approval || approved));
            let mut progress = self.report(candidate, steps, place, Phase::Soaking, message, ready_at);
            progress.wake = ready;
            return Some(progress);
        }
        if self.facts.fleet_away {
            let (phase, message) = away(candidate);
            return Some(self.report(candidate, steps, place, phase, message, None));
        }
        if !advance {
            if candidate.held_since.is_none() {
                self.holds(candidate);
            }
            let since = *candidate.held_since.get_or_insert(now);
            let until = after(since, self.channel.rollout.max_hold);
            let overdue = until.is_none_or(|until| now >= until);
            let gate = self.channel.gate;
            let goes = match gate.on_inconclusive {
                OnInconclusive::Advance => overdue,
                OnInconclusive::Hold => overdue && approved,
                OnInconclusive::Rollback => false,
            };
            if overdue && gate.on_inconclusive == OnInconclusive::Rollback && !self.is_bad(candidate) {
                let sentence = format!("there was not enough evidence for {release} since {since}");
                self.ask_for_brake(candidate.digest, "Inconclusive", &sentence);
                self.open = false;
                let message = format!("{release} is being braked: {sentence}");
                return Some(self.report(candidate, steps, place, Phase::Braked, message, None));
            }
            if !goes || self.is_bad(candidate) {
                let reason = self
                    .verdict(candidate.digest)
                    .map_or("EvidenceMissing", |verdict| verdict.reason.as_str());
                let number = step.map_or(candidate.step + 1, |step| step.number);
                let holds = gate.on_inconclusive == OnInconclusive::Hold;
                let first =
                    self.record.stable.is_none() && matches!(reason, "NoKnownDevices" | "EvidenceMissing");
                let then = if overdue && self.is_bad(candidate) {
                    Then::Told
                } else if holds && approved {
                    Then::Approved(until)
                } else if first {
                    Then::First { approval: holds, from: until.filter(|_| !overdue) }
                } else if overdue {
                    Then::Decide
                } else {
                    Then::Wait
                };
                let (then, share) = (then.sentence(number), share(candidate));
                let message = format!("{release} is held at {share} since {since}: {reason}{then}");
                let mut progress = self.report(candidate, steps, place, Phase::Held, message, None);
                progress.since = Some(since);
                progress.wake = until.filter(|_| !overdue);
                return Some(progress);
            }
        }
        if step.is_some_and(|step| step.approval) && !approved {
            let number = step.map_or(0, |step| step.number);
            let message = format!(
                "{release} may leave {}: add `{{ release: {release}, step: {number} }}` to `spec.approvals`",
                share(candidate)
            );
            return Some(self.report(candidate, steps, place, Phase::WaitingForApproval, message, None));
        }
        None
    }

    /// Whether the gate says of the present level that it may be left.
    fn is_advance(&self, candidate: &Candidate) -> bool {
        !self.facts.fleet_away
            && self.said(candidate).is_some_and(|verdict| verdict.decision == Decision::Advance)
    }

    /// Whether the gate says that it must not go on.
    fn is_bad(&self, candidate: &Candidate) -> bool {
        self.verdict(candidate.digest).is_some_and(Verdict::is_adverse)
    }

    /// What the gate says of the present level.
    pub(super) fn said(&self, candidate: &Candidate) -> Option<&Verdict> {
        self.verdict(candidate.digest).filter(|verdict| verdict.level == candidate.level)
    }

    fn closed_at(
        &self,
        closed: Progress,
        candidate: &Candidate,
        steps: &[Planned],
        place: &Place,
    ) -> Progress {
        let Progress { phase, message, wake, .. } = closed;
        Progress { wake, ..self.report(candidate, steps, place, phase, message, wake) }
    }

    /// What is said of a candidate. `ready`: when it may leave its weight, if that follows from time alone.
    fn report(
        &self,
        candidate: &Candidate,
        steps: &[Planned],
        place: &Place,
        phase: Phase,
        message: String,
        ready: Option<Timestamp>,
    ) -> Progress {
        let opens = candidate.weight < candidate.target;
        let from = if opens { place.step.unwrap_or(place.next) } else { place.next };
        Progress {
            since: Some(candidate.level_since),
            verdict: self.said(candidate).cloned().map(Box::new),
            weight: candidate.weight,
            limited: candidate.audience.is_some(),
            step: place.step.map_or(candidate.step, count) + 1,
            steps: count(steps.len()),
            upcoming: upcoming(steps, from, candidate.weight, ready, &self.schedule),
            ..self.waits(phase, message)
        }
    }
}

fn away(candidate: &Candidate) -> (Phase, String) {
    let message = format!(
        "{} stays at {}: the fleet store is away, so nothing follows from what devices do not say",
        candidate.release,
        share(candidate)
    );
    (Phase::EvidenceUnavailable, message)
}

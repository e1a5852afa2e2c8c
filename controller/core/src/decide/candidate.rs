//! The candidate of a line: who is offered it, who keeps it, and who takes part in its trial.

use crate::{
    brake::Acting,
    snapshot::{ServedCandidate, ServedLine},
    trial::{Arm, Membership},
};

use super::{Answer, Asking, Decision, How, Step, Trial, stable::Running};

impl<'s> Asking<'s, '_> {
    /// The answer that the line's candidate makes, if it makes one; and the trial that the device takes part in, also
    /// when it makes none.
    pub(super) fn candidate(
        &self,
        line: &'s ServedLine,
        running: Running<'s>,
        decision: &mut Decision<'s>,
    ) -> Option<Answer<'s>> {
        let candidate = line.candidate.as_ref()?;
        let (bundle, trace) = (&*candidate.bundle, &mut decision.trace);
        let version = bundle.name.as_str();
        trace.push(Step::Candidate { version, weight: candidate.cohort.weight });
        let acting = self.acting(bundle);
        if let Some(acting) = acting.filter(Acting::stops) {
            trace.push(Step::Braked { version, brake: acting.brake });
            return None;
        }
        let fault = self.key_fault(bundle);
        if self.request.current == version {
            // Who runs it keeps it, whatever became of the cohort; but a key that does not fit is said first.
            if let Some(fault) = fault {
                trace.push(fault.step);
                return Some(fault.answer());
            }
            let rank = candidate.cohort.rank(&self.request.device);
            decision.trial = self.trial(line, candidate, rank, Arm::Treatment).filter(|_| acting.is_none());
            say_trial(decision);
            decision.trace.push(Step::AlreadyRuns { version });
            return Some(Answer::NothingNew);
        }
        if let Some(fault) = fault.or_else(|| self.policy_fault(bundle)) {
            trace.push(fault.step);
            return None;
        }
        if self.has_failed(bundle) {
            trace.push(Step::FailedHere { version });
            return None;
        }
        if running.stays_rather_than(bundle) {
            return None;
        }
        if let Some(acting) = acting {
            trace.push(Step::Paused { version, brake: acting.brake });
            return None;
        }
        if !candidate.open {
            trace.push(Step::Closed { version });
            return None;
        }
        let rank = candidate.cohort.rank(&self.request.device);
        let reached = candidate.cohort.reaches(rank);
        trace.push(if reached { Step::Reached { version } } else { Step::Outside { version } });
        // Whoever runs an overtaken candidate is like neither arm.
        if line.kept.iter().all(|kept| kept.name != self.request.current) {
            let arm = if reached { Arm::Treatment } else { Arm::Control };
            decision.trial = self.trial(line, candidate, rank, arm);
            say_trial(decision);
        }
        reached.then(|| {
            decision.trace.push(Step::Offered { version });
            Answer::Update(bundle)
        })
    }

    /// The place of the device in the trial, if it is in `arm`. Devices of earlier levels stay where they enrolled.
    fn trial(
        &self,
        line: &'s ServedLine,
        candidate: &'s ServedCandidate,
        rank: u64,
        arm: Arm,
    ) -> Option<Trial<'s>> {
        let ServedCandidate { bundle, cohort, level, started, open, .. } = candidate;
        if !open || self.request.probe || self.how == How::SupportOverride {
            return None;
        }
        (cohort.arm(rank)? == arm).then_some(Trial {
            channel: self.channel,
            line,
            candidate: bundle,
            started: *started,
            membership: Membership { serial: cohort.serial, level: *level, arm },
        })
    }
}

fn say_trial(decision: &mut Decision<'_>) {
    if let Some(Trial { membership: Membership { arm, level, .. }, .. }) = decision.trial {
        decision.trace.push(Step::Trial { arm, level });
    }
}

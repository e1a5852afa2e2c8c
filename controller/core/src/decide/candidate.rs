//! The candidate of a line: who is offered it, who keeps it, and who takes part in its trial.

use crate::{
    brake::Acting,
    snapshot::{ServedCandidate, ServedLine},
    trial::{Arm, Membership},
};

use super::{Answer, Aside, Asking, Decision, How, Step, Trial, stable::Running};

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
            let trial = self.trial(line, candidate, rank, Arm::Treatment);
            let trial = if acting.is_some() { Err(Aside::Closed) } else { trial };
            enrol(decision, candidate.level, trial);
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
        let arm = if reached { Arm::Treatment } else { Arm::Control };
        let overtaken = line.kept.iter().any(|kept| kept.name == self.request.current);
        let trial = if overtaken { Err(Aside::Overtaken) } else { self.trial(line, candidate, rank, arm) };
        enrol(decision, candidate.level, trial);
        reached.then(|| {
            decision.trace.push(Step::Offered { version });
            Answer::Update(bundle)
        })
    }

    /// The place of the device in the trial, if it is in `arm`, or why it has none. Devices of earlier levels stay where
    /// they enrolled.
    fn trial(
        &self,
        line: &'s ServedLine,
        candidate: &'s ServedCandidate,
        rank: u64,
        arm: Arm,
    ) -> Result<Trial<'s>, Aside> {
        let ServedCandidate { bundle, cohort, level, started, open, .. } = candidate;
        if !open {
            return Err(Aside::Closed);
        }
        if self.request.probe {
            return Err(Aside::Probe);
        }
        if self.how == How::SupportOverride {
            return Err(Aside::Support);
        }
        match cohort.arm(rank) {
            Some(found) if found == arm => Ok(Trial {
                channel: self.channel,
                line,
                candidate: bundle,
                started: *started,
                membership: Membership { serial: cohort.serial, level: *level, arm },
            }),
            None if cohort.reaches(rank) => Err(Aside::Earlier),
            _ if arm == Arm::Treatment => Err(Aside::Ahead),
            _ => Err(Aside::Between),
        }
    }
}

fn enrol<'s>(decision: &mut Decision<'s>, level: u32, trial: Result<Trial<'s>, Aside>) {
    decision.trace.push(match &trial {
        Ok(Trial { membership: Membership { arm, level, .. }, .. }) => {
            Step::Trial { arm: *arm, level: *level }
        }
        Err(why) => Step::NoTrial { level, why: *why },
    });
    decision.trial = trial.ok();
}

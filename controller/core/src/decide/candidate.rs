//! The candidate of a line: who is offered it, who keeps it, and who takes part in its trial.

use crate::{
    brake::Acting,
    cohort::is_below,
    release::RollbackPolicy,
    snapshot::{Limits, ServedCandidate, ServedLine},
    trial::{Arm, Membership},
};

use super::{Answer, Aside, Asking, Decision, How, Step, Trial, stable::Running};

/// How a device stands to the steps of a rollout.
struct Standing {
    /// Its place in the rollout.
    rank: u64,
    /// Whether the present step reaches it, or an earlier one did.
    reached: bool,
    /// Whether the present step is for others.
    others: bool,
    /// Why it is like neither arm of the present level.
    aside: Option<Aside>,
}

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
        let limited = candidate.limits.audience.is_some();
        trace.push(Step::Candidate { version, weight: candidate.cohort.weight, limited });
        let acting = self.acting(bundle);
        if let Some(acting) = acting.filter(Acting::stops) {
            trace.push(Step::Braked { version, brake: acting.brake });
            return None;
        }
        let fault = self.key_fault(bundle);
        if self.request.current == version {
            if self.returns(candidate) {
                trace.push(Step::Unreached { version });
                enrol(decision, candidate.level, Err(Aside::Ahead));
                return None;
            }
            // Who runs it keeps it, whatever else became of the cohort; but a key that does not fit is said first.
            if let Some(fault) = fault {
                trace.push(fault.step);
                return Some(fault.answer());
            }
            let trial = self.trial(line, candidate, &self.standing(candidate), Arm::Treatment);
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
        let standing = self.standing(candidate);
        let reached = standing.reached;
        if self.at_limit
            && let Some(per_minute) = line.offers_per_minute
        {
            let held =
                if reached { Step::AtLimit { version, per_minute } } else { Step::Outside { version } };
            trace.push(held);
            enrol(decision, candidate.level, Err(Aside::AtLimit));
            return None;
        }
        trace.push(match &standing {
            Standing { reached: true, .. } => Step::Reached { version },
            Standing { others: true, .. } => Step::ForOthers { version },
            _ => Step::Outside { version },
        });
        // Whoever runs an overtaken candidate is like neither arm.
        let arm = if reached { Arm::Treatment } else { Arm::Control };
        let overtaken = line.kept.iter().any(|kept| kept.name == self.request.current);
        let trial =
            if overtaken { Err(Aside::Overtaken) } else { self.trial(line, candidate, &standing, arm) };
        enrol(decision, candidate.level, trial);
        reached.then(|| {
            decision.trace.push(Step::Offered { version });
            Answer::Update(bundle)
        })
    }

    /// Whether the device runs the candidate and is returned, because the share was lowered to below it. Where a step has an
    /// audience that depends on what the device says of itself today, so nobody is: it would go to and fro.
    fn returns(&self, candidate: &ServedCandidate) -> bool {
        let Limits { returning, audience, reached, .. } = &candidate.limits;
        let for_all = audience.is_none() && reached.iter().all(|reach| reach.audience.is_none());
        let may_leave = candidate.bundle.offer.rollback != RollbackPolicy::StopOnly;
        *returning && candidate.open && for_all && may_leave && !self.standing(candidate).reached
    }

    /// Whom a step is limited to is asked before the cohort: the share is one of its audience.
    ///
    /// The arms of a level must differ in nothing but chance. Where an earlier step reached a part of the devices of some
    /// kind that this level would add, those that are left of them would be among the controls and not, or not as often,
    /// among the treated. So all devices of that kind are in neither arm.
    fn standing(&self, candidate: &ServedCandidate) -> Standing {
        let ServedCandidate { cohort, limits: Limits { audience, reached, .. }, .. } = candidate;
        let rank = cohort.rank(&self.request.device);
        if audience.is_none() && reached.is_empty() {
            return Standing { rank, reached: cohort.reaches(rank), others: false, aside: None };
        }
        let facts = self.request.audience_facts();
        let others = audience.as_ref().is_some_and(|audience| !audience.admits(&facts));
        let of =
            reached.iter().filter(|r| r.audience.as_ref().is_none_or(|audience| audience.admits(&facts)));
        let earlier = of.map(|reach| reach.weight).max().unwrap_or(0);
        let aside =
            if others { Some(Aside::Others) } else { (earlier > cohort.below).then_some(Aside::EarlierStep) };
        let reached = is_below(rank, earlier) || (!others && cohort.reaches(rank));
        Standing { rank, reached, others, aside }
    }

    /// The place of the device in the trial, if it is in `arm`, or why it has none. Devices of earlier levels stay where
    /// they enrolled.
    fn trial(
        &self,
        line: &'s ServedLine,
        candidate: &'s ServedCandidate,
        standing: &Standing,
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
        if let Some(aside) = standing.aside {
            return Err(aside);
        }
        let rank = standing.rank;
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

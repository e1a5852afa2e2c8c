//! What the changes of a line follow from, for the decision log. Noted only where something changes: numbers move all the time,
//! and none of them alone is a reason to write a record.

use super::{Because, Pass, Verdict};
use crate::{
    channel::{OnInconclusive, Ramp},
    decisions::{Kind, Numbers},
    gate::ArmNumbers,
    record::Candidate,
};

impl Pass<'_> {
    /// Notes why a step opens further.
    pub(super) fn opens(&mut self, candidate: &Candidate, ramp: Ramp, advance: bool) {
        let Some(verdict) = self.verdict(candidate.digest).cloned() else { return };
        match ramp {
            _ if advance => self.follows(Kind::Advanced, &verdict),
            Ramp::Auto => {
                let ArmNumbers { enrolled, shown, health, .. } = verdict.treatment;
                let sentence = format!(
                    "{shown} of {enrolled} devices with the candidate have shown an outcome, and {health} of them failed"
                );
                self.follows_for(Kind::Advanced, "Opening", sentence, &verdict);
            }
            Ramp::Off => {}
        }
    }

    /// Notes why a step is left: by evidence, or without enough of it.
    pub(super) fn goes(&mut self, kind: Kind, candidate: &Candidate, advance: bool) {
        let Some(verdict) = self.said(candidate).cloned() else { return };
        if advance {
            return self.follows(kind, &verdict);
        }
        let (reason, why) = match self.channel.gate.on_inconclusive {
            OnInconclusive::Hold => ("Approved", "a person has approved the step"),
            OnInconclusive::Advance | OnInconclusive::Rollback => {
                ("Inconclusive", "the channel goes on without evidence")
            }
        };
        let sentence = format!("{why}: {}", verdict.sentence);
        self.follows_for(kind, reason, sentence, &verdict);
    }

    /// Notes why it is held: what speaks against it, or what the present level lacks.
    pub(super) fn holds(&mut self, candidate: &Candidate) {
        let adverse = self.verdict(candidate.digest).filter(|verdict| verdict.is_adverse());
        if let Some(verdict) = adverse.or_else(|| self.said(candidate)).cloned() {
            self.follows(Kind::Held, &verdict);
        }
    }

    /// Notes that a change follows from a verdict.
    pub(super) fn follows(&mut self, kind: Kind, verdict: &Verdict) {
        let Verdict { reason, sentence, .. } = verdict;
        self.follows_for(kind, reason, sentence.clone(), verdict);
    }

    /// The same for another reason, which rests on the numbers of a verdict.
    fn follows_for(&mut self, kind: Kind, reason: &str, sentence: String, verdict: &Verdict) {
        let numbers = Some(verdict.numbers());
        self.because.push(Because { kind, reason: reason.to_owned(), sentence, numbers });
    }
}

impl Verdict {
    /// The numbers that it rests on.
    pub(super) const fn numbers(&self) -> Numbers {
        Numbers { treatment: self.treatment, control: self.control }
    }
}

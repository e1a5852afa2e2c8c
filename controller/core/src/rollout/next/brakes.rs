//! What brakes do to a line, and who braked what and why.

use super::{Because, BrakeRequest, Pass, Phase, Progress, Verdict};
use crate::{
    brake::GATE, channel::Target, decisions::Kind, digest::Digest, ids::Version, observed::Braked,
    record::Healthy,
};

impl Pass<'_> {
    /// What stands against a bundle whatever the time: a brake on it.
    pub(super) fn refused(&self, version: &Version, digest: Digest) -> Option<Progress> {
        let brake = self.brake_on(digest)?;
        let said = self.said_of(&brake.id);
        Some(match &brake.channel {
            Some(other) if *other != self.channel.channel => self.waits(
                Phase::Paused,
                format!("{version} is braked on channel {other} ({said}), so nobody new is offered it here"),
            ),
            _ => self.waits(Phase::Braked, stopped(version, &said)),
        })
    }

    /// What is said of a candidate that a recorded brake ended.
    pub(super) fn ended(&self, release: &Version, id: &str) -> String {
        stopped(release, &self.said_of(id))
    }

    /// Which brake it is, and who braked and why, as far as that is known.
    fn said_of(&self, id: &str) -> String {
        if let Some(brake) = self.facts.brakes.iter().find(|brake| brake.id == id) {
            return format!("brake {id}, {}", brake.said());
        }
        // What is braked stays so while the brakes are not read, and so does what is said of it.
        match self.record.because.iter().find(|because| because.is_of(Kind::Braked, id)) {
            Some(because) => format!("brake {id}, {}", because.sentence),
            None => format!("brake {id}"),
        }
    }

    /// A brake on a bundle that the channel does not lift; one of its own before one of another channel.
    fn brake_on(&self, digest: Digest) -> Option<&Braked> {
        let on = self.facts.brakes.iter().filter(|brake| brake.digest == digest);
        on.filter(|brake| !self.channel.allow_held.contains(&brake.id))
            .min_by_key(|brake| !self.is_own(brake))
    }

    /// Whether a brake is of this channel or of the whole app.
    fn is_own(&self, brake: &Braked) -> bool {
        brake.channel.as_ref().is_none_or(|channel| *channel == self.channel.channel)
    }

    /// Whether a brake of this channel or of the whole app is on a bundle.
    pub(super) fn is_braked(&self, digest: Digest) -> bool {
        self.brake_on(digest).is_some_and(|brake| self.is_own(brake))
    }

    /// The brake on a bundle of the line, of which `recorded` was known. Only Git lifts it: that none is found is no reason.
    pub(super) fn standing(&mut self, digest: Digest, recorded: Option<String>) -> Option<String> {
        let recorded = recorded.filter(|id| !self.channel.allow_held.contains(id));
        if recorded.is_some() {
            return recorded;
        }
        let brake = self.brake_on(digest).filter(|brake| self.is_own(brake))?;
        let (kind, reason, sentence) = (Kind::Braked, brake.id.clone(), brake.said());
        let verdict = self.verdict(digest).filter(|_| brake.by == GATE);
        let numbers = verdict.map(Verdict::numbers);
        self.because.push(Because { kind, reason: reason.clone(), sentence, numbers });
        Some(reason)
    }

    /// Notes whether what everybody is offered is braked.
    pub(super) fn look_after_stable(&mut self) {
        let recorded = self.record.braked.take();
        self.record.braked = match self.stable_digest() {
            Some(digest) => self.standing(digest, recorded),
            None => recorded,
        };
    }

    /// What is offered to who is not offered the candidate: what did well before, when the stable release is braked.
    pub(super) fn served(&self) -> Option<Target> {
        if self.record.braked.is_none() {
            return self.record.stable.clone();
        }
        let is_good = |healthy: &&Healthy| {
            let bundle = self.facts.bundles.get(&healthy.release);
            bundle.is_some_and(|bundle| bundle.digest == healthy.digest && !bundle.is_lost())
                && self.brake_on(healthy.digest).is_none()
        };
        self.record.history.iter().find(is_good).map(|healthy| Target::Release(healthy.release.clone()))
    }

    /// What is said when what everybody was offered is braked.
    pub(super) fn taken_back(&self, id: &str) -> String {
        let then = match self.served() {
            Some(instead) => format!("devices are offered {instead} instead"),
            None => "no release did well before, so devices are offered nothing new, and those that must leave it go back to the shipped bundle".to_owned(),
        };
        format!("{} is braked ({}): {then}", self.wanted, self.said_of(id))
    }

    /// Asks for a brake, unless one stands.
    pub(super) fn ask_for_brake(&mut self, digest: Digest, reason: &str, sentence: &str) {
        if !self.is_braked(digest) {
            let (reason, sentence) = (reason.to_owned(), sentence.to_owned());
            self.brake = Some(BrakeRequest { digest, reason, sentence });
        }
    }
}

fn stopped(release: &Version, said: &str) -> String {
    format!("{release} is braked ({said}), so nobody is offered it until Git asks for another release")
}

//! The ends of a rollout: everybody has the release, or Git asks for another one.

use jiff::Timestamp;

use super::{Decision, Pass, Phase, Progress, after};
use crate::{
    brake::Devices,
    channel::{OnBad, Target},
    cohort::ALL,
    record::{Healthy, Watch},
};

/// Releases that a line remembers as healthy.
const REMEMBERED: usize = 5;
/// Overtaken candidates whose devices keep them.
const KEPT: usize = 4;
/// Seconds that a release is watched at least, once everybody is offered it.
const WATCHED: u64 = 24 * 3_600;

impl Pass<'_> {
    /// What Git asks for is in force. A rollout that still runs is withdrawn.
    pub(super) fn settle(&mut self) -> Progress {
        if self.record.candidate.is_some() {
            let keep = self.channel.gate.devices == Devices::Keep;
            let candidate = self.record.candidate.take().filter(|c| keep && c.braked.is_none());
            if let Some(candidate) = candidate.filter(|c| !self.is_braked(c.digest)) {
                self.keep(candidate.release);
            }
        }
        self.watch();
        if let Some(id) = &self.record.braked {
            return self.waits(Phase::Braked, self.taken_back(id));
        }
        let wanted = self.wanted;
        let watch = self.record.watch.as_ref();
        let (wake, adverse) =
            (watch.map(|watch| watch.until), watch.and_then(|watch| watch.adverse.as_ref()));
        let message = match adverse {
            Some(adverse) => format!("everybody is offered {wanted}, but {adverse}"),
            None => format!("everybody is offered {wanted}"),
        };
        Progress { weight: ALL, wake, ..self.waits(Phase::Completed, message) }
    }

    /// Looks after a release that everybody has been offered not long ago.
    fn watch(&mut self) {
        let watched = self.record.watch.as_ref().map(|watch| (watch.serial, watch.digest));
        let Some((serial, digest)) = watched else { return };
        let verdict = self.verdict(digest).filter(|verdict| verdict.serial == serial).cloned();
        let now = self.now;
        let Some(watch) = self.record.watch.as_mut() else { return };
        if let Some(verdict) = verdict.as_ref().filter(|verdict| verdict.is_adverse()) {
            watch.adverse.get_or_insert_with(|| verdict.sentence.clone());
        } else if verdict.is_some() {
            watch.adverse = None;
        }
        if now >= watch.until && watch.adverse.is_none() {
            self.record.watch = None;
        }
        if let Some(verdict) = verdict.filter(|verdict| verdict.decision == Decision::Abort)
            && self.channel.gate.on_bad != OnBad::Notify
        {
            self.ask_for_brake(digest, &verdict.reason, &verdict.sentence);
        }
    }

    /// Everybody is offered what is wanted, from now on.
    pub(super) fn complete(&mut self) {
        let soak = self.channel.rollout.steps.last().map_or(0, |step| step.soak);
        let running = self.record.candidate.take();
        if running.is_none_or(|candidate| Target::Release(candidate.release) != *self.wanted) {
            self.record.serial += 1;
        }
        let is_good = self.record.braked.take().is_none();
        let digest = self.stable_digest().filter(|digest| is_good && !self.is_braked(*digest));
        let adverse = self.record.watch.take().is_some_and(|watch| watch.adverse.is_some());
        let former = self.record.stable.replace(self.wanted.clone());
        if let (Some(Target::Release(release)), Some(digest), false) = (former, digest, adverse) {
            self.remember(Healthy { release, digest, until: self.now });
        }
        let version = match self.wanted {
            Target::Builtin => None,
            Target::Release(version) => Some(version),
        };
        self.record.history.retain(|healthy| Some(&healthy.release) != version);
        // Who runs one of them is moved to what everybody gets.
        self.record.kept.clear();
        let digest =
            version.and_then(|version| self.facts.bundles.get(version)).map(|binding| binding.digest);
        let until: Option<Timestamp> = after(self.now, soak.max(WATCHED));
        let serial = self.record.serial;
        let watch = |(digest, until)| Watch { serial, digest, until, adverse: None };
        self.record.watch = digest.zip(until).map(watch);
    }

    /// Another release takes the place of the one that is being rolled out.
    pub(super) fn supersede(&mut self) {
        let Some(candidate) = self.record.candidate.take() else { return };
        if candidate.braked.is_none() && !self.is_braked(candidate.digest) {
            self.keep(candidate.release);
        }
    }

    fn keep(&mut self, release: crate::ids::Version) {
        self.record.kept.retain(|kept| *kept != release);
        self.record.kept.insert(0, release);
        self.record.kept.truncate(KEPT);
    }

    fn remember(&mut self, healthy: Healthy) {
        self.record.history.retain(|known| known.release != healthy.release);
        self.record.history.insert(0, healthy);
        self.record.history.truncate(REMEMBERED);
    }

    /// The bundle that everybody is offered.
    pub(super) fn stable_digest(&self) -> Option<crate::digest::Digest> {
        match self.record.stable.as_ref()? {
            Target::Builtin => None,
            Target::Release(version) => self.facts.bundles.get(version).map(|binding| binding.digest),
        }
    }
}

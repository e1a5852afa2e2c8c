//! The verdict of a look.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{
    Evidence,
    breaker::FIRST,
    numbers::Numbers,
    policy::{Look, Policy},
    ratio::MISMATCH,
    segments::Segment,
    sentence::sentence,
    strata::Compared,
};

/// What is to happen (`evidence-gate` section 4), the worse the later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Decision {
    /// On to the next level.
    Advance,
    /// The cohort stays as it is.
    Hold,
    /// Nobody new gets the candidate; who has it keeps it.
    Pause,
    /// Nobody gets the candidate, and who has it is returned.
    Abort,
}

impl Decision {
    /// Its name, for machines.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Advance => "Advance",
            Self::Hold => "Hold",
            Self::Pause => "Pause",
            Self::Abort => "Abort",
        }
    }
}

/// Why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Reason {
    /// Advance: treatment fails less than the margin more often.
    Proven,
    /// Advance: at 100 % the soak has passed, and nothing spoke against it.
    NothingAgainst,
    /// Hold: the fleet store is away, so evidence may be missing.
    EvidenceUnavailable,
    /// Hold: the arms are not as large as they must be.
    SampleRatioMismatch,
    /// Hold: the soak has not passed.
    Soaking,
    /// Hold: everybody who asked is new, or weighs nothing for another reason.
    NoKnownDevices,
    /// Hold: too few treatment devices are past the horizon.
    InsufficientExposure,
    /// Hold: the evidence does not suffice yet.
    NotYetProven,
    /// Pause: in one segment treatment fails more often; the verdict concerns this segment alone.
    SegmentWorse,
    /// Pause: the candidate cannot be installed too often.
    InstallFailures,
    /// Pause or Abort: the candidate does not start too often.
    LaunchFailures,
    /// Abort: half of the first devices could not start the candidate.
    BrokenAtLaunch,
    /// Abort: treatment falls silent more often than control.
    MoreSilentThanControl,
    /// Abort: treatment fails more often than control.
    WorseThanControl,
}

impl Reason {
    /// The name in conditions, Events and metrics.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Proven => "Proven",
            Self::NothingAgainst => "NothingAgainst",
            Self::EvidenceUnavailable => "EvidenceUnavailable",
            Self::SampleRatioMismatch => "SampleRatioMismatch",
            Self::Soaking => "Soaking",
            Self::NoKnownDevices => "NoKnownDevices",
            Self::InsufficientExposure => "InsufficientExposure",
            Self::NotYetProven => "NotYetProven",
            Self::SegmentWorse => "SegmentWorse",
            Self::InstallFailures => "InstallFailures",
            Self::LaunchFailures => "LaunchFailures",
            Self::BrokenAtLaunch => "BrokenAtLaunch",
            Self::MoreSilentThanControl => "MoreSilentThanControl",
            Self::WorseThanControl => "WorseThanControl",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

/// What the gate says at a look.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// What is to happen.
    pub decision: Decision,
    /// Why.
    pub reason: Reason,
    /// The segment that it is about; `None`: the release.
    pub segment: Option<Segment>,
    /// One sentence for people, with its numbers.
    pub sentence: String,
    /// All numbers.
    pub numbers: Numbers,
}

/// Judges a rollout by its evidence. What aborts it stays in the evidence, so it is said again at every later look; a Pause
/// and a Hold last as long as what causes them.
pub fn judge(evidence: &Evidence, policy: &Policy, look: &Look<'_>) -> Verdict {
    let numbers = Numbers::of(evidence, policy, look);
    let paused = |n: &&super::Finding| !look.paused.contains(&n.segment);
    let segment = numbers.findings.iter().find(paused).map(|finding| finding.segment.clone());
    let (decision, reason) = decide(evidence, policy, look, &numbers, segment.is_some());
    let segment = segment.filter(|_| reason == Reason::SegmentWorse);
    let sentence = sentence(decision, reason, segment.as_ref(), policy, look, &numbers);
    Verdict { decision, reason, segment, sentence, numbers }
}

impl Evidence {
    /// Why the rollout is to be aborted, if it is. That depends on the evidence alone, and costs a few comparisons: whoever
    /// asks after every failure stops a bundle that breaks nearly everybody some minutes, and all the devices of these
    /// minutes, earlier than whoever waits for the next look, and has no more false alarms.
    pub fn alarm(&self, policy: &Policy) -> Option<Reason> {
        let certain = -policy.alpha.ln();
        let compared = certain + (Compared::ALL.len() as f64).ln();
        let worse = |compared_by: Compared| self.tests[compared_by as usize].peak() >= compared;
        if worse(Compared::Health) {
            Some(Reason::WorseThanControl)
        } else if self.breaker.tripped() {
            Some(Reason::BrokenAtLaunch)
        } else if self.launch_peak >= 2.0 * certain {
            Some(Reason::LaunchFailures)
        } else if worse(Compared::Silence) {
            Some(Reason::MoreSilentThanControl)
        } else {
            None
        }
    }
}

/// The safest first: a stop needs no healthy store and no plausible ratio, and what stops the release goes before what
/// stops a segment.
fn decide(
    evidence: &Evidence,
    policy: &Policy,
    look: &Look<'_>,
    numbers: &Numbers,
    segment_is_worse: bool,
) -> (Decision, Reason) {
    let certain = 1.0 / policy.alpha;
    if let Some(reason) = evidence.alarm(policy) {
        (Decision::Abort, reason)
    } else if numbers.launch.evidence >= certain && numbers.launch.seen as usize >= FIRST {
        // The first ten are let through: the breaker aborts by them, and a Pause before would keep them from it.
        (Decision::Pause, Reason::LaunchFailures)
    } else if numbers.install.evidence >= certain {
        (Decision::Pause, Reason::InstallFailures)
    } else if segment_is_worse {
        (Decision::Pause, Reason::SegmentWorse)
    } else if !look.available {
        (Decision::Hold, Reason::EvidenceUnavailable)
    } else if numbers.ratio.is_some_and(|ratio| ratio.evidence >= MISMATCH) {
        (Decision::Hold, Reason::SampleRatioMismatch)
    } else if !look.soaked {
        (Decision::Hold, Reason::Soaking)
    } else if look.last {
        (Decision::Advance, Reason::NothingAgainst)
    } else if numbers.exposed < numbers.min_exposure {
        let Numbers { treatment, control, discounted, .. } = numbers;
        let known = treatment.enrolled > 0 || control.enrolled > 0;
        let discounted = discounted.new > 0 || discounted.not_production > 0 || discounted.crowd > 0;
        let reason = if !known && discounted { Reason::NoKnownDevices } else { Reason::InsufficientExposure };
        (Decision::Hold, reason)
    } else if numbers.proof < numbers.proof_at {
        (Decision::Hold, Reason::NotYetProven)
    } else {
        (Decision::Advance, Reason::Proven)
    }
}

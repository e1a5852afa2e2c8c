//! The numbers behind a verdict, as status, metrics and the decision log carry them.

use serde::{Deserialize, Serialize};

use super::{
    Discounted, Evidence,
    inversion::Inversion,
    needed::{Needed, needed},
    numeric::exp,
    one_sample::OneSample,
    policy::{Look, Policy},
    ratio,
    segments::Finding,
    strata::Compared,
};
use crate::trial::Arm;

/// Devices of one arm, over the whole rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ArmNumbers {
    /// Enrolled, and weighing.
    pub enrolled: u32,
    /// Of these, enrolled at least a horizon ago and in a closed block.
    pub past_horizon: u64,
    /// Of the enrolled, with any outcome: every failure, and on the treatment side a start of the candidate.
    pub shown: u32,
    /// Of the enrolled, failed in their health.
    pub health: u32,
    /// Of the enrolled, fell silent.
    pub silence: u32,
}

/// A metric of the treatment arm alone.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SampleNumbers {
    /// Devices that failed.
    pub failed: u32,
    /// Devices with an outcome.
    pub seen: u32,
    /// The rate that is not held against a bundle.
    pub limit: f64,
    /// Evidence that the rate is higher, now.
    pub evidence: f64,
}

impl SampleNumbers {
    fn of(sample: &OneSample) -> Self {
        Self {
            failed: sample.failed(),
            seen: sample.seen(),
            limit: sample.limit(),
            evidence: exp(sample.ln()),
        }
    }
}

/// The level whose arms are least as large as they must be.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RatioNumbers {
    /// The level.
    pub level: u32,
    /// Treatment's share that is expected.
    pub expected: f64,
    /// Treatment's share of those who enrolled.
    pub observed: f64,
    /// Evidence that the expected one is wrong.
    pub evidence: f64,
}

/// Everything that a verdict follows from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Numbers {
    /// Treatment.
    pub treatment: ArmNumbers,
    /// Control.
    pub control: ArmNumbers,
    /// Treatment devices past the horizon in this step.
    pub exposed: u32,
    /// Treatment devices past the horizon that this step must have had.
    pub min_exposure: u32,
    /// Largest evidence so far that treatment fails more often in its health.
    pub health: f64,
    /// The same for silence.
    pub silence: f64,
    /// Evidence of either at which the rollout is aborted.
    pub abort_at: f64,
    /// Starting the candidate.
    pub launch: SampleNumbers,
    /// Installing it.
    pub install: SampleNumbers,
    /// Whether the control arm fails so much more than it should that an incident is likely.
    pub control_elevated: bool,
    /// How much more often treatment may fail at this weight.
    pub margin: f64,
    /// Evidence that it fails less often than that.
    pub proof: f64,
    /// Evidence at which that is proven.
    pub proof_at: f64,
    /// With 95 % confidence treatment fails less than this more often than control.
    pub bound: Option<f64>,
    /// Treatment devices that a proof takes if the candidate equals the control.
    pub needed: Needed,
    /// The worst level's shares.
    pub ratio: Option<RatioNumbers>,
    /// Devices that weigh nothing.
    pub discounted: Discounted,
    /// Segments in which the candidate is worse.
    pub findings: Vec<Finding>,
    /// Entries of the journal that made no sense.
    pub ignored: u64,
}

impl Numbers {
    /// At a look.
    pub(super) fn of(evidence: &Evidence, policy: &Policy, look: &Look<'_>) -> Self {
        let (inversion, exposed) = evidence.settled(look.now, look.first_level);
        let margin = policy.margin(look.weight_ppm);
        let [health, silence] = Compared::ALL.map(|compared| exp(evidence.tests[compared as usize].peak()));
        let [treatment_past, control_past] = inversion.devices();
        Self {
            treatment: arm(evidence, Arm::Treatment, treatment_past),
            control: arm(evidence, Arm::Control, control_past),
            exposed,
            min_exposure: policy.min_exposure,
            health,
            silence,
            abort_at: Compared::ALL.len() as f64 / policy.alpha,
            launch: SampleNumbers::of(&evidence.launch),
            install: SampleNumbers::of(&evidence.install),
            control_elevated: evidence.control_elevated(),
            margin,
            proof: inversion.against(margin),
            proof_at: super::inversion::PROOF,
            bound: inversion.bound(),
            needed: still_needed(evidence, &inversion, policy, look),
            ratio: worst_ratio(evidence, look),
            discounted: evidence.discounted,
            findings: evidence.segments.findings(policy.alpha),
            ignored: evidence.ignored,
        }
    }
}

fn arm(evidence: &Evidence, arm: Arm, past_horizon: u64) -> ArmNumbers {
    let mut numbers = ArmNumbers { past_horizon, ..ArmNumbers::default() };
    for level in &evidence.levels {
        let tally = &level.tally[arm as usize];
        numbers.enrolled = numbers.enrolled.saturating_add(tally.enrolled);
        numbers.shown = numbers.shown.saturating_add(tally.shown);
        numbers.health = numbers.health.saturating_add(tally.failed[Compared::Health as usize]);
        numbers.silence = numbers.silence.saturating_add(tally.failed[Compared::Silence as usize]);
    }
    numbers
}

/// From the control arm's rate so far, or its record before there is one.
fn still_needed(evidence: &Evidence, inversion: &Inversion, policy: &Policy, look: &Look<'_>) -> Needed {
    let [treatment, control] = inversion.devices();
    let rate = match evidence.design.health_record {
        Some(record) if control == 0 => record,
        _ => inversion.control_rate(),
    };
    let expected = look.shares.last().map(|share| share.treatment);
    let per_treatment = match expected {
        _ if treatment > 0 && control > 0 => control as f64 / treatment as f64,
        Some(share) if share > 0.0 => (1.0 - share) / share,
        _ => 1.0,
    };
    needed(rate, policy.margin(look.weight_ppm), per_treatment, policy.min_exposure)
}

fn worst_ratio(evidence: &Evidence, look: &Look<'_>) -> Option<RatioNumbers> {
    let of = |level: &super::Level| {
        let expected = look.shares.iter().find(|share| share.level == level.number)?.treatment;
        let [treatment, control] = level.tally.map(|tally| tally.enrolled);
        let enrolled = f64::from(treatment) + f64::from(control);
        Some(RatioNumbers {
            level: level.number,
            expected,
            observed: f64::from(treatment) / enrolled.max(1.0),
            evidence: exp(ratio::ln_factor(treatment, control, expected)),
        })
    };
    evidence.levels.iter().filter_map(of).max_by(|a, b| a.evidence.total_cmp(&b.evidence))
}

//! What a verdict says to people.

use super::{
    breaker::{ENOUGH, Watch},
    numbers::{Numbers, SampleNumbers},
    policy::{Look, Policy},
    segments::Segment,
    verdict::{Decision, Reason},
};
use crate::trial::Metric;

/// One sentence with its numbers.
pub fn sentence(
    decision: Decision,
    reason: Reason,
    segment: Option<&Segment>,
    policy: &Policy,
    look: &Look<'_>,
    numbers: &Numbers,
) -> String {
    let n = numbers;
    let Numbers { exposed, min_exposure, proof, proof_at, .. } = n;
    let wait = minutes(policy.horizon);
    match reason {
        Reason::Proven => format!(
            "the candidate fails less than {} points more often than the control ({}; evidence {}, {proof_at} needed{})",
            points(n.margin),
            both(n),
            round(*proof),
            n.bound.map_or_else(String::new, |bound| format!(
                "; less than {} points with 95 % confidence",
                points(bound)
            )),
        ),
        Reason::NothingAgainst => format!(
            "the soak at {} has passed and nothing speaks against the candidate ({} did not start it, {} could not install it)",
            percent(f64::from(look.weight_ppm) / 1e6),
            of(n.launch.failed, u64::from(n.launch.seen)),
            of(n.install.failed, u64::from(n.install.seen)),
        ),
        Reason::EvidenceUnavailable => {
            format!("the fleet store cannot be read or written, so evidence may be missing; until then {}", both(n))
        }
        Reason::SampleRatioMismatch => n.ratio.map_or_else(
            || "the arms are not as large as they must be".to_owned(),
            |ratio| {
                format!(
                    "of the devices that enrolled in level {} {} have the candidate where {} are expected (evidence {}, {} suffice), so the comparison cannot be trusted",
                    ratio.level,
                    percent(ratio.observed),
                    percent(ratio.expected),
                    round(ratio.evidence),
                    super::ratio::MISMATCH,
                )
            },
        ),
        Reason::Soaking => format!(
            "the soak at {}, {} old, has not passed; {}",
            percent(f64::from(look.weight_ppm) / 1e6),
            minutes(look.now.saturating_sub(look.began)),
            both(n),
        ),
        Reason::NoKnownDevices => format!(
            "no device that was known before the rollout asked; {exposed} of {min_exposure} are past {wait}, and {} that asked are new, {} no production devices, {} young ones of a crowded network",
            n.discounted.new, n.discounted.not_production, n.discounted.crowd,
        ),
        Reason::InsufficientExposure => format!(
            "{exposed} of {min_exposure} devices have had the candidate offered for {wait}; a proof takes about {} ({} at most, nine times in ten)",
            n.needed.expected, n.needed.at_most,
        ),
        Reason::NotYetProven => format!(
            "it is not yet proven that the candidate fails less than {} points more often ({}; evidence {}, {proof_at} needed; about {} devices suffice when it is as good as the control, {} nine times in ten)",
            points(n.margin),
            both(n),
            round(*proof),
            n.needed.expected,
            n.needed.at_most,
        ),
        Reason::SegmentWorse => {
            let found = n.findings.iter().find(|finding| Some(&finding.segment) == segment);
            format!(
                "on {} the candidate's devices {} more often than the others there (evidence {})",
                segment.map_or_else(|| "one segment".to_owned(), ToString::to_string),
                match found.map(|finding| finding.metric) {
                    Some(Metric::Silence) => "fall silent",
                    _ => "fail",
                },
                round(found.map_or(0.0, |finding| finding.evidence)),
            )
        }
        Reason::InstallFailures => sample("install", &n.install, policy, decision, n),
        Reason::LaunchFailures => sample("start", &n.launch, policy, decision, n),
        Reason::BrokenAtLaunch => format!(
            "at least {} of the first {} devices could not start the candidate ({} so far), and the control fares as ever",
            super::breaker::TRIPS,
            super::breaker::FIRST,
            of(n.launch.failed, u64::from(n.launch.seen)),
        ),
        Reason::MoreSilentThanControl => format!(
            "devices with the candidate fall silent more often: {} against {} of the control (evidence {}, {} needed)",
            of(n.treatment.silence, u64::from(n.treatment.enrolled)),
            of(n.control.silence, u64::from(n.control.enrolled)),
            round(n.silence),
            round(n.abort_at),
        ),
        Reason::WorseThanControl => format!(
            "devices with the candidate fail more often: {} against {} of the control (evidence {}, {} needed)",
            of(n.treatment.health, u64::from(n.treatment.enrolled)),
            of(n.control.health, u64::from(n.control.enrolled)),
            round(n.health),
            round(n.abort_at),
        ),
    }
}

fn sample(verb: &str, sample: &SampleNumbers, policy: &Policy, decision: Decision, n: &Numbers) -> String {
    let needed = if decision == Decision::Abort { policy.alpha.powi(-2) } else { 1.0 / policy.alpha };
    let control = match (decision, n.control_elevated) {
        (Decision::Pause, true) => {
            "; the control fails more than usual too, so it may be an incident".to_owned()
        }
        (Decision::Pause, false) if (1..ENOUGH).contains(&n.control.enrolled) => format!(
            "; only {} control devices have come, where {ENOUGH} would show an incident, so nothing is taken back in the first {} minutes",
            n.control.enrolled,
            Watch::PATIENCE / 60
        ),
        _ => String::new(),
    };
    format!(
        "{} could not {verb} the candidate, where {} are tolerated (evidence {}, {} needed{control})",
        of(sample.failed, u64::from(sample.seen)),
        percent(sample.limit),
        round(sample.evidence),
        round(needed),
    )
}

fn both(n: &Numbers) -> String {
    format!(
        "{} devices with the candidate and {} of the control failed",
        of(n.treatment.health, u64::from(n.treatment.enrolled)),
        of(n.control.health, u64::from(n.control.enrolled)),
    )
}

fn of(failed: u32, all: u64) -> String {
    format!("{failed} of {all}")
}

fn round(evidence: f64) -> String {
    match evidence {
        e if e >= 1e6 => format!("{e:.0e}"),
        e if e >= 10.0 => format!("{e:.0}"),
        e => format!("{e:.2}"),
    }
}

fn points(difference: f64) -> String {
    plain(difference * 100.0)
}

fn percent(share: f64) -> String {
    format!("{} %", plain(share * 100.0))
}

/// At most two digits behind the point, and none that says nothing.
fn plain(x: f64) -> String {
    let text = format!("{x:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn minutes(seconds: i64) -> String {
    match seconds {
        s if s >= 2 * 86_400 => format!("{} days", s / 86_400),
        s if s >= 2 * 3_600 => format!("{} hours", s / 3_600),
        s => format!("{} minutes", s.max(0) / 60),
    }
}

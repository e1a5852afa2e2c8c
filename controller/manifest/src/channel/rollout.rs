//! How a channel rolls out: from what its document says to the rollout of the domain.

use std::collections::BTreeSet;

use jiff::civil::{Time, Weekday};
use serde_json::Value as Json;
use sluice_core::{
    brake::Devices,
    channel::{
        Approval, Channel, Gate, OnBad, OnDecrease, OnInconclusive, Ramp, Rollout, Size, Statistics, Step,
        Strategy, Target, Urgent, Window,
    },
    cohort::{ALL, Order},
    diagnostic::Code,
    ids::Version,
};
use sluice_crds::{channel as crd, common::duration};

use super::audience;
use crate::{document::accept, values::parts_per_million, walk::Walk};

/// The rollout of a channel that [`check`] found nothing against.
pub(super) fn rollout(rollout: &crd::Rollout, walk: &mut Walk<'_>) -> Option<Rollout> {
    let crd::Rollout {
        strategy,
        steps,
        ramp,
        window,
        not_before,
        max_hold,
        order,
        on_decrease,
        offers_per_minute,
    } = rollout;
    let mut read = Vec::new();
    for (index, step) in steps.iter().enumerate() {
        let size = match (&step.weight, step.devices) {
            (Some(weight), _) => parts_per_million(weight).map(Size::Share),
            (None, Some(devices)) => u64::try_from(devices).ok().map(Size::Devices),
            (None, None) => step.audience.is_some().then_some(Size::Share(ALL)),
        };
        let field = format!("spec.rollout.steps[{index}]");
        let size = accept(size.ok_or("a step needs `weight` or `devices`"), &field, walk)?;
        let audience = match &step.audience {
            Some(audience) => Some(audience::audience(audience, &format!("{field}.audience"), walk)?),
            None => None,
        };
        let approval = step.approval == crd::StepApproval::Required;
        read.push(Step { size, soak: step.soak.as_deref().map_or(0, seconds), approval, audience });
    }
    let not_before = match not_before {
        Some(text) => Some(accept(text.parse(), "spec.rollout.notBefore", walk)?),
        None => None,
    };
    let window = match window {
        Some(window) => Some(self::window(window, walk)?),
        None => None,
    };
    Some(Rollout {
        strategy: match strategy {
            _ if !steps.is_empty() => Strategy::Steps,
            crd::Strategy::Auto => Strategy::Auto,
            crd::Strategy::Immediate => Strategy::Immediate,
            crd::Strategy::Steps => Strategy::Steps,
        },
        steps: read,
        ramp: match ramp {
            crd::Ramp::Auto => Ramp::Auto,
            crd::Ramp::Off => Ramp::Off,
        },
        window,
        not_before,
        max_hold: seconds(max_hold),
        order: match order {
            crd::Order::Fair => Order::Fair,
            crd::Order::Independent => Order::Independent,
            crd::Order::Ring => Order::Ring,
        },
        on_decrease: match on_decrease {
            crd::OnDecrease::Keep => OnDecrease::Keep,
            crd::OnDecrease::Return => OnDecrease::Return,
        },
        offers_per_minute: *offers_per_minute,
    })
}

fn window(window: &crd::Window, walk: &mut Walk<'_>) -> Option<Window> {
    let crd::Window { days, from, to, time_zone } = window;
    let time = |text: &str, field: &str, walk: &mut Walk<'_>| {
        accept(text.parse::<Time>(), &format!("spec.rollout.window.{field}"), walk)
    };
    let day = |day: &crd::Day| match day {
        crd::Day::Mon => Weekday::Monday,
        crd::Day::Tue => Weekday::Tuesday,
        crd::Day::Wed => Weekday::Wednesday,
        crd::Day::Thu => Weekday::Thursday,
        crd::Day::Fri => Weekday::Friday,
        crd::Day::Sat => Weekday::Saturday,
        crd::Day::Sun => Weekday::Sunday,
    };
    let days = days.iter().map(day).collect();
    let (from, to) = (time(from, "from", walk)?, time(to, "to", walk)?);
    Some(Window { days, from, to, time_zone: time_zone.clone() })
}

/// Whole seconds, not less.
fn seconds(text: &str) -> u64 {
    duration(text).map_or(0, |length| length.as_secs() + u64::from(length.subsec_nanos() > 0))
}

pub(super) fn gate(gate: &crd::Gate) -> Gate {
    let crd::Gate { on_bad, on_inconclusive, devices, alpha, horizon, min_exposure, margin } = gate;
    Gate {
        on_bad: match on_bad {
            crd::OnBad::Rollback => OnBad::Rollback,
            crd::OnBad::Brake => OnBad::Brake,
            crd::OnBad::Notify => OnBad::Notify,
        },
        on_inconclusive: match on_inconclusive {
            crd::OnInconclusive::Hold => OnInconclusive::Hold,
            crd::OnInconclusive::Advance => OnInconclusive::Advance,
            crd::OnInconclusive::Rollback => OnInconclusive::Rollback,
        },
        devices: match devices {
            crd::Devices::Return => Devices::Return,
            crd::Devices::Keep => Devices::Keep,
        },
        statistics: Statistics {
            alpha: alpha.as_deref().and_then(parts_per_million),
            horizon: horizon.as_deref().map(seconds),
            min_exposure: min_exposure.and_then(|devices| u64::try_from(devices).ok()),
            margin: margin.as_deref().and_then(parts_per_million),
        },
    }
}

/// The approvals of a rollout of so many steps.
pub(super) fn approvals(
    list: &[crd::Approval],
    steps: usize,
    walk: &mut Walk<'_>,
) -> Option<BTreeSet<Approval>> {
    let mut approvals = BTreeSet::new();
    for (index, crd::Approval { release, step }) in list.iter().enumerate() {
        let field = format!("spec.approvals[{index}]");
        let release = accept(release.parse(), &format!("{field}.release"), walk)?;
        let step = u32::try_from(*step).unwrap_or(0);
        if usize::try_from(step).is_ok_and(|step| step > steps) {
            let message = format!("there is no step {step}: the rollout has {steps} steps, counted from 1");
            walk.report_field(Code::RolloutUnclear, &format!("{field}.step"), &message);
        }
        approvals.insert(Approval { release, step });
    }
    Some(approvals)
}

pub(super) fn urgent(urgent: &crd::Urgent, walk: &mut Walk<'_>) -> Option<Urgent> {
    let crd::Urgent { release, reason } = urgent;
    let release = accept(release.parse(), "spec.urgent.release", walk)?;
    Some(Urgent { release, reason: reason.clone() })
}

/// What only a look at the whole of a rollout shows.
pub(super) fn check(rollout: &Json, walk: &mut Walk<'_>) {
    let has_steps = walk.fields.contains_key("spec.rollout.steps");
    match rollout["strategy"].as_str() {
        Some("Steps") if !has_steps => {
            let message = "strategy Steps needs `steps`, for example `steps: [{ weight: 10%, soak: 2h }]`";
            walk.report_field(Code::MissingField, "spec.rollout.strategy", message);
        }
        Some("Immediate") if has_steps => {
            let message = "strategy Immediate has no steps; remove one of the two";
            walk.report_field(Code::InvalidValue, "spec.rollout.steps", message);
        }
        _ => {}
    }
    let mut last = 0;
    // Shares that steps of an audience reached, by it.
    let mut reached: Vec<(&Json, u32)> = Vec::new();
    for (index, step) in rollout["steps"].as_array().into_iter().flatten().enumerate() {
        match (step["weight"].is_string(), step["devices"].is_number()) {
            (true, true) => {
                let message = "a step has either `weight` or `devices`; remove one";
                walk.report_field(
                    Code::InvalidValue,
                    &format!("spec.rollout.steps[{index}].devices"),
                    message,
                );
            }
            (false, false)
                if !["weight", "audience"]
                    .iter()
                    .any(|name| walk.fields.contains_key(&format!("spec.rollout.steps[{index}].{name}"))) =>
            {
                let message =
                    "a step needs `weight` (a share, such as `10%`), `devices` (a number) or an `audience`";
                walk.report_field(Code::MissingField, &format!("spec.rollout.steps[{index}]"), message);
            }
            _ => {}
        }
        let weight = step["weight"].as_str().and_then(parts_per_million);
        let audience = &step["audience"];
        audience::check(audience, &format!("spec.rollout.steps[{index}].audience"), walk);
        if audience.is_object() {
            // What is counted in devices is known when the rollout starts.
            let Some(weight) = weight.or_else(|| step["devices"].is_null().then_some(ALL)) else { continue };
            let same =
                reached.iter().filter(|(other, _)| *other == audience).map(|(_, weight)| *weight).max();
            if weight <= same.unwrap_or(0).max(last) {
                let message =
                    "this step reaches nobody new: steps before it reached as large a share of its audience";
                let field = if step["weight"].is_string() { "weight" } else { "audience" };
                walk.report_field(
                    Code::InvalidValue,
                    &format!("spec.rollout.steps[{index}].{field}"),
                    message,
                );
            }
            reached.push((audience, weight));
            continue;
        }
        let Some(weight) = weight else { continue };
        if weight <= last {
            let message = "the weights of steps must rise; this one is not above the one before it";
            walk.report_field(Code::InvalidValue, &format!("spec.rollout.steps[{index}].weight"), message);
        }
        last = weight;
    }
    let window = &rollout["window"];
    if window["from"].is_string() && window["from"] == window["to"] {
        let message =
            "the window ends when it begins; give it another end, or remove it to roll out at any time";
        walk.report_field(Code::InvalidValue, "spec.rollout.window.to", message);
    }
}

/// What is probably not meant.
pub(super) fn lint(channel: &Channel, walk: &mut Walk<'_>) {
    let rollout = &channel.rollout;
    for (index, step) in rollout.steps.iter().enumerate() {
        if let Some(audience) = &step.audience {
            audience::lint(audience, channel, &format!("spec.rollout.steps[{index}].audience"), walk);
        }
        if step.soak > rollout.max_hold {
            let message = "this soaks for longer than `maxHold`, so evidence that is missing at its end is waited for \
                           less long than the step lasted; give `maxHold` at least as much";
            walk.report_field(Code::RolloutUnclear, &format!("spec.rollout.steps[{index}].soak"), message);
        }
    }
    let wanted = |release: &Version| {
        channel.lines.iter().any(|line| matches!(&line.target, Target::Release(wanted) if wanted == release))
    };
    if let Some(urgent) = channel.urgent.as_ref().filter(|urgent| !wanted(&urgent.release)) {
        let message = format!("no line asks for {}, so nothing is urgent; remove `urgent`", urgent.release);
        walk.report_field(Code::RolloutUnclear, "spec.urgent.release", &message);
    }
}

//! Figures of the rollouts that are not done: one series for each line of a channel that is on its way.

use std::fmt;

use sluice_core::{
    cohort::ALL,
    gate::ArmNumbers,
    rollout::{Phase, Progress, Verdict},
    status::Status,
};

use super::figures::Writer;

/// A line whose release is on its way.
struct Running<'s> {
    labels: [(&'static str, &'s str); 3],
    progress: &'s Progress,
}

impl<'s> Running<'s> {
    fn verdict(&self) -> Option<&'s Verdict> {
        self.progress.verdict.as_deref()
    }

    /// Its labels, and more.
    fn with<const N: usize>(&self, more: [(&'static str, &'s str); N]) -> Vec<(&'static str, &'s str)> {
        self.labels.into_iter().chain(more).collect()
    }
}

/// Writes what is known of every rollout that is not done.
pub(super) fn write(out: &mut Writer<'_>, status: &Status) -> fmt::Result {
    let channels = status.channels.iter().flat_map(|channel| {
        channel.lines.iter().filter_map(move |line| {
            let labels =
                [("app", channel.app.as_str()), ("channel", channel.channel.as_str()), ("line", &line.key)];
            Some(Running { labels, progress: line.running()? })
        })
    });
    let running: Vec<Running<'_>> = channels.collect();
    let each = |value: fn(&Progress) -> f64| {
        running.iter().map(move |running| (running.labels, value(running.progress)))
    };
    let share = |progress: &Progress| match progress.phase {
        // How far it had come is no share that is offered it.
        Phase::Braked => 0.0,
        _ => f64::from(progress.weight) / f64::from(ALL),
    };
    out.gauges("rollout_weight_ratio", "Share of the devices that is offered the release", each(share))?;
    let step = |progress: &Progress| f64::from(progress.step);
    out.gauges("rollout_step", "Step that the rollout is in, from 1", each(step))?;
    let steps = |progress: &Progress| f64::from(progress.steps);
    out.gauges("rollout_steps", "Steps of the rollout before everybody", each(steps))?;
    let phases =
        running.iter().map(|running| (running.with([("phase", running.progress.phase.reason())]), 1.0));
    out.gauges("rollout_phase", "What the rollout does or waits for, by the reason of RolledOut", phases)?;
    let verdicts = running.iter().filter_map(|running| {
        let verdict = running.verdict()?;
        let said = [("decision", verdict.decision.name()), ("reason", verdict.reason.as_str())];
        Some((running.with(said), 1.0))
    });
    out.gauges("rollout_verdict", "What the gate says of the present weight", verdicts)?;
    let devices = running.iter().filter_map(|running| Some((running, running.verdict()?)));
    let devices = devices.flat_map(|(running, verdict)| {
        let arms = [("treatment", verdict.treatment), ("control", verdict.control)];
        arms.into_iter().flat_map(move |(arm, numbers)| {
            states(numbers).map(|(state, count)| (running.with([("arm", arm), ("state", state)]), count))
        })
    });
    let help = "Devices that weigh in the trial of the rollout, by arm, as the last verdict counted them";
    out.gauges("rollout_devices", help, devices)
}

/// Devices of an arm. One that failed is also among those that have shown an outcome, and each is enrolled.
fn states(numbers: ArmNumbers) -> [(&'static str, f64); 5] {
    let ArmNumbers { enrolled, past_horizon, shown, health, silence } = numbers;
    [
        ("enrolled", f64::from(enrolled)),
        ("past_horizon", past_horizon as f64),
        ("shown", f64::from(shown)),
        ("unhealthy", f64::from(health)),
        ("silent", f64::from(silence)),
    ]
}

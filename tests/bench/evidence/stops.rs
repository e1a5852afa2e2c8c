//! When a rollout is stopped, over a day of looks.

use sluice_core::{
    gate::{Decision, Policy, Records, judge},
    trial::Metric,
};

use super::{
    wilson,
    world::{Chance, DAY, Fate, LOOK, World, share, simulate, spread},
};

/// Treatment devices that enrol between two looks.
const RATES: [u32; 4] = [2, 5, 20, 100];

struct Stop {
    decision: Decision,
    /// Treatment devices enrolled and with an outcome at the look that stopped.
    enrolled: u32,
    shown: u32,
    /// The same at the failure that sufficed for an Abort, if that is what it was.
    alarm: Option<(u32, u32)>,
}

/// One day with `steps` levels of equal length, 5 % of the enrolments treatment.
fn day(chance: Chance, canary: u32, steps: u32, fate: Fate) -> Option<Stop> {
    let mut world = World::new(chance, Records::default());
    let policy = Policy::default();
    for look in 0..DAY {
        if look > 0 && look % (DAY / steps) == 0 {
            world.step();
        }
        world.pass(LOOK, 20 * canary, 20, fate);
        let verdict = judge(&world.evidence, &policy, &world.look(50_000));
        if matches!(verdict.decision, Decision::Abort | Decision::Pause) {
            let treatment = verdict.numbers.treatment;
            return Some(Stop {
                decision: verdict.decision,
                enrolled: treatment.enrolled,
                shown: treatment.shown,
                alarm: world.alarm,
            });
        }
    }
    None
}

/// Prints the table.
pub fn print(runs: u64) {
    println!(
        "\nStops of a rollout at 5 %, alpha 1 %, a look every 5 minutes for 24 hours, {runs} runs per cell. Failures a"
    );
    println!(
        "minute after enrolment, successes after one to six hours. Treatment devices at the stop: median (10 to 90 %)."
    );
    println!(
        "Wilson: lower end of the 95 % interval of the last hour above 5 %; \"100\": once there are 100 attempts.\n"
    );
    println!(
        "| treatment / control | per look | stopped | of these aborted | enrolled | with an outcome | enrolled at the look | with an outcome at the look | Wilson | its enrolled | Wilson, 100 | its enrolled |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |");
    let mut cell = 0;
    let rows = [
        ("2 % / 2 %", 0.02, 0.02, 1, Metric::Health),
        ("10 % / 10 %", 0.1, 0.1, 1, Metric::Health),
        ("2 % / 2 %, two steps", 0.02, 0.02, 2, Metric::Health),
        ("10 % / 10 %, two steps", 0.1, 0.1, 2, Metric::Health),
        ("5 % / 2 %", 0.05, 0.02, 1, Metric::Health),
        ("8 % / 2 %", 0.08, 0.02, 1, Metric::Health),
        ("20 % / 2 %", 0.2, 0.02, 1, Metric::Health),
        ("90 % / 2 %", 0.9, 0.02, 1, Metric::Health),
        ("90 % do not start / 2 %", 0.9, 0.02, 1, Metric::Launch),
    ];
    for (name, treatment, control, steps, metric) in rows {
        for canary in RATES {
            cell += 1;
            let fate = Fate { treatment, control, metric };
            let stops: Vec<Stop> = simulate(runs, |run| day(Chance::new(cell, run), canary, steps, fate))
                .into_iter()
                .flatten()
                .collect();
            let aborts = stops.iter().filter(|stop| stop.decision == Decision::Abort).count();
            let [wilson, hundred] = [1, 100].map(|least| {
                let stops: Vec<u32> = simulate(runs, |run| {
                    wilson::stop(Chance::new(1_000 + cell, run), canary, treatment, least)
                })
                .into_iter()
                .flatten()
                .collect();
                format!("{} | {}", share(stops.len(), runs), spread(stops))
            });
            println!(
                "| {name} | {canary} | {} | {aborts} | {} | {} | {} | {} | {wilson} | {hundred} |",
                share(stops.len(), runs),
                spread(stops.iter().filter_map(|stop| stop.alarm.map(|(enrolled, _)| enrolled)).collect()),
                spread(stops.iter().filter_map(|stop| stop.alarm.map(|(_, shown)| shown)).collect()),
                spread(stops.iter().map(|stop| stop.enrolled).collect()),
                spread(stops.iter().map(|stop| stop.shown).collect()),
            );
        }
    }
}

//! How many devices a proof takes, and how often it is wrong.

use sluice_core::{
    gate::{Decision, Policy, Records, judge, needed::needed},
    trial::Metric,
};

use super::world::{Chance, Fate, World, share, simulate, spread};

/// Treatment devices after which nobody waits any longer.
const PATIENCE: u32 = 20_000;

/// The same for a candidate that is worse by the margin.
const PATIENCE_WORSE: u32 = 4_000;

/// Treatment devices in the blocks when the verdict first is Advance. A device enrols every second, and a look is taken
/// at every fortieth.
fn devices(chance: Chance, per: u32, margin: f64, fate: Fate, patience: u32) -> Option<u32> {
    let mut world = World::new(chance, Records::default());
    let policy = Policy { early_margin: margin, ..Policy::default() };
    for _ in 0..patience * per / 40 {
        world.pass(40, 40, per, fate);
        let verdict = judge(&world.evidence, &policy, &world.look(50_000));
        if verdict.decision == Decision::Advance {
            return Some(verdict.numbers.exposed);
        }
    }
    None
}

/// Prints the table.
pub fn print(runs: u64) {
    println!(
        "\nAdvance, {runs} runs per cell: treatment devices past the horizon, median (10 to 90 %), of a candidate that"
    );
    println!(
        "equals the control (at most {PATIENCE}); and how often one is advanced that is worse by exactly the margin,"
    );
    println!("within {PATIENCE_WORSE} treatment devices.\n");
    println!(
        "| failure rate | margin | control per treatment | devices needed | `plan` says | advanced though worse |"
    );
    println!("| --- | --- | --- | --- | --- | --- |");
    let mut cell = 100;
    for (rate, margin, per) in [
        (0.005, 0.05, 20),
        (0.005, 0.02, 20),
        (0.02, 0.05, 20),
        (0.02, 0.02, 20),
        (0.1, 0.05, 20),
        (0.1, 0.02, 20),
        (0.02, 0.05, 2),
        (0.02, 0.02, 2),
    ] {
        cell += 1;
        let of = |treatment, patience, cell| -> Vec<u32> {
            let fate = Fate { treatment, control: rate, metric: Metric::Health };
            simulate(runs, |run| devices(Chance::new(cell, run), per, margin, fate, patience))
                .into_iter()
                .flatten()
                .collect()
        };
        let equal = of(rate, PATIENCE, cell);
        let worse = of(rate + margin, PATIENCE_WORSE, 100 + cell);
        let said = needed(rate, margin, f64::from(per - 1), Policy::default().min_exposure);
        println!(
            "| {} % | {} points | {} | {} | {}, {} at most | {} |",
            rate * 100.0,
            margin * 100.0,
            per - 1,
            spread(equal),
            said.expected,
            said.at_most,
            share(worse.len(), runs),
        );
    }
}

//! Incidents and forged reports.

use sluice_core::{
    gate::{Decision, Policy, Records, judge},
    trial::{Arm, Discount, Entry, Metric},
};

use super::world::{Chance, DAY, Fate, LOOK, World, share, simulate};

const RATES: [u32; 4] = [2, 5, 20, 100];

/// A day at 2 % in which 60 % of whoever enrols in one hour fails, in either arm.
fn incident(run: u64, canary: u32, metric: Metric, records: Records) -> (bool, bool) {
    let mut chance = Chance::new(u64::from(canary) + 500, run);
    let begins = chance.number(200);
    let mut world = World::new(chance, records);
    let (mut aborted, mut paused) = (false, false);
    for look in 0..DAY {
        let rate = if (begins..begins + 12).contains(&look) { 0.6 } else { 0.02 };
        world.pass(LOOK, 20 * canary, 20, Fate { treatment: rate, control: rate, metric });
        let decision = judge(&world.evidence, &Policy::default(), &world.look(50_000)).decision;
        aborted |= decision == Decision::Abort;
        paused |= decision == Decision::Pause;
    }
    (aborted, paused)
}

/// Whether ten times as many reports from ids that are new move any verdict of a day.
fn forged(run: u64, fate: Fate) -> bool {
    let world = || World::new(Chance::new(600, run), Records::default());
    let (mut honest, mut flooded) = (world(), world());
    (0..DAY).any(|_| {
        honest.pass(LOOK, 100, 20, fate);
        flooded.pass(LOOK, 100, 20, fate);
        for n in 0..1_000 {
            let arm = if n % 20 == 0 { Arm::Treatment } else { Arm::Control };
            flooded.evidence.apply(&Entry::Discounted { level: 0, arm, why: Discount::New });
        }
        let look = |world: &World| {
            let mut verdict = judge(&world.evidence, &Policy::default(), &world.look(50_000));
            verdict.numbers.discounted = sluice_core::gate::Discounted::default();
            verdict
        };
        look(&honest) != look(&flooded)
    })
}

/// Prints the tables.
pub fn print(runs: u64) {
    println!(
        "\nAn incident: 60 % of the devices that enrol in one hour of a day at 2 % fail, in both arms, {runs} runs per cell."
    );
    println!(
        "Treatment fails in its health, or at launch; the channel's record of control is 2 %, or not known.\n"
    );
    println!("| treatment fails | record | per look | runs with an Abort | runs with a Pause |");
    println!("| --- | --- | --- | --- | --- |");
    for (name, metric, record) in [
        ("in its health", Metric::Health, None),
        ("at launch", Metric::Launch, Some(0.02)),
        ("at launch", Metric::Launch, None),
    ] {
        let records = Records { health: record, ..Records::default() };
        for canary in RATES {
            let all = simulate(runs, |run| incident(run, canary, metric, records));
            println!(
                "| {name} | {} | {canary} | {} | {} |",
                record.map_or("unknown", |_| "2 %"),
                share(all.iter().filter(|(aborted, _)| *aborted).count(), runs),
                share(all.iter().filter(|(_, paused)| *paused).count(), runs),
            );
        }
    }
    println!(
        "\nForged reports: ten times as many from ids first seen after the rollout began, 288 looks a run.\n"
    );
    println!("| treatment / control | runs in which a verdict moved |");
    println!("| --- | --- |");
    for (name, treatment) in [("2 % / 2 %", 0.02), ("8 % / 2 %", 0.08)] {
        let fate = Fate { treatment, control: 0.02, metric: Metric::Health };
        let runs = runs.min(200);
        let moved = simulate(runs, |run| forged(run, fate)).into_iter().filter(|moved| *moved).count();
        println!("| {name} | {moved} of {runs} |");
    }
}

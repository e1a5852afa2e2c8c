//! What folding and judging cost.

use std::time::Instant;

use sluice_core::{
    gate::{Evidence, Policy, Records, Share, judge},
    trial::{Entry, Metric},
};

use super::world::{Chance, Fate, LOOK, World};

/// Rollouts that run at the same time.
const ROLLOUTS: u64 = 100;

/// Enrolments of each; with failures and starts about 100,000 entries.
const DEVICES: u32 = 94_000;

/// Memory of this program, in bytes.
fn resident() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm")
        .ok()
        .and_then(|text| text.split(' ').nth(1)?.parse::<usize>().ok())
        .unwrap_or(0);
    pages * 4_096
}

fn rollout(run: u64) -> World {
    let mut world = World::new(Chance::new(900, run), Records::default());
    let fate = Fate { treatment: 0.02, control: 0.02, metric: Metric::Health };
    for _ in 0..DEVICES / 1_000 {
        world.pass(LOOK, 1_000, 20, fate);
    }
    world
}

/// Prints the table.
pub fn print(_runs: u64) {
    let before = resident();
    let began = Instant::now();
    let worlds: Vec<World> = (0..ROLLOUTS).map(rollout).collect();
    let folded = began.elapsed();
    let grown = resident().saturating_sub(before);

    // Ten million more entries that say nothing new: a retry changes nothing, and takes no room.
    let mut evidence: Vec<Evidence> = worlds.iter().map(|world| world.evidence.clone()).collect();
    let before = resident();
    for one in &mut evidence {
        for n in 0..100_000 {
            one.apply(&Entry::Failed { level: 0, ordinal: n % 50, metric: Metric::Health, at: 10 });
        }
    }
    let retried = resident().saturating_sub(before);

    let shares = [Share { level: 0, treatment: 0.05 }];
    let mut looks = [0.0_f64; 20];
    for took in &mut looks {
        let began = Instant::now();
        for (world, evidence) in worlds.iter().zip(&evidence) {
            let look = sluice_core::gate::Look { shares: &shares, ..world.look(50_000) };
            std::hint::black_box(judge(evidence, &Policy::default(), &look));
        }
        *took = began.elapsed().as_secs_f64() * 1e3;
    }
    looks.sort_by(f64::total_cmp);
    let devices = f64::from(DEVICES) * ROLLOUTS as f64;
    println!("\n| figure | value |");
    println!("| --- | --- |");
    println!(
        "| one evaluation of {ROLLOUTS} rollouts with 10 million entries folded, median of 20 (longest) | {:.2} ms ({:.2} ms) |",
        looks[10], looks[19]
    );
    println!(
        "| folding, with the simulation of the fleet | {:.0} ns an entry |",
        folded.as_secs_f64() * 1e9 / 1e7
    );
    println!(
        "| memory | {:.1} bytes an enrolled device, the simulation's own included |",
        grown as f64 / devices
    );
    println!(
        "| more memory after another 10 million entries that were known | {:.1} MB |",
        retried as f64 / 1e6
    );
}

//! The figures of the evidence gate, through the same `Evidence` and `judge` as production.
//!
//! `cargo bench -p sluice --bench evidence` prints all; parts of it by name behind `--`: `stops`, `advance`, `trouble`,
//! `speed`. A number is the number of runs per cell (1,000 unless told): `-- stops 250`. The seed is fixed, so the same
//! number prints the same figures.
#![expect(clippy::print_stdout, reason = "prints tables")]

#[path = "evidence/advance.rs"]
mod advance;
#[path = "evidence/speed.rs"]
mod speed;
#[path = "evidence/stops.rs"]
mod stops;
#[path = "evidence/trouble.rs"]
mod trouble;
#[path = "evidence/wilson.rs"]
mod wilson;
#[path = "evidence/world.rs"]
mod world;

use std::time::Instant;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let runs = arguments.iter().find_map(|a| a.parse().ok()).unwrap_or(1_000);
    let parts: Vec<&String> = arguments.iter().filter(|a| a.parse::<u64>().is_err()).collect();
    for (name, part) in [
        ("stops", stops::print as fn(u64)),
        ("advance", advance::print),
        ("trouble", trouble::print),
        ("speed", speed::print),
    ] {
        if parts.is_empty() || parts.iter().any(|part| *part == name) {
            let began = Instant::now();
            part(runs);
            println!("\n{name}: {:.0} s on {} cores", began.elapsed().as_secs_f64(), world::cores());
        }
    }
}

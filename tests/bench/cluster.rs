//! The figures of the operator: repositories of several sizes on a real API server, with the rights that the chart gives.
//!
//! `cargo bench -p sluice --bench cluster` prints all; parts of it by name behind `--`: `apply`, `push`, `drift`,
//! `idle`, `restart`, `gateway`, `brakes`, `reports`. `SLUICE_BENCH_SIZES=100,1000` measures these sizes alone, and
//! `SLUICE_BENCH_PROGRAM` another build.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test or a measurement that cannot go on says where it stopped"
)]

#[path = "cluster/board.rs"]
mod board;
#[path = "cluster/brakes.rs"]
mod brakes;
#[path = "cluster/bucket.rs"]
mod bucket;
#[path = "cluster/content.rs"]
mod content;
#[path = "cluster/cost.rs"]
mod cost;
#[path = "cluster/parts.rs"]
mod parts;
#[path = "shared/phones.rs"]
mod phones;
#[path = "cluster/program.rs"]
mod program;
#[path = "shared/reports.rs"]
mod reports;
#[path = "shared/settings.rs"]
mod settings;
#[path = "cluster/taking.rs"]
mod taking;
#[path = "shared/usage.rs"]
mod usage;
#[path = "cluster/world.rs"]
mod world;
#[path = "shared/wrk.rs"]
mod wrk;

use world::World;

/// Resources in a repository.
const SIZES: &str = "100,1000,10000";
/// The most that is put into an object store.
const ON_S3: usize = 1_000;

#[tokio::main]
async fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let wanted = |part: &str| wanted.is_empty() || wanted.iter().any(|name| name == part);
    let sizes = std::env::var_os("SLUICE_BENCH_SIZES");
    let sizes = sizes.map_or_else(|| SIZES.to_owned(), |sizes| sizes.display().to_string());
    let sizes =
        sizes.split(',').map(|size| size.trim().parse().expect("SLUICE_BENCH_SIZES is a list of numbers"));
    let control_plane = world::control_plane().await;
    println!("\n| figure | resources | value | API requests | CPU |\n| --- | --- | --- | --- | --- |");
    let mut reported = false;
    for size in sizes {
        if ["apply", "push", "drift", "idle", "restart"].into_iter().any(wanted) {
            let mut world = World::new(control_plane, size).await;
            // Everything is measured on what this applied.
            let mut operator = parts::first_apply(&mut world).await;
            if wanted("push") {
                parts::push(&mut world, &operator).await;
            }
            if wanted("drift") {
                parts::drift(&mut world, &operator).await;
            }
            if wanted("idle") {
                parts::idle(&mut world, &operator).await;
            }
            if wanted("restart") {
                operator = parts::restart(&mut world, operator).await;
            }
            world.suspend().await;
            operator.stop().await;
        }
        if wanted("gateway") && size <= ON_S3 {
            parts::gateway(control_plane, size).await;
        }
        if wanted("brakes") && size <= ON_S3 {
            brakes::print(control_plane, size).await;
        }
        // Not a matter of size.
        if wanted("reports") && !reported {
            taking::print(control_plane, size).await;
            reported = true;
        }
    }
}

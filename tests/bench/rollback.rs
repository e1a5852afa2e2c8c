//! The figures of rollbacks: from the brake to the revert on the branch of a real Git server over smart HTTP.
//!
//! `cargo bench -p sluice --bench rollback` prints all; parts of it by name behind `--`: `idle`, `large`, `writers`.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a measurement that cannot go on says where it stopped"
)]

#[path = "rollback/shop.rs"]
mod shop;
#[path = "rollback/writers.rs"]
mod writers;

use std::time::Duration;

use shop::Shop;
use writers::Writers;

/// Rollbacks of each part.
const ROLLBACKS: usize = 30;
/// Commits and manifests of a large repository.
const COMMITS: usize = 100_000;
const MANIFESTS: usize = 10_000;
/// Others who push to the branch at the same time, and how long each thinks in between, in milliseconds.
const WRITERS: usize = 50;
const THINKS: std::ops::Range<u64> = 1_000..5_000;

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let wanted = |part: &str| wanted.is_empty() || wanted.iter().any(|name| name == part);
    println!(
        "\n| brake to revert on the branch | rollbacks | p50 | p99 | most |\n| --- | --- | --- | --- | --- |"
    );
    if wanted("idle") {
        let mut shop = Shop::new(0, 0);
        row("idle branch", (0..ROLLBACKS).map(|_| shop.roll_back()).collect());
    }
    if wanted("large") {
        let mut shop = Shop::new(COMMITS, MANIFESTS);
        row("100,000 commits, 10,000 manifests", (0..ROLLBACKS).map(|_| shop.roll_back()).collect());
    }
    if wanted("writers") {
        let mut shop = Shop::new(0, 0);
        let writers = Writers::start(&shop, WRITERS, THINKS);
        row("50 others push, each after 1 to 5 s", (0..ROLLBACKS).map(|_| shop.roll_back()).collect());
        let (pushed, lost) = writers.stop(&shop);
        println!("\nOthers pushed {pushed} commits meanwhile; {lost} of them are missing.");
        assert_eq!(lost, 0, "a commit of somebody else is gone");
        assert_eq!(shop.reverts(), ROLLBACKS, "one commit a rollback");
    }
}

fn row(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100].as_millis();
    println!("| {what} | {} | {} ms | {} ms | {} ms |", times.len(), at(50), at(99), at(100));
}

//! Update checks while every channel rolls something out, beside a server where none does.

use std::{path::Path, time::Duration};

use crate::{
    percentiles,
    phones::check,
    process::Server,
    row,
    settings::number,
    shop::{self, Shop},
    updates::CONNECTIONS,
    wrk::{Run, Saturation, saturate},
};

/// Rounds of either server, by turns.
const ROUNDS: usize = 7;
/// Networks that devices come from: of the new devices of one, only some weigh.
const NETWORKS: usize = 65_536;
/// How long nobody asks, in seconds.
const IDLE: u64 = 20;

/// Prints them.
pub fn print(program: &Path) {
    let rollouts = number("SLUICE_BENCH_ROLLOUTS", 100);
    let devices = number("SLUICE_BENCH_DEVICES", 100_000);
    let time = Duration::from_secs(number("SLUICE_BENCH_SECONDS", 5) as u64);
    let checks: Vec<String> = (0..devices).map(|n| check(&shop::id(n % rollouts), n)).collect();
    let of = |app: usize| (app..devices).step_by(rollouts);
    let load = |server: &Server| {
        let run = saturate(&Saturation {
            to: server.address,
            path: "/updates",
            bodies: &checks,
            networks: NETWORKS,
            connections: CONNECTIONS,
            time,
        });
        assert_eq!(run.failed, 0, "failed requests");
        run
    };
    let shops = [Shop::new(rollouts, 4_000), Shop::new(rollouts, 4_000)];
    let servers = shops.each_ref().map(|shop| shop.serve(program, &["--trusted-proxies", "127.0.0.0/8"]));
    for server in &servers {
        (0..rollouts).for_each(|app| Shop::await_offer(server, app, "1.0.1", &of(app)));
        // Only devices that were known before a rollout weigh.
        load(server);
    }
    shops[1].roll_out(rollouts, "1.0.2", "5%");
    shops[1].await_rollouts(rollouts);
    servers[0].pause();
    let enrolling = load(&servers[1]);
    servers[0].resume();

    let mut runs = [Vec::new(), Vec::new()];
    for round in 0..2 * ROUNDS {
        // Which goes first changes, and who is not asked takes nothing from who is.
        let slot = (round + round / 2) % 2;
        servers[1 - slot].pause();
        runs[slot].push(load(&servers[slot]));
        servers[1 - slot].resume();
    }
    let [without, with] = runs.map(median);
    let all = format!("median of {ROUNDS} rounds of {} s, by turns; {devices} devices", time.as_secs());
    row(
        "/updates on one core, no rollout",
        &format!("{:.0} requests/s; {}", without.rate, percentiles(without.latency)),
        &all,
    );
    row(
        &format!("/updates on one core, a rollout on each of {rollouts} channels"),
        &format!("{:.0} requests/s; {}", with.rate, percentiles(with.latency)),
        &format!("{:.0} % of the rate without", 100.0 * with.rate / without.rate),
    );
    row(
        "the same in the seconds after the merge, while the devices enrol",
        &format!("{:.0} requests/s; {}", enrolling.rate, percentiles(enrolling.latency)),
        &format!("{:.0} % of the rate without", 100.0 * enrolling.rate / without.rate),
    );
    let before = servers.each_ref().map(|server| crate::usage::cpu(server.id()));
    std::thread::sleep(Duration::from_secs(IDLE));
    let [without, with] = [0, 1].map(|slot: usize| {
        let used = crate::usage::cpu(servers[slot].id()) - before[slot];
        used * 1e3 / IDLE as f64
    });
    row(
        &format!("CPU time with {rollouts} rollouts when nobody asks"),
        &format!("{with:.1} ms a second; {:.0} MiB resident", servers[1].memory().0),
        &format!("{without:.1} ms without; {:.0} MiB resident", servers[0].memory().0),
    );
}

/// The run whose rate is in the middle.
fn median(mut runs: Vec<Run>) -> Run {
    runs.sort_by(|a, b| a.rate.total_cmp(&b.rate));
    let middle = runs.len() / 2;
    runs.swap_remove(middle)
}

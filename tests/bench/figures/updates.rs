//! Update checks beside a handler that does not think.

use std::{path::Path, time::Duration};

use crate::{
    bare,
    load::{self, Load, post},
    percentiles,
    phones::check,
    row,
    shop::{self, Shop},
    wrk::{Run, Saturation, saturate},
};

const DEVICES: usize = 100_000;
/// Connections of a saturating load.
pub const CONNECTIONS: usize = 64;

/// Prints them.
pub fn print(program: &Path) {
    let shop = Shop::new(1, 4_000);
    let checks: Vec<String> = (0..DEVICES).map(|n| check(&shop::id(0), n)).collect();
    let time = Duration::from_secs(5);
    let ours = shop.serve(program, &[]);
    let body = Shop::await_version(&ours, "1.0.1");
    let plain = bare(&body, shop.folder());
    // Interleaved, so that a noisy neighbour hits both.
    let mut best: [Option<Run>; 2] = [None, None];
    for _ in 0..3 {
        for (slot, server) in [&plain, &ours].into_iter().enumerate() {
            let run = saturate(&Saturation {
                to: server.address,
                path: "/updates",
                bodies: &checks,
                networks: 0,
                connections: CONNECTIONS,
                time,
            });
            assert_eq!(run.failed, 0, "failed requests");
            if best[slot].as_ref().is_none_or(|b| run.rate > b.rate) {
                best[slot] = Some(run);
            }
        }
    }
    let [Some(plain_run), Some(our_run)] = best else { unreachable!("both ran") };
    row(
        "/updates on one core, saturated",
        &format!("{:.0} requests/s; {}", our_run.rate, percentiles(our_run.latency)),
        &format!(
            "{:.0} requests/s of a bare axum handler ({:.0} %)",
            plain_run.rate,
            100.0 * our_run.rate / plain_run.rate
        ),
    );
    let requests = checks.iter().map(|body| post("/updates", body)).collect();
    let rate = Some(our_run.rate / 2.0);
    let half = load::run(Load { to: ours.address, connections: CONNECTIONS, requests, rate, time });
    row("/updates at half load", &format!("{:.0} requests/s; {}", half.rate, percentiles(half.latency)), "");
    let (now, peak) = ours.memory();
    row(
        "memory after it",
        &format!("{now:.0} MiB resident, {peak:.0} MiB at its highest"),
        &format!("{DEVICES} devices"),
    );
}

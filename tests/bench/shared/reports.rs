//! Reports, as fast as they are answered: each answer says that they are durable.

use std::{net::SocketAddr, time::Duration};

use crate::{
    phones::{check, event},
    settings::number,
    usage::cpu,
    wrk::{Saturation, saturate},
};

/// Devices that report.
const DEVICES: usize = 20_000;
/// Reports of an array.
const ARRAY: usize = 20;
/// Reports in a second that no server takes in: none is sent twice.
const MOST: usize = 60_000;
/// Connections while devices become known, and while they report.
const CONNECTIONS: [usize; 2] = [64, 256];

/// What was measured of one way to report.
pub struct Reported {
    /// How.
    pub way: &'static str,
    /// In a second.
    pub rate: f64,
    /// In a second of the server's CPU time: what one core of its own would do.
    pub per_core: f64,
    /// Milliseconds at 50, 99 and 99.9 %.
    pub latency: [f64; 3],
}

/// Measures a server, the process `id`, that serves an app.
pub fn report(to: SocketAddr, id: u32, app: &str) -> Vec<Reported> {
    let seconds = number("SLUICE_BENCH_SECONDS", 5);
    let time = Duration::from_secs(seconds as u64);
    // Devices are known by their first check, as phones are.
    let checks: Vec<String> = (0..DEVICES).map(|n| check(app, n)).collect();
    let (networks, [connections, reporting]) = (0, CONNECTIONS);
    saturate(&Saturation { to, path: "/updates", bodies: &checks, networks, connections, time });
    let mut t = 0;
    let mut next = |size: usize| -> String {
        let mut one = || {
            t += 1;
            event(app, t % DEVICES, t)
        };
        if size == 1 {
            one()
        } else {
            format!("[{}]", (0..size).map(|_| one()).collect::<Vec<_>>().join(","))
        }
    };
    let ways = [("reports in arrays of 20", ARRAY, MOST), ("reports as single requests", 1, MOST / 2)];
    let measure = |(way, size, most)| {
        let bodies: Vec<String> = (0..seconds * most / size).map(|_| next(size)).collect();
        let before = cpu(id);
        let connections = reporting;
        let run = saturate(&Saturation { to, path: "/stats", bodies: &bodies, networks, connections, time });
        assert_eq!(run.failed, 0, "refused reports");
        let used = cpu(id) - before;
        let rate = run.rate * size as f64;
        Reported { way, rate, per_core: rate * seconds as f64 / used, latency: run.latency }
    };
    ways.map(measure).into()
}

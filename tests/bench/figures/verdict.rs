//! From the report that decides until a device is refused.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use sluice_core::gate::breaker::TRIPS;

use crate::{
    load::{post, post_with},
    phones::check,
    process::Server,
    row,
    settings::number,
    shop::{self, Shop, exchange},
};

/// Devices of an app. Half of them are offered the candidate.
const DEVICES: usize = 60;
/// Between two looks of the gate, in milliseconds.
const LOOK: u64 = 500;
/// A report that has stopped nothing after so long did not decide.
const PATIENCE: Duration = Duration::from_secs(3);

/// Prints it.
pub fn print(program: &Path) {
    let rollouts = number("SLUICE_BENCH_ROLLOUTS", 100);
    let shop = Shop::new(rollouts, 4_000);
    let ours = shop.serve(program, &["--poll", "1s", "--trusted-proxies", "127.0.0.0/8"]);
    for app in 0..rollouts {
        Shop::await_offer(&ours, app, "1.0.1", &devices(app));
        // Only devices that were known before a rollout weigh.
        devices(app).for_each(|device| _ = asks(&ours, app, device));
    }
    std::thread::sleep(Duration::from_secs(2));
    shop.roll_out(rollouts, "1.0.2", "50%");
    let treatment: Vec<Vec<usize>> = (0..rollouts)
        .map(|app| {
            Shop::await_offer(&ours, app, "1.0.2", &devices(app));
            devices(app).filter(|device| offers(&asks(&ours, app, *device))).collect()
        })
        .collect();
    let (mut times, mut more) = (Histogram::<u64>::new(3).unwrap(), 0);
    for (app, offered) in treatment.iter().enumerate() {
        let (asking, failing) = offered.split_first().expect("half of them");
        let took = failing.iter().enumerate().find_map(|(n, device)| {
            let decides = n + 1 >= TRIPS as usize;
            if decides {
                // At any moment between two looks.
                std::thread::sleep(Duration::from_millis(rand::random_range(0..LOOK)));
            }
            let answer = exchange(&ours, &post("/stats", &failed(app, *device)));
            assert!(answer.contains("\"ok\""), "a report is refused: {answer}");
            let acknowledged = Instant::now();
            more += usize::from(n >= TRIPS as usize);
            if decides { refused(&ours, app, *asking, acknowledged) } else { None }
        });
        let took = took.expect("a release that does not start is stopped");
        times.record(u64::try_from(took.as_micros()).unwrap()).unwrap();
    }
    let at = |percentile| times.value_at_percentile(percentile) as f64 / 1e3;
    row(
        "decisive report acknowledged to the first device refused",
        &format!("p50 {:.0} ms, p99 {:.0} ms, longest {:.0} ms", at(50.0), at(99.0), at(100.0)),
        &format!("{rollouts} rollouts at one time, each stopped once; {more} reports more than {TRIPS} each"),
    );
}

/// How long after a moment the device is not offered the candidate any more.
fn refused(server: &Server, app: usize, device: usize, since: Instant) -> Option<Duration> {
    while since.elapsed() < PATIENCE {
        if !offers(&asks(server, app, device)) {
            return Some(since.elapsed());
        }
    }
    None
}

fn asks(server: &Server, app: usize, device: usize) -> String {
    // From a network of its own: of the new devices of one, only some weigh.
    let network = format!("X-Forwarded-For: 10.{}.{}.1\r\n", device / 256 % 256, device % 256);
    exchange(server, &post_with("/updates", &check(&shop::id(app), device), &network))
}

/// A report that the candidate did not start.
fn failed(app: usize, device: usize) -> String {
    let check = check(&shop::id(app), device);
    let open = check.replace(r#""version_name":"1.0.0""#, r#""version_name":"1.0.2""#);
    format!(r#"{},"action":"update_fail","old_version_name":""}}"#, open.trim_end_matches('}'))
}

fn offers(answer: &str) -> bool {
    answer.contains("\"version\":\"1.0.2\"")
}

/// Each app has devices of its own.
fn devices(app: usize) -> std::ops::Range<usize> {
    app * DEVICES..(app + 1) * DEVICES
}

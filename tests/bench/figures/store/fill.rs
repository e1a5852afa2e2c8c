//! Filling the store as phones would: through its own interface, in large batches, by a clock of our own.

use std::{path::Path, sync::atomic::Ordering};

use futures::StreamExt as _;

use super::{DAY, HOUR, Population, open, runtime};

/// Check-ins between two commits.
const CHECK_INS: usize = 100_000;
/// Devices whose reports are handed over together, and how many such bundles at one time.
const TOGETHER: usize = 100;
const AT_ONE_TIME: usize = 16;

/// What a device reports, in order.
const STORY: [&str; 10] = [
    "app_moved_to_foreground",
    "app_launch_start",
    "download_zip_start",
    "download_50",
    "download_complete",
    "set_next",
    "app_moved_to_background",
    "set",
    "app_launch_ready",
    "app_moved_to_foreground",
];

/// Fills a new file.
pub fn fill(file: &Path) {
    runtime().block_on(async {
        let population = Population::new();
        let (fleet, clock) = open(file, population.now - 10 * DAY).await;
        let write = async |devices: std::ops::Range<usize>, begin: i64, enrols: bool| {
            for n in devices.clone() {
                let at =
                    begin + HOUR * i64::try_from(n).unwrap() / i64::try_from(population.devices).unwrap();
                clock.store(at, Ordering::Relaxed);
                fleet.check_in(&population.check_in(n, at, enrols));
                if n % CHECK_INS == CHECK_INS - 1 {
                    fleet.flush().await.unwrap();
                }
            }
            fleet.flush().await.unwrap();
        };
        // Four sessions: who is known for so long has habits, and may fall silent.
        for days in [10, 9, 8] {
            write(0..population.devices, population.now - days * DAY, false).await;
        }
        write(0..population.late().start, population.now - 3 * HOUR, true).await;
        clock.store(population.now - HOUR, Ordering::Relaxed);
        let each = population.events.div_ceil(population.devices);
        let batches = (0..population.devices).step_by(TOGETHER).map(|first| {
            let devices = first..(first + TOGETHER).min(population.devices);
            let events = devices.flat_map(|n| {
                (0..each).map(move |k| (n, k)).map(|(n, k)| {
                    let begin = population.now - 3 * HOUR
                        + HOUR * i64::try_from(n).unwrap() / i64::try_from(population.devices).unwrap();
                    // One of fifty is not well, in either arm.
                    let ill = k == each - 1 && n / 3 % 50 == 0;
                    let action = if ill { "app_crash" } else { STORY[k % STORY.len()] };
                    population.event(n, action, begin * 1_000 + 61_000 + 5_000 * i64::try_from(k).unwrap())
                })
            });
            let events: Vec<_> = events.collect();
            fleet.record(events)
        });
        let mut written = futures::stream::iter(batches).buffer_unordered(AT_ONE_TIME);
        while let Some(written) = written.next().await {
            written.unwrap();
        }
        drop(written);
        fleet.close().await.unwrap();
    });
}

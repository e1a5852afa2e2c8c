//! Looks at a full store: those of the gate, and those of people.

use std::{
    path::Path,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use jiff::Timestamp;
use sluice_core::{
    gate::{Design, Evidence, Look, Policy, Records, Share, judge},
    trial::RolloutId,
};
use sluice_store::fleet::{Author, Fleet, FleetError, Subject};

use super::{PER_TREATMENT, Population, device, open, runtime};
use crate::{row, settings::number, usage::memory};

/// Entries of journals that are read at one time, as the gate does.
const ENTRIES: usize = 4_096;
/// Devices that enrol, and reports that come, between two looks: a million devices that come twice a day make 12 checks.
const NEW: usize = 50;
/// Rounds before the first look that counts: by then every rollout had an entry, and what ripened before is folded.
const WARM_UP: usize = 20;
/// Devices that are handed out and erased.
const PEOPLE: usize = 5;

/// A rollout, as the gate keeps it.
struct Running {
    id: RolloutId,
    evidence: Evidence,
    seen: u64,
}

/// Prints what looks cost.
pub fn look(file: &Path) {
    runtime().block_on(async {
        let population = Population::new();
        let began = Instant::now();
        let (fleet, clock) = open(file, population.now).await;
        row("opening the store", &milliseconds(began.elapsed()), "");
        let opened = resident();

        let design = Design::new(&Policy::default(), &Records::default());
        let new = |n| Running { id: population.id(n), evidence: Evidence::new(design), seen: 0 };
        let mut rollouts: Vec<Running> = (0..population.rollouts).map(new).collect();
        let began = Instant::now();
        let (entries, _) = evaluate(&fleet, &mut rollouts).await.unwrap();
        let folded = resident();
        row(
            "folding every journal, after a start",
            &format!("{:.1} s for {entries} entries", began.elapsed().as_secs_f64()),
            &format!("{opened:.0} MiB resident before, {folded:.0} MiB after"),
        );

        let looks = number("SLUICE_BENCH_LOOKS", 1_000);
        let (mut times, mut reading, mut counting) = (histogram(), histogram(), histogram());
        let (mut late, mut entries, mut resident_at) = (population.late(), 0, Vec::new());
        for round in 0..WARM_UP + looks {
            clock.store(Timestamp::now().as_second(), Ordering::Relaxed);
            trickle(&fleet, &population, round, late.by_ref().take(NEW)).await;
            let began = Instant::now();
            let (new, read) = evaluate(&fleet, &mut rollouts).await.unwrap();
            if [WARM_UP, WARM_UP + looks / 2, WARM_UP + looks - 1].contains(&round) {
                resident_at.push(format!("{:.0}", resident()));
            }
            if round < WARM_UP {
                continue;
            }
            note(&mut times, began.elapsed());
            note(&mut reading, read);
            entries += new;
            if round % 30 == 0 {
                let began = Instant::now();
                fleet.active_devices().await.unwrap();
                note(&mut counting, began.elapsed());
            }
        }
        row(
            &format!(
                "one evaluation of {} rollouts, {} devices and {} events",
                population.rollouts, population.devices, population.events
            ),
            &percentiles(&times),
            &format!(
                "{looks} looks, {:.0} new entries each; of that reading {}",
                entries as f64 / looks as f64,
                percentiles(&reading)
            ),
        );
        row("counting the active devices, every 15 s", &percentiles(&counting), "");
        row(
            "resident memory at the first look, in the middle, at the last",
            &format!("{} MiB", resident_at.join(", ")),
            &format!("{} devices that came meanwhile are cached", fleet.figures().cached_devices),
        );
        people(&fleet, &population).await;
        fleet.close().await.unwrap();
        let length = std::fs::metadata(file).unwrap().len();
        row("size of the file", &format!("{:.2} GB", length as f64 / 1e9), "");
    });
}

/// What the gate does twice a second. Returns how many entries were new, and how long it read.
async fn evaluate(fleet: &Fleet, rollouts: &mut [Running]) -> Result<(usize, Duration), FleetError> {
    let shares = [Share { level: 0, treatment: 1.0 / PER_TREATMENT as f64 }];
    let now = Timestamp::now().as_second();
    let (mut new, mut read) = (0, Duration::ZERO);
    let mut behind: Vec<&mut Running> = rollouts.iter_mut().collect();
    while !behind.is_empty() {
        let most = (ENTRIES / behind.len()).max(1);
        let began = Instant::now();
        let of: Vec<(&RolloutId, u64)> = behind.iter().map(|rollout| (&rollout.id, rollout.seen)).collect();
        let news = fleet.news(&of, most).await?;
        read += began.elapsed();
        let mut rest = Vec::new();
        for (rollout, entries) in behind.into_iter().zip(news) {
            for (number, entry) in &entries {
                rollout.evidence.apply(entry);
                rollout.seen = *number;
            }
            new += entries.len();
            if entries.len() == most {
                rest.push(rollout);
            }
        }
        behind = rest;
    }
    for Running { evidence, .. } in rollouts {
        let look = Look {
            now,
            first_level: 0,
            weight_ppm: 50_000,
            began: now,
            soaked: true,
            available: true,
            last: false,
            shares: &shares,
            paused: &[],
        };
        std::hint::black_box(judge(evidence, &Policy::default(), &look));
    }
    Ok((new, read))
}

/// Some devices enrol, and some that are enrolled report.
async fn trickle(fleet: &Fleet, population: &Population, round: usize, late: impl Iterator<Item = usize>) {
    let now = Timestamp::now();
    for n in late {
        fleet.check_in(&population.check_in(n, now.as_second(), true));
    }
    let enrolled = population.late().start;
    let reports = (0..NEW).map(|k| {
        let n = (round * NEW + k) * 7_919 % enrolled;
        let action = if k % 10 == 0 { "app_crash" } else { "app_launch_ready" };
        population.event(n, action, now.as_millisecond())
    });
    fleet.record(reports.collect()).await.unwrap();
    fleet.flush().await.unwrap();
}

/// Hands out and erases single devices.
async fn people(fleet: &Fleet, population: &Population) {
    let (mut exports, mut erasures) = (histogram(), histogram());
    for n in (0..PEOPLE).map(|n| population.devices / PEOPLE * n) {
        let (app, subject) = (population.app(n), Subject::Device(device(n)));
        let began = Instant::now();
        let exported = fleet.export(app, subject).await.unwrap();
        note(&mut exports, began.elapsed());
        assert!(!exported[0].events.is_empty(), "device {n} reported something");
        let author = Author { who: "bench".to_owned(), why: "a measurement".to_owned() };
        let began = Instant::now();
        assert_eq!(fleet.erase(app, subject, author).await.unwrap(), 1);
        note(&mut erasures, began.elapsed());
    }
    row("everything of one device, handed out", &percentiles(&exports), "");
    row("one device erased", &percentiles(&erasures), "");
}

/// MiB of this process.
fn resident() -> f64 {
    memory(std::process::id()).0
}

fn histogram() -> Histogram<u64> {
    Histogram::new(3).unwrap()
}

fn note(times: &mut Histogram<u64>, time: Duration) {
    times.record(u64::try_from(time.as_micros()).unwrap()).unwrap();
}

fn percentiles(times: &Histogram<u64>) -> String {
    let at = |percentile| times.value_at_percentile(percentile) as f64 / 1e3;
    format!("p50 {:.1} ms, p99 {:.1} ms", at(50.0), at(99.0))
}

fn milliseconds(time: Duration) -> String {
    format!("{:.0} ms", time.as_secs_f64() * 1e3)
}

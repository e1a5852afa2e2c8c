//! Speed of the fleet store: a printed table, never a verdict.
//!
//! `cargo bench -p sluice-store --bench fleet`; under `taskset -c 0` it is what one core does, the flushes of the disk
//! included. The file is made in `$TMPDIR`: a memory file system there hides the price of a flush. With
//! `SLUICE_BENCH_DATABASE_URL=postgres://…` the same over a server, whose schema `sluice` is dropped for it.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a benchmark prints, stops at the first surprise, and is told where by the environment"
)]

use std::{
    hint::black_box,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use sluice_core::{
    channel::Platform, client::PluginVersion, digest::Digest, ids::AppId, native::NativeVersion,
    outcome::Event, request::DeviceKey,
};
use sluice_store::fleet::{CheckIn, Fleet, FleetUrl, Limits, Offer};
use sqlx::{Connection as _, Executor as _};

const APP: &str = "com.example.shop";
const START: i64 = 1_800_000_000;
const DEVICES: u64 = 100_000;
const LASTS: Duration = Duration::from_secs(5);

fn device(n: u64) -> DeviceKey {
    DeviceKey::of(&format!("00000000-0000-4000-8000-{n:012x}"))
}

fn check(device: DeviceKey, digest: &Digest) -> CheckIn<'_> {
    CheckIn {
        app: APP,
        device,
        at: START,
        platform: Platform::Android,
        plugin: "8.51.23",
        native: "1.0.0",
        os: "16",
        running: "1.0.0",
        channel: Some("production"),
        production: true,
        emulator: false,
        custom_id: None,
        offered: Some(Offer { version: "2.0.0", digest }),
    }
}

fn event(device: DeviceKey, action: &str, timestamp: Option<i64>) -> Event {
    Event {
        app: APP.parse::<AppId>().unwrap(),
        device,
        probe: false,
        platform: Platform::Android,
        plugin: PluginVersion::new(8, 51, 23),
        native: NativeVersion(1, 0, 0),
        action: action.to_owned(),
        version: Some("2.0.0".to_owned()),
        file: None,
        old_version: None,
        timestamp,
        production: true,
        emulator: false,
        metadata: Vec::new(),
        message: None,
    }
}

/// What one device says of one update, as clients batch it.
const STORY: [&str; 20] = [
    "app_moved_to_foreground",
    "app_launch_start",
    "download_zip_start",
    "download_10",
    "download_20",
    "download_30",
    "download_40",
    "download_50",
    "download_60",
    "download_70",
    "download_80",
    "download_90",
    "download_zip_complete",
    "download_complete",
    "set_next",
    "app_moved_to_background",
    "set",
    "app_launch_ready",
    "webview_page_loaded",
    "app_moved_to_foreground",
];

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let server = std::env::var("SLUICE_BENCH_DATABASE_URL").ok();
    for server in [None, server.as_deref()].into_iter().take(1 + usize::from(server.is_some())) {
        println!("{}", if server.is_some() { "In a server" } else { "In a file" });
        println!("| what | per second | CPU each | note |\n| --- | --- | --- | --- |");
        runtime.block_on(table(server));
    }
}

async fn table(server: Option<&str>) {
    check_ins(server).await;
    events(server, 16, "events in arrays of 20, 16 callers", |device, at| {
        STORY
            .iter()
            .enumerate()
            .map(|(n, a)| event(device, a, Some(at + i64::try_from(n).unwrap())))
            .collect()
    })
    .await;
    events(server, 64, "single events with a time, 64 callers", |device, at| {
        vec![event(device, "set", Some(at))]
    })
    .await;
    events(server, 64, "single events without a time, 64 callers", |device, at| {
        vec![event(device, &format!("download_{at}"), None)]
    })
    .await;
}

/// An empty store.
async fn open(directory: &tempfile::TempDir, server: Option<&str>) -> Fleet {
    let clock = Arc::new(AtomicI64::new(START));
    let limits = Limits { queued_check_ins: 200_000, ..Limits::default() };
    let url = match server {
        None => FleetUrl::file(directory.path().join("fleet.db")),
        Some(url) => {
            let mut connection = sqlx::PgConnection::connect(url).await.unwrap();
            connection.execute("DROP SCHEMA IF EXISTS sluice CASCADE").await.unwrap();
            connection.close().await.unwrap();
            url.parse().unwrap()
        }
    };
    Fleet::connect(&url, Arc::new(move || clock.load(Ordering::Relaxed)), limits).await.unwrap()
}

/// When a measurement began: on the wall, and in processor time of this process, which neighbours do not disturb.
struct Begin(Instant, Duration);

impl Begin {
    fn now() -> Self {
        Self(Instant::now(), cpu())
    }

    fn row(&self, what: &str, n: u64, note: &str) {
        let (took, cpu) = (self.0.elapsed(), cpu().saturating_sub(self.1));
        let each = cpu.as_secs_f64() * 1e6 / n as f64;
        println!("| {what} | {:.0} | {each:.2} µs | {note} |", n as f64 / took.as_secs_f64());
    }
}

/// Processor time so far, in hundredths of a second; nothing where there is no `/proc`.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(") ").next().unwrap_or_default().split(' ').skip(11).take(2);
    Duration::from_millis(10 * fields.filter_map(|ticks| ticks.parse::<u64>().ok()).sum::<u64>())
}

async fn check_ins(server: Option<&str>) {
    let directory = tempfile::tempdir().unwrap();
    let fleet = open(&directory, server).await;
    let digest = Digest::of(b"2.0.0");
    let devices: Vec<_> = (0..DEVICES).map(device).collect();
    let begin = Begin::now();
    for device in &devices {
        fleet.check_in(&check(*device, &digest));
    }
    begin.row("check-ins of new devices, handed over", DEVICES, "not yet written");
    fleet.flush().await.unwrap();
    let note = format!(
        "{} written, {} dropped",
        fleet.figures().written_check_ins,
        fleet.figures().dropped_check_ins
    );
    begin.row("check-ins of new devices, written", DEVICES, &note);
    let begin = Begin::now();
    for _ in 0..20 {
        for device in &devices {
            fleet.check_in(black_box(&check(*device, &digest)));
        }
    }
    begin.row("check-ins that change nothing", 20 * DEVICES, "");
    fleet
        .set_channel(APP, devices[0], "beta".parse().unwrap(), sluice_core::memory::OverrideBy::Device, None)
        .await
        .unwrap();
    let begin = Begin::now();
    for _ in 0..20 {
        for device in &devices {
            black_box(fleet.memory(APP, *black_box(device)));
        }
    }
    begin.row("device memory looked up", 20 * DEVICES, "");
    fleet.close().await.unwrap();
}

async fn events(
    server: Option<&str>,
    callers: u64,
    what: &str,
    make: impl Fn(DeviceKey, i64) -> Vec<Event> + Copy,
) {
    let directory = tempfile::tempdir().unwrap();
    let fleet = open(&directory, server).await;
    let digest = Digest::of(b"2.0.0");
    let devices: Vec<_> = (0..DEVICES).map(device).collect();
    for device in &devices {
        fleet.check_in(&check(*device, &digest));
    }
    fleet.flush().await.unwrap();
    let (next, written) = (AtomicU64::new(0), AtomicU64::new(0));
    let before = fleet.figures().commits;
    let begin = Begin::now();
    let caller = || async {
        while begin.0.elapsed() < LASTS {
            let n = next.fetch_add(1, Ordering::Relaxed);
            let device = devices[usize::try_from(n % DEVICES).unwrap()];
            let at = START * 1000 + i64::try_from(n * 20).unwrap();
            let accepted = fleet.record(make(device, at)).await.unwrap();
            written.fetch_add(accepted.len() as u64, Ordering::Relaxed);
        }
    };
    futures::future::join_all((0..callers).map(|_| caller())).await;
    let commits = fleet.figures().commits - before;
    let n = written.load(Ordering::Relaxed);
    begin.row(what, n, &format!("{commits} commits, {:.0} events each", n as f64 / commits as f64));
    fleet.close().await.unwrap();
}

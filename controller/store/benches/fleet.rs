//! Speed of the fleet store: a printed table, never a verdict.
//!
//! `cargo bench -p sluice-store --bench fleet`; under `taskset -c 0` it is what one core does, the flushes of the disk
//! included. The file is made in `$TMPDIR`: a memory file system there hides the price of a flush. With
//! `SLUICE_BENCH_DATABASE_URL=postgres://…` the same over a server, whose schema `sluice` is dropped for it.
//!
//! `SLUICE_BENCH_DEVICES` (100,000) says how many devices there are, `SLUICE_BENCH_SECONDS` (5) how long a measurement
//! lasts, `SLUICE_BENCH_JOURNAL` (10,000,000) how many entries the journal has that is read.

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
    channel::Platform,
    client::PluginVersion,
    digest::Digest,
    ids::AppId,
    native::NativeVersion,
    outcome::Event,
    request::DeviceKey,
    trial::{Arm, Membership, RolloutId},
};
use sluice_store::fleet::{CheckIn, Enrolling, Fleet, FleetUrl, Limits, Offer};
use sqlx::{ConnectOptions as _, Connection as _, Executor as _};

const APP: &str = "com.example.shop";
const START: i64 = 1_800_000_000;
const DAY: i64 = 24 * 3600;
const LINE: &str = "ios,android,electron|*";
/// One app has so many channels, each with a rollout.
const CHANNELS: [&str; 4] = ["production", "beta", "internal", "partners"];

/// A number that the environment may change.
fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().map_or(otherwise, |text| text.parse().unwrap())
}

fn devices() -> Vec<DeviceKey> {
    (0..number("SLUICE_BENCH_DEVICES", 100_000)).map(device).collect()
}

fn device(n: u64) -> DeviceKey {
    DeviceKey::of(&format!("00000000-0000-4000-8000-{n:012x}"))
}

/// Whether the channels have rollouts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rollouts {
    None,
    Running,
}

impl Rollouts {
    fn note(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Running => ", a rollout on every channel",
        }
    }
}

/// A device is on one channel; one of twenty is in the treatment arm.
fn enrolling(device: DeviceKey) -> Enrolling<'static> {
    let byte = usize::from(device.as_bytes()[3]);
    let arm = if device.as_bytes()[4].is_multiple_of(20) { Arm::Treatment } else { Arm::Control };
    Enrolling {
        channel: CHANNELS[byte % CHANNELS.len()],
        line: LINE,
        membership: Membership { serial: 1, level: 0, arm },
        candidate: "2.0.0",
        started: START + DAY,
        prefix: Some(u64::from(device.as_bytes()[5])),
    }
}

fn check(device: DeviceKey, digest: &Digest, rollouts: Rollouts) -> CheckIn<'_> {
    CheckIn {
        app: APP,
        device,
        at: START,
        platform: Platform::Android,
        plugin: "8.51.23",
        native: "1.0.0",
        os: "16",
        running: "1.0.0",
        channel: Some(enrolling(device).channel),
        production: true,
        emulator: false,
        custom_id: None,
        offered: Some(Offer { version: "2.0.0", digest }),
        trial: (rollouts == Rollouts::Running).then(|| enrolling(device)),
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
    for rollouts in [Rollouts::None, Rollouts::Running] {
        all_events(server, rollouts).await;
    }
    journal(server).await;
}

async fn all_events(server: Option<&str>, rollouts: Rollouts) {
    events(server, rollouts, 16, "events in arrays of 20, 16 callers", |device, at| {
        STORY
            .iter()
            .enumerate()
            .map(|(n, a)| event(device, a, Some(at + i64::try_from(n).unwrap())))
            .collect()
    })
    .await;
    events(server, rollouts, 64, "single events with a time, 64 callers", |device, at| {
        vec![event(device, "set", Some(at))]
    })
    .await;
    events(server, rollouts, 64, "single events that trials look at, 64 callers", |device, at| {
        vec![event(device, if at % 1_000 == 0 { "app_crash" } else { "app_launch_ready" }, Some(at))]
    })
    .await;
    events(server, rollouts, 64, "single events without a time, 64 callers", |device, at| {
        vec![event(device, &format!("download_{at}"), None)]
    })
    .await;
}

/// An empty store, two days after its devices were seen first.
async fn open(directory: &tempfile::TempDir, server: Option<&str>) -> Fleet {
    let url = place(directory, server);
    if let Some(url) = server {
        let mut connection = sqlx::PgConnection::connect(url).await.unwrap();
        connection.execute("DROP SCHEMA IF EXISTS sluice CASCADE").await.unwrap();
        connection.close().await.unwrap();
    }
    connect(&url).await
}

fn place(directory: &tempfile::TempDir, server: Option<&str>) -> FleetUrl {
    match server {
        None => FleetUrl::file(directory.path().join("fleet.db")),
        Some(url) => url.parse().unwrap(),
    }
}

async fn connect(url: &FleetUrl) -> Fleet {
    let clock = Arc::new(AtomicI64::new(START + 2 * DAY));
    let limits = Limits { queued_check_ins: 200_000, ..Limits::default() };
    Fleet::connect(url, Arc::new(move || clock.load(Ordering::Relaxed)), limits).await.unwrap()
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
    let devices = devices();
    let many = devices.len() as u64;
    let begin = Begin::now();
    hand_over(&fleet, &devices, &digest, Rollouts::None).await;
    begin.row("check-ins of new devices, handed over", many, "not yet written");
    fleet.flush().await.unwrap();
    let note = format!(
        "{} written, {} dropped",
        fleet.figures().written_check_ins,
        fleet.figures().dropped_check_ins
    );
    begin.row("check-ins of new devices, written", many, &note);
    repeat(&fleet, &devices, &digest, Rollouts::None);
    let begin = Begin::now();
    hand_over(&fleet, &devices, &digest, Rollouts::Running).await;
    fleet.flush().await.unwrap();
    let enrolled: u64 =
        fleet.rollouts().await.unwrap().iter().flat_map(|r| r.levels.values()).map(|l| l.enrolled).sum();
    begin.row("check-ins that enrol, written", many, &format!("{enrolled} weigh"));
    repeat(&fleet, &devices, &digest, Rollouts::Running);
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
    begin.row("device memory looked up", 20 * many, "");
    fleet.close().await.unwrap();
}

/// Check-ins of every device, no more at a time than may wait.
async fn hand_over(fleet: &Fleet, devices: &[DeviceKey], digest: &Digest, rollouts: Rollouts) {
    for (n, device) in devices.iter().enumerate() {
        if n > 0 && n.is_multiple_of(200_000) {
            fleet.flush().await.unwrap();
        }
        let at = if rollouts == Rollouts::Running { START + 2 * DAY } else { START };
        fleet.check_in(&CheckIn { at, ..check(*device, digest, rollouts) });
    }
}

/// The path of `/updates` when nothing changed. The figures with and without rollouts are to be compared.
fn repeat(fleet: &Fleet, devices: &[DeviceKey], digest: &Digest, rollouts: Rollouts) {
    let at = if rollouts == Rollouts::Running { START + 2 * DAY + 1 } else { START };
    let begin = Begin::now();
    for _ in 0..20 {
        for device in devices {
            fleet.check_in(black_box(&CheckIn { at, ..check(*device, digest, rollouts) }));
        }
    }
    begin.row(&format!("check-ins that change nothing{}", rollouts.note()), 20 * devices.len() as u64, "");
}

/// Reads a long journal as the gate does after it was started: from the beginning, in pieces.
async fn journal(server: Option<&str>) {
    let entries = number("SLUICE_BENCH_JOURNAL", 10_000_000);
    let directory = tempfile::tempdir().unwrap();
    let fleet = open(&directory, server).await;
    let (device, digest) = (device(0), Digest::of(b"2.0.0"));
    fleet.check_in(&check(device, &digest, Rollouts::None));
    fleet.check_in(&CheckIn { at: START + 2 * DAY, ..check(device, &digest, Rollouts::Running) });
    fleet.close().await.unwrap();
    let fill = format!(
        "WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < {entries}) \
         INSERT INTO journal (rollout, seq, kind, level, ordinal, arm, what, at, platform, os, native) \
         SELECT 1, i, 0, 0, NULL, CASE WHEN i % 20 = 0 THEN 0 ELSE 1 END, NULL, {START}, 'android', 16, '1.0.0' FROM n"
    );
    match server {
        None => {
            let file = directory.path().join("fleet.db");
            let options = sqlx::sqlite::SqliteConnectOptions::new().filename(file);
            let mut connection = options.connect().await.unwrap();
            connection.execute(sqlx::AssertSqlSafe(fill)).await.unwrap();
            connection.close().await.unwrap();
        }
        Some(url) => {
            let mut connection = sqlx::PgConnection::connect(url).await.unwrap();
            connection.execute("SET search_path = sluice").await.unwrap();
            connection.execute(sqlx::AssertSqlSafe(fill)).await.unwrap();
            connection.close().await.unwrap();
        }
    }
    let fleet = connect(&place(&directory, server)).await;
    let rollout = RolloutId {
        app: APP.parse().unwrap(),
        channel: enrolling(device).channel.parse().unwrap(),
        line: LINE.to_owned(),
        serial: 1,
    };
    let begin = Begin::now();
    let mut read = 0;
    loop {
        let news = fleet.journal(&rollout, read, 10_000).await.unwrap();
        let Some((newest, _)) = black_box(&news).last() else { break };
        read = *newest;
    }
    begin.row("entries of a journal, read", read, "in pieces of 10,000");
    let begin = Begin::now();
    for _ in 0..100_000 {
        black_box(fleet.journal(&rollout, read, 10_000).await.unwrap());
    }
    begin.row("journals without news, asked", 100_000, "");
    let begin = Begin::now();
    for _ in 0..1_000 {
        black_box(fleet.journal(&rollout, read - 1, 10_000).await.unwrap());
    }
    begin.row("journals with one new entry, read", 1_000, "");
    fleet.close().await.unwrap();
}

async fn events(
    server: Option<&str>,
    rollouts: Rollouts,
    callers: u64,
    what: &str,
    make: impl Fn(DeviceKey, i64) -> Vec<Event> + Copy,
) {
    let directory = tempfile::tempdir().unwrap();
    let fleet = open(&directory, server).await;
    let digest = Digest::of(b"2.0.0");
    let devices = devices();
    hand_over(&fleet, &devices, &digest, Rollouts::None).await;
    fleet.flush().await.unwrap();
    if rollouts == Rollouts::Running {
        hand_over(&fleet, &devices, &digest, rollouts).await;
        fleet.flush().await.unwrap();
    }
    let lasts = Duration::from_secs(number("SLUICE_BENCH_SECONDS", 5));
    let (next, written) = (AtomicU64::new(0), AtomicU64::new(0));
    let before = fleet.figures().commits;
    let begin = Begin::now();
    let caller = || async {
        while begin.0.elapsed() < lasts {
            let n = next.fetch_add(1, Ordering::Relaxed);
            let device = devices[usize::try_from(n % devices.len() as u64).unwrap()];
            let at = (START + 2 * DAY) * 1000 + i64::try_from(n * 20).unwrap();
            let accepted = fleet.record(make(device, at)).await.unwrap();
            written.fetch_add(accepted.len() as u64, Ordering::Relaxed);
        }
    };
    futures::future::join_all((0..callers).map(|_| caller())).await;
    let commits = fleet.figures().commits - before;
    let n = written.load(Ordering::Relaxed);
    begin.row(
        &format!("{what}{}", rollouts.note()),
        n,
        &format!("{commits} commits, {:.0} events each", n as f64 / commits as f64),
    );
    fleet.close().await.unwrap();
}

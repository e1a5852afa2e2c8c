//! The fleet store at the size of a large fleet: what an evaluation of its rollouts costs, a device, and a start.

#[path = "store/fill.rs"]
mod fill;
#[path = "store/look.rs"]
mod look;

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Instant,
};

use jiff::Timestamp;
use sluice_core::{
    channel::Platform,
    client::PluginVersion,
    digest::Digest,
    native::NativeVersion,
    outcome::Event,
    request::DeviceKey,
    trial::{Arm, Membership, RolloutId},
};
use sluice_store::fleet::{CheckIn, Enrolling, Fleet, FleetUrl, Limits, Offer};

pub use self::{fill::fill, look::look};
use crate::{
    row,
    settings::number,
    shop::{self, Shop},
};

const HOUR: i64 = 3_600;
const DAY: i64 = 24 * HOUR;
const CHANNEL: &str = "production";
/// What devices run, and what is rolled out.
const STABLE: &str = "1.0.1";
const CANDIDATE: &str = "1.0.2";
/// One of so many devices is offered the candidate.
const PER_TREATMENT: usize = 20;

/// Prints them. Everything that is made goes with the folder.
pub fn print(program: &Path) {
    let shop = Shop::new(number("SLUICE_BENCH_ROLLOUTS", 100), 4_000);
    let file = shop.data().join("fleet.db");
    // The first start makes what is served.
    start(&shop, program);
    let empty = start(&shop, program);
    for more in ["", "-wal", "-shm"] {
        // It was left as it was when the server was killed.
        let _ = std::fs::remove_file(format!("{}{more}", file.display()));
    }
    let began = Instant::now();
    ourselves("fill", &file, "0,1");
    row(
        "filling the store",
        &format!("{:.0} s", began.elapsed().as_secs_f64()),
        "once, not a figure of Sluice",
    );
    ourselves("look", &file, "0");
    let full = start(&shop, program);
    row(
        "start of `sluice serve` with that file, until devices are answered",
        &format!("{:.2} s; {:.0} MiB resident", full.0, full.1),
        &format!("{:.2} s and {:.0} MiB with an empty one", empty.0, empty.1),
    );
}

/// Seconds until the server answers as it should, and MiB that it takes then.
fn start(shop: &Shop, program: &Path) -> (f64, f64) {
    let began = Instant::now();
    let server = shop.serve(program, &[]);
    Shop::await_version(&server, STABLE);
    let took = began.elapsed().as_secs_f64();
    shop.await_ready();
    let memory = server.memory().0;
    server.stop();
    (took, memory)
}

/// Runs a part in a process of its own, whose memory is nobody else's, on some cores.
fn ourselves(part: &str, file: &Path, cores: &str) {
    let program = std::env::current_exe().unwrap();
    let mut command = Command::new("taskset");
    let status = command.args(["-c", cores]).arg(program).arg(part).arg(file).status();
    assert!(status.unwrap().success(), "{part} ended early");
}

/// What is put into the store.
struct Population {
    devices: usize,
    events: usize,
    rollouts: usize,
    apps: Vec<String>,
    digests: [Digest; 2],
    now: i64,
}

impl Population {
    fn new() -> Self {
        let devices = number("SLUICE_BENCH_DEVICES", 1_000_000);
        let rollouts = number("SLUICE_BENCH_ROLLOUTS", 100);
        Self {
            devices,
            events: number("SLUICE_BENCH_EVENTS", 10 * devices),
            rollouts,
            apps: (0..rollouts).map(shop::id).collect(),
            digests: [STABLE, CANDIDATE].map(|version| Digest::of(version.as_bytes())),
            now: Timestamp::now().as_second(),
        }
    }

    /// Devices that have not asked since the rollouts began: the last tenth.
    fn late(&self) -> std::ops::Range<usize> {
        self.devices - self.devices / 10..self.devices
    }

    /// The rollout of a device: half of all devices use one app, the others use the rest.
    fn rollout(&self, n: usize) -> usize {
        let group = n / PER_TREATMENT;
        if group.is_multiple_of(2) || self.rollouts == 1 { 0 } else { 1 + group / 2 % (self.rollouts - 1) }
    }

    fn app(&self, n: usize) -> &str {
        &self.apps[self.rollout(n)]
    }

    fn id(&self, rollout: usize) -> RolloutId {
        RolloutId {
            app: self.apps[rollout].parse().unwrap(),
            channel: CHANNEL.parse().unwrap(),
            line: "ios,android,electron|*".to_owned(),
            serial: 2,
        }
    }

    /// A check of device `n`, before the rollouts began or since.
    fn check_in(&self, n: usize, at: i64, enrols: bool) -> CheckIn<'_> {
        let treatment = is_treatment(n);
        let (version, digest) =
            if enrols && treatment { (CANDIDATE, &self.digests[1]) } else { (STABLE, &self.digests[0]) };
        let arm = if treatment { Arm::Treatment } else { Arm::Control };
        let trial = Enrolling {
            channel: CHANNEL,
            line: "ios,android,electron|*",
            membership: Membership { serial: 2, level: 0, arm },
            candidate: CANDIDATE,
            started: self.now - 4 * HOUR,
            prefix: Some((n / 50) as u64),
        };
        CheckIn {
            app: self.app(n),
            device: device(n),
            at,
            platform: Platform::ALL[n / 7 % 2],
            plugin: "8.51.23",
            native: ["1.0.0", "1.1.0", "1.2.0"][n / 11 % 3],
            os: ["14", "15", "16", "17", "18"][n / 13 % 5],
            running: "1.0.0",
            channel: Some(CHANNEL),
            production: true,
            emulator: false,
            custom_id: None,
            offered: Some(Offer { version, digest }),
            trial: enrols.then_some(trial),
        }
    }

    fn event(&self, n: usize, action: &str, milliseconds: i64) -> Event {
        Event {
            app: self.app(n).parse().unwrap(),
            device: device(n),
            probe: false,
            platform: Platform::ALL[n / 7 % 2],
            plugin: PluginVersion::new(8, 51, 23),
            native: NativeVersion(1, 0, 0),
            action: action.to_owned(),
            version: Some(if is_treatment(n) { CANDIDATE } else { STABLE }.to_owned()),
            file: None,
            old_version: None,
            timestamp: Some(milliseconds),
            production: true,
            emulator: false,
            metadata: Vec::new(),
            message: None,
        }
    }
}

fn is_treatment(n: usize) -> bool {
    n.is_multiple_of(PER_TREATMENT)
}

fn device(n: usize) -> DeviceKey {
    DeviceKey::of(&format!("00000000-0000-4000-8000-{n:012x}"))
}

/// The store in a file, by a clock that is set by hand.
async fn open(file: &Path, now: i64) -> (Fleet, Arc<AtomicI64>) {
    let clock = Arc::new(AtomicI64::new(now));
    let told = Arc::clone(&clock);
    let limits = Limits { queued_check_ins: 200_000, queued_events: 200_000, ..Limits::default() };
    let url = FleetUrl::file(PathBuf::from(file));
    let fleet = Fleet::connect(&url, Arc::new(move || told.load(Ordering::Relaxed)), limits).await.unwrap();
    (fleet, clock)
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

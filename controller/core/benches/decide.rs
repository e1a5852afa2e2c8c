//! How many decisions one core makes with 10,000 channels loaded, and how often each allocates. Prints a table and
//! asserts nothing: `cargo bench -p sluice-core --bench decide`.

#![expect(unsafe_code, reason = "counts allocations")]
#![expect(clippy::print_stdout, reason = "prints the table")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    collections::BTreeMap,
    hint::black_box,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use sluice_core::{
    brake::{Brake, BrakeId, BrakeIndex, Brakes, Devices, Scope},
    channel::{Access, Audience, Platform, Platforms, Target, Upgrade},
    client::{Client, PluginVersion},
    cohort::{Cohort, Order, Salt},
    decide::{decide, decide_at_limit},
    digest::Digest,
    memory::{DeviceMemory, Failed},
    native::NativeVersion,
    record::Zip,
    release::RollbackPolicy,
    request::{DeviceKey, Request},
    snapshot::{App, CandidateEntry, ChannelEntry, FORMAT, Limits, LineEntry, Offer, Root, Shard, Snapshot},
};

struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: every call goes to the system allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const APPS: usize = 100;
const CHANNELS: usize = 100;
const RUN: Duration = Duration::from_secs(2);

fn snapshot(rollouts: bool, limited: bool) -> Snapshot {
    let staff: Audience =
        serde_json::from_str(r#"{"os": ">=13", "customIds": ["qa-*", "staff-*"]}"#).expect("an audience");
    let line = |native: Option<&str>, version: &str| {
        let native = native.map(|range| range.parse().expect("a range"));
        let stable = Target::Release(version.parse().expect("a version"));
        let cohort = Cohort {
            salt: Salt::from_bytes([7; 32]),
            serial: 3,
            order: Order::Fair,
            weight: 50_000,
            below: 0,
        };
        let candidate = CandidateEntry {
            release: "2.2.0".parse().expect("a version"),
            cohort,
            level: 0,
            started: 0,
            open: true,
            limits: Limits { audience: limited.then(|| staff.clone()), ..Limits::default() },
        };
        let line = LineEntry::serving(native, Platforms::ALL, Some(stable));
        let offers_per_minute = limited.then_some(1_000_000);
        LineEntry { candidate: rollouts.then_some(candidate), offers_per_minute, ..line }
    };
    let offer = |version: &str| Offer {
        digest: Digest::of(version.as_bytes()),
        zip: Zip { sha256: Digest::of(b"zip"), crc32: 1, size: 1 },
        native: Some(">=1.0.0 <5.0.0".parse().expect("a range")),
        rollback: RollbackPolicy::default(),
        notes: None,
        link: None,
        key_id: None,
    };
    let apps = (0..APPS).map(|app| {
        let channels = (0..CHANNELS)
            .map(|channel| ChannelEntry {
                channel: format!("channel-{channel}").parse().expect("a name"),
                access: Access {
                    public: channel == 0,
                    self_assign: true,
                    upgrade: Upgrade::Any,
                    ..Access::default()
                },
                lines: vec![line(Some(">=4.0.0"), "2.1.0"), line(None, "1.4.2")],
                allow_held: Vec::new(),
                audience: limited.then(|| staff.clone()),
            })
            .collect();
        let offers = ["1.4.2", "2.1.0", "2.2.0"].map(|v| (v.parse().expect("a version"), offer(v))).into();
        let app = format!("com.example.app{app}").parse().expect("an app id");
        Arc::new(App::compile(Shard { app, offers, channels }).expect("a shard"))
    });
    let root =
        Root { format: FORMAT, installation: String::new(), epoch: 0, generation: 1, apps: BTreeMap::new() };
    Snapshot::new(root, apps)
}

/// One brake of something else in every app.
fn brakes() -> Brakes {
    let mut index = BrakeIndex::default();
    for app in 0..APPS {
        let (app, digest) =
            (format!("com.example.app{app}").parse().expect("an app id"), Digest::of(b"1.3.0"));
        index.add(&Brake {
            id: BrakeId::derive(&app, &digest, &Scope::App, Devices::Return, 0),
            app,
            digest,
            release: Some("1.3.0".parse().expect("a version")),
            scope: Scope::App,
            devices: Devices::Return,
            by: "gate".into(),
            why: "it breaks".into(),
            at: jiff::Timestamp::UNIX_EPOCH,
            evidence: None,
            rollback: false,
        });
    }
    Brakes::compile(&index, &Brakes::none())
}

fn main() {
    let (none, some) = (Brakes::none(), brakes());
    let limited = snapshot(true, true);
    let (snapshot, rollouts) = (snapshot(false, false), snapshot(true, false));
    let ids: Vec<String> = (0..APPS).map(|app| format!("com.example.app{app}")).collect();
    let wishes: Vec<String> = (0..CHANNELS).map(|channel| format!("channel-{channel}")).collect();
    let memory = DeviceMemory {
        channel: None,
        failed: vec![Failed { digest: Digest::of(b"1.3.0"), native: NativeVersion(1, 0, 0), at: 0 }],
    };
    let request = Request {
        app_id: "",
        device: DeviceKey::of("00000000-0000-4000-8000-000000000001"),
        probe: false,
        client: Client::new(Platform::Android, PluginVersion::new(8, 51, 23)),
        native: NativeVersion(1, 0, 0),
        native_text: "1.0.0",
        current: "1.0.0",
        on_builtin: true,
        default_channel: None,
        emulator: false,
        production: true,
        key_id: None,
        os: Some("14"),
        custom_id: Some("staff-ada"),
        locale: None,
        country: None,
    };
    println!("{} channels in {APPS} apps, one thread\n", APPS * CHANNELS);
    println!("{:<32}{:>14}{:>10}{:>14}", "case", "decisions/s", "ns each", "allocations");
    run("public channel", |n| {
        let request = Request { app_id: &ids[n % APPS], ..request };
        black_box(decide(&snapshot, &none, None, black_box(&request), 1));
    });
    run("channel by name, memory", |n| {
        let wish = Some(wishes[n / APPS % CHANNELS].as_str());
        let request = Request { app_id: &ids[n % APPS], default_channel: wish, ..request };
        black_box(decide(&snapshot, &none, Some(&memory), black_box(&request), 1));
    });
    run("up to date", |n| {
        let request = Request { app_id: &ids[n % APPS], current: "1.4.2", on_builtin: false, ..request };
        black_box(decide(&snapshot, &none, None, black_box(&request), 1));
    });
    let keys: Vec<DeviceKey> = (0..1_000).map(|n| DeviceKey::of(&n.to_string())).collect();
    run("rollout, public channel", |n| {
        let request = Request { app_id: &ids[n % APPS], device: keys[n % keys.len()], ..request };
        black_box(decide(&rollouts, &none, None, black_box(&request), 1));
    });
    run("rollout, up to date", |n| {
        let (app_id, device) = (ids[n % APPS].as_str(), keys[n % keys.len()]);
        let request = Request { app_id, device, current: "1.4.2", on_builtin: false, ..request };
        black_box(decide(&rollouts, &none, None, black_box(&request), 1));
    });
    run("rollout and brakes, up to date", |n| {
        let (app_id, device) = (ids[n % APPS].as_str(), keys[n % keys.len()]);
        let request = Request { app_id, device, current: "1.4.2", on_builtin: false, ..request };
        black_box(decide(&rollouts, &some, None, black_box(&request), 1));
    });
    run("audiences and a limit", |n| {
        let (app_id, device) = (ids[n % APPS].as_str(), keys[n % keys.len()]);
        let request = Request { app_id, device, ..request };
        let decision = black_box(decide(&limited, &none, None, black_box(&request), 1));
        black_box(decision.paced.is_some_and(|paced| paced.take(n as u64)));
    });
    run("at the limit", |n| {
        let (app_id, device) = (ids[n % APPS].as_str(), keys[n % keys.len()]);
        let request = Request { app_id, device, ..request };
        black_box(decide_at_limit(&limited, &none, None, black_box(&request), 1));
    });
    run("unknown app", |_| {
        let request = Request { app_id: "com.example.unknown", ..request };
        black_box(decide(&snapshot, &none, None, black_box(&request), 1));
    });
}

fn run(name: &str, mut decision: impl FnMut(usize)) {
    for n in 0..100_000 {
        decision(n);
    }
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    let start = Instant::now();
    let mut count = 0;
    while start.elapsed() < RUN {
        for n in count..count + 10_000 {
            decision(n);
        }
        count += 10_000;
    }
    let seconds = start.elapsed().as_secs_f64();
    let allocations = (ALLOCATIONS.load(Ordering::Relaxed) - before) as f64 / count as f64;
    let rate = count as f64 / seconds;
    println!("{name:<32}{rate:>14.0}{:>10.0}{allocations:>14.3}", 1e9 / rate);
}

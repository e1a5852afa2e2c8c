//! The figures of the embedded server, measured side by side in one run and printed as a table.
//!
//! `cargo bench -p sluice --bench figures` prints all; parts of it by name behind `--`: `updates`, `downloads`, `events`,
//! `push`, `scale`, and those of rollouts: `rollouts`, `verdict`, `store`. `SLUICE_BENCH_PROGRAM` measures another build.
//! `SLUICE_BENCH_SECONDS` says how long one load lasts, `SLUICE_BENCH_ROLLOUTS` and `SLUICE_BENCH_DEVICES` how many there are.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test or a measurement that cannot go on says where it stopped"
)]

#[path = "figures/bare.rs"]
mod bare;
#[path = "figures/load.rs"]
mod load;
#[path = "shared/phones.rs"]
mod phones;
#[path = "figures/process.rs"]
mod process;
#[path = "shared/reports.rs"]
mod reports;
#[path = "figures/rollouts.rs"]
mod rollouts;
#[path = "shared/settings.rs"]
mod settings;
#[path = "figures/shop.rs"]
mod shop;
#[path = "figures/store.rs"]
mod store;
#[path = "figures/updates.rs"]
mod updates;
#[path = "shared/usage.rs"]
mod usage;
#[path = "figures/verdict.rs"]
mod verdict;
#[path = "shared/wrk.rs"]
mod wrk;

use std::{
    path::Path,
    time::{Duration, Instant},
};

use load::{Load, get};
use process::{Server, await_that, free_address, pin_load};
use reports::Reported;
use shop::Shop;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["bare", listen, body, folder] => {
            return bare::serve(listen.parse().unwrap(), body.to_owned(), folder.into());
        }
        ["fill", file] => return store::fill(file.as_ref()),
        ["look", file] => return store::look(file.as_ref()),
        _ => {}
    }
    let wanted = |group: &str| arguments.is_empty() || arguments.iter().any(|a| a == group);
    let program = settings::program();
    pin_load();
    println!("\n| figure | value | compared with |\n| --- | --- | --- |");
    for (group, figure) in [
        ("updates", updates::print as fn(&Path)),
        ("downloads", downloads),
        ("events", events),
        ("push", push),
        ("scale", scale),
        ("rollouts", rollouts::print),
        ("verdict", verdict::print),
        ("store", store::print),
    ] {
        if wanted(group) {
            figure(&program);
        }
    }
}

fn row(figure: &str, value: &str, compared: &str) {
    println!("| {figure} | {value} | {compared} |");
}

fn percentiles([p50, p99, p999]: [f64; 3]) -> String {
    format!("p50 {p50:.2} ms, p99 {p99:.2} ms, p99.9 {p999:.2} ms")
}

fn bare(body: &str, folder: &Path) -> Server {
    let listen = free_address();
    let program = std::env::current_exe().unwrap().display().to_string();
    Server::start(
        vec![program, "bare".into(), listen.to_string(), body.to_owned(), folder.display().to_string()],
        listen,
    )
}

fn downloads(program: &Path) {
    let shop = Shop::new(1, 5_000_000);
    let ours = shop.serve(program, &[]);
    let body = Shop::await_version(&ours, "1.0.1");
    let path = shop::download_path(&body);
    let artefacts = shop.data().join("store/artefacts");
    let plain = bare(&body, &artefacts);
    let load = |to, connections| {
        let requests = vec![get(&path)];
        load::run(Load { to, connections, requests, rate: None, time: Duration::from_secs(5) })
    };
    let mut best = [0.0_f64; 2];
    for _ in 0..3 {
        for (slot, server) in [&plain, &ours].into_iter().enumerate() {
            let run = load(server.address, 16);
            assert_eq!(run.failed, 0, "failed downloads");
            best[slot] = best[slot].max(run.rate * 5.0);
        }
    }
    row(
        "downloads of 5 MB on one core",
        &format!("{:.0} MB/s", best[1]),
        &format!("{:.0} MB/s of a plain static-file handler ({:.0} %)", best[0], 100.0 * best[1] / best[0]),
    );
    let parallel = load(ours.address, 1_000);
    assert_eq!(parallel.failed, 0, "failed downloads");
    row(
        "1,000 parallel downloads of 5 MB",
        &format!("{:.0} MiB resident at the highest", ours.memory().1),
        &format!("{:.0} MB/s", parallel.rate * 5.0),
    );
}

fn events(program: &Path) {
    let shop = Shop::new(1, 4_000);
    let ours = shop.serve(program, &[]);
    Shop::await_version(&ours, "1.0.1");
    for Reported { way, rate, per_core, latency } in reports::report(ours.address, ours.id(), &shop::id(0)) {
        row(
            &format!("{way}, durable, on one core"),
            &format!("{rate:.0} reports/s; {}", percentiles(latency)),
            &format!("{per_core:.0} in a second of CPU time"),
        );
    }
}

fn push(program: &Path) {
    let shop = Shop::new(1, 4_000);
    let secret = shop.folder().join("hook-secret");
    std::fs::write(&secret, "bench").unwrap();
    let ours = shop.serve(program, &["--poll", "10m", "--hook-secret-file", &secret.display().to_string()]);
    Shop::await_version(&ours, "1.0.1");
    let mut times = hdrhistogram::Histogram::<u64>::new(3).unwrap();
    for n in 2..42 {
        let version = format!("1.0.{n}");
        shop.release(&version);
        let start = Instant::now();
        Shop::hook(&ours, "bench");
        await_that("the new release is served", || Shop::served(&ours).contains(&version));
        times.record(u64::try_from(start.elapsed().as_micros()).unwrap()).unwrap();
    }
    row(
        "push to served, with a webhook",
        &format!(
            "p50 {:.0} ms, p99 {:.0} ms",
            times.value_at_percentile(50.0) as f64 / 1e3,
            times.value_at_percentile(99.0) as f64 / 1e3
        ),
        "a new release with a bundle of 3 files, 40 pushes",
    );
}

fn scale(program: &Path) {
    const MANIFESTS: usize = 10_000;
    let shop = Shop::many(MANIFESTS);
    let tree = shop.work_tree();
    let start = Instant::now();
    let status = std::process::Command::new(program).arg("validate").arg(&tree).status().unwrap();
    assert!(status.success(), "validate found problems");
    row(&format!("validate {MANIFESTS} manifests"), &format!("{:.2} s", start.elapsed().as_secs_f64()), "");

    let cold = shop.serve(program, &[]);
    let start = Instant::now();
    Shop::await_version(&cold, "1.0.1");
    row(
        "first start until served",
        &format!("{:.1} s", start.elapsed().as_secs_f64()),
        "the bundles of channels first",
    );
    shop.await_ready();
    cold.stop();
    let start = Instant::now();
    let warm = shop.serve(program, &[]);
    shop.await_ready();
    row("start on a warm store to ready", &format!("{:.2} s", start.elapsed().as_secs_f64()), "");
    Shop::await_observed(&warm);
    row("resident memory", &format!("{:.0} MiB", warm.memory().0), &format!("{MANIFESTS} manifests"));
}

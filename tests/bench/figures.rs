//! The figures of the README: measured side by side in one run, printed as a table. `cargo bench -p sluice --bench figures`; one
//! group alone with `cargo bench -p sluice --bench figures -- updates`.
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
#[path = "figures/process.rs"]
mod process;
#[path = "figures/shop.rs"]
mod shop;

use std::{
    path::Path,
    time::{Duration, Instant},
};

use load::{Load, Run, get, post, saturate};
use process::{Server, await_that, free_address, pin_load, sluice};
use shop::Shop;

const DEVICES: usize = 100_000;
const CONNECTIONS: usize = 64;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    if let [mode, listen, body, folder] = arguments.as_slice()
        && mode == "bare"
    {
        bare::serve(listen.parse().unwrap(), body.clone(), folder.into());
        return;
    }
    let wanted = |group: &str| arguments.is_empty() || arguments.iter().any(|a| a == group);
    let program = sluice();
    pin_load();
    println!("\n| figure | value | compared with |\n| --- | --- | --- |");
    for (group, figure) in [
        ("updates", updates as fn(&Path)),
        ("downloads", downloads),
        ("events", events),
        ("push", push),
        ("scale", scale),
    ] {
        if wanted(group) {
            figure(&program);
        }
    }
}

fn row(figure: &str, value: &str, compared: &str) {
    println!("| {figure} | {value} | {compared} |");
}

fn percentiles(run: &Run) -> String {
    let [p50, p99, p999] = run.latency;
    format!("p50 {p50:.2} ms, p99 {p99:.2} ms, p99.9 {p999:.2} ms")
}

/// An update check of device `n` on its shipped bundle.
fn check(n: usize) -> String {
    format!(
        r#"{{"version_os":"14","plugin_version":"8.51.23","device_id":"00000000-0000-4000-8000-{n:012x}","custom_id":"","version_code":"1","version_build":"1.0.0","platform":"android","version_name":"1.0.0","is_prod":true,"install_source":"google_play","app_id":"com.example.shop","defaultChannel":"","is_emulator":false}}"#
    )
}

fn bare(body: &str, folder: &Path) -> Server {
    let listen = free_address();
    let program = std::env::current_exe().unwrap().display().to_string();
    Server::start(
        vec![program, "bare".into(), listen.to_string(), body.to_owned(), folder.display().to_string()],
        listen,
    )
}

fn updates(program: &Path) {
    let shop = Shop::new(1, 4_000);
    let checks: Vec<String> = (0..DEVICES).map(check).collect();
    let time = Duration::from_secs(5);
    let ours = shop.serve(program, &[]);
    let body = Shop::await_version(&ours, "1.0.1");
    let plain = bare(&body, shop.folder());
    // Interleaved, so that a noisy neighbour hits both.
    let mut best: [Option<Run>; 2] = [None, None];
    for _ in 0..3 {
        for (slot, server) in [&plain, &ours].into_iter().enumerate() {
            let run = saturate(server.address, "/updates", &checks, CONNECTIONS, time);
            assert_eq!(run.failed, 0, "failed requests");
            if best[slot].as_ref().is_none_or(|b| run.rate > b.rate) {
                best[slot] = Some(run);
            }
        }
    }
    let [Some(plain_run), Some(our_run)] = best else { unreachable!("both ran") };
    row(
        "/updates on one core, saturated",
        &format!("{:.0} requests/s; {}", our_run.rate, percentiles(&our_run)),
        &format!(
            "{:.0} requests/s of a bare axum handler ({:.0} %)",
            plain_run.rate,
            100.0 * our_run.rate / plain_run.rate
        ),
    );
    let requests = checks.iter().map(|body| post("/updates", body)).collect();
    let rate = Some(our_run.rate / 2.0);
    let half = load::run(Load { to: ours.address, connections: CONNECTIONS, requests, rate, time });
    row("/updates at half load", &format!("{:.0} requests/s; {}", half.rate, percentiles(&half)), "");
    let (now, peak) = ours.memory();
    row(
        "memory after it",
        &format!("{now:.0} MiB resident, {peak:.0} MiB at its highest"),
        &format!("{DEVICES} devices"),
    );
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
    let event = |n: usize, t: usize| {
        let check = check(n);
        let open = check.trim_end_matches('}');
        format!(
            r#"{open},"action":"app_moved_to_foreground","old_version_name":"","timestamp":{}}}"#,
            1_795_495_935_000 + t
        )
    };
    // Devices are known by their first check, as phones are.
    let checks: Vec<String> = (0..20_000).map(check).collect();
    saturate(ours.address, "/updates", &checks, CONNECTIONS, Duration::from_secs(3));
    let mut t = 0;
    let mut next = |size: usize| -> String {
        let list: Vec<String> = (0..size)
            .map(|_| {
                t += 1;
                event(t % 20_000, t)
            })
            .collect();
        if size == 1 { list[0].clone() } else { format!("[{}]", list.join(",")) }
    };
    for (figure, size, count) in
        [("events in arrays of 20", 20, 12_000), ("events as single requests", 1, 90_000)]
    {
        let bodies: Vec<String> = (0..count).map(|_| next(size)).collect();
        let run = saturate(ours.address, "/stats", &bodies, 256, Duration::from_secs(5));
        assert_eq!(run.failed, 0, "refused events");
        row(
            &format!("{figure}, durable, on one core"),
            &format!("{:.0} events/s; {}", run.rate * size as f64, percentiles(&run)),
            "",
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

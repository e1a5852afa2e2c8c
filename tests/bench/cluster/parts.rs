//! What is measured, each a row or two of the table.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use kube::{
    Api,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::json;
use sluice_crds::{Channel, Release};
use sluice_test_parts::ControlPlane;

use crate::{
    bucket::Bucket,
    content,
    cost::{total, words, writes},
    program::{LIMIT, Program},
    usage::{cpu, memory},
    world::{Cpu, HOOK_SECRET, World},
};

/// Pushes of each size.
const PUSHES: usize = 40;
/// Changes behind Git's back.
const CHANGES: usize = 50;
/// Between two looks of a gateway at the bucket, in milliseconds.
const LOOKS: u64 = 1_000;
/// How long an idle operator is watched.
const IDLE: Duration = Duration::from_mins(1);
/// Without a request in this time, nothing is left to do.
const QUIET: Duration = Duration::from_secs(3);

pub fn row(figure: &str, world: &World, value: &str, requests: &str, cpu: &str) {
    println!("| {figure} | {} | {value} | {requests} | {cpu} |", world.content.resources());
}

pub fn times() -> Histogram<u64> {
    Histogram::new(3).unwrap()
}

pub fn record(times: &mut Histogram<u64>, time: Duration) {
    times.record(u64::try_from(time.as_micros()).unwrap()).unwrap();
}

pub fn percentiles(times: &Histogram<u64>) -> String {
    let at = |quantile| times.value_at_quantile(quantile) as f64 / 1e3;
    format!("p50 {:.0} ms, p99 {:.0} ms", at(0.5), at(0.99))
}

/// CPU time of one of `count`.
fn each(cpu: Cpu, count: usize) -> String {
    let ms = |seconds: f64| seconds * 1e3 / count as f64;
    format!("{:.0} ms operator, {:.0} ms API server and etcd, each", ms(cpu.operator), ms(cpu.cluster))
}

fn whole(cpu: Cpu) -> String {
    format!("{:.1} s operator, {:.1} s API server and etcd", cpu.operator, cpu.cluster)
}

/// Waits until the operator asks nothing but for its lease any more. Returns what it asked until then.
async fn quiet(world: &mut World) -> crate::cost::Counted {
    let mut all = crate::cost::Counted::new();
    let start = Instant::now();
    let mut last = Instant::now();
    while last.elapsed() < QUIET {
        assert!(start.elapsed() < LIMIT, "it goes on asking: {}", words(&all));
        tokio::time::sleep(Duration::from_millis(200)).await;
        let asked = world.requests.since();
        if total(&asked) > 0 {
            last = Instant::now();
        }
        for (what, count) in asked {
            *all.entry(what).or_default() += count;
        }
    }
    all
}

/// From an empty namespace until everything is there and ready.
pub async fn first_apply(world: &mut World) -> Program {
    let operator = world.with_gateway().await;
    sluice_test_parts::until(LIMIT, "the operator leads", async || {
        operator.metric("sluice_leader").await > 0.5
    })
    .await;
    world.requests.since();
    let before = world.cpu(&operator);
    let start = Instant::now();
    world.follow(json!({})).await;
    let all = world.content.resources();
    let applied = world.board.until("everything is applied", LIMIT, |board| board.count().0 == all).await;
    let ready = world.await_ready().await;
    let cpu = world.cpu(&operator).since(before);
    let asked = quiet(world).await;
    row(
        "first apply",
        world,
        &format!(
            "applied {:.1} s, Ready {:.1} s; {:.2} writes per object",
            (applied - start).as_secs_f64(),
            (ready - start).as_secs_f64(),
            writes(&asked) as f64 / all as f64
        ),
        &words(&asked),
        &whole(cpu),
    );
    let (now, peak) = memory(operator.id());
    row("memory after it", world, &format!("{now:.0} MiB resident, {peak:.0} MiB at its highest"), "", "");
    operator
}

/// From a webhook until devices are answered otherwise, and until the resource and its status say so.
pub async fn push(world: &mut World, operator: &Program) {
    let (mut served, mut applied, mut told) = (times(), times(), times());
    world.requests.since();
    let before = world.cpu(operator);
    for number in 0..PUSHES {
        let channel = world.content.channel(number);
        let (name, version) = (channel.name(), content::next(number));
        world.upstream.commit(channel.moved_to(&version));
        let start = Instant::now();
        operator.hint(&world.namespace, HOOK_SECRET).await;
        let told_at = async {
            let wanted = |board: &crate::board::Board| {
                board.get(&name).is_some_and(|seen| seen.wanted.as_deref() == Some(&*version))
            };
            let applied_at = world.board.until("the channel is applied", LIMIT, wanted).await;
            let says = |board: &crate::board::Board| {
                board.get(&name).is_some_and(|seen| seen.ready && seen.served.as_deref() == Some(&*version))
            };
            (applied_at, world.board.until("the channel says it", LIMIT, says).await)
        };
        let (served_at, (applied_at, told_at)) = tokio::join!(operator.offers(channel, &version), told_at);
        record(&mut served, served_at - start);
        record(&mut applied, applied_at - start);
        record(&mut told, told_at - start);
    }
    let asked = quiet(world).await;
    // What is done after a push belongs to it.
    let cpu = world.cpu(operator).since(before);
    let requests = format!("{:.1} each: {}", total(&asked) as f64 / PUSHES as f64, words(&asked));
    row("push to served", world, &percentiles(&served), &requests, &each(cpu, PUSHES));
    row("push to applied", world, &percentiles(&applied), "", "");
    row("push to said in status", world, &percentiles(&told), "", "");
}

/// From a webhook until devices of a gateway of its own are answered otherwise: it has the bucket and nothing else.
pub async fn gateway(control_plane: &'static ControlPlane, resources: usize) {
    let bucket = Bucket::new().await;
    let world = World::new(control_plane, resources).await;
    let operator = bucket.operator(&world).await;
    let gateway = bucket.gateway(&world).await;
    world.follow(json!({})).await;
    world.await_ready().await;
    let mut served = times();
    let before = world.cpu(&gateway);
    for number in 0..PUSHES {
        let channel = world.content.channel(number);
        let version = content::next(number);
        // At any moment between two of its looks: the push before ended with one.
        tokio::time::sleep(Duration::from_millis(rand::random_range(0..LOOKS))).await;
        world.upstream.commit(channel.moved_to(&version));
        let start = Instant::now();
        operator.hint(&world.namespace, HOOK_SECRET).await;
        record(&mut served, gateway.offers(channel, &version).await - start);
    }
    let cpu = world.cpu(&gateway).since(before);
    let (now, _) = memory(gateway.id());
    row(
        "push to served by a gateway on S3",
        &world,
        &format!("{}; {now:.0} MiB resident", percentiles(&served)),
        "",
        &format!(
            "{:.0} ms gateway, each, with what the waiting device asks",
            cpu.operator * 1e3 / PUSHES as f64
        ),
    );
    world.suspend().await;
    operator.stop().await;
    gateway.stop().await;
}

/// From a change behind Git's back until it is undone.
pub async fn drift(world: &mut World, operator: &Program) {
    let client = world.control_plane.client();
    let channels: Api<Channel> = Api::namespaced(client.clone(), &world.namespace);
    let releases: Api<Release> = Api::namespaced(client, &world.namespace);
    let names: Vec<String> = releases
        .list(&ListParams::default())
        .await
        .unwrap()
        .iter()
        .map(kube::ResourceExt::name_any)
        .collect();
    let mut undone = times();
    world.requests.since();
    let before = world.cpu(operator);
    for (number, name) in names.iter().enumerate().take(CHANGES) {
        // Half of them channels, as far as there are enough: one that is changed too often is left alone.
        let patch_params = PatchParams::default();
        let (name, generation) = if number < CHANGES.min(world.content.channels()) / 2 {
            let name = world.content.channel(number).name();
            let patch = Patch::Merge(json!({ "spec": { "release": "9.9.9" } }));
            let changed = channels.patch(&name, &patch_params, &patch).await.unwrap();
            (name, changed.metadata.generation.unwrap())
        } else {
            let patch = Patch::Merge(json!({ "spec": { "notes": "somebody else's" } }));
            let changed = releases.patch(name, &patch_params, &patch).await.unwrap();
            (name.clone(), changed.metadata.generation.unwrap())
        };
        let start = Instant::now();
        let later =
            |board: &crate::board::Board| board.get(&name).is_some_and(|seen| seen.generation > generation);
        record(&mut undone, world.board.until("the change is undone", LIMIT, later).await - start);
        world.await_ready().await;
    }
    let asked = quiet(world).await;
    let cpu = world.cpu(operator).since(before);
    let requests = format!("{:.1} each: {}", total(&asked) as f64 / CHANGES as f64, words(&asked));
    row("drift put right", world, &percentiles(&undone), &requests, &each(cpu, CHANGES));
}

/// What looking at a repository costs in which nothing happens.
pub async fn idle(world: &mut World, operator: &Program) {
    let mut spent = Vec::new();
    for (figure, more) in [("no poll", json!({})), ("poll over https", json!({ "interval": "1s" }))] {
        world.follow(more).await;
        tokio::time::sleep(QUIET).await;
        quiet(world).await;
        world.git.http.seen();
        let before = world.cpu(operator);
        tokio::time::sleep(IDLE).await;
        let cpu = world.cpu(operator).since(before);
        let asked = world.requests.since();
        let polls = world.git.http.seen().iter().filter(|seen| seen.authorization.is_some()).count();
        spent.push(cpu.operator);
        let value = if figure == "no poll" {
            format!("{:.0} ms of CPU in a minute", cpu.operator * 1e3)
        } else {
            let more = (cpu.operator - spent[0]) * 1e3;
            format!(
                "{polls} requests to Git in a minute; {:.1} ms of CPU more for each",
                more / polls.max(1) as f64
            )
        };
        row(figure, world, &value, &format!("{}: {}", total(&asked), words(&asked)), &whole(cpu));
    }
    world.follow(json!({})).await;
    quiet(world).await;
}

/// From the start of a process after another one that was asked to stop.
pub async fn restart(world: &mut World, operator: Program) -> Program {
    let stopped = operator.stop().await;
    world.requests.since();
    let operator = world.with_gateway().await;
    let channel = world.content.channel(0);
    let right = world.board.get(&channel.name()).unwrap().served.unwrap();
    let answered = operator.offers(channel, &right).await - operator.started;
    sluice_test_parts::until(LIMIT, "the operator is steady", async || {
        operator.metric("sluice_leader").await > 0.5
            && operator.is_ready().await
            && operator.log().contains("compared with the cluster")
    })
    .await;
    let steady = operator.started.elapsed();
    let cpu = cpu(operator.id());
    let asked = quiet(world).await;
    row(
        "restart",
        world,
        &format!(
            "stopped in {:.2} s, devices answered after {:.2} s, steady after {:.2} s; {} writes",
            stopped.as_secs_f64(),
            answered.as_secs_f64(),
            steady.as_secs_f64(),
            writes(&asked)
        ),
        &words(&asked),
        &format!("{cpu:.1} s operator"),
    );
    operator
}

//! The server is killed again and again while a fleet reports: what it acknowledged is counted, and once.

use std::{collections::BTreeMap, fs, path::PathBuf, sync::Arc};

use serde_json::Value;
use sluice_repo::testing::Changes;
use sluice_store::fleet::{Fleet, OutcomeCounts};

use crate::support::{APP, Seeded, Server, World, channel, phone, program, with_version};

/// How often it is killed.
const KILLS: u32 = 20;
/// Events that it takes in before it is killed, at most and beside those that it always takes in.
const EVENTS: u32 = 300;

/// A fleet that runs until it is asked to end.
struct Simulation(std::process::Child, PathBuf);

impl Simulation {
    /// A fleet on whose phones each version of these fails now and then.
    fn start(world: &World, server: &str, versions: &[String]) -> Self {
        let mut command = program();
        command.args(["simulate", "--server", server, "--app", APP, "--phones", "2000", "--seed", "5"]);
        command.args(["--connections", "16", "--speed", "4000", "--warm-up", "2s", "--for", "20m"]);
        command.args(["--downloads", "0", "--json"]).arg(world.file("report.json"));
        for version in versions {
            command.args(["--bundle", &format!("{version}:launch=10%,install=10%")]);
        }
        let place = world.file("simulate.log");
        let log = fs::File::create(&place).unwrap();
        Self(command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap(), place)
    }

    /// Asks it to end, and returns its last counts.
    fn end(mut self, world: &World) -> Value {
        let kill = std::process::Command::new("kill").args(["-INT", &self.0.id().to_string()]).status();
        assert!(kill.unwrap().success());
        let ended = self.0.wait().unwrap();
        let log = fs::read_to_string(&self.1).unwrap();
        assert!(ended.success(), "{ended}: {log}");
        let report: Value =
            serde_json::from_str(&fs::read_to_string(world.file("report.json")).unwrap()).unwrap();
        report["samples"].as_array().unwrap().last().unwrap()["totals"].clone()
    }
}

impl Drop for Simulation {
    #[expect(clippy::print_stdout, reason = "the harness shows it with the failure")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("---- simulate\n{}", fs::read_to_string(&self.1).unwrap_or_default());
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn version(round: u32) -> String {
    format!("1.3.{round}")
}

fn publish(world: &World, round: u32) {
    let version = version(round);
    let everybody = "  public: true\n  rollout: { strategy: Immediate }\n";
    world.commit(
        with_version(Changes::new(), &version)
            .file("channels/production.yaml", channel("production", &version, everybody)),
    );
}

/// Runs a fleet through twenty releases, and kills the server in the middle of each when `kills`. Returns what the fleet
/// says was acknowledged and what may have been, and what the server counts.
async fn releases(kills: bool) -> (Value, Value, BTreeMap<String, OutcomeCounts>) {
    let world = World::shop();
    let mut server = world.serve();
    let place = server.url().strip_prefix("http://").unwrap().to_owned();
    phone(9_999).awaits(&server, "1.1.0");
    let versions: Vec<String> = (0..KILLS).map(version).collect();
    let fleet = Simulation::start(&world, &server.url(), &versions);
    let takes_in = |server: &Server, events: u32| {
        let wanted = server.metric("sluice_fleet_events_new_total") + f64::from(events);
        server.eventually("events arrive", |server| {
            (server.metric("sluice_fleet_events_new_total") >= wanted).then_some(())
        });
    };
    let mut seeded = Seeded(20_261_125);
    for round in 0..KILLS {
        publish(&world, round);
        phone(9_999).awaits(&server, &version(round));
        takes_in(&server, 50 + seeded.below(EVENTS));
        if kills {
            server.kill();
            server = world.serve_with(&["--listen", &place]);
        }
    }
    // Phones that were not answered say it again.
    phone(9_999).awaits(&server, &version(KILLS - 1));
    takes_in(&server, 2_000);
    let totals = fleet.end(&world);
    assert!(server.stop().success());
    let store = Fleet::open(&world.data().join("fleet.db"), Arc::new(|| 0)).await.unwrap();
    let counted = store.outcome_counts(APP).await.unwrap();
    (totals["acknowledged"].clone(), totals["doubtful"].clone(), counted)
}

async fn reconcile(kills: bool) {
    let (acknowledged, doubtful, counted) = releases(kills).await;
    let (mut facts, mut doubts) = (0, 0);
    for round in 0..KILLS {
        let version = version(round);
        let counted = counted.get(&version).copied().unwrap_or_default();
        for (fact, counted) in [
            ("activated", counted.trials),
            ("launchFailed", counted.launch_failures),
            ("installFailed", counted.install_failures),
        ] {
            let of = |told: &Value| told[&version][fact].as_u64().unwrap_or(0);
            let (least, most) = (of(&acknowledged), of(&acknowledged) + of(&doubtful));
            assert!(least <= counted, "{version} {fact}: {least} acknowledged, {counted} counted");
            assert!(counted <= most, "{version} {fact}: {counted} counted, {most} told");
            facts += least;
            // Only old clients leave it open which bundle could not be installed.
            doubts += if fact == "activated" { of(&doubtful) } else { 0 };
        }
    }
    assert!(facts > 2_000, "the fleet did little: {acknowledged}");
    if !kills {
        assert_eq!(doubts, 0, "nothing was lost: {doubtful}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_kills_lose_nothing_and_count_nothing_twice() {
    reconcile(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_undisturbed_fleet_is_counted_exactly() {
    reconcile(false).await;
}

//! The conformance suite over every back end, and the faults of files.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use async_trait::async_trait;
use sluice_core::memory::OverrideBy;
use sluice_test_parts::Postgres;
use sqlx::{ConnectOptions as _, Connection as _, sqlite::SqliteConnectOptions};

use super::{
    Accepted, Clock, Fleet, FleetError, FleetUrl, Limits,
    testing::{self, APP, Hands, Place, bundle, check, device, event},
};

mod server;
mod trials;

struct File(tempfile::TempDir);

impl File {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("fleet.db")
    }
}

#[async_trait]
impl Place for File {
    async fn open(&self, clock: Clock, limits: Limits) -> Result<Fleet, FleetError> {
        Fleet::open_with(&self.path(), clock, limits).await
    }
}

/// A database of a real server.
struct Server(FleetUrl);

impl Server {
    async fn new() -> Self {
        Self(Postgres::shared().await.database().await.parse().unwrap())
    }
}

#[async_trait]
impl Place for Server {
    async fn open(&self, clock: Clock, limits: Limits) -> Result<Fleet, FleetError> {
        Fleet::connect(&self.0, clock, limits).await
    }
}

/// The conformance suite over both: the same promises, whatever keeps them.
macro_rules! conformance {
    ($($name:ident),* $(,)?) => {
        mod in_a_file {
            $(
                #[tokio::test]
                async fn $name() {
                    super::testing::$name(&super::File::new()).await;
                }
            )*
        }
        mod in_postgres {
            $(
                #[tokio::test]
                async fn $name() {
                    super::testing::$name(&super::Server::new().await).await;
                }
            )*
        }
    };
}

conformance!(
    a_clock_that_goes_back,
    active_bundle_is_not_blamed,
    active_devices_are_counted,
    active_devices_by_day_and_bundle,
    bursts_count_once,
    coverage_is_timed,
    crowds_are_capped,
    deliveries_fail_three_times,
    devices_are_exported_and_erased,
    devices_enrol_once,
    duplicates,
    ended_rollouts_go,
    every_device_stands_somewhere,
    full_queues_refuse,
    journals_tell_what_a_model_tells,
    nothing_is_left_of_an_erased_device,
    odd_times,
    old_rows_go,
    only_changes_are_written,
    overrides_last,
    reports_fail_enrolments,
    requests_show_launches,
    segments_count_once,
    segments_enrol_once,
    segments_say_what_devices_said,
    silence_is_judged,
    strangers_and_unknown_names,
    support_puts_devices_on_channels,
    survives_a_restart,
    what_is_remembered_of_devices,
    what_success_is,
);

#[tokio::test]
async fn a_file_has_one_owner() {
    let file = File::new();
    let hands = Hands::default();
    let first = Fleet::open(&file.path(), hands.clock()).await.unwrap();
    let second = Fleet::open(&file.path(), hands.clock()).await;
    assert!(matches!(second, Err(FleetError::InUse { .. })), "{second:?}");
    first.close().await.unwrap();
    Fleet::open(&file.path(), hands.clock()).await.unwrap();
}

async fn set_meta(path: &Path, sql: &'static str) {
    let mut connection = SqliteConnectOptions::new().filename(path).connect().await.unwrap();
    sqlx::query(sql).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

#[tokio::test]
async fn formats_of_later_releases() {
    let file = File::new();
    let hands = Hands::default();
    let fleet = Fleet::open(&file.path(), hands.clock()).await.unwrap();
    fleet.check_in(&check(1, hands.now(), "1.0.0", None));
    fleet.close().await.unwrap();
    // The next release added something that this one can live with.
    set_meta(&file.path(), "UPDATE meta SET value = '8' WHERE name = 'schema'").await;
    set_meta(&file.path(), "ALTER TABLE devices ADD COLUMN tomorrow TEXT").await;
    let later = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
                 VALUES (8, 'tomorrow', 1, x'00', 0)";
    set_meta(&file.path(), later).await;
    let fleet = Fleet::open(&file.path(), hands.clock()).await.unwrap();
    fleet.check_in(&check(1, hands.now(), "1.0.1", None));
    fleet.flush().await.unwrap();
    assert_eq!(fleet.device(APP, device(1)).await.unwrap().unwrap().running, "1.0.1");
    fleet.close().await.unwrap();
    // A far newer one did not.
    set_meta(&file.path(), "UPDATE meta SET value = '9' WHERE name IN ('schema', 'readable_by')").await;
    let refused = Fleet::open(&file.path(), hands.clock()).await.unwrap_err();
    assert!(matches!(refused, FleetError::Newer { found: 9, readable_by: 9, .. }), "{refused}");
    assert!(refused.to_string().contains("newer release"));
}

/// A file of the release before knows no trials, and no counts of active devices.
#[tokio::test]
async fn a_file_of_the_release_before() {
    let (file, hands) = (File::new(), Hands::default());
    let fleet = Fleet::open(&file.path(), hands.clock()).await.unwrap();
    for n in 0..3 {
        let mut check = check(n, hands.now(), "1.0.0", None);
        check.channel = (n > 0).then_some("production");
        fleet.check_in(&check);
    }
    fleet.close().await.unwrap();
    for table in [
        "rollouts",
        "levels",
        "enrolments",
        "journal",
        "prefixes",
        "active",
        "acts",
        "census",
        "funnel",
        "coverage",
        "traffic",
    ] {
        let drop: String = format!("DROP TABLE {table}");
        set_meta(&file.path(), drop.leak()).await;
    }
    let steps = ["offered_at", "downloaded_at", "ran_at", "rolled_back_at", "refused_at", "refusal"];
    let of_outcomes = steps.map(|column| ("outcomes", column));
    for (table, column) in
        [("overrides", "who"), ("overrides", "why"), ("devices", "standing")].into_iter().chain(of_outcomes)
    {
        let drop: String = format!("ALTER TABLE {table} DROP COLUMN {column}");
        set_meta(&file.path(), drop.leak()).await;
    }
    set_meta(&file.path(), "DELETE FROM _sqlx_migrations WHERE version >= 3").await;
    set_meta(&file.path(), "UPDATE meta SET value = '2' WHERE name = 'schema'").await;
    let fleet = Fleet::open(&file.path(), hands.clock()).await.unwrap();
    let active = fleet.active_devices().await.unwrap();
    let active: Vec<_> = active.iter().map(|a| (a.channel.as_deref(), a.devices)).collect();
    assert_eq!(active, [(None, 1), (Some("production"), 2)]);
    assert_eq!(fleet.rollouts().await.unwrap(), []);
}

/// The files beside the store, sorted.
fn files(file: &File) -> Vec<String> {
    let names =
        std::fs::read_dir(file.0.path()).unwrap().map(|f| f.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| name != "fleet.db.lock").collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_damaged_file_is_set_aside() {
    let (file, hands) = (File::new(), Hands::default());
    let garbage = vec![b'x'; 8192];
    std::fs::write(file.path(), &garbage).unwrap();
    let fleet = Fleet::open(&file.path(), hands.clock()).await.unwrap();
    assert_eq!(fleet.figures().damaged_files, 1);
    let digest = bundle("2.0.0");
    fleet.check_in(&check(1, hands.now(), "1.0.0", Some(("2.0.0", &digest))));
    fleet.flush().await.unwrap();
    fleet.close().await.unwrap();
    let names = files(&file);
    assert_eq!(names.len(), 2, "{names:?}");
    let aside =
        names.iter().find(|name| name.starts_with("fleet.db.damaged-") && name.ends_with('Z')).unwrap();
    assert_eq!(std::fs::read(file.0.path().join(aside)).unwrap(), garbage);
    // A second one at the same time keeps its own name, and what the new one holds is there afterwards.
    std::fs::write(file.path(), &garbage).unwrap();
    let fleet = Fleet::open(&file.path(), hands.clock()).await.unwrap();
    assert_eq!(fleet.figures().damaged_files, 2);
    fleet.check_in(&check(1, hands.now(), "1.0.0", Some(("2.0.0", &digest))));
    fleet.flush().await.unwrap();
    fleet.close().await.unwrap();
    let fleet = Fleet::open(&file.path(), hands.clock()).await.unwrap();
    assert!(fleet.device(APP, device(1)).await.unwrap().is_some());
    fleet.close().await.unwrap();

    let nowhere = Fleet::open(&file.0.path().join("no/such/fleet.db"), Hands::default().clock()).await;
    assert!(matches!(nowhere, Err(FleetError::Open { .. })), "{nowhere:?}");
}

/// No start reads every page: what is found later is told to the next one.
#[tokio::test]
async fn damage_that_is_found_in_use_is_set_aside_by_the_next_start() {
    let (file, hands) = (File::new(), Hands::default());
    let digest = bundle("2.0.0");
    let fleet = Fleet::open(&file.path(), hands.clock()).await.unwrap();
    fleet.check_in(&check(1, hands.now(), "1.0.0", Some(("2.0.0", &digest))));
    fleet.record(vec![event(1, "set", Some("2.0.0"), None)]).await.unwrap();
    fleet.close().await.unwrap();
    let good = std::fs::read(file.path()).unwrap();
    // The root page of one table.
    let options = SqliteConnectOptions::new().filename(file.path());
    let mut connection = options.connect().await.unwrap();
    let of = |text| sqlx::query_scalar::<_, i64>(text);
    let page: i64 = of("SELECT rootpage FROM sqlite_master WHERE name = 'devices'")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    let size: i64 = of("PRAGMA page_size").fetch_one(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    let (page, size) = (usize::try_from(page).unwrap(), usize::try_from(size).unwrap());
    let mut bad = good.clone();
    bad[(page - 1) * size..page * size].fill(0xee);
    std::fs::write(file.path(), bad).unwrap();

    let fleet = Fleet::open(&file.path(), hands.clock()).await.unwrap();
    assert_eq!(fleet.figures().damaged_files, 0, "nobody has looked there yet");
    fleet.check_in(&check(2, hands.now(), "1.0.0", Some(("2.0.0", &digest))));
    let refused = fleet.flush().await.unwrap_err();
    assert!(refused.is_temporary() && refused.to_string().contains("malformed"), "{refused}");
    drop(fleet.close().await);
    assert!(files(&file).contains(&"fleet.db.malformed".to_owned()), "{:?}", files(&file));

    // Somebody restored a backup: it is good, and it is used.
    let damaged = std::fs::read(file.path()).unwrap();
    std::fs::write(file.path(), &good).unwrap();
    let fleet = Fleet::open(&file.path(), hands.clock()).await.unwrap();
    assert!(fleet.device(APP, device(1)).await.unwrap().is_some());
    fleet.close().await.unwrap();
    assert_eq!(files(&file), ["fleet.db"]);
    // Nobody did.
    std::fs::write(file.path(), &damaged).unwrap();
    std::fs::write(file.0.path().join("fleet.db.malformed"), "").unwrap();
    let fleet = Fleet::open(&file.path(), hands.clock()).await.unwrap();
    assert_eq!(fleet.figures().damaged_files, 1);
    fleet.check_in(&check(2, hands.now(), "1.0.0", Some(("2.0.0", &digest))));
    fleet.flush().await.unwrap();
    fleet.close().await.unwrap();
    assert!(!files(&file).contains(&"fleet.db.malformed".to_owned()));
}

/// SQLite's own bound on pages stands for a disk that is full.
#[tokio::test]
async fn a_full_disk_refuses_and_recovers() {
    let file = File::new();
    let hands = Hands::default();
    let limits = Limits { max_pages: Some(64), keep_neutral: 10, ..Limits::default() };
    let fleet = Fleet::open_with(&file.path(), hands.clock(), limits).await.unwrap();
    let digest = bundle("2.0.0");
    fleet.check_in(&check(1, hands.now(), "1.0.0", Some(("2.0.0", &digest))));
    fleet.set_channel(APP, device(1), "beta".parse().unwrap(), OverrideBy::Device, None).await.unwrap();
    let batch = |n: i64| {
        (0..200)
            .map(|i| event(1, "download_1", Some("2.0.0"), Some(hands.now() * 1000 + n * 200 + i)))
            .collect()
    };
    let mut acknowledged = 0;
    let refused = loop {
        match fleet.record(batch(acknowledged)).await {
            Ok(_) => acknowledged += 1,
            Err(error) => break error,
        }
        assert!(acknowledged < 1000, "the disk never fills");
    };
    assert!(matches!(refused, FleetError::Full) && refused.is_temporary(), "{refused}");
    assert!(fleet.figures().last_error.is_some_and(|e| e.contains("full")));
    // Decisions go on, and memory is what was committed.
    assert!(fleet.memory(APP, device(1)).is_some_and(|m| m.channel.is_some()));
    fleet.check_in(&check(2, hands.now(), "1.0.0", Some(("2.0.0", &digest))));
    assert!(fleet.record(batch(acknowledged)).await.is_err());
    assert!(fleet.figures().dropped_check_ins > 0);
    // What was acknowledged is there.
    let again = fleet.record(batch(0)).await.unwrap();
    assert!(again.iter().all(|a| *a == Accepted::Duplicate));
    // Space comes back, and so does everything else by itself.
    hands.pass(3_600);
    assert!(fleet.clean_up().await.unwrap() > 0);
    fleet.record(batch(acknowledged + 1)).await.unwrap();
    fleet.check_in(&check(2, hands.now(), "1.0.0", Some(("2.0.0", &digest))));
    fleet.flush().await.unwrap();
    assert!(fleet.device(APP, device(2)).await.unwrap().is_some());
    assert_eq!(fleet.figures().last_error, None);
    fleet.close().await.unwrap();
}

/// A file system that is really full.
#[test]
fn a_small_disk_refuses_and_recovers() {
    crate::small_disk::run("fleet::tests::fills_a_small_disk", "4m");
}

#[tokio::test]
#[ignore = "run by a_small_disk_refuses_and_recovers"]
async fn fills_a_small_disk() {
    let directory =
        PathBuf::from(std::env::var_os(crate::small_disk::FOLDER).expect("the small file system"));
    let ballast = directory.join("ballast");
    std::fs::write(&ballast, vec![0; 1 << 20]).unwrap();
    let hands = Hands::default();
    let fleet = Fleet::open(&directory.join("fleet.db"), hands.clock()).await.unwrap();
    fleet.check_in(&check(1, hands.now(), "1.0.0", None));
    let batch = |n: i64| (0..200).map(|i| event(1, "set_next", None, Some(n * 200 + i))).collect();
    let mut acknowledged = 0;
    let refused = loop {
        match fleet.record(batch(acknowledged)).await {
            Ok(_) => acknowledged += 1,
            Err(error) => break error,
        }
        assert!(acknowledged < 10_000, "the disk never fills");
    };
    assert!(refused.is_temporary(), "{refused}");
    assert!(fleet.record(batch(acknowledged)).await.is_err());
    std::fs::remove_file(ballast).unwrap();
    fleet.record(batch(acknowledged)).await.unwrap();
    fleet.close().await.unwrap();
    let fleet = Fleet::open(&directory.join("fleet.db"), hands.clock()).await.unwrap();
    for n in 0..=acknowledged {
        let again = fleet.record(batch(n)).await.unwrap();
        assert!(again.iter().all(|a| *a == Accepted::Duplicate), "batch {n} of {acknowledged}");
    }
}

#[tokio::test]
async fn nothing_of_a_device_is_printed() {
    let file = File::new();
    let fleet = Fleet::open(&file.path(), Hands::default().clock()).await.unwrap();
    let mut named = check(1, testing::START, "1.0.0", None);
    named.custom_id = Some("somebody@example.org");
    fleet.check_in(&named);
    fleet.close().await.unwrap();
    let bytes = std::fs::read(file.path()).unwrap();
    assert!(!bytes.windows(8).any(|w| w == b"somebody"), "the custom id is in the file");
    assert_eq!(format!("{fleet:?}"), "Fleet { .. }");
}

const CHILD: &str = "SLUICE_FLEET_CHILD";

/// Runs a test that is ignored otherwise in a process of its own over `store`, and kills it once it has acknowledged
/// `enough`. Returns the last that it acknowledged.
fn killed(test: &str, store: &Path, enough: u64) -> u64 {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "--nocapture", test])
        .env(CHILD, store)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut last = None;
    let mut killed = false;
    for line in BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok) {
        last = line.strip_prefix("ack ").map(|n| n.parse::<u64>().unwrap()).or(last);
        if last.is_some_and(|n| n >= enough) && !killed {
            child.kill().unwrap();
            killed = true;
        }
    }
    child.wait().unwrap();
    last.expect("the child acknowledged something")
}

/// Runs in a process of its own, which the test below kills.
#[tokio::test]
#[ignore = "started by a_killed_process_loses_nothing_acknowledged"]
async fn child_that_writes_until_it_is_killed() {
    let Some(path) = std::env::var_os(CHILD) else { return };
    let hands = Hands::default();
    let fleet = Fleet::open(Path::new(&path), hands.clock()).await.unwrap();
    for n in 0.. {
        fleet.check_in(&check(n, hands.now(), "1.0.0", Some(("2.0.0", &bundle("2.0.0")))));
        let name = format!("c{n}").parse().unwrap();
        let (chosen, recorded) = tokio::join!(
            fleet.set_channel(APP, device(n), name, OverrideBy::Device, None),
            fleet.record(vec![event(n, "update_fail", Some("2.0.0"), Some(1))]),
        );
        if chosen.is_ok() && recorded.is_ok() {
            eprintln!("ack {n}");
        }
    }
}

#[tokio::test]
async fn a_killed_process_loses_nothing_acknowledged() {
    let file = File::new();
    let hands = Hands::default();
    let mut begin = 0;
    for round in 1..=3 {
        let last = killed("fleet::tests::child_that_writes_until_it_is_killed", &file.path(), 40 * round);
        let fleet = Fleet::open(&file.path(), hands.clock()).await.unwrap();
        for n in begin..=last {
            let again = fleet.record(vec![event(n, "update_fail", Some("2.0.0"), Some(1))]).await.unwrap();
            assert_eq!(again, [Accepted::Duplicate], "event {n} of {last}, round {round}");
            let memory = fleet.memory(APP, device(n)).unwrap();
            assert_eq!(memory.failed.len(), 1);
            assert_eq!(memory.channel.as_ref().unwrap().channel.as_str(), format!("c{n}"));
        }
        fleet.close().await.unwrap();
        begin = last;
    }
}

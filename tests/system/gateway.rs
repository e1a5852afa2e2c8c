//! Gateways as processes of their own, over a directory and over S3.

use std::{
    fs::{self, File},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    thread,
};

use serde_json::Value;
use sluice_repo::testing::Changes;
use sluice_store::objects::{Content, Objects, StoreUrl};
use sluice_test_parts::Minio;

use crate::support::{Reply, SLUICE, Server, World, channel, eventually, phone, sha256, sluice, try_send};

static STARTS: AtomicU32 = AtomicU32::new(0);

/// A running gateway. It is killed when it goes out of scope, and its log is printed when the test fails.
struct Gateway {
    child: Child,
    devices: SocketAddr,
    admin: SocketAddr,
    log: PathBuf,
}

impl Gateway {
    fn start(folder: &Path, store: &str, environment: &[(&str, &str)], more: &[&str]) -> Self {
        let log = folder.join(format!("gateway-{}.log", STARTS.fetch_add(1, Ordering::Relaxed)));
        let mut command = Command::new(SLUICE);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("SLUICE_") || name.to_string_lossy().starts_with("AWS_") {
                command.env_remove(name);
            }
        }
        command.args([
            "gateway",
            "--store",
            store,
            "--listen",
            "127.0.0.1:0",
            "--admin-listen",
            "127.0.0.1:0",
        ]);
        command.args(["--log-format", "json"]).args(more).envs(environment.iter().copied());
        let output = File::create(&log).unwrap();
        command.stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(output);
        let mut child = command.spawn().unwrap();
        let (devices, admin) = eventually("the gateway listens", || {
            let text = fs::read_to_string(&log).unwrap();
            let ended = child.try_wait().unwrap();
            assert!(ended.is_none(), "the gateway ended with {ended:?}\n{text}");
            let address = |message: &str| {
                let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
                let line = lines.into_iter().find(|line| line["message"] == message)?;
                line["url"].as_str()?.strip_prefix("http://")?.parse::<SocketAddr>().ok()
            };
            Some((address("devices are answered")?, address("health and metrics")?))
        });
        Self { child, devices, admin, log }
    }

    fn of(world: &World) -> Self {
        Self::start(world.data().parent().unwrap(), &store_of(&world.data()), &[], &[])
    }

    fn post(&self, path: &str, body: &Value) -> Reply {
        let headers = [("content-type", "application/json")];
        try_send(self.devices, "POST", path, &headers, body.to_string().as_bytes()).unwrap()
    }

    fn asks(&self, number: u32) -> Value {
        self.post("/updates", &phone(number).body()).has_status(200).json()
    }

    fn awaits(&self, number: u32, version: &str) -> Value {
        eventually(&format!("the gateway offers {version}"), || {
            Some(self.asks(number)).filter(|answer| answer["version"] == version)
        })
    }

    fn admin(&self, path: &str) -> Reply {
        try_send(self.admin, "GET", path, &[], b"").unwrap()
    }

    fn ready(&self) -> (u16, Value) {
        let reply = self.admin("/readyz");
        (reply.status, reply.json())
    }

    fn metric(&self, name: &str) -> f64 {
        let text = self.admin("/metrics").has_status(200).text();
        let line =
            text.lines().find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(' ')));
        let line = line.unwrap_or_else(|| panic!("no figure {name} in\n{text}"));
        line.rsplit(' ').next().unwrap().parse().unwrap()
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    fn ask_to_stop(&self) {
        let done = Command::new("sh").args(["-c", &format!("kill {}", self.child.id())]).status().unwrap();
        assert!(done.success());
    }

    fn ended(&mut self) -> ExitStatus {
        eventually("the gateway stops", || self.child.try_wait().unwrap())
    }
}

impl Drop for Gateway {
    #[expect(clippy::print_stdout, reason = "the harness shows it with the failure")]
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            println!("---- {}\n{}", self.log.display(), fs::read_to_string(&self.log).unwrap_or_default());
        }
    }
}

fn store_of(data: &Path) -> String {
    format!("file://{}/store", data.display())
}

/// An answer without the address that its download begins with.
fn without_address(mut answer: Value) -> Value {
    if let Some(url) = answer["url"].as_str() {
        answer["url"] = url[url.find("/bundles/").unwrap()..].into();
    }
    answer
}

fn path_of(answer: &Value) -> String {
    without_address(answer.clone())["url"].as_str().unwrap().to_owned()
}

fn move_to(world: &World, release: &str) {
    let moved = channel("production", release, "  public: true\n");
    world.commit(Changes::new().file("channels/production.yaml", moved));
}

#[test]
fn it_answers_as_the_publisher_does() {
    let world = World::shop();
    let server = world.serve();
    phone(1).awaits(&server, "1.1.0");
    let gateway = Gateway::of(&world);
    gateway.awaits(1, "1.1.0");
    for (field, value) in [
        ("app_id", "com.example.nobody"),
        ("platform", "ios"),
        ("platform", "electron"),
        ("version_name", "1.1.0"),
        ("version_build", "x"),
        ("plugin_version", "5.0.0"),
        ("defaultChannel", "beta"),
    ] {
        let body = phone(2).with(field, value).body();
        let (here, there) = (server.post("/updates", &body), gateway.post("/updates", &body));
        assert_eq!(here.status, there.status, "{field}: {value}");
        assert_eq!(without_address(here.json()), without_address(there.json()), "{field}: {value}");
    }
    let answer = gateway.asks(3);
    let zip = try_send(gateway.devices, "GET", &path_of(&answer), &[], b"").unwrap().has_status(200).body;
    assert_eq!(answer["checksum"], sha256(&zip));
    let part = try_send(gateway.devices, "GET", &path_of(&answer), &[("range", "bytes=10-")], b"").unwrap();
    assert_eq!(part.has_status(206).body, zip[10..]);

    move_to(&world, "1.2.0");
    gateway.awaits(1, "1.2.0");
    assert!(gateway.metric("sluice_snapshot_generation") > 1e12);
    assert!(gateway.metric("sluice_snapshot_checked_timestamp_seconds") > 1e9);
    assert!((gateway.metric("sluice_store_up") - 1.0).abs() < 0.5);
    assert!(server.metric("sluice_segments_pending") < 0.5);
    for hidden in ["/api/v1/status", "/api/v1/openapi.json", "/"] {
        gateway.admin(hidden).has_status(404);
    }
    // The publisher is gone: phones are answered all the same.
    server.kill();
    assert_eq!(gateway.asks(4)["version"], "1.2.0");
    gateway.post("/stats", &phone(4).event("set", "1.2.0")).has_status(200);
    let server = world.serve();
    server.eventually("what was reported meanwhile is counted", |server| {
        (server.metric("sluice_fleet_events_new_total") > 0.5).then_some(())
    });
}

/// Support asks the leader; gateways know it within seconds.
#[test]
fn what_support_does_reaches_gateways() {
    let world = World::shop();
    world.commit(Changes::new().file("channels/staff.yaml", channel("staff", "1.2.0", "")));
    let server = world.serve();
    phone(1).awaits(&server, "1.1.0");
    let gateway = Gateway::of(&world);
    gateway.awaits(1, "1.1.0");
    gateway.post("/stats", &phone(1).event("update_fail", "1.1.0")).has_status(200);
    assert!(gateway.asks(1)["version"].is_null(), "it failed there");
    let device = |what: &str, more: &[&str]| {
        let id = phone(1).body()["device_id"].as_str().unwrap().to_owned();
        let data = world.data();
        let all = ["device", what, "--data", data.to_str().unwrap(), "--app", "com.example.shop"];
        sluice([&all, &["--device", &id][..], more].concat()).exits(0)
    };
    device("override", &["--channel", "staff", "--until", "1h", "--reason", "a call"]);
    gateway.awaits(1, "1.2.0");
    server.eventually("what the gateway heard is taken in", |server| {
        (server.metric("sluice_fleet_events_new_total") > 0.5).then_some(())
    });
    device("erase", &["--yes", "--reason", "a letter"]);
    gateway.awaits(1, "1.1.0");
}

#[test]
fn what_gateways_hear_counts_once_and_is_shared() {
    let world = World::shop();
    let server = world.serve();
    phone(1).awaits(&server, "1.1.0");
    let gateways = [Gateway::of(&world), Gateway::of(&world)];
    for gateway in &gateways {
        gateway.awaits(1, "1.1.0");
        gateway.post("/stats", &phone(1).event("set", "1.1.0").clone()).has_status(200);
    }
    let counted = |server: &Server| {
        let (new, again) = (
            server.metric("sluice_fleet_events_new_total"),
            server.metric("sluice_fleet_events_duplicate_total"),
        );
        (new + again > 1.5).then_some((new, again))
    };
    let (new, again) = server.eventually("both reports are taken in", counted);
    assert!((new - 1.0).abs() < 0.5 && (again - 1.0).abs() < 0.5, "{new} new, {again} again");

    gateways[0].post("/stats", &phone(1).event("update_fail", "1.1.0")).has_status(200);
    assert_eq!(gateways[0].asks(1)["error"], "no_new_version_available", "at once");
    eventually("the other gateway knows it too", || {
        (gateways[1].asks(1)["error"] == "no_new_version_available").then_some(())
    });
    assert_eq!(phone(1).asks(&server)["error"], "no_new_version_available");
    assert_eq!(gateways[1].asks(2)["version"], "1.1.0", "only that phone");
    server.eventually("explained where it is kept", |server| {
        let known = server.explain(&phone(1).body())["device"]["outcomes"][0].clone();
        known["launchFailed"].is_object().then_some(())
    });
}

#[test]
fn asked_to_stop_it_writes_what_waits() {
    let world = World::shop();
    let server = world.serve();
    phone(1).awaits(&server, "1.1.0");
    let mut gateway = Gateway::of(&world);
    gateway.awaits(1, "1.1.0");
    let devices = gateway.devices;
    let reports: Vec<_> = (0..8)
        .map(|number| {
            thread::spawn(move || {
                let body = phone(number).event("set", "1.1.0").to_string();
                try_send(devices, "POST", "/stats", &[], body.as_bytes())
            })
        })
        .collect();
    eventually("reports wait", || (gateway.metric("sluice_outbox_queued_events") > 0.5).then_some(()));
    gateway.ask_to_stop();
    let accepted =
        reports.into_iter().filter_map(|r| r.join().unwrap().ok()).filter(|r| r.status == 200).count();
    assert!(accepted > 0);
    assert!(gateway.ended().success(), "{}", gateway.log());
    server.eventually("every accepted report is taken in", |server| {
        (server.metric("sluice_fleet_events_new_total") > accepted as f64 - 0.5).then_some(())
    });
}

#[test]
fn wrong_settings_are_said_together() {
    let refused = sluice(["gateway"]).exits(2);
    assert!(refused.err.contains("--store: is required"), "{refused:?}");
    let refused =
        sluice(["gateway", "--store", "s3://key:canary@bucket", "--presign", "1s", "--listen", "here"])
            .exits(2);
    for flag in ["--store: ", "--presign: ", "--listen: "] {
        assert!(refused.err.contains(flag), "{flag} in {refused:?}");
    }
    assert!(!refused.err.contains("canary"), "{refused:?}");
}

/// A bucket with what a publisher wrote, and a server for it that can be killed.
struct Bucket {
    runtime: tokio::runtime::Runtime,
    minio: Minio,
    name: String,
    objects: Arc<dyn Objects>,
}

impl Bucket {
    fn new() -> Self {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let (minio, name) = runtime.block_on(async {
            let minio = Minio::start().await;
            let name = minio.bucket().await;
            (minio, name)
        });
        let url: StoreUrl = format!("s3://{name}/eu").parse().unwrap();
        let objects = url.open_with(&environment(&minio, &minio.endpoint())).unwrap();
        Self { runtime, minio, name, objects }
    }

    fn gateway(&self, folder: &Path, more: &[&str]) -> Gateway {
        let endpoint = self.minio.endpoint();
        Gateway::start(folder, &format!("s3://{}/eu", self.name), &environment(&self.minio, &endpoint), more)
    }

    /// Copies what a publisher wrote into a directory; the root comes last, as it does there.
    fn copy(&self, store: &Path) {
        let mut keys: Vec<String> = walkdir::WalkDir::new(store)
            .into_iter()
            .map(Result::unwrap)
            .filter(|entry| entry.file_type().is_file())
            .map(|entry| entry.path().strip_prefix(store).unwrap().to_str().unwrap().to_owned())
            .filter(|key| !key.starts_with('.'))
            .collect();
        keys.sort_unstable_by_key(|key| key == "root.json");
        for key in keys {
            let bytes = fs::read(store.join(&key)).unwrap();
            self.runtime.block_on(self.objects.replace(&key, bytes.into(), None)).unwrap();
        }
    }

    fn get(&self, key: &str) -> Vec<u8> {
        self.runtime.block_on(self.objects.get(key)).unwrap().unwrap().0.to_vec()
    }

    fn put(&self, key: &str, bytes: &[u8]) {
        self.runtime.block_on(self.objects.replace(key, bytes.to_vec().into(), None)).unwrap();
    }

    fn restart(&self) {
        self.runtime.block_on(self.minio.restart());
    }
}

fn environment<'a>(minio: &'a Minio, endpoint: &'a str) -> [(&'a str, &'a str); 5] {
    [
        ("AWS_ENDPOINT", endpoint),
        ("AWS_ALLOW_HTTP", "true"),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", minio.access_key()),
        ("AWS_SECRET_ACCESS_KEY", minio.secret_key()),
    ]
}

#[test]
fn an_outage_of_the_store_is_an_outage_of_news() {
    let world = World::shop();
    let server = world.serve();
    phone(1).awaits(&server, "1.1.0");
    let store = world.data().join("store");
    let (bucket, folder) = (Bucket::new(), tempfile::tempdir().unwrap());
    let gateway = bucket.gateway(folder.path(), &[]);
    let (status, body) = gateway.ready();
    assert_eq!((status, &body["reasons"][0]["code"]), (503, &Value::from("NoSnapshot")), "{body}");
    bucket.copy(&store);
    gateway.awaits(1, "1.1.0");
    assert_eq!(gateway.ready().0, 200);
    let older = bucket.get("root.json");
    move_to(&world, "1.2.0");
    phone(1).awaits(&server, "1.2.0");
    bucket.copy(&store);
    gateway.awaits(1, "1.2.0");
    gateway.post("/stats", &phone(1).event("set", "1.2.0")).has_status(200);

    bucket.minio.kill();
    eventually("the outage shows", || (gateway.ready().1["store"]["up"] == false).then_some(()));
    assert_eq!(gateway.asks(2)["version"], "1.2.0");
    gateway.post("/stats", &phone(2).event("set", "1.2.0")).has_status(503);
    let (status, body) = gateway.ready();
    assert_eq!(status, 200, "an outage of the store is no reason to be unready: {body}");
    assert!(body["store"]["ageSeconds"].is_u64() && body["store"]["trouble"].is_string(), "{body}");
    assert!(gateway.metric("sluice_store_up") < 0.5);
    assert!(gateway.metric("sluice_outbox_flush_failures_total") > 0.5);
    // One that starts now waits for the store.
    let second = bucket.gateway(folder.path(), &[]);
    eventually("it says what it waits for", || {
        let (status, body) = second.ready();
        (status == 503 && body["reasons"][0]["code"] == "NoSnapshot" && body["store"]["up"] == false)
            .then_some(())
    });
    assert_eq!(second.asks(1)["error"], "no_channel", "an app that is not known yet");

    bucket.restart();
    eventually("the first one goes on", || {
        (gateway.post("/stats", &phone(2).event("set", "1.2.0")).status == 200).then_some(())
    });
    second.awaits(1, "1.2.0");
    eventually("both are ready", || (gateway.ready().0 == 200 && second.ready().0 == 200).then_some(()));

    // A backup that was put back: what is served stays.
    bucket.put("root.json", &older);
    eventually("the older snapshot is refused and said", || {
        gateway.ready().1["store"]["trouble"].as_str()?.contains("older").then_some(())
    });
    assert_eq!(gateway.asks(3)["version"], "1.2.0");
    assert_eq!(gateway.ready().0, 200);
    for secret in [bucket.minio.secret_key(), "00000000-0000-4000-8000-000000000002"] {
        assert!(!gateway.log().contains(secret), "{}", gateway.log());
    }
}

#[test]
fn downloads_come_from_the_bucket() {
    let world = World::shop();
    let server = world.serve();
    phone(1).awaits(&server, "1.1.0");
    let (bucket, folder) = (Bucket::new(), tempfile::tempdir().unwrap());
    // As a publisher writes them: with the type and the headers for those who download from the bucket.
    let store = world.data().join("store");
    let answer = phone(1).asks(&server);
    let name = format!("{}.zip", answer["checksum"].as_str().unwrap());
    let zip = fs::read(store.join("artefacts").join(&name)).unwrap();
    let content = Content::Bytes(zip.clone().into());
    bucket.runtime.block_on(bucket.objects.create(&format!("artefacts/{name}"), content)).unwrap();
    bucket.copy(&store);
    let plain = bucket.gateway(folder.path(), &[]);
    let presigning = bucket.gateway(folder.path(), &["--presign", "5m"]);
    for gateway in [&plain, &presigning] {
        gateway.awaits(1, "1.1.0");
    }
    // Through the gateway.
    let path = path_of(&answer);
    let whole = try_send(plain.devices, "GET", &path, &[], b"").unwrap().has_status(200);
    assert!(whole.body == zip);
    let part = try_send(plain.devices, "GET", &path, &[("range", "bytes=5-9")], b"").unwrap().has_status(206);
    assert_eq!(part.header("content-range"), Some(format!("bytes 5-9/{}", zip.len()).as_str()));

    // To the bucket.
    for method in ["GET", "HEAD"] {
        let sent = try_send(presigning.devices, method, &path, &[], b"").unwrap().has_status(302);
        assert_eq!(sent.header("cache-control"), Some("no-store"));
        let location = sent.header("location").unwrap().to_owned();
        let endpoint = bucket.minio.endpoint();
        let (host, target) = (endpoint.strip_prefix("http://").unwrap(), &location[endpoint.len()..]);
        assert!(location.starts_with(&endpoint), "{location}");
        let range = [("range", "bytes=5-")];
        let headers: &[_] = if method == "GET" { &range } else { &[] };
        let reply = try_send(host.parse().unwrap(), method, target, headers, b"").unwrap();
        if method == "GET" {
            assert_eq!(reply.has_status(206).body, zip[5..]);
        } else {
            assert_eq!(reply.has_status(200).header("content-length"), Some(zip.len().to_string().as_str()));
        }
    }
    let followed = bucket.runtime.block_on(async {
        let url = format!("http://{}{path}", presigning.devices);
        reqwest::get(url).await.unwrap().bytes().await.unwrap()
    });
    assert!(followed == zip);
    let nothing = format!("/bundles/{}.zip", &name[..10]);
    try_send(presigning.devices, "GET", &nothing, &[], b"").unwrap().has_status(404);
}

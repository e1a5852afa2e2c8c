//! A shop behind smart HTTP, and a server that follows it.

use std::{
    fmt::Write as _,
    fs,
    io::Write as _,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;
use sluice_repo::testing::{Changes, SmartHttp, Upstream};
use tempfile::TempDir;

/// Longest wait for anything. It only matters when something is wrong.
const LIMIT: Duration = Duration::from_mins(5);

/// See the module. The server is killed when it goes out of scope.
pub struct Shop {
    pub upstream: Upstream,
    pub http: SmartHttp,
    server: Child,
    folder: TempDir,
    version: usize,
}

impl Shop {
    /// A shop that serves 1.0.0, after `commits` others and beside `manifests` of other apps.
    pub fn new(commits: usize, manifests: usize) -> Self {
        let upstream = Upstream::new();
        upstream.take_pushes();
        fill(&upstream, commits, manifests);
        upstream.commit(release(channel(Changes::new(), "1.0.0"), "1.0.0"));
        let http = SmartHttp::start(&upstream);
        let folder = tempfile::tempdir().unwrap();
        let program =
            std::env::var_os("SLUICE_BENCH_PROGRAM").unwrap_or_else(|| env!("CARGO_BIN_EXE_sluice").into());
        let server = Command::new(program)
            .args(["serve", "--repository", &http.url().to_string(), "--write", "push", "--poll", "1s"])
            .args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--log", "warn", "--data"])
            .arg(folder.path().join("data"))
            .stdout(Stdio::null())
            .stderr(fs::File::create(folder.path().join("log")).unwrap())
            .spawn()
            .unwrap();
        let mut shop = Self { upstream, http, server, folder, version: 0 };
        shop.serves("1.0.0");
        shop
    }

    /// Releases a version, waits until it is served, takes it back, and says how long that took from the request, which
    /// brakes first, to the branch.
    pub fn roll_back(&mut self) -> Duration {
        self.version += 1;
        let version = format!("1.1.{}", self.version);
        let (path, text) = channel_file(&version);
        // Others may push at the same time: what they pushed stays.
        self.upstream.commit(release(Changes::new().file(path, text), &version).message("Release"));
        self.serves(&version);
        let before = self.reverts();
        let began = Instant::now();
        let asked = Command::new("curl")
            .args(["-sf", "-X", "POST", "-H", &self.bearer(), "-d"])
            .arg(r#"{"channel":"production","by":"bench","reason":"it is bad"}"#)
            .arg(format!("{}/api/v1/rollbacks", self.admin()))
            .output()
            .unwrap();
        assert!(asked.status.success(), "{asked:?}\n{}", self.log());
        self.until("the revert is on the branch", |shop| shop.reverts() > before);
        let took = began.elapsed();
        self.serves("1.0.0");
        took
    }

    /// Reverts on the branch.
    pub fn reverts(&self) -> usize {
        let log = self.git(&["log", "--format=%H", "--grep=^Rollback-Id: ", "-n", "1000", "main"]);
        log.lines().count()
    }

    /// Runs Git in the repository of the server.
    pub fn git(&self, arguments: &[&str]) -> String {
        let output = Command::new("git").args(arguments).current_dir(self.upstream.path()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// A folder for others.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn serves(&mut self, version: &str) {
        self.until(&format!("{version} is served"), |shop| {
            let status: Value = serde_json::from_str(&shop.get("/api/v1/status")).unwrap_or_default();
            let mut channels = status["channels"].as_array().into_iter().flatten();
            channels.any(|channel| {
                channel["app"] == "com.example.shop" && channel["lines"][0]["served"] == version
            })
        });
    }

    fn until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) {
        let start = Instant::now();
        while !holds(self) {
            if let Some(ended) = self.server.try_wait().unwrap() {
                panic!("the server ended: {ended}\n{}", self.log());
            }
            assert!(start.elapsed() < LIMIT, "waited {LIMIT:?} until {what}\n{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    fn data(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join("data").join(name)).unwrap_or_default().trim().to_owned()
    }

    fn admin(&self) -> String {
        self.data("admin-url")
    }

    fn bearer(&self) -> String {
        format!("authorization: Bearer {}", self.data("admin-token"))
    }

    fn get(&self, path: &str) -> String {
        let url = format!("{}{path}", self.admin());
        let output = Command::new("curl").args(["-s", "-H", &self.bearer(), &url]).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

fn channel_file(version: &str) -> (&'static str, String) {
    let text = format!(
        "apiVersion: sluice.dev/v1alpha1\nkind: Channel\nmetadata:\n  name: shop-production\nspec:\n  app: com.example.shop\n  \
         channel: production\n  release: {version}\n  public: true\n  rollout: {{ strategy: Immediate }}\n"
    );
    ("channels/production.yaml", text)
}

fn channel(changes: Changes, version: &str) -> Changes {
    let (path, text) = channel_file(version);
    changes.file(path, text)
}

fn release(changes: Changes, version: &str) -> Changes {
    manifest(changes, "com.example.shop", version)
        .file(&format!("bundles/{version}/index.html"), format!("<!doctype html><title>{version}</title>"))
}

fn manifest(changes: Changes, app: &str, version: &str) -> Changes {
    let name = format!("{}-{version}", app.replace('.', "-"));
    let text = format!(
        "apiVersion: sluice.dev/v1alpha1\nkind: Release\nmetadata:\n  name: {name}\nspec:\n  app: {app}\n  version: \
         {version}\n  bundle:\n    path: /bundles/{version}\n"
    );
    changes.file(&format!("releases/{name}.yaml"), text.replace("path: /bundles", "path: ../bundles"))
}

/// A history of many commits, written as a stream by which `git` makes it in seconds.
fn fill(upstream: &Upstream, commits: usize, manifests: usize) {
    if commits + manifests == 0 {
        return;
    }
    let mut stream = String::new();
    let head = |stream: &mut String, at: usize, message: &str| {
        let time = 1_700_000_000 + at;
        let size = message.len();
        write!(
            stream,
            "commit refs/heads/main\ncommitter Ada <ada@example.org> {time} +0000\ndata {size}\n{message}\n"
        )
        .unwrap();
    };
    head(&mut stream, 0, "Publish others");
    for n in 0..manifests {
        let app = format!("com.example.other{}", n / 100);
        let name = format!("other{}-1.0.{}", n / 100, n % 100);
        let text = format!(
            "apiVersion: sluice.dev/v1alpha1\nkind: Release\nmetadata:\n  name: {name}\nspec:\n  app: {app}\n  version: \
             1.0.{}\n  bundle:\n    path: ../bundles/1.0.0\n",
            n % 100
        );
        write!(stream, "M 644 inline releases/{name}.yaml\ndata {}\n{text}\n", text.len()).unwrap();
    }
    for n in 1..commits {
        head(&mut stream, n, "Note something");
        let text = format!("{n}\n");
        write!(stream, "M 644 inline notes/{}.txt\ndata {}\n{text}\n", n % 500, text.len()).unwrap();
    }
    let mut git = Command::new("git")
        .args(["fast-import", "--quiet"])
        .current_dir(upstream.path())
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    git.stdin.take().unwrap().write_all(stream.as_bytes()).unwrap();
    assert!(git.wait().unwrap().success());
}

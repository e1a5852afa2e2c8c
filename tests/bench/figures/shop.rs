//! Repositories to measure with: real bare repositories, written by the `git` program.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::{
    load::post,
    phones::check,
    process::{Server, await_that, free_address, serve},
};

/// A bare repository, the clone that pushes to it, and a data directory.
pub struct Shop {
    folder: tempfile::TempDir,
}

impl Shop {
    /// One app whose channel serves version 1.0.1, a bundle of `bytes` that do not compress.
    pub fn new(apps: usize, bytes: usize) -> Self {
        let shop = Self::empty();
        let noise = noise(bytes);
        shop.write("bundles/1.0.1/index.html", b"<!doctype html><title>Shop</title>");
        shop.write("bundles/1.0.1/app.js", b"console.log('1.0.1')");
        shop.write("bundles/1.0.1/noise.bin", &noise);
        for app in 0..apps {
            shop.write_release(&id(app), &format!("app{app}"), "1.0.1");
            shop.write_channel(&id(app), &format!("app{app}"), "1.0.1", "");
        }
        shop.push("Publish 1.0.1");
        shop
    }

    /// `manifests` documents: apps with 99 releases and a channel each.
    pub fn many(manifests: usize) -> Self {
        let shop = Self::empty();
        shop.write("bundles/1.0.1/index.html", b"<!doctype html><title>Shop</title>");
        for app in 0..manifests / 100 {
            for patch in 1..100 {
                let text =
                    release(&id(app), &format!("app{app}-1.0.{patch}"), &format!("1.0.{patch}"), "1.0.1", 2);
                shop.write(&format!("releases/{app}/1.0.{patch}.yaml"), text.as_bytes());
            }
            shop.write_channel(&id(app), &format!("app{app}"), "1.0.1", "");
        }
        shop.push("Publish everything");
        shop
    }

    fn empty() -> Self {
        let shop = Self { folder: tempfile::tempdir().unwrap() };
        git(shop.folder(), &["init", "-q", "--bare", "-b", "main", "shop.git"]);
        git(shop.folder(), &["clone", "-q", "shop.git", "clone"]);
        git(&shop.work_tree(), &["checkout", "-q", "-B", "main"]);
        shop
    }

    /// A new version of the first app, released to its channel and pushed.
    pub fn release(&self, version: &str) {
        self.write(&format!("bundles/{version}/index.html"), b"<!doctype html><title>Shop</title>");
        self.write(&format!("bundles/{version}/app.js"), format!("console.log('{version}')").as_bytes());
        self.write(&format!("bundles/{version}/app.css"), b"body { color: teal }");
        let text = release(&id(0), &format!("app0-{version}"), version, version, 1);
        self.write(&format!("releases/{version}.yaml"), text.as_bytes());
        self.write_channel(&id(0), "app0", version, "");
        self.push(&format!("Release {version}"));
    }

    /// A new version of the first `apps` apps, which the channel of each begins to roll out to a share of its devices.
    pub fn roll_out(&self, apps: usize, version: &str, weight: &str) {
        self.write(&format!("bundles/{version}/index.html"), b"<!doctype html><title>Shop</title>");
        self.write(&format!("bundles/{version}/app.js"), format!("console.log('{version}')").as_bytes());
        let more = format!("  rollout: {{ ramp: \"Off\", steps: [{{ weight: {weight}, soak: 24h }}] }}\n");
        for app in 0..apps {
            self.write_release(&id(app), &format!("app{app}"), version);
            self.write_channel(&id(app), &format!("app{app}"), version, &more);
        }
        self.push(&format!("Roll out {version}"));
    }

    /// Where everything is.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The clone.
    pub fn work_tree(&self) -> PathBuf {
        self.folder().join("clone")
    }

    /// The data directory.
    pub fn data(&self) -> PathBuf {
        self.folder().join("data")
    }

    /// Serves the repository on one core.
    pub fn serve(&self, program: &Path, more: &[&str]) -> Server {
        let listen = free_address();
        Server::start(serve(program, &self.folder().join("shop.git"), &self.data(), listen, more), listen)
    }

    /// The answer to an update check of the first app.
    pub fn served(server: &Server) -> String {
        exchange(server, &post("/updates", &check(&id(0), 0)))
    }

    /// Waits until `version` is offered, and returns the answer.
    pub fn await_version(server: &Server, version: &str) -> String {
        let mut answer = String::new();
        await_that(&format!("{version} is served"), || {
            answer = Self::served(server);
            answer.contains(&format!("\"version\":\"{version}\""))
        });
        answer
    }

    /// Waits until one of these devices of an app is offered `version`.
    pub fn await_offer(
        server: &Server,
        app: usize,
        version: &str,
        devices: &(impl Iterator<Item = usize> + Clone),
    ) {
        let offer = format!("\"version\":\"{version}\"");
        let offered = |n| exchange(server, &post("/updates", &check(&id(app), n))).contains(&offer);
        await_that(&format!("{version} is offered"), || devices.clone().any(offered));
    }

    /// Waits until the server has read the repository.
    pub fn await_observed(server: &Server) {
        Self::await_version(server, "1.0.1");
    }

    /// Waits until the server says that it is ready.
    pub fn await_ready(&self) {
        await_that("the server is ready", || self.admin("/readyz").starts_with("HTTP/1.1 200"));
    }

    /// Waits until so many channels roll something out.
    pub fn await_rollouts(&self, count: usize) {
        await_that("everything is rolled out", || {
            let figures = self.admin("/metrics");
            figures.lines().filter(|line| line.starts_with("sluice_rollout_weight_ratio{")).count() == count
        });
    }

    /// What the admin side answers, with its head; nothing while there is none.
    fn admin(&self, path: &str) -> String {
        let url = fs::read_to_string(self.data().join("admin-url")).unwrap_or_default();
        let Some(address) = url.trim().strip_prefix("http://") else { return String::new() };
        let Ok(mut stream) = TcpStream::connect(address) else { return String::new() };
        let request = format!("GET {path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n");
        let mut answer = String::new();
        let read = stream.write_all(request.as_bytes()).and_then(|()| stream.read_to_string(&mut answer));
        if read.is_ok() { answer } else { String::new() }
    }

    /// Sends a signed webhook.
    pub fn hook(server: &Server, secret: &str) {
        let body = r#"{"ref":"refs/heads/main"}"#;
        let signature = hmac(secret, body);
        let request = format!(
            "POST /hooks/default HTTP/1.1\r\nHost: bench\r\nX-GitHub-Event: push\r\nX-Hub-Signature-256: \
             sha256={signature}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        exchange(server, request.as_bytes());
    }

    fn write(&self, path: &str, content: &[u8]) {
        let path = self.work_tree().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn write_release(&self, app: &str, name: &str, version: &str) {
        let text = release(app, &format!("{name}-{version}"), version, version, 1);
        self.write(&format!("releases/{name}-{version}.yaml"), text.as_bytes());
    }

    /// `more` are further lines of its spec.
    fn write_channel(&self, app: &str, name: &str, version: &str, more: &str) {
        let text = format!(
            "apiVersion: sluice.dev/v1alpha1\nkind: Channel\nmetadata:\n  name: {name}-production\nspec:\n  app: {app}\n  \
             channel: production\n  release: {version}\n  public: true\n{more}"
        );
        self.write(&format!("channels/{name}.yaml"), text.as_bytes());
    }

    fn push(&self, subject: &str) {
        let clone = self.work_tree();
        git(&clone, &["add", "-A"]);
        git(
            &clone,
            &["-c", "user.name=Bench", "-c", "user.email=bench@example.org", "commit", "-q", "-m", subject],
        );
        git(&clone, &["push", "-q", "origin", "main"]);
    }
}

/// The path of the download in an answer.
pub fn download_path(answer: &str) -> String {
    let at = answer.find("/bundles/").unwrap();
    answer[at..].split('"').next().unwrap().to_owned()
}

/// The id of an app, by number.
pub fn id(app: usize) -> String {
    if app == 0 { "com.example.shop".to_owned() } else { format!("com.example.app{app}") }
}

/// A Release document that stands `depth` folders below the root.
fn release(app: &str, name: &str, version: &str, bundle: &str, depth: usize) -> String {
    let up = "../".repeat(depth);
    format!(
        "apiVersion: sluice.dev/v1alpha1\nkind: Release\nmetadata:\n  name: {name}\nspec:\n  app: {app}\n  version: \
         {version}\n  bundle:\n    path: {up}bundles/{bundle}\n  requires:\n    native: \">=1.0.0 <2.0.0\"\n  notes: Version {version}.\n"
    )
}

/// Bytes that do not compress.
fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    (0..bytes)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_be_bytes()[3]
        })
        .collect()
}

/// Sends a request on a connection of its own, and returns what it is answered.
pub fn exchange(server: &Server, request: &[u8]) -> String {
    let Ok(mut stream) = TcpStream::connect(server.address) else { return String::new() };
    stream.write_all(request).unwrap();
    let mut answer = vec![0; 16 * 1024];
    let n = stream.read(&mut answer).unwrap_or(0);
    String::from_utf8_lossy(&answer[..n]).split("\r\n\r\n").nth(1).unwrap_or("").to_owned()
}

fn hmac(secret: &str, body: &str) -> String {
    let mut openssl = Command::new("openssl")
        .args(["dgst", "-sha256", "-hmac", secret, "-r"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    openssl.stdin.take().unwrap().write_all(body.as_bytes()).unwrap();
    let output = openssl.wait_with_output().unwrap();
    String::from_utf8(output.stdout).unwrap().split_whitespace().next().unwrap().to_owned()
}

fn git(folder: &Path, arguments: &[&str]) {
    let status =
        Command::new("git").current_dir(folder).args(arguments).stderr(Stdio::inherit()).status().unwrap();
    assert!(status.success(), "git {arguments:?}");
}

//! The program as a process: started on free ports, watched through its addresses, stopped or killed.

use std::{
    fs::{self, File},
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use serde_json::Value;

use super::{Ran, Reply, eventually, program, sluice, try_send};

/// Numbers log files.
static STARTS: AtomicU32 = AtomicU32::new(0);

/// A running server. It is killed when it goes out of scope, and its log is printed when the test fails.
#[derive(Debug)]
pub struct Server {
    child: Child,
    devices: SocketAddr,
    admin: SocketAddr,
    data: PathBuf,
    log: PathBuf,
}

impl Server {
    /// Starts `sluice serve` and waits until it answers.
    pub fn start(repository: &str, data: &Path, more: &[&str]) -> Self {
        let start = STARTS.fetch_add(1, Ordering::Relaxed);
        let log = data.with_file_name(format!("serve-{start}.log"));
        let mut command = program();
        command.args(["serve", "--repository", repository, "--data"]).arg(data);
        for (flag, value) in
            [("--listen", "127.0.0.1:0"), ("--admin-listen", "127.0.0.1:0"), ("--poll", "200ms")]
        {
            if !more.contains(&flag) {
                command.args([flag, value]);
            }
        }
        command.args(["--log-format", "json"]).args(more);
        let log_file = File::create(&log).unwrap();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(log_file.try_clone().unwrap())
            .stderr(log_file)
            .spawn()
            .unwrap();
        let (devices, admin) = eventually("the server answers", || {
            let text = fs::read_to_string(&log).unwrap();
            let ended = child.try_wait().unwrap();
            assert!(ended.is_none(), "the server ended with {ended:?}\n{text}");
            Some((address(&text, "devices are answered")?, address(&text, "status, metrics and the API")?))
        });
        Self { child, devices, admin, data: data.to_owned(), log }
    }

    /// Where devices connect.
    pub fn url(&self) -> String {
        format!("http://{}", self.devices)
    }

    /// Its log so far.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// Its data directory.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Sends a request of a device.
    pub fn send(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        try_send(self.devices, method, target, headers, body).unwrap()
    }

    /// Sends JSON as a device does.
    pub fn post(&self, path: &str, body: &Value) -> Reply {
        self.try_post(path, body).unwrap()
    }

    /// The same for a server that may be killed meanwhile.
    pub fn try_post(&self, path: &str, body: &Value) -> io::Result<Reply> {
        try_send(self.devices, "POST", path, &[JSON], body.to_string().as_bytes())
    }

    /// The zip that an answer points to.
    pub fn download(&self, answer: &Value) -> Vec<u8> {
        let reply = self.send("GET", &download_path(answer), &[], b"").has_status(200);
        assert!(reply.header("content-encoding").is_none() && reply.header("content-length").is_some());
        reply.body
    }

    /// Reads from the admin address, with the token that it made.
    pub fn admin(&self, path: &str) -> Reply {
        try_send(self.admin, "GET", path, &[("authorization", &self.bearer())], b"").unwrap()
    }

    /// What it says of itself.
    pub fn status(&self) -> Value {
        self.admin("/api/v1/status").has_status(200).json()
    }

    /// What it says of an update check.
    pub fn explain(&self, body: &Value) -> Value {
        let headers = [JSON, ("authorization", &self.bearer())];
        let body = body.to_string();
        try_send(self.admin, "POST", "/api/v1/explain", &headers, body.as_bytes())
            .unwrap()
            .has_status(200)
            .json()
    }

    /// The sum of a figure over its labels.
    pub fn metric(&self, name: &str) -> f64 {
        let text = self.admin("/metrics").has_status(200).text();
        let of = |line: &str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{']));
        let values: Vec<f64> = text
            .lines()
            .filter(|line| of(line))
            .map(|line| line.rsplit(' ').next().unwrap().parse().unwrap())
            .collect();
        assert!(!values.is_empty(), "no figure {name} in\n{text}");
        values.iter().sum()
    }

    /// Waits as [`eventually`] does, and shows the status when it is in vain.
    pub fn eventually<T>(&self, what: &str, mut found: impl FnMut(&Self) -> Option<T>) -> T {
        eventually(what, || found(self))
    }

    /// Waits until the status is as asked, and returns it.
    pub fn await_status(&self, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        self.eventually(what, |server| Some(server.status()).filter(|status| holds(status)))
    }

    /// Waits until this commit, in full, is what is served.
    pub fn await_commit(&self, commit: &str) -> Value {
        self.await_status(&format!("commit {commit} is applied"), |status| {
            status["repositories"][0]["appliedCommit"] == commit
        })
    }

    /// Waits until the repository's `Ready` has this reason, and returns its message.
    pub fn await_reason(&self, reason: &str) -> String {
        let status = self.await_status(&format!("the repository says {reason}"), |status| {
            status["repositories"][0]["conditions"][0]["reason"] == reason
        });
        status["repositories"][0]["conditions"][0]["message"].as_str().unwrap().to_owned()
    }

    /// Waits until a problem of this code is reported, and returns it.
    pub fn await_problem(&self, code: &str) -> Value {
        self.eventually(&format!("{code} is reported"), |server| {
            server.status()["diagnostics"].as_array().unwrap().iter().find(|p| p["code"] == code).cloned()
        })
    }

    /// Runs a subcommand that asks this server.
    pub fn ask(&self, command: &str, more: &[&str]) -> Ran {
        let data = self.data.to_str().unwrap();
        sluice([command, "--data", data].iter().chain(more))
    }

    /// Asks it to stop and waits until it has.
    pub fn stop(mut self) -> ExitStatus {
        // The shell's own `kill`: the program of that name is not on every machine.
        let done = Command::new("sh").args(["-c", &format!("kill {}", self.child.id())]).status().unwrap();
        assert!(done.success());
        eventually("the server stops", || self.child.try_wait().unwrap())
    }

    /// `kill -9`.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn bearer(&self) -> String {
        let token = fs::read_to_string(self.data.join("admin-token")).unwrap();
        format!("Bearer {}", token.trim())
    }
}

impl Drop for Server {
    #[expect(clippy::print_stdout, reason = "the harness shows it with the failure")]
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            println!("---- {}\n{}", self.log.display(), fs::read_to_string(&self.log).unwrap_or_default());
        }
    }
}

const JSON: (&str, &str) = ("content-type", "application/json; charset=utf-8");

/// The path of the download in an answer.
fn download_path(answer: &Value) -> String {
    let url = answer["url"].as_str().unwrap_or_else(|| panic!("no url in {answer}"));
    url[url.find("/bundles/").unwrap()..].to_owned()
}

/// The address in the log line with this message.
fn address(log: &str, message: &str) -> Option<SocketAddr> {
    let line = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut found = line.filter(|line| line["message"] == message);
    let url = found.next()?["url"].as_str()?.to_owned();
    url.strip_prefix("http://")?.parse().ok()
}

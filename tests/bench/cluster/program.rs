//! The program under measurement.

use std::{
    fmt::Write as _,
    fs::{self, File},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;
use sluice_test_parts::until;

use crate::{content::ChannelId, settings};

/// Longest wait for one condition. It only matters when something is wrong.
pub const LIMIT: Duration = Duration::from_mins(15);
/// Between two looks of a device that waits for its answer to change.
const LOOK: Duration = Duration::from_millis(4);

/// What the image sets.
const IMAGE: [(&str, &str); 4] = [
    ("MALLOC_CONF", "narenas:2,dirty_decay_ms:1000,muzzy_decay_ms:0,background_thread:true"),
    ("MALLOC_ARENA_MAX", "2"),
    ("MALLOC_TRIM_THRESHOLD_", "131072"),
    ("MALLOC_MMAP_THRESHOLD_", "131072"),
];

/// A running operator or gateway. It is killed when it goes out of scope.
pub struct Program {
    child: Child,
    log: PathBuf,
    devices: Option<SocketAddr>,
    admin: SocketAddr,
    hooks: Option<SocketAddr>,
    http: reqwest::Client,
    /// When it was started.
    pub started: Instant,
}

impl Program {
    /// Starts it, and waits until its addresses are known. `listens` are the addresses that it shall have.
    pub async fn start(arguments: &[&str], variables: &[(&str, &str)], folder: &Path) -> Self {
        Self::start_by(Command::new(settings::program()), arguments, variables, folder).await
    }

    /// The same on one core alone.
    pub async fn start_on(core: &str, arguments: &[&str], variables: &[(&str, &str)], folder: &Path) -> Self {
        let mut command = Command::new("taskset");
        command.args(["-c", core]).arg(settings::program());
        Self::start_by(command, arguments, variables, folder).await
    }

    async fn start_by(
        mut command: Command,
        arguments: &[&str],
        variables: &[(&str, &str)],
        folder: &Path,
    ) -> Self {
        let started = Instant::now();
        // Logs that outlive the measurement, to see where time went.
        let logs = std::env::var_os("SLUICE_BENCH_LOGS").map_or_else(|| folder.to_owned(), PathBuf::from);
        let log = logs.join(format!("{}-{}.log", arguments[0], number()));
        let file = File::create(&log).unwrap();
        let level = std::env::var_os("SLUICE_BENCH_LOG").unwrap_or_else(|| "info,sluice_kube=debug".into());
        command
            .env_clear()
            .envs(IMAGE)
            .envs(variables.iter().copied())
            .args(arguments)
            .args(["--admin-listen", "127.0.0.1:0", "--log-format", "json", "--log"])
            .arg(level)
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file);
        let child = command.spawn().unwrap();
        let devices = arguments.contains(&"--listen");
        let hooks = arguments.contains(&"--hooks-listen");
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut program = Self { child, log, devices: None, admin: nowhere, hooks: None, http, started };
        let addresses = until(LIMIT, "the program listens", async || {
            let text = program.log();
            if let Some(ended) = program.child.try_wait().unwrap() {
                panic!("{} ended with {ended}\n{text}", arguments[0]);
            }
            let asked = |wanted: bool, message: &str| {
                let found = address(&text, message);
                if wanted && found.is_none() { None } else { Some(found) }
            };
            let admin = address(&text, "health, metrics and the API")
                .or_else(|| address(&text, "health and metrics"));
            Some((asked(devices, "devices are answered")?, admin?, asked(hooks, "webhooks")?))
        });
        let (devices, admin, hooks) = addresses.await;
        (program.devices, program.admin, program.hooks) = (devices, admin, hooks);
        program
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// Tells it of a push, signed as GitHub does.
    pub async fn hint(&self, namespace: &str, secret: &str) {
        let body = r#"{"ref":"refs/heads/main"}"#;
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
        mac.update(body.as_bytes());
        let signature = mac.finalize().into_bytes().iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        });
        let url = format!("http://{}/hooks/{namespace}/bench", self.hooks.unwrap());
        let sent = self.http.post(url).header("x-github-event", "push");
        let sent = sent.header("x-hub-signature-256", format!("sha256={signature}")).body(body).send().await;
        assert_eq!(sent.unwrap().status().as_u16(), 202);
    }

    /// What a device of the channel is answered.
    async fn offered(&self, channel: ChannelId) -> Value {
        let phone = json!({
            "platform": "android", "device_id": "00000000-0000-4000-8000-000000000001", "app_id": channel.app(),
            "custom_id": "", "version_build": "1.0.0", "version_code": "1", "version_os": "14",
            "version_name": "1.0.0", "plugin_version": "8.51.23", "is_emulator": false, "is_prod": true,
            "defaultChannel": channel.asked(),
        });
        let url = format!("http://{}/updates", self.devices());
        let sent = self.http.post(url).json(&phone).send().await.unwrap();
        sent.json().await.unwrap()
    }

    /// Asks as a device until it is offered this version, and says when that was.
    pub async fn offers(&self, channel: ChannelId, version: &str) -> Instant {
        self.answers(channel, version, true).await
    }

    /// Asks as a device until it is not offered this version any more, and says when that was.
    pub async fn refuses(&self, channel: ChannelId, version: &str) -> Instant {
        self.answers(channel, version, false).await
    }

    async fn answers(&self, channel: ChannelId, version: &str, offered: bool) -> Instant {
        let start = Instant::now();
        loop {
            let answer = self.offered(channel).await;
            if (answer["version"] == version) == offered {
                return Instant::now();
            }
            assert!(start.elapsed() < LIMIT, "waited {LIMIT:?} for {version}, offered: {offered}: {answer}");
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Where devices connect.
    pub fn devices(&self) -> SocketAddr {
        self.devices.unwrap()
    }

    /// The sum of a figure over its labels.
    pub async fn metric(&self, name: &str) -> f64 {
        let sent = self.http.get(format!("http://{}/metrics", self.admin)).send().await.unwrap();
        let text = sent.text().await.unwrap();
        let of = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{']));
        text.lines().filter(of).map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
    }

    /// Whether it says that it is ready.
    pub async fn is_ready(&self) -> bool {
        self.http
            .get(format!("http://{}/readyz", self.admin))
            .send()
            .await
            .is_ok_and(|sent| sent.status().is_success())
    }

    /// Asks it to stop, waits until it has, and says how long that took.
    pub async fn stop(mut self) -> Duration {
        let asked = Instant::now();
        let command = format!("kill -TERM {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &command]).status().unwrap().success());
        let ended = until(LIMIT, "the program stops", async || self.child.try_wait().unwrap()).await;
        assert!(ended.success(), "{ended}\n{}", self.log());
        asked.elapsed()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            println!("{}", lines[lines.len().saturating_sub(60)..].join("\n"));
        }
    }
}

/// Numbers log files.
fn number() -> u64 {
    static STARTS: AtomicU64 = AtomicU64::new(0);
    STARTS.fetch_add(1, Ordering::Relaxed)
}

/// The address in the log line with this message.
fn address(log: &str, message: &str) -> Option<SocketAddr> {
    let line = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut found = line.filter(|line| line["message"] == message);
    let url = found.next()?["url"].as_str()?.trim_start_matches("http://").to_owned();
    url.split('/').next()?.parse().ok()
}

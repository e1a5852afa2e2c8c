//! The operator as a process.

use std::{
    fs::{self, File},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::Value;
use sha2::Sha256;

use super::{LIMIT, Phone, git::HOOK_SECRET, until};

/// The program under test.
pub const SLUICE: &str = env!("CARGO_BIN_EXE_sluice");
/// Numbers log files.
static STARTS: AtomicU32 = AtomicU32::new(0);

/// A running operator. It is killed when it goes out of scope, and its log is printed when the test fails.
pub struct Operator {
    child: Child,
    devices: Option<SocketAddr>,
    admin: SocketAddr,
    hooks: SocketAddr,
    log: PathBuf,
    namespace: String,
    http: reqwest::Client,
}

impl Operator {
    /// Starts it for one namespace, and waits until its addresses are known.
    pub async fn start(kubeconfig: &Path, namespace: &str, data: &Path, flags: &[&str]) -> Self {
        let mut command = Command::new(SLUICE);
        command.env("KUBECONFIG", kubeconfig);
        let mut all = flags.to_vec();
        for (flag, value) in [
            ("--listen", "127.0.0.1:0"),
            ("--admin-listen", "127.0.0.1:0"),
            ("--hooks-listen", "127.0.0.1:0"),
            ("--namespaces", namespace),
            ("--lease-namespace", namespace),
            ("--lease-duration", "5s"),
            ("--log", "info,sluice_kube=debug"),
        ] {
            if !flags.contains(&flag) {
                all.extend([flag, value]);
            }
        }
        Self::launch(command, namespace, data, &all).await
    }

    /// Starts it by this command, which the flags of an operator follow, and waits until its addresses are known.
    pub async fn launch(mut command: Command, namespace: &str, data: &Path, flags: &[&str]) -> Self {
        let start = STARTS.fetch_add(1, Ordering::Relaxed);
        let log = data.with_file_name(format!("operator-{start}.log"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("SLUICE_") {
                command.env_remove(name);
            }
        }
        let file = File::create(&log).unwrap();
        command.args(["operator", "--data"]).arg(data).args(["--log-format", "json"]).args(flags);
        let child =
            command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file).spawn().unwrap();
        let gateway = flags.iter().any(|flag| ["--gateway", "--gateway=true"].contains(flag));
        let mut started = Self {
            child,
            devices: None,
            admin: SocketAddr::from(([127, 0, 0, 1], 0)),
            hooks: SocketAddr::from(([127, 0, 0, 1], 0)),
            log,
            namespace: namespace.to_owned(),
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
        };
        let (devices, admin, hooks) = until(LIMIT, "the operator listens", async || {
            let text = started.log();
            if let Some(ended) = started.child.try_wait().unwrap() {
                panic!("the operator ended with {ended:?}\n{text}");
            }
            let devices = address(&text, "devices are answered");
            if gateway && devices.is_none() {
                return None;
            }
            Some((devices, address(&text, "health, metrics and the API")?, address(&text, "webhooks")?))
        })
        .await;
        (started.devices, started.admin, started.hooks) = (devices, admin, hooks);
        started
    }

    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// Sends JSON as a device does.
    pub async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let devices = self.devices.expect("it was started with --gateway");
        let sent = self.http.post(format!("http://{devices}{path}")).json(body).send().await.unwrap();
        let status = sent.status().as_u16();
        (status, sent.json().await.unwrap_or(Value::Null))
    }

    /// What the phone is answered.
    pub async fn answers(&self, phone: &Phone) -> Value {
        let (status, answer) = self.post("/updates", &phone.body()).await;
        assert_eq!(status, 200, "{answer}");
        answer
    }

    /// Waits until the phone is offered this version.
    pub async fn offers(&self, phone: &Phone, version: &str) -> Value {
        until(LIMIT, &format!("{version} is offered"), async || {
            let answer = self.answers(phone).await;
            if answer["version"] == version && answer.get("error").is_none() {
                Ok(answer)
            } else {
                Err(answer)
            }
        })
        .await
    }

    /// Whether it is ready, and what it says.
    pub async fn ready(&self) -> (bool, Value) {
        let sent = self.http.get(format!("http://{}/readyz", self.admin)).send().await.unwrap();
        (sent.status().is_success(), sent.json().await.unwrap())
    }

    /// The sum of a figure over its labels.
    pub async fn metric(&self, name: &str) -> f64 {
        let sent = self.http.get(format!("http://{}/metrics", self.admin)).send().await.unwrap();
        let text = sent.text().await.unwrap();
        let of = |line: &str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{']));
        let values: Vec<f64> = text
            .lines()
            .filter(|line| of(line))
            .map(|line| line.rsplit(' ').next().unwrap().parse().unwrap())
            .collect();
        assert!(!values.is_empty(), "no figure {name} in\n{text}");
        values.iter().sum()
    }

    /// Asks the API, as the owner of this token.
    pub async fn api(&self, path: &str, token: &str) -> (u16, Value) {
        let sent =
            self.http.get(format!("http://{}{path}", self.admin)).bearer_auth(token).send().await.unwrap();
        (sent.status().as_u16(), sent.json().await.unwrap_or(Value::Null))
    }

    /// Tells it of a push, signed as GitHub does. Returns the status.
    pub async fn hook(&self, repository: &str, secret: &str) -> u16 {
        let body = r#"{"ref":"refs/heads/main"}"#;
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
        mac.update(body.as_bytes());
        let signature = hex::encode(mac.finalize().into_bytes());
        let url = format!("http://{}/hooks/{}/{repository}", self.hooks, self.namespace);
        let sent = self.http.post(url).header("x-github-event", "push");
        let sent = sent.header("x-hub-signature-256", format!("sha256={signature}")).body(body);
        sent.send().await.unwrap().status().as_u16()
    }

    /// The same with the right secret, again until somebody listens, as a Git host does.
    pub async fn hint(&self) {
        until(LIMIT, "the webhook is taken", async || match self.hook("shop", HOOK_SECRET).await {
            202 => Ok(()),
            status => Err(status),
        })
        .await;
    }

    /// Waits until it leads.
    pub async fn leads(&self) {
        until(LIMIT, "the operator leads", async || (self.metric("sluice_leader").await > 0.5).then_some(()))
            .await;
    }

    /// Sends a signal.
    pub fn signal(&self, signal: &str) {
        let command = format!("kill -{signal} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &command]).status().unwrap().success());
    }

    /// Asks it to stop and waits until it has.
    pub async fn stop(mut self) -> ExitStatus {
        self.signal("TERM");
        until(LIMIT, "the operator stops", async || self.child.try_wait().unwrap()).await
    }

    /// `kill -9`.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Operator {
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

/// The address in the log line with this message.
fn address(log: &str, message: &str) -> Option<SocketAddr> {
    let line = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut found = line.filter(|line| line["message"] == message);
    let line = found.next()?;
    // A public URL says nothing of the address.
    let url = line["listen"].as_str().or_else(|| line["url"].as_str())?.trim_start_matches("http://");
    url.split('/').next()?.parse().ok()
}

//! A Git host: Gitea, with pull requests, protected branches and commit statuses.

use std::{net::SocketAddr, path::Path, time::Duration};

use rand::distr::{Alphanumeric, SampleString as _};
use serde_json::{Value, json};
use tokio::{process::Command, sync::OnceCell};

use crate::{folder::Folder, ports::Port, program::part, server::Server};

/// Who owns everything, and may do everything.
const USER: &str = "sluice";

static SHARED: OnceCell<Gitea> = OnceCell::const_new();

/// A running Gitea, which keeps what it has over `kill` and `restart`.
#[derive(Debug)]
pub struct Gitea {
    server: Server,
    port: Port,
    password: String,
    token: String,
    _folder: Folder,
}

impl Gitea {
    /// Makes one with a user, and starts it.
    pub async fn start() -> Self {
        let folder = Folder::new("gitea", None);
        let port = Port::claim();
        let program = part("gitea");
        folder.write("app.ini", settings(&folder, &program, &port));
        let server = Server::new("gitea", program.clone(), folder.path())
            .args(["--config", "app.ini", "web"])
            // Ends its Git processes as well.
            .stopped_by("TERM");
        let password = Alphanumeric.sample_string(&mut rand::rng(), 24);
        command(&program, &folder, &["migrate"]).await;
        let user = ["admin", "user", "create", "--admin", "--must-change-password=false"];
        let account = ["--username", USER, "--email", "sluice@example.org", "--password", &password];
        command(&program, &folder, &[&user[..], &account].concat()).await;

        let mut gitea = Self { server, port, password, token: String::new(), _folder: folder };
        gitea.restart().await;
        gitea.token = gitea.token_for(&["all"]).await;
        gitea
    }

    /// The one that the tests of this process share: a repository for each, and nobody stops it.
    pub async fn shared() -> &'static Self {
        SHARED.get_or_init(Self::start).await
    }

    /// Where it is, for example `http://127.0.0.1:20443`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address())
    }

    /// The address under which it listens, for a [`Proxy`](crate::Proxy).
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// A token that may do everything.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Another token, for these scopes (`read:repository`).
    pub async fn token_for(&self, scopes: &[&str]) -> String {
        let name = Alphanumeric.sample_string(&mut rand::rng(), 10);
        let wanted = json!({ "name": name, "scopes": scopes });
        let request = self.request(http::Method::POST, &format!("users/{USER}/tokens"));
        let made = ask(request.basic_auth(USER, Some(&self.password)).json(&wanted)).await;
        made["sha1"].as_str().unwrap_or_else(|| panic!("{made} is no token")).to_owned()
    }

    /// Makes a repository with one commit on `main`, and gives the address that Git uses, which holds no credentials.
    pub async fn repository(&self) -> String {
        let name = format!("test-{}", Alphanumeric.sample_string(&mut rand::rng(), 10).to_lowercase());
        let wanted = json!({ "name": name, "default_branch": "main", "auto_init": true, "private": true });
        self.api(http::Method::POST, "user/repos", &wanted).await;
        format!("{}/{USER}/{name}.git", self.endpoint())
    }

    /// The same with credentials, for the command line of Git.
    pub fn with_credentials(&self, repository: &str) -> String {
        repository.replacen("http://", &format!("http://{USER}:{}@", self.token), 1)
    }

    /// Refuses every push to a branch: it moves by pull requests alone.
    pub async fn protect(&self, repository: &str, branch: &str) {
        let wanted = json!({ "rule_name": branch, "enable_push": false });
        self.of(http::Method::POST, repository, "branch_protections", &wanted).await;
    }

    /// Asks something of a repository, as the API has it below `repos/OWNER/NAME`; panics when it is refused.
    pub async fn of(&self, method: http::Method, repository: &str, path: &str, body: &Value) -> Value {
        let name = repository.trim_start_matches(&self.endpoint()).trim_end_matches(".git");
        self.api(method, &format!("repos{name}/{path}"), body).await
    }

    /// Kills it.
    pub fn kill(&self) {
        self.server.kill();
    }

    /// Starts it again, under the same address and with what it had, and waits until it is ready.
    pub async fn restart(&self) {
        self.server.spawn();
        let (client, url) = (reqwest::Client::new(), format!("{}/api/healthz", self.endpoint()));
        self.server
            .ready(async || match client.get(&url).timeout(Duration::from_secs(5)).send().await {
                Ok(answer) if answer.status().is_success() => Ok(()),
                Ok(answer) => Err(answer.status().to_string()),
                Err(error) => Err(error.without_url().to_string()),
            })
            .await;
    }

    async fn api(&self, method: http::Method, path: &str, body: &Value) -> Value {
        let mut request = self.request(method, path).header("authorization", format!("token {}", self.token));
        if !body.is_null() {
            request = request.json(body);
        }
        ask(request).await
    }

    fn request(&self, method: http::Method, path: &str) -> reqwest::RequestBuilder {
        reqwest::Client::new().request(method, format!("{}/api/v1/{path}", self.endpoint()))
    }
}

/// What its API answers; panics when it refuses.
async fn ask(request: reqwest::RequestBuilder) -> Value {
    let answer = request.send().await.unwrap_or_else(|error| panic!("gitea: {error}"));
    let (status, url) = (answer.status(), answer.url().clone());
    let text = answer.text().await.unwrap_or_default();
    assert!(status.is_success(), "{url}: {status}: {text}");
    serde_json::from_str(&text).unwrap_or_default()
}

/// Runs one of its own commands. Only while the server does not run: both would want the database.
async fn command(program: &Path, folder: &Folder, arguments: &[&str]) {
    let output = Command::new(program)
        .args(["--config", "app.ini"])
        .args(arguments)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", folder.path())
        .current_dir(folder.path())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap_or_else(|error| panic!("gitea {}: {error}", arguments[0]));
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "gitea {}: {out}{err}", arguments[0]);
}

/// Everything is in its folder, but what stands beside its program. It runs as root where the tests do: nobody but them
/// reaches it.
fn settings(folder: &Folder, program: &Path, port: &Port) -> String {
    let work = folder.path().display();
    let share = program.ancestors().nth(2).map(|part| part.join("share")).unwrap_or_default();
    let (share, port) = (share.display(), port.address().port());
    let secret = Alphanumeric.sample_string(&mut rand::rng(), 64);
    format!(
        "RUN_MODE = prod
I_AM_BEING_UNSAFE_RUNNING_AS_ROOT = true
WORK_PATH = {work}

[server]
PROTOCOL = http
HTTP_ADDR = 127.0.0.1
HTTP_PORT = {port}
ROOT_URL = http://127.0.0.1:{port}/
STATIC_ROOT_PATH = {share}
OFFLINE_MODE = true
DISABLE_SSH = true
LFS_START_SERVER = false

[database]
DB_TYPE = sqlite3
PATH = {work}/gitea.db
SQLITE_TIMEOUT = 20000
SQLITE_JOURNAL_MODE = WAL

[security]
INSTALL_LOCK = true
SECRET_KEY = {secret}
INTERNAL_TOKEN = {secret}

[oauth2]
ENABLED = false

[service]
DISABLE_REGISTRATION = true

[webhook]
ALLOWED_HOST_LIST = loopback

[repository]
ROOT = {work}/repositories

[log]
LEVEL = Warn

[cron.update_checker]
ENABLED = false
"
    )
}

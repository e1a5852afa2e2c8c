//! A database: PostgreSQL, as the system packages it.

use std::{
    fs,
    net::SocketAddr,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use rand::distr::{Alphanumeric, SampleString as _};
use tokio::{net::TcpStream, sync::OnceCell};

use crate::{folder::Folder, ports::Port, program::User, server::Server, wait::until};

/// Where Debian puts them, one folder for each major version.
const DEBIAN: &str = "/usr/lib/postgresql";
/// It does not run as root; Debian's package makes this user.
const USER: &str = "postgres";

static SHARED: OnceCell<Postgres> = OnceCell::const_new();

/// A running PostgreSQL, which keeps what it has over `kill` and `restart`.
#[derive(Debug)]
pub struct Postgres {
    server: Server,
    programs: PathBuf,
    password: String,
    port: Port,
    _folder: Folder,
}

impl Postgres {
    /// Makes a database cluster and starts it.
    pub async fn start() -> Self {
        // What is killed here is the process, never the machine.
        Self::with("fsync=off").await
    }

    /// The same, and it waits for the disk as one that is in earnest does.
    pub async fn durable() -> Self {
        Self::with("fsync=on").await
    }

    async fn with(setting: &str) -> Self {
        let programs = programs();
        let user = User::instead_of_root(USER);
        let folder = Folder::new("postgres", user);
        let port = Port::claim();
        let password = Alphanumeric.sample_string(&mut rand::rng(), 24);
        init(&programs, user, &folder, &password);

        let server = Server::new("postgres", programs.join("postgres"), folder.path())
            .args(["-D", "data", "-h", "127.0.0.1", "-p", &port.address().port().to_string()])
            .args(["-c", setting, "-c", "unix_socket_directories=", "-c", "max_connections=200"])
            .user(user)
            // Ends at once as well, and gives the system its shared memory back.
            .stopped_by("QUIT");
        let postgres = Self { server, programs, password, port, _folder: folder };
        postgres.restart().await;
        postgres
    }

    /// The one that the tests of this process share: a database for each, and nobody stops it.
    pub async fn shared() -> &'static Self {
        SHARED.get_or_init(Self::start).await
    }

    /// The address under which it listens, for a [`Proxy`](crate::Proxy).
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// Makes an empty database and gives its URL, with a user who may do everything.
    pub async fn database(&self) -> String {
        let name = format!("test_{}", Alphanumeric.sample_string(&mut rand::rng(), 10).to_lowercase());
        self.psql(&self.url("postgres"), &format!("CREATE DATABASE {name}")).await;
        self.url(&name)
    }

    /// What psql prints for this SQL, without headings; panics when the server refuses it.
    pub async fn psql(&self, url: &str, sql: &str) -> String {
        let output = self.try_psql(url, sql).await;
        output.unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// Kills it.
    pub fn kill(&self) {
        self.server.kill();
    }

    /// Starts it again, under the same address and with what it had, and waits until it is ready.
    pub async fn restart(&self) {
        // Children of one that was killed look for its end, and the new one waits for theirs.
        until(Duration::from_secs(30), "the port of PostgreSQL is free", async || {
            TcpStream::connect(self.address()).await.is_err()
        })
        .await;
        self.server.spawn();
        let url = self.url("postgres");
        self.server.ready(async || self.try_psql(&url, "SELECT 1").await).await;
    }

    /// Lets it accept nobody; sessions that it has already go on, since each is a process of its own.
    pub fn pause(&self) {
        self.server.pause();
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.server.resume();
    }

    fn url(&self, database: &str) -> String {
        format!("postgres://{USER}:{}@{}/{database}", self.password, self.address())
    }

    async fn try_psql(&self, url: &str, sql: &str) -> Result<String, String> {
        let output = tokio::process::Command::new(self.programs.join("psql"))
            .args([
                "--no-psqlrc",
                "--tuples-only",
                "--no-align",
                "--set=ON_ERROR_STOP=1",
                "--command",
                sql,
                url,
            ])
            .env_clear()
            .kill_on_drop(true)
            .output()
            .await
            .map_err(|error| error.to_string())?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
    }
}

/// The folder with the newest version's programs.
fn programs() -> PathBuf {
    let version = |folder: &Path| folder.file_name()?.to_str()?.parse::<u32>().ok();
    let debian = fs::read_dir(DEBIAN)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|folder| folder.join("bin/initdb").exists())
        .max_by_key(|folder| version(folder));
    let on_path = || {
        let path = std::env::var_os("PATH")?;
        std::env::split_paths(&path).find(|folder| folder.join("initdb").exists())
    };
    debian
        .map(|folder| folder.join("bin"))
        .or_else(on_path)
        .unwrap_or_else(|| panic!("PostgreSQL is missing; tests/run installs it"))
}

fn init(programs: &Path, user: Option<User>, folder: &Folder, password: &str) {
    // Read by whoever runs initdb, in a folder that nobody else may enter.
    let password_file = folder.write("password", password);
    let mut command = Command::new(programs.join("initdb"));
    command
        .args([
            "-D",
            "data",
            "-U",
            USER,
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
        ])
        .arg(format!("--pwfile={}", password_file.display()))
        .env_clear()
        .env("PATH", programs)
        .current_dir(folder.path());
    if let Some(user) = user {
        command.uid(user.uid).gid(user.gid);
    }
    let output = command.output().unwrap_or_else(|error| panic!("initdb: {error}"));
    assert!(output.status.success(), "initdb: {}", String::from_utf8_lossy(&output.stderr));
}

//! Servers under measurement: processes pinned to one core, the load on another.

use std::{
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use crate::{usage, wrk::LOAD_CORE};

/// The core of the server.
const SERVER_CORE: &str = "0";

/// A server that is killed when it goes out of scope.
pub struct Server {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Server {
    /// Starts `command` on the server's core and waits until `address` accepts connections.
    pub fn start(mut command: Vec<String>, address: SocketAddr) -> Self {
        let mut pinned = vec!["taskset".to_owned(), "-c".to_owned(), SERVER_CORE.to_owned()];
        pinned.append(&mut command);
        let child = Command::new(&pinned[0]).args(&pinned[1..]).stdout(Stdio::null()).spawn().unwrap();
        let mut server = Self { child, address };
        await_that("the server accepts connections", || {
            assert!(server.child.try_wait().unwrap().is_none(), "the server ended");
            TcpStream::connect(address).is_ok()
        });
        server
    }

    /// Its number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Resident memory in MiB: now, and at its highest.
    pub fn memory(&self) -> (f64, f64) {
        usage::memory(self.id())
    }

    /// Lets it stand still.
    pub fn pause(&self) {
        self.signal("STOP");
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }

    /// Ends it and waits for that.
    pub fn stop(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Puts this process on the load's core.
pub fn pin_load() {
    let pid = std::process::id().to_string();
    Command::new("taskset").args(["-a", "-p", "-c", LOAD_CORE, &pid]).stdout(Stdio::null()).status().unwrap();
}

/// A free loopback address.
pub fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// Waits until `holds`, at most a minute.
pub fn await_that(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_mins(1), "waited a minute until {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The command line of `sluice serve` for a repository.
pub fn serve(
    program: &Path,
    repository: &Path,
    data: &Path,
    listen: SocketAddr,
    more: &[&str],
) -> Vec<String> {
    let mut command: Vec<String> = vec![program.display().to_string(), "serve".into()];
    let admin = free_address().to_string();
    let (repository, data, listen) =
        (repository.display().to_string(), data.display().to_string(), listen.to_string());
    for (flag, value) in [
        ("--repository", repository.as_str()),
        ("--data", &data),
        ("--listen", &listen),
        ("--admin-listen", &admin),
        ("--log", "error"),
    ] {
        command.extend([flag.to_owned(), value.to_owned()]);
    }
    command.extend(more.iter().map(ToString::to_string));
    command
}

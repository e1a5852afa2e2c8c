//! Servers as processes that end with the tests.

use std::{
    fs::{self, File},
    io,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::{
    program::User,
    wait::{Observation, until},
};

/// Longest start of any part, on a machine that is busy with a build.
const START: Duration = Duration::from_mins(2);
/// How long a server may take to end when it is asked to, at the end of a test.
const STOP: Duration = Duration::from_secs(5);
const LOG_TAIL: usize = 4_000;

/// Becomes the server, and leaves a process beside it that waits for the end of the input. The other end of this input is
/// held by the tests' process alone and closes when that ends, however it ends. Both are one process group, whose number
/// nobody else gets while one of them lives.
const GUARD: &str = r#"
stop=$1
shift
exec 3<&0 </dev/null
(
  read -r _ <&3
  kill -s "$stop" $$ 2>/dev/null
  if [ "$stop" != KILL ]; then
    kill -s CONT $$ 2>/dev/null
    looks=0
    while kill -s 0 $$ 2>/dev/null && [ "$looks" -lt 30 ]; do sleep 0.1; looks=$((looks + 1)); done
  fi
  kill -s KILL 0
) &
exec "$@" 3<&-
"#;

/// How a server is started, every time anew.
#[derive(Debug)]
pub(crate) struct Server {
    name: &'static str,
    program: PathBuf,
    arguments: Vec<String>,
    variables: Vec<(String, String)>,
    user: Option<User>,
    /// Sent at the end of a test. A server that leaves something in the system without its own end gets another.
    stop: &'static str,
    folder: PathBuf,
    running: Mutex<Option<Child>>,
}

impl Server {
    /// A server that is not started yet. Its log goes to a file of `folder`, which it runs in.
    pub(crate) fn new(name: &'static str, program: PathBuf, folder: &Path) -> Self {
        Self {
            name,
            program,
            arguments: Vec::new(),
            variables: Vec::new(),
            user: None,
            stop: "KILL",
            folder: folder.to_owned(),
            running: Mutex::new(None),
        }
    }

    pub(crate) fn args<S: Into<String>>(mut self, arguments: impl IntoIterator<Item = S>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    pub(crate) fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.variables.push((name.to_owned(), value.into()));
        self
    }

    pub(crate) fn user(mut self, user: Option<User>) -> Self {
        self.user = user;
        self
    }

    pub(crate) fn stopped_by(mut self, signal: &'static str) -> Self {
        self.stop = signal;
        self
    }

    /// Starts the process unless it runs.
    pub(crate) fn spawn(&self) {
        let mut running = self.running();
        if running.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None))) {
            return;
        }
        let log = File::options().create(true).append(true).open(self.log_path());
        let log = log.unwrap_or_else(|error| panic!("{}: {error}", self.log_path().display()));
        let mut command = Command::new("sh");
        command
            .args(["-c", GUARD, self.name, self.stop])
            .arg(&self.program)
            .args(&self.arguments)
            // Nothing of the machine's settings reaches a server.
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", &self.folder)
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .current_dir(&self.folder)
            .stdin(Stdio::piped())
            .stdout(log.try_clone().unwrap_or_else(|error| panic!("the log of {}: {error}", self.name)))
            .stderr(log)
            .process_group(0);
        if let Some(user) = self.user {
            command.uid(user.uid).gid(user.gid);
        }
        *running = Some(command.spawn().unwrap_or_else(|error| panic!("{}: {error}", self.name)));
    }

    /// Waits until `look` finds the server ready; panics with the end of its log when it ends before.
    pub(crate) async fn ready<O: Observation>(&self, mut look: impl AsyncFnMut() -> O) -> O::Value {
        until(START, &format!("{} is ready", self.name), async || {
            if let Some(Ok(Some(status))) = self.running().as_mut().map(Child::try_wait) {
                panic!("{} ended with {status}:\n{}", self.name, self.log_tail());
            }
            look().await.settle()
        })
        .await
    }

    /// Ends it at once, as a crash does.
    pub(crate) fn kill(&self) {
        if let Some(mut child) = self.running().take() {
            let _ = child.kill();
            end(&mut child);
        }
    }

    /// Stops it from doing anything, with its connections open.
    pub(crate) fn pause(&self) {
        self.signal("STOP");
    }

    /// Lets it go on after a pause.
    pub(crate) fn resume(&self) {
        self.signal("CONT");
    }

    /// Its process id, while it runs.
    pub(crate) fn id(&self) -> Option<u32> {
        self.running().as_ref().map(Child::id)
    }

    /// The file with all it has printed.
    pub(crate) fn log_path(&self) -> PathBuf {
        self.folder.join(format!("{}.log", self.name))
    }

    fn log_tail(&self) -> String {
        let log = fs::read(self.log_path()).unwrap_or_default();
        String::from_utf8_lossy(&log[log.len().saturating_sub(LOG_TAIL)..]).into_owned()
    }

    fn signal(&self, signal: &str) {
        let id = self.id().unwrap_or_else(|| panic!("{} does not run", self.name));
        let sent = send_signal(signal, id);
        assert!(sent.is_ok_and(|sent| sent), "could not send {signal} to {}", self.name);
    }

    fn running(&self) -> MutexGuard<'_, Option<Child>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.running().take() {
            end(&mut child);
        }
    }
}

/// Lets the process beside the server end it, and itself.
fn end(child: &mut Child) {
    drop(child.stdin.take());
    let asked = Instant::now();
    while let Ok(None) = child.try_wait() {
        if asked.elapsed() > STOP {
            let _ = child.kill();
            let _ = child.wait();
            return;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The standard library sends no signal but SIGKILL; every shell can.
fn send_signal(signal: &str, id: u32) -> io::Result<bool> {
    let status = Command::new("sh")
        .args(["-c", r#"kill -s "$1" "$2""#, "signal", signal, &id.to_string()])
        .status()?;
    Ok(status.success())
}

//! The parent's side of a worker: starting it, asking it under a deadline, and killing it.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::Stdio,
    sync::{Arc, Mutex, TryLockError},
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    process::{Child, ChildStdin, ChildStdout, Command},
};

use crate::{
    error::RepoError,
    worker::{Done, Reply, Request, Session},
};

/// How workers are started.
#[derive(Debug, Clone)]
pub enum Launch {
    /// As a child process, which can be killed.
    Process {
        /// The program; usually this one.
        program: PathBuf,
        /// Its arguments; usually the hidden subcommand.
        args: Vec<OsString>,
    },
    /// In a thread of this process. For local repositories only, where nothing can hang on a network.
    InProcess,
}

/// What does the work for one mirror. At most one request is under way.
#[derive(Debug)]
pub(crate) struct Slot {
    launch: Launch,
    home: PathBuf,
    worker: tokio::sync::Mutex<Option<Worker>>,
    session: Arc<Mutex<Session>>,
}

#[derive(Debug)]
struct Worker {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    next: u64,
    /// Certificates it trusts by now; they cannot be taken back.
    certificates: Option<String>,
}

impl Slot {
    pub(crate) fn new(launch: Launch, home: PathBuf) -> Self {
        Self { launch, home, worker: tokio::sync::Mutex::default(), session: Arc::default() }
    }

    /// Asks the worker. When the answer does not come before the deadline, or the future is dropped, the worker is
    /// killed; the next question starts another one.
    pub(crate) async fn ask(&self, request: Request, deadline: Duration) -> Result<Done, RepoError> {
        let timeout = RepoError::Timeout { url: request.shown.clone(), seconds: deadline.as_secs() };
        match &self.launch {
            Launch::InProcess => match tokio::time::timeout(deadline, self.ask_thread(request)).await {
                Ok(outcome) => outcome,
                Err(_) => Err(timeout),
            },
            Launch::Process { program, args } => {
                // Waiting for another's turn counts: it is bounded by the same kind of deadline.
                let mut slot = self.worker.lock().await;
                // Taken out, so that a dropped future drops the worker, which kills it.
                let mut worker = match slot.take() {
                    Some(worker) if worker.certificates == request.access.certificates => worker,
                    other => {
                        if let Some(old) = other {
                            old.kill().await;
                        }
                        Worker::start(program, args, &self.home)?
                    }
                };
                match tokio::time::timeout(deadline, worker.ask(request)).await {
                    Ok(Ok(outcome)) => {
                        *slot = Some(worker);
                        outcome
                    }
                    Ok(Err(error)) => {
                        worker.kill().await;
                        Err(error)
                    }
                    Err(_) => {
                        tracing::warn!(seconds = deadline.as_secs(), "git worker killed at its deadline");
                        worker.kill().await;
                        Err(timeout)
                    }
                }
            }
        }
    }

    async fn ask_thread(&self, request: Request) -> Result<Done, RepoError> {
        let session = Arc::clone(&self.session);
        let failed = |detail: &str| RepoError::Worker { detail: detail.to_owned() };
        tokio::task::spawn_blocking(move || match session.try_lock() {
            Ok(mut session) => session.handle(request),
            Err(TryLockError::WouldBlock) => Err(failed("the last request is still running")),
            Err(TryLockError::Poisoned(_)) => Err(failed("an earlier request panicked")),
        })
        .await
        .unwrap_or_else(|_| Err(failed("the request panicked")))
    }
}

impl Worker {
    fn start(program: &Path, args: &[OsString], home: &Path) -> Result<Self, RepoError> {
        let failed = |detail: String| RepoError::Worker { detail };
        std::fs::create_dir_all(home).map_err(|error| RepoError::Storage { detail: error.to_string() })?;
        let mut child = Command::new(program)
            .args(args)
            .env("HOME", home)
            // Nothing of the machine's Git or SSH set-up may reach it.
            .env_remove("SSH_AUTH_SOCK")
            .env_remove("XDG_CONFIG_HOME")
            .env_remove("GIT_DIR")
            .env_remove("GIT_CONFIG")
            .env_remove("GIT_CONFIG_GLOBAL")
            .env_remove("GIT_CONFIG_SYSTEM")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| failed(format!("cannot be started: {error}")))?;
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(failed("has no pipes".to_owned()));
        };
        tracing::debug!(pid = child.id(), "git worker started");
        Ok(Self { child, stdin, stdout: BufReader::new(stdout), next: 0, certificates: None })
    }

    /// The outer error means that the worker is of no more use.
    async fn ask(&mut self, mut request: Request) -> Result<Result<Done, RepoError>, RepoError> {
        let failed = |detail: String| RepoError::Worker { detail };
        self.next += 1;
        request.id = self.next;
        self.certificates.clone_from(&request.access.certificates);
        let mut line = serde_json::to_vec(&request).map_err(|error| failed(error.to_string()))?;
        line.push(b'\n');
        self.stdin.write_all(&line).await.map_err(|error| failed(error.to_string()))?;
        self.stdin.flush().await.map_err(|error| failed(error.to_string()))?;
        line.fill(0);
        let mut answer = String::new();
        let read = self.stdout.read_line(&mut answer).await.map_err(|error| failed(error.to_string()))?;
        if read == 0 {
            let status =
                self.child.wait().await.map_or_else(|error| error.to_string(), |status| status.to_string());
            return Err(failed(format!("ended: {status}")));
        }
        let reply: Reply =
            serde_json::from_str(&answer).map_err(|error| failed(format!("bad answer: {error}")))?;
        if reply.id != request.id {
            return Err(failed("answered another question".to_owned()));
        }
        Ok(reply.outcome)
    }

    /// Returns when it is gone, so that two never write to one mirror.
    async fn kill(mut self) {
        if let Err(error) = self.child.kill().await {
            tracing::warn!(%error, "git worker could not be killed");
        }
    }
}

//! The worker process: does network Git for one mirror, one request after the other, until its parent goes away.
//!
//! Requests and replies are lines of JSON on standard input and output, so nothing else may be printed there. It can be
//! killed at any moment; the next one cleans up what was left behind.

mod classify;
mod push;
mod remote;
mod store;

pub(crate) use store::current;

use std::{
    io::{BufRead, Write as _},
    path::PathBuf,
    sync::mpsc,
};

use serde::{Deserialize, Serialize};

use crate::{
    access::WireAccess,
    error::RepoError,
    ids::CommitId,
    push::{Push, Pushed},
    reference::Reference,
};

/// What the worker is asked to do: bring the mirror up to date, or push from it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Request {
    pub(crate) id: u64,
    /// Folder of the mirror.
    pub(crate) mirror: PathBuf,
    /// Folder that stands in for the home folder; known hosts are read from there.
    pub(crate) home: PathBuf,
    pub(crate) url: String,
    /// The address as it may be shown.
    pub(crate) shown: String,
    pub(crate) reference: Reference,
    pub(crate) access: WireAccess,
    /// The commit that the asker has.
    pub(crate) previous: Option<CommitId>,
    /// Most bytes that one fetch may bring.
    pub(crate) limit: u64,
    /// Number of packs at which they are made into one.
    pub(crate) repack_at: usize,
    /// Throw the mirror away first.
    pub(crate) rebuild: bool,
    /// Do this instead, and leave the mirror as it is.
    pub(crate) write: Option<Write>,
}

/// What concerns writing to the server.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Write {
    /// Push this.
    Push(Push),
    /// Ask whether it would take a push from whoever asks.
    Probe,
}

/// The answer to one request.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Reply {
    pub(crate) id: u64,
    pub(crate) outcome: Result<Done, RepoError>,
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Done {
    /// The mirror is up to date.
    Synced(Synced),
    /// A push was tried.
    Pushed(Pushed),
    /// The server would take one.
    Probed,
}

/// A mirror that is up to date.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Synced {
    pub(crate) commit: CommitId,
    pub(crate) relation: Relation,
    /// Whether anything was fetched.
    pub(crate) fetched: bool,
}

/// How the commit found relates to the one that the asker has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Relation {
    /// There is none to compare with.
    First,
    /// It is the same.
    Same,
    /// It is built upon it.
    Descendant,
    /// History was rewritten.
    Rewritten,
}

/// Why the worker ended other than by its parent going away.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// A reply could not be handed over.
    #[error("cannot write a reply")]
    Reply(#[source] std::io::Error),
    /// A reply could not be put into words.
    #[error("cannot serialise a reply")]
    Serialise(#[source] serde_json::Error),
}

/// Most memory of a worker, in bytes.
const MEMORY: u64 = 2 << 30;

/// Serves requests until standard input ends. For the hidden subcommand; call [`crate::init`] before, and print nothing
/// to standard output.
///
/// It ends the process when standard input ends in the middle of a request: its parent is gone then.
pub fn run() -> Result<(), WorkerError> {
    crate::sys::init();
    // A host that never stops talking fills this process only. Packs are mapped files and do not count.
    if let Err(error) = rlimit::setrlimit(rlimit::Resource::DATA, MEMORY, MEMORY) {
        tracing::warn!(%error, "the memory of the Git worker is not limited");
    }
    let (sender, requests) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            let Ok(line) = line else { break };
            if sender.send(line).is_err() {
                break;
            }
        }
        std::process::exit(0);
    });
    let mut session = Session::default();
    for line in requests {
        let Ok(request) = serde_json::from_str::<Request>(&line) else {
            // The text is not repeated: it may hold credentials.
            break;
        };
        let id = request.id;
        let outcome = session.handle(request);
        let mut text = serde_json::to_vec(&Reply { id, outcome }).map_err(WorkerError::Serialise)?;
        text.push(b'\n');
        let mut out = std::io::stdout().lock();
        out.write_all(&text).and_then(|()| out.flush()).map_err(WorkerError::Reply)?;
    }
    drop(reader);
    Ok(())
}

/// What a worker remembers between requests.
#[derive(Debug, Default)]
pub(crate) struct Session {
    /// The mirror was cleaned and looked over by this process.
    checked: bool,
    /// The certificates that were added already.
    trusted: Option<String>,
}

impl Session {
    /// Does what is asked. A damaged mirror is made again, once.
    pub(crate) fn handle(&mut self, mut request: Request) -> Result<Done, RepoError> {
        let outcome = self.attempt(&request).or_else(|error| match error {
            RepoError::Corrupt { .. } if !request.rebuild => {
                request.rebuild = true;
                self.attempt(&request)
            }
            other => Err(other),
        });
        match outcome {
            Ok(Done::Pushed(pushed)) => Ok(Done::Pushed(classify::scrub_push(pushed, &request.access))),
            Ok(done) => Ok(done),
            Err(error) => Err(classify::scrub(error, &request.access)),
        }
    }

    fn attempt(&mut self, request: &Request) -> Result<Done, RepoError> {
        self.trust(request)?;
        if request.rebuild {
            store::remove(&request.mirror)?;
            self.checked = false;
        }
        let repository = store::open(&request.mirror, &request.shown, !self.checked)?;
        self.checked = true;
        match &request.write {
            Some(Write::Push(push)) => return push::push(&repository, request, push).map(Done::Pushed),
            Some(Write::Probe) => return push::probe(&repository, request).map(|()| Done::Probed),
            None => {}
        }
        let synced = remote::sync(repository, request)?;
        if synced.fetched {
            store::repack(&request.mirror, &request.shown, request.repack_at)?;
        }
        Ok(Done::Synced(synced))
    }

    /// Certificates can only be added to a process, so a change of them is a new process.
    fn trust(&mut self, request: &Request) -> Result<(), RepoError> {
        let Some(pem) = &request.access.certificates else { return Ok(()) };
        if self.trusted.as_ref() == Some(pem) {
            return Ok(());
        }
        let file = request.home.join("authorities.pem");
        let storage = |detail: String| RepoError::Storage { detail };
        std::fs::create_dir_all(&request.home).map_err(|error| storage(error.to_string()))?;
        std::fs::write(&file, pem).map_err(|error| storage(error.to_string()))?;
        crate::sys::trust(&file).map_err(|error| RepoError::Tls {
            url: request.shown.clone(),
            detail: format!("the certificate bundle cannot be used: {}", error.message()),
        })?;
        self.trusted = Some(pem.clone());
        Ok(())
    }
}

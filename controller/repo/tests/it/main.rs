//! Sources and readers against real repositories and servers.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, and its helpers too")]

mod bare;
mod http;
mod local;
mod push;
mod reading;
mod recovery;
mod restore;
mod ssh;

use std::{path::Path, time::Duration};

use sluice_repo::{Launch, Mirrors, Poll, RepoError, Source, SourceSettings};
use tempfile::TempDir;

/// Mirrors in a folder of their own, with real worker processes.
struct Rig {
    folder: TempDir,
    mirrors: Mirrors,
}

fn launch() -> Launch {
    Launch::Process { program: env!("CARGO_BIN_EXE_sluice-git-worker").into(), args: Vec::new() }
}

impl Rig {
    fn new() -> Self {
        Self::with(launch())
    }

    fn with(launch: Launch) -> Self {
        sluice_repo::init();
        let folder = tempfile::tempdir().unwrap();
        let mirrors = Mirrors::new(folder.path().join("mirrors"), launch);
        Self { folder, mirrors }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn source(&self, settings: SourceSettings) -> Source {
        self.mirrors.source(SourceSettings { deadline: Duration::from_mins(1), ..settings }).unwrap()
    }
}

/// The packs of a mirror.
fn packs(source: &Source) -> usize {
    let Ok(entries) = std::fs::read_dir(source.path().join("objects/pack")) else { return 0 };
    entries.filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|e| e == "pack")).count()
}

async fn moved(source: &Source) -> sluice_repo::CommitId {
    match source.poll().await {
        Ok(Poll::Moved { to, .. }) => to,
        other => panic!("{other:?}"),
    }
}

async fn error(source: &Source) -> RepoError {
    match source.poll().await {
        Err(error) => error,
        Ok(found) => panic!("{found:?}"),
    }
}

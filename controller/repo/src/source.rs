//! Following references: one mirror per repository and reference, shared by all who follow it.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use sha2::{Digest as _, Sha256};

use crate::{
    access::Access,
    error::{RepoError, SettingsError},
    ids::CommitId,
    mirror::{Cache, Mirror},
    process::{Launch, Slot},
    push::{Push, Pushed},
    reference::Reference,
    url::RepositoryUrl,
    worker::{Done, Relation, Request, Synced, Write},
};

/// Most bytes that one fetch may bring, unless told otherwise.
pub const FETCH_LIMIT: u64 = 8 << 30;
/// Total time of one look, a fetch included, unless told otherwise.
pub const DEADLINE: Duration = Duration::from_mins(5);
/// Number of packs at which they are made into one.
const REPACK_AT: usize = 100;

/// The mirrors below one folder. One process may use that folder at a time.
#[derive(Debug, Clone)]
pub struct Mirrors {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    root: PathBuf,
    launch: Launch,
    repack_at: usize,
    shared: Mutex<HashMap<String, Weak<Shared>>>,
}

/// What all followers of one reference share.
#[derive(Debug)]
struct Shared {
    path: PathBuf,
    home: PathBuf,
    slot: Slot,
    cache: Arc<Cache>,
}

/// What to follow, and how.
#[derive(Debug, Clone)]
pub struct SourceSettings {
    /// Where the repository is.
    pub url: RepositoryUrl,
    /// What of it is followed.
    pub reference: Reference,
    /// How it is reached.
    pub access: Access,
    /// Total time of one look, a fetch included.
    pub deadline: Duration,
    /// Most bytes that one fetch may bring.
    pub limit: u64,
    /// The commit that was worked with last, from before a restart.
    pub known: Option<CommitId>,
}

impl SourceSettings {
    /// Follows `reference` of `url` without credentials.
    pub fn new(url: RepositoryUrl, reference: Reference) -> Self {
        Self {
            url,
            reference,
            access: Access::default(),
            deadline: DEADLINE,
            limit: FETCH_LIMIT,
            known: None,
        }
    }
}

/// What one look found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Poll {
    /// The commit is the one found last.
    Unchanged,
    /// There are commits on top of the last one, or it is the first.
    Moved {
        /// The commit found last.
        from: Option<CommitId>,
        /// The commit now.
        to: CommitId,
    },
    /// The last commit is no ancestor of this one: somebody rewrote history.
    Rewritten {
        /// The commit found last.
        from: CommitId,
        /// The commit now.
        to: CommitId,
    },
}

/// One follower of one reference.
#[derive(Debug)]
pub struct Source {
    settings: SourceSettings,
    access: Mutex<Access>,
    shared: Arc<Shared>,
    repack_at: usize,
    last: Mutex<Option<CommitId>>,
}

impl Mirrors {
    /// Mirrors below `root`, which is made when it is not there.
    pub fn new(root: impl Into<PathBuf>, launch: Launch) -> Self {
        Self::with_repack_at(root, launch, REPACK_AT)
    }

    /// The same with another number of packs at which they are made into one.
    pub fn with_repack_at(root: impl Into<PathBuf>, launch: Launch, repack_at: usize) -> Self {
        let root = root.into();
        Self { inner: Arc::new(Inner { root, launch, repack_at, shared: Mutex::default() }) }
    }

    /// A follower. Nothing is touched before its first [`Source::poll`].
    pub fn source(&self, mut settings: SourceSettings) -> Result<Source, SettingsError> {
        if let Some(path) = settings.url.local_path() {
            let path = std::path::absolute(path).map_err(|_| SettingsError::Url("it is not a path"))?;
            let text = path.to_str().ok_or(SettingsError::Url("it is not UTF-8"))?;
            settings.url = text.parse()?;
        } else if matches!(self.inner.launch, Launch::InProcess) {
            return Err(SettingsError::Url("only local repositories are read without a worker process"));
        }
        settings.access.check(&settings.url)?;
        let shared = self.shared(&name(&settings));
        let last = Mutex::new(settings.known);
        let access = Mutex::new(std::mem::take(&mut settings.access));
        Ok(Source { settings, access, shared, repack_at: self.inner.repack_at, last })
    }

    fn shared(&self, name: &str) -> Arc<Shared> {
        let mut all = lock(&self.inner.shared);
        if let Some(present) = all.get(name).and_then(Weak::upgrade) {
            return present;
        }
        let path = self.inner.root.join(format!("{name}.git"));
        let home = self.inner.root.join(format!("{name}.home"));
        let slot = Slot::new(self.inner.launch.clone(), home.clone());
        let made = Arc::new(Shared { path, home, slot, cache: Arc::default() });
        all.retain(|_, shared| shared.strong_count() > 0);
        all.insert(name.to_owned(), Arc::downgrade(&made));
        made
    }

    /// Deletes the mirrors that nobody follows any more and returns how many there were. Call it only when every
    /// follower of this process exists already.
    pub fn remove_unused(&self) -> std::io::Result<usize> {
        let all = lock(&self.inner.shared);
        let mut removed = 0;
        let entries = match std::fs::read_dir(&self.inner.root) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(0),
            other => other?,
        };
        for entry in entries {
            let path = entry?.path();
            let used = path.file_stem().and_then(|stem| stem.to_str()).is_none_or(|stem| {
                !is_name(stem) || all.get(stem).is_some_and(|shared| shared.strong_count() > 0)
            });
            if !used {
                std::fs::remove_dir_all(&path)?;
                removed += usize::from(path.extension().is_some_and(|extension| extension == "git"));
            }
        }
        Ok(removed)
    }
}

impl Source {
    /// Looks at the server once and fetches when the tip has moved. An error says nothing about the contents: what was
    /// known before stays true.
    pub async fn poll(&self) -> Result<Poll, RepoError> {
        self.look(false).await
    }

    /// The same with a new mirror, for when reading the present one failed.
    pub async fn rebuild(&self) -> Result<Poll, RepoError> {
        self.look(true).await
    }

    /// Pushes one commit to one branch of the server, never by force. The mirror learns of it at the next
    /// [`Source::poll`].
    pub async fn push(&self, push: Push) -> Pushed {
        let request = Request { write: Some(Write::Push(push)), ..self.request(None, false) };
        match self.shared.slot.ask(request, self.settings.deadline).await {
            Ok(Done::Pushed(pushed)) => pushed,
            Ok(_) => Pushed::Unknown("the Git worker answered another question".to_owned()),
            // Killed in the middle, or dead: the server may have it.
            Err(error @ (RepoError::Timeout { .. } | RepoError::Worker { .. })) => {
                Pushed::Unknown(error.to_string())
            }
            Err(error) => Pushed::NotSent(error),
        }
    }

    /// Asks the server whether these credentials may push, and sends nothing. What hooks and the protection of a branch say
    /// is not known before a push.
    pub async fn probe_push(&self) -> Result<(), RepoError> {
        let request = Request { write: Some(Write::Probe), ..self.request(None, false) };
        self.shared.slot.ask(request, self.settings.deadline).await.map(|_| ())
    }

    fn request(&self, previous: Option<CommitId>, rebuild: bool) -> Request {
        let settings = &self.settings;
        Request {
            id: 0,
            mirror: self.shared.path.clone(),
            home: self.shared.home.clone(),
            url: settings.url.as_str().to_owned(),
            shown: settings.url.to_string(),
            reference: settings.reference.clone(),
            access: lock(&self.access).wire(&settings.url),
            previous,
            limit: settings.limit,
            repack_at: self.repack_at,
            rebuild,
            write: None,
        }
    }

    async fn look(&self, rebuild: bool) -> Result<Poll, RepoError> {
        let settings = &self.settings;
        let previous = *lock(&self.last);
        let found = self.shared.slot.ask(self.request(previous, rebuild), settings.deadline).await;
        let Synced { commit, relation, fetched } = match found {
            Ok(Done::Synced(synced)) => synced,
            Ok(_) => {
                return Err(RepoError::Worker { detail: "answered another question".to_owned() });
            }
            Err(error) => {
                tracing::debug!(repository = %settings.url, reason = error.reason(), %error, "poll failed");
                return Err(error);
            }
        };
        *lock(&self.last) = Some(commit);
        let poll = match (relation, previous) {
            (Relation::Same, _) => Poll::Unchanged,
            (Relation::Rewritten, Some(from)) => {
                tracing::warn!(repository = %settings.url, %from, to = %commit, "history was rewritten");
                Poll::Rewritten { from, to: commit }
            }
            (Relation::First | Relation::Descendant | Relation::Rewritten, from) => {
                tracing::info!(repository = %settings.url, to = %commit, fetched, "new commit");
                Poll::Moved { from, to: commit }
            }
        };
        Ok(poll)
    }

    /// The commit found last by this follower, or the one it was told of.
    pub fn commit(&self) -> Option<CommitId> {
        *lock(&self.last)
    }

    /// Reaches the repository in another way from the next look on: credentials are rotated.
    pub fn set_access(&self, access: Access) -> Result<(), SettingsError> {
        access.check(&self.settings.url)?;
        *lock(&self.access) = access;
        Ok(())
    }

    /// What is followed. Its `access` is empty: that may change, and is nobody else's concern.
    pub fn settings(&self) -> &SourceSettings {
        &self.settings
    }

    /// The mirror, to read from. It is shared by everyone who follows the same reference, whatever their credentials:
    /// read only commits that this follower's own [`Source::poll`] returned.
    pub fn mirror(&self) -> Mirror {
        Mirror::new(self.shared.path.clone(), Arc::clone(&self.shared.cache))
    }

    /// Folder of the mirror.
    pub fn path(&self) -> &Path {
        &self.shared.path
    }
}

/// The folder name of a mirror: the address itself may be long, or not for everyone's eyes.
fn name(settings: &SourceSettings) -> String {
    let mut hash = Sha256::new();
    hash.update(settings.url.as_str().as_bytes());
    hash.update([0]);
    hash.update(settings.reference.to_string().as_bytes());
    hex::encode(&hash.finalize()[..16])
}

fn is_name(stem: &str) -> bool {
    stem.len() == 32 && stem.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing is left half-changed under these locks.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

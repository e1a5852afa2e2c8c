//! What can go wrong with a repository, in words that say what to do. No variant ever holds a secret.

use serde::{Deserialize, Serialize};

/// Settings that cannot work, found before anything is tried.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// The address holds a user name or password.
    #[error("the repository URL must not contain credentials; put them into the secret")]
    CredentialsInUrl,
    /// The address cannot be used.
    #[error(
        "the repository URL cannot be used: {0}; give an https or ssh URL, the form user@host:path, or a local path"
    )]
    Url(&'static str),
    /// The reference is not one.
    #[error("the reference cannot be used: {0}")]
    Reference(String),
    /// SSH without known hosts.
    #[error("ssh needs known_hosts; add the line that `ssh-keyscan` prints for the host, after checking it")]
    KnownHostsMissing,
    /// Unreadable known hosts.
    #[error("known_hosts cannot be used: {0}")]
    KnownHosts(String),
    /// Credentials of another kind than the transport takes.
    #[error("{0}")]
    Credentials(&'static str),
    /// The certificate bundle is not one.
    #[error("the certificate bundle holds no PEM certificate")]
    CertificateBundle,
    /// A glob pattern is not one.
    #[error("`{pattern}` is not a glob pattern: {reason}")]
    Glob {
        /// The pattern.
        pattern: String,
        /// Why.
        reason: String,
    },
    /// A proxy address that is not one.
    #[error("the proxy address cannot be used; give http://host:port")]
    Proxy,
}

/// Why a repository could not be looked at. None of these says anything about what the repository contains.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum RepoError {
    /// The server wants (other) credentials.
    #[error(
        "{url} refused the credentials ({detail}); check that they are current and may read this repository"
    )]
    Auth {
        /// The repository.
        url: String,
        /// What the server said.
        detail: String,
    },
    /// The SSH host key is not a known one.
    #[error(
        "the host key of {host} is not in known_hosts; it offered {key_type} {fingerprint}: if that is the right key, add it to known_hosts, else somebody stands in between"
    )]
    HostKey {
        /// The host.
        host: String,
        /// Kind of key that was offered.
        key_type: String,
        /// Its fingerprint, as `ssh-keygen -l` prints it.
        fingerprint: String,
    },
    /// There is no such repository, or these credentials may not know of it.
    #[error("{url} was not found; check the address, and that the credentials may read it ({detail})")]
    NotFound {
        /// The repository.
        url: String,
        /// What was said.
        detail: String,
    },
    /// No answer in time.
    #[error("{url} did not finish within {seconds} s; it is tried again")]
    Timeout {
        /// The repository.
        url: String,
        /// The deadline.
        seconds: u64,
    },
    /// The host cannot be reached.
    #[error("{url} cannot be reached ({detail}); check its name, the network and the proxy")]
    Network {
        /// The repository.
        url: String,
        /// What failed.
        detail: String,
    },
    /// The certificate is not trusted.
    #[error(
        "the TLS certificate of {url} is not trusted ({detail}); add its authority to the certificate bundle"
    )]
    Tls {
        /// The repository.
        url: String,
        /// What failed.
        detail: String,
    },
    /// The server points somewhere else.
    #[error("{url} redirects ({detail}); use the address that it redirects to, if you trust it")]
    Redirect {
        /// The repository.
        url: String,
        /// Where.
        detail: String,
    },
    /// The server answered, but not as a Git server in good order does.
    #[error(
        "{url} did not answer as a Git server ({detail}); check the address, or wait until the server is well"
    )]
    Server {
        /// The repository.
        url: String,
        /// What came.
        detail: String,
    },
    /// The reference does not exist there.
    #[error("{url} has no {reference}{}", instead(.empty, .others, .head.as_deref()))]
    ReferenceMissing {
        /// The repository.
        url: String,
        /// What was looked for.
        reference: String,
        /// Whether the repository has no references at all.
        empty: bool,
        /// Names of what there is of the kind.
        others: Vec<String>,
        /// The commit that its HEAD names, if it does.
        head: Option<String>,
    },
    /// The reference names something else than a commit.
    #[error("{reference} of {url} does not name a commit; point it at one")]
    NotACommit {
        /// The repository.
        url: String,
        /// The reference.
        reference: String,
    },
    /// More data than allowed.
    #[error("{url} sends more than {limit} bytes; raise the limit, or publish from a smaller repository")]
    TooLarge {
        /// The repository.
        url: String,
        /// The limit.
        limit: u64,
    },
    /// The mirror on disk is damaged and making it again did not help.
    #[error("the mirror of {url} cannot be read ({detail}); it is made again at the next try")]
    Corrupt {
        /// The repository.
        url: String,
        /// What failed.
        detail: String,
    },
    /// The data directory cannot be written.
    #[error(
        "the mirror cannot be written ({detail}); check free space and permissions of the data directory"
    )]
    Storage {
        /// What failed.
        detail: String,
    },
    /// The worker process failed.
    #[error("the Git worker failed ({detail}); it is started again at the next try")]
    Worker {
        /// What failed.
        detail: String,
    },
}

/// So many names are listed.
const LISTED: usize = 10;

/// What there is instead of a reference that is missing, and what to do.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "the error macro hands out references")]
fn instead(empty: &bool, others: &[String], head: Option<&str>) -> String {
    if *empty {
        return ": the repository is empty; push it, or correct the reference".to_owned();
    }
    let more = others.len().saturating_sub(LISTED);
    let listed: Vec<String> = others.iter().take(LISTED).map(|name| format!("`{name}`")).collect();
    match (listed.as_slice(), head) {
        // A checkout of CI is at a commit, and has no branch.
        ([], Some(head)) => format!(
            ", nor any other of the kind; its HEAD is commit {head}: follow that by `--commit {head}`, or a branch by \
             `--branch NAME` (in a cluster `spec.ref`)"
        ),
        ([], None) => "; push it, or correct the reference".to_owned(),
        (listed, _) => format!(
            "; it has {}{}: push it, or name one of them, by `--branch NAME`, `--tag NAME` or `--semver RANGE` (in a \
             cluster `spec.ref`)",
            listed.join(", "),
            if more > 0 { format!(" and {more} more") } else { String::new() }
        ),
    }
}

impl RepoError {
    /// Machine-readable reason of a condition.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Auth { .. } => "AuthenticationFailed",
            Self::HostKey { .. } => "HostKeyMismatch",
            Self::NotFound { .. } => "RepositoryNotFound",
            Self::Timeout { .. } => "Timeout",
            Self::Network { .. } => "Unreachable",
            Self::Tls { .. } => "CertificateNotTrusted",
            Self::Redirect { .. } => "Redirected",
            Self::Server { .. } => "ServerError",
            Self::ReferenceMissing { .. } => "ReferenceMissing",
            Self::NotACommit { .. } => "NotACommit",
            Self::TooLarge { .. } => "RepositoryTooLarge",
            Self::Corrupt { .. } => "MirrorCorrupt",
            Self::Storage { .. } => "StorageFailed",
            Self::Worker { .. } => "WorkerFailed",
        }
    }

    /// Whether trying again can help without anybody changing anything.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Timeout { .. }
            | Self::Network { .. }
            | Self::Server { .. }
            | Self::Corrupt { .. }
            | Self::Storage { .. }
            | Self::Worker { .. } => true,
            Self::Auth { .. }
            | Self::HostKey { .. }
            | Self::NotFound { .. }
            | Self::Tls { .. }
            | Self::Redirect { .. }
            | Self::ReferenceMissing { .. }
            | Self::NotACommit { .. }
            | Self::TooLarge { .. } => false,
        }
    }
}

/// Why something could not be read from a mirror. None of these means that it is not in the commit, except
/// [`ReadError::NoSuchPath`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The mirror does not open.
    #[error("the mirror does not open: {0}")]
    Open(String),
    /// An object is missing or damaged, also on a second look.
    #[error("object {id} cannot be read from the mirror: {detail}")]
    Object {
        /// The object.
        id: String,
        /// What failed.
        detail: String,
    },
    /// The commit was read, and this path is not in it.
    #[error("there is no `{path}` in commit {commit}")]
    NoSuchPath {
        /// The path.
        path: String,
        /// The commit.
        commit: String,
    },
    /// The path is there and is not a folder.
    #[error("`{path}` is not a folder in commit {commit}")]
    NotAFolder {
        /// The path.
        path: String,
        /// The commit.
        commit: String,
    },
    /// The path leaves the repository or is not one.
    #[error("`{0}` is not a path inside a repository")]
    BadPath(String),
    /// The file is larger than allowed.
    #[error("the file has {size} bytes, more than the {limit} allowed")]
    TooLarge {
        /// Its size.
        size: u64,
        /// The limit.
        limit: u64,
    },
    /// More entries than any honest repository has.
    #[error("there are more than {limit} entries below `{path}`")]
    TooMany {
        /// Where.
        path: String,
        /// The limit.
        limit: usize,
    },
    /// A revision that nothing answers to.
    #[error("`{0}` is not a commit of this repository")]
    NoSuchRevision(String),
}

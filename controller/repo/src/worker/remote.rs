//! One look at a server, and a fetch on the same connection when the tip has moved.

use std::{cell::RefCell, collections::BTreeSet, fs, io, path::Path, rc::Rc};

use base64::Engine as _;
use git2::{
    AutotagOption, CertificateCheckStatus, Cred, CredentialType, Direction, ErrorClass, ErrorCode,
    FetchOptions, Oid, ProxyOptions, RemoteCallbacks, RemoteRedirect, Repository,
};

use super::{
    Relation, Request, Synced,
    classify::{self, Seen},
    store,
};
use crate::{
    access::{WireCredentials, WireProxy},
    error::RepoError,
    ids::CommitId,
    reference::{Advertised, HEAD, Reference},
    url::{RepositoryUrl, endpoint},
};

/// Brings the mirror up to date with what the server has.
pub(super) fn sync(repository: Repository, request: &Request) -> Result<Synced, RepoError> {
    if let Reference::Commit(id) = &request.reference
        && repository.find_commit(id.git()).is_ok()
    {
        return settle(&repository, request, id.git(), false);
    }
    write_known_hosts(request).map_err(|error| RepoError::Storage { detail: error.to_string() })?;
    let seen = Rc::new(RefCell::new(Seen::default()));
    let fetched = look(&repository, request, &seen)?;
    let (name, fetched) = match fetched {
        Found::AsBefore(name) => (name, false),
        Found::Fetched(name) => (name, true),
    };
    // Another handle: the packs that the fetch brought are certainly seen by it.
    drop(repository);
    let repository = store::open(&request.mirror, &request.shown, false)?;
    let missing = || RepoError::ReferenceMissing {
        url: request.shown.clone(),
        reference: request.reference.to_string(),
        empty: false,
        others: Vec::new(),
        head: None,
    };
    let commit = match (&request.reference, name) {
        (Reference::Commit(id), _) => repository.find_commit(id.git()).map_err(|_| missing())?.id(),
        (_, None) => return Err(missing()),
        (_, Some(name)) => {
            let reference =
                repository.find_reference(&name).map_err(|error| classify::local(&error, &request.shown))?;
            let object = reference
                .peel(git2::ObjectType::Any)
                .map_err(|error| classify::local(&error, &request.shown))?;
            match object.peel_to_commit() {
                Ok(commit) => commit.id(),
                Err(error) if error.code() == ErrorCode::NotFound => {
                    return Err(classify::local(&error, &request.shown));
                }
                Err(_) => {
                    return Err(RepoError::NotACommit {
                        url: request.shown.clone(),
                        reference: request.reference.to_string(),
                    });
                }
            }
        }
    };
    settle(&repository, request, commit, fetched)
}

enum Found {
    AsBefore(Option<String>),
    Fetched(Option<String>),
}

fn look(repository: &Repository, request: &Request, seen: &Rc<RefCell<Seen>>) -> Result<Found, RepoError> {
    let fail = |error: git2::Error| classify::network(&error, request, &seen.borrow());
    let mut remote = repository.remote_anonymous(&request.url).map_err(fail)?;
    let mut connection = remote
        .connect_auth(Direction::Fetch, Some(callbacks(request, seen)), Some(proxy(request)))
        .map_err(fail)?;
    let heads: Vec<Advertised> = connection
        .list()
        .map_err(fail)?
        .iter()
        .map(|head| Advertised { name: head.name().to_owned(), oid: head.oid() })
        .collect();
    let chosen = request.reference.choose(&heads).cloned();
    let missing = chosen.is_none() && !matches!(request.reference, Reference::Commit(_));
    if heads.is_empty() || missing {
        return Err(RepoError::ReferenceMissing {
            url: request.shown.clone(),
            reference: request.reference.to_string(),
            empty: heads.is_empty(),
            others: request.reference.others(&heads),
            head: heads.iter().find(|head| head.name == HEAD).map(|head| head.oid.to_string()),
        });
    }
    if let Some(head) = &chosen
        && repository.refname_to_id(&head.name).ok() == Some(head.oid)
    {
        return Ok(Found::AsBefore(Some(head.name.clone())));
    }
    let mut options = FetchOptions::new();
    options
        .remote_callbacks(callbacks(request, seen))
        .proxy_options(proxy(request))
        .follow_redirects(RemoteRedirect::None)
        .download_tags(AutotagOption::None)
        .update_fetchhead(false);
    let name = chosen.map(|head| head.name);
    let head = heads.iter().any(|head| head.name == HEAD);
    let refspecs = request.reference.refspecs(name.as_deref(), head);
    connection.remote().fetch(&refspecs, Some(&mut options), None).map_err(fail)?;
    Ok(Found::Fetched(name))
}

/// Compares with what the asker has and writes the result down.
fn settle(
    repository: &Repository,
    request: &Request,
    commit: Oid,
    fetched: bool,
) -> Result<Synced, RepoError> {
    let corrupt = |error: git2::Error| classify::local(&error, &request.shown);
    repository.find_commit(commit).and_then(|commit| commit.tree().map(|_| ())).map_err(corrupt)?;
    let kept = store::current(repository);
    let rewritten = match kept {
        Some(old) if old != commit && !descends(repository, commit, old).map_err(corrupt)? => Some(old),
        _ => None,
    };
    let relation = match request.previous.map(CommitId::git) {
        None => Relation::First,
        Some(old) if old == commit => Relation::Same,
        Some(old) if descends(repository, commit, old).map_err(corrupt)? => Relation::Descendant,
        Some(_) => Relation::Rewritten,
    };
    store::remember(repository, commit, rewritten).map_err(corrupt)?;
    Ok(Synced { commit: CommitId::from_git(commit), relation, fetched })
}

/// Whether `old` is among the ancestors of `new`.
///
/// "Not found" does not prove that it is not, because libgit2 also says so when it is out of descriptors: then the whole
/// history is read, and only a walk that got to its end counts.
fn descends(repository: &Repository, new: Oid, old: Oid) -> Result<bool, git2::Error> {
    match repository.graph_descendant_of(new, old) {
        Ok(answer) => Ok(answer),
        Err(error) if error.code() == ErrorCode::NotFound || !repository.odb()?.exists(old) => {
            let mut walk = repository.revwalk()?;
            walk.push(new)?;
            for id in walk {
                if id? == old {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

pub(super) fn proxy(request: &Request) -> ProxyOptions<'_> {
    let mut options = ProxyOptions::new();
    match &request.access.proxy {
        WireProxy::None => {}
        WireProxy::Auto => {
            options.auto();
        }
        WireProxy::Explicit(address) => {
            options.url(address);
        }
    }
    options
}

pub(super) fn callbacks<'a>(request: &'a Request, seen: &Rc<RefCell<Seen>>) -> RemoteCallbacks<'a> {
    let mut callbacks = RemoteCallbacks::new();
    let mut given: BTreeSet<u32> = BTreeSet::new();
    callbacks.credentials(move |url, user, allowed| {
        // A refusal is followed by the same question, without end.
        if !given.insert(allowed.bits()) {
            return Err(refuse("the credentials were refused"));
        }
        credentials(request, url, user, allowed)
    });
    let host_key = Rc::clone(seen);
    callbacks.certificate_check(move |certificate, host| {
        if let Some(key) = certificate.as_hostkey() {
            let fingerprint = key.hash_sha256().map_or_else(String::new, |hash| {
                format!("SHA256:{}", base64::engine::general_purpose::STANDARD_NO_PAD.encode(hash))
            });
            let kind = key.hostkey_type().map_or("unknown", |kind| kind.name());
            host_key.borrow_mut().host_key = Some((host.to_owned(), kind.to_owned(), fingerprint));
        }
        // The library's own verdict stands: known hosts for SSH, the certificate store for TLS.
        Ok(CertificateCheckStatus::CertificatePassthrough)
    });
    let size = Rc::clone(seen);
    let limit = request.limit;
    callbacks.transfer_progress(move |progress| {
        let within = u64::try_from(progress.received_bytes()).is_ok_and(|bytes| bytes <= limit);
        if !within {
            size.borrow_mut().too_large = true;
        }
        within
    });
    callbacks
}

/// Credentials, for the configured server only: a redirect asks for another one.
fn credentials(
    request: &Request,
    url: &str,
    user: Option<&str>,
    allowed: CredentialType,
) -> Result<Cred, git2::Error> {
    let configured = endpoint(&request.url);
    if configured.is_none() || endpoint(url) != configured {
        return Err(refuse("another server asked for the credentials"));
    }
    let ssh_user = || {
        user.map(str::to_owned)
            .or_else(|| request.url.parse::<RepositoryUrl>().ok().and_then(|url| url.ssh_user()))
            .unwrap_or_else(|| "git".to_owned())
    };
    match &request.access.credentials {
        WireCredentials::UserPass { username, password }
            if allowed.contains(CredentialType::USER_PASS_PLAINTEXT) =>
        {
            Cred::userpass_plaintext(username, password)
        }
        WireCredentials::SshKey { .. } if allowed.contains(CredentialType::USERNAME) => {
            Cred::username(&ssh_user())
        }
        WireCredentials::SshKey { private, passphrase }
            if allowed.intersects(CredentialType::SSH_KEY | CredentialType::SSH_MEMORY) =>
        {
            Cred::ssh_key_from_memory(&ssh_user(), None, private, passphrase.as_deref())
        }
        WireCredentials::None => Err(refuse("the server asks for credentials and none are configured")),
        _ => Err(refuse("the server takes another kind of credentials")),
    }
}

fn refuse(text: &str) -> git2::Error {
    git2::Error::new(ErrorCode::Auth, ErrorClass::Callback, text)
}

/// Puts the known hosts where the SSH library looks for them: from there it also learns which kind of key to ask for.
pub(super) fn write_known_hosts(request: &Request) -> io::Result<()> {
    let Some(text) = &request.access.known_hosts else { return Ok(()) };
    let folder = request.home.join(".ssh");
    let file = folder.join("known_hosts");
    if fs::read_to_string(&file).is_ok_and(|present| &present == text) {
        return Ok(());
    }
    fs::create_dir_all(&folder)?;
    replace(&file, text.as_bytes())
}

fn replace(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = file.with_extension("new");
    fs::write(&temporary, bytes)?;
    fs::rename(temporary, file)
}

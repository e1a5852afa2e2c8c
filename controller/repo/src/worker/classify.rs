//! What an error of libgit2 means for the people who run a repository.

use git2::{Error, ErrorClass, ErrorCode};

use super::Request;
use crate::{access::WireAccess, error::RepoError, push::Pushed};

/// Longest piece of a server's text that is repeated.
const MAX_DETAIL: usize = 300;

/// What was seen on the way, beside the error itself.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Host, kind and fingerprint of the SSH key that was offered.
    pub(super) host_key: Option<(String, String, String)>,
    /// The limit was passed.
    pub(super) too_large: bool,
}

/// Maps an error of a connection or transfer.
pub(super) fn network(error: &Error, request: &Request, seen: &Seen) -> RepoError {
    let url = request.shown.clone();
    let detail = clean(error.message());
    if seen.too_large {
        return RepoError::TooLarge { url, limit: request.limit };
    }
    if let Some(status) = http_status(&detail) {
        return match status {
            401 | 403 => RepoError::Auth { url, detail },
            404 | 410 => RepoError::NotFound { url, detail },
            _ => RepoError::Server { url, detail },
        };
    }
    match (error.code(), error.class()) {
        (ErrorCode::Auth, _) => return RepoError::Auth { url, detail },
        (ErrorCode::Certificate, ErrorClass::Ssh) => {
            let (host, key_type, fingerprint) = seen.host_key.clone().unwrap_or_default();
            return RepoError::HostKey { host, key_type, fingerprint };
        }
        (ErrorCode::Certificate, _) | (_, ErrorClass::Ssl) => return RepoError::Tls { url, detail },
        (ErrorCode::Timeout, _) => return RepoError::Network { url, detail },
        // An SSH server that knows no such repository just hangs up.
        (ErrorCode::Eof, _) if error.class() == ErrorClass::Ssh || seen.host_key.is_some() => {
            return RepoError::NotFound { url, detail: "the server closed the connection".to_owned() };
        }
        (ErrorCode::NotFound, ErrorClass::Os | ErrorClass::Repository) => {
            return RepoError::NotFound { url, detail };
        }
        _ => {}
    }
    // What libgit2 says of a local path where there is nothing.
    if detail.contains("unsupported URL protocol") {
        return RepoError::NotFound { url, detail: "there is nothing at this path".to_owned() };
    }
    if detail.contains("cannot redirect") || detail.contains("unexpected redirect") {
        return RepoError::Redirect { url, detail };
    }
    if detail.contains("No space left")
        || detail.contains("Read-only file system")
        || detail.contains("Permission denied")
    {
        return RepoError::Storage { detail };
    }
    if detail.contains("uthenticat") {
        return RepoError::Auth { url, detail };
    }
    match error.class() {
        ErrorClass::Http => RepoError::Server { url, detail },
        ErrorClass::Odb | ErrorClass::Object | ErrorClass::Tree | ErrorClass::Reference => {
            RepoError::Corrupt { url, detail }
        }
        _ => RepoError::Network { url, detail },
    }
}

/// Maps an error of reading the mirror.
pub(super) fn local(error: &Error, shown: &str) -> RepoError {
    let detail = clean(error.message());
    if detail.contains("No space left")
        || detail.contains("Read-only file system")
        || detail.contains("Permission denied")
    {
        return RepoError::Storage { detail };
    }
    RepoError::Corrupt { url: shown.to_owned(), detail }
}

/// Cuts secrets out of the one free text that an error carries, whoever put them there.
pub(super) fn scrub(mut error: RepoError, access: &WireAccess) -> RepoError {
    let detail = match &mut error {
        RepoError::Auth { detail, .. }
        | RepoError::NotFound { detail, .. }
        | RepoError::Network { detail, .. }
        | RepoError::Tls { detail, .. }
        | RepoError::Redirect { detail, .. }
        | RepoError::Server { detail, .. }
        | RepoError::Corrupt { detail, .. }
        | RepoError::Storage { detail }
        | RepoError::Worker { detail } => detail,
        RepoError::HostKey { .. }
        | RepoError::Timeout { .. }
        | RepoError::ReferenceMissing { .. }
        | RepoError::NotACommit { .. }
        | RepoError::TooLarge { .. } => return error,
    };
    for secret in access.secrets() {
        *detail = detail.replace(secret, "…");
    }
    error
}

/// The same of what came of a push: a server may repeat what it was given.
pub(super) fn scrub_push(pushed: Pushed, access: &WireAccess) -> Pushed {
    let cut = |mut detail: String| {
        for secret in access.secrets() {
            detail = detail.replace(secret, "…");
        }
        detail
    };
    match pushed {
        Pushed::Landed => Pushed::Landed,
        Pushed::Refused(refusal, detail) => Pushed::Refused(refusal, cut(detail)),
        Pushed::NotSent(error) => Pushed::NotSent(scrub(error, access)),
        Pushed::Unknown(detail) => Pushed::Unknown(cut(detail)),
    }
}

/// A server's text on one line, without control characters and of bounded length.
pub(super) fn clean(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(MAX_DETAIL)
        .collect::<String>()
        .trim()
        .to_owned()
}

fn http_status(detail: &str) -> Option<u16> {
    let (_, rest) = detail.split_once("http status code: ")?;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::{WireCredentials, WireProxy};

    #[test]
    fn secrets_are_cut_out_of_every_text() {
        let access = WireAccess {
            credentials: WireCredentials::UserPass {
                username: "u".into(),
                password: "canary-password".into(),
            },
            known_hosts: None,
            certificates: None,
            proxy: WireProxy::Explicit("http://user:canary-proxy@proxy:3128".into()),
        };
        let error = RepoError::Network {
            url: "https://h/a".into(),
            detail: "proxy http://user:canary-proxy@proxy:3128 said canary-password or canary-proxy".into(),
        };
        let text = scrub(error, &access).to_string();
        assert!(!text.contains("canary"), "{text}");
        let told = "remote: canary-password is wrong".to_owned();
        for pushed in [
            Pushed::Refused(crate::push::Refusal::Other, told.clone()),
            Pushed::Unknown(told.clone()),
            Pushed::NotSent(RepoError::Auth { url: "https://h/a".into(), detail: told }),
        ] {
            let text = format!("{:?}", scrub_push(pushed, &access));
            assert!(!text.contains("canary"), "{text}");
        }
    }
}

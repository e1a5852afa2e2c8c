//! Addresses of repositories.

use std::{fmt, path::PathBuf, str::FromStr};

use url::Url;

use crate::error::SettingsError;

/// Where a repository is. It never holds a password, and `Display` shows no more than needed to recognise it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct RepositoryUrl {
    /// As libgit2 takes it.
    text: String,
    kind: Transport,
}

/// How a repository is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transport {
    /// `https`.
    Https,
    /// `http`, unencrypted.
    Http,
    /// `ssh` or the form `user@host:path`.
    Ssh,
    /// A folder of this machine.
    Local,
}

impl RepositoryUrl {
    /// How it is reached.
    pub fn transport(&self) -> Transport {
        self.kind
    }

    /// Whether it is a folder of this machine.
    pub fn is_local(&self) -> bool {
        self.kind == Transport::Local
    }

    /// The folder, when it is local.
    pub fn local_path(&self) -> Option<PathBuf> {
        if !self.is_local() {
            return None;
        }
        match self.text.strip_prefix("file://") {
            Some(_) => Url::parse(&self.text).ok()?.to_file_path().ok(),
            None => Some(PathBuf::from(&self.text)),
        }
    }

    /// Host name, for messages and rules.
    pub fn host(&self) -> Option<String> {
        match self.kind {
            Transport::Local => None,
            _ => Some(self.endpoint()?.1),
        }
    }

    /// The user of an SSH address.
    pub(crate) fn ssh_user(&self) -> Option<String> {
        if self.kind != Transport::Ssh {
            return None;
        }
        if self.text.contains("://") {
            let url = Url::parse(&self.text).ok()?;
            return (!url.username().is_empty()).then(|| url.username().to_owned());
        }
        self.text.split_once('@').map(|(user, _)| user.to_owned())
    }

    /// Scheme, host and port: what credentials are bound to.
    pub(crate) fn endpoint(&self) -> Option<(String, String, u16)> {
        endpoint(&self.text)
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }
}

/// Scheme, host and port of an address, the default port filled in.
pub(crate) fn endpoint(text: &str) -> Option<(String, String, u16)> {
    if let Some(rest) = text.split_once("://").map(|(_, rest)| rest) {
        let url = Url::parse(text).ok()?;
        debug_assert!(!rest.is_empty());
        let port = url.port_or_known_default().unwrap_or(22);
        return Some((url.scheme().to_owned(), url.host_str()?.to_ascii_lowercase(), port));
    }
    let (host, _) = scp_parts(text)?;
    Some(("ssh".to_owned(), host.to_ascii_lowercase(), 22))
}

/// Host and path of `user@host:path`.
fn scp_parts(text: &str) -> Option<(&str, &str)> {
    let after_user = text.split_once('@').map_or(text, |(_, rest)| rest);
    if let Some(rest) = after_user.strip_prefix('[') {
        let (host, path) = rest.split_once("]:")?;
        return Some((host, path));
    }
    let (host, path) = after_user.split_once(':')?;
    (!host.is_empty() && !host.contains('/') && !path.is_empty()).then_some((host, path))
}

impl FromStr for RepositoryUrl {
    type Err = SettingsError;

    fn from_str(text: &str) -> Result<Self, SettingsError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(SettingsError::Url("it is empty"));
        }
        if text.len() > 2048 || text.chars().any(char::is_control) {
            return Err(SettingsError::Url("it is too long or holds control characters"));
        }
        if let Some((scheme, _)) = text.split_once("://") {
            return parse_url(scheme, text);
        }
        if text.starts_with('-') {
            return Err(SettingsError::Url("it begins with a dash"));
        }
        // A path wins when it looks like one; `host:path` is the form that scp takes.
        if text.starts_with(['/', '.', '~']) {
            return Ok(Self { text: text.to_owned(), kind: Transport::Local });
        }
        if let Some((host, path)) = scp_parts(text) {
            if host.starts_with('-') || path.starts_with('-') {
                return Err(SettingsError::Url("host or path begins with a dash"));
            }
            if text.split_once('@').is_some_and(|(user, _)| user.contains(':')) {
                return Err(SettingsError::CredentialsInUrl);
            }
            return Ok(Self { text: text.to_owned(), kind: Transport::Ssh });
        }
        if text.contains('@') && text.contains(':') {
            return Err(SettingsError::CredentialsInUrl);
        }
        Ok(Self { text: text.to_owned(), kind: Transport::Local })
    }
}

fn parse_url(scheme: &str, text: &str) -> Result<RepositoryUrl, SettingsError> {
    let url = Url::parse(text).map_err(|_| SettingsError::Url("it is not a URL"))?;
    let kind = match scheme.to_ascii_lowercase().as_str() {
        "https" => Transport::Https,
        "http" => Transport::Http,
        "ssh" => Transport::Ssh,
        "file" => Transport::Local,
        _ => return Err(SettingsError::Url("its scheme is not supported")),
    };
    if url.password().is_some() || (kind != Transport::Ssh && !url.username().is_empty()) {
        return Err(SettingsError::CredentialsInUrl);
    }
    if url.query().is_some() || url.fragment().is_some() {
        // A query is a usual place for tokens, and Git servers take none.
        return Err(SettingsError::Url("it has a query or fragment"));
    }
    if kind == Transport::Local {
        if url.to_file_path().is_err() {
            return Err(SettingsError::Url("a file URL needs three slashes and an absolute path"));
        }
    } else if url.host_str().is_none_or(|host| host.is_empty() || host.starts_with('-')) {
        return Err(SettingsError::Url("it names no host"));
    } else if url.path().trim_matches('/').is_empty() {
        return Err(SettingsError::Url("it names no repository"));
    }
    Ok(RepositoryUrl { text: text.to_owned(), kind })
}

impl fmt::Display for RepositoryUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The user name of an SSH address is `git` nearly always; another one may be a token.
        if self.kind != Transport::Ssh {
            return f.write_str(&self.text);
        }
        match self.text.split_once('@') {
            Some((before, after)) => match before.split_once("://") {
                Some((scheme, _)) => write!(f, "{scheme}://{after}"),
                None => f.write_str(after),
            },
            None => f.write_str(&self.text),
        }
    }
}

impl fmt::Debug for RepositoryUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("https://git.example.org/shop/releases.git", Transport::Https, Some("git.example.org"))]
    #[case("http://127.0.0.1:3000/a", Transport::Http, Some("127.0.0.1"))]
    #[case("ssh://git@git.example.org:2222/shop/releases.git", Transport::Ssh, Some("git.example.org"))]
    #[case("git@git.example.org:shop/releases.git", Transport::Ssh, Some("git.example.org"))]
    #[case("git.example.org:shop/releases.git", Transport::Ssh, Some("git.example.org"))]
    #[case("/srv/git/releases.git", Transport::Local, None)]
    #[case("./releases", Transport::Local, None)]
    #[case("releases", Transport::Local, None)]
    #[case("./odd:name", Transport::Local, None)]
    #[case("file:///srv/git/releases.git", Transport::Local, None)]
    fn addresses_are_recognised(#[case] text: &str, #[case] kind: Transport, #[case] host: Option<&str>) {
        let url: RepositoryUrl = text.parse().unwrap();
        assert_eq!(url.transport(), kind);
        assert_eq!(url.host().as_deref(), host);
    }

    #[rstest]
    #[case("https://user:hunter2@git.example.org/a")]
    #[case("https://ghp_hunter2@git.example.org/a")]
    #[case("ssh://git:hunter2@git.example.org/a")]
    #[case("git:hunter2@git.example.org:a")]
    fn credentials_are_refused_and_not_repeated(#[case] text: &str) {
        let error = text.parse::<RepositoryUrl>().unwrap_err();
        assert_eq!(error, SettingsError::CredentialsInUrl);
        assert!(!error.to_string().contains("hunter2"));
    }

    #[rstest]
    #[case("")]
    #[case("ftp://git.example.org/a")]
    #[case("https://git.example.org/")]
    #[case("https://git.example.org/a?token=secret")]
    #[case("file://host/a")]
    #[case("-oProxyCommand=x:y")]
    #[case("git@-oProxyCommand=x:y")]
    #[case("git@host:-x")]
    fn what_cannot_work_is_refused(#[case] text: &str) {
        let error = text.parse::<RepositoryUrl>().unwrap_err();
        assert!(matches!(error, SettingsError::Url(_)), "{error:?}");
        assert!(!error.to_string().contains("secret"));
    }

    #[test]
    fn display_hides_the_user() {
        let url: RepositoryUrl = "token123@git.example.org:shop/releases.git".parse().unwrap();
        assert_eq!(
            format!("{url} {url:?}"),
            "git.example.org:shop/releases.git git.example.org:shop/releases.git"
        );
        let url: RepositoryUrl = "ssh://token123@git.example.org/shop.git".parse().unwrap();
        assert_eq!(url.to_string(), "ssh://git.example.org/shop.git");
        assert_eq!(url.ssh_user().as_deref(), Some("token123"));
    }
}

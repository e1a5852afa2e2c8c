//! From settings to a host.

use std::{net::IpAddr, sync::Arc};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use secrecy::{ExposeSecret as _, SecretString};
use url::{Host, Url};

use crate::{client::Client, forge::Forge, hosts, kind::ForgeKind, place::Place};

/// What is known of a repository and its host.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The address that Git uses: https, http, ssh, or `user@host:path`.
    pub repository: String,
    /// Which kind of host it is, where the host's name does not say it.
    pub kind: Option<ForgeKind>,
    /// Address of the API, where it does not follow from the repository's: `https://git.example.org/gitlab/api/v4`; for Azure
    /// DevOps that of the organisation or collection.
    pub base: Option<Url>,
    /// Who the token belongs to. Only Bitbucket needs it, and only for API tokens: there it is an e-mail address.
    pub user: Option<String>,
    /// An access token.
    pub token: SecretString,
    /// PEM certificates of authorities to trust besides the system's.
    pub certificates: Option<String>,
    /// Allow the token over unencrypted http to another machine.
    pub insecure_http: bool,
}

/// Settings that cannot work. No text holds the token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// A folder, or no address.
    #[error("the repository is not at a Git host: pull requests need an address of https or ssh")]
    NoHost,
    /// A host that could be of any kind.
    #[error(
        "it is not known which kind of Git host {0} is; name it: github, gitlab, gitea, forgejo, bitbucket or azure-devops"
    )]
    UnknownHost(String),
    /// The path names no repository of such a host.
    #[error("this is no address of a repository at {kind}; it looks like {looks_like}")]
    Repository {
        /// The kind of host.
        kind: ForgeKind,
        /// How its addresses look.
        looks_like: &'static str,
    },
    /// The API's address is not safe.
    #[error(
        "the address of the API must be https, or http to this machine, without credentials, query and fragment"
    )]
    Base,
    /// No token could look like this.
    #[error("the token of the Git host is empty, or holds characters that no token has")]
    Token,
    /// TLS cannot be used, the certificates most probably.
    #[error("no connection can be made: {0}")]
    Client(String),
}

/// The host of a repository. Nothing is asked of it yet.
///
/// # Errors
///
/// When the settings cannot work, with what to change.
pub fn connect(settings: &Settings) -> Result<Arc<dyn Forge>, SettingsError> {
    let Settings { repository, kind, base, user, token, certificates, insecure_http } = settings;
    let mut place = Place::parse(repository).ok_or(SettingsError::NoHost)?;
    let kind = kind.or_else(|| ForgeKind::of_host(place.host()));
    let kind = kind.ok_or_else(|| SettingsError::UnknownHost(place.host().to_owned()))?;
    if let Some(base) = base {
        place.below(base);
    }
    let wrong = |looks_like| SettingsError::Repository { kind, looks_like };
    let given = base.clone();
    let (secret, user) = (token.expose_secret().trim(), user.as_deref());
    if secret.is_empty() || secret.chars().any(|c| !c.is_ascii_graphic()) {
        return Err(SettingsError::Token);
    }
    let reach = |base: Url, authorization: String| {
        if !is_safe(&base, *insecure_http) {
            return Err(SettingsError::Base);
        }
        let secrets = [secret.to_owned(), authorization.rsplit(' ').next().unwrap_or_default().to_owned()];
        Client::new(
            kind,
            base,
            &authorization,
            secrets.map(SecretString::from).into(),
            certificates.as_deref(),
        )
        .map_err(SettingsError::Client)
    };
    let derived = |path: &str| place.web.join(path).map_err(|_| SettingsError::Base);
    match kind {
        ForgeKind::GitHub => {
            let [owner, name] = <[String; 2]>::try_from(place.path.clone())
                .map_err(|_| wrong("https://github.com/OWNER/REPOSITORY"))?;
            let base = match (given, place.host()) {
                (Some(given), _) => given,
                (None, host) if host == "github.com" || host.ends_with(".ghe.com") => {
                    format!("https://api.{host}/").parse().map_err(|_| SettingsError::Base)?
                }
                (None, _) => derived("api/v3")?,
            };
            Ok(Arc::new(hosts::Pulls { client: reach(base, format!("Bearer {secret}"))?, owner, name }))
        }
        ForgeKind::GitLab => {
            if place.path.len() < 2 {
                return Err(wrong("https://gitlab.com/GROUP/PROJECT"));
            }
            let base = given.map_or_else(|| derived("api/v4"), Ok)?;
            let client = reach(base, format!("Bearer {secret}"))?;
            Ok(Arc::new(hosts::GitLab { client, project: place.path.join("/") }))
        }
        ForgeKind::Gitea => {
            let [owner, name] = <[String; 2]>::try_from(place.path.clone())
                .map_err(|_| wrong("https://gitea.example.org/OWNER/REPOSITORY"))?;
            let base = given.map_or_else(|| derived("api/v1"), Ok)?;
            Ok(Arc::new(hosts::Pulls { client: reach(base, format!("token {secret}"))?, owner, name }))
        }
        ForgeKind::Bitbucket => {
            let wrong = || wrong("https://bitbucket.org/WORKSPACE/REPOSITORY");
            let [workspace, name] = <[String; 2]>::try_from(place.path.clone()).map_err(|_| wrong())?;
            let base = match given {
                Some(given) => given,
                None if place.host() == "bitbucket.org" => {
                    "https://api.bitbucket.org/2.0".parse().map_err(|_| SettingsError::Base)?
                }
                None => return Err(wrong()),
            };
            let authorization = match user {
                // The name that Git uses with the access token of a repository.
                None | Some("x-token-auth") => format!("Bearer {secret}"),
                Some(user) => basic(user, secret),
            };
            let client = reach(base, authorization)?;
            Ok(Arc::new(hosts::Bitbucket { client, workspace, name, web: place.web }))
        }
        ForgeKind::AzureDevOps => {
            let (base, project, name) = hosts::azure::repository(&place, given)
                .ok_or(wrong("https://dev.azure.com/ORGANISATION/PROJECT/_git/REPOSITORY"))?;
            // Tokens of Entra ID are JWTs; personal access tokens are passwords.
            let is_jwt = secret.starts_with("eyJ") && secret.split('.').count() == 3;
            let authorization = if is_jwt { format!("Bearer {secret}") } else { basic("", secret) };
            Ok(Arc::new(hosts::Azure { client: reach(base, authorization)?, project, name }))
        }
    }
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}")))
}

/// Whether a token may be sent there.
fn is_safe(base: &Url, insecure_http: bool) -> bool {
    let local = match base.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => IpAddr::from(address).is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::from(address).is_loopback(),
        None => return false,
    };
    let safe = base.scheme() == "https" || (base.scheme() == "http" && (local || insecure_http));
    let bare = base.username().is_empty() && base.password().is_none();
    safe && bare && base.query().is_none() && base.fragment().is_none()
}

//! How a repository is reached: credentials, known hosts, certificates, proxy.

use std::{fmt, net::IpAddr};

use base64::Engine as _;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use crate::{
    error::SettingsError,
    url::{RepositoryUrl, Transport},
};

/// What is shown to the server.
#[derive(Debug, Clone, Default)]
pub enum Credentials {
    /// Nothing.
    #[default]
    None,
    /// User name and password.
    Basic {
        /// User name.
        username: String,
        /// Password.
        password: SecretString,
    },
    /// An access token of a Git host.
    Token(SecretString),
    /// An SSH key.
    SshKey {
        /// The private key, PEM or OpenSSH form.
        private: SecretString,
        /// What it is encrypted with.
        passphrase: Option<SecretString>,
    },
}

/// Which proxy https and http go through.
#[derive(Debug, Clone, Default)]
pub enum Proxy {
    /// None, whatever the environment says.
    #[default]
    None,
    /// The one that the environment names.
    Auto,
    /// This one; the address may hold credentials.
    Explicit(SecretString),
}

/// How a repository is reached.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// What is shown to the server.
    pub credentials: Credentials,
    /// Text of a `known_hosts` file; mandatory for SSH. Several keys of one host are allowed, for rotation.
    pub known_hosts: Option<String>,
    /// PEM certificates of authorities to trust besides the system's.
    pub certificates: Option<String>,
    /// Proxy.
    pub proxy: Proxy,
    /// Allow credentials over unencrypted http to another machine.
    pub insecure_http: bool,
}

/// [`Access`] as it goes to the worker, over its standard input only. It is never printed and has no `Debug`.
#[derive(Serialize, Deserialize)]
pub(crate) struct WireAccess {
    pub(crate) credentials: WireCredentials,
    pub(crate) known_hosts: Option<String>,
    pub(crate) certificates: Option<String>,
    pub(crate) proxy: WireProxy,
}

#[derive(Serialize, Deserialize)]
pub(crate) enum WireCredentials {
    None,
    UserPass { username: String, password: String },
    SshKey { private: String, passphrase: Option<String> },
}

#[derive(Serialize, Deserialize)]
pub(crate) enum WireProxy {
    None,
    Auto,
    Explicit(String),
}

impl Access {
    /// Whether this can work for `url`.
    pub(crate) fn check(&self, url: &RepositoryUrl) -> Result<(), SettingsError> {
        match (url.transport(), &self.credentials) {
            (_, Credentials::None) => {}
            (Transport::Ssh, Credentials::SshKey { .. })
            | (Transport::Https, Credentials::Basic { .. } | Credentials::Token(_)) => {}
            (Transport::Http, Credentials::Basic { .. } | Credentials::Token(_)) => {
                if !self.insecure_http && !url.host().is_some_and(|host| is_loopback(&host)) {
                    return Err(SettingsError::Credentials(
                        "credentials are not sent over unencrypted http; use https",
                    ));
                }
            }
            (Transport::Ssh, _) => {
                return Err(SettingsError::Credentials(
                    "an ssh repository takes an SSH key, not a password or token",
                ));
            }
            (Transport::Https | Transport::Http, _) => {
                return Err(SettingsError::Credentials(
                    "an https repository takes a password or token, not an SSH key",
                ));
            }
            (Transport::Local, _) => {
                return Err(SettingsError::Credentials("a local repository takes no credentials"));
            }
        }
        if url.transport() == Transport::Ssh {
            if matches!(self.credentials, Credentials::None) {
                return Err(SettingsError::Credentials("an ssh repository needs an SSH key"));
            }
            check_known_hosts(self.known_hosts.as_deref().ok_or(SettingsError::KnownHostsMissing)?)?;
        }
        if let Some(pem) = &self.certificates
            && !(pem.contains("-----BEGIN CERTIFICATE-----") && pem.contains("-----END CERTIFICATE-----"))
        {
            return Err(SettingsError::CertificateBundle);
        }
        if let Proxy::Explicit(address) = &self.proxy {
            let parsed = url::Url::parse(address.expose_secret()).map_err(|_| SettingsError::Proxy)?;
            if !matches!(parsed.scheme(), "http" | "https") || parsed.host_str().is_none() {
                return Err(SettingsError::Proxy);
            }
        }
        Ok(())
    }

    pub(crate) fn wire(&self, url: &RepositoryUrl) -> WireAccess {
        let credentials = match &self.credentials {
            Credentials::None => WireCredentials::None,
            Credentials::Basic { username, password } => WireCredentials::UserPass {
                username: username.clone(),
                password: password.expose_secret().to_owned(),
            },
            Credentials::Token(token) => WireCredentials::UserPass {
                username: token_user(url).to_owned(),
                password: token.expose_secret().trim().to_owned(),
            },
            Credentials::SshKey { private, passphrase } => WireCredentials::SshKey {
                private: private.expose_secret().to_owned(),
                passphrase: passphrase.as_ref().map(|p| p.expose_secret().to_owned()),
            },
        };
        let proxy = match &self.proxy {
            Proxy::None => WireProxy::None,
            Proxy::Auto => WireProxy::Auto,
            Proxy::Explicit(address) => WireProxy::Explicit(address.expose_secret().to_owned()),
        };
        WireAccess {
            credentials,
            known_hosts: self.known_hosts.clone(),
            certificates: self.certificates.clone(),
            proxy,
        }
    }
}

/// Git hosts take any user name beside a token, but for one.
fn token_user(url: &RepositoryUrl) -> &'static str {
    match url.host() {
        Some(host) if host == "bitbucket.org" => "x-token-auth",
        _ => "x-access-token",
    }
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Looks whether every line can be understood, because the SSH library skips what it does not.
fn check_known_hosts(text: &str) -> Result<(), SettingsError> {
    let mut keys = 0;
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let refuse = |reason: &str| SettingsError::KnownHosts(format!("line {}: {reason}", index + 1));
        if line.starts_with('@') {
            return Err(refuse("markers such as @cert-authority and @revoked are not supported"));
        }
        let mut words = line.split_ascii_whitespace();
        let (Some(_), Some(_), Some(key)) = (words.next(), words.next(), words.next()) else {
            return Err(refuse("a line is `host key-type key`"));
        };
        if base64::engine::general_purpose::STANDARD.decode(key).is_err() {
            return Err(refuse("the key is not base64"));
        }
        keys += 1;
    }
    if keys == 0 { Err(SettingsError::KnownHostsMissing) } else { Ok(()) }
}

impl WireAccess {
    /// Every text that must not be seen, to be cut out of messages.
    pub(crate) fn secrets(&self) -> Vec<&str> {
        let mut all = Vec::new();
        match &self.credentials {
            WireCredentials::None => {}
            WireCredentials::UserPass { password, .. } => all.push(password.as_str()),
            WireCredentials::SshKey { private, passphrase } => {
                all.push(private.as_str());
                all.extend(passphrase.as_deref());
            }
        }
        if let WireProxy::Explicit(address) = &self.proxy {
            all.push(address.as_str());
            if let Some((userinfo, _)) = address.split_once("://").and_then(|(_, rest)| rest.rsplit_once('@'))
            {
                all.push(userinfo);
                all.extend(userinfo.split_once(':').map(|(_, password)| password));
            }
        }
        all.retain(|text| text.len() > 2);
        all
    }
}

impl fmt::Debug for WireAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WireAccess")
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const KNOWN: &str = "git.example.org ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIrO\n";

    fn key() -> Credentials {
        Credentials::SshKey { private: "k".into(), passphrase: None }
    }

    fn basic() -> Credentials {
        Credentials::Basic { username: "u".into(), password: "p".into() }
    }

    #[rstest]
    #[case("git@h:a", key(), Some(KNOWN), true)]
    #[case("git@h:a", key(), None, false)]
    #[case("git@h:a", key(), Some("# nothing\n"), false)]
    #[case("git@h:a", key(), Some("@revoked h ssh-ed25519 AAAA\n"), false)]
    #[case("git@h:a", key(), Some("h ssh-ed25519\n"), false)]
    #[case("git@h:a", key(), Some("h ssh-ed25519 ???\n"), false)]
    #[case("git@h:a", basic(), Some(KNOWN), false)]
    #[case("git@h:a", Credentials::None, Some(KNOWN), false)]
    #[case("https://h/a", basic(), None, true)]
    #[case("https://h/a", key(), None, false)]
    #[case("http://h/a", basic(), None, false)]
    #[case("http://127.0.0.1:1/a", basic(), None, true)]
    #[case("http://[::1]:1/a", basic(), None, true)]
    #[case("http://h/a", Credentials::None, None, true)]
    #[case("/a", basic(), None, false)]
    fn settings_are_checked(
        #[case] url: &str,
        #[case] credentials: Credentials,
        #[case] known_hosts: Option<&str>,
        #[case] works: bool,
    ) {
        let access = Access { credentials, known_hosts: known_hosts.map(str::to_owned), ..Access::default() };
        assert_eq!(access.check(&url.parse().unwrap()).is_ok(), works);
    }

    #[test]
    fn debug_shows_no_secret() {
        let access = Access {
            credentials: Credentials::Token("canary-token".into()),
            proxy: Proxy::Explicit("http://u:canary-proxy@p:1".into()),
            ..Access::default()
        };
        assert!(!format!("{access:?}").contains("canary"));
    }
}

//! What the data of a Secret says about reaching a repository.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use secrecy::{ExposeSecret as _, SecretString};
use sluice_repo::{Access, Credentials};

use super::{
    data::Data,
    mistake::{Mistake, Mistakes},
};
use crate::github_app::GitHubApp;

const USERNAME: &str = "username";
const PASSWORD: &str = "password";
const BEARER: [&str; 2] = ["bearerToken", "token"];
const IDENTITY: &str = "identity";
const KNOWN_HOSTS: &str = "known_hosts";
const CERTIFICATES: [&str; 2] = ["ca.crt", "caFile"];
const APP_ID: &str = "githubAppID";
const APP_INSTALLATION: &str = "githubAppInstallationID";
const APP_KEY: &str = "githubAppPrivateKey";
const APP_BASE: &str = "githubAppBaseURL";

/// The API of github.com.
const GITHUB: &str = "https://api.github.com";

/// How a repository is reached, as a Secret says it.
#[derive(Debug, Clone)]
pub struct RepositoryAccess {
    /// Without a GitHub App, all that is needed. With one, its token has to be put into `credentials`.
    pub access: Access,
    /// The App that gives out tokens for the repository.
    pub github_app: Option<GitHubApp>,
}

/// What a Secret says, or everything that is wrong with it.
pub(super) fn read(data: &Data) -> Result<RepositoryAccess, Mistakes> {
    let mut mistakes = Vec::new();
    let basic = data.has(USERNAME) || (data.has(PASSWORD) && !data.has(IDENTITY));
    let bearer = BEARER.iter().any(|key| data.has(key));
    let ssh = data.has(IDENTITY);
    let app = [APP_ID, APP_INSTALLATION, APP_KEY].iter().any(|key| data.has(key));
    let kinds: Vec<&str> =
        [(basic, "username and password"), (bearer, "a token"), (ssh, "an SSH key"), (app, "a GitHub App")]
            .into_iter()
            .filter_map(|(present, kind)| present.then_some(kind))
            .collect();
    if kinds.len() > 1 {
        mistakes.push(Mistake::SeveralKinds(kinds.join(", ")));
    }

    let certificates = certificates(data, &mut mistakes);
    let known_hosts = data.text(KNOWN_HOSTS, &mut mistakes);
    let mut github_app = None;
    let mut credentials = None;
    if basic {
        credentials = read_basic(data, &mut mistakes);
    }
    if bearer {
        credentials = data.either(BEARER, &mut mistakes, Data::line).map(Credentials::Token);
    }
    if ssh {
        credentials = read_ssh(data, &mut mistakes);
    }
    if app {
        github_app = read_app(data, certificates.as_deref(), &mut mistakes);
    }
    if kinds.is_empty() && data.has(KNOWN_HOSTS) {
        mistakes.push(Mistake::Needs { present: KNOWN_HOSTS, needed: IDENTITY });
    } else if kinds.is_empty() && !CERTIFICATES.iter().any(|key| data.has(key)) {
        let keys: Vec<&str> = data.keys().take(16).collect();
        let keys = if keys.is_empty() { "it is empty".to_owned() } else { keys.join(", ") };
        mistakes.push(Mistake::NothingKnown(keys));
    }
    Mistakes::check(mistakes)?;
    let access = Access {
        credentials: credentials.unwrap_or_default(),
        known_hosts: known_hosts.map(|text| text.expose_secret().to_owned()),
        certificates,
        ..Access::default()
    };
    Ok(RepositoryAccess { access, github_app })
}

/// The secrets of a webhook, one per line.
pub(super) fn read_webhook(data: &Data) -> Result<Vec<SecretString>, Mistakes> {
    let mut mistakes = Vec::new();
    let text = data.text("token", &mut mistakes);
    let secrets: Vec<SecretString> = text
        .iter()
        .flat_map(|text| text.expose_secret().lines())
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .map(SecretString::from)
        .collect();
    if secrets.is_empty() && mistakes.is_empty() {
        mistakes.push(Mistake::NoWebhookSecret);
    }
    Mistakes::check(mistakes)?;
    Ok(secrets)
}

fn read_basic(data: &Data, mistakes: &mut Vec<Mistake>) -> Option<Credentials> {
    for (present, needed) in [(USERNAME, PASSWORD), (PASSWORD, USERNAME)] {
        if data.has(present) && !data.has(needed) {
            mistakes.push(Mistake::Needs { present, needed });
        }
    }
    let username = data.line(USERNAME, mistakes);
    let password = data.line(PASSWORD, mistakes);
    Some(Credentials::Basic { username: username?.expose_secret().to_owned(), password: password? })
}

fn read_ssh(data: &Data, mistakes: &mut Vec<Mistake>) -> Option<Credentials> {
    if !data.has(KNOWN_HOSTS) {
        mistakes.push(Mistake::Needs { present: IDENTITY, needed: KNOWN_HOSTS });
    }
    let passphrase = data.line(PASSWORD, mistakes);
    let private = data.text(IDENTITY, mistakes)?;
    match encrypted(private.expose_secret()) {
        None => mistakes.push(Mistake::NotAPrivateKey(IDENTITY)),
        Some(true) if passphrase.is_none() => mistakes.push(Mistake::Encrypted),
        Some(_) => {}
    }
    // Keys that lost their last line break on the way into a Secret are refused by SSH libraries.
    let whole = format!("{}\n", private.expose_secret().trim());
    Some(Credentials::SshKey { private: whole.into(), passphrase })
}

fn read_app(data: &Data, certificates: Option<&str>, mistakes: &mut Vec<Mistake>) -> Option<GitHubApp> {
    let all = [APP_ID, APP_INSTALLATION, APP_KEY];
    let present = all.into_iter().find(|key| data.has(key))?;
    for needed in all.into_iter().filter(|key| !data.has(key)) {
        mistakes.push(Mistake::Needs { present, needed });
    }
    let id = data.line(APP_ID, mistakes);
    let id = id.filter(|id| {
        // A number, or the client id that GitHub recommends today.
        let good = id.expose_secret().bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.');
        if !good {
            mistakes.push(Mistake::NotAnId(APP_ID));
        }
        good
    });
    let installation = data.line(APP_INSTALLATION, mistakes).and_then(|text| {
        let number = text.expose_secret().trim().parse::<u64>();
        number.map_err(|_| mistakes.push(Mistake::NotAnId(APP_INSTALLATION))).ok()
    });
    let base = match data.line(APP_BASE, mistakes) {
        None => GITHUB.parse().ok(),
        Some(text) => {
            let url = GitHubApp::base(text.expose_secret());
            if url.is_none() {
                mistakes.push(Mistake::NotAnAddress(APP_BASE));
            }
            url
        }
    };
    let key = data.text(APP_KEY, mistakes).filter(|key| {
        let good = GitHubApp::is_key(key);
        if !good {
            mistakes.push(Mistake::NotAnRsaKey(APP_KEY));
        }
        good
    });
    Some(GitHubApp {
        id: id?.expose_secret().to_owned(),
        installation: installation?,
        key: key?,
        base: base?,
        certificates: certificates.map(str::to_owned),
    })
}

fn certificates(data: &Data, mistakes: &mut Vec<Mistake>) -> Option<String> {
    let text = data.either(CERTIFICATES, mistakes, Data::text)?;
    let pem = text.expose_secret();
    let key = if data.has(CERTIFICATES[0]) { CERTIFICATES[0] } else { CERTIFICATES[1] };
    let whole = pem.matches("-----BEGIN CERTIFICATE-----").count();
    let parsed = reqwest::Certificate::from_pem_bundle(pem.as_bytes());
    if whole == 0 || parsed.is_err() {
        mistakes.push(Mistake::NotCertificates(key));
        return None;
    }
    Some(pem.to_owned())
}

/// Whether a private key is encrypted; nothing when it is not a private key.
fn encrypted(text: &str) -> Option<bool> {
    let text = text.trim();
    let label = text.strip_prefix("-----BEGIN ")?.split_once("PRIVATE KEY-----")?.0;
    let (body, _) = text.rsplit_once(&format!("-----END {label}PRIVATE KEY-----"))?;
    match label {
        "ENCRYPTED " => Some(true),
        "OPENSSH " => {
            let body: String = body.lines().skip(1).flat_map(str::split_ascii_whitespace).collect();
            let bytes = STANDARD.decode(body).ok()?;
            // Magic, then the name of the cipher as a text with its length before it.
            let cipher = bytes.strip_prefix(b"openssh-key-v1\0")?;
            let (length, rest) = cipher.split_first_chunk::<4>()?;
            let name = rest.get(..usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
            Some(name != b"none")
        }
        _ => Some(body.contains("Proc-Type: 4,ENCRYPTED")),
    }
}

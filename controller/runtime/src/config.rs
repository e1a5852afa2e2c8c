//! Settings of `serve`: a flag wins over the environment, the environment over the file, the file over the default.
//! All mistakes are reported together, each with the flag it belongs to.

mod forge;

use std::{
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
    time::Duration,
};

use ipnet::IpNet;
use secrecy::SecretString;
use serde::{Deserialize, de::DeserializeOwned};
use sluice_core::{channel::Freeze, resolve::Owner};
use sluice_engine::WriteMode;
use sluice_forge::Forge;
use sluice_manifest::freezes;
use sluice_repo::{Committer, Credentials, Identity, Proxy, Reference, RepositoryUrl, SigningKey, Transport};
use tracing_subscriber::EnvFilter;
use url::Url;

use sluice_notify::{Form, Target};
use sluice_serve::admin::BrakeToken;

use crate::{args::ServeArgs, telemetry::Format};

/// Checked settings of `serve`.
#[derive(Debug)]
pub(crate) struct ServeConfig {
    pub(crate) repository: RepositoryUrl,
    pub(crate) reference: Reference,
    pub(crate) credentials: Credentials,
    pub(crate) known_hosts: Option<String>,
    pub(crate) ca: Option<String>,
    pub(crate) proxy: Proxy,
    pub(crate) path: String,
    pub(crate) data: PathBuf,
    pub(crate) poll: Duration,
    /// How Git is told of brakes.
    pub(crate) write: WriteMode,
    /// The API of the Git host, for pull requests.
    pub(crate) forge: Option<Arc<dyn Forge>>,
    /// Who commits rollbacks, and with which key.
    pub(crate) committer: Committer,
    pub(crate) owner: Owner,
    /// Times in which no rollout goes on.
    pub(crate) freezes: Arc<Vec<Freeze>>,
    pub(crate) listen: SocketAddr,
    pub(crate) admin_listen: SocketAddr,
    pub(crate) public_url: Option<Url>,
    pub(crate) download_url: Option<Url>,
    pub(crate) trusted_proxies: Vec<IpNet>,
    pub(crate) hook_secrets: Vec<SecretString>,
    /// Who may stop releases of one app and do nothing else.
    pub(crate) brake_tokens: Vec<BrakeToken>,
    /// Where those stand, to be read again.
    pub(crate) brake_tokens_file: Option<PathBuf>,
    /// Who is told what becomes of rollouts.
    pub(crate) notify: Option<sluice_notify::Target>,
    pub(crate) tls: Option<(PathBuf, PathBuf)>,
    pub(crate) max_connections: usize,
    pub(crate) allow_private_sources: bool,
    pub(crate) log: EnvFilter,
    pub(crate) log_format: Format,
}

/// Who commits rollbacks, unless told otherwise.
const AUTHOR: &str = "Sluice <sluice@localhost>";

/// Every mistake of the settings.
#[derive(Debug)]
pub(crate) struct Mistakes(Vec<String>);

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.len() {
            1 => f.write_str(&self.0[0]),
            n => {
                write!(f, "{n} settings are wrong:")?;
                self.0.iter().try_for_each(|mistake| write!(f, "\n  {mistake}"))
            }
        }
    }
}

impl std::error::Error for Mistakes {}

/// Collects mistakes while it turns text into values.
#[derive(Default)]
pub(crate) struct Check(Vec<String>);

impl Check {
    pub(crate) fn wrong(&mut self, flag: &str, why: impl fmt::Display) {
        self.0.push(format!("--{flag}: {why}"));
    }

    pub(crate) fn keep<T, E: fmt::Display>(&mut self, flag: &str, value: Result<T, E>) -> Option<T> {
        value.map_err(|e| self.wrong(flag, e)).ok()
    }

    pub(crate) fn parse<T: FromStr<Err: fmt::Display>>(
        &mut self,
        flag: &str,
        text: Option<&str>,
    ) -> Option<T> {
        text.and_then(|text| self.keep(flag, text.parse().map_err(|e| format!("`{text}`: {e}"))))
    }

    pub(crate) fn url(&mut self, flag: &str, text: Option<&str>) -> Option<Url> {
        let url = self.keep(flag, web(text?))?;
        let plain = url.query().is_none() && url.username().is_empty() && url.password().is_none();
        if plain {
            return Some(url);
        }
        self.wrong(flag, "must be an http or https URL without credentials and without a query");
        None
    }

    pub(crate) fn read(&mut self, flag: &str, path: Option<&str>) -> Option<String> {
        let path = path?;
        self.keep(flag, std::fs::read_to_string(path).map_err(|e| format!("cannot read {path}: {e}")))
    }

    /// The settings, if nothing was wrong with any of them.
    pub(crate) fn finish<T>(self, whole: Option<T>) -> Result<T, Mistakes> {
        match whole {
            Some(config) if self.0.is_empty() => Ok(config),
            _ => Err(Mistakes(self.0)),
        }
    }
}

/// Takes from the file what neither a flag nor the environment says. Every field has to be named.
macro_rules! fill {
    ($type:ident $args:ident, $file:ident: $($field:ident)*) => {
        let $type { $($field,)* config: _ } = $file;
        $( if $args.$field.is_none() { $args.$field = $field; } )*
    };
}
pub(crate) use fill;

/// Checks the settings, the file's included.
pub(crate) fn check(mut args: ServeArgs) -> Result<ServeConfig, Mistakes> {
    let mut check = Check::default();
    if let Some(path) = args.config.take() {
        let file = check.keep("config", read_file::<ServeArgs>(&path)).unwrap_or_default();
        fill!(ServeArgs args, file: repository branch tag semver commit path data poll write git_author git_signing_key_file forge forge_url forge_token_file apps freezes_file listen admin_listen public_url
            download_url trusted_proxies hook_secret_file brake_tokens_file notify_url notify_secret_file notify_form tls_cert_file tls_key_file max_connections git_username
            git_password_file git_ssh_key_file git_known_hosts_file git_ca_file git_proxy allow_private_sources log
            log_format);
    }
    let repository = if let Some(text) = args.repository.as_deref() {
        check.keep("repository", text.parse::<RepositoryUrl>())
    } else {
        check.wrong(
            "repository",
            "is required: the URL or directory of the repository with releases and channels",
        );
        None
    };
    let data = args.data.clone().map(PathBuf::from);
    if data.is_none() {
        check.wrong("data", "is required: a directory for everything that must survive a restart");
    }
    let reference = reference(&args, &mut check);
    let known_hosts = check.read("git-known-hosts-file", args.git_known_hosts_file.as_deref());
    let credentials = credentials(&args, repository.as_ref(), &mut check);
    let ca = check.read("git-ca-file", args.git_ca_file.as_deref());
    let proxy = match args.git_proxy.as_deref() {
        None => Some(Proxy::None),
        Some("auto") => Some(Proxy::Auto),
        Some(url) => Some(Proxy::Explicit(SecretString::from(url.to_owned()))),
    };
    let path = folder(args.path.as_deref().unwrap_or("."), &mut check);
    let poll = duration("poll", args.poll.as_deref().unwrap_or("15s"), &mut check);
    let write = check.keep("write", write_mode(args.write.as_deref().unwrap_or("auto")));
    let identity = check.keep("git-author", identity(args.git_author.as_deref().unwrap_or(AUTHOR)));
    let key = check.read("git-signing-key-file", args.git_signing_key_file.as_deref());
    let key = key.and_then(|key| check.keep("git-signing-key-file", SigningKey::read(&key.into(), None)));
    let forge = forge::forge(&args, repository.as_ref(), credentials.as_ref(), ca.as_deref(), &mut check);
    let freezes = frozen(args.freezes_file.as_deref(), &mut check);
    let listen = address("listen", args.listen.as_deref().unwrap_or("127.0.0.1:8080"), &mut check);
    let admin_listen =
        address("admin-listen", args.admin_listen.as_deref().unwrap_or("127.0.0.1:8081"), &mut check);
    let public_url = check.url("public-url", args.public_url.as_deref());
    let download_url = check.url("download-url", args.download_url.as_deref());
    let trusted_proxies = networks(args.trusted_proxies.as_deref(), &mut check);
    let hook_secrets = check
        .read("hook-secret-file", args.hook_secret_file.as_deref())
        .map(|text| {
            text.lines().map(str::trim).filter(|l| !l.is_empty()).map(SecretString::from).collect::<Vec<_>>()
        })
        .unwrap_or_default();
    if args.hook_secret_file.is_some() && hook_secrets.is_empty() && check.0.is_empty() {
        check.wrong("hook-secret-file", "the file holds no secret");
    }
    let brake_tokens = check
        .read("brake-tokens-file", args.brake_tokens_file.as_deref())
        .and_then(|text| check.keep("brake-tokens-file", BrakeToken::read_all(&text)))
        .unwrap_or_default();
    let notify = notify(&args, &mut check);
    let tls = tls(args.tls_cert_file, args.tls_key_file, &mut check);
    let max_connections = connections(args.max_connections.as_deref(), &mut check);
    let allow_private_sources =
        check.parse("allow-private-sources", Some(args.allow_private_sources.as_deref().unwrap_or("false")));
    let log = check.keep("log", EnvFilter::try_new(args.log.as_deref().unwrap_or("info")));
    let log_format = log_format(args.log_format.as_deref(), &mut check);
    let whole = (|| {
        Some(ServeConfig {
            repository: repository?,
            reference: reference?,
            credentials: credentials?,
            known_hosts,
            ca,
            proxy: proxy?,
            path: path?,
            data: data?,
            poll: poll?,
            owner: Owner { name: "default".into(), apps: args.apps.unwrap_or_default() },
            freezes: Arc::new(freezes?),
            listen: listen?,
            admin_listen: admin_listen?,
            public_url,
            download_url,
            trusted_proxies,
            hook_secrets,
            brake_tokens,
            brake_tokens_file: args.brake_tokens_file.map(PathBuf::from),
            notify,
            write: write?,
            forge,
            committer: Committer { identity: identity?, key },
            tls,
            max_connections: max_connections?,
            allow_private_sources: allow_private_sources?,
            log: log?,
            log_format: log_format?,
        })
    })();
    check.finish(whole)
}

/// Reads a file of settings.
pub(crate) fn read_file<T: DeserializeOwned + Default>(path: &Path) -> Result<T, String> {
    let text = std::fs::read_to_string(path).map_err(|e| format!("cannot read {}: {e}", path.display()))?;
    serde_yaml::from_str::<Option<T>>(&text)
        .map(Option::unwrap_or_default)
        .map_err(|e| format!("{}: {e}", path.display()))
}

fn reference(args: &ServeArgs, check: &mut Check) -> Option<Reference> {
    let given = [&args.branch, &args.tag, &args.semver, &args.commit].iter().filter(|r| r.is_some()).count();
    if given > 1 {
        check.wrong("branch", "give only one of --branch, --tag, --semver and --commit");
        return None;
    }
    let made = match (&args.tag, &args.semver, &args.commit) {
        (Some(tag), _, _) => ("tag", Reference::tag(tag)),
        (_, Some(range), _) => ("semver", Reference::semver(range)),
        (_, _, Some(id)) => ("commit", Reference::commit(id)),
        _ => ("branch", Reference::branch(args.branch.as_deref().unwrap_or("main"))),
    };
    check.keep(made.0, made.1)
}

fn credentials(args: &ServeArgs, url: Option<&RepositoryUrl>, check: &mut Check) -> Option<Credentials> {
    let password = check.read("git-password-file", args.git_password_file.as_deref());
    let key = check.read("git-ssh-key-file", args.git_ssh_key_file.as_deref());
    let secret = |text: String| SecretString::from(text.trim_end_matches(['\r', '\n']).to_owned());
    if url.is_some_and(|url| url.transport() == Transport::Ssh) {
        if args.git_ssh_key_file.is_none() {
            check.wrong("git-ssh-key-file", "is required for a repository over SSH");
        }
        if args.git_known_hosts_file.is_none() {
            check.wrong(
                "git-known-hosts-file",
                "is required for a repository over SSH; make it with `ssh-keyscan HOST` and compare the keys with those \
                 that the host publishes",
            );
        }
        return Some(Credentials::SshKey { private: SecretString::from(key?), passphrase: None });
    }
    match (&args.git_username, password) {
        (Some(username), Some(password)) => {
            Some(Credentials::Basic { username: username.clone(), password: secret(password) })
        }
        (Some(_), None) => {
            check.wrong("git-username", "needs --git-password-file");
            None
        }
        (None, Some(token)) => Some(Credentials::Token(secret(token))),
        (None, None) => Some(Credentials::None),
    }
}

pub(crate) fn address(flag: &str, text: &str, check: &mut Check) -> Option<SocketAddr> {
    check.keep(
        flag,
        text.parse().map_err(|_| format!("`{text}` is not an address and port such as 0.0.0.0:8080")),
    )
}

pub(crate) fn log_format(text: Option<&str>, check: &mut Check) -> Option<Format> {
    match text {
        None => Some(Format::default_for_stderr()),
        Some("text") => Some(Format::Text),
        Some("json") => Some(Format::Json),
        Some(other) => {
            check.wrong("log-format", format!("`{other}` is neither `text` nor `json`"));
            None
        }
    }
}

pub(crate) fn tls(
    certificate: Option<String>,
    key: Option<String>,
    check: &mut Check,
) -> Option<(PathBuf, PathBuf)> {
    match (certificate, key) {
        (Some(certificate), Some(key)) => Some((certificate.into(), key.into())),
        (None, None) => None,
        _ => {
            check.wrong("tls-cert-file", "goes together with --tls-key-file");
            None
        }
    }
}

fn write_mode(text: &str) -> Result<WriteMode, String> {
    match text {
        "auto" => Ok(WriteMode::Auto),
        "push" => Ok(WriteMode::Push),
        "pull-request" => Ok(WriteMode::PullRequest),
        "off" => Ok(WriteMode::Off),
        other => Err(format!("`{other}` is not one of auto, push, pull-request, off")),
    }
}

/// `NAME <MAIL>`, as Git writes it.
fn identity(text: &str) -> Result<Identity, String> {
    let odd = |part: &str| part.is_empty() || part.contains(['<', '>', '\n', '\0']);
    let parts = text.trim().strip_suffix('>').and_then(|text| text.split_once('<'));
    let parts = parts.map(|(name, email)| (name.trim(), email.trim()));
    match parts.filter(|(name, email)| !odd(name) && !odd(email)) {
        Some((name, email)) => Ok(Identity { name: name.to_owned(), email: email.to_owned() }),
        None => Err(format!("`{text}` is not of the form `{AUTHOR}`")),
    }
}

/// A folder inside the repository, as a path from its root; empty for the root itself.
fn folder(text: &str, check: &mut Check) -> Option<String> {
    let parts: Vec<&str> = text.split(['/', '\\']).filter(|p| !p.is_empty() && *p != ".").collect();
    if parts.contains(&"..") || text.starts_with('/') {
        check.wrong("path", format!("`{text}` must be a folder inside the repository, relative to its root"));
        return None;
    }
    Some(parts.join("/"))
}

/// One entry of the file of freezes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    from: String,
    to: String,
    reason: Option<String>,
}

/// Times in which no rollout goes on. With a mistake in one of them nothing starts: rollouts would go on meanwhile.
fn frozen(path: Option<&str>, check: &mut Check) -> Option<Vec<Freeze>> {
    let Some(path) = path else { return Some(Vec::new()) };
    let list = check.keep("freezes-file", read_file::<Vec<Entry>>(Path::new(path)))?;
    let entry = |Entry { name, from, to, reason }| sluice_crds::repository::Freeze { name, from, to, reason };
    let list: Vec<_> = list.into_iter().map(entry).collect();
    check.keep("freezes-file", freezes(&list).map_err(|error| format!("{path}: {error}")))
}

/// Networks of proxies.
pub(crate) fn networks(texts: Option<&[String]>, check: &mut Check) -> Vec<IpNet> {
    let texts = texts.unwrap_or_default().iter();
    texts.filter_map(|text| check.keep("trusted-proxies", network(text.trim()))).collect()
}

/// Who is told what becomes of rollouts. The address is not repeated in a mistake: its path may be a secret.
fn notify(args: &ServeArgs, check: &mut Check) -> Option<Target> {
    let form = match args.notify_form.as_deref() {
        None | Some("cloud-events") => Form::CloudEvents,
        Some("slack") => Form::Slack,
        Some(other) => {
            check.wrong("notify-form", format!("`{other}` is neither `cloud-events` nor `slack`"));
            return None;
        }
    };
    let secret = check.read("notify-secret-file", args.notify_secret_file.as_deref());
    let Some(url) = args.notify_url.as_deref() else {
        if args.notify_secret_file.is_some() || args.notify_form.is_some() {
            check.wrong("notify-url", "is required with the other settings of notifications");
        }
        return None;
    };
    let url = check.keep("notify-url", web(url))?;
    check.keep("notify-secret-file", Target::new(url, secret.as_deref(), form))
}

/// Connections at one time.
pub(crate) fn connections(text: Option<&str>, check: &mut Check) -> Option<usize> {
    let connections = check.parse::<usize>("max-connections", Some(text.unwrap_or("10000")));
    if connections == Some(0) {
        check.wrong("max-connections", "must be at least 1");
    }
    connections
}

fn network(text: &str) -> Result<IpNet, String> {
    text.parse::<IpNet>()
        .or_else(|_| text.parse::<std::net::IpAddr>().map(IpNet::from))
        .map_err(|_| format!("`{text}` is not a network such as 10.0.0.0/8"))
}

pub(crate) fn duration(flag: &str, text: &str, check: &mut Check) -> Option<Duration> {
    let parsed = time(text).and_then(|d| {
        if d.is_zero() { Err("must be more than zero: polling never stops".to_owned()) } else { Ok(d) }
    });
    check.keep(flag, parsed)
}

/// A length of time that is not negative: as documents write it, or in another of the usual forms.
pub(crate) fn time(text: &str) -> Result<Duration, String> {
    if let Some(length) = sluice_crds::common::duration(text) {
        return Ok(length);
    }
    let parsed = text.parse::<jiff::SignedDuration>();
    let parsed =
        parsed.map_err(|_| format!("`{text}` is not a duration; write for example 15s, 2m or 1h30m"))?;
    Duration::try_from(parsed).map_err(|_| format!("`{text}` is negative; write for example 15s"))
}

/// An address of the web. It is not repeated in the error: it may hold a secret.
pub(crate) fn web(text: &str) -> Result<Url, &'static str> {
    let url = text.parse::<Url>().ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    url.filter(Url::has_host).ok_or(
        "must be an http or https URL that begins with its scheme, for example https://host.example.org/path",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(edit: impl FnOnce(&mut ServeArgs)) -> ServeArgs {
        let mut args = ServeArgs {
            repository: Some("https://git.example.org/shop.git".into()),
            data: Some("data".into()),
            ..ServeArgs::default()
        };
        edit(&mut args);
        args
    }

    #[test]
    fn defaults() {
        let config = check(args(|_| ())).unwrap();
        assert_eq!(config.poll, Duration::from_secs(15));
        assert_eq!(config.listen.to_string(), "127.0.0.1:8080");
        assert_eq!(config.path, "");
        assert!(config.owner.may_publish(&"com.example.shop".parse().unwrap()));
    }

    #[test]
    fn all_mistakes_at_once() {
        let error = check(ServeArgs {
            poll: Some("soon".into()),
            listen: Some("nowhere".into()),
            write: Some("force".into()),
            git_author: Some("Sluice".into()),
            path: Some("../x".into()),
            trusted_proxies: Some(vec!["10.0.0.0/8".into(), "x".into()]),
            tls_cert_file: Some("c".into()),
            branch: Some("a".into()),
            tag: Some("b".into()),
            log_format: Some("xml".into()),
            ..ServeArgs::default()
        })
        .unwrap_err()
        .to_string();
        for flag in [
            "repository",
            "data",
            "poll",
            "listen",
            "write",
            "git-author",
            "path",
            "trusted-proxies",
            "tls-cert-file",
            "branch",
            "log-format",
        ] {
            assert!(error.contains(&format!("--{flag}: ")), "{flag} in {error}");
        }
    }

    #[test]
    fn the_file_fills_what_flags_leave_open() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sluice.yaml");
        std::fs::write(&path, "poll: 1m\nlisten: 127.0.0.1:1\napps: [com.example.shop]\n").unwrap();
        let config = check(args(|a| {
            a.config = Some(path.clone());
            a.listen = Some("127.0.0.1:2".into());
        }))
        .unwrap();
        assert_eq!(config.poll, Duration::from_mins(1));
        assert_eq!(config.listen.port(), 2);
        assert!(!config.owner.may_publish(&"org.other.app".parse().unwrap()));

        std::fs::write(&path, "pol: 1m\n").unwrap();
        let error = check(args(|a| a.config = Some(path))).unwrap_err().to_string();
        assert!(error.contains("pol"), "{error}");
    }

    #[test]
    fn freezes_are_read_from_their_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("freezes.yaml");
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            check(args(|a| a.freezes_file = Some(path.to_str().unwrap().to_owned())))
        };
        let winter = "- { name: winter, from: \"2026-12-20T00:00:00Z\", to: \"2027-01-04T00:00:00Z\", reason: Holidays }\n";
        let freezes = read(winter).unwrap().freezes;
        assert_eq!((freezes[0].name.as_str(), freezes[0].reason.as_deref()), ("winter", Some("Holidays")));
        assert!(read("").unwrap().freezes.is_empty());
        for (text, says) in [
            (winter.replace("2027", "2025"), "ends before it begins"),
            (winter.replace("reason", "why"), "why"),
            (winter.replace("from: \"2026-12-20T00:00:00Z\", ", ""), "from"),
        ] {
            let error = read(&text).unwrap_err().to_string();
            assert!(error.contains("--freezes-file: ") && error.contains(says), "{error}");
        }
        let error = check(args(|a| a.freezes_file = Some("/nowhere".into()))).unwrap_err().to_string();
        assert!(error.contains("--freezes-file: "), "{error}");
    }

    #[test]
    fn times_and_addresses_are_refused_with_an_example() {
        for (text, seconds) in
            [("15s", 15), ("1h30m", 5400), ("2d", 172_800), ("2 minutes", 120), ("PT1M", 60)]
        {
            assert_eq!(time(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "soon", "15", "-15s", "1 fortnight"] {
            let error = time(text).unwrap_err();
            assert!(error.contains(&format!("`{text}` is")) && error.contains("for example 15s"), "{error}");
        }
        for canary in
            ["hooks.example.org/canary", "hooks.example.org:443/canary", "ftp://x.example.org/canary"]
        {
            let error = check(args(|a| a.notify_url = Some(canary.into()))).unwrap_err().to_string();
            assert!(error.starts_with("--notify-url: must be") && error.contains("https://"), "{error}");
            assert!(!error.contains("canary"), "{error}");
        }
    }

    #[test]
    fn ssh_needs_known_hosts() {
        let error = check(args(|a| a.repository = Some("git@git.example.org:shop.git".into())))
            .unwrap_err()
            .to_string();
        assert!(error.contains("--git-known-hosts-file"), "{error}");
        assert!(error.contains("--git-ssh-key-file"), "{error}");
    }

    #[test]
    fn secrets_in_urls_are_not_repeated() {
        for text in [
            "https://user:canary@git.example.org/x.git",
            "https://git.example.org/x.git?token=canary",
            "canary:://",
        ] {
            let error = check(args(|a| {
                a.repository = Some(text.into());
                a.public_url = Some(text.into());
                a.download_url = Some(text.into());
            }))
            .unwrap_err()
            .to_string();
            assert!(error.contains("--public-url") && !error.contains("canary"), "{error}");
        }
    }
}

use std::{process::Command, sync::LazyLock};

use secrecy::ExposeSecret;
use sluice_repo::Credentials;

use super::{repository::RepositoryAccess, *};
use crate::github_app::tests::{pkcs1, pkcs8};

/// Part of every value below that must not be seen.
const CANARY: &str = "canary";
const KNOWN_HOSTS: &str = "git.example.org ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIrO\n";

static AUTHORITY: LazyLock<String> =
    LazyLock::new(|| rcgen::generate_simple_self_signed(["git.example.org".to_owned()]).unwrap().cert.pem());

/// A key as `ssh-keygen` writes it.
fn ssh_key(options: &[&str], passphrase: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    let made = Command::new("ssh-keygen")
        .args(["-q", "-N", passphrase, "-f"])
        .arg(&file)
        .args(options)
        .output()
        .expect("ssh-keygen is installed");
    assert!(made.status.success(), "{made:?}");
    std::fs::read_to_string(file).unwrap()
}

static SSH: LazyLock<String> = LazyLock::new(|| ssh_key(&["-t", "ed25519"], ""));

fn loaded(data: &[(&str, &[u8])]) -> Loaded {
    Loaded {
        secret: SecretName { namespace: "shop".into(), name: "git".into() },
        uid: "u".into(),
        version: "1".into(),
        data: Data::new(data.iter().map(|(key, value)| ((*key).to_owned(), value.to_vec()))),
    }
}

fn read(data: &[(&str, &str)]) -> Result<RepositoryAccess, CredentialsError> {
    loaded(&data.iter().map(|(k, v)| (*k, v.as_bytes())).collect::<Vec<_>>()).repository()
}

fn mistakes(data: &[(&str, &str)]) -> Vec<Mistake> {
    match read(data) {
        Err(CredentialsError::Invalid { mistakes, .. }) => mistakes.iter().cloned().collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn user_name_and_password() {
    let access = read(&[("username", "bot"), ("password", "secret\n"), ("identity", "")]).unwrap().access;
    let Credentials::Basic { username, password } = access.credentials else { panic!("not basic") };
    assert_eq!((username.as_str(), password.expose_secret()), ("bot", "secret"));
    for (present, needed) in [("username", "password"), ("password", "username")] {
        assert_eq!(mistakes(&[(present, "x"), (needed, " ")]), [Mistake::Needs { present, needed }]);
    }
}

#[test]
fn a_token_under_either_key() {
    for key in ["bearerToken", "token"] {
        let access = read(&[(key, "secret\r\n"), ("ca.crt", AUTHORITY.as_str())]).unwrap().access;
        let Credentials::Token(token) = access.credentials else { panic!("not a token") };
        assert_eq!(token.expose_secret(), "secret");
        assert_eq!(access.certificates.as_deref(), Some(AUTHORITY.as_str()));
    }
    assert!(read(&[("bearerToken", "same"), ("token", "same\n")]).is_ok());
    assert_eq!(
        mistakes(&[("bearerToken", "one"), ("token", "other")]),
        [Mistake::Disagree("bearerToken", "token")]
    );
    assert_eq!(mistakes(&[("token", "one\ntwo")]), [Mistake::NotOneLine("token")]);
}

#[test]
fn a_key_for_ssh() {
    let access = read(&[
        ("identity", SSH.trim_end()),
        ("identity.pub", "ssh-ed25519 AAAA"),
        ("known_hosts", KNOWN_HOSTS),
    ])
    .unwrap()
    .access;
    let Credentials::SshKey { private, passphrase } = access.credentials else { panic!("not a key") };
    assert_eq!(private.expose_secret(), SSH.as_str(), "the last line break is put back");
    assert!(passphrase.is_none());
    assert_eq!(access.known_hosts.as_deref(), Some(KNOWN_HOSTS));

    let needs = |present, needed| Mistake::Needs { present, needed };
    assert_eq!(mistakes(&[("identity", &SSH)]), [needs("identity", "known_hosts")]);
    assert_eq!(mistakes(&[("known_hosts", KNOWN_HOSTS)]), [needs("known_hosts", "identity")]);
    for wrong in [
        "ssh-ed25519 AAAA bot@example.org",
        "-----BEGIN CERTIFICATE-----\nAA\n-----END CERTIFICATE-----",
        SSH.split("-----END").next().unwrap(),
        "-----BEGIN OPENSSH PRIVATE KEY-----\n????\n-----END OPENSSH PRIVATE KEY-----",
        "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEA\n-----END OPENSSH PRIVATE KEY-----",
    ] {
        assert_eq!(
            mistakes(&[("identity", wrong), ("known_hosts", KNOWN_HOSTS)]),
            [Mistake::NotAPrivateKey("identity")],
            "{wrong}"
        );
    }
}

#[test]
fn an_encrypted_key_needs_its_passphrase() {
    let forms: [&[&str]; 3] =
        [&["-t", "ed25519"], &["-t", "rsa", "-m", "PEM"], &["-t", "rsa", "-m", "PKCS8"]];
    for options in forms {
        let plain = ssh_key(options, "");
        assert!(read(&[("identity", &plain), ("known_hosts", KNOWN_HOSTS)]).is_ok(), "{options:?}");
        let key = ssh_key(options, "passphrase");
        let base = [("identity", key.as_str()), ("known_hosts", KNOWN_HOSTS)];
        assert_eq!(mistakes(&base), [Mistake::Encrypted], "{options:?}");
        let access = read(&[base[0], base[1], ("password", "passphrase\n")]).unwrap().access;
        let Credentials::SshKey { passphrase, .. } = access.credentials else { panic!("not a key") };
        assert_eq!(passphrase.unwrap().expose_secret(), "passphrase");
    }
}

#[test]
fn several_kinds_are_a_mistake() {
    let found =
        mistakes(&[("username", "bot"), ("password", "x"), ("identity", &SSH), ("known_hosts", KNOWN_HOSTS)]);
    assert_eq!(found, [Mistake::SeveralKinds("username and password, an SSH key".into())]);
    let found = mistakes(&[("token", "x"), ("githubAppID", "1")]);
    assert_eq!(found[0], Mistake::SeveralKinds("a token, a GitHub App".into()));
    assert_eq!(found.len(), 3, "the App's other keys are missing too: {found:?}");
}

#[test]
fn a_github_app() {
    for key in [pkcs1(), pkcs8()] {
        let keys =
            [("githubAppID", "12345\n"), ("githubAppInstallationID", "678"), ("githubAppPrivateKey", key)];
        let access = read(&keys).unwrap();
        assert!(matches!(access.access.credentials, Credentials::None));
        let app = access.github_app.unwrap();
        assert_eq!((app.id.as_str(), app.installation), ("12345", 678));
        assert_eq!(app.base.as_str(), "https://api.github.com/");
        let own = [keys[0], keys[1], keys[2], ("githubAppBaseURL", "https://git.example.org/api/v3/")];
        assert_eq!(read(&own).unwrap().github_app.unwrap().base.path(), "/api/v3/");
    }
    let all = mistakes(&[
        ("githubAppID", "12/../3"),
        ("githubAppInstallationID", "../.."),
        ("githubAppPrivateKey", &SSH),
        ("githubAppBaseURL", "http://git.example.org"),
    ]);
    assert_eq!(
        all,
        [
            Mistake::NotAnId("githubAppID"),
            Mistake::NotAnId("githubAppInstallationID"),
            Mistake::NotAnAddress("githubAppBaseURL"),
            Mistake::NotAnRsaKey("githubAppPrivateKey"),
        ]
    );
    for wrong in
        ["https://user:pass@git.example.org", "https://git.example.org?x=y", "file:///etc", "nonsense"]
    {
        let mut keys =
            vec![("githubAppID", "1"), ("githubAppInstallationID", "2"), ("githubAppPrivateKey", pkcs1())];
        keys.push(("githubAppBaseURL", wrong));
        assert_eq!(mistakes(&keys), [Mistake::NotAnAddress("githubAppBaseURL")], "{wrong}");
    }
}

#[test]
fn certificates_alone_are_enough_and_are_looked_at() {
    for key in ["ca.crt", "caFile"] {
        let access = read(&[(key, AUTHORITY.as_str())]).unwrap().access;
        assert_eq!(access.certificates.as_deref(), Some(AUTHORITY.as_str()));
        for wrong in ["nonsense", "-----BEGIN CERTIFICATE-----\n????\n-----END CERTIFICATE-----\n", &SSH] {
            assert_eq!(mistakes(&[(key, wrong)]), [Mistake::NotCertificates(key)], "{wrong}");
        }
    }
}

#[test]
fn keys_that_nobody_knows_are_listed() {
    let found = mistakes(&[("user", "x"), ("pass", "y")]);
    assert_eq!(found, [Mistake::NothingKnown("pass, user".into())]);
    assert_eq!(mistakes(&[("password", "")]), [Mistake::NothingKnown("password".into())]);
    assert_eq!(mistakes(&[]), [Mistake::NothingKnown("it is empty".into())]);
}

#[test]
fn webhook_secrets_are_one_per_line() {
    let lines = loaded(&[("token", b"new\r\n\n  old  \n")]).webhook().unwrap();
    assert_eq!(lines.iter().map(ExposeSecret::expose_secret).collect::<Vec<_>>(), ["new", "old"]);
    for (data, mistake) in [
        (vec![], Mistake::NoWebhookSecret),
        (vec![("token", b"\n \n".as_slice())], Mistake::NoWebhookSecret),
        (vec![("token", b"\xff\xfe".as_slice())], Mistake::NotText("token")),
    ] {
        let Err(CredentialsError::Invalid { mistakes, .. }) = loaded(&data).webhook() else {
            panic!("{data:?}")
        };
        assert_eq!(mistakes.iter().collect::<Vec<_>>(), [&mistake]);
    }
}

#[test]
fn no_value_is_ever_shown() {
    let keys = [
        "username",
        "password",
        "bearerToken",
        "token",
        "identity",
        "known_hosts",
        "ca.crt",
        "caFile",
        "githubAppID",
        "githubAppInstallationID",
        "githubAppPrivateKey",
        "githubAppBaseURL",
    ];
    let values: [&[u8]; 4] = [b"canary", b"canary\nsecond", b"canary \xff", b"https://canary:canary@h"];
    let mut read = 0;
    for value in values {
        // Every pair of keys, so that every mistake of two keys is made.
        for (index, first) in keys.iter().enumerate() {
            for second in &keys[index..] {
                let loaded = loaded(&[(first, value), (second, value)]);
                let shown = match (loaded.repository(), loaded.webhook()) {
                    (Err(error), webhook) => format!("{error} {error:?} {webhook:?} {loaded:?}"),
                    (Ok(access), webhook) => {
                        read += 1;
                        // A user name and the hosts are no secrets.
                        let known = access.access.known_hosts.is_some() || *second == "username";
                        if known || *first == "username" {
                            continue;
                        }
                        format!("{access:?} {webhook:?} {loaded:?}")
                    }
                };
                assert!(!shown.contains(CANARY), "{first} {second}: {shown}");
            }
        }
    }
    assert!(read > 0);
    let (app, key) = (pkcs1(), "githubAppPrivateKey");
    let shown = format!("{:?}", loaded(&[("githubAppID", b"1"), (key, app.as_bytes())]).repository());
    assert!(!shown.contains(app.lines().nth(1).unwrap()));
}

#[test]
fn the_same_version_is_the_same() {
    let first = loaded(&[("token", b"a")]);
    assert_eq!(first, loaded(&[("token", b"b")]), "the version counts, not the data");
    let mut next = first.clone();
    next.version = "2".into();
    assert_ne!(first, next);
    let mut again = first.clone();
    again.uid = "other".into();
    assert_ne!(first, again, "deleted and made again");
    assert_eq!(first.resource_version(), "1");
}

#[test]
fn reasons_are_stable() {
    let secret = SecretName { namespace: "shop".into(), name: "git".into() };
    let invalid = loaded(&[]).repository().unwrap_err();
    let unavailable = CredentialsError::Unavailable { secret: secret.clone(), detail: "x".into() };
    for (error, reason, transient) in [
        (CredentialsError::Missing(secret.clone()), "CredentialsMissing", false),
        (invalid, "CredentialsInvalid", false),
        (CredentialsError::Forbidden(secret), "CredentialsForbidden", false),
        (unavailable, "CredentialsUnavailable", true),
    ] {
        assert_eq!((error.reason(), error.is_transient()), (reason, transient));
        assert!(error.to_string().contains("shop/git"));
    }
}

use sluice_repo::{
    Access, Poll, Reference, RepoError, RepositoryUrl, SettingsError, SourceSettings,
    testing::{Changes, Sshd, Upstream},
};

use crate::{Rig, error, moved};

fn follow(url: RepositoryUrl, access: Access) -> SourceSettings {
    SourceSettings { access, ..SourceSettings::new(url, Reference::branch("main").unwrap()) }
}

#[tokio::test]
async fn ssh_with_a_known_host_and_key() {
    let upstream = Upstream::new();
    let first = upstream.commit(Changes::new().file("a.yaml", "one"));
    let server = Sshd::start(&upstream);
    let rig = Rig::new();
    let source = rig.source(follow(server.url(), server.access()));
    assert_eq!(moved(&source).await, first);
    assert_eq!(source.poll().await, Ok(Poll::Unchanged));
    let second = upstream.commit(Changes::new().file("a.yaml", "two"));
    assert_eq!(source.poll().await, Ok(Poll::Moved { from: Some(first), to: second }));
}

#[tokio::test]
async fn ssh_with_something_wrong() {
    let upstream = Upstream::new();
    upstream.commit(Changes::new().file("a.yaml", "one"));
    let server = Sshd::start(&upstream);
    let rig = Rig::new();

    let host = error(&rig.source(follow(server.url(), server.wrong_host_key()))).await;
    let RepoError::HostKey { fingerprint, key_type, .. } = &host else { panic!("{host:?}") };
    assert_eq!((fingerprint.as_str(), key_type.as_str()), (server.fingerprint().as_str(), "ssh-ed25519"));

    let mut elsewhere = server.access();
    elsewhere.known_hosts = elsewhere.known_hosts.map(|text| text.replace("127.0.0.1", "git.example.org"));
    let unknown = error(&rig.source(follow(server.url(), elsewhere))).await;
    assert!(matches!(unknown, RepoError::HostKey { .. }), "{unknown:?}");

    let key = error(&rig.source(follow(server.url(), server.wrong_key()))).await;
    assert!(matches!(key, RepoError::Auth { .. }), "{key:?}");

    let missing = error(&rig.source(follow(server.missing_url(), server.access()))).await;
    assert!(matches!(missing, RepoError::NotFound { .. }), "{missing:?}");

    let without = Access { known_hosts: None, ..server.access() };
    assert_eq!(
        rig.mirrors.source(follow(server.url(), without)).unwrap_err(),
        SettingsError::KnownHostsMissing
    );
}

#[tokio::test]
async fn a_rotated_host_key_may_be_listed_beside_the_old_one() {
    let upstream = Upstream::new();
    let first = upstream.commit(Changes::new().file("a.yaml", "one"));
    let server = Sshd::start(&upstream);
    let rig = Rig::new();
    let mut access = server.access();
    let both = format!("{}{}", server.wrong_host_key().known_hosts.unwrap(), access.known_hosts.unwrap());
    access.known_hosts = Some(both);
    assert_eq!(moved(&rig.source(follow(server.url(), access))).await, first);
}

use std::time::Duration;

use sluice_repo::{
    Access, Credentials, Poll, Reference, RepoError, SourceSettings,
    testing::{Behaviour, Changes, SmartHttp, Upstream},
};

use crate::{Rig, error, moved};

const PASSWORD: &str = "canary-password";

fn follow(server: &SmartHttp) -> SourceSettings {
    SourceSettings::new(server.url(), Reference::branch("main").unwrap())
}

fn with_password(settings: SourceSettings, password: &str) -> SourceSettings {
    let credentials = Credentials::Basic { username: "ada".to_owned(), password: password.into() };
    SourceSettings { access: Access { credentials, ..Access::default() }, ..settings }
}

#[tokio::test]
async fn an_idle_poll_is_one_look_and_nothing_else() {
    let upstream = Upstream::new();
    let first = upstream.commit(Changes::new().file("a.yaml", "one"));
    let server = SmartHttp::start(&upstream);
    let rig = Rig::new();
    let source = rig.source(follow(&server));
    assert_eq!(moved(&source).await, first);
    let fetch: Vec<_> = server.seen().into_iter().map(|seen| seen.method).collect();
    assert_eq!(fetch, ["GET", "POST"], "one connection lists and fetches");
    assert_eq!(source.poll().await, Ok(Poll::Unchanged));
    let idle = server.seen();
    assert_eq!(idle.len(), 1, "{idle:?}");
    assert!(idle[0].path.ends_with("/info/refs?service=git-upload-pack"));
    let second = upstream.commit(Changes::new().file("a.yaml", "two"));
    assert_eq!(source.poll().await, Ok(Poll::Moved { from: Some(first), to: second }));
}

#[tokio::test]
async fn passwords_and_tokens() {
    let upstream = Upstream::new();
    let first = upstream.commit(Changes::new().file("a.yaml", "one"));
    let server = SmartHttp::with_account(&upstream, "ada", PASSWORD);
    let rig = Rig::new();
    assert_eq!(moved(&rig.source(with_password(follow(&server), PASSWORD))).await, first);
    let wrong = error(&rig.source(with_password(follow(&server), "canary-wrong"))).await;
    assert!(matches!(wrong, RepoError::Auth { .. }), "{wrong:?}");
    assert!(!format!("{wrong} {wrong:?}").contains("canary"));
    server.seen();
    let none = error(&rig.source(follow(&server))).await;
    assert!(matches!(none, RepoError::Auth { .. }), "{none:?}");
    assert!(server.seen().iter().all(|seen| seen.authorization.is_none()));

    let server = SmartHttp::with_account(&upstream, "x-access-token", "canary-token");
    let credentials = Credentials::Token("canary-token\n".into());
    let settings = SourceSettings { access: Access { credentials, ..Access::default() }, ..follow(&server) };
    assert_eq!(moved(&rig.source(settings)).await, first);
}

#[tokio::test]
async fn a_refusal_is_not_asked_again_and_again() {
    let upstream = Upstream::new();
    upstream.commit(Changes::new().file("a.yaml", "one"));
    let server = SmartHttp::with_account(&upstream, "ada", PASSWORD);
    let rig = Rig::new();
    error(&rig.source(with_password(follow(&server), "wrong"))).await;
    assert!(server.seen().len() <= 2);
}

#[tokio::test]
async fn a_redirect_to_another_server_gets_nothing() {
    let upstream = Upstream::new();
    upstream.commit(Changes::new().file("a.yaml", "one"));
    let trap = SmartHttp::with_account(&upstream, "ada", PASSWORD);
    let server = SmartHttp::start(&upstream);
    let rig = Rig::new();
    // Another port of the same host name is another server as well, and so is another name of the same machine.
    for base in [trap.base(), trap.base().replace("127.0.0.1", "localhost")] {
        server.behave(Behaviour::Redirect(base));
        let found = error(&rig.source(with_password(follow(&server), PASSWORD))).await;
        assert!(matches!(found, RepoError::Redirect { .. } | RepoError::Auth { .. }), "{found:?}");
        assert!(trap.seen().iter().all(|seen| seen.authorization.is_none()));
    }
}

#[tokio::test]
async fn a_hang_ends_at_the_deadline_while_others_go_on() {
    let upstream = Upstream::new();
    let first = upstream.commit(Changes::new().file("a.yaml", "one"));
    let (hanging, healthy) = (SmartHttp::start(&upstream), SmartHttp::start(&upstream));
    hanging.behave(Behaviour::Hang);
    let rig = Rig::new();
    let stuck =
        rig.mirrors.source(SourceSettings { deadline: Duration::from_secs(2), ..follow(&hanging) }).unwrap();
    let other = rig.source(follow(&healthy));
    let task = tokio::spawn(async move {
        let outcome = stuck.poll().await;
        (stuck, outcome)
    });
    let waiting = tokio::task::spawn_blocking(move || {
        hanging.wait_for("info/refs");
        hanging
    });
    let hanging = waiting.await.unwrap();
    assert_eq!(moved(&other).await, first);
    assert!(!task.is_finished(), "the other one answered while this one hung");
    let (stuck, outcome) = task.await.unwrap();
    assert!(matches!(outcome, Err(RepoError::Timeout { seconds: 2, .. })), "{outcome:?}");
    hanging.behave(Behaviour::Normal);
    assert_eq!(moved(&stuck).await, first, "a new worker does the next one");
}

#[tokio::test]
async fn a_slow_drip_ends_at_the_deadline() {
    let upstream = Upstream::new();
    upstream.commit(Changes::new().file("a.yaml", "one"));
    let server = SmartHttp::start(&upstream);
    server.behave(Behaviour::Drip(Duration::from_millis(300)));
    let rig = Rig::new();
    let source =
        rig.mirrors.source(SourceSettings { deadline: Duration::from_secs(1), ..follow(&server) }).unwrap();
    let found = error(&source).await;
    assert!(matches!(found, RepoError::Timeout { .. }), "{found:?}");
}

#[tokio::test]
async fn servers_that_are_not_well_are_told_apart() {
    let upstream = Upstream::new();
    let first = upstream.commit(Changes::new().file("a.yaml", "one"));
    let server = SmartHttp::start(&upstream);
    let rig = Rig::new();
    let source = rig.source(follow(&server));
    for (behaviour, reason) in [
        (Behaviour::Status(500), "ServerError"),
        (Behaviour::Status(429), "ServerError"),
        (Behaviour::Status(403), "AuthenticationFailed"),
        (Behaviour::Status(404), "RepositoryNotFound"),
        (Behaviour::Html, "ServerError"),
    ] {
        server.behave(behaviour.clone());
        let found = error(&source).await;
        assert_eq!(found.reason(), reason, "{behaviour:?}: {found:?}");
    }
    server.behave(Behaviour::Cut);
    let cut = error(&source).await;
    assert!(cut.is_transient(), "{cut:?}");
    server.behave(Behaviour::Normal);
    assert_eq!(moved(&source).await, first);
    let url = server.url();
    drop(server);
    let gone = error(&rig.source(SourceSettings::new(url, Reference::branch("main").unwrap()))).await;
    assert!(matches!(gone, RepoError::Network { .. }), "{gone:?}");
}

#[tokio::test]
async fn the_size_of_a_fetch_is_bounded() {
    let upstream = Upstream::new();
    // Bytes that do not compress.
    let mut state = 1_u32;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    })
    .take(1 << 20)
    .collect();
    let first = upstream.commit(Changes::new().file("big", noise));
    let server = SmartHttp::start(&upstream);
    let rig = Rig::new();
    let found = error(&rig.source(SourceSettings { limit: 100_000, ..follow(&server) })).await;
    assert!(matches!(found, RepoError::TooLarge { limit: 100_000, .. }), "{found:?}");
    assert_eq!(moved(&rig.source(follow(&server))).await, first);
}

#[tokio::test]
async fn the_git_configuration_of_the_machine_is_ignored() {
    let upstream = Upstream::new();
    let decoy = Upstream::new();
    let first = upstream.commit(Changes::new().file("a.yaml", "wanted"));
    decoy.commit(Changes::new().file("a.yaml", "decoy"));
    let (server, other) = (SmartHttp::start(&upstream), SmartHttp::start(&decoy));
    let rig = Rig::new();
    let source = rig.source(follow(&server));
    // The folder that stands in for the home folder is the only one that libgit2 could take it from.
    let home = source.path().with_extension("home");
    std::fs::create_dir_all(&home).unwrap();
    let config = format!("[url \"{}/\"]\n\tinsteadOf = {}/\n", other.base(), server.base());
    std::fs::write(home.join(".gitconfig"), config).unwrap();
    assert_eq!(moved(&source).await, first);
    assert!(other.seen().is_empty());
}

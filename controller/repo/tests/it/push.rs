//! One commit onto one branch, against servers that refuse, race, hang and hang up.

use std::time::Duration;

use sluice_repo::{
    CommitId, Committer, Content, Draft, Edit, Identity, InvalidSigningKey, Push, Pushed, Reference, Refusal,
    RepoError, SigningKey, Source, SourceSettings,
    testing::{Behaviour, Changes, SmartHttp, Upstream},
};

use crate::{Rig, moved};

struct World {
    upstream: Upstream,
    server: SmartHttp,
    source: Source,
    base: CommitId,
    rig: Rig,
}

impl World {
    /// A source over HTTP that has seen the first commit of a repository which takes pushes.
    async fn new() -> Self {
        let upstream = Upstream::new();
        upstream.take_pushes();
        let base = upstream.commit(Changes::new().file("a.yaml", "one\n").file("b/c.yaml", "two\n"));
        let server = SmartHttp::start(&upstream);
        let rig = Rig::new();
        let settings = SourceSettings::new(server.url(), Reference::branch("main").unwrap());
        let source = rig.source(settings);
        assert_eq!(moved(&source).await, base);
        Self { upstream, server, source, base, rig }
    }

    fn draft(&self, parent: CommitId) -> Draft {
        let edit = Edit { path: "b/c.yaml".into(), content: Content::Written(b"three\n".to_vec()) };
        let identity = Identity { name: "Sluice".into(), email: "sluice@example.org".into() };
        let who = Committer { identity, key: None };
        let reader = self.source.mirror().open().unwrap();
        reader.draft(parent, &[edit], &who, 1_790_000_500, "Change b\n").unwrap()
    }

    fn push(&self) -> Push {
        Push { branch: "main".into(), expected: Some(self.base), draft: self.draft(self.base) }
    }

    fn tip(&self) -> CommitId {
        self.upstream.tip("main").unwrap()
    }
}

#[tokio::test]
async fn a_draft_is_the_same_every_time_and_lands_once() {
    let world = World::new().await;
    let push = world.push();
    assert_eq!(push, world.push());
    assert_eq!(world.source.push(push.clone()).await, Pushed::Landed);
    assert_eq!(world.tip(), push.draft.id);
    let again = world.source.push(push.clone()).await;
    assert!(matches!(again, Pushed::Refused(Refusal::Raced, _)), "{again:?}");
    assert_eq!(moved(&world.source).await, push.draft.id);
    let reader = world.source.mirror().open().unwrap();
    assert_eq!(reader.commit(push.draft.id).unwrap().message, "Change b\n");
    let changed = reader.find(push.draft.id, "b/c.yaml").unwrap().unwrap();
    assert_eq!(reader.read(changed.oid, 100).unwrap(), b"three\n");
    let mut fsck = std::process::Command::new("git");
    let checked = fsck.args(["fsck", "--strict"]).current_dir(world.upstream.path()).output().unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}

/// By the real `git verify-commit`, and the same object every time.
#[tokio::test]
async fn a_signed_commit_is_good_for_git() {
    let world = World::new().await;
    let folder = world.rig.path();
    let run = |program: &str, arguments: &[&str]| {
        let output =
            std::process::Command::new(program).args(arguments).current_dir(folder).output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    assert!(run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-C", "", "-f", "key"]).0);
    assert!(run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "words", "-f", "locked"]).0);
    assert!(run("ssh-keygen", &["-q", "-t", "ecdsa", "-N", "", "-f", "other"]).0);
    let read = |name: &str, passphrase: Option<&str>| {
        let text = std::fs::read_to_string(folder.join(name)).unwrap();
        SigningKey::read(&text.into(), passphrase.map(Into::into).as_ref())
    };
    assert_eq!(read("key.pub", None).unwrap_err(), InvalidSigningKey::NoKey);
    assert_eq!(read("locked", Some("word")).unwrap_err(), InvalidSigningKey::Passphrase);
    assert_eq!(read("other", None).unwrap_err(), InvalidSigningKey::Kind);
    assert!(read("locked", Some("words")).is_ok());
    let key = read("key", None).unwrap();
    let signers = format!("sluice@example.org namespaces=\"git\" {}\n", key.public());
    std::fs::write(folder.join("signers"), signers).unwrap();

    let edit = Edit { path: "a.yaml".into(), content: Content::Written(b"two\n".to_vec()) };
    let identity = Identity { name: "Sluice".into(), email: "sluice@example.org".into() };
    let who = Committer { identity, key: Some(key) };
    let reader = world.source.mirror().open().unwrap();
    let draft =
        || reader.draft(world.base, std::slice::from_ref(&edit), &who, 1_790_000_500, "Sign\n").unwrap();
    assert_eq!(draft(), draft());
    let push = Push { branch: "main".into(), expected: Some(world.base), draft: draft() };
    assert_eq!(world.source.push(push).await, Pushed::Landed);
    let (path, signers) = (world.upstream.path(), folder.join("signers"));
    let allowed = format!("gpg.ssh.allowedSignersFile={}", signers.display());
    let git = path.to_str().unwrap();
    let (good, told) = run("git", &["-C", git, "-c", &allowed, "verify-commit", "main"]);
    assert!(good && told.contains("Good \"git\" signature for sluice@example.org"), "{told}");
}

#[tokio::test]
async fn a_branch_that_moved_is_left_alone() {
    let world = World::new().await;
    let theirs = world.upstream.commit(Changes::new().file("a.yaml", "theirs\n"));
    let pushed = world.source.push(world.push()).await;
    assert!(matches!(pushed, Pushed::Refused(Refusal::Raced, _)), "{pushed:?}");
    assert_eq!(world.tip(), theirs);
}

/// Without a guard of its own a push restores what somebody took away on purpose.
#[tokio::test]
async fn a_branch_that_was_rewound_or_deleted_stays_so() {
    let world = World::new().await;
    let second = world.upstream.commit(Changes::new().file("a.yaml", "two\n"));
    assert_eq!(moved(&world.source).await, second);
    let push = Push { branch: "main".into(), expected: Some(second), draft: world.draft(second) };
    world.upstream.reset("main", world.base);
    let pushed = world.source.push(push.clone()).await;
    assert!(matches!(pushed, Pushed::Refused(Refusal::Raced, _)), "{pushed:?}");
    assert_eq!(world.tip(), world.base);
    world.upstream.delete_branch("main");
    let pushed = world.source.push(push).await;
    assert!(matches!(pushed, Pushed::Refused(Refusal::Raced, _)), "{pushed:?}");
    assert_eq!(world.upstream.tip("main"), None);
}

#[tokio::test]
async fn a_new_branch_is_made_only_where_there_is_none() {
    let world = World::new().await;
    let push =
        Push { branch: "rollback/production/1".into(), expected: None, draft: world.draft(world.base) };
    assert_eq!(world.source.push(push.clone()).await, Pushed::Landed);
    assert_eq!((world.upstream.tip(&push.branch), world.tip()), (Some(push.draft.id), world.base));
    world.upstream.reset(&push.branch, world.base);
    let pushed = world.source.push(push.clone()).await;
    assert!(matches!(pushed, Pushed::Refused(Refusal::Raced, _)), "{pushed:?}");
    assert_eq!(world.upstream.tip(&push.branch), Some(world.base), "an ancestor is not moved");
}

#[tokio::test]
async fn a_hook_that_declines() {
    let world = World::new().await;
    world.upstream.pre_receive("echo 'changes come by pull request'; exit 1");
    let pushed = world.source.push(world.push()).await;
    let Pushed::Refused(Refusal::Protected, detail) = pushed else { panic!("{pushed:?}") };
    assert!(detail.contains("hook declined") && detail.contains("pull request"), "{detail}");
    assert_eq!(world.tip(), world.base);
}

#[tokio::test]
async fn before_anything_is_sent_nothing_can_have_landed() {
    let world = World::new().await;
    for (status, auth) in [(401, true), (403, true), (503, false)] {
        world.server.behave(Behaviour::Status(status));
        match world.source.push(world.push()).await {
            Pushed::NotSent(RepoError::Auth { .. }) if auth => {}
            Pushed::NotSent(RepoError::Server { .. }) if !auth => {}
            other => panic!("{status}: {other:?}"),
        }
    }
    assert_eq!(world.tip(), world.base);
}

#[tokio::test]
async fn an_answer_that_does_not_come_says_nothing() {
    let world = World::new().await;
    world.server.behave(Behaviour::DropAnswers);
    let push = world.push();
    let pushed = world.source.push(push.clone()).await;
    assert!(matches!(pushed, Pushed::Unknown(_)), "{pushed:?}");
    world.server.behave(Behaviour::Normal);
    assert_eq!(moved(&world.source).await, push.draft.id, "it had landed");
}

#[tokio::test]
async fn a_server_that_hangs_is_left_and_may_have_taken_it() {
    let mut world = World::new().await;
    world.server.behave(Behaviour::HangInPack);
    let settings = SourceSettings { deadline: Duration::from_secs(3), ..world.source.settings().clone() };
    world.source = world.rig.mirrors.source(settings).unwrap();
    let push = world.push();
    let pushed = world.source.push(push.clone()).await;
    assert!(matches!(pushed, Pushed::Unknown(_)), "{pushed:?}");
    assert_eq!(world.tip(), push.draft.id);
    world.server.behave(Behaviour::Normal);
    assert_eq!(moved(&world.source).await, push.draft.id, "the next worker goes on");
}

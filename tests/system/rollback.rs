//! Taking a channel back: devices at once, and Git by one commit.

use std::process::Command;

use axum::http::Method;
use serde_json::{Value, json};
use sluice_repo::testing::{Changes, SmartHttp};
use sluice_test_parts::Gitea;

use crate::support::{Seeded, Server, World, channel, eventually, phone, tool, with_version};

/// Runs Git in the repository that is followed.
fn git(world: &World, arguments: &[&str]) -> String {
    tool(Command::new("git").args(arguments).current_dir(world.upstream.path())).trim().to_owned()
}

fn rollback(server: &Server) -> Value {
    server.status()["rollbacks"][0].clone()
}

fn await_phase(server: &Server, phase: &str) -> Value {
    server.eventually(&format!("the rollback is {phase}"), |server| {
        Some(rollback(server)).filter(|rollback| rollback["phase"] == phase)
    })
}

/// 1.1.0 is served, and then a commit brings 1.2.0, with all that belongs to it and `more`.
fn shop(world: &World, more: Changes) -> String {
    let production = |version: &str| {
        let text = channel("production", version, "  public: true\n  rollout: { strategy: Immediate }\n");
        format!("# Who buys.\n{}", text.replace(version, &format!("{version} # as Rosa said")))
    };
    let first = with_version(Changes::new(), "1.1.0");
    world
        .commit(first.file("channels/production.yaml", production("1.1.0")).file("README.md", "The shop.\n"));
    let server = world.serve();
    phone(1).awaits(&server, "1.1.0");
    server.stop();
    let second = with_version(more, "1.2.0").file("channels/production.yaml", production("1.2.0"));
    world.commit(second.message("Release 1.2.0"))
}

#[test]
fn a_person_takes_a_release_back_by_one_commit() {
    let world = World::empty();
    let bad = shop(&world, Changes::new());
    let server = world.serve();
    phone(1).awaits(&server, "1.2.0");
    let ran =
        server.ask("rollback", &["production", "--reason", "the basket is empty", "--by", "rosa"]).exits(0);
    assert!(ran.out.contains("1.2.0 is stopped on channel production"), "{ran:?}");
    // Before anything of Git.
    assert_ne!(phone(2).asks(&server)["version"], "1.2.0");
    let done = await_phase(&server, "Complete");
    let id = done["id"].as_str().unwrap();
    assert_eq!(git(&world, &["rev-parse", "main^"]), bad);
    assert_eq!(git(&world, &["rev-parse", "main^{tree}"]), git(&world, &["rev-parse", "main^^^{tree}"]));
    let message = git(&world, &["log", "-1", "--format=%B", "main"]);
    assert!(message.starts_with("Roll back production to 1.1.0: the basket is empty\n"), "{message}");
    assert!(message.contains(&format!("This reverts commit {bad}.")), "{message}");
    let trailers = git(&world, &["log", "-1", "--format=%(trailers:only)", "main"]);
    for trailer in [
        &format!("Rollback-Id: {id}"),
        &format!("Reverts: {bad}"),
        "Channel: com.example.shop/production",
        "Release: 1.2.0",
        "Restores: 1.1.0",
        "Rollback-Mode: Revert",
        "Reason: Requested",
        "Requested-By: rosa",
    ] {
        assert!(trailers.lines().any(|line| line == trailer), "{trailer} in {trailers}");
    }
    let fresh = phone(3);
    fresh.awaits(&server, "1.1.0");
    assert_eq!(phone(4).with("version_name", "1.2.0").asks(&server)["version"], "1.1.0");
    let shown = server.ask("status", &[]).exits(0).out;
    assert!(shown.contains("Rollbacks:") && shown.contains("Complete"), "{shown}");
    // What was taken back and is brought again stays held, and nothing is taken back twice.
    git(&world, &["update-ref", "refs/heads/main", &bad]);
    let again = world.commit(Changes::new().file("README.md", "Again.\n"));
    server.await_commit(&again);
    assert_ne!(fresh.asks(&server)["version"], "1.2.0");
    assert_eq!(world.upstream.tip("main").unwrap().to_string(), again);
}

/// A commit that did more than release: the reference goes back, and the rest of it stays.
#[test]
fn what_else_a_commit_changed_stays() {
    let world = World::empty();
    shop(&world, Changes::new().file("README.md", "The better shop.\n"));
    let server = world.serve();
    phone(1).awaits(&server, "1.2.0");
    server.ask("rollback", &["production", "--reason", "no"]).exits(0);
    await_phase(&server, "Complete");
    let changed = git(&world, &["diff", "--stat=200", "main^", "main"]);
    assert!(changed.contains("channels/production.yaml") && changed.contains("1 file changed"), "{changed}");
    let file = git(&world, &["show", "main:channels/production.yaml"]);
    assert!(
        file.starts_with("# Who buys.\n") && file.contains("  release: 1.1.0 # as Rosa said\n"),
        "{file}"
    );
    assert!(git(&world, &["log", "-1", "--format=%B", "main"]).contains("Rollback-Mode: Restore"));
    phone(2).awaits(&server, "1.1.0");
}

/// A branch that takes changes by pull request only: a branch of its own waits, and merging it ends the rollback.
#[test]
fn a_protected_branch_gets_a_proposal() {
    let world = World::empty();
    let bad = shop(&world, Changes::new());
    world.upstream.take_pushes();
    world.upstream.pre_receive(
        "while read old new ref; do [ $ref = refs/heads/main ] && { echo 'protected branch'; exit 1; }; done; exit 0",
    );
    let http = SmartHttp::start(&world.upstream);
    let server = world.serve_from(&http.url().to_string(), &[]);
    phone(1).awaits(&server, "1.2.0");
    server.ask("rollback", &["production", "--reason", "no"]).exits(0);
    let open = await_phase(&server, "ProposalOpen");
    let branch = open["proposal"].as_str().unwrap();
    assert_eq!(branch, format!("rollback/production/{}", open["id"].as_str().unwrap()));
    assert_eq!(world.upstream.tip("main").unwrap().to_string(), bad);
    assert_ne!(phone(2).asks(&server)["version"], "1.2.0");
    // Squashed: the commit that lands is another one.
    let tree = git(&world, &["rev-parse", &format!("{branch}^{{tree}}")]);
    let squashed = git(
        &world,
        &[
            "-c",
            "user.name=a",
            "-c",
            "user.email=a@b",
            "commit-tree",
            &tree,
            "-p",
            &bad,
            "-m",
            "Go back (#7)",
        ],
    );
    git(&world, &["update-ref", "refs/heads/main", &squashed]);
    await_phase(&server, "Complete");
    assert_eq!(world.upstream.tip("main").unwrap().to_string(), squashed);
}

/// At a real Git host, whose branch takes no pushes.
struct Hosted {
    world: World,
    gitea: &'static Gitea,
    repository: String,
    server: Server,
}

impl Hosted {
    /// 1.2.0 is served and taken back: a pull request waits.
    async fn rolled_back() -> (Self, Value) {
        let (world, gitea) = (World::empty(), Gitea::shared().await);
        shop(&world, Changes::new());
        let repository = gitea.repository().await;
        git(&world, &["push", "-q", "--force", &gitea.with_credentials(&repository), "main:main"]);
        gitea.protect(&repository, "main").await;
        let token = world.file("token");
        std::fs::write(&token, gitea.token()).unwrap();
        let token = token.to_str().unwrap();
        let way = ["--git-username", "sluice", "--git-password-file", token, "--forge", "gitea"];
        let server = world.serve_from(&repository, &way);
        phone(1).awaits(&server, "1.2.0");
        server.ask("rollback", &["production", "--reason", "the basket is empty"]).exits(0);
        let open = await_phase(&server, "ProposalOpen");
        (Self { world, gitea, repository, server }, open)
    }

    async fn api(&self, method: Method, path: &str, body: Value) -> Value {
        self.gitea.of(method, &self.repository, path, &body).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_is_asked_for_a_pull_request_and_merging_it_ends_the_rollback() {
    let (hosted, open) = Hosted::rolled_back().await;
    let number = open["pullRequest"]["number"].as_u64().unwrap();
    let pull = hosted.api(Method::GET, &format!("pulls/{number}"), Value::Null).await;
    assert_eq!(pull["title"], "Roll back production to 1.1.0: the basket is empty");
    let body = pull["body"].as_str().unwrap();
    assert!(body.contains("```text\nthe basket is empty\n```") && body.contains("allowHeld: ["), "{body}");
    assert_eq!(pull["head"]["ref"], open["proposal"]);
    assert_eq!(hosted.api(Method::GET, "pulls?state=all", Value::Null).await.as_array().unwrap().len(), 1);
    // The host says for a moment that it does not know yet whether it can be merged.
    let merge = format!("pulls/{number}/merge");
    hosted.api(Method::POST, &merge, json!({ "Do": "squash", "force_merge": true })).await;
    await_phase(&hosted.server, "Complete");
    phone(2).awaits(&hosted.server, "1.1.0");
    drop(hosted.world);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_request_that_is_closed_is_declined_and_stays_so() {
    let (hosted, open) = Hosted::rolled_back().await;
    let number = open["pullRequest"]["number"].as_u64().unwrap();
    hosted.api(Method::PATCH, &format!("pulls/{number}"), json!({ "state": "closed" })).await;
    await_phase(&hosted.server, "Declined");
    assert_ne!(phone(2).asks(&hosted.server)["version"], "1.2.0", "it stays braked");
    assert_eq!(hosted.api(Method::GET, "pulls?state=all", Value::Null).await.as_array().unwrap().len(), 1);
    drop(hosted.world);
}

#[test]
fn somebody_who_mends_it_meanwhile_wins() {
    let world = World::empty();
    shop(&world, Changes::new());
    let server = world.serve_with(&["--write", "off"]);
    phone(1).awaits(&server, "1.2.0");
    server.ask("rollback", &["production", "--reason", "no"]).exits(0);
    server.eventually("it waits", |server| {
        (rollback(server)["stall"]["reason"] == "WriteBackUnavailable").then_some(())
    });
    server.stop();
    let mended = with_version(Changes::new(), "1.2.1").file(
        "channels/production.yaml",
        channel("production", "1.2.1", "  public: true\n  rollout: { strategy: Immediate }\n"),
    );
    let tip = world.commit(mended);
    let server = world.serve();
    await_phase(&server, "Superseded");
    phone(2).awaits(&server, "1.2.1");
    assert_eq!(world.upstream.tip("main").unwrap().to_string(), tip);
}

/// Somebody lifts the hold before Git could be told: what they say counts.
#[test]
fn a_hold_that_is_lifted_meanwhile_is_not_reverted() {
    let world = World::empty();
    shop(&world, Changes::new());
    let server = world.serve_with(&["--write", "off"]);
    phone(1).awaits(&server, "1.2.0");
    server.ask("rollback", &["production", "--reason", "no"]).exits(0);
    let id = server.eventually("it waits", |server| {
        let waits = rollback(server);
        (waits["stall"]["reason"] == "WriteBackUnavailable").then(|| waits["id"].as_str().unwrap().to_owned())
    });
    server.stop();
    let more = format!("  public: true\n  rollout: {{ strategy: Immediate }}\n  allowHeld: [{id}]\n");
    let tip =
        world.commit(Changes::new().file("channels/production.yaml", channel("production", "1.2.0", &more)));
    let server = world.serve();
    await_phase(&server, "Superseded");
    phone(2).awaits(&server, "1.2.0");
    assert_eq!(world.upstream.tip("main").unwrap().to_string(), tip);
    // It goes back once.
    let again = server.ask("rollback", &["production", "--reason", "no", "--release", "1.2.0"]).exits(0);
    assert!(!again.out.contains(&id), "another brake, with another id: {again:?}");
}

/// Killed at any moment, again and again: one commit, and it ends.
#[test]
fn a_kill_at_any_moment_leaves_one_commit() {
    let world = World::empty();
    let bad = shop(&world, Changes::new());
    let server = world.serve();
    phone(1).awaits(&server, "1.2.0");
    server.ask("rollback", &["production", "--reason", "no"]).exits(0);
    server.kill();
    let mut random = Seeded(7);
    for _ in 0..8 {
        let server = world.serve();
        let limit = std::time::Duration::from_millis(random.below(400).into());
        let since = std::time::Instant::now();
        eventually("its time is over", || (since.elapsed() >= limit).then_some(()));
        server.kill();
    }
    let server = world.serve();
    await_phase(&server, "Complete");
    assert_eq!(git(&world, &["rev-parse", "main^"]), bad, "one commit");
    phone(2).awaits(&server, "1.1.0");
}

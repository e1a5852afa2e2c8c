//! Whatever becomes of the Git host or the branch: what was served stays served, and the status says why nothing new is.

use serde_json::Value;
use sluice_repo::testing::{Behaviour, Changes, SmartHttp};

use crate::support::{Server, World, channel, index, phone, release, shop};

/// The production channel on this release.
fn production(release: &str) -> Changes {
    Changes::new().file("channels/production.yaml", channel("production", release, "  public: true\n"))
}

/// Waits until the repository is not ready for one of these reasons, and returns the sentence.
fn await_one_of(server: &Server, reasons: &[&str]) -> String {
    let status = server.await_status(&format!("the repository says one of {reasons:?}"), |status| {
        let ready = &status["repositories"][0]["conditions"][0];
        ready["status"] == false && reasons.contains(&ready["reason"].as_str().unwrap())
    });
    status["repositories"][0]["conditions"][0]["message"].as_str().unwrap().to_owned()
}

#[test]
fn a_host_that_is_down_or_odd_changes_nothing() {
    let world = World::shop();
    let host = SmartHttp::start(&world.upstream);
    let server = world.serve_from(&host.url().to_string(), &[]);
    let mut before = phone(1).awaits(&server, "1.1.0");
    let mut now = "1.1.0";
    for (behaviour, reasons) in [
        (Behaviour::Status(500), &["ServerError"][..]),
        (Behaviour::Status(503), &["ServerError"]),
        (Behaviour::Status(401), &["AuthenticationFailed"]),
        (Behaviour::Status(403), &["AuthenticationFailed"]),
        (Behaviour::Status(404), &["RepositoryNotFound"]),
        (Behaviour::Html, &["ServerError"]),
        (Behaviour::Cut, &["ServerError", "Unreachable"]),
        (Behaviour::Redirect("http://localhost:1".to_owned()), &["Redirected"]),
    ] {
        host.behave(behaviour.clone());
        let message = await_one_of(&server, reasons);
        assert!(message.contains("127.0.0.1"), "{behaviour:?}: {message}");
        // Pushed while nobody can see it.
        let next = if now == "1.1.0" { "1.2.0" } else { "1.1.0" };
        let commit = world.commit(production(next));
        assert_eq!(phone(1).asks(&server), before, "{behaviour:?}");
        phone(1).downloads(&server, now);
        host.behave(Behaviour::Normal);
        server.await_commit(&commit);
        server.await_reason("Applied");
        before = phone(1).awaits(&server, next);
        now = next;
    }

    // A host that takes requests and never answers holds up nothing but the news.
    host.seen();
    host.behave(Behaviour::Hang);
    host.wait_for("info/refs");
    assert_eq!(phone(1).asks(&server), before);
    phone(1).downloads(&server, now);
    drop(host);
    let message = await_one_of(&server, &["Unreachable", "ServerError"]);
    assert!(message.contains("127.0.0.1"), "{message}");
    assert_eq!(phone(1).asks(&server), before);
}

#[test]
fn a_branch_that_is_deleted_and_comes_back() {
    let world = World::shop();
    let commit = world.upstream.commit(Changes::new().message("Nothing new"));
    let server = world.serve();
    let before = phone(1).awaits(&server, "1.1.0");
    server.await_reason("Applied");
    world.upstream.delete_branch("main");
    let message = server.await_reason("ReferenceMissing");
    assert!(message.contains("main"), "{message}");
    assert_eq!(phone(1).asks(&server), before);
    phone(1).downloads(&server, "1.1.0");

    world.upstream.reset("main", commit);
    server.await_reason("Applied");
    world.commit(production("1.2.0"));
    phone(1).awaits(&server, "1.2.0");
}

/// Release 1.2.0 and production on it, and nothing of 1.1.0.
fn second_alone() -> Changes {
    production("1.2.0")
        .file("bundles/1.2.0/index.html", index("1.2.0"))
        .file("bundles/1.2.0/assets/app.js", "console.log('1.2.0')")
        .file("releases/1.2.0.yaml", release("1.2.0", "../bundles/1.2.0"))
}

#[test]
fn history_that_is_rewritten_removes_nothing() {
    let world = World::shop();
    let server = world.serve();
    phone(1).awaits(&server, "1.1.0");
    server.await_reason("Applied");
    // A history of its own, without release 1.1.0.
    let rewritten = world.upstream.rewrite("main", None, second_alone()).to_string();
    let message = server.await_reason("HistoryRewritten");
    assert!(message.contains(&rewritten), "{message}");
    phone(1).awaits(&server, "1.2.0");
    let versions = |status: &Value| {
        let releases = status["releases"].as_array().unwrap();
        releases.iter().map(|r| r["version"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(versions(&server.status()), ["1.2.0", "1.1.0"]);

    // Also when it happens while nobody looks.
    server.stop();
    let again = world.upstream.rewrite("main", None, second_alone().message("Once more")).to_string();
    let server = world.serve();
    let message = server.await_reason("HistoryRewritten");
    assert!(message.contains(&again), "{message}");
    phone(1).downloads(&server, "1.2.0");

    // The next commit on top is an ordinary one, and says what is meant.
    let commit = world.commit(Changes::new().message("This is how it is now"));
    let status = server.await_commit(&commit);
    server.await_reason("Applied");
    assert_eq!(versions(&status), ["1.2.0"]);
    phone(1).downloads(&server, "1.2.0");
}

#[test]
fn an_empty_repository_is_waited_for() {
    let world = World::empty();
    let server = world.serve();
    let message = server.await_reason("ReferenceMissing");
    assert!(message.contains("empty"), "{message}");
    assert_eq!(phone(1).asks(&server)["error"], "no_channel");
    assert_eq!(server.admin("/readyz").status, 503);
    assert_eq!(server.admin("/healthz").status, 200);
    world.commit(shop());
    phone(1).awaits(&server, "1.1.0");
    assert_eq!(server.admin("/readyz").status, 200);
}

#[test]
fn an_emptied_branch_removes_nothing() {
    let world = World::shop();
    world.commit((0..3).fold(Changes::new(), |changes, number| {
        let version = format!("1.5.{number}");
        changes.file(&format!("releases/{version}.yaml"), release(&version, "../bundles/1.2.0"))
    }));
    let server = world.serve();
    let before = phone(1).awaits(&server, "1.1.0");
    let commit = world.commit(Changes::new().remove("releases").remove("channels").remove("bundles"));
    server.await_commit(&commit);
    server.await_problem("PruneRefused");
    assert_eq!(phone(1).asks(&server), before);
    phone(1).downloads(&server, "1.1.0");
}

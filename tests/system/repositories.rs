//! What may be followed, and what a repository may say: references, work trees, apps, and features of later releases.

use std::{fs, net::TcpListener, process::Command};

use serde_json::Value;
use sluice_repo::testing::{Changes, SmartHttp};

use crate::support::{APP, Server, World, channel, index, phone, release, tool};

/// The production channel on this release.
fn production(release: &str) -> Changes {
    Changes::new().file("channels/production.yaml", channel("production", release, "  public: true\n"))
}

/// Waits until the repository was asked again and answered.
fn await_another_look(server: &Server) {
    let last = |server: &Server| server.status()["repositories"][0]["lastContact"].clone();
    for _ in 0..2 {
        let before = last(server);
        server.eventually("it looks again", |server| (last(server) != before).then_some(()));
    }
}

#[test]
fn a_clone_counts_by_its_commits() {
    let world = World::shop();
    let clone = world.file("clone");
    tool(Command::new("git").args(["clone", "-q"]).arg(world.upstream.path()).arg(&clone));
    let server = world.serve_from(clone.to_str().unwrap(), &[]);
    phone(1).awaits(&server, "1.1.0");

    let moved = channel("production", "1.2.0", "  public: true\n");
    fs::write(clone.join("channels/production.yaml"), moved).unwrap();
    await_another_look(&server);
    phone(1).downloads(&server, "1.1.0");

    let commit =
        ["-c", "user.name=Ada", "-c", "user.email=ada@example.org", "commit", "-q", "-a", "-m", "Ship 1.2.0"];
    tool(Command::new("git").args(commit).current_dir(&clone));
    phone(1).awaits(&server, "1.2.0");
    let left = tool(Command::new("git").args(["status", "--porcelain"]).current_dir(&clone));
    assert_eq!(left, "", "the work tree was touched");
}

#[test]
fn branches_tags_ranges_and_commits_are_followed() {
    let world = World::shop();
    world.upstream.commit_on("stable", crate::support::shop());
    let server = world.serve_with(&["--branch", "stable"]);
    phone(1).awaits(&server, "1.1.0");
    world.commit(production("1.2.0"));
    await_another_look(&server);
    phone(1).downloads(&server, "1.1.0");
    drop(server);

    let world = World::shop();
    let first = world.upstream.commit(Changes::new().message("First"));
    let second = world.upstream.commit(production("1.2.0"));
    world.upstream.tag("v1.0.0", first);
    world.upstream.annotated_tag("v1.9.0", second);
    world.upstream.tag("v2.0.0", first);
    let server = world.serve_with(&["--semver", ">=1.0.0 <2.0.0"]);
    phone(1).awaits(&server, "1.2.0");
    world.upstream.tag("v1.10.0", world.upstream.commit(production("1.1.0")));
    phone(1).awaits(&server, "1.1.0");
    drop(server);

    let world = World::shop();
    let first = world.upstream.commit(Changes::new().message("First"));
    let second = world.upstream.commit(production("1.2.0"));
    world.upstream.tag("live", second);
    let server = world.serve_with(&["--tag", "live"]);
    phone(1).awaits(&server, "1.2.0");
    drop(server);
    fs::remove_dir_all(world.data()).unwrap();
    let server = world.serve_with(&["--commit", &first.to_string()]);
    phone(1).awaits(&server, "1.1.0");
}

#[test]
fn an_idle_poll_lists_references_and_nothing_else() {
    let world = World::shop();
    let host = SmartHttp::start(&world.upstream);
    let server = world.serve_from(&host.url().to_string(), &[]);
    phone(1).awaits(&server, "1.1.0");
    server.await_reason("Applied");
    host.seen();
    await_another_look(&server);
    await_another_look(&server);
    let seen = host.seen();
    assert!(seen.len() >= 2, "{seen:?}");
    for request in seen {
        assert_eq!(request.method, "GET", "{request:?}");
        assert!(request.path.ends_with("/info/refs?service=git-upload-pack"), "{request:?}");
    }
}

#[test]
fn an_app_that_is_not_allowed_serves_nobody() {
    let world = World::shop();
    let other = |text: String| text.replace(APP, "com.example.bank").replace("shop-", "bank-");
    world.commit(
        Changes::new()
            .file("bank/release.yaml", other(release("1.1.0", "../bundles/1.1.0")))
            .file("bank/channel.yaml", other(channel("production", "1.1.0", "  public: true\n"))),
    );
    let server = world.serve_with(&["--apps", "com.example.shop,org.*"]);
    phone(1).awaits(&server, "1.1.0");
    let problem = server.await_problem("AppNotAllowed");
    assert!(problem["file"].as_str().unwrap().starts_with("bank/"), "{problem}");
    let stranger = phone(1).with("app_id", "com.example.bank");
    assert_eq!(stranger.asks(&server)["error"], "no_channel");
    assert!(server.stop().success());
    let server = world.serve_with(&["--apps", "com.example.*"]);
    stranger.awaits(&server, "1.1.0");
}

#[test]
fn documents_may_move_between_files() {
    let world = World::shop();
    let server = world.serve();
    let before = phone(1).awaits(&server, "1.1.0");
    server.eventually("the phone is known", |server| {
        server.explain(&phone(1).body())["device"]["channel"].is_string().then_some(())
    });
    let together = [
        channel("production", "1.1.0", "  public: true\n"),
        release("1.1.0", "bundles/1.1.0"),
        "# Somebody else's\nkind: ConfigMap\napiVersion: v1\ndata: { release: [1, 2] }\n".to_owned(),
        release("1.2.0", "./bundles/1.2.0"),
    ]
    .join("---\n");
    let commit =
        world.commit(Changes::new().remove("channels").remove("releases").file("everything.yml", together));
    let status = server.await_commit(&commit);
    assert_eq!(status["diagnostics"], Value::Array(Vec::new()), "{status}");
    assert_eq!(status["releases"].as_array().unwrap().len(), 2, "{status}");
    assert_eq!(phone(1).asks(&server), before);
    // What stands below a bundle is the app's own.
    let inside = channel("production", "1.1.0", "  nonsense: true\n");
    let commit = world.commit(
        Changes::new()
            .file("bundles/1.3.0/index.html", index("1.3.0"))
            .file("bundles/1.3.0/config/channel.yaml", inside)
            .file("releases/1.3.0.yaml", release("1.3.0", "../bundles/1.3.0")),
    );
    assert_eq!(server.await_commit(&commit)["diagnostics"], Value::Array(Vec::new()));
}

#[test]
fn what_cannot_be_served_yet_keeps_the_last_release() {
    let world = World::shop();
    let server = world.serve();
    let before = phone(1).awaits(&server, "1.1.0");
    let sources = format!(
        "{}---\n{}",
        release("1.3.0", "x").replace(
            "path: x",
            &format!("https: {{ url: \"https://127.0.0.1:9/a.zip\", sha256: {} }}", "a".repeat(64))
        ),
        release("1.4.0", "x").replace(
            "path: x",
            &format!("oci: {{ image: registry.example.org/shop, digest: \"sha256:{}\" }}", "a".repeat(64))
        ),
    );
    world.commit(Changes::new().file("releases/elsewhere.yaml", sources));
    for (code, reason, release, more) in [
        (None, "Suspended", "1.2.0", "  suspend: true\n"),
        (Some("BundleAddressRefused"), "BundleAddressRefused", "1.3.0", ""),
        (Some("SourceNotSupported"), "SourceNotSupported", "1.4.0", ""),
    ] {
        let text = channel("production", release, &format!("  public: true\n{more}"));
        let commit = world.commit(Changes::new().file("channels/production.yaml", text));
        server.await_status(&format!("the channel says {reason}"), |status| {
            let channel = &status["channels"][0];
            let ready = &channel["conditions"][0];
            status["repositories"][0]["appliedCommit"] == *commit
                && ready["reason"] == reason
                && ready["status"] == false
                && channel["lines"][0]["served"] == "1.1.0"
        });
        if let Some(code) = code {
            server.await_problem(code);
        }
        assert_eq!(phone(1).asks(&server), before, "{reason}");
    }
    world.commit(production("1.2.0"));
    phone(1).awaits(&server, "1.2.0");
}

#[test]
fn a_source_that_never_answers_holds_up_nothing_else() {
    let world = World::shop();
    // It takes connections and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let source = format!("https: {{ url: \"https://{address}/a.zip\", sha256: {} }}", "a".repeat(64));
    world.commit(
        Changes::new()
            .file("releases/1.3.0.yaml", release("1.3.0", "x").replace("path: x", &source))
            .file("channels/beta.yaml", channel("beta", "1.3.0", "  allow: { selfAssign: true }\n")),
    );
    let server = world.serve_with(&["--allow-private-sources"]);
    let waiting = silent.accept().unwrap();
    phone(1).awaits(&server, "1.1.0");
    world.commit(production("1.2.0"));
    phone(1).awaits(&server, "1.2.0");
    let status = server.await_status("beta waits", |status| status["channels"][0]["channel"] == "beta");
    assert_eq!(status["channels"][0]["conditions"][0]["reason"], "BundlePending", "{status}");

    drop((waiting, silent));
    let problem = server.await_problem("BundleUnavailable");
    assert_eq!(problem["file"], "releases/1.3.0.yaml", "{problem}");
    phone(1).downloads(&server, "1.2.0");
}

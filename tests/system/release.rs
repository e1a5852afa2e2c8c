//! A commit becomes an answer, a mistake becomes a status, and what was promised about versions holds.

use sluice_repo::testing::Changes;

use crate::support::{World, channel, hmac_sha256, index, phone, release, unzip};

#[test]
fn a_merge_reaches_phones_without_a_restart() {
    let world = World::shop();
    let server = world.serve();
    let phone = phone(1);
    phone.awaits(&server, "1.1.0");
    let first = phone.downloads(&server, "1.1.0");
    let before = server.status()["generation"].as_u64().unwrap();

    let moved = channel("production", "1.2.0", "  public: true\n");
    let commit = world.commit(Changes::new().file("channels/production.yaml", moved));
    phone.awaits(&server, "1.2.0");
    assert!(phone.downloads(&server, "1.2.0") != first);
    let status = server.await_commit(&commit);
    assert!(status["generation"].as_u64().unwrap() > before, "{status}");
    assert_eq!(status["channels"][0]["lines"][0]["served"], "1.2.0", "{status}");
    assert_eq!(status["channels"][0]["conditions"][0]["reason"], "Served", "{status}");

    // A rollback is another commit, and another generation.
    let back = channel("production", "1.1.0", "  public: true\n");
    world.commit(Changes::new().file("channels/production.yaml", back));
    phone.awaits(&server, "1.1.0");
    assert!(phone.downloads(&server, "1.1.0") == first, "the same version has other bytes");
    server.await_status("the generation goes up, also on the way back", |now| {
        now["generation"].as_u64() > status["generation"].as_u64()
    });
}

#[test]
fn a_channel_waits_for_its_bundle_and_serves_what_it_had() {
    let world = World::shop();
    let server = world.serve();
    phone(1).awaits(&server, "1.1.0");
    let wrong = "bundles/1.3.0/start.html";
    let commit = world.commit(
        Changes::new()
            .file(wrong, index("1.3.0"))
            .file("releases/1.3.0.yaml", release("1.3.0", "../bundles/1.3.0"))
            .file("channels/production.yaml", channel("production", "1.3.0", "  public: true\n")),
    );
    let problem = server.await_problem("BundleWithoutIndex");
    assert_eq!((&problem["file"], &problem["line"]), (&"releases/1.3.0.yaml".into(), &9.into()), "{problem}");
    let status = server.await_commit(&commit);
    let channel = &status["channels"][0];
    assert_eq!(
        (&channel["lines"][0]["wanted"], &channel["lines"][0]["served"]),
        (&"1.3.0".into(), &"1.1.0".into())
    );
    assert_eq!(channel["conditions"][0]["status"], false, "{channel}");
    phone(1).downloads(&server, "1.1.0");

    world.commit(Changes::new().file("bundles/1.3.0/index.html", index("1.3.0")));
    phone(1).awaits(&server, "1.3.0");
    server.await_status("nothing is wrong any more", |status| {
        status["diagnostics"].as_array().unwrap().is_empty()
    });
}

#[test]
fn a_version_never_changes_its_bytes() {
    let world = World::shop();
    let server = world.serve();
    phone(1).awaits(&server, "1.1.0");
    let first = phone(1).downloads(&server, "1.1.0");
    server.await_status("both releases are stored", |status| {
        status["releases"].as_array().unwrap().iter().filter(|r| r["conditions"][0]["status"] == true).count()
            == 2
    });

    let burnt = |version: &str| {
        server.eventually(&format!("{version} is burnt"), |server| {
            let problems = server.status()["diagnostics"].as_array().unwrap().clone();
            let file = format!("releases/{version}.yaml");
            problems.into_iter().find(|p| p["code"] == "VersionBurnt" && p["file"] == *file)
        })
    };
    world.commit(Changes::new().file("bundles/1.1.0/index.html", index("something else")));
    let problem = burnt("1.1.0");
    assert!(problem["message"].as_str().unwrap().contains("publish a new version"), "{problem}");
    assert!(phone(2).downloads(&server, "1.1.0") == first, "1.1.0 has other bytes");

    // Not by deleting it either.
    let gone = world.commit(Changes::new().remove("releases/1.2.0.yaml").remove("bundles/1.2.0"));
    let status = server.await_commit(&gone);
    assert_eq!(status["releases"].as_array().unwrap().len(), 1, "{status}");
    world.commit(
        Changes::new()
            .file("bundles/1.2.0/index.html", index("another 1.2.0"))
            .file("releases/1.2.0.yaml", release("1.2.0", "../bundles/1.2.0")),
    );
    burnt("1.2.0");

    // The bytes may come back, and may be published under a new version.
    world.commit(
        Changes::new()
            .file("bundles/1.1.0/index.html", index("1.1.0"))
            .file("releases/1.3.0.yaml", release("1.3.0", "../bundles/1.2.0"))
            .file("channels/production.yaml", channel("production", "1.3.0", "  public: true\n")),
    );
    phone(1).awaits(&server, "1.3.0");
    server.await_status("1.1.0 is well again", |status| {
        status["diagnostics"].as_array().unwrap().iter().all(|p| p["file"] != "releases/1.1.0.yaml")
    });
}

/// The changes that add or remove these releases, all of one bundle.
fn releases(changes: Changes, numbers: std::ops::Range<u32>, put: bool) -> Changes {
    numbers.fold(changes, |changes, number| {
        let path = format!("releases/1.5.{number}.yaml");
        if put {
            changes.file(&path, release(&format!("1.5.{number}"), "../bundles/1.2.0"))
        } else {
            changes.remove(&path)
        }
    })
}

#[test]
fn a_mass_delete_needs_a_trailer() {
    let world = World::shop();
    world.commit(releases(Changes::new(), 0..6, true));
    let server = world.serve();
    phone(1).awaits(&server, "1.1.0");
    let count = |status: &serde_json::Value| status["releases"].as_array().unwrap().len();
    server.await_status("eight releases are there", |status| count(status) == 8);

    // One file is no mass.
    let commit = world.commit(releases(Changes::new(), 5..6, false));
    assert_eq!(count(&server.await_commit(&commit)), 7);

    let commit = world.commit(releases(Changes::new(), 0..5, false));
    let problem = server.await_problem("PruneRefused");
    assert!(problem["message"].as_str().unwrap().contains("Sluice-Allow-Prune: 5"), "{problem}");
    assert_eq!(count(&server.await_commit(&commit)), 7);

    let few = world.commit(Changes::new().message("Too few\n\nSluice-Allow-Prune: 4\n"));
    assert_eq!(count(&server.await_commit(&few)), 7);
    server.await_problem("PruneRefused");

    let enough = world.commit(Changes::new().message("Tidy up\n\nSluice-Allow-Prune: 5\n"));
    let status = server.await_commit(&enough);
    assert_eq!(count(&status), 2, "{status}");
    assert!(status["diagnostics"].as_array().unwrap().is_empty(), "{status}");
    phone(1).downloads(&server, "1.1.0");
}

#[test]
fn a_channel_that_serves_devices_does_not_vanish() {
    let world = World::shop();
    world.commit(
        Changes::new()
            .file("channels/spare.yaml", channel("spare", "1.2.0", "  allow: { selfAssign: true }\n")),
    );
    let server = world.serve();
    phone(1).awaits(&server, "1.1.0");
    server.eventually("the phone is known", |server| {
        server.explain(&phone(1).body())["device"]["channel"]
            .as_str()
            .filter(|c| *c == "production")
            .map(|_| ())
    });

    // A channel that nobody uses may go.
    let commit = world.commit(Changes::new().remove("channels/spare.yaml"));
    let status = server.await_commit(&commit);
    assert_eq!(status["channels"].as_array().unwrap().len(), 1, "{status}");

    let commit = world.commit(Changes::new().remove("channels/production.yaml"));
    server.await_commit(&commit);
    let problem = server.await_problem("PruneRefused");
    assert!(problem["message"].as_str().unwrap().contains("shop-production"), "{problem}");
    phone(2).downloads(&server, "1.1.0");

    world.commit(Changes::new().message("Close the shop\n\nSluice-Allow-Prune: 1\n"));
    server.eventually("the channel is gone", |server| {
        (phone(1).asks(server)["error"] == "no_channel").then_some(())
    });
}

#[test]
fn a_channel_that_was_one_document_of_several_leaves_with_the_trailer_as_well() {
    let world = World::shop();
    let both = [
        channel("production", "1.1.0", "  public: true\n"),
        channel("spare", "1.2.0", "  allow: { selfAssign: true }\n"),
    ];
    world.commit(Changes::new().file("channels/production.yaml", both.join("---\n")));
    let server = world.serve();
    phone(1).awaits(&server, "1.1.0");
    server.eventually("the phone is known", |server| {
        server.explain(&phone(1).body())["device"]["channel"].is_string().then_some(())
    });
    let commit = world.commit(Changes::new().file("channels/production.yaml", &both[1]));
    server.await_commit(&commit);
    server.await_problem("PruneRefused");
    // It is still refused by a commit that says nothing, also after a restart.
    let commit = world.commit(Changes::new().file("note.txt", "x"));
    server.await_commit(&commit);
    server.await_problem("PruneRefused");
    assert!(server.stop().success());
    let server = world.serve();
    server.await_problem("PruneRefused");
    phone(2).downloads(&server, "1.1.0");

    world.commit(Changes::new().message("Close the shop\n\nSluice-Allow-Prune: 1\n"));
    server.eventually("the channel is gone", |server| {
        (phone(1).asks(server)["error"] == "no_channel").then_some(())
    });
}

#[test]
fn a_webhook_makes_it_immediate() {
    let world = World::shop();
    let secret = world.file("hook-secret");
    std::fs::write(&secret, "correct horse\n").unwrap();
    // Nothing but a webhook makes this server look again.
    let server = world.serve_with(&["--poll", "10m", "--hook-secret-file", secret.to_str().unwrap()]);
    phone(1).awaits(&server, "1.1.0");
    server.await_reason("Applied");
    world.commit(
        Changes::new().file("channels/production.yaml", channel("production", "1.2.0", "  public: true\n")),
    );

    let body = br#"{"ref":"refs/heads/main","repository":{"full_name":"shop/releases"}}"#;
    let hook = |path: &str, key: &str| {
        let signature = format!("sha256={}", hmac_sha256(key, body));
        let headers = [
            ("content-type", "application/json"),
            ("x-github-event", "push"),
            ("x-hub-signature-256", signature.as_str()),
        ];
        server.send("POST", path, &headers, body)
    };
    let forged = hook("/hooks/default", "wrong horse").has_status(404);
    let unknown = hook("/hooks/elsewhere", "correct horse").has_status(404);
    assert_eq!(forged.body, unknown.body, "the two must not be told apart");
    assert_eq!(phone(1).asks(&server)["version"], "1.1.0");

    let taken = hook("/hooks/default", "correct horse");
    assert!((200..300).contains(&taken.status), "{taken:?}");
    phone(1).awaits(&server, "1.2.0");
}

#[test]
fn two_releases_that_claim_one_version_are_not_mixed_up() {
    let world = World::shop();
    let other = release("1.2.0", "../bundles/other").replace("shop-1.2.0", "zz-1.2.0");
    world.commit(
        Changes::new()
            .file("bundles/other/index.html", index("other"))
            .file("releases/zz.yaml", other)
            .file("channels/production.yaml", channel("production", "1.2.0", "  public: true\n")),
    );
    let server = world.serve();
    phone(1).awaits(&server, "1.2.0");
    let problem = server.await_problem("VersionConflict");
    assert_eq!(problem["file"], "releases/zz.yaml", "{problem}");
    let page = |version: &str| unzip(&phone(1).downloads(&server, version))["index.html"].clone();
    assert!(page("1.2.0") == index("1.2.0").into_bytes());

    // What the other one wanted to be, under a version of its own.
    world.commit(
        Changes::new()
            .file("releases/zz.yaml", release("1.3.0", "../bundles/other"))
            .file("channels/production.yaml", channel("production", "1.3.0", "  public: true\n")),
    );
    phone(1).awaits(&server, "1.3.0");
    assert!(page("1.3.0") == index("other").into_bytes(), "1.3.0 has the bytes of another release");
}

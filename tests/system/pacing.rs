//! How fast a rollout goes, and when it does not, against the real program.

use std::fs;

use sluice_repo::testing::Changes;

use crate::support::{APP, World, channel, phone, sluice};

fn production(release: &str, more: &str) -> Changes {
    Changes::new().file("channels/production.yaml", channel("production", release, more))
}

#[test]
fn offers_are_limited() {
    let world = World::shop();
    let server = world.serve();
    phone(1).awaits(&server, "1.1.0");
    let limited = "  public: true\n  rollout: { strategy: Immediate, offersPerMinute: 30 }\n";
    world.commit(production("1.2.0", limited));
    server.await_status("1.2.0 is served", |status| status["channels"][0]["lines"][0]["served"] == "1.2.0");
    phone(2).with("version_name", "1.1.0").awaits(&server, "1.2.0");
    // One in two seconds: the others come again.
    let began = std::time::Instant::now();
    let answers: Vec<_> =
        (10..60).map(|n| phone(n).with("version_name", "1.1.0").asks(&server)["version"].clone()).collect();
    let offered = answers.iter().filter(|version| *version == "1.2.0").count();
    let most = usize::try_from(began.elapsed().as_secs() / 2).unwrap() + 1;
    assert!(offered <= most, "{offered} offers, {most} may be");
    server.eventually("explain says so", |server| {
        phone(70).with("version_name", "1.1.0").asks(server);
        let said = server.ask("explain", &["--app", APP, "--running", "1.1.0"]).exits(0).out;
        said.contains("1.2.0 may be offered 30 times a minute here").then_some(())
    });
    // Who runs it is not concerned, and who was held back gets it.
    assert_eq!(phone(2).with("version_name", "1.2.0").asks(&server)["kind"], "up_to_date");
    phone(59).with("version_name", "1.1.0").awaits(&server, "1.2.0");
}

#[test]
fn nothing_goes_on_in_a_freeze_but_what_is_urgent() {
    let world = World::shop();
    let server = world.serve();
    phone(1).awaits(&server, "1.1.0");
    assert!(server.stop().success());

    let file = world.file("freezes.yaml");
    let winter =
        "- name: winter\n  from: 2020-12-20T00:00:00Z\n  to: 2999-01-04T00:00:00Z\n  reason: Holidays\n";
    fs::write(&file, winter).unwrap();
    let server = world.serve_with(&["--freezes-file", file.to_str().unwrap()]);
    world.commit(production("1.2.0", "  public: true\n"));
    let status = server.await_status("the freeze is on", |status| {
        status["channels"][0]["lines"][0]["rollout"]["phase"] == "Frozen"
    });
    let message = status["channels"][0]["lines"][0]["rollout"]["message"].as_str().unwrap();
    assert!(message.contains("freeze winter is on: Holidays"), "{message}");
    assert_eq!(phone(2).asks(&server)["version"], "1.1.0");
    let said = server.ask("status", &[]).exits(0).out;
    assert!(said.contains("Frozen") && said.contains("winter"), "{said}");

    let urgent = "  public: true\n  urgent: { release: 1.2.0, reason: The basket does not open }\n";
    world.commit(production("1.2.0", urgent));
    phone(2).awaits(&server, "1.2.0");
    // Going back does not wait either.
    world.commit(production("1.1.0", "  public: true\n"));
    phone(2).with("version_name", "1.2.0").awaits(&server, "1.1.0");
    assert!(server.stop().success());

    // With a mistake in a freeze nothing starts, and not with no freeze.
    fs::write(&file, winter.replace("2999", "2019")).unwrap();
    let (data, repository) = (world.data(), world.upstream.path());
    let arguments = ["serve", "--data", data.to_str().unwrap(), "--repository", repository.to_str().unwrap()];
    let refused = sluice(arguments.iter().chain(&["--freezes-file", file.to_str().unwrap()]));
    assert_ne!(refused.code, Some(0));
    assert!(refused.err.contains("freeze winter ends before it begins"), "{refused:?}");
}

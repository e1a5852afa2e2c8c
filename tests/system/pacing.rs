//! How fast a rollout goes, against the real program.

use sluice_repo::testing::Changes;

use crate::support::{APP, World, channel, phone};

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

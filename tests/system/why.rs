//! What people see of a rollout: `sluice status` of one that waits and of one that was braked, and `sluice explain` for
//! devices in each arm of its trial, in neither, and for such as weigh nothing in it.

use std::time::{Duration, Instant};

use serde_json::Value;
use sluice_repo::testing::Changes;

use crate::support::{APP, Phone, Server, World, channel, eventually, phone, with_version};

/// A rollout that waits for an hour, with a tenth in it.
const SOAKS: &str = "  public: true\n  rollout:\n    ramp: \"Off\"\n    steps: [{ weight: 10%, soak: 1h }, { weight: 60%, soak: 2h }]\n";
/// Phones that the server knows before the rollout.
const KNOWN: u32 = 120;

/// A server whose phones run 1.1.0, and which rolls 1.2.0 out.
fn with_rollout(world: &World) -> Server {
    let everybody = "  public: true\n  rollout: { strategy: Immediate }\n";
    let changes = ["1.1.0", "1.2.0"].into_iter().fold(Changes::new(), with_version);
    world.commit(changes.file("channels/production.yaml", channel("production", "1.1.0", everybody)));
    // Phones of one network are a crowd; these come from many.
    let server = world.serve_with(&["--trusted-proxies", "127.0.0.0/8"]);
    phone(0).with("version_name", "builtin").awaits(&server, "1.1.0");
    for number in 1..=KNOWN {
        from_own_network(&server, &on_stable(number), number);
    }
    server.eventually("the phones are known", |server| {
        (server.metric("sluice_fleet_cached_devices") >= f64::from(KNOWN)).then_some(())
    });
    // Times of devices are whole seconds, and only who was seen before the rollout began was known to it.
    let known = Instant::now();
    eventually("that second is over", || (known.elapsed() > Duration::from_secs(1)).then_some(()));
    world.commit(Changes::new().file("channels/production.yaml", channel("production", "1.2.0", SOAKS)));
    server.eventually("1.2.0 is for a tenth", |server| {
        (line(server)["rollout"]["weight"] == 100_000).then_some(())
    });
    server
}

fn on_stable(number: u32) -> Phone {
    phone(number).with("version_name", "1.1.0")
}

/// Asks from a network that is this number's alone.
fn from_own_network(server: &Server, phone: &Phone, number: u32) -> Value {
    let address = format!("198.{}.{}.7", 18 + number / 250, number % 250);
    let headers = [("content-type", "application/json"), ("x-forwarded-for", address.as_str())];
    server.send("POST", "/updates", &headers, phone.body().to_string().as_bytes()).has_status(200).json()
}

fn line(server: &Server) -> Value {
    server.status()["channels"][0]["lines"][0].clone()
}

/// What `sluice explain` prints of a phone, once its trial is written.
fn explained(server: &Server, number: u32, flags: &[&str], sentence: &str) -> String {
    let device = format!("00000000-0000-4000-8000-{number:012}");
    let of = ["--app", APP, "--device", &device, "--running", "1.1.0", "--plugin", "8.51.23"];
    server.eventually(sentence, |server| {
        let said = server.ask("explain", &[&of[..], flags].concat()).exits(0).out;
        said.contains(sentence).then_some(said)
    })
}

#[test]
fn each_arm_and_a_discount_are_explained() {
    let world = World::empty();
    let server = with_rollout(&world);
    let (mut offered, mut compared, mut neither) = (None, None, None);
    for number in 1..=KNOWN {
        let answer = from_own_network(&server, &on_stable(number), number);
        let trace = server.explain(&on_stable(number).body())["trace"].to_string();
        let is = |what: &str| trace.contains(what);
        if is("as one of those who are offered the release") {
            assert_eq!(answer["version"], "1.2.0", "{trace}");
            offered = offered.or(Some(number));
        } else if is("as one of those whom the others are compared with") {
            assert_ne!(answer["version"], "1.2.0", "{trace}");
            compared = compared.or(Some(number));
        } else {
            assert!(is("in neither arm of the trial of level 0: it is too near to the share"), "{trace}");
            neither = neither.or(Some(number));
        }
    }
    let offered = explained(
        &server,
        offered.expect("somebody is offered it"),
        &[],
        "In the trial of 1.2.0 on production, level 0, among those who are offered it",
    );
    assert!(offered.contains("It weighs."), "{offered}");
    let compared = explained(
        &server,
        compared.expect("somebody is compared with"),
        &[],
        "In the trial of 1.2.0 on production, level 0, among those whom the others are compared with",
    );
    assert!(compared.contains("It weighs."), "{compared}");
    if let Some(number) = neither {
        let said = explained(&server, number, &[], "The device is in neither arm of the trial of level 0");
        assert!(!said.contains("Trials of rollouts"), "{said}");
    }

    // Devices that came after the rollout began are explained, and weigh nothing.
    let new = (600..680)
        .find(|number| {
            from_own_network(&server, &on_stable(*number), *number);
            let trace = server.explain(&on_stable(*number).body())["trace"].to_string();
            trace.contains("takes part in the trial")
        })
        .expect("one of many is in an arm");
    let said = explained(&server, new, &[], "It weighs nothing: it was first seen after the rollout began");
    assert!(!said.contains("0000-4000-8000"), "the device's id is repeated:\n{said}");
    let json = server.explain(&on_stable(new).body());
    assert_eq!(json["trials"][0]["discount"], "New", "{json}");
    server.eventually("devices of both arms are counted", |server| {
        let text = server.admin("/metrics").has_status(200).text();
        let enrolled =
            |line: &&str| line.starts_with("sluice_rollout_devices{") && line.contains("\"enrolled\"");
        (text.lines().filter(enrolled).filter(|line| !line.ends_with(" 0.0")).count() == 2).then_some(())
    });
}

#[test]
fn status_says_what_a_rollout_waits_for_and_why_it_was_braked() {
    let world = World::empty();
    let server = with_rollout(&world);
    let condition = |server: &Server, reason: &str| {
        let status = server.status();
        let all = status["channels"][0]["conditions"].as_array().unwrap().clone();
        all.iter().find(|c| c["type"] == "RolledOut").filter(|c| c["reason"] == reason).cloned()
    };
    let waits = server.eventually("it soaks", |server| condition(server, "Soaking"));
    assert_eq!(waits["status"], false);
    let verdict = server.eventually("the gate has said something", |server| {
        line(server)["rollout"]["verdict"]["sentence"].as_str().map(str::to_owned)
    });
    assert!(verdict.contains(|c: char| c.is_ascii_digit()), "a sentence with numbers: {verdict}");
    let said = server.ask("status", &[]).exits(0).out;
    for part in [
        "production: 1.2.0, step 1 of 2, 10% of devices: Soaking",
        "1.2.0 stays at 10% until",
        "    Evidence: ",
        "    Looked at again: ",
        "    To come: 60% from ",
        ", then 100% from ",
    ] {
        assert!(said.contains(part), "`{part}` is not in\n{said}");
    }
    let json = server.ask("status", &["--output", "json"]).exits(0).json();
    assert_eq!(json["channels"][0]["lines"][0]["rollout"]["upcoming"][0]["weight"], 600_000, "{json}");

    let verdict = r#"decision="Hold",reason="InsufficientExposure""#;
    figures(
        &server,
        &[("weight_ratio", "", "0.1"), ("phase", r#"phase="Soaking""#, "1.0"), ("verdict", verdict, "1.0")],
    );
    let brake = ["shop-production", "--release", "1.2.0", "--reason", "The basket is empty"];
    server.ask("brake", &brake).exits(0);
    server.eventually("it is braked", |server| condition(server, "Braked"));
    figures(&server, &[("phase", r#"phase="Braked""#, "1.0")]);
    let said = server.ask("status", &[]).exits(0).out;
    assert!(said.contains("10% of devices: Braked") && said.contains("The basket is empty"), "{said}");
    assert!(!said.contains("To come"), "{said}");
    the_log_tells_it(&server);
}

/// The rollout has these figures: the end of the name, labels beside those of the line, and the value.
fn figures(server: &Server, wanted: &[(&str, &str, &str)]) {
    let text = server.admin("/metrics").has_status(200).text();
    for (name, more, value) in wanted {
        let comma = if more.is_empty() { "" } else { "," };
        let labels = format!(
            r#"app="{APP}",channel="production",line="{}"{comma}{more}"#,
            line(server)["key"].as_str().unwrap()
        );
        let figure = format!("sluice_rollout_{name}{{{labels}}} {value}");
        assert!(text.lines().any(|line| line == figure), "{figure} is missing in\n{text}");
    }
}

/// What was decided can be read, and a page that somebody changes is found.
fn the_log_tells_it(server: &Server) {
    let log = |flags: &[&str]| server.ask("decisions", &[&["--app", APP], flags].concat());
    let said = log(&["--channel", "production"]).exits(0).out;
    assert!(said.contains("Started: 1.2.0 is rolled out on production, to 10 % first"), "{said}");
    assert!(said.contains("Braked: 1.2.0 is braked on production (brake "), "{said}");
    assert!(said.contains(": The basket is empty)"), "{said}");
    assert_eq!(log(&["--channel", "beta"]).exits(0).out, "");
    let none = server.ask("decisions", &["--app", "com.example.typo", "--verify"]).exits(1).err;
    assert!(none.contains("nothing was ever published for com.example.typo"), "{none}");
    let lines = log(&["--output", "json"]).exits(0).out;
    let pages: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(pages[0]["sequence"], 1, "{lines}");
    let whole = log(&["--verify"]).exits(0).out;
    assert!(whole.contains(&format!("{} pages", pages.len())), "{whole}");

    let folder = server.data().join("store/apps").join(APP).join("decisions");
    let page = folder.join("000000000001.json");
    let text = std::fs::read_to_string(&page).unwrap();
    std::fs::write(&page, text.replace("1.1.0", "1.1.1")).unwrap();
    let broken = log(&["--verify"]).exits(1).out;
    assert!(broken.contains("000000000002.json"), "{broken}");
    std::fs::write(&page, text).unwrap();
    // The last one is named by no page, but by the record of the app.
    let last = folder.join(format!("{:012}.json", pages.len()));
    let text = std::fs::read_to_string(&last).unwrap();
    std::fs::write(&last, text.replace("1.2.0", "1.2.1")).unwrap();
    let broken = log(&["--verify"]).exits(1).out;
    assert!(broken.contains("the record of the app names another one"), "{broken}");
    std::fs::remove_file(&last).unwrap();
    let broken = log(&["--verify"]).exits(1).out;
    assert!(broken.contains("are missing"), "{broken}");
}

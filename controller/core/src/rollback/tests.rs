use super::*;
use crate::brake::Devices;

fn brake(why: &str, at: &str) -> Brake {
    let (app, scope) = ("com.example.shop".parse().unwrap(), Scope::Channel("production".parse().unwrap()));
    let digest = Digest::of(why.as_bytes());
    let id = BrakeId::derive(&app, &digest, &scope, Devices::Return, 0);
    let (by, why) = ("gate".to_owned(), why.to_owned());
    let release = Some("1.2.0".parse().unwrap());
    let at = at.parse().unwrap();
    let devices = Devices::Return;
    Brake { id, app, digest, release, scope, devices, by, why, at, evidence: None, rollback: true }
}

fn rollback(why: &str, at: &str) -> Rollback {
    Rollback::of(&brake(why, at), Cause::GateFailed, None).unwrap()
}

#[test]
fn a_message_says_what_why_and_how_to_undo_it() {
    let rollback = rollback(
        "BrokenAtLaunch: at least 5 of the first 10 devices\ncould not start",
        "2026-11-30T10:00:00Z",
    );
    let planned = Planned {
        commit: String::new(),
        parent: String::new(),
        introduced_by: "a".repeat(40),
        mode: Mode::Revert,
        restores: Target::Release("1.1.0".parse().unwrap()),
    };
    let text = Message::new(&rollback, &planned).text();
    let id = rollback.id.as_str();
    assert!(text.starts_with("Roll back production to 1.1.0: BrokenAtLaunch: at least 5 of"), "{text}");
    assert!(text.lines().next().unwrap().chars().count() < 110, "{text}");
    for part in [
        &format!("This reverts commit {}.", "a".repeat(40)),
        &format!("allowHeld: [{id}]"),
        &format!("\n\nRollback-Id: {id}\nReverts: "),
        "\nChannel: com.example.shop/production\nRelease: 1.2.0\nBundle-Digest: sha256:",
        "\nRestores: 1.1.0\nRollback-Mode: Revert\nReason: GateFailed\nRequested-By: gate\n",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    assert!(!text.to_lowercase().starts_with("revert"));
    let restored = Planned { mode: Mode::Restore, restores: Target::Builtin, ..planned };
    let text = Message::new(&rollback, &restored).text();
    assert!(
        text.starts_with("Roll back production to builtin: ") && !text.contains("This reverts"),
        "{text}"
    );
}

#[test]
fn a_brake_of_an_app_rolls_no_channel_back() {
    let brake = Brake { scope: Scope::App, ..brake("bad", "2026-11-30T10:00:00Z") };
    assert_eq!(Rollback::of(&brake, Cause::Requested, None), None);
}

#[test]
fn the_third_rollback_in_a_day_opens_the_circuit() {
    let [a, b, c] = ["01", "12", "23"].map(|hour| rollback(hour, &format!("2026-11-30T{hour}:00:00Z")));
    assert!(!circuit_opens(&b, [&a, &b]));
    assert!(circuit_opens(&c, [&a, &b, &c]));
    let asked = Rollback { cause: Cause::Requested, ..c.clone() };
    assert!(!circuit_opens(&asked, [&a, &b]), "a person may");
    let later = rollback("later", "2026-12-01T02:00:00Z");
    assert!(!circuit_opens(&later, [&a, &b]), "the first one is more than a day ago");
}

#[test]
fn a_stall_is_news_once() {
    let mut rollback = rollback("bad", "2026-11-30T10:00:00Z");
    let at = rollback.at;
    assert!(rollback.wait("Unreachable", "the host is away", at));
    assert!(!rollback.wait("Unreachable", "the host is away", at + jiff::SignedDuration::from_secs(9)));
    assert_eq!(rollback.stall.as_ref().unwrap().since, at);
    rollback.enter(Phase::Planned, at, "planned".into());
    assert_eq!(rollback.stall, None);
}

/// A channel may have a name that is none for Git, and what people say may be anything.
#[test]
fn branches_and_texts_are_plain() {
    let odd = |name: &str| Brake {
        scope: Scope::Channel(name.parse().unwrap()),
        by: "a\nb".into(),
        ..brake("no\0thing `code`\n@all", "2026-11-30T10:00:00Z")
    };
    for (name, plain) in [("a..b", "a--b"), ("prod.lock", "prod-lock"), ("production", "production")] {
        let rollback = Rollback::of(&odd(name), Cause::Requested, None).unwrap();
        assert_eq!(rollback.branch(), format!("rollback/{plain}/{}", rollback.id));
        assert_eq!((rollback.by.as_str(), rollback.why.as_str()), ("a b", "nothing `code` @all"));
        let restores = Target::Builtin;
        let message =
            Message { rollback: &rollback, introduced_by: "0", mode: Mode::Restore, restores: &restores };
        assert!(message.markdown().contains("```text\nnothing 'code' @all\n```"), "{}", message.markdown());
    }
}

//! How brakes act, and that none is forgotten.

use serde_json::json;

use super::*;

fn brake(scope: Scope, devices: Devices, nth: u32) -> Brake {
    let (app, digest) = ("com.example.shop".parse().unwrap(), Digest::of(b"bad"));
    Brake {
        id: BrakeId::derive(&app, &digest, &scope, devices, nth),
        app,
        digest,
        release: Some("1.5.0".parse().unwrap()),
        scope,
        devices,
        by: "somebody".into(),
        why: "it breaks".into(),
        at: Timestamp::UNIX_EPOCH,
        evidence: Some(json!({ "failed": 9 })),
        rollback: false,
    }
}

fn on(name: &str) -> Scope {
    Scope::Channel(name.parse().unwrap())
}

fn index(brakes: &[Brake]) -> BrakeIndex {
    let mut index = BrakeIndex { generation: 7, ..BrakeIndex::default() };
    for brake in brakes {
        index.add(brake);
    }
    index
}

#[test]
fn the_strongest_brake_of_the_channel_acts() {
    let all = [
        brake(on("beta"), Devices::Return, 0),
        brake(on("production"), Devices::Keep, 0),
        brake(Scope::App, Devices::Return, 0),
    ];
    let force = |brakes: &[Brake], channel: &str, lifted: &[&Brake]| {
        let brakes = Brakes::compile(&index(brakes), &Brakes::none());
        let lifted: Vec<String> = lifted.iter().map(|brake| brake.id.to_string()).collect();
        let app = brakes.of("com.example.shop").unwrap();
        app.on(&Digest::of(b"bad"), channel, &lifted).map(|acting| acting.force)
    };
    assert_eq!(force(&all[..1], "beta", &[]), Some(Force::StopReturn));
    assert_eq!(force(&all[..1], "production", &[]), Some(Force::Pause));
    assert_eq!(force(&all[..2], "production", &[]), Some(Force::StopKeep));
    assert_eq!(force(&all, "production", &[]), Some(Force::StopReturn));
    // Each channel lifts for itself.
    assert_eq!(force(&all, "production", &[&all[2]]), Some(Force::StopKeep));
    assert_eq!(force(&all, "production", &[&all[2], &all[1]]), Some(Force::Pause));
    assert_eq!(force(&all, "production", &[&all[0], &all[1], &all[2]]), None);
    let brakes = Brakes::compile(&index(&all), &Brakes::none());
    let app = brakes.of("com.example.shop").unwrap();
    assert!(app.on(&Digest::of(b"good"), "production", &[]).is_none());
    assert_eq!(app.digest("1.5.0"), Some(&Digest::of(b"bad")));
    assert!(brakes.of("com.example.other").is_none());
}

#[test]
fn one_thing_has_one_id() {
    let first = brake(on("production"), Devices::Return, 0);
    assert_eq!(first.id, brake(on("production"), Devices::Return, 0).id);
    for other in [
        brake(on("production"), Devices::Return, 1),
        brake(on("production"), Devices::Keep, 0),
        brake(on("beta"), Devices::Return, 0),
        brake(Scope::App, Devices::Return, 0),
    ] {
        assert_ne!(first.id, other.id);
    }
    assert!(first.covers(&first.digest, &first.scope, Devices::Keep));
    assert!(!brake(Scope::App, Devices::Keep, 0).covers(&first.digest, &Scope::App, Devices::Return));
    for bad in ["", "A", "a/b", "-a", &"a".repeat(65)] {
        assert!(BrakeId::try_from(bad.to_owned()).is_err(), "{bad}");
    }
}

#[test]
fn what_was_braked_stays_braked() {
    let (first, second) = (brake(on("beta"), Devices::Return, 0), brake(Scope::App, Devices::Return, 0));
    let before = Brakes::compile(&index(&[first.clone(), second.clone()]), &Brakes::none());
    // An index that was put back from a backup and written over since.
    let lost = BrakeIndex { generation: 9, ..index(std::slice::from_ref(&first)) };
    let after = Brakes::compile(&lost, &before);
    assert!(after.has(&first.id) && after.has(&second.id));
    assert_eq!(after.generation(), 9);
    assert_eq!(Brakes::compile(&BrakeIndex::default(), &after).generation(), 9);
}

#[test]
fn one_entry_of_a_later_release_is_one_entry() {
    let known = brake(Scope::App, Devices::Return, 0);
    let mut written = serde_json::to_value(index(std::slice::from_ref(&known))).unwrap();
    assert!(!written.to_string().contains("evidence"), "the index is small");
    written["brakes"].as_array_mut().unwrap().push(json!({ "id": "x", "scope": { "planet": "mars" } }));
    let mut read: BrakeIndex = serde_json::from_value(written).unwrap();
    let brakes = Brakes::compile(&read, &Brakes::none());
    assert_eq!((brakes.iter().count(), brakes.unread()), (1, 1));
    assert!(!read.add(&known), "it is there");
    assert!(read.add(&brake(on("beta"), Devices::Keep, 0)));
    let again = serde_json::to_value(&read).unwrap();
    assert_eq!(again["brakes"][1]["scope"]["planet"], "mars");
}

#[test]
fn texts_are_one_bounded_line() {
    assert_eq!(short_text(" a\n\tb\u{7} "), "a b");
    assert_eq!(short_text(&"x".repeat(9_000)).len(), MOST_TEXT);
}

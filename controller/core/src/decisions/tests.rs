use super::*;
use crate::record::{AppRecord, Candidate, ChannelRecord, LineRecord};

fn candidate(release: &str, level: u32, weight: Ppm) -> Candidate {
    let at = Timestamp::UNIX_EPOCH;
    Candidate {
        release: release.parse().unwrap(),
        digest: Digest::of(release.as_bytes()),
        started: at,
        step: 0,
        step_since: at,
        level,
        weight,
        below: 0,
        level_since: at,
        active: 0,
        order: crate::cohort::Order::Fair,
        target: weight,
        audience: None,
        reached: Vec::new(),
        soaked: 0,
        soaking_since: None,
        returning: false,
        held_since: None,
        paused: None,
        braked: None,
    }
}

fn record(line: LineRecord) -> AppRecord {
    let mut record = AppRecord::new("com.example.shop".parse().unwrap(), "default");
    let mut channel = ChannelRecord { name: "production".into(), ..ChannelRecord::default() };
    channel.lines.insert("ios|*".into(), line.into());
    record.channels.insert("production".parse().unwrap(), channel);
    record
}

fn line(stable: Option<&str>, serial: u64, candidate: Option<Candidate>) -> LineRecord {
    let stable = stable.map(|version| Target::Release(version.parse().unwrap()));
    LineRecord { stable, serial, candidate, ..LineRecord::default() }
}

fn told_between(before: LineRecord, after: LineRecord) -> Vec<Row> {
    rows(&record(before), &record(after))
}

fn kinds(before: LineRecord, after: LineRecord) -> Vec<(Kind, String, u64)> {
    let all = told_between(before, after).into_iter().map(|row| row.transition);
    all.map(|t| (t.kind, t.release.to_string(), t.serial)).collect()
}

fn told(kind: Kind, release: &str, serial: u64) -> (Kind, String, u64) {
    (kind, release.to_owned(), serial)
}

#[test]
fn a_rollout_from_begin_to_end() {
    let stable = || line(Some("1.0.0"), 1, None);
    let at = |level, weight| line(Some("1.0.0"), 2, Some(candidate("1.1.0", level, weight)));
    assert_eq!(kinds(LineRecord::default(), stable()), [told(Kind::Completed, "1.0.0", 1)]);
    assert_eq!(kinds(stable(), stable()), []);
    assert_eq!(kinds(stable(), at(0, 10_000)), [told(Kind::Started, "1.1.0", 2)]);
    assert_eq!(kinds(at(0, 10_000), at(1, 50_000)), [told(Kind::Advanced, "1.1.0", 2)]);
    assert_eq!(kinds(at(1, 50_000), at(2, 10_000)), [told(Kind::Lowered, "1.1.0", 2)]);
    assert_eq!(kinds(at(1, 50_000), line(Some("1.1.0"), 2, None)), [told(Kind::Completed, "1.1.0", 2)]);
}

#[test]
fn whatever_ends_it_is_told_once() {
    let running = || line(Some("1.0.0"), 2, Some(candidate("1.1.0", 0, 10_000)));
    let braked = || {
        let braked = Candidate { braked: Some("b1".into()), ..candidate("1.1.0", 0, 10_000) };
        line(Some("1.0.0"), 2, Some(braked))
    };
    assert_eq!(kinds(running(), braked()), [told(Kind::Braked, "1.1.0", 2)]);
    assert_eq!(kinds(braked(), braked()), []);
    assert_eq!(kinds(braked(), line(Some("1.0.0"), 2, None)), [], "the brake has said it");
    assert_eq!(kinds(running(), line(Some("1.0.0"), 2, None)), [told(Kind::Withdrawn, "1.1.0", 2)]);
    let next = line(Some("1.0.0"), 3, Some(candidate("1.2.0", 0, 10_000)));
    let expected = [told(Kind::Overtaken, "1.1.0", 2), told(Kind::Started, "1.2.0", 3)];
    assert_eq!(kinds(running(), next), expected);
    let hotfix = line(Some("1.1.1"), 3, None);
    let expected = [told(Kind::Overtaken, "1.1.0", 2), told(Kind::Completed, "1.1.1", 3)];
    assert_eq!(kinds(running(), hotfix), expected);
}

#[test]
fn waiting_begins_and_ends() {
    let with = |change: fn(&mut Candidate)| {
        let mut candidate = candidate("1.1.0", 0, 10_000);
        change(&mut candidate);
        line(Some("1.0.0"), 2, Some(candidate))
    };
    let plain = || with(|_| ());
    let held = || with(|c| c.held_since = Some(Timestamp::UNIX_EPOCH));
    let paused = || with(|c| c.paused = Some("LaunchFailures".into()));
    assert_eq!(kinds(plain(), held()), [told(Kind::Held, "1.1.0", 2)]);
    assert_eq!(kinds(held(), plain()), [told(Kind::Resumed, "1.1.0", 2)]);
    let on = with(|c| (c.level, c.weight) = (1, 20_000));
    assert_eq!(kinds(held(), on), [told(Kind::Advanced, "1.1.0", 2)]);
    assert_eq!(kinds(plain(), paused()), [told(Kind::Paused, "1.1.0", 2)]);
    assert_eq!(kinds(paused(), paused()), []);
    assert_eq!(kinds(paused(), plain()), [told(Kind::Resumed, "1.1.0", 2)]);
    let other = with(|c| c.paused = Some("InstallFailures".into()));
    assert_eq!(kinds(paused(), other), [told(Kind::Paused, "1.1.0", 2)]);
}

#[test]
fn a_page_keeps_what_it_says() {
    let page = Page {
        app: "com.example.shop".parse().unwrap(),
        sequence: 1,
        previous: None,
        at: Timestamp::UNIX_EPOCH,
        rows: told_between(LineRecord::default(), line(Some("1.0.0"), 1, None)),
    };
    let text = serde_json::to_string(&page).unwrap();
    assert_eq!(serde_json::from_str::<Page>(&text).unwrap(), page);
    assert!(text.contains(r#""kind":"Completed""#) && !text.contains("numbers"), "{text}");
}

#[test]
fn shares_are_written_as_people_write_them() {
    let all = [0, 1, 500, 10_000, 12_500, 999_999, 1_000_000].map(percent);
    assert_eq!(all, ["0 %", "0.0001 %", "0.05 %", "1 %", "1.25 %", "99.9999 %", "100 %"]);
}

#[test]
fn a_step_for_others_is_a_step_on() {
    let staff: crate::channel::Audience = serde_json::from_str(r#"{"customIds": ["staff-*"]}"#).unwrap();
    let of_staff =
        |level, weight| Candidate { audience: Some(staff.clone()), ..candidate("1.1.0", level, weight) };
    let at = |candidate| line(Some("1.0.0"), 2, Some(candidate));
    for weight in [10_000, crate::cohort::ALL] {
        let (first, then) = (at(of_staff(0, weight)), at(candidate("1.1.0", 1, 10_000)));
        assert_eq!(kinds(first.clone(), then.clone()), [told(Kind::Advanced, "1.1.0", 2)]);
        assert_eq!(kinds(then, at(of_staff(2, weight))), [told(Kind::Advanced, "1.1.0", 2)]);
    }
    let all = told_between(line(Some("1.0.0"), 1, None), at(of_staff(0, crate::cohort::ALL)));
    assert_eq!(
        all[0].sentence,
        "1.1.0 is rolled out on production, to 100 % of the audience of a step first"
    );
}

fn numbers() -> Numbers {
    let treatment = ArmNumbers { enrolled: 120, past_horizon: 110, shown: 100, health: 0, silence: 1 };
    Numbers { treatment, control: ArmNumbers { enrolled: 121, ..ArmNumbers::default() } }
}

fn because(kind: Kind, reason: &str, sentence: &str, numbers: Option<Numbers>) -> Because {
    Because { kind, reason: reason.into(), sentence: sentence.into(), numbers }
}

#[test]
fn a_row_says_what_it_follows_from() {
    let at = |level, weight| line(Some("1.0.0"), 2, Some(candidate("1.1.0", level, weight)));
    let proven = because(Kind::Advanced, "Proven", "0 of 120 failed", Some(numbers()));
    let after = LineRecord { because: vec![proven], ..at(1, 100_000) };
    let row = told_between(at(0, 10_000), after.clone()).remove(0);
    assert_eq!(row.sentence, "1.1.0 goes to 10 % of production: 0 of 120 failed");
    assert_eq!(row.transition.reason, "Proven");
    assert_eq!(row.numbers["treatment"]["pastHorizon"], 110);
    assert_eq!(row.numbers["control"]["enrolled"], 121);
    // What stands in the record from the change before says nothing of the next one.
    let mut held = after.clone();
    held.candidate.as_mut().unwrap().held_since = Some(Timestamp::UNIX_EPOCH);
    let row = told_between(after, held).remove(0);
    assert_eq!((row.transition.kind, row.numbers), (Kind::Held, Value::Null));
    assert_eq!(row.sentence, "1.1.0 stays at 10 % of production until there is evidence");
}

#[test]
fn a_brake_says_who_and_why() {
    let braked = Candidate { braked: Some("b-1".into()), ..candidate("1.1.0", 0, 10_000) };
    let of = |id| because(Kind::Braked, id, "by gate: BrokenAtLaunch: 5 of 10", Some(numbers()));
    let after = LineRecord { because: vec![of("b-2"), of("b-1")], ..line(Some("1.0.0"), 2, Some(braked)) };
    let running = || line(Some("1.0.0"), 2, Some(candidate("1.1.0", 0, 10_000)));
    let row = told_between(running(), after.clone()).remove(0);
    let said = "1.1.0 is braked on production (brake b-1, by gate: BrokenAtLaunch: 5 of 10)";
    assert_eq!((row.sentence.as_str(), row.transition.reason.as_str()), (said, "b-1"));
    assert_eq!(row.numbers["treatment"]["enrolled"], 120);
    let unknown = LineRecord { because: vec![of("b-2")], ..after.clone() };
    let row = told_between(running(), unknown).remove(0);
    assert_eq!(row.sentence, "1.1.0 is braked on production (brake b-1)");
    let lifted = told_between(after, running()).remove(0);
    assert_eq!(lifted.sentence, "the rollout of 1.1.0 on production goes on at 1 %, as Git lifts its brake");
}

#[test]
fn a_brake_of_what_everybody_has() {
    let stable = || line(Some("1.0.0"), 1, None);
    let braked = |line| LineRecord { braked: Some("b-1".into()), ..line };
    assert_eq!(kinds(stable(), braked(stable())), [told(Kind::Braked, "1.0.0", 1)]);
    assert_eq!(kinds(braked(stable()), braked(stable())), []);
    let row = told_between(braked(stable()), stable()).remove(0);
    assert_eq!((row.transition.kind, row.transition.reason.as_str()), (Kind::Resumed, "BrakeLifted"));
    assert_eq!(row.sentence, "1.0.0 is offered on production again, as Git lifts its brake");
    // Also while another release is rolled out.
    let with = || line(Some("1.0.0"), 2, Some(candidate("1.1.0", 0, 10_000)));
    assert_eq!(kinds(with(), braked(with())), [told(Kind::Braked, "1.0.0", 2)]);
    // What takes its place lifts no brake.
    assert_eq!(kinds(braked(stable()), line(Some("1.1.0"), 2, None)), [told(Kind::Completed, "1.1.0", 2)]);
}

#[test]
fn records_of_other_releases_are_read() {
    let of_before = r#"{"stable": "1.0.0", "serial": 3}"#;
    let known: LineRecord = serde_json::from_str(of_before).unwrap();
    assert_eq!((known.because, known.braked), (Vec::new(), None));
    let of_later = r#"{"stable": "1.0.0", "serial": 3, "because": [
        {"kind": "Advanced", "reason": "Proven", "sentence": "s", "weather": "fine"},
        {"kind": "Teleported", "reason": "Proven", "sentence": "s"}
    ]}"#;
    let known: LineRecord = serde_json::from_str(of_later).unwrap();
    assert_eq!(known.because, [because(Kind::Advanced, "Proven", "s", None)]);
}

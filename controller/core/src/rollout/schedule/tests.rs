use jiff::civil::Weekday;

use super::*;

fn window(days: &[Weekday], from: &str, to: &str, zone: &str) -> Rollout {
    let window = Window {
        days: days.to_vec(),
        from: from.parse().unwrap(),
        to: to.parse().unwrap(),
        time_zone: zone.into(),
    };
    Rollout { window: Some(window), ..Rollout::default() }
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// The next begin and the end after it.
fn next(rollout: &Rollout, from: &str) -> (String, String) {
    let schedule = Schedule::new(rollout, &[], false);
    let open = schedule.next_open(at(from)).unwrap();
    assert!(schedule.is_open(open));
    assert!(!schedule.is_open(open - 1.nanosecond()) || open == at(from));
    let close = schedule.next_close(open).unwrap();
    assert!(!schedule.is_open(close) && schedule.is_open(close - 1.nanosecond()));
    (open.to_string(), close.to_string())
}

fn expect(rollout: &Rollout, from: &str, open: &str, close: &str) {
    assert_eq!(next(rollout, from), (open.to_owned(), close.to_owned()), "from {from}");
}

#[test]
fn office_hours() {
    let days = [Weekday::Monday, Weekday::Tuesday, Weekday::Wednesday, Weekday::Thursday];
    let office = window(&days, "09:00", "17:00", "Europe/Paris");
    expect(&office, "2026-11-25T12:00:00Z", "2026-11-25T12:00:00Z", "2026-11-25T16:00:00Z");
    expect(&office, "2026-11-26T16:00:00Z", "2026-11-30T08:00:00Z", "2026-11-30T16:00:00Z");
    expect(&office, "2026-07-03T10:00:00Z", "2026-07-06T07:00:00Z", "2026-07-06T15:00:00Z");
    let schedule = Schedule::new(&office, &[], false);
    assert_eq!(schedule.blocked(at("2026-11-27T12:00:00Z")), Some(Blocked::Window));
    assert!(
        Schedule::new(&office, &[], true).is_open(at("2026-11-27T12:00:00Z")),
        "what is urgent does not wait"
    );
}

#[test]
fn over_midnight_belongs_to_the_day_on_which_it_begins() {
    let night = window(&[Weekday::Friday], "22:00", "06:00", "UTC");
    expect(&night, "2026-11-25T00:00:00Z", "2026-11-27T22:00:00Z", "2026-11-28T06:00:00Z");
    assert!(Schedule::new(&night, &[], false).is_open(at("2026-11-28T05:59:59Z")));
    // Night after night without a break.
    let touching = window(&[], "12:00", "11:59", "UTC");
    let schedule = Schedule::new(&touching, &[], false);
    assert!(!schedule.is_open(at("2026-11-28T11:59:30Z")));
}

#[test]
fn clocks_put_forward() {
    // Paris, 2026-03-29: 02:00 is 03:00.
    let begins_in_it = window(&[Weekday::Sunday], "02:30", "04:00", "Europe/Paris");
    expect(&begins_in_it, "2026-03-28T12:00:00Z", "2026-03-29T01:00:00Z", "2026-03-29T02:00:00Z");
    let ends_in_it = window(&[Weekday::Sunday], "01:00", "02:30", "Europe/Paris");
    expect(&ends_in_it, "2026-03-28T12:00:00Z", "2026-03-29T00:00:00Z", "2026-03-29T01:00:00Z");
    let swallowed = window(&[Weekday::Sunday], "02:10", "02:50", "Europe/Paris");
    expect(&swallowed, "2026-03-28T12:00:00Z", "2026-04-05T00:10:00Z", "2026-04-05T00:50:00Z");
    // São Paulo, 2018-11-04: there is no midnight.
    let midnight = window(&[Weekday::Sunday], "00:00", "02:00", "America/Sao_Paulo");
    expect(&midnight, "2018-11-03T12:00:00Z", "2018-11-04T03:00:00Z", "2018-11-04T04:00:00Z");
    // Lord Howe, 2026-10-04: half an hour, 02:00 is 02:30.
    let half = window(&[Weekday::Sunday], "02:15", "02:45", "Australia/Lord_Howe");
    expect(&half, "2026-10-03T12:00:00Z", "2026-10-03T15:30:00Z", "2026-10-03T15:45:00Z");
    // Samoa, 2011-12-30: there is no such day.
    let friday = window(&[Weekday::Friday], "09:00", "17:00", "Pacific/Apia");
    expect(&friday, "2011-12-26T00:00:00Z", "2012-01-05T19:00:00Z", "2012-01-06T03:00:00Z");
}

#[test]
fn clocks_put_back() {
    // Paris, 2026-10-25: 03:00 is 02:00 again.
    let within = window(&[Weekday::Sunday], "02:15", "02:45", "Europe/Paris");
    expect(&within, "2026-10-24T12:00:00Z", "2026-10-25T00:15:00Z", "2026-10-25T00:45:00Z");
    assert!(!Schedule::new(&within, &[], false).is_open(at("2026-10-25T01:30:00Z")), "not a second time");
    let across = window(&[Weekday::Sunday], "02:30", "03:30", "Europe/Paris");
    expect(&across, "2026-10-24T12:00:00Z", "2026-10-25T00:30:00Z", "2026-10-25T02:30:00Z");
    // São Paulo, 2018-02-18: midnight is 23:00 of the day before.
    let late = window(&[Weekday::Saturday], "23:30", "00:30", "America/Sao_Paulo");
    expect(&late, "2018-02-17T12:00:00Z", "2018-02-18T01:30:00Z", "2018-02-18T03:30:00Z");
    // Lord Howe, 2026-04-05: 02:00 is 01:30 again.
    let half = window(&[Weekday::Sunday], "01:45", "02:15", "Australia/Lord_Howe");
    expect(&half, "2026-04-04T00:00:00Z", "2026-04-04T14:45:00Z", "2026-04-04T15:45:00Z");
}

#[test]
fn a_leap_day_is_a_day() {
    let tuesday = window(&[Weekday::Tuesday], "09:00", "10:00", "UTC");
    expect(&tuesday, "2028-02-28T12:00:00Z", "2028-02-29T09:00:00Z", "2028-02-29T10:00:00Z");
    let night = window(&[Weekday::Tuesday], "23:00", "01:00", "UTC");
    expect(&night, "2028-02-28T12:00:00Z", "2028-02-29T23:00:00Z", "2028-03-01T01:00:00Z");
}

#[test]
fn freezes_and_a_first_time() {
    let freeze = |name: &str, from: &str, to: &str| Freeze {
        name: name.into(),
        from: at(from),
        to: at(to),
        reason: None,
    };
    let freezes = [
        freeze("sales", "2026-11-27T00:00:00Z", "2026-12-01T00:00:00Z"),
        freeze("audit", "2026-11-30T00:00:00Z", "2026-12-02T12:00:00Z"),
    ];
    let mut office = window(&[], "09:00", "17:00", "UTC");
    office.not_before = Some(at("2026-11-28T00:00:00Z"));
    let schedule = Schedule::new(&office, &freezes, false);
    assert!(matches!(schedule.blocked(at("2026-11-25T10:00:00Z")), Some(Blocked::NotBefore(_))));
    assert_eq!(schedule.next_open(at("2026-11-25T10:00:00Z")), Some(at("2026-12-02T12:00:00Z")));
    assert_eq!(schedule.next_close(at("2026-12-02T13:00:00Z")), Some(at("2026-12-02T17:00:00Z")));
    let Some(Blocked::Frozen(found)) = schedule.blocked(at("2026-11-30T10:00:00Z")) else { panic!("frozen") };
    assert_eq!(found.name, "audit", "the one that lasts longest");
    let urgent = Schedule::new(&office, &freezes, true);
    assert_eq!(urgent.next_open(at("2026-11-25T10:00:00Z")), office.not_before);

    let always = Rollout::default();
    let schedule = Schedule::new(&always, &freezes, false);
    assert_eq!(schedule.next_close(at("2026-11-25T10:00:00Z")), Some(freezes[0].from));
    assert_eq!(schedule.next_close(at("2027-01-01T00:00:00Z")), None);
    assert_eq!(schedule.next_open(Timestamp::MAX), Some(Timestamp::MAX));
}

#[test]
fn what_never_opens_says_why() {
    for (rollout, why) in [
        (window(&[], "09:00", "09:00", "UTC"), InvalidWindow::Never),
        (window(&[], "09:00", "10:00", "Europe/Atlantis"), InvalidWindow::Zone("Europe/Atlantis".into())),
    ] {
        let schedule = Schedule::new(&rollout, &[], false);
        assert_eq!(schedule.blocked(Timestamp::UNIX_EPOCH), Some(Blocked::Never(why)));
        assert_eq!(schedule.next_open(Timestamp::UNIX_EPOCH), None);
    }
}

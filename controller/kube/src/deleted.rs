//! Channels that were deleted from the cluster and not from Git, with `apply: External`: they go on being served for a
//! grace period (rule 5).
//!
//! The period begins when a leader first sees the channel gone, which the Repository's status remembers over restarts and
//! changes of the leader. Clocks can be wrong. One that is behind makes the period longer. One that jumps ahead while a
//! leader leads changes nothing, and one that was ahead from the start ends nothing before the end was announced for
//! [`ANNOUNCED`].

use std::{
    collections::BTreeMap,
    str::FromStr,
    sync::Mutex,
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};
use sluice_core::ids::{AppId, ChannelName};
use sluice_crds::{common::duration, repository::DeletedChannel};

use crate::cache::lock;

/// For so long at least a leader says when a channel will end, before it does; for the whole period when that is shorter.
const ANNOUNCED: SignedDuration = SignedDuration::from_hours(1);
/// Channels that status can list. Further ones begin again with each leader.
const LISTED: usize = 256;
/// A longer period is as good as this one.
const LONGEST: Duration = Duration::from_hours(24 * 3_660);

/// How long a deleted channel goes on being served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Grace {
    /// Until Git or a person says otherwise.
    Forever,
    /// This long.
    For(SignedDuration),
}

impl FromStr for Grace {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "Forever" {
            return Ok(Self::Forever);
        }
        let period = duration(text).ok_or("expected a duration such as `7d`, or `Forever`")?;
        Ok(Self::For(SignedDuration::try_from(period.min(LONGEST)).unwrap_or(SignedDuration::MAX)))
    }
}

/// What follows for a channel that is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// Since when it is gone.
    pub(crate) since: Timestamp,
    /// Until when it is served; `None`: for ever.
    pub(crate) until: Option<Timestamp>,
    /// That time has come.
    pub(crate) over: bool,
}

/// Judges a channel that is gone: `since` is when any leader first saw that, as far as it is remembered, and `seen` when
/// this one did.
fn judge(grace: Grace, since: Option<Timestamp>, seen: Timestamp, now: Timestamp) -> Verdict {
    // A time that is yet to come was noted by a clock that was ahead.
    let since = since.map_or(now, |since| since.min(now));
    let Grace::For(grace) = grace else { return Verdict { since, until: None, over: false } };
    let end = |from: Timestamp, after| from.checked_add(after).unwrap_or(Timestamp::MAX);
    let until = end(since, grace).max(end(seen.min(now), grace.min(ANNOUNCED)));
    Verdict { since, until: Some(until), over: now >= until }
}

/// A clock that no jump of the wall clock sets forward.
#[derive(Debug)]
struct Clock {
    began: (Timestamp, Instant),
}

impl Clock {
    /// In whole seconds, as people read it.
    fn now(&self) -> Timestamp {
        seconds(self.exact())
    }

    fn exact(&self) -> Timestamp {
        steady(self.began.0, self.began.1.elapsed(), Timestamp::now())
    }
}

/// The earlier of what the wall clock says and what it should say by now.
fn steady(began: Timestamp, since: Duration, wall: Timestamp) -> Timestamp {
    let expected = began.checked_add(since).unwrap_or(Timestamp::MAX);
    expected.min(wall)
}

fn seconds(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

/// The channels of one Repository that are gone.
#[derive(Debug)]
pub(crate) struct Deleted {
    grace: Grace,
    clock: Clock,
    known: Mutex<BTreeMap<(AppId, ChannelName), Known>>,
}

#[derive(Debug)]
struct Known {
    /// Name that the object had.
    name: String,
    /// When this leader first saw it gone; `None`: it has not looked yet.
    seen: Option<Timestamp>,
    verdict: Verdict,
}

impl Deleted {
    /// With what status remembers.
    pub(crate) fn new(grace: Grace, remembered: &[DeletedChannel]) -> Self {
        let known = remembered.iter().filter_map(|channel| {
            let id = (channel.app.parse().ok()?, channel.channel.parse().ok()?);
            let (since, until) = (channel.since.parse().ok()?, channel.until.as_ref());
            let until = until.and_then(|until| until.parse().ok());
            let verdict = Verdict { since, until, over: false };
            Some((id, Known { name: channel.name.clone(), seen: None, verdict }))
        });
        let clock = Clock { began: (Timestamp::now(), Instant::now()) };
        Self { grace, clock, known: Mutex::new(known.collect()) }
    }

    /// Judges a channel that is gone. The second value says whether its time has come since it was last asked.
    pub(crate) fn judge(&self, id: &(AppId, ChannelName), name: &str) -> (Verdict, bool) {
        let (now, mut known) = (self.clock.now(), lock(&self.known));
        let before = known.get(id);
        let seen = before.and_then(|known| known.seen).unwrap_or(now);
        let verdict = judge(self.grace, before.map(|known| known.verdict.since), seen, now);
        let news = verdict.over && !before.is_some_and(|known| known.verdict.over);
        known.insert(id.clone(), Known { name: name.to_owned(), seen: Some(seen), verdict });
        (verdict, news)
    }

    /// Forgets every channel that is not among these: it is back, or is served no more.
    pub(crate) fn retain(&self, is_gone: impl Fn(&(AppId, ChannelName)) -> bool) {
        lock(&self.known).retain(|id, _| is_gone(id));
    }

    /// How long it is until the next time comes, of the channels that this leader has looked at.
    pub(crate) fn next(&self) -> Option<Duration> {
        let known = lock(&self.known);
        let open = known.values().filter(|known| known.seen.is_some() && !known.verdict.over);
        let next = open.filter_map(|known| known.verdict.until).min()?;
        // A verdict looks at whole seconds; a period may end between two of them.
        let end = seconds(next.checked_add(SignedDuration::from_millis(999)).unwrap_or(next));
        Some(Duration::try_from(self.clock.exact().duration_until(end)).unwrap_or_default())
    }

    /// What status shows, the longest gone first: those that are served.
    pub(crate) fn status(&self) -> Vec<DeletedChannel> {
        let known = lock(&self.known);
        let mut all: Vec<_> = known.iter().filter(|(_, known)| !known.verdict.over).collect();
        all.sort_by_key(|(id, known)| (known.verdict.since, *id));
        let shown = all.into_iter().take(LISTED).map(|((app, channel), known)| DeletedChannel {
            name: known.name.clone(),
            app: app.to_string(),
            channel: channel.to_string(),
            since: known.verdict.since.to_string(),
            until: known.verdict.until.map(|until| until.to_string()),
        });
        shown.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn week() -> Grace {
        "7d".parse().unwrap()
    }

    /// When it ends, and whether it has.
    fn ends(grace: Grace, since: Option<i64>, seen: i64, now: i64) -> (Option<i64>, bool) {
        let verdict = judge(grace, since.map(at), at(seen), at(now));
        (verdict.until.map(Timestamp::as_second), verdict.over)
    }

    #[test]
    fn a_period_begins_when_it_is_first_seen_and_ends_once() {
        assert_eq!(ends(week(), None, 100, 100), (Some(100 + 7 * DAY), false));
        // Deleted on Friday, still served on Monday.
        assert_eq!(ends(week(), Some(100), 100, 100 + 3 * DAY), (Some(100 + 7 * DAY), false));
        assert_eq!(ends(week(), Some(100), 100, 99 + 7 * DAY), (Some(100 + 7 * DAY), false));
        assert_eq!(ends(week(), Some(100), 100, 100 + 7 * DAY), (Some(100 + 7 * DAY), true));
        // Another leader goes on where the last one was.
        assert_eq!(ends(week(), Some(100), 5 * DAY, 5 * DAY), (Some(100 + 7 * DAY), false));
        assert_eq!(ends(week(), Some(100), 5 * DAY, 100 + 7 * DAY), (Some(100 + 7 * DAY), true));
    }

    #[test]
    fn other_periods() {
        assert_eq!(ends(Grace::Forever, Some(0), 0, 1_000 * DAY), (None, false));
        assert_eq!(ends("0s".parse().unwrap(), None, 100, 100), (Some(100), true));
        // Shorter than an announcement: a new leader announces it for the whole period.
        let short: Grace = "30s".parse().unwrap();
        assert_eq!(ends(short, Some(0), 0, 30), (Some(30), true));
        assert_eq!(ends(short, Some(0), 20, 30), (Some(50), false));
        for wrong in ["", "7", "forever", "-1d", "a week"] {
            assert!(wrong.parse::<Grace>().is_err(), "{wrong}");
        }
        assert!(matches!("99999999999d".parse(), Ok(Grace::For(period)) if period.as_hours() == 24 * 3_660));
    }

    #[test]
    fn a_clock_that_was_ahead_ends_nothing_at_once() {
        // The new leader's clock is a month ahead: it says so for an hour first.
        let ahead = 30 * DAY;
        assert_eq!(ends(week(), Some(100), ahead, ahead), (Some(ahead + 3_600), false));
        assert_eq!(ends(week(), Some(100), ahead, ahead + 3_600), (Some(ahead + 3_600), true));
        // The last leader's was: what it noted is yet to come.
        assert_eq!(ends(week(), Some(ahead), 100, 100), (Some(100 + 7 * DAY), false));
    }

    #[test]
    fn a_clock_that_goes_back_makes_it_longer() {
        assert_eq!(ends(week(), Some(10 * DAY), 10 * DAY, 9 * DAY), (Some(16 * DAY), false));
        assert_eq!(judge(week(), Some(at(10 * DAY)), at(10 * DAY), at(9 * DAY)).since, at(9 * DAY));
    }

    #[test]
    fn a_jump_ahead_is_not_believed_while_a_leader_leads() {
        let began = at(1_000);
        assert_eq!(steady(began, Duration::from_mins(1), at(1_060)), at(1_060));
        assert_eq!(steady(began, Duration::from_mins(1), at(10 * DAY)), at(1_060));
        assert_eq!(steady(began, Duration::from_mins(1), at(500)), at(500));
        assert_eq!(seconds(steady(began, Duration::from_millis(1_900), at(1_002))), at(1_001));
    }

    #[test]
    fn status_carries_it_from_one_leader_to_the_next() {
        let id = ("com.example.shop".parse().unwrap(), "production".parse().unwrap());
        let first = Deleted::new(week(), &[]);
        let (verdict, news) = first.judge(&id, "shop-production");
        assert!(!verdict.over && !news);
        let shown = first.status();
        assert_eq!(shown[0].name, "shop-production");
        assert_eq!(shown[0].until, verdict.until.map(|until| until.to_string()));
        let mut older = shown;
        older[0].since = verdict.since.checked_sub(SignedDuration::from_hours(24 * 8)).unwrap().to_string();

        let second = Deleted::new(week(), &older);
        assert_eq!(second.status()[0].since, older[0].since, "before it has looked");
        assert_eq!(second.next(), None, "while nothing can be looked at, nothing is woken");
        let (verdict, news) = second.judge(&id, "shop-production");
        assert!(!verdict.over && !news, "it is announced first");
        let next = second.next().unwrap();
        assert!(next > Duration::from_mins(59) && next <= Duration::from_hours(1), "{next:?}");
        second.retain(|_| false);
        assert!(second.status().is_empty() && second.next().is_none());

        let none = Deleted::new("0s".parse().unwrap(), &[]);
        assert!(none.judge(&id, "shop-production").1, "news");
        assert!(!none.judge(&id, "shop-production").1, "no news");
        assert!(none.status().is_empty());
    }
}

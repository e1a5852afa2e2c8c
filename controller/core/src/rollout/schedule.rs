//! When a rollout may start and go on: windows of the week, freezes, and a time before which it may not.
//!
//! A window is read on the clocks of its time zone. It begins as soon as they show its begin or later, and ends as soon
//! as they show its end or later. So where clocks are put forward over the begin, the window begins with the jump; one
//! that lies in the jump as a whole does not open that day; and where clocks are put back, an hour that comes twice
//! counts when it comes first.

use std::sync::OnceLock;

use jiff::{
    Timestamp, ToSpan as _,
    civil::{Date, Time},
    tz::{AmbiguousOffset, TimeZone, TimeZoneDatabase},
};

use crate::channel::{Freeze, Rollout, Window};

/// Days that are looked through for the next begin of a window: two weeks, so that one begin that a clock change
/// swallows does not matter.
const DAYS: i64 = 15;

/// A window that means nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidWindow {
    /// No such time zone.
    #[error("`{0}` is not a time zone")]
    Zone(String),
    /// It never opens.
    #[error("the window ends when it begins, so it never opens")]
    Never,
}

/// When a rollout may start and go on.
#[derive(Debug, Clone)]
pub struct Schedule<'a> {
    window: Option<Result<(&'a Window, TimeZone), InvalidWindow>>,
    freezes: &'a [Freeze],
    not_before: Option<Timestamp>,
}

/// Why a rollout may not start or go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Blocked<'a> {
    /// The channel names a later time.
    NotBefore(Timestamp),
    /// The repository is frozen.
    Frozen(&'a Freeze),
    /// The window is closed.
    Window,
    /// The window never opens.
    Never(InvalidWindow),
}

impl<'a> Schedule<'a> {
    /// The schedule of a channel. What is urgent passes windows and freezes.
    pub fn new(rollout: &'a Rollout, freezes: &'a [Freeze], urgent: bool) -> Self {
        let window = rollout.window.as_ref().filter(|_| !urgent);
        Self {
            window: window.map(|window| Ok((window, check(window)?))),
            freezes: if urgent { &[] } else { freezes },
            not_before: rollout.not_before,
        }
    }

    /// What stands against going on at `at`.
    pub fn blocked(&self, at: Timestamp) -> Option<Blocked<'_>> {
        if let Some(time) = self.not_before.filter(|time| at < *time) {
            return Some(Blocked::NotBefore(time));
        }
        // Of several, the one that lasts longest.
        let frozen = self.freezes.iter().filter(|freeze| freeze.from <= at && at < freeze.to);
        if let Some(freeze) = frozen.max_by_key(|freeze| freeze.to) {
            return Some(Blocked::Frozen(freeze));
        }
        match &self.window {
            Some(Err(never)) => Some(Blocked::Never(never.clone())),
            Some(Ok((window, zone))) if around(window, zone, at).is_none() => Some(Blocked::Window),
            _ => None,
        }
    }

    /// Whether a rollout may go on at `at`.
    pub fn is_open(&self, at: Timestamp) -> bool {
        self.blocked(at).is_none()
    }

    /// The first time from `at` on at which a rollout may go on; `None`: never.
    pub fn next_open(&self, mut at: Timestamp) -> Option<Timestamp> {
        // Each round passes a freeze for good, or `notBefore`, or goes to the begin of a window.
        for _ in 0..=2 * self.freezes.len() + 2 {
            at = match self.blocked(at) {
                None => return Some(at),
                Some(Blocked::NotBefore(time)) => time,
                Some(Blocked::Frozen(freeze)) => freeze.to,
                Some(Blocked::Never(_)) => return None,
                Some(Blocked::Window) => {
                    let (window, zone) = self.window.as_ref()?.as_ref().ok()?;
                    occurrences(window, zone, at).map(|(from, _)| from).find(|from| *from > at)?
                }
            };
        }
        None
    }

    /// When a time that is open now ends; `None`: never, or it is not open.
    pub fn next_close(&self, at: Timestamp) -> Option<Timestamp> {
        if !self.is_open(at) {
            return None;
        }
        let window = match &self.window {
            Some(Ok((window, zone))) => around(window, zone, at),
            _ => None,
        };
        let freeze = self.freezes.iter().map(|freeze| freeze.from).filter(|from| *from > at).min();
        window.into_iter().chain(freeze).min()
    }
}

/// The time zone of a window that opens.
pub(super) fn check(window: &Window) -> Result<TimeZone, InvalidWindow> {
    // Not the machine's: every replica must read a window in the same way.
    static ZONES: OnceLock<TimeZoneDatabase> = OnceLock::new();
    if window.from == window.to {
        return Err(InvalidWindow::Never);
    }
    let zones = ZONES.get_or_init(TimeZoneDatabase::bundled);
    zones.get(&window.time_zone).map_err(|_| InvalidWindow::Zone(window.time_zone.clone()))
}

/// The end of the window that `at` is in. Two that touch are one.
fn around(window: &Window, zone: &TimeZone, at: Timestamp) -> Option<Timestamp> {
    let mut end = None;
    for (from, to) in occurrences(window, zone, at) {
        if from <= end.unwrap_or(at) && at < to {
            end = end.max(Some(to));
        }
    }
    end
}

/// Begins and ends from the day before `at` on, in order.
fn occurrences(
    window: &Window,
    zone: &TimeZone,
    at: Timestamp,
) -> impl Iterator<Item = (Timestamp, Timestamp)> {
    let today = at.to_zoned(zone.clone()).date();
    let days = (-1..DAYS).filter_map(move |days| today.checked_add(days.days()).ok());
    days.filter(|day| window.days.is_empty() || window.days.contains(&day.weekday())).filter_map(move |day| {
        let last = if window.to > window.from { day } else { day.tomorrow().ok()? };
        let (from, to) = (first(zone, day, window.from)?, first(zone, last, window.to)?);
        (from < to).then_some((from, to))
    })
}

/// The first time that the clocks of a day show `time` or later.
fn first(zone: &TimeZone, day: Date, time: Time) -> Option<Timestamp> {
    let wanted = zone.to_ambiguous_timestamp(day.to_datetime(time));
    let is_skipped = matches!(wanted.offset(), AmbiguousOffset::Gap { .. });
    let earlier = wanted.earlier().ok()?;
    if !is_skipped {
        return Some(earlier);
    }
    // Clocks go from before the wanted time to after it: that is the jump.
    Some(zone.following(earlier).next()?.timestamp())
}

#[cfg(test)]
#[path = "schedule/tests.rs"]
mod tests;

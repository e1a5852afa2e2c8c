//! What happened between two states of a record.

use std::cmp::Ordering;

use super::{Kind, LIFTED, Row, Transition};
use crate::{
    channel::Target,
    cohort::{ALL, Ppm},
    record::{AppRecord, Candidate, LineRecord},
};

/// The rows of what happened between two states of a record, in the order of its channels and lines.
pub fn rows(before: &AppRecord, after: &AppRecord) -> Vec<Row> {
    let mut all = Vec::new();
    let nothing = LineRecord::default();
    for (channel, now) in &after.channels {
        let known = before.channels.get(channel);
        for (line, now) in &now.lines {
            let was = known.and_then(|known| Some(known.lines.get(line)?.as_ref())).unwrap_or(&nothing);
            all.extend(changes(was, now).into_iter().map(|change| {
                let Change { kind, serial, release, level, weight, limited, reason } = change;
                let because = now.because.iter().rev().find(|because| because.is_of(kind, reason));
                let reason = because.map_or(reason, |because| &because.reason).to_owned();
                let (channel, line) = (channel.clone(), line.clone());
                let transition =
                    Transition { channel, line, serial, kind, release, level, weight, limited, reason };
                Row::new(transition, because)
            }));
        }
    }
    all
}

/// Something that happened to a rollout of one line.
pub(crate) struct Change<'a> {
    pub(crate) kind: Kind,
    serial: u64,
    release: Target,
    level: u32,
    weight: Ppm,
    limited: bool,
    pub(crate) reason: &'a str,
}

impl<'a> Change<'a> {
    fn of(kind: Kind, serial: u64, candidate: &Candidate, reason: &'a str) -> Self {
        let Candidate { release, level, weight, audience, .. } = candidate;
        let (release, limited) = (Target::Release(release.clone()), audience.is_some());
        Self { kind, serial, release, level: *level, weight: *weight, limited, reason }
    }

    /// Of a release that everybody is offered.
    fn of_stable(kind: Kind, serial: u64, release: Target, level: u32, reason: &'a str) -> Self {
        Self { kind, serial, release, level, weight: ALL, limited: false, reason }
    }
}

/// What happened between two states of a line.
pub(crate) fn changes<'a>(was: &LineRecord, now: &'a LineRecord) -> Vec<Change<'a>> {
    let mut all = Vec::new();
    match (&was.candidate, &now.candidate) {
        (Some(before), Some(after)) if was.serial == now.serial => {
            progress(before, after, now.serial, &mut all);
        }
        _ => ends_and_begins(was, now, &mut all),
    }
    if let Some(stable) = &now.stable {
        brake_of_stable(was, now, stable, &mut all);
    }
    all
}

fn ends_and_begins<'a>(was: &LineRecord, now: &'a LineRecord, all: &mut Vec<Change<'a>>) {
    let same = was.serial == now.serial;
    if let Some(before) = &was.candidate
        && now.stable != Some(Target::Release(before.release.clone()))
        && before.braked.is_none()
    {
        let kind = if now.candidate.is_some() || !same { Kind::Overtaken } else { Kind::Withdrawn };
        all.push(Change::of(kind, was.serial, before, ""));
    }
    if let Some(candidate) = &now.candidate {
        all.push(Change::of(Kind::Started, now.serial, candidate, ""));
        if let Some(brake) = &candidate.braked {
            all.push(Change::of(Kind::Braked, now.serial, candidate, brake));
        }
    }
    if let Some(stable) = now.stable.clone().filter(|stable| was.stable.as_ref() != Some(stable)) {
        let level = was.candidate.as_ref().filter(|_| same).map_or(0, |candidate| candidate.level);
        all.push(Change::of_stable(Kind::Completed, now.serial, stable, level, ""));
    }
}

fn progress<'a>(before: &Candidate, after: &'a Candidate, serial: u64, all: &mut Vec<Change<'a>>) {
    let mut tell = |kind, reason| all.push(Change::of(kind, serial, after, reason));
    let kind = match after.weight.cmp(&before.weight) {
        // Shares of different audiences are not compared: it goes to others.
        _ if after.audience != before.audience => Some(Kind::Advanced),
        Ordering::Greater => Some(Kind::Advanced),
        Ordering::Less => Some(Kind::Lowered),
        Ordering::Equal => None,
    };
    if let Some(kind) = kind {
        tell(kind, "");
    }
    match (&before.braked, &after.braked) {
        (None, Some(brake)) => return tell(Kind::Braked, brake),
        (Some(_), None) => tell(Kind::Resumed, LIFTED),
        _ => {}
    }
    match (&before.paused, &after.paused) {
        (was, Some(why)) if was.as_ref() != Some(why) => tell(Kind::Paused, ""),
        (Some(_), None) => tell(Kind::Resumed, ""),
        _ => {}
    }
    match (before.held_since, after.held_since) {
        (None, Some(_)) => tell(Kind::Held, ""),
        // Going on with a larger weight says it already.
        (Some(_), None) if kind.is_none() => tell(Kind::Resumed, ""),
        _ => {}
    }
}

/// A brake on what everybody is offered. Another release in its place says by itself that this one is over.
fn brake_of_stable<'a>(was: &LineRecord, now: &'a LineRecord, stable: &Target, all: &mut Vec<Change<'a>>) {
    let known = was.braked.as_ref().filter(|_| was.stable.as_ref() == Some(stable));
    let (kind, reason) = match (known, &now.braked) {
        (None, Some(brake)) => (Kind::Braked, brake.as_str()),
        (Some(_), None) => (Kind::Resumed, LIFTED),
        _ => return,
    };
    let rollout = now.watch.as_ref().map(|watch| watch.serial).filter(|serial| *serial > 0);
    let serial = rollout.unwrap_or(now.serial);
    all.push(Change::of_stable(kind, serial, stable.clone(), 0, reason));
}

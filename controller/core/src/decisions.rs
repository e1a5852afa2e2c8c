//! The decision log: what became of each rollout, row by row. Rows of one moment are a page, and each page holds the digest of
//! the one before, so that none can be changed or left out unseen.
//!
//! Rows follow from what changed in the record of an app. So nothing is decided that is not told, and whoever
//! writes a page again after a crash finds that it says the same.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    channel::Target,
    cohort::Ppm,
    digest::Digest,
    ids::{AppId, ChannelName},
    record::{AppRecord, Candidate, LineRecord},
};

/// What happened to a rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// It began.
    Started,
    /// Its weight rose.
    Advanced,
    /// Its weight was lowered.
    Lowered,
    /// It waits for evidence.
    Held,
    /// Nobody new is offered it.
    Paused,
    /// It goes on after it was held or paused.
    Resumed,
    /// It was braked.
    Braked,
    /// Everybody is offered it.
    Completed,
    /// A newer release took its place.
    Overtaken,
    /// Git does not ask for it any more.
    Withdrawn,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// One thing that happened to one rollout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Transition {
    /// The channel.
    pub channel: ChannelName,
    /// [`crate::channel::Line::key`].
    pub line: String,
    /// Number of the rollout in its line.
    pub serial: u64,
    /// What happened.
    pub kind: Kind,
    /// The release that is, or was, rolled out.
    pub release: Target,
    /// Number of the weight, from 0.
    pub level: u32,
    /// The weight in parts per million.
    pub weight: Ppm,
    /// Whether that is a share of the audience of a step, and not of the channel's.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub limited: bool,
    /// Why, for machines.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

impl Transition {
    /// What happened, in a sentence.
    pub fn sentence(&self) -> String {
        let Self { channel, kind, release, weight, limited, reason, .. } = self;
        let (share, of) = (percent(*weight), if *limited { " of the audience of a step" } else { "" });
        let because = if reason.is_empty() { String::new() } else { format!(" ({reason})") };
        match kind {
            Kind::Started => format!("{release} is rolled out on {channel}, to {share}{of} first"),
            Kind::Advanced => format!("{release} goes to {share}{of} of {channel}"),
            Kind::Lowered => format!("{release} goes back to {share}{of} of {channel}"),
            Kind::Held => format!("{release} stays at {share}{of} of {channel} until there is evidence"),
            Kind::Paused => format!("nobody new on {channel} is offered {release}{because}"),
            Kind::Resumed => format!("the rollout of {release} on {channel} goes on at {share}{of}"),
            Kind::Braked => format!("{release} is braked on {channel}{because}"),
            Kind::Completed => format!("everybody on {channel} is offered {release}"),
            Kind::Overtaken => {
                format!("a newer release takes the place of {release} on {channel}, at {share}{of}")
            }
            Kind::Withdrawn => {
                format!("Git does not ask for {release} on {channel} any more, at {share}{of}")
            }
        }
    }
}

/// A weight for people, without zeros that say nothing.
pub fn percent(weight: Ppm) -> String {
    let (whole, rest) = (weight / 10_000, weight % 10_000);
    let rest = format!("{rest:04}");
    match rest.trim_end_matches('0') {
        "" => format!("{whole} %"),
        rest => format!("{whole}.{rest} %"),
    }
}

/// A row of the log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// What.
    #[serde(flatten)]
    pub transition: Transition,
    /// Why, in a sentence for people.
    pub sentence: String,
    /// The numbers that the sentence rests on.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub numbers: Value,
}

/// What was decided at one time: a page of the log of an app, which is written whole.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Page {
    /// The app.
    pub app: AppId,
    /// Its place in the log of the app, from 1.
    pub sequence: u64,
    /// Digest of the page before, over its bytes as they are stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Digest>,
    /// When.
    pub at: Timestamp,
    /// What.
    pub rows: Vec<Row>,
}

/// The end of a log: what the record of the app keeps of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Head {
    /// The last page's place.
    pub sequence: u64,
    /// The last page's digest.
    pub digest: Digest,
}

/// What happened between two states of a record, in the order of its channels and lines.
pub fn transitions(before: &AppRecord, after: &AppRecord) -> Vec<Transition> {
    let mut all = Vec::new();
    let nothing = LineRecord::default();
    for (channel, now) in &after.channels {
        let known = before.channels.get(channel);
        for (line, now) in &now.lines {
            let was = known.and_then(|known| Some(known.lines.get(line)?.as_ref())).unwrap_or(&nothing);
            let mut tell = |kind, of: Told<'_>| {
                let Told { serial, release, level, weight, limited, reason } = of;
                let (channel, line, reason) = (channel.clone(), line.clone(), reason.to_owned());
                all.push(Transition { channel, line, serial, kind, release, level, weight, limited, reason });
            };
            line_transitions(was, now, &mut tell);
        }
    }
    all
}

/// What a transition says of a rollout.
struct Told<'a> {
    serial: u64,
    release: Target,
    level: u32,
    weight: Ppm,
    limited: bool,
    reason: &'a str,
}

impl<'a> Told<'a> {
    fn of(serial: u64, candidate: &Candidate, reason: &'a str) -> Self {
        let Candidate { release, level, weight, audience, .. } = candidate;
        let (release, limited) = (Target::Release(release.clone()), audience.is_some());
        Self { serial, release, level: *level, weight: *weight, limited, reason }
    }
}

fn line_transitions(was: &LineRecord, now: &LineRecord, tell: &mut impl FnMut(Kind, Told<'_>)) {
    let same = was.serial == now.serial;
    match (&was.candidate, &now.candidate) {
        (Some(before), Some(after)) if same => {
            progress(before, after, now.serial, tell);
            return;
        }
        (Some(before), _)
            if now.stable != Some(Target::Release(before.release.clone())) && before.braked.is_none() =>
        {
            let kind = if now.candidate.is_some() || !same { Kind::Overtaken } else { Kind::Withdrawn };
            tell(kind, Told::of(was.serial, before, ""));
        }
        _ => {}
    }
    if let Some(candidate) = &now.candidate {
        tell(Kind::Started, Told::of(now.serial, candidate, ""));
        if let Some(brake) = &candidate.braked {
            tell(Kind::Braked, Told::of(now.serial, candidate, brake));
        }
    }
    if let Some(stable) = now.stable.clone().filter(|stable| was.stable.as_ref() != Some(stable)) {
        let level = was.candidate.as_ref().filter(|_| same).map_or(0, |candidate| candidate.level);
        let (serial, weight) = (now.serial, crate::cohort::ALL);
        let told = Told { serial, release: stable, level, weight, limited: false, reason: "" };
        tell(Kind::Completed, told);
    }
}

fn progress(before: &Candidate, after: &Candidate, serial: u64, tell: &mut impl FnMut(Kind, Told<'_>)) {
    let kind = match after.weight.cmp(&before.weight) {
        // Shares of different audiences are not compared: it goes to others.
        _ if after.audience != before.audience => Some(Kind::Advanced),
        std::cmp::Ordering::Greater => Some(Kind::Advanced),
        std::cmp::Ordering::Less => Some(Kind::Lowered),
        std::cmp::Ordering::Equal => None,
    };
    if let Some(kind) = kind {
        tell(kind, Told::of(serial, after, ""));
    }
    match (&before.braked, &after.braked) {
        (None, Some(brake)) => return tell(Kind::Braked, Told::of(serial, after, brake)),
        (Some(_), None) => tell(Kind::Resumed, Told::of(serial, after, "BrakeLifted")),
        _ => {}
    }
    match (&before.paused, &after.paused) {
        (was, Some(reason)) if was.as_ref() != Some(reason) => {
            tell(Kind::Paused, Told::of(serial, after, reason));
        }
        (Some(_), None) => tell(Kind::Resumed, Told::of(serial, after, "")),
        _ => {}
    }
    match (before.held_since, after.held_since) {
        (None, Some(_)) => tell(Kind::Held, Told::of(serial, after, "")),
        // Going on with a larger weight says it already.
        (Some(_), None) if kind.is_none() => tell(Kind::Resumed, Told::of(serial, after, "")),
        _ => {}
    }
}

#[cfg(test)]
#[path = "decisions/tests.rs"]
mod tests;

//! The decision log: what became of each rollout, row by row. Rows of one moment are a page, and each page holds the digest of
//! the one before, so that none can be changed or left out unseen.
//!
//! Rows follow from what changed in the record of an app, which also keeps what its last change followed from. So nothing is
//! decided that is not told, and whoever writes a page again after a crash finds that it says the same.

mod changes;

use std::fmt;

pub(crate) use changes::changes;
pub use changes::rows;
use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::{
    channel::Target,
    cohort::{ALL, Ppm},
    digest::Digest,
    gate::ArmNumbers,
    ids::{AppId, ChannelName},
};

/// The reason of going on after Git lifted a brake.
pub(crate) const LIFTED: &str = "BrakeLifted";

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
    /// Why, for machines; of a brake its id.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

impl Transition {
    /// What happened, in a sentence, and what it follows from.
    fn sentence(&self, because: Option<&Because>) -> String {
        let Self { channel, kind, release, weight, limited, reason, .. } = self;
        let (share, of) = (percent(*weight), if *limited { " of the audience of a step" } else { "" });
        let what = match kind {
            Kind::Started => format!("{release} is rolled out on {channel}, to {share}{of} first"),
            Kind::Advanced => format!("{release} goes to {share}{of} of {channel}"),
            Kind::Lowered => format!("{release} goes back to {share}{of} of {channel}"),
            Kind::Held => format!("{release} stays at {share}{of} of {channel} until there is evidence"),
            Kind::Paused => format!("nobody new on {channel} is offered {release}"),
            Kind::Resumed if reason == LIFTED && *weight == ALL => {
                format!("{release} is offered on {channel} again, as Git lifts its brake")
            }
            Kind::Resumed if reason == LIFTED => {
                format!(
                    "the rollout of {release} on {channel} goes on at {share}{of}, as Git lifts its brake"
                )
            }
            Kind::Resumed => format!("the rollout of {release} on {channel} goes on at {share}{of}"),
            Kind::Braked => {
                let why = because.map_or_else(String::new, |because| format!(", {}", because.sentence));
                return format!("{release} is braked on {channel} (brake {reason}{why})");
            }
            Kind::Completed => format!("everybody on {channel} is offered {release}"),
            Kind::Overtaken => {
                format!("a newer release takes the place of {release} on {channel}, at {share}{of}")
            }
            Kind::Withdrawn => {
                format!("Git does not ask for {release} on {channel} any more, at {share}{of}")
            }
        };
        match because {
            Some(Because { sentence, .. }) => format!("{what}: {sentence}"),
            None => what,
        }
    }
}

/// What a change followed from, where that is evidence or a brake, and not time or Git alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Because {
    /// The change.
    pub kind: Kind,
    /// CamelCase, for machines; of a brake its id.
    pub reason: String,
    /// A sentence for people, with its numbers.
    pub sentence: String,
    /// What it rests on; nothing where a person decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub numbers: Option<Numbers>,
}

/// Devices of both arms of a trial, over all of its levels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Numbers {
    /// Of the candidate's arm.
    pub treatment: ArmNumbers,
    /// Of the other arm.
    pub control: ArmNumbers,
}

impl Because {
    /// Whether it is what such a change followed from. Of brakes several may come at once.
    pub(crate) fn is_of(&self, kind: Kind, reason: &str) -> bool {
        self.kind == kind
            && match kind {
                Kind::Braked => self.reason == reason,
                _ => reason != LIFTED,
            }
    }

    /// Those that this program understands: what a later release says of a change must not make a record unreadable.
    pub(crate) fn understood<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Self>, D::Error> {
        let all = Vec::<Value>::deserialize(deserializer)?;
        Ok(all.into_iter().filter_map(|one| serde_json::from_value(one).ok()).collect())
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
    /// The [`Numbers`] that the sentence rests on, as they were written; `null` where it rests on none.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub numbers: Value,
}

impl Row {
    /// The row of something that happened, and of what it followed from.
    pub fn new(transition: Transition, because: Option<&Because>) -> Self {
        let numbers = because.and_then(|because| serde_json::to_value(because.numbers).ok());
        Self { sentence: transition.sentence(because), transition, numbers: numbers.unwrap_or_default() }
    }
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

#[cfg(test)]
#[path = "decisions/tests.rs"]
mod tests;

//! Rollbacks: how Git is told that a bundle was braked, and gets what was there before.
//!
//! The brake is the safety, and holds whatever becomes of Git; the rollback makes Git true again, by one commit that is
//! made once (rule 7). A [`Rollback`] is the write-ahead log of that: what is about to be done stands in it before it is
//! done. It has the id of its brake, which is also what lifts the hold.

mod message;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use message::{Message, TRAILER, mentions};

use crate::{
    brake::{Brake, BrakeId, Scope, short_text},
    channel::Target,
    digest::Digest,
    ids::{AppId, ChannelName, Version},
};

/// The format that this program writes.
pub const FORMAT: u32 = 1;
/// Entries of the log that are kept.
const MOST_LOG: usize = 64;

/// Why a rollback was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Cause {
    /// A person asked for it.
    Requested,
    /// The gate found the release bad.
    GateFailed,
}

/// How far a rollback is. The first five follow each other; those after them are ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Phase {
    /// The bundle is braked, and Git does not know yet.
    Braked,
    /// The commit is made and recorded, and may have been sent.
    Planned,
    /// The branch has the commit, and it is not seen on the followed branch yet.
    Pushed,
    /// A branch with the commit waits to be merged by a person.
    ProposalOpen,
    /// The channel does not refer to the bundle any more.
    Complete,
    /// Somebody released something newer meanwhile: that counts.
    Superseded,
    /// A person closed the proposal without merging it.
    Declined,
    /// The gate has rolled this channel back too often in a day: a person must look.
    CircuitOpen,
    /// The branch lost commits that the rollback was planned on.
    HistoryRewritten,
}

impl Phase {
    /// Whether nothing more is done.
    pub const fn is_end(self) -> bool {
        !matches!(self, Self::Braked | Self::Planned | Self::Pushed | Self::ProposalOpen)
    }

    /// The condition reason, in CamelCase.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Braked => "Braked",
            Self::Planned => "Planned",
            Self::Pushed => "Pushed",
            Self::ProposalOpen => "ProposalOpen",
            Self::Complete => "Complete",
            Self::Superseded => "Superseded",
            Self::Declined => "Declined",
            Self::CircuitOpen => "CircuitOpen",
            Self::HistoryRewritten => "HistoryRewritten",
        }
    }
}

/// What the commit does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Mode {
    /// Takes back the whole commit that brought the release, as `git revert` does.
    Revert,
    /// Lets the channel refer to the last good release, and leaves the rest of that commit.
    Restore,
}

impl Mode {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Revert => "Revert",
            Self::Restore => "Restore",
        }
    }
}

/// A commit that was planned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Planned {
    /// Its id. Planning it again on the same parent gives the same one.
    pub commit: String,
    /// The tip that it was planned on.
    pub parent: String,
    /// The commit that brought the bad release to the channel.
    pub introduced_by: String,
    /// What it does.
    pub mode: Mode,
    /// What the channel refers to with it.
    pub restores: Target,
}

/// A pull request of a Git host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PullRequest {
    /// Its number, as people see it.
    pub number: u64,
    /// Where people see it.
    pub url: String,
}

/// Why it does not go on. It is tried again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stall {
    /// CamelCase, for machines.
    pub reason: String,
    /// A sentence for people, which says what to do.
    pub message: String,
    /// Since when.
    pub since: Timestamp,
}

/// One thing that was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LogEntry {
    /// When.
    pub at: Timestamp,
    /// How far it was then.
    pub phase: Phase,
    /// A sentence for people.
    pub message: String,
}

/// One bad bundle that one channel goes back from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rollback {
    /// Format of this object.
    pub format: u32,
    /// The id of its brake.
    pub id: BrakeId,
    /// The app.
    pub app: AppId,
    /// The channel.
    pub channel: ChannelName,
    /// The bad bundle.
    pub digest: Digest,
    /// The version that devices know it by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<Version>,
    /// Why it was opened.
    pub cause: Cause,
    /// Who opened it: the gate, or a person.
    pub by: String,
    /// Why, for people.
    pub why: String,
    /// When the bundle was braked; also the time of the commit.
    pub at: Timestamp,
    /// Where a person wants the channel to go; `None`: to what did well last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Target>,
    /// How far it is.
    pub phase: Phase,
    /// The commit, once planned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub planned: Option<Planned>,
    /// The branch that waits to be merged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proposal: Option<String>,
    /// The pull request for it, where the Git host was asked for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pull_request: Option<PullRequest>,
    /// Why it does not go on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stall: Option<Stall>,
    /// What was done, in order; the newest entries where there are too many.
    #[serde(default)]
    pub log: Vec<LogEntry>,
}

impl Rollback {
    /// The rollback that a brake asks for; `None`: the brake is of a whole app, and no channel goes back by it.
    pub fn of(brake: &Brake, cause: Cause, to: Option<Target>) -> Option<Self> {
        let Scope::Channel(channel) = &brake.scope else { return None };
        let mut rollback = Self {
            format: FORMAT,
            id: brake.id.clone(),
            app: brake.app.clone(),
            channel: channel.clone(),
            digest: brake.digest,
            release: brake.release.clone(),
            cause,
            by: short_text(&brake.by),
            why: short_text(&brake.why),
            at: brake.at,
            to,
            phase: Phase::Braked,
            planned: None,
            proposal: None,
            pull_request: None,
            stall: None,
            log: Vec::new(),
        };
        rollback.enter(Phase::Braked, brake.at, format!("braked by {}: {}", brake.by, brake.why));
        Some(rollback)
    }

    /// Goes on to a phase.
    pub fn enter(&mut self, phase: Phase, at: Timestamp, message: String) {
        self.phase = phase;
        self.stall = None;
        self.log.push(LogEntry { at, phase, message });
        let beyond = self.log.len().saturating_sub(MOST_LOG);
        self.log.drain(..beyond);
    }

    /// Notes why it does not go on. Says whether that is news.
    pub fn wait(&mut self, reason: &str, message: &str, now: Timestamp) -> bool {
        let known = self.stall.as_ref().filter(|stall| stall.reason == reason);
        let news = known.is_none_or(|stall| stall.message != message);
        let since = known.map_or(now, |stall| stall.since);
        self.stall = Some(Stall { reason: reason.to_owned(), message: message.to_owned(), since });
        news
    }

    /// The branch of its proposal.
    pub fn branch(&self) -> String {
        // Not every name of a channel is one that Git takes.
        let plain = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' };
        let channel: String = self.channel.as_str().chars().map(plain).collect();
        format!("rollback/{channel}/{}", self.id)
    }

    /// The version, or the bundle where nobody knows one.
    pub fn what(&self) -> String {
        self.release.as_ref().map_or_else(|| format!("bundle {}", self.digest.short()), ToString::to_string)
    }
}

/// Rollbacks by the gate that one channel may have in a day: the next one opens the circuit.
pub const MOST_A_DAY: usize = 2;

/// Whether the gate has rolled back a channel too often for `rollback`: then devices stay safe, and a person looks.
pub fn circuit_opens<'a>(rollback: &Rollback, others: impl IntoIterator<Item = &'a Rollback>) -> bool {
    let day = jiff::SignedDuration::from_hours(24);
    let lately = |other: &&Rollback| {
        other.id != rollback.id
            && (&other.app, &other.channel) == (&rollback.app, &rollback.channel)
            && other.cause == Cause::GateFailed
            && other.phase != Phase::CircuitOpen
            && other.at <= rollback.at
            && rollback.at.duration_since(other.at) < day
    };
    rollback.cause == Cause::GateFailed && others.into_iter().filter(lately).count() >= MOST_A_DAY
}

#[cfg(test)]
mod tests;

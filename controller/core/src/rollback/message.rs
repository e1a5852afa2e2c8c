//! The message of the commit, and finding it again.

use super::{Mode, Planned, Rollback};
use crate::channel::Target;

/// The trailer that carries the id of a rollback.
pub const TRAILER: &str = "Rollback-Id";
/// Characters of the reason in the subject.
const SHORT: usize = 60;

/// What the message of a commit is made from.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// The rollback.
    pub rollback: &'a Rollback,
    /// The commit that brought the bad release.
    pub introduced_by: &'a str,
    /// What the commit does.
    pub mode: Mode,
    /// What the channel refers to with it.
    pub restores: &'a Target,
}

impl<'a> Message<'a> {
    /// The message of what was planned.
    pub fn new(rollback: &'a Rollback, planned: &'a Planned) -> Self {
        let Planned { introduced_by, mode, restores, .. } = planned;
        Self { rollback, introduced_by, mode: *mode, restores }
    }

    /// The text. It does not begin with `revert`, which release bots answer with a new version.
    pub fn text(&self) -> String {
        let Self { rollback, introduced_by, mode, restores } = self;
        let Rollback { id, app, channel, digest, cause, by, why, .. } = rollback;
        let what = rollback.what();
        let body = match mode {
            Mode::Revert => format!("This reverts commit {introduced_by}."),
            Mode::Restore => format!(
                "Commit {introduced_by} brought {what} to the channel. The channel refers to {restores} again; what\n\
                 else that commit changed stays."
            ),
        };
        let short: String = why.chars().take(SHORT).collect();
        let dots = if short.len() < why.len() { "…" } else { "" };
        format!(
            "Roll back {channel} to {restores}: {short}{dots}\n\n{why}\n\n{body}\n\n\
             The bundle of {what} stays held on {channel}, under any version. To release it again, lift that in the spec of\n\
             the channel:\n\n    allowHeld: [{id}]\n\n\
             {TRAILER}: {id}\nReverts: {introduced_by}\nChannel: {app}/{channel}\nRelease: {what}\n\
             Bundle-Digest: sha256:{digest}\nRestores: {restores}\nRollback-Mode: {mode}\nReason: {cause:?}\n\
             Requested-By: {by}\n",
            mode = mode.name(),
        )
    }
}

impl Message<'_> {
    /// The subject of the commit, and title of a pull request.
    pub fn subject(&self) -> String {
        self.text().lines().next().unwrap_or_default().to_owned()
    }

    /// The text of a pull request, as Markdown.
    pub fn markdown(&self) -> String {
        let Self { rollback, introduced_by, mode, restores } = self;
        let (what, Rollback { id, app, channel, digest, why, by, .. }) = (rollback.what(), rollback);
        let does = match mode {
            Mode::Revert => {
                format!("It reverts commit {introduced_by}, which brought {what} and nothing else.")
            }
            Mode::Restore => format!(
                "It lets the channel refer to {restores} again. Commit {introduced_by}, which brought {what}, changed more \
                 than that: the rest of it stays."
            ),
        };
        format!(
            "**{what} is braked on channel `{channel}` of `{app}`**, by `{by}`:\n\n```text\n{why}\n```\n\nDevices are safe: nobody is \
             offered it any more, and those that run it are returned or keep it, as the channel says. This change makes Git \
             say so, too. {does}\n\nMerging it in any way ends the rollback. Closing it declines it: the bundle stays braked, \
             and the channel needs another release.\n\nTo release the same bundle again, under whatever version, lift its hold \
             in the spec of the channel:\n\n```yaml\nallowHeld: [{id}]\n```\n\nBundle `sha256:{digest}`, rollback `{id}`.\n",
            // Nothing that people or reports say is taken for Markdown.
            why = why.replace('`', "'"),
            by = by.replace('`', "'"),
        )
    }
}

/// Whether the trailers of a commit name a rollback.
pub fn mentions<'t>(trailers: impl IntoIterator<Item = (&'t str, &'t str)>, id: &str) -> bool {
    trailers.into_iter().any(|(key, value)| key.eq_ignore_ascii_case(TRAILER) && value == id)
}

//! Step one, its first half: what the repository declares.

use std::{collections::BTreeSet, sync::Arc};

use jiff::Timestamp;
use sluice_core::{
    diagnostic::Code,
    ids::{AppId, ChannelName},
    inventory::{Object, PruneGuard},
};
use sluice_repo::{CommitId, Poll};

use crate::{Engine, EngineError, observe};

/// Version of the parser: a change of the program may see more in the same bytes.
const PARSER: &str = env!("CARGO_PKG_VERSION");
/// Commits between two polls whose messages are read for trailers.
const MESSAGES: usize = 1_000;

impl Engine {
    /// Asks the repository for news and reads what it declares.
    pub(crate) async fn look(&mut self) {
        let found = self.parts.source.poll().await;
        let commit = match found {
            Err(error) => {
                self.away = true;
                return self.trouble(error.reason(), &error.to_string());
            }
            Ok(Poll::Unchanged) => self.parts.source.commit(),
            Ok(Poll::Moved { to, .. }) => Some(to),
            Ok(Poll::Rewritten { to, .. }) => {
                self.rewritten = true;
                Some(to)
            }
        };
        self.away = false;
        self.contact.at = Some(Timestamp::now());
        let Some(commit) = commit else { return };
        self.contact.observed = Some(commit.to_string());
        let unread = self.inventory.problems().any(|p| p.code == Code::Unreadable);
        self.dirty |= self.contact.trouble.take().is_some();
        if self.read && self.commit == Some(commit) && !unread {
            return self.answered();
        }
        match self.read(commit, self.rewritten).await {
            Ok(()) => {
                self.rewritten = false;
                self.dirty = true;
            }
            Err(error) => self.trouble(error.reason(), &error.to_string()),
        }
    }

    /// Reads a commit and steps the inventory.
    async fn read(&mut self, commit: CommitId, rewritten: bool) -> Result<(), EngineError> {
        let mirror = self.parts.source.mirror();
        let folder = self.settings.folder.clone();
        let before = Arc::clone(&self.inventory);
        let from = self.commit;
        // What an earlier process read may have been another folder.
        let since = from.filter(|_| self.read && !self.hides);
        let read = tokio::task::spawn_blocking(move || {
            let reader = mirror.open()?;
            let read = observe::files(&reader, commit, &folder, &before, PARSER, since)?;
            let step = before.step(commit.to_string(), PARSER.to_owned(), read.files);
            // Without a last commit nobody can say which word is new.
            let allowed = if step.removed.is_empty() || rewritten || from.is_none() {
                0
            } else {
                // A commit that the repository does not have any more hides nothing.
                let from = from.filter(|from| reader.has(*from));
                reader.messages(from, commit, MESSAGES)?.allowed_prune().unwrap_or(0)
            };
            Ok((step, read.hides, allowed))
        });
        let fail = |source| EngineError::Read { commit: commit.to_string(), source };
        let (step, hides, allowed) = read.await.map_err(|_| EngineError::Interrupted)?.map_err(fail)?;

        let in_use = if step.removed.is_empty() { BTreeSet::new() } else { self.in_use().await };
        let guard = PruneGuard { allowed: usize::try_from(allowed).unwrap_or(usize::MAX), in_use };
        self.prune = guard.refuse(&self.inventory, &step);
        let keep = self.prune.is_some() || (rewritten && !step.removed.is_empty());
        self.inventory = Arc::new(if keep { step.keeping_removed().next } else { step.next });
        if rewritten || self.commit != Some(commit) {
            self.contact.rewritten = rewritten.then(|| {
                format!(
                    "history was rewritten: the commit that was served before is not part of {commit}; what that commit \
                     no longer declares is kept until the next one"
                )
            });
        }
        self.read = true;
        self.hides = hides;
        self.unsaved = true;
        self.disturbed = true;
        self.commit = Some(commit);
        self.contact.applied = Some(commit.to_string());
        Ok(())
    }

    /// Channels that devices used in the last days. When the fleet store cannot say, every channel that is served.
    async fn in_use(&self) -> BTreeSet<(AppId, ChannelName)> {
        let channels = self.inventory.objects().filter_map(|located| match &located.object {
            Object::Channel(channel) => Some((channel.app.clone(), channel.channel.clone())),
            Object::Release(_) => None,
        });
        // What devices said a moment ago may still wait to be written.
        let asked = match self.parts.fleet.flush().await {
            Ok(()) => self.parts.fleet.active_devices().await,
            Err(error) => Err(error),
        };
        // What a damaged store knew is not known (rule 5).
        let forgot = self.parts.fleet.figures().damaged_files > 0;
        match asked {
            Ok(active) if !forgot => channels
                .filter(|(app, channel)| {
                    active.iter().any(|a| {
                        a.devices > 0
                            && a.app == app.as_str()
                            && a.channel.as_deref() == Some(channel.as_str())
                    })
                })
                .collect(),
            _ => channels.collect(),
        }
    }
}

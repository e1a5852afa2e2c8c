//! One step of one rollback: look, plan, write down, push, and look again.

use std::time::Duration;

use jiff::Timestamp;
use rand::Rng as _;
use sluice_core::{
    brake::BrakeId,
    rollback::{Message, Phase, Planned, PullRequest, Rollback},
};
use sluice_forge::{ForgeError, Proposal, State};
use sluice_repo::{CommitId, Draft, Poll, Push, Pushed, Refusal, RepoError};
use sluice_store::control::ControlError;
use tokio::time::Instant;

use super::{
    FIRST_WAIT, LAST_WAIT, PROPOSAL, Reverter, WriteMode,
    ground::Ground,
    plan::{Plan, plan},
};

/// The label of pull requests.
const LABEL: &str = "rollback";
/// Races that are lost before the wait grows.
const MOST_RACES: u32 = 10;
/// The wait after a lost race, in milliseconds.
const RACE: std::ops::Range<u64> = 50..2_000;

/// When to look again.
enum Next {
    /// At once.
    Now,
    /// After something that passes by itself or that a person must mend: the longer it lasts, the later.
    Later,
    /// After another writer was faster.
    Raced,
    /// In a while: a person decides.
    Proposal,
}

impl Reverter {
    /// Takes one rollback further, as far as it goes now.
    pub(super) async fn step(&mut self, id: &BrakeId) -> Result<(), ControlError> {
        let Some(open) = self.open.get(id) else { return Ok(()) };
        let mut rollback = open.rollback.clone();
        // What somebody else wrote meanwhile counts, and is looked at in the next turn.
        let Some(next) = self.advance(&mut rollback).await? else { return Ok(()) };
        if !self.write(&rollback).await? {
            return Ok(());
        }
        let Some(open) = self.open.get_mut(id) else { return Ok(()) };
        let now = Instant::now();
        open.due = match next {
            Next::Now => now,
            Next::Proposal => now + PROPOSAL,
            Next::Raced if open.raced < MOST_RACES => {
                open.raced += 1;
                now + Duration::from_millis(
                    rand::rng().random_range(RACE) / u64::from(MOST_RACES - open.raced + 1),
                )
            }
            Next::Later | Next::Raced => {
                open.wait = (open.wait * 2).min(LAST_WAIT);
                now + open.wait.mul_f64(rand::rng().random_range(0.5..1.0))
            }
        };
        if matches!(next, Next::Now) {
            (open.wait, open.raced) = (FIRST_WAIT, 0);
        }
        Ok(())
    }

    /// Writes how far a rollback is; says `false` when somebody else has written since: that is read then.
    async fn write(&mut self, rollback: &Rollback) -> Result<bool, ControlError> {
        let Some(open) = self.open.get_mut(&rollback.id) else { return Ok(false) };
        if open.rollback == *rollback {
            return Ok(true);
        }
        match self.store.write_rollback(rollback, &open.etag).await? {
            Some(etag) => {
                open.etag = etag;
                open.rollback = rollback.clone();
                if rollback.phase.is_end()
                    && let Some(open) = self.open.remove(&rollback.id)
                {
                    self.ended.insert(rollback.id.clone(), open.rollback);
                }
                Ok(true)
            }
            None => self.list().await.map(|()| false),
        }
    }

    async fn advance(&mut self, rollback: &mut Rollback) -> Result<Option<Next>, ControlError> {
        let tip = match self.write.source.poll().await {
            Ok(Poll::Moved { to, .. } | Poll::Rewritten { to, .. }) => to,
            Ok(Poll::Unchanged) => match self.write.source.commit() {
                Some(tip) => tip,
                None => return Ok(Some(Next::Later)),
            },
            Err(error) => return Ok(Some(wait(rollback, error.reason(), &error.to_string()))),
        };
        Ok(Some(match self.plan(rollback, tip).await {
            Ok(Plan::End(phase, message)) => {
                // Devices are answered from what the engine reads.
                self.look.notify_one();
                end(rollback, phase, message)
            }
            Ok(Plan::Wait(reason, message)) => wait(rollback, reason, &message),
            Ok(Plan::Commit(_)) if rollback.phase == Phase::ProposalOpen => self.look_after(rollback).await,
            Ok(Plan::Commit(planned)) => {
                let Some(branch) = self.write.branch.clone().filter(|_| self.write.mode != WriteMode::Off)
                else {
                    let message = "Git is not written to (`--write off`, or what is followed is no branch): let the \
                                   channel refer to another release there";
                    return Ok(Some(wait(rollback, "WriteBackUnavailable", message)));
                };
                let (planned, draft) = *planned;
                if !self.note(rollback, planned).await? {
                    return Ok(None);
                }
                match self.write.mode {
                    WriteMode::PullRequest => self.propose(rollback, draft).await,
                    _ => self.push(rollback, branch, draft, tip).await,
                }
            }
            Err(error) => wait(rollback, "CommitUnreadable", &error),
        }))
    }

    /// Plans on a tip. The error is for people.
    async fn plan(&self, rollback: &Rollback, tip: CommitId) -> Result<Plan, String> {
        let standing = self.standing.borrow().clone();
        let Some(record) = standing.records.get(&rollback.app).cloned() else {
            return Ok(Plan::Wait("NotOwned", "the app is of another repository now".to_owned()));
        };
        let (mirror, folder) = (self.write.source.mirror(), self.folder.clone());
        let (committer, brakes) = (self.write.committer.clone(), self.watch.brakes().load_full());
        let rollback = rollback.clone();
        let planned = tokio::task::spawn_blocking(move || {
            let reader = mirror.open()?;
            let known = (&*record, &*brakes, &rollback);
            plan(&Ground::read(&reader, tip, &folder, &standing.inventory, known)?, &committer)
        });
        match planned.await {
            Ok(planned) => planned.map_err(|error| error.to_string()),
            Err(_) => Err("the planning was interrupted".to_owned()),
        }
    }

    /// Writes down what is about to be pushed; `false`: somebody else has written since.
    async fn note(&mut self, rollback: &mut Rollback, planned: Planned) -> Result<bool, ControlError> {
        if rollback.planned.as_ref() == Some(&planned) {
            return Ok(true);
        }
        let message = format!(
            "commit {} on {} lets {} refer to {} ({})",
            short(&planned.commit),
            short(&planned.parent),
            rollback.channel,
            planned.restores,
            planned.mode.name(),
        );
        rollback.planned = Some(planned);
        rollback.enter(Phase::Planned, Timestamp::now(), message);
        self.write(rollback).await
    }

    async fn push(&mut self, rollback: &mut Rollback, branch: String, draft: Draft, tip: CommitId) -> Next {
        let id = draft.id;
        let push = Push { branch: branch.clone(), expected: Some(tip), draft: draft.clone() };
        match self.write.source.push(push).await {
            Pushed::Landed => {
                tracing::warn!(rollback = %rollback.id, commit = %id, channel = %rollback.channel, "Git is told of a brake");
                rollback.enter(Phase::Pushed, Timestamp::now(), format!("{branch} is at {}", id.short()));
                self.look.notify_one();
                Next::Now
            }
            Pushed::Refused(Refusal::Raced, detail) => {
                rollback.wait("Raced", &format!("{branch} moved meanwhile: {detail}"), Timestamp::now());
                Next::Raced
            }
            Pushed::Refused(Refusal::Protected, _) if self.write.mode == WriteMode::Auto => {
                self.propose(rollback, draft).await
            }
            refused => Self::refused(rollback, &branch, refused),
        }
    }

    /// A branch of its own, made once.
    async fn propose(&mut self, rollback: &mut Rollback, draft: Draft) -> Next {
        let branch = rollback.branch();
        let id = draft.id;
        match self.write.source.push(Push { branch: branch.clone(), expected: None, draft }).await {
            Pushed::Landed | Pushed::Refused(Refusal::Raced, _) => {
                // Asked for again after a crash, it is the same one.
                rollback.pull_request = match self.ask_for_merge(rollback, &branch).await {
                    Ok(request) => request,
                    Err(error) => return wait(rollback, "PullRequestFailed", &error.to_string()),
                };
                let waits = match &rollback.pull_request {
                    Some(request) => format!("pull request {} waits to be merged", request.url),
                    None => format!("branch {branch} has commit {}: merge it", id.short()),
                };
                rollback.proposal = Some(branch);
                rollback.enter(Phase::ProposalOpen, Timestamp::now(), waits);
                Next::Proposal
            }
            refused => Self::refused(rollback, &branch, refused),
        }
    }

    /// Asks the Git host for a pull request, where it is known how.
    async fn ask_for_merge(
        &self,
        rollback: &Rollback,
        branch: &str,
    ) -> Result<Option<PullRequest>, ForgeError> {
        let (Some(forge), Some(base), Some(planned)) =
            (&self.write.forge, &self.write.branch, &rollback.planned)
        else {
            return Ok(None);
        };
        let message = Message::new(rollback, planned);
        let proposal = Proposal {
            head: branch.to_owned(),
            base: base.clone(),
            title: message.subject(),
            body: message.markdown(),
            labels: vec![LABEL.to_owned()],
        };
        let made = forge.propose(&proposal).await?;
        Ok(Some(PullRequest { number: made.number, url: made.url }))
    }

    /// Looks whether a person has declined. That it is merged shows on the branch.
    async fn look_after(&self, rollback: &mut Rollback) -> Next {
        let (Some(forge), Some(PullRequest { number, url })) =
            (&self.write.forge, rollback.pull_request.clone())
        else {
            return Next::Proposal;
        };
        let request = sluice_forge::PullRequest { number, url };
        match forge.state(&request).await {
            Ok(State::Closed) => {
                let message = format!(
                    "{} was closed without merging: the bundle stays braked, and the channel needs another release",
                    request.url
                );
                end(rollback, Phase::Declined, message)
            }
            Ok(State::Open | State::Merged) => {
                rollback.stall = None;
                Next::Proposal
            }
            Err(error) => {
                tracing::debug!(rollback = %rollback.id, %error, "the pull request could not be looked at");
                Next::Proposal
            }
        }
    }

    fn refused(rollback: &mut Rollback, branch: &str, pushed: Pushed) -> Next {
        match pushed {
            Pushed::Landed => Next::Now,
            Pushed::Refused(Refusal::Raced, detail) => wait(rollback, "Raced", &detail),
            Pushed::Refused(Refusal::Protected, detail) => {
                wait(rollback, "BranchProtected", &format!("{branch} takes no commit of ours: {detail}"))
            }
            Pushed::Refused(Refusal::Other, detail) => {
                wait(rollback, "PushRefused", &format!("the server refuses {branch}: {detail}"))
            }
            Pushed::NotSent(error @ RepoError::Auth { .. }) => {
                wait(rollback, "CredentialsRefused", &format!("{error}; they must be able to write"))
            }
            Pushed::NotSent(error) => wait(rollback, error.reason(), &error.to_string()),
            // The next look finds it, or pushes the same commit again.
            Pushed::Unknown(detail) => {
                wait(rollback, "PushUnknown", &format!("nobody knows yet whether {branch} has it: {detail}"))
            }
        }
    }
}

fn wait(rollback: &mut Rollback, reason: &str, message: &str) -> Next {
    if rollback.wait(reason, message, Timestamp::now()) {
        tracing::warn!(rollback = %rollback.id, channel = %rollback.channel, reason, "a rollback waits: {message}");
    }
    Next::Later
}

fn end(rollback: &mut Rollback, phase: Phase, message: String) -> Next {
    tracing::info!(rollback = %rollback.id, channel = %rollback.channel, phase = phase.reason(), "{message}");
    rollback.enter(phase, Timestamp::now(), message);
    Next::Later
}

fn short(commit: &str) -> &str {
    commit.get(..12).unwrap_or(commit)
}

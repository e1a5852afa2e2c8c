//! Which commit tells Git of a brake (`rollback-by-revert` section 2): nothing is written here.

use std::{collections::BTreeMap, sync::Arc};

use sluice_core::{
    channel::{Channel, Target},
    diagnostic::Severity,
    inventory::{FileEntries, Inventory, Located, Object},
    release::{RollbackPolicy, Source},
    rollback::{Cause, Message, Mode, Phase, Planned, TRAILER, mentions},
};
use sluice_manifest::{limits::FILE_BYTES, parse_file, point};
use sluice_repo::{CommitId, Committer, Content, Draft, Edit, ReadError, trailers};

use super::ground::{self, Ground, dangling, release};

/// Commits beyond which nobody looks for the one that brought the release, or for an earlier commit of the rollback.
const MOST_COMMITS: usize = 50_000;
/// Commits of a merge whose messages are read.
const MOST_MERGED: usize = 1_000;
/// Committers' clocks may be behind ours by so many seconds.
const SLACK: i64 = 24 * 3_600;

/// What is to be done.
#[derive(Debug)]
pub(super) enum Plan {
    /// This commit, on the tip.
    Commit(Box<(Planned, Draft)>),
    /// Nothing more: it has come to an end.
    End(Phase, String),
    /// Nothing now, for a reason that a person can mend.
    Wait(&'static str, String),
}

/// Plans on the tip as it is.
pub(super) fn plan(ground: &Ground<'_>, committer: &Committer) -> Result<Plan, ReadError> {
    let rollback = ground.rollback;
    let (what, name) = (rollback.what(), &rollback.channel);
    let Some((located, channel)) = ground.channel().filter(|(located, _)| !located.stale) else {
        let message = format!(
            "{name} is not declared in commit {} without mistakes: mend its file, or let it refer to another release",
            ground.tip
        );
        return Ok(Plan::Wait("Conflict", message));
    };
    if let Some(planned) = &rollback.planned
        && let Ok(parent) = planned.parent.parse::<CommitId>()
        && !(ground.reader.has(parent) && ground.reader.contains(ground.tip, parent)?)
    {
        let message = format!(
            "the branch lost commits that were there ({} is not part of {}): nothing is committed; look at what was lost",
            parent.short(),
            ground.tip.short()
        );
        return Ok(Plan::End(Phase::HistoryRewritten, message));
    }
    if channel.allow_held.contains(rollback.id.as_str()) {
        return Ok(Plan::End(Phase::Superseded, format!("{name} lifts the hold in Git: that counts")));
    }
    let bad: Vec<usize> =
        (0..channel.lines.len()).filter(|at| ground.is_bad(&channel.lines[*at].target)).collect();
    if bad.is_empty() {
        // The same bytes may come under a new version.
        return Ok(match channel.lines.iter().find(|line| !ground.is_known(&line.target)) {
            Some(line) => {
                Plan::Wait("BundlePending", format!("it is not known yet which bundle {} is", line.target))
            }
            None => settled(ground, channel, &located.at.file)?,
        });
    }
    let ours = |key: &str, value: &str| mentions([(key, value)], rollback.id.as_str());
    if let Some(commit) =
        ground.reader.find_trailer(ground.tip, rollback.at.as_second() - SLACK, MOST_COMMITS, ours)?
    {
        let message = format!(
            "commit {commit} took {what} back, and somebody brought it again: it stays held until `allowHeld` names {}",
            rollback.id
        );
        return Ok(Plan::End(Phase::Complete, message));
    }
    let stop_only = |at: &usize| match &channel.lines[*at].target {
        Target::Release(version) => release(ground.inventory.objects(), &rollback.app, version)
            .is_some_and(|release| release.rollback == RollbackPolicy::StopOnly),
        Target::Builtin => false,
    };
    if rollback.cause == Cause::GateFailed && bad.iter().any(stop_only) {
        let message = format!(
            "{what} says `rollback: StopOnly`: it stays braked, and its devices keep it; release something newer on {name}"
        );
        return Ok(Plan::Wait("StopOnly", message));
    }
    let good = |at: &usize| Some((*at, ground.good(channel, &channel.lines[*at].key())?));
    let targets: Option<BTreeMap<usize, Target>> = bad.iter().map(good).collect();
    let Some(targets) = targets else {
        let message = format!(
            "no release is known to be good on {name} before {what}: it stays braked; let the channel refer to one, or name \
             it with `sluice rollback {name} --to VERSION`"
        );
        return Ok(Plan::Wait("NoKnownGood", message));
    };
    let path = &located.at.file;
    let introduced = introduced(ground, path, ground.tip)?;
    // A merge has what it merged behind it.
    let first = ground.reader.commit(introduced)?.parents.first().copied();
    let brought = ground.reader.messages(first, introduced, MOST_MERGED)?.commits;
    let own = brought.iter().any(|commit| {
        trailers::parse(&commit.message).iter().any(|(key, _)| key.eq_ignore_ascii_case(TRAILER))
    });
    if own && rollback.cause == Cause::GateFailed {
        let message = format!(
            "{what} came to {name} by a rollback (commit {introduced}), and no rollback is taken back by another one: it \
             stays braked; release something newer"
        );
        return Ok(Plan::Wait("RollbackOfRollback", message));
    }
    let revert = if own { None } else { revert(ground, introduced, path, channel, &targets)? };
    let (mode, edits) = match revert {
        Some(edits) => (Mode::Revert, edits),
        None => match restore(ground, path, channel, &targets)? {
            Ok(edit) => (Mode::Restore, vec![edit]),
            Err(message) => return Ok(Plan::Wait("WriteBackUnavailable", message)),
        },
    };
    let restores = targets.into_values().next().unwrap_or(Target::Builtin);
    let introduced_by = introduced.to_string();
    let text = Message { rollback, introduced_by: &introduced_by, mode, restores: &restores }.text();
    let draft = ground.reader.draft(ground.tip, &edits, committer, rollback.at.as_second(), &text)?;
    let (commit, parent) = (draft.id.to_string(), ground.tip.to_string());
    Ok(Plan::Commit(Box::new((Planned { commit, parent, introduced_by, mode, restores }, draft))))
}

/// The channel does not refer to the bad bundle any more.
fn settled(ground: &Ground<'_>, channel: &Channel, path: &str) -> Result<Plan, ReadError> {
    let (rollback, name) = (ground.rollback, &ground.rollback.channel);
    let mut good: Vec<Target> = rollback.planned.iter().map(|planned| planned.restores.clone()).collect();
    good.extend(rollback.to.clone());
    good.extend(before(ground, path)?);
    let targets: Vec<String> = channel.lines.iter().map(|line| line.target.to_string()).collect();
    let now = format!("{name} refers to {} in commit {}", targets.join(" and "), ground.tip.short());
    Ok(if channel.lines.iter().any(|line| good.contains(&line.target)) {
        Plan::End(Phase::Complete, now)
    } else {
        Plan::End(Phase::Superseded, format!("{now}: that counts"))
    })
}

/// What the channel referred to before the bad bundle came last; nothing where that cannot be told.
fn before(ground: &Ground<'_>, path: &str) -> Result<Vec<Target>, ReadError> {
    let mut at = ground.tip;
    for _ in 0..MOST_COMMITS {
        if ground.refers_at(at, path)? {
            let introduced = introduced(ground, path, at)?;
            let parent = ground.reader.commit(introduced)?.parents.first().copied();
            return parent.map_or_else(|| Ok(Vec::new()), |parent| ground.targets(parent, path));
        }
        let Some(parent) = ground.reader.commit(at)?.parents.first().copied() else { break };
        at = parent;
    }
    Ok(Vec::new())
}

/// The earliest commit of the run, back from `tip`, in which the channel refers to the bad bundle.
fn introduced(ground: &Ground<'_>, path: &str, tip: CommitId) -> Result<CommitId, ReadError> {
    let mut at = tip;
    for _ in 0..MOST_COMMITS {
        let Some(parent) = ground.reader.commit(at)?.parents.first().copied() else { break };
        if !ground.refers_at(parent, path)? {
            break;
        }
        at = parent;
    }
    Ok(at)
}

/// The whole commit taken back, where that concerns this channel and its release alone, and leaves a repository without
/// mistakes that lets the channel refer to what it should.
fn revert(
    ground: &Ground<'_>,
    introduced: CommitId,
    path: &str,
    channel: &Channel,
    targets: &BTreeMap<usize, Target>,
) -> Result<Option<Vec<Edit>>, ReadError> {
    let Ok(edits) = ground.reader.exact_restore(introduced, ground.tip)? else { return Ok(None) };
    let Some(parent) = ground.reader.commit(introduced)?.parents.first().copied() else { return Ok(None) };
    let mut files = ground.inventory.files.clone();
    for edit in &edits {
        if !belongs(ground, &edit.path, (parent, introduced), path)? {
            return Ok(None);
        }
        match ground.file(parent, &edit.path)? {
            Some(file) => _ = files.insert(edit.path.clone(), Arc::new(file)),
            None => _ = files.remove(&edit.path),
        }
    }
    let touches = edits.iter().any(|edit| edit.path == path);
    Ok((touches && edits_do(ground, files, channel, targets)).then_some(edits))
}

/// Whether what a commit changed at `changed` is of the channel at `path`, or of the bad release.
fn belongs(
    ground: &Ground<'_>,
    changed: &str,
    (before, after): (CommitId, CommitId),
    path: &str,
) -> Result<bool, ReadError> {
    let rollback = ground.rollback;
    let is_bundle = |located: &Arc<Located>| match &located.object {
        Object::Release(release) if ground.is_bad(&Target::Release(release.version.clone())) => {
            matches!(&release.source, Source::Path(folder)
                if changed.strip_prefix(folder.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
        }
        _ => false,
    };
    if ground.inventory.objects().any(is_bundle) {
        return Ok(true);
    }
    let objects = |commit| Ok(ground.file(commit, changed)?.map(|file| file.objects).unwrap_or_default());
    let (was, now): (Vec<Arc<Located>>, Vec<Arc<Located>>) = (objects(before)?, objects(after)?);
    if was.is_empty() && now.is_empty() {
        return Ok(false);
    }
    let ours = |object: &Object| match object {
        Object::Channel(channel) => {
            changed == path && (&channel.app, &channel.channel) == (&rollback.app, &rollback.channel)
        }
        Object::Release(release) => {
            release.app == rollback.app && ground.is_bad(&Target::Release(release.version.clone()))
        }
    };
    let same = |a: &Object, all: &[Arc<Located>]| all.iter().any(|b| b.object == *a);
    let mut differs = was.iter().filter(|located| !same(&located.object, &now));
    let mut made = now.iter().filter(|located| !same(&located.object, &was));
    Ok(differs.all(|located| ours(&located.object)) && made.all(|located| ours(&located.object)))
}

/// The reference alone goes back. The inner error says why not.
fn restore(
    ground: &Ground<'_>,
    path: &str,
    channel: &Channel,
    targets: &BTreeMap<usize, Target>,
) -> Result<Result<Edit, String>, ReadError> {
    let missing = || ReadError::NoSuchPath { path: path.to_owned(), commit: ground.tip.to_string() };
    let entry = ground.reader.find(ground.tip, path)?.ok_or_else(missing)?;
    let bytes = ground.reader.read(entry.oid, FILE_BYTES as u64)?;
    let refused = |why: &dyn std::fmt::Display| {
        let to: Vec<String> = targets.values().map(ToString::to_string).collect();
        Err(format!(
            "`{path}` cannot be changed by a program ({why}): let {} refer to {} there",
            channel.name,
            to.join(" and ")
        ))
    };
    let written = match point(path, &bytes, (&channel.app, &channel.channel), targets) {
        Ok(written) => written,
        Err(error) => return Ok(refused(&error)),
    };
    let mut files = ground.inventory.files.clone();
    if let Some(file) = parse_file(path, &written).into_entry(String::new()) {
        files.insert(path.to_owned(), Arc::new(file));
    }
    Ok(if edits_do(ground, files, channel, targets) {
        Ok(Edit { path: path.to_owned(), content: Content::Written(written) })
    } else {
        refused(&"with it the repository has mistakes")
    })
}

/// Whether with these files the channel is as it was, but for the lines in `targets`; nothing refers to what is not there
/// that did not before; and no file has a mistake that it did not have.
fn edits_do(
    ground: &Ground<'_>,
    files: FileEntries,
    channel: &Channel,
    targets: &BTreeMap<usize, Target>,
) -> bool {
    let after = Inventory { files, ..Inventory::default() };
    let app = &ground.rollback.app;
    let Some((_, now)) = ground::channel(after.objects(), ground.rollback) else { return false };
    let mut wanted = channel.lines.clone();
    for (line, target) in
        wanted.iter_mut().enumerate().filter_map(|(at, line)| Some((line, targets.get(&at)?)))
    {
        line.target = target.clone();
    }
    let errors = |inventory: &Inventory| {
        inventory.problems().filter(|problem| problem.severity == Severity::Error).count()
    };
    now.lines == wanted
        && dangling(&after, app).is_subset(&dangling(&ground.inventory, app))
        && errors(&after) <= errors(&ground.inventory)
}

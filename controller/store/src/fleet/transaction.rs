//! What one transaction writes, between its begin and its commit.

use std::{
    collections::HashSet,
    sync::{Arc, atomic::Ordering},
};

use sluice_core::memory::Failed;

use super::{
    Shared,
    acts::Act,
    apply::{Batch, Report},
    census::{self, Census, Facts, target},
    dialect::Connection,
    hot::{Contact, Key},
    model::{FailedRow, OverrideRow},
    queue::{Gathered, Job, Pending},
    registry::{Dirty, KnownVersion},
    remembered::Learned,
    sql,
    traffic::{self, Sent},
    trials::{Enrolments, Name, Seen, Trials},
    types::Accepted,
};

/// What a transaction did, told to memory and callers once it is durable.
#[derive(Default)]
pub(super) struct Done {
    pub(super) accepted: Vec<Vec<Accepted>>,
    /// For each segment whether it was new.
    pub(super) ingested: Vec<bool>,
    /// For each erasure how many devices there were.
    pub(super) erased: Vec<u64>,
    pub(super) learned: Vec<(Key, Learned)>,
    pub(super) journals: Vec<(Name, i64, u64)>,
    pub(super) events_new: u64,
    pub(super) events_duplicate: u64,
    pub(super) configuration_failures: u64,
    pub(super) facts: Facts,
}

impl Done {
    /// Puts a device on a channel, or takes it off.
    async fn choose(
        &mut self,
        connection: &mut Connection,
        key: &Key,
        row: Option<&OverrideRow>,
    ) -> Result<(), sqlx::Error> {
        let learned = if let Some(row) = row {
            sql::write_overrides(connection, std::slice::from_ref(row)).await?;
            Learned::Override(row.chosen.clone(), row.expires)
        } else {
            sql::delete_override(connection, key).await?;
            Learned::NoOverride
        };
        self.learned.push((*key, learned));
        Ok(())
    }

    /// Withholds bundles from devices, unless they are by now.
    async fn withhold(
        &mut self,
        shared: &Shared,
        connection: &mut Connection,
        failed: impl Iterator<Item = FailedRow>,
    ) -> Result<(), sqlx::Error> {
        let mut fresh = Vec::new();
        for row in failed {
            let failed = Failed { digest: row.digest, native: row.native, at: row.at };
            if !shared.remembered.knows(&row.key, &failed) {
                self.learned.push((row.key, Learned::Failed(failed)));
                fresh.push(row);
            }
        }
        sql::write_failed(connection, &fresh).await
    }

    /// What is not an event or a check-in: channels, and which segments are new. Returns the new ones.
    async fn settle<'j>(
        &mut self,
        connection: &mut Connection,
        trials: &mut Trials,
        jobs: &'j [Job],
        now: i64,
    ) -> Result<Vec<&'j Gathered>, sqlx::Error> {
        let mut gathered = Vec::new();
        for job in jobs {
            match job {
                Job::Choose(row, act, _) => {
                    self.choose(connection, &row.key, Some(row)).await?;
                    note(connection, act.as_ref(), now).await?;
                }
                Job::Unchoose(key, act, _) => {
                    self.choose(connection, key, None).await?;
                    note(connection, act.as_ref(), now).await?;
                }
                Job::Ingest(segment, _) => {
                    let new = sql::admit_segment(connection, &segment.id, now).await?;
                    self.ingested.push(new);
                    if new {
                        for (key, row) in &segment.choices {
                            self.choose(connection, key, row.as_ref()).await?;
                        }
                        gathered.push(&**segment);
                    }
                }
                Job::Forget(ids, _) => sql::forget_segments(connection, ids).await?,
                Job::EndRollout(name, _) => trials.end(name, now),
                Job::Erase(erasure, _) => {
                    self.erased.push(erasure.write(connection, trials, now).await?);
                    self.learned.extend(erasure.keys().iter().map(|key| (*key, Learned::Forgotten)));
                }
                Job::Record(..) | Job::Flush(_) | Job::Cleanup(_) | Job::Judge(_) | Job::Close(_) => {}
            }
        }
        Ok(gathered)
    }
}

/// What waits for any transaction, and has no caller.
pub(super) struct Beside<'a> {
    /// Names of apps and versions.
    pub(super) dirty: &'a Dirty,
    /// Bytes that were sent to devices.
    pub(super) sent: &'a [Sent],
}

/// Records what a person did to one device.
async fn note(connection: &mut Connection, act: Option<&Act>, now: i64) -> Result<(), sqlx::Error> {
    match act {
        Some(act) => act.write(connection, 1, now).await,
        None => Ok(()),
    }
}

/// Everything of one transaction between its begin and its commit.
pub(super) async fn write(
    shared: &Shared,
    connection: &mut Connection,
    trials: &mut Trials,
    check_ins: &[Pending],
    jobs: &[Job],
    beside: &Beside<'_>,
) -> Result<Done, sqlx::Error> {
    let (mut done, now) = (Done::default(), (shared.clock)());
    sql::write_names(connection, beside.dirty).await?;
    let gathered = done.settle(connection, trials, jobs, now).await?;
    traffic::write(connection, beside.sent.iter().chain(gathered.iter().flat_map(|g| &g.sent))).await?;
    let here =
        jobs.iter().filter_map(|job| if let Job::Record(reports, _) = job { Some(reports) } else { None });
    // In the order of the answers; those that came by segments wait for none.
    let batches: Vec<&Vec<Report>> = here.chain(gathered.iter().map(|segment| &segment.reports)).collect();
    let records = || batches.iter().copied();
    let check_ins: Vec<&Pending> =
        check_ins.iter().chain(gathered.iter().flat_map(|segment| &segment.check_ins)).collect();
    let mut batch = Batch::default();

    // Which devices: those that checked in, those whose events mean something, and those that came back.
    let mut contacts = Vec::new();
    let mut keys: HashSet<_> = check_ins.iter().map(|pending| pending.key).collect();
    for report in records().flatten() {
        let contact = shared.hot.contact(&report.key, report.received);
        if contact != Contact::Nothing || report.speaks() {
            keys.insert(report.key);
        }
        match contact {
            Contact::Write { since } => contacts.push((report.key, Some(since), report.received)),
            Contact::Unknown => contacts.push((report.key, None, report.received)),
            Contact::Nothing => {}
        }
    }
    batch.devices = sql::devices(connection, &sorted(keys)).await?;
    let census = Census::of(&batch.devices);
    let left: Vec<Option<String>> = check_ins.iter().map(|pending| batch.check_in(pending)).collect();
    for (key, since, at) in &contacts {
        batch.contact(*key, *since, *at);
    }

    // Which events are new, and whose they are.
    let ids: HashSet<_> = records().flatten().flat_map(Report::candidates).collect();
    batch.seen = sql::events(connection, &sorted(ids)).await?;
    let mut fresh = Vec::new();
    for reports in records() {
        let mut accepted = Vec::with_capacity(reports.len());
        for report in reports {
            let verdict = batch.admit(report);
            if verdict == Accepted::New {
                fresh.push((report, batch.target(report)));
            }
            accepted.push(verdict);
        }
        done.accepted.push(accepted);
    }

    // Who is in a trial, and who enrols.
    let says = fresh.iter().map(|(report, _)| *report).filter(|report| report.concerns_trials());
    let up_since = shared.up_since.load(Ordering::Relaxed);
    let mut enrolments = Enrolments::new(now, up_since);
    let seen = Seen { devices: &batch.devices, check_ins: &check_ins, contacts: &contacts };
    enrolments.take_in(connection, trials, &seen, says.map(|report| report.key)).await?;

    // What that says about versions.
    let wanted = concerned(&batch, &check_ins, &left, &fresh);
    batch.outcomes = sql::outcomes(connection, &sorted(wanted)).await?;
    for (pending, left) in check_ins.iter().zip(&left) {
        batch.step(pending, left.as_ref());
    }
    for pending in check_ins.iter().filter(|pending| pending.runs_known) {
        let key = (pending.key, pending.about.running.clone());
        batch.confirm(&key, pending.at);
        if batch.has_started(&key) {
            enrolments.runs(trials, key.0, &key.1, pending.at);
        }
    }
    for (report, target) in &fresh {
        let said = batch.report(report, target.as_deref());
        if report.concerns_trials() {
            let version = target.as_deref().map(|known| &*known.version);
            enrolments.said(trials, report.key, said, version, report.when());
        }
    }
    enrolments.write(connection).await?;
    done.journals = trials.write(connection).await?;

    batch.stand();
    let Batch { devices, changed_devices, moves, mut events, outcomes, changed_outcomes, failed, .. } = batch;
    moves.write(connection, &devices, now).await?;
    census.write(connection, &devices).await?;
    done.facts = census::write_facts(connection, &changed_outcomes, &outcomes, &devices, now).await?;
    let mut rows: Vec<_> = changed_devices.iter().filter_map(|key| Some((*key, devices.get(key)?))).collect();
    rows.sort_unstable_by_key(|(key, _)| *key);
    sql::write_devices(connection, &rows).await?;
    events.sort_unstable_by_key(|row| row.id);
    sql::write_events(connection, &events).await?;
    let mut rows: Vec<_> = changed_outcomes.keys().filter_map(|key| outcomes.get_key_value(key)).collect();
    rows.sort_unstable_by_key(|(key, _)| *key);
    sql::write_outcomes(connection, &rows).await?;
    done.withhold(shared, connection, failed.into_values()).await?;

    done.events_new = fresh.len() as u64;
    done.events_duplicate = done.accepted.iter().map(|a| a.len() as u64).sum::<u64>() - done.events_new;
    done.configuration_failures = batch.configuration_failures;
    Ok(done)
}

/// The outcomes that a batch may change or has to know: of what runs, ran, was offered and is reported on.
fn concerned(
    batch: &Batch,
    check_ins: &[&Pending],
    left: &[Option<String>],
    fresh: &[(&Report, Option<Arc<KnownVersion>>)],
) -> HashSet<sql::OutcomeKey> {
    let mut wanted: HashSet<_> =
        batch.devices.iter().map(|(key, row)| (*key, target(row).to_owned())).collect();
    for (pending, left) in check_ins.iter().zip(left) {
        let runs = pending.runs_known.then(|| pending.about.running.clone());
        let offered = pending.offered.as_ref().map(|known| known.version.to_string());
        wanted.extend([runs, offered, left.clone()].into_iter().flatten().map(|of| (pending.key, of)));
    }
    let reported =
        fresh.iter().filter_map(|(report, target)| Some((report.key, target.as_ref()?.version.to_string())));
    wanted.extend(reported);
    wanted
}

/// In the order of the table, so that neighbours are read and written together.
fn sorted<T: Ord>(set: HashSet<T>) -> Vec<T> {
    let mut list: Vec<T> = set.into_iter().collect();
    list.sort_unstable();
    list
}

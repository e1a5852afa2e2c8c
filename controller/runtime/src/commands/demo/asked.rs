//! What the story asks the server and the phones, and waiting for what they say.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use jiff::Timestamp;
use serde_json::Value;
use sluice_core::{
    brake::Brake,
    channel::Target,
    cohort::Ppm,
    decisions::{Kind, Page},
    gate::Numbers,
    rollback::Rollback,
    status::{LineStatus, Status},
};
use sluice_simulate::Totals;
use sluice_store::{control::BundleStore, objects::Directory};
use tokio::sync::watch;

use super::{
    place::Place,
    shop::{APP, BAD},
};
use crate::{
    admin::Admin,
    args::{AdminArgs, ServerArgs},
    commands::connect::ClusterArgs,
};

/// Between two looks at a condition.
const LOOK: Duration = Duration::from_millis(100);
/// Longest wait for one.
const LIMIT: Duration = Duration::from_mins(5);

/// What the phones did, by the second.
pub(super) type Phones = watch::Receiver<Totals>;

/// The next count of the phones that is as asked.
pub(super) async fn wait(phones: &mut Phones, is: impl Fn(&Totals) -> bool) -> anyhow::Result<Totals> {
    match tokio::time::timeout(LIMIT, phones.wait_for(is)).await {
        Ok(totals) => Ok(totals.context("the phones ended early")?.clone()),
        Err(_) => bail!("the phones took too long; this machine may be too busy"),
    }
}

/// The next count of the phones.
pub(super) async fn fresh(phones: &mut Phones) -> anyhow::Result<Totals> {
    phones.mark_unchanged();
    phones.changed().await.context("the phones ended early")?;
    Ok(phones.borrow().clone())
}

/// Looks until there is something.
pub(super) async fn until<T>(
    what: &str,
    mut look: impl AsyncFnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let began = Instant::now();
    loop {
        let found = look().await;
        if let Ok(Some(found)) = found {
            return Ok(found);
        }
        if began.elapsed() >= LIMIT {
            let waited = format!("waited {} minutes until {what}", LIMIT.as_secs() / 60);
            return Err(match found {
                Err(error) => error.context(waited),
                Ok(_) => anyhow::Error::msg(waited),
            });
        }
        tokio::time::sleep(LOOK).await;
    }
}

pub(super) fn admin(place: &Place) -> anyhow::Result<Admin> {
    let server = ServerArgs { data: Some(place.path().to_owned()), ..ServerArgs::default() };
    Admin::new(&AdminArgs { server, cluster: ClusterArgs::default() })
}

/// The one line of the one channel.
pub(super) async fn line(admin: &Admin) -> anyhow::Result<Option<LineStatus>> {
    let status: Status = admin.get("/api/v1/status").await?;
    Ok(status.channels.first().and_then(|channel| channel.lines.first().cloned()))
}

/// When the rollout of the bad release began, and with which weight.
pub(super) async fn started(admin: &Admin) -> anyhow::Result<Option<(Timestamp, Ppm)>> {
    let log: Value = admin.get(&format!("/api/v1/decisions?app={APP}")).await?;
    let pages: Vec<Page> = serde_json::from_value(log["pages"].clone())?;
    Ok(pages.iter().find_map(|page| {
        let mut rows = page.rows.iter().map(|row| &row.transition);
        let began = rows.find(|row| row.kind == Kind::Started && is(&row.release, BAD))?;
        Some((page.at, began.weight))
    }))
}

/// The commit that the server serves.
pub(super) async fn applied(admin: &Admin) -> anyhow::Result<Option<String>> {
    let status: Status = admin.get("/api/v1/status").await?;
    Ok(status.repositories.into_iter().find_map(|known| known.applied_commit))
}

/// The rollback of the bad release, once it is opened.
pub(super) async fn rollback(admin: &Admin) -> anyhow::Result<Option<Rollback>> {
    let status: Status = admin.get("/api/v1/status").await?;
    Ok(status.rollbacks.into_iter().next())
}

/// The numbers that the gate braked by.
pub(super) async fn numbers(place: &Place, rollback: &Rollback) -> anyhow::Result<Numbers> {
    let store = BundleStore::open_existing(Arc::new(Directory::open(place.path().join("store"))?)).await?;
    let brake: Option<Brake> = store.brake_record(&rollback.app, &rollback.id).await?;
    let evidence = brake.and_then(|brake| brake.evidence).context("the brake has no numbers")?;
    Ok(serde_json::from_value(evidence)?)
}

pub(super) fn is(target: &Target, version: &str) -> bool {
    matches!(target, Target::Release(release) if release.to_string() == version)
}

//! Reads the decision logs of one owner's apps from where it left off, and tells each row.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sluice_core::{
    decisions::{Page, Row},
    ids::AppId,
    record::AppRecord,
    resolve::Owner,
};
use sluice_store::{
    control::{BundleStore, ControlError},
    objects::Etag,
};
use tokio::sync::{
    broadcast::{
        self,
        error::{RecvError, TryRecvError},
    },
    watch,
};

use crate::{
    delivery::{Delivery, LeftOut, Waits},
    message,
};

/// Pages that are read at one time.
const PAGES: usize = 32;
/// Apps that are looked at to say how much waits.
const COUNTED: usize = 100;
/// After a message that did not arrive, at first and at most.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(5));
/// Without a hint: what nobody named is found at the latest now.
const LOOK: Duration = Duration::from_mins(10);

/// A row of the decision log of an app, to be told.
#[derive(Debug, Clone, Copy)]
pub struct Decided<'a> {
    /// The installation.
    pub installation: &'a str,
    /// Its page.
    pub page: &'a Page,
    /// Its place in the page.
    pub index: usize,
    /// The row.
    pub row: &'a Row,
    /// The app as it is now.
    pub record: &'a AppRecord,
    /// The name of the row, the same whenever it is told.
    pub id: &'a str,
}

/// Somebody who is told, in order. What was heard is told again only if the process ends before that is remembered.
pub trait Listener: Send + Sync + 'static {
    /// Where it is remembered how far this one was told.
    const MEMORY: &'static str;

    /// Takes one row.
    fn hear(&self, decided: &Decided<'_>) -> impl Future<Output = Result<(), Undelivered>> + Send;
}

/// Why something was not told.
#[derive(Debug, thiserror::Error)]
pub enum Undelivered {
    /// It may be later.
    #[error("{0}")]
    Later(String),
    /// It will never: the other side does not take it.
    #[error("{0}")]
    Never(String),
}

/// How far each app was told.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Told {
    apps: BTreeMap<AppId, Place>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Place {
    /// The last page that was told in full.
    page: u64,
    /// Rows of the next one that were told.
    rows: usize,
}

/// Which apps may have something to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Which {
    All,
    These(BTreeSet<AppId>),
}

impl Which {
    fn add(&mut self, app: AppId) {
        if let Self::These(apps) = self {
            apps.insert(app);
        }
    }
}

/// Tells what becomes of the rollouts of one owner.
#[derive(Debug)]
pub struct Teller<L> {
    store: Arc<BundleStore>,
    epoch: u64,
    owner: Owner,
    listener: L,
    /// Names apps that have something to tell.
    news: broadcast::Receiver<AppId>,
    delivery: watch::Sender<Delivery>,
}

impl<L: Listener> Teller<L> {
    /// Tells `listener` of the apps of `owner`, as the leader of term `epoch`: of all of them at first, then of those that
    /// `news` names.
    pub fn new(
        store: Arc<BundleStore>,
        epoch: u64,
        owner: Owner,
        listener: L,
        news: broadcast::Receiver<AppId>,
    ) -> Self {
        Self {
            store,
            epoch,
            owner,
            listener,
            news,
            delivery: watch::Sender::new(Delivery::well(Timestamp::now())),
        }
    }

    /// Nobody of this kind listens for `owner` any more: who begins again is told what happens from then on.
    pub async fn forget(store: &BundleStore, epoch: u64, owner: &Owner) -> Result<(), ControlError> {
        store.remove_document(epoch, &memory::<L>(owner)).await
    }

    /// How it goes.
    pub fn delivery(&self) -> watch::Receiver<Delivery> {
        self.delivery.subscribe()
    }

    /// Tells until the returned future is dropped.
    pub async fn run(mut self) {
        let (mut which, mut pause) = (Which::All, PAUSES.0);
        loop {
            match self.tell(&which).await {
                Ok(()) => {
                    pause = PAUSES.0;
                    self.delivery.send_if_modified(|known| known.ended(None, Timestamp::now()));
                    which = self.next().await;
                }
                Err(waits) => {
                    let owner = &self.owner.name;
                    tracing::warn!(owner, to = L::MEMORY, "what was decided waits to be told: {waits}");
                    self.delivery.send_if_modified(|known| known.ended(Some(waits), Timestamp::now()));
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(PAUSES.1);
                    self.heard(&mut which);
                }
            }
        }
    }

    /// Waits until there may be something to tell.
    async fn next(&mut self) -> Which {
        let first = tokio::select! {
            first = self.news.recv() => first,
            () = tokio::time::sleep(LOOK) => return Which::All,
        };
        let mut which = match first {
            Ok(app) => Which::These(BTreeSet::from([app])),
            Err(RecvError::Lagged(_)) => Which::All,
            // Who decided is gone.
            Err(RecvError::Closed) => {
                tokio::time::sleep(LOOK).await;
                return Which::All;
            }
        };
        self.heard(&mut which);
        which
    }

    /// Adds what is named meanwhile.
    fn heard(&mut self, which: &mut Which) {
        loop {
            match self.news.try_recv() {
                Ok(app) => which.add(app),
                Err(TryRecvError::Lagged(_)) => *which = Which::All,
                Err(TryRecvError::Empty | TryRecvError::Closed) => return,
            }
        }
    }

    /// Tells everything of these apps that was not told yet. Fails when something has to wait.
    async fn tell(&self, which: &Which) -> Result<(), Waits> {
        let said = |error: ControlError| Waits::of(error.to_string());
        let name = memory::<L>(&self.owner);
        let known = self.store.document::<Told>(&name).await.map_err(said)?;
        let (mut told, mut version) = match known {
            Some((told, version)) => (told, version),
            None => self.begin(&name).await.map_err(said)?,
        };
        let apps: Vec<AppId> = match which {
            Which::All => self.store.apps().await.map_err(said)?,
            Which::These(apps) => apps.iter().cloned().collect(),
        };
        // What is damaged of one app is nothing of the others (rule 9).
        let mut damaged = None;
        for (index, app) in apps.iter().enumerate() {
            let record = match self.own(app).await {
                Ok(Some(record)) => record,
                Ok(None) => continue,
                Err(error @ (ControlError::Damaged { .. } | ControlError::Missing(_))) => {
                    damaged.get_or_insert(said(error));
                    continue;
                }
                Err(error) => return Err(said(error)),
            };
            let end = record.decisions.map_or(0, |head| head.sequence);
            let mut place = told.apps.get(app).copied().unwrap_or_default();
            while place.page < end {
                let (after, waits) = match self.tell_pages(&record, place, end).await {
                    Ok(told) => told,
                    Err(error @ (ControlError::Damaged { .. } | ControlError::Missing(_))) => {
                        damaged.get_or_insert(said(error));
                        break;
                    }
                    Err(error) => return Err(said(error)),
                };
                if after != place {
                    told.apps.insert(app.clone(), after);
                    let put = self.store.put_document(self.epoch, &name, &told, Some(&version)).await;
                    version = put.map_err(said)?;
                }
                if let Some(why) = waits {
                    let decisions = self.waiting(&told, &apps[index..]).await;
                    return Err(Waits { why, decisions });
                }
                if after == place {
                    let what = format!("page {} of the decisions of {app} cannot be read", place.page + 1);
                    damaged.get_or_insert(Waits::of(what));
                    break;
                }
                place = after;
            }
        }
        damaged.map_or(Ok(()), Err)
    }

    /// Decisions of these apps that were not told yet; of the first ones, where there are many.
    async fn waiting(&self, told: &Told, apps: &[AppId]) -> u64 {
        let mut waiting = 0;
        for app in apps.iter().take(COUNTED) {
            let Ok(Some(record)) = self.own(app).await else { continue };
            let end = record.decisions.map_or(0, |head| head.sequence);
            waiting += end.saturating_sub(told.apps.get(app).map_or(0, |place| place.page));
        }
        waiting
    }

    /// Who begins to listen is told what happens from now on; an app that comes later from its beginning.
    async fn begin(&self, name: &str) -> Result<(Told, Etag), ControlError> {
        let mut told = Told::default();
        for app in self.store.apps().await? {
            if let Some(record) = self.own(&app).await? {
                let page = record.decisions.map_or(0, |head| head.sequence);
                told.apps.insert(app, Place { page, rows: 0 });
            }
        }
        let version = self.store.put_document(self.epoch, name, &told, None).await?;
        Ok((told, version))
    }

    /// The record of an app, if it is one of the owner's.
    async fn own(&self, app: &AppId) -> Result<Option<AppRecord>, ControlError> {
        if !self.owner.may_publish(app) {
            return Ok(None);
        }
        Ok(self.store.record(app).await?.filter(|record| record.owner == self.owner.name))
    }

    /// Tells the next pages up to `end`. Returns how far that went, and why it went no further.
    async fn tell_pages(
        &self,
        record: &AppRecord,
        mut place: Place,
        end: u64,
    ) -> Result<(Place, Option<String>), ControlError> {
        let app = &record.app;
        let pages = self.store.decisions(app, place.page, PAGES).await?;
        // What the record does not know yet may be of a leader that was overtaken.
        for page in pages.iter().filter(|page| page.sequence <= end) {
            for (index, row) in page.rows.iter().enumerate().skip(place.rows) {
                let id = message::id(page, index);
                let installation = self.store.installation();
                let decided = Decided { installation, page, index, row, record, id: &id };
                match self.listener.hear(&decided).await {
                    Ok(()) => {}
                    Err(Undelivered::Never(why)) => {
                        tracing::error!(%app, sequence = page.sequence, error = why, "what was decided is not taken, and is left out");
                        let left_out = LeftOut { at: Timestamp::now(), why };
                        self.delivery.send_modify(|known| known.left_out = Some(left_out));
                    }
                    Err(Undelivered::Later(why)) => return Ok((place, Some(why))),
                }
                place.rows = index + 1;
            }
            place = Place { page: page.sequence, rows: 0 };
        }
        Ok((place, None))
    }
}

/// The document in which it is remembered how far a listener was told.
fn memory<L: Listener>(owner: &Owner) -> String {
    format!("{}/{}", L::MEMORY, owner.name.replace('/', "."))
}

#[cfg(test)]
#[path = "teller/tests.rs"]
mod tests;

//! Reads the decision logs of one owner's apps from where it left off, and tells each row.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use sluice_core::{
    decisions::{Page, Row},
    ids::AppId,
    record::AppRecord,
};
use sluice_store::control::{BundleStore, ControlError};
use tokio::sync::{Notify, watch};

use crate::message;

/// Pages that are read at one time.
const PAGES: usize = 32;
/// After a message that did not arrive, at first and at most.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(5));
/// Without a hint: pages that another process wrote are found at the latest now.
const LOOK: Duration = Duration::from_secs(30);

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

/// Tells what becomes of the rollouts of one owner.
#[derive(Debug)]
pub struct Teller<L> {
    store: Arc<BundleStore>,
    epoch: u64,
    owner: String,
    listener: L,
    /// Wakes it: there may be something to tell.
    news: Arc<Notify>,
    trouble: watch::Sender<Option<String>>,
}

impl<L: Listener> Teller<L> {
    /// Tells `listener` of the apps of `owner`, as the leader of term `epoch`, whenever `news` says that there is something.
    pub fn new(
        store: Arc<BundleStore>,
        epoch: u64,
        owner: impl Into<String>,
        listener: L,
        news: Arc<Notify>,
    ) -> Self {
        Self { store, epoch, owner: owner.into(), listener, news, trouble: watch::Sender::new(None) }
    }

    /// Why something waits to be told; nothing while all is well.
    pub fn trouble(&self) -> watch::Receiver<Option<String>> {
        self.trouble.subscribe()
    }

    /// Tells until the returned future is dropped.
    pub async fn run(self) {
        let mut pause = PAUSES.0;
        loop {
            match self.tell().await {
                Ok(()) => {
                    pause = PAUSES.0;
                    self.trouble.send_if_modified(|trouble| trouble.take().is_some());
                    tokio::select! { () = self.news.notified() => {}, () = tokio::time::sleep(LOOK) => {} }
                }
                Err(why) => {
                    tracing::warn!(
                        owner = self.owner,
                        to = L::MEMORY,
                        "what was decided waits to be told: {why}"
                    );
                    self.trouble.send_replace(Some(why));
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(PAUSES.1);
                }
            }
        }
    }

    /// Tells everything that was not told yet. Fails when something has to wait.
    async fn tell(&self) -> Result<(), String> {
        let said = |error: ControlError| error.to_string();
        let name = format!("{}/{}", L::MEMORY, self.owner.replace('/', "."));
        let known = self.store.document::<Told>(&name).await.map_err(said)?;
        let new = known.is_none();
        let (mut told, mut version) =
            known.map_or((Told::default(), None), |(told, version)| (told, Some(version)));
        let apps = self.store.apps().await.map_err(said)?;
        if new && apps.is_empty() {
            // The first app of an installation is told from its beginning.
            self.store.put_document(self.epoch, &name, &told, None).await.map_err(said)?;
            return Ok(());
        }
        for app in apps {
            let Some(record) = self.store.record(&app).await.map_err(said)? else { continue };
            if record.owner != self.owner {
                continue;
            }
            let end = record.decisions.map_or(0, |head| head.sequence);
            // Who begins to listen is told what happens from now on.
            let place =
                *told.apps.entry(app.clone()).or_insert(Place { page: if new { end } else { 0 }, rows: 0 });
            let (mut place, before) = (place, place);
            let mut waits = None;
            if place.page < end {
                let pages = self.store.decisions(&app, place.page, PAGES).await.map_err(said)?;
                // What the record does not know yet may be of a leader that was overtaken.
                'pages: for page in pages.iter().filter(|page| page.sequence <= end) {
                    for (index, row) in page.rows.iter().enumerate().skip(place.rows) {
                        let id = message::id(page, index);
                        let installation = self.store.installation();
                        let decided = Decided { installation, page, index, row, record: &record, id: &id };
                        match self.listener.hear(&decided).await {
                            Ok(()) => {}
                            Err(error @ Undelivered::Never(_)) => {
                                tracing::error!(%app, sequence = page.sequence, %error, "what was decided is not taken, and is left out");
                            }
                            Err(Undelivered::Later(why)) => {
                                waits = Some(why);
                                break 'pages;
                            }
                        }
                        place.rows = index + 1;
                    }
                    place = Place { page: page.sequence, rows: 0 };
                }
            }
            told.apps.insert(app.clone(), place);
            if place != before || version.is_none() {
                let put = self.store.put_document(self.epoch, &name, &told, version.as_ref()).await;
                version = Some(put.map_err(said)?);
            }
            if let Some(why) = waits {
                return Err(why);
            }
            if place.page < end {
                self.news.notify_one();
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "teller/tests.rs"]
mod tests;

//! The decision log of each app: one object a page, created once, each naming the one before.

use jiff::Timestamp;
use sluice_core::{
    decisions::{Head, Page, Row, Transition},
    digest::Digest,
    ids::AppId,
};

use super::{BundleStore, ControlError, decode, encode};
use crate::objects::ObjectsError;

/// Pages beyond what a record knows: a crash leaves one, more mean that two write at once.
const MOST_BEYOND: usize = 64;

/// A part of a log, as far as it is whole.
#[derive(Debug, Default)]
pub struct Audit {
    /// Pages in their order.
    pub pages: Vec<Page>,
    /// Where and how the log is broken after them.
    pub broken: Option<String>,
}

impl Audit {
    /// Ends at what is damaged or gone; any other error is of the store and says nothing about the log.
    fn end(mut self, error: ControlError) -> Result<Self, ControlError> {
        match error {
            ControlError::Damaged { .. } | ControlError::Missing(_) => self.broken = Some(error.to_string()),
            error => return Err(error),
        }
        Ok(self)
    }
}

impl BundleStore {
    /// Appends a page to the log of `app`, whose end is `head` as far as its record knows. Returns its new end. Rows that
    /// were appended before and are not in the record yet, because of a crash between the two, are not appended again;
    /// they are taken out of `rows`. What makes a row the same is its [`Transition`]: its numbers, and
    /// the sentence that has them, are those of the moment in which it was written first.
    pub async fn append_decisions(
        &self,
        app: &AppId,
        mut head: Option<Head>,
        at: Timestamp,
        rows: &mut Vec<Row>,
    ) -> Result<Option<Head>, ControlError> {
        for _ in 0..MOST_BEYOND {
            if rows.is_empty() {
                return Ok(head);
            }
            let page = Page {
                app: app.clone(),
                sequence: head.map_or(1, |head| head.sequence + 1),
                previous: head.map(|head| head.digest),
                at,
                rows: rows.clone(),
            };
            let bytes = encode(&page);
            let digest = Digest::of(&bytes);
            match self.objects.create(&key(app, page.sequence), bytes.into()).await {
                Ok(()) => return Ok(Some(Head { sequence: page.sequence, digest })),
                Err(ObjectsError::AlreadyExists(_)) => {
                    let (stands, after) = self.page(app, page.sequence, head).await?;
                    head = Some(after);
                    let said: Vec<Transition> = stands.rows.into_iter().map(|row| row.transition).collect();
                    rows.retain(|row| !said.contains(&row.transition));
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(ControlError::Contended(folder(app)))
    }

    /// At most `most` pages of the log of `app` after the place `after`, in order. Each is checked against the one before.
    pub async fn decisions(&self, app: &AppId, after: u64, most: usize) -> Result<Vec<Page>, ControlError> {
        let mut head = self.place(app, after).await?;
        let mut pages = Vec::new();
        while pages.len() < most {
            let Some((page, next)) = self.next(app, head).await? else { break };
            head = Some(next);
            pages.push(page);
        }
        Ok(pages)
    }

    /// The same up to the place where the log is broken: each page is checked against the one before, and that which the
    /// record of the app names against the record. A page that is appended meanwhile is not missing.
    pub async fn audit_decisions(&self, app: &AppId, after: u64, most: usize) -> Result<Audit, ControlError> {
        let recorded = self.record(app).await?.and_then(|record| record.decisions);
        let mut audit = Audit::default();
        let mut head = match self.place(app, after).await {
            Err(error) => return audit.end(error),
            Ok(head) => head,
        };
        while audit.pages.len() < most {
            let (page, next) = match self.next(app, head).await {
                Err(error) => return audit.end(error),
                Ok(None) => break,
                Ok(Some(found)) => found,
            };
            if recorded.is_some_and(|named| named.sequence == next.sequence && named.digest != next.digest) {
                let reason = "it was changed: the record of the app names another one".to_owned();
                return audit.end(ControlError::Damaged { key: key(app, next.sequence), reason });
            }
            head = Some(next);
            audit.pages.push(page);
        }
        let last = head.map_or(0, |head| head.sequence);
        if let Some(named) = recorded
            && audit.pages.len() < most
            && named.sequence > last
        {
            audit.broken = Some(format!("pages {} to {} are missing", last + 1, named.sequence));
        }
        Ok(audit)
    }

    /// The page at a place, as the one that the next must name; nothing before the first.
    async fn place(&self, app: &AppId, sequence: u64) -> Result<Option<Head>, ControlError> {
        if sequence == 0 {
            return Ok(None);
        }
        let key = key(app, sequence);
        let (bytes, _) = self.objects.get(&key).await?.ok_or(ControlError::Missing(key))?;
        Ok(Some(Head { sequence, digest: Digest::of(&bytes) }))
    }

    /// The page after `head`, or nothing at the end.
    async fn next(&self, app: &AppId, head: Option<Head>) -> Result<Option<(Page, Head)>, ControlError> {
        let sequence = head.map_or(1, |head| head.sequence + 1);
        if self.objects.head(&key(app, sequence)).await?.is_none() {
            return Ok(None);
        }
        self.page(app, sequence, head).await.map(Some)
    }

    async fn page(
        &self,
        app: &AppId,
        sequence: u64,
        previous: Option<Head>,
    ) -> Result<(Page, Head), ControlError> {
        let key = key(app, sequence);
        let (bytes, _) = self.objects.get(&key).await?.ok_or_else(|| ControlError::Missing(key.clone()))?;
        let page: Page = decode(&key, &bytes)?;
        let expected = previous.map(|head| head.digest);
        if (&page.app, page.sequence, page.previous) != (app, sequence, expected) {
            let reason = "it does not follow the page before, which was changed or is another one".to_owned();
            return Err(ControlError::Damaged { key, reason });
        }
        Ok((page, Head { sequence, digest: Digest::of(&bytes) }))
    }
}

fn folder(app: &AppId) -> String {
    format!("apps/{app}/decisions")
}

fn key(app: &AppId, sequence: u64) -> String {
    format!("{}/{sequence:012}.json", folder(app))
}

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

impl BundleStore {
    /// Appends a page to the log of `app`, whose end is `head` as far as its record knows. Returns its new end. Rows that
    /// were appended before and are not in the record yet, because of a crash between the two, are not appended again;
    /// they are taken out of `rows`.
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
        let mut head = None;
        if after > 0 {
            let key = key(app, after);
            let (bytes, _) = self.objects.get(&key).await?.ok_or(ControlError::Missing(key))?;
            head = Some(Head { sequence: after, digest: Digest::of(&bytes) });
        }
        let mut pages = Vec::new();
        while pages.len() < most {
            let sequence = head.map_or(1, |head: Head| head.sequence + 1);
            if self.objects.head(&key(app, sequence)).await?.is_none() {
                break;
            }
            let (page, next) = self.page(app, sequence, head).await?;
            head = Some(next);
            pages.push(page);
        }
        Ok(pages)
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

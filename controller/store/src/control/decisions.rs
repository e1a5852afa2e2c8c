//! The decision log of each app: one object a row, created once, each naming the one before.

use jiff::Timestamp;
use serde_json::Value;
use sluice_core::{
    decisions::{Head, Row, Transition},
    digest::Digest,
    ids::AppId,
};

use super::{BundleStore, ControlError, decode, encode};
use crate::objects::ObjectsError;

/// Rows beyond what a record knows: one crash leaves a few, more mean that two write at once.
const MOST_BEYOND: usize = 1_000;

/// What a row is to say.
#[derive(Debug, Clone, PartialEq)]
pub struct Draft {
    /// What happened.
    pub transition: Transition,
    /// Why, in a sentence for people.
    pub sentence: String,
    /// The numbers that the sentence rests on.
    pub numbers: Value,
}

impl BundleStore {
    /// Appends to the log of `app`, whose end is `head` as far as its record knows. Returns its new end, and the rows that
    /// were added. A row that was appended before and is not in the record yet, because of a crash between the two, is
    /// not appended again.
    pub async fn append_decisions(
        &self,
        app: &AppId,
        head: Option<Head>,
        at: Timestamp,
        drafts: &[Draft],
    ) -> Result<(Option<Head>, Vec<Row>), ControlError> {
        let (mut head, mut beyond, mut added) = (head, Vec::new(), Vec::new());
        for draft in drafts {
            while !beyond.contains(&draft.transition) {
                let row = Row {
                    app: app.clone(),
                    sequence: head.map_or(1, |head| head.sequence + 1),
                    previous: head.map(|head| head.digest),
                    at,
                    transition: draft.transition.clone(),
                    sentence: draft.sentence.clone(),
                    numbers: draft.numbers.clone(),
                };
                let bytes = encode(&row);
                let digest = Digest::of(&bytes);
                match self.objects.create(&key(app, row.sequence), bytes.into()).await {
                    Ok(()) => {
                        head = Some(Head { sequence: row.sequence, digest });
                        added.push(row);
                        break;
                    }
                    Err(ObjectsError::AlreadyExists(_)) if beyond.len() < MOST_BEYOND => {
                        let (stands, after) = self.decision(app, row.sequence, head).await?;
                        head = Some(after);
                        beyond.push(stands.transition);
                    }
                    Err(ObjectsError::AlreadyExists(key)) => return Err(ControlError::Contended(key)),
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok((head, added))
    }

    /// At most `most` rows of the log of `app` after the place `after`, in order. Each is checked against the one before.
    pub async fn decisions(&self, app: &AppId, after: u64, most: usize) -> Result<Vec<Row>, ControlError> {
        let mut head = match after {
            0 => None,
            _ => Some(self.decision_digest(app, after).await?),
        };
        let mut rows = Vec::new();
        while rows.len() < most {
            let sequence = head.map_or(1, |head| head.sequence + 1);
            if self.objects.head(&key(app, sequence)).await?.is_none() {
                break;
            }
            let (row, next) = self.decision(app, sequence, head).await?;
            head = Some(next);
            rows.push(row);
        }
        Ok(rows)
    }

    async fn decision_digest(&self, app: &AppId, sequence: u64) -> Result<Head, ControlError> {
        let key = key(app, sequence);
        let (bytes, _) = self.objects.get(&key).await?.ok_or(ControlError::Missing(key))?;
        Ok(Head { sequence, digest: Digest::of(&bytes) })
    }

    async fn decision(
        &self,
        app: &AppId,
        sequence: u64,
        previous: Option<Head>,
    ) -> Result<(Row, Head), ControlError> {
        let key = key(app, sequence);
        let (bytes, _) = self.objects.get(&key).await?.ok_or_else(|| ControlError::Missing(key.clone()))?;
        let row: Row = decode(&key, &bytes)?;
        let expected = previous.map(|head| head.digest);
        if (&row.app, row.sequence, row.previous) != (app, sequence, expected) {
            let reason = "it does not follow the row before, which was changed or is another one".to_owned();
            return Err(ControlError::Damaged { key, reason });
        }
        Ok((row, Head { sequence, digest: Digest::of(&bytes) }))
    }
}

fn folder(app: &AppId) -> String {
    format!("apps/{app}/decisions")
}

fn key(app: &AppId, sequence: u64) -> String {
    format!("{}/{sequence:012}.json", folder(app))
}

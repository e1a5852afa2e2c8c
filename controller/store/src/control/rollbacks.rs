//! The write-ahead logs of rollbacks: one object each, created once and then replaced by compare-and-swap.

use sluice_core::{brake::BrakeId, ids::AppId, rollback::Rollback};

use super::{BundleStore, ControlError, decode, encode};
use crate::objects::{Etag, ObjectsError};

const FOLDER: &str = "rollbacks";

impl BundleStore {
    /// Opens a rollback. Says whether it is new; otherwise it stood there, and stays as it was.
    pub async fn open_rollback(&self, rollback: &Rollback) -> Result<bool, ControlError> {
        match self.objects.create(&key(&rollback.app, &rollback.id), encode(rollback).into()).await {
            Ok(()) => Ok(true),
            Err(ObjectsError::AlreadyExists(_)) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// One rollback, with the version of its object.
    pub async fn rollback(
        &self,
        app: &AppId,
        id: &BrakeId,
    ) -> Result<Option<(Rollback, Etag)>, ControlError> {
        let key = key(app, id);
        let found = self.objects.get(&key).await?;
        found.map(|(bytes, etag)| Ok((decode(&key, &bytes)?, etag))).transpose()
    }

    /// Every rollback, the oldest first, each with the version of its object. One that cannot be read is left out and
    /// logged: it is one channel's.
    pub async fn rollbacks(&self) -> Result<Vec<(Rollback, Etag)>, ControlError> {
        let mut all: Vec<(Rollback, Etag)> = Vec::new();
        for meta in self.objects.list(FOLDER).await? {
            let Some((bytes, etag)) = self.objects.get(&meta.key).await? else { continue };
            match decode::<Rollback>(&meta.key, &bytes) {
                Ok(rollback) => all.push((rollback, etag)),
                Err(error) => tracing::error!(%error, "the log of a rollback cannot be read"),
            }
        }
        all.sort_by(|(a, _), (b, _)| (a.at, &a.id).cmp(&(b.at, &b.id)));
        Ok(all)
    }

    /// Replaces what stands at the version `etag`, and returns the new one; nothing when somebody else has written since.
    pub async fn write_rollback(
        &self,
        rollback: &Rollback,
        etag: &Etag,
    ) -> Result<Option<Etag>, ControlError> {
        let key = key(&rollback.app, &rollback.id);
        match self.objects.replace(&key, encode(rollback).into(), Some(etag)).await {
            Ok(etag) => Ok(Some(etag)),
            Err(ObjectsError::Conflict(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

fn key(app: &AppId, id: &BrakeId) -> String {
    format!("{FOLDER}/{app}/{id}.json")
}

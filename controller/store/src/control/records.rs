//! The record of an app: created once by its first owner, then replaced by compare-and-swap.

use serde_json::Value;
use sluice_core::{ids::AppId, record::AppRecord};

use super::{BundleStore, ControlError, decode, encode};
use crate::objects::{Etag, ObjectsError};

/// After so many lost races something else is wrong.
const ATTEMPTS: usize = 64;

impl BundleStore {
    /// The record of an app.
    pub async fn record(&self, app: &AppId) -> Result<Option<AppRecord>, ControlError> {
        Ok(self.raw_record(app).await?.map(|(_, record, _)| record))
    }

    /// Every app that has a record, sorted.
    pub async fn apps(&self) -> Result<Vec<AppId>, ControlError> {
        let name = |key: &str| key.strip_prefix("apps/")?.strip_suffix("/record.json")?.parse().ok();
        let mut apps: Vec<AppId> =
            self.objects.list("apps").await?.iter().filter_map(|meta| name(&meta.key)).collect();
        apps.sort();
        Ok(apps)
    }

    /// Takes an app for `owner` (`namespace/name` of a Repository), or finds that `owner` has it already. Whoever
    /// comes first keeps it (rule 13).
    pub async fn claim(&self, app: &AppId, owner: &str) -> Result<AppRecord, ControlError> {
        let fresh = AppRecord::new(app.clone(), owner);
        match self.objects.create(&key(app), encode(&fresh).into()).await {
            Ok(()) => return Ok(fresh),
            Err(ObjectsError::AlreadyExists(_)) => {}
            Err(e) => return Err(e.into()),
        }
        let (_, record, _) = self.raw_record(app).await?.ok_or_else(|| ControlError::Missing(key(app)))?;
        owned(record, owner)
    }

    /// Changes the record of an app that `owner` has, as the leader of term `epoch`. `change` may run more than once,
    /// each time over what stands there; its own error ends the attempt. Owner, app and format are not its to change.
    /// Nothing is written when nothing changed. What a later leader wrote is not overwritten (rule 3).
    pub async fn update_record<E: From<ControlError>>(
        &self,
        epoch: u64,
        app: &AppId,
        owner: &str,
        mut change: impl FnMut(&mut AppRecord) -> Result<(), E>,
    ) -> Result<AppRecord, E> {
        for _ in 0..ATTEMPTS {
            let (raw, before, etag) =
                self.raw_record(app).await?.ok_or_else(|| ControlError::Unowned(app.clone()))?;
            let before = owned(before, owner)?;
            if before.epoch > epoch {
                return Err(ControlError::Deposed { found: before.epoch, held: epoch }.into());
            }
            let mut after = before.clone();
            change(&mut after)?;
            after.owner.clone_from(&before.owner);
            after.app.clone_from(&before.app);
            after.format = before.format;
            after.epoch = before.epoch;
            if after == before {
                return Ok(after);
            }
            after.epoch = epoch;
            if self.swap_record(raw, &before, &after, &etag).await? {
                return Ok(after);
            }
        }
        Err(ControlError::Contended(key(app)).into())
    }

    /// Moves an app to another owner, on somebody's explicit word.
    pub async fn transfer(&self, app: &AppId, from: &str, to: &str) -> Result<AppRecord, ControlError> {
        for _ in 0..ATTEMPTS {
            let (raw, before, etag) =
                self.raw_record(app).await?.ok_or_else(|| ControlError::Unowned(app.clone()))?;
            let before = owned(before, from)?;
            let after = AppRecord { owner: to.to_owned(), ..before.clone() };
            if self.swap_record(raw, &before, &after, &etag).await? {
                return Ok(after);
            }
        }
        Err(ControlError::Contended(key(app)))
    }

    async fn raw_record(&self, app: &AppId) -> Result<Option<(Value, AppRecord, Etag)>, ControlError> {
        let key = key(app);
        let Some((bytes, etag)) = self.objects.get(&key).await? else { return Ok(None) };
        let record: AppRecord = decode(&key, &bytes)?;
        if record.app != *app {
            return Err(ControlError::Damaged { key, reason: format!("it is the record of {}", record.app) });
        }
        Ok(Some((decode(&key, &bytes)?, record, etag)))
    }

    /// Says whether it was written; false when somebody else was faster.
    async fn swap_record(
        &self,
        mut raw: Value,
        before: &AppRecord,
        after: &AppRecord,
        etag: &Etag,
    ) -> Result<bool, ControlError> {
        apply(&mut raw, &value(before), value(after));
        match self.objects.replace(&key(&before.app), encode(&raw).into(), Some(etag)).await {
            Ok(_) => Ok(true),
            Err(ObjectsError::Conflict(_)) => Ok(false),
            Err(e) => Err(e.into()),
        }
    }
}

fn key(app: &AppId) -> String {
    format!("apps/{app}/record.json")
}

fn owned(record: AppRecord, owner: &str) -> Result<AppRecord, ControlError> {
    if record.owner == owner {
        Ok(record)
    } else {
        Err(ControlError::OwnedBy { app: record.app, owner: record.owner })
    }
}

fn value(record: &AppRecord) -> Value {
    serde_json::to_value(record).expect("a record has text keys and cannot fail")
}

/// Makes `raw` what `after` says, and keeps in it what `before`, which is `raw` as this program understands it, does not
/// have: fields of a later release.
fn apply(raw: &mut Value, before: &Value, after: Value) {
    match (raw, before, after) {
        (Value::Object(raw), Value::Object(before), Value::Object(after)) => {
            raw.retain(|name, _| after.contains_key(name) || !before.contains_key(name));
            for (name, value) in after {
                match (raw.get_mut(&name), before.get(&name)) {
                    (Some(raw), Some(before)) => apply(raw, before, value),
                    _ => {
                        raw.insert(name, value);
                    }
                }
            }
        }
        (raw, _, after) => *raw = after,
    }
}

//! Requests about single objects.

use std::time::Duration;

use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, Patch, PatchParams, Preconditions, ValidationDirective},
};
use serde::Serialize;
use serde_json::Value;
use sluice_core::inventory::{Kind, ObjectKey};
use sluice_crds::{Channel, Release};

use crate::{
    cache::{Held, held},
    problem::Problem,
};

/// Owner of the fields that come from Git.
pub(crate) const MANAGER: &str = "sluice";
/// Owner of status.
pub(crate) const STATUS_MANAGER: &str = "sluice-status";
/// A request that takes longer counts as unanswered.
pub(crate) const REQUEST: Duration = Duration::from_secs(30);

/// Releases and channels of one namespace.
#[derive(Debug, Clone)]
pub(crate) struct Objects {
    pub(crate) namespace: String,
    releases: Api<Release>,
    channels: Api<Channel>,
}

impl Objects {
    pub(crate) fn new(client: Client, namespace: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            releases: Api::namespaced(client.clone(), namespace),
            channels: Api::namespaced(client, namespace),
        }
    }

    /// Applies what Git says. Fields that others own are taken over: Git is the only source of the spec (rule 1).
    pub(crate) async fn apply(&self, key: &ObjectKey, patch: &Value) -> Result<Held, Problem> {
        let params = PatchParams {
            field_validation: Some(ValidationDirective::Strict),
            ..PatchParams::apply(MANAGER).force()
        };
        self.patch(key, &params, &Patch::Apply(patch)).await
    }

    /// Changes single fields.
    pub(crate) async fn merge(&self, key: &ObjectKey, patch: &Value) -> Result<Held, Problem> {
        let params = PatchParams { field_manager: Some(MANAGER.into()), ..PatchParams::default() };
        self.patch(key, &params, &Patch::Merge(patch)).await
    }

    async fn patch<P: Serialize + std::fmt::Debug>(
        &self,
        key: &ObjectKey,
        params: &PatchParams,
        patch: &Patch<P>,
    ) -> Result<Held, Problem> {
        let name = &key.name;
        match key.kind {
            Kind::Release => answer(self.releases.patch(name, params, patch)).await.map(|o| held(o).1),
            Kind::Channel => answer(self.channels.patch(name, params, patch)).await.map(|o| held(o).1),
        }
    }

    /// Writes a status.
    pub(crate) async fn status(&self, key: &ObjectKey, patch: &Value) -> Result<Held, Problem> {
        let params = PatchParams { field_manager: Some(STATUS_MANAGER.into()), ..PatchParams::default() };
        let (name, patch) = (&key.name, Patch::Merge(patch));
        match key.kind {
            Kind::Release => {
                answer(self.releases.patch_status(name, &params, &patch)).await.map(|o| held(o).1)
            }
            Kind::Channel => {
                answer(self.channels.patch_status(name, &params, &patch)).await.map(|o| held(o).1)
            }
        }
    }

    /// The leader's term that an object's status shows. It is listed by its name, for which the right to list will do.
    pub(crate) async fn term(&self, key: &ObjectKey) -> Result<Option<i64>, Problem> {
        let only = named(&key.name);
        let found = match key.kind {
            Kind::Release => {
                answer(self.releases.list(&only)).await?.items.into_iter().next().map(|o| held(o).1)
            }
            Kind::Channel => {
                answer(self.channels.list(&only)).await?.items.into_iter().next().map(|o| held(o).1)
            }
        };
        Ok(found.and_then(|held| held.term()))
    }

    /// Deletes exactly the object that is known, not one that somebody made since under its name.
    pub(crate) async fn delete(&self, held: &Held) -> Result<(), Problem> {
        let preconditions = Preconditions { uid: Some(held.substance.uid.clone()), resource_version: None };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        let name = &held.key.name;
        let deleted = match held.key.kind {
            Kind::Release => answer(self.releases.delete(name, &params)).await.map(|_| ()),
            Kind::Channel => answer(self.channels.delete(name, &params)).await.map(|_| ()),
        };
        match deleted {
            // Deleted already, or another object by now.
            Err(Problem::Gone) => Ok(()),
            other => other,
        }
    }
}

/// Lists one object.
pub(crate) fn named(name: &str) -> ListParams {
    ListParams::default().fields(&format!("metadata.name={name}"))
}

/// The answer to a request, in time.
pub(crate) async fn answer<T>(request: impl Future<Output = Result<T, kube::Error>>) -> Result<T, Problem> {
    match tokio::time::timeout(REQUEST, request).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(Problem::of(&error)),
        Err(_) => Err(Problem::Away(format!("no answer within {} s", REQUEST.as_secs()))),
    }
}

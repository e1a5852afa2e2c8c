//! Applying YAML.

use std::{fs, path::Path, time::Duration};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, Client, ResourceExt as _,
    api::{DynamicObject, Patch, PatchParams},
    core::GroupVersionKind,
    discovery::{self, Scope},
};
use serde::Deserialize as _;

use super::ControlPlane;
use crate::wait::until;

/// Who the fields that tests apply belong to.
const MANAGER: &str = "tests";
const ESTABLISHED: Duration = Duration::from_secs(30);
/// The resource types of the project, as they are installed.
const CRDS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../crds/generated");

impl ControlPlane {
    /// Applies all documents, those without a namespace in `default`; panics when the server refuses one.
    pub async fn apply_yaml(&self, text: &str) {
        self.apply_yaml_in("default", text).await;
    }

    /// Applies all documents, those without a namespace in this one; panics when the server refuses one.
    pub async fn apply_yaml_in(&self, namespace: &str, text: &str) -> Vec<DynamicObject> {
        self.try_apply_yaml_in(namespace, text).await.unwrap_or_else(|error| panic!("{error}\n{text}"))
    }

    /// Applies all documents up to the first that the server refuses.
    ///
    /// A resource type is waited for until its objects can be made.
    pub async fn try_apply_yaml_in(
        &self,
        namespace: &str,
        text: &str,
    ) -> Result<Vec<DynamicObject>, kube::Error> {
        let client = self.client();
        let mut applied = Vec::new();
        for object in parse(text) {
            applied.push(apply(&client, namespace, object).await?);
        }
        Ok(applied)
    }

    /// Installs the project's own resource types.
    pub async fn install_crds(&self) {
        for text in crds() {
            self.apply_yaml(&text).await;
        }
    }
}

fn crds() -> Vec<String> {
    let list = |folder: &Path| -> std::io::Result<Vec<String>> {
        let mut files =
            fs::read_dir(folder)?.map(|file| Ok(file?.path())).collect::<std::io::Result<Vec<_>>>()?;
        files.sort();
        files
            .into_iter()
            .filter(|file| file.extension().is_some_and(|e| e == "yaml"))
            .map(fs::read_to_string)
            .collect()
    };
    list(Path::new(CRDS)).unwrap_or_else(|error| panic!("{CRDS}: {error}"))
}

fn parse(text: &str) -> Vec<DynamicObject> {
    serde_yaml::Deserializer::from_str(text)
        .map(serde_yaml::Value::deserialize)
        // A document of comments alone.
        .filter(|document| !matches!(document, Ok(serde_yaml::Value::Null)))
        .map(|document| document.and_then(serde_yaml::from_value))
        .collect::<Result<_, _>>()
        .unwrap_or_else(|error| panic!("{error}\n{text}"))
}

async fn apply(
    client: &Client,
    namespace: &str,
    object: DynamicObject,
) -> Result<DynamicObject, kube::Error> {
    let types = object.types.as_ref().expect("a document says its apiVersion and kind");
    let kind = GroupVersionKind::try_from(types).unwrap_or_else(|error| panic!("{error}"));
    let (resource, capabilities) = discovery::pinned_kind(client, &kind).await?;
    let api: Api<DynamicObject> = match capabilities.scope {
        Scope::Cluster => Api::all_with(client.clone(), &resource),
        Scope::Namespaced => {
            let namespace = object.namespace().unwrap_or_else(|| namespace.to_owned());
            Api::namespaced_with(client.clone(), &namespace, &resource)
        }
    };
    let name = object.name_any();
    let applied = api.patch(&name, &PatchParams::apply(MANAGER).force(), &Patch::Apply(&object)).await?;
    if kind.kind == "CustomResourceDefinition" {
        established(client, &name).await;
    }
    Ok(applied)
}

/// Waits until the server serves the type, and says so where kinds are looked up.
async fn established(client: &Client, name: &str) {
    let api = Api::<CustomResourceDefinition>::all(client.clone());
    until(ESTABLISHED, &format!("{name} is established"), async || {
        let crd = api.get(name).await.map_err(|error| error.to_string())?;
        let conditions = crd.status.and_then(|status| status.conditions).unwrap_or_default();
        if !conditions.iter().any(|c| c.type_ == "Established" && c.status == "True") {
            let said: Vec<_> = conditions.iter().map(|c| (&c.type_, &c.status, &c.message)).collect();
            return Err(format!("{said:?}"));
        }
        for version in crd.spec.versions.iter().filter(|version| version.served) {
            let kind = GroupVersionKind::gvk(&crd.spec.group, &version.name, &crd.spec.names.kind);
            discovery::pinned_kind(client, &kind).await.map_err(|error| error.to_string())?;
        }
        Ok(())
    })
    .await;
}

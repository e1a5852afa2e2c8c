//! What the tests of the operator share: a namespace of a real API server, a real repository behind https, and the real
//! program as a process.

mod bucket;
mod git;
mod operator;
mod phone;
mod replica;
mod witness;

use std::{path::Path, sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use sluice_core::{
    brake::{Devices, Scope},
    ids::AppId,
};
use sluice_crds::{Channel, Release, Repository};
use sluice_repo::testing::{Changes, Upstream};
use sluice_store::{
    control::{BundleStore, NewBrake},
    objects::Directory,
};
pub use sluice_test_parts::{ControlPlane, GitHttps, until};
use tempfile::TempDir;
use tokio::sync::OnceCell;

pub use self::{
    bucket::Bucket,
    operator::{Operator, SLUICE},
    phone::Phone,
    replica::Replica,
    witness::Witness,
};

/// Longest wait for anything. It only matters when a test is about to fail.
pub const LIMIT: Duration = Duration::from_mins(1);
/// The app of most tests.
pub const APP: &str = "com.example.shop";

/// A namespace, a repository, and where an operator keeps what it knows.
pub struct World {
    pub control_plane: &'static ControlPlane,
    pub namespace: String,
    pub app: String,
    pub upstream: Upstream,
    pub git: GitHttps,
    folder: TempDir,
}

/// The control plane of this process, with the definitions installed.
pub async fn control_plane() -> &'static ControlPlane {
    static READY: OnceCell<&'static ControlPlane> = OnceCell::const_new();
    READY
        .get_or_init(async || {
            let control_plane = ControlPlane::shared().await;
            control_plane.install_crds().await;
            control_plane
        })
        .await
}

impl World {
    /// An empty repository and an empty namespace.
    pub async fn empty() -> Self {
        Self::on(control_plane().await).await
    }

    /// The same on a control plane of the test's own.
    pub async fn on(control_plane: &'static ControlPlane) -> Self {
        let namespace = control_plane.namespace().await;
        let upstream = Upstream::new();
        let git = GitHttps::serve(&upstream, "robot", git::PASSWORD).await;
        let folder = tempfile::tempdir().unwrap();
        Self { control_plane, namespace, app: APP.to_owned(), upstream, git, folder }
    }

    /// A shop with releases 1.1.0 and 1.2.0, production on 1.1.0, and a Repository that follows it.
    pub async fn shop() -> Self {
        let world = Self::empty().await;
        world.upstream.commit(shop());
        world.follow(json!({})).await;
        world
    }

    /// Makes the Secret and the Repository `shop`; `more` are further fields of its spec.
    pub async fn follow(&self, more: Value) {
        let data = json!({
            "username": "robot", "password": git::PASSWORD, "ca.crt": self.git.certificate,
        });
        self.secret("shop-git", &data).await;
        self.secret("shop-hook", &json!({ "token": git::HOOK_SECRET })).await;
        let mut spec = json!({
            "url": self.git.url(), "interval": "1s", "apps": [self.app], "write": { "mode": "Off" },
            "secretRef": { "name": "shop-git" }, "webhook": { "secretRef": { "name": "shop-hook" } },
        });
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.apply(&json!({
            "apiVersion": "sluice.dev/v1alpha1", "kind": "Repository",
            "metadata": { "name": "shop", "namespace": self.namespace }, "spec": spec,
        }))
        .await;
    }

    /// Makes or changes a Secret.
    pub async fn secret(&self, name: &str, data: &Value) {
        let api: Api<Secret> = self.api();
        let patch = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": { "name": name }, "stringData": data,
        });
        api.patch(name, &PatchParams::apply("tests").force(), &Patch::Apply(&patch)).await.unwrap();
    }

    /// Applies a document as another tool would.
    pub async fn apply(&self, document: &Value) {
        self.control_plane.apply_yaml_in(&self.namespace, &document.to_string()).await;
    }

    pub fn client(&self) -> Client {
        self.control_plane.client()
    }

    pub fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client(), &self.namespace)
    }

    /// A path for a file of the test.
    pub fn file(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    /// Starts an operator with the rights of the administrator, and devices answered by the same process.
    pub async fn operator(&self) -> Operator {
        self.operator_as(self.control_plane.kubeconfig(), &["--gateway"]).await
    }

    /// Starts one with a kubeconfig and flags.
    pub async fn operator_as(&self, kubeconfig: &Path, flags: &[&str]) -> Operator {
        let data = self.file("data");
        Operator::start(kubeconfig, &self.namespace, &data, flags).await
    }

    /// Waits until `Ready` of the channel has this status and reason, and returns the channel.
    pub async fn await_channel(&self, name: &str, reason: &str) -> Channel {
        let api: Api<Channel> = self.api();
        until(LIMIT, &format!("channel {name} says {reason}"), async || {
            let channel = api.get(name).await.map_err(|error| error.to_string())?;
            let conditions = channel.status.as_ref().map(|s| s.conditions.clone()).unwrap_or_default();
            let ready = conditions.iter().find(|c| c.type_ == "Ready");
            if ready.is_some_and(|c| c.reason == reason) {
                Ok(channel)
            } else {
                Err(format!("{conditions:?}"))
            }
        })
        .await
    }

    /// The same for a Release.
    pub async fn await_release(&self, name: &str, reason: &str) -> Release {
        let api: Api<Release> = self.api();
        until(LIMIT, &format!("release {name} says {reason}"), async || {
            let release = api.get(name).await.map_err(|error| error.to_string())?;
            let conditions = release.status.as_ref().map(|s| s.conditions.clone()).unwrap_or_default();
            let ready = conditions.iter().find(|c| c.type_ == "Ready");
            if ready.is_some_and(|c| c.reason == reason) {
                Ok(release)
            } else {
                Err(format!("{conditions:?}"))
            }
        })
        .await
    }

    /// The same for the Repository `shop`.
    pub async fn await_repository(&self, reason: &str) -> Repository {
        let api: Api<Repository> = self.api();
        until(LIMIT, &format!("the repository says {reason}"), async || {
            let repository = api.get("shop").await.map_err(|error| error.to_string())?;
            let conditions = repository.status.as_ref().map(|s| s.conditions.clone()).unwrap_or_default();
            let ready = conditions.iter().find(|c| c.type_ == "Ready");
            if ready.is_some_and(|c| c.reason == reason) {
                Ok(repository)
            } else {
                Err(format!("{conditions:?}"))
            }
        })
        .await
    }

    /// Waits until a channel says that it serves this version. Returns the term of the leader that says it.
    pub async fn says(&self, name: &str, version: &str) -> u64 {
        until(LIMIT, &format!("channel {name} says {version}"), async || {
            let channel = self.api::<Channel>().get(name).await.map_err(|error| error.to_string())?;
            let status = channel.status.unwrap_or_default();
            let epoch = status.epoch.and_then(|epoch| u64::try_from(epoch).ok());
            if status.release.as_deref() == Some(version) {
                Ok(epoch.unwrap())
            } else {
                Err(format!("{status:?}"))
            }
        })
        .await
    }

    /// Brakes a version on the production channel as the gate does, in the bundle store.
    pub async fn gate_brakes(&self, version: &str) {
        let objects = Arc::new(Directory::open(self.file("data").join("store")).unwrap());
        let store = BundleStore::open_existing(objects).await.unwrap();
        let app: AppId = self.app.parse().unwrap();
        let record = store.record(&app).await.unwrap().unwrap();
        let release = version.parse().unwrap();
        let wanted = NewBrake {
            digest: record.versions[&release].digest,
            app,
            release: Some(release),
            scope: Scope::Channel("production".parse().unwrap()),
            devices: Devices::Return,
            by: "gate".to_owned(),
            why: "BrokenAtLaunch: it does not start".to_owned(),
            at: jiff::Timestamp::now(),
            evidence: None,
            rollback: true,
            lifted: Vec::new(),
        };
        store.brake(wanted).await.unwrap();
    }

    /// Moves the production channel.
    pub fn move_to(&self, version: &str) {
        self.upstream.commit(Changes::new().file("channels/production.yaml", channel("production", version)));
    }
}

/// The documents and bundles of [`World::shop`].
pub fn shop() -> Changes {
    with_release(with_release(Changes::new(), "1.1.0"), "1.2.0")
        .file("channels/production.yaml", channel("production", "1.1.0"))
}

/// A release with its bundle.
pub fn with_release(changes: Changes, version: &str) -> Changes {
    changes
        .file(&format!("bundles/{version}/index.html"), format!("<!doctype html><title>{version}</title>"))
        .file(&format!("releases/{version}.yaml"), release(version))
}

/// A Release of [`APP`].
pub fn release(version: &str) -> String {
    format!(
        "apiVersion: sluice.dev/v1alpha1\nkind: Release\nmetadata:\n  name: shop-{version}\nspec:\n  app: {APP}\n  \
         version: {version}\n  bundle:\n    path: ../bundles/{version}\n"
    )
}

/// A public Channel of [`APP`].
pub fn channel(name: &str, release: &str) -> String {
    format!(
        "apiVersion: sluice.dev/v1alpha1\nkind: Channel\nmetadata:\n  name: shop-{name}\nspec:\n  app: {APP}\n  channel: \
         {name}\n  release: {release}\n  public: true\n"
    )
}

/// Makes an object of a kind that is not ours.
pub async fn create<K>(api: &Api<K>, object: Value)
where
    K: kube::Resource + Clone + std::fmt::Debug + serde::Serialize + serde::de::DeserializeOwned,
{
    let object: K = serde_json::from_value(object).unwrap();
    api.create(&PostParams::default(), &object).await.unwrap();
}

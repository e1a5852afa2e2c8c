//! A Kubernetes control plane: etcd and the API server, and controllers where a test needs them.

mod access;
mod apply;
mod audit;
mod builder;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
};
use tokio::sync::OnceCell;

use self::access::Access;
pub use self::{audit::AuditEntry, builder::ControlPlaneBuilder};
use crate::{folder::Folder, ports::Port, server::Server};

/// One control plane for all tests of a process.
static SHARED: OnceCell<ControlPlane> = OnceCell::const_new();

/// A running control plane. There is no kubelet and no scheduler: pods stay pending.
#[derive(Debug)]
pub struct ControlPlane {
    // Dropped in this order: those that write before what they write to.
    controllers: Option<Server>,
    apiserver: Server,
    etcd: Server,
    access: Access,
    etcd_port: Port,
    _etcd_peer_port: Port,
    apiserver_port: Port,
    audit_log: Option<PathBuf>,
    folder: Folder,
}

impl ControlPlane {
    /// Starts etcd and the API server.
    pub async fn start() -> Self {
        Self::builder().start().await
    }

    /// Starts one with other flags, controllers or an audit log.
    pub fn builder() -> ControlPlaneBuilder {
        ControlPlaneBuilder::default()
    }

    /// The one that the tests of this process share: a namespace for each, and nobody stops it.
    pub async fn shared() -> &'static Self {
        SHARED.get_or_init(Self::start).await
    }

    /// The kubeconfig of the administrator.
    pub fn kubeconfig(&self) -> &Path {
        &self.access.kubeconfig
    }

    /// A client with the rights of the administrator. It belongs to the runtime that it is made in.
    pub fn client(&self) -> Client {
        self.access.client()
    }

    /// Where the API server is, for example `https://127.0.0.1:20443`.
    pub fn url(&self) -> &str {
        &self.access.url
    }

    /// The address under which the API server listens, for a [`Proxy`](crate::Proxy).
    pub fn address(&self) -> SocketAddr {
        self.apiserver_port.address()
    }

    /// The authority that signed the API server's certificate.
    pub fn ca_pem(&self) -> &str {
        &self.access.ca_pem
    }

    /// A temporary folder that goes away with the control plane.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Makes a namespace and gives its name.
    pub async fn namespace(&self) -> String {
        let metadata = ObjectMeta { generate_name: Some("test-".to_owned()), ..ObjectMeta::default() };
        let namespace = Namespace { metadata, ..Namespace::default() };
        let made = Api::<Namespace>::all(self.client()).create(&PostParams::default(), &namespace).await;
        let made = made.unwrap_or_else(|error| panic!("a namespace: {error}"));
        made.metadata.name.expect("the server names it")
    }

    /// Kills the API server.
    pub fn kill_apiserver(&self) {
        self.apiserver.kill();
    }

    /// Starts the API server again, under the same address, and waits until it is ready.
    pub async fn start_apiserver(&self) {
        self.apiserver.spawn();
        self.apiserver_ready().await;
    }

    /// Lets the API server hang: connections stay open, and nothing is answered.
    pub fn pause_apiserver(&self) {
        self.apiserver.pause();
    }

    /// Lets the API server go on.
    pub fn resume_apiserver(&self) {
        self.apiserver.resume();
    }

    /// The process id of the API server, while it runs.
    pub fn apiserver_id(&self) -> Option<u32> {
        self.apiserver.id()
    }

    /// Kills etcd.
    pub fn kill_etcd(&self) {
        self.etcd.kill();
    }

    /// Starts etcd again, with the data that it had, and waits until the API server reaches it.
    pub async fn start_etcd(&self) {
        self.etcd.spawn();
        self.etcd_ready().await;
        self.apiserver_ready().await;
    }

    /// Kills the controllers, which the builder started.
    pub fn kill_controllers(&self) {
        self.controllers.as_ref().expect("the builder was asked for controllers").kill();
    }

    /// Starts the controllers again.
    pub fn start_controllers(&self) {
        self.controllers.as_ref().expect("the builder was asked for controllers").spawn();
    }

    /// What the API server was asked, as far as its audit log is written: an entry appears when its answer is sent.
    pub fn audit(&self) -> Vec<AuditEntry> {
        let log = self.audit_log.as_ref().expect("the builder was asked for an audit log");
        audit::read(log)
    }

    async fn etcd_ready(&self) {
        let url = format!("http://{}/readyz", self.etcd_port.address());
        let client = reqwest::Client::new();
        self.etcd
            .ready(async || {
                client.get(&url).timeout(Duration::from_secs(5)).send().await?.error_for_status().map(drop)
            })
            .await;
    }

    async fn apiserver_ready(&self) {
        let client = self.client();
        let namespaces = Api::<Namespace>::all(client.clone());
        self.apiserver
            .ready(async || -> Result<(), kube::Error> {
                let request = http::Request::get("/readyz").body(Vec::new()).expect("a constant request");
                client.request_text(request).await?;
                // Made by the server itself, a moment after it says that it is ready.
                namespaces.get("default").await.map(drop)
            })
            .await;
    }
}

//! Starting a control plane.

use std::path::PathBuf;

use super::{ControlPlane, access::Access, audit};
use crate::{folder::Folder, ports::Port, program::part, server::Server};

/// What many tests rely on of a cluster's controllers.
const CONTROLLERS: [&str; 5] = [
    "clusterrole-aggregation-controller",
    "garbage-collector-controller",
    "namespace-controller",
    "resourcequota-controller",
    "serviceaccount-controller",
];

/// How a control plane shall be.
#[derive(Clone, Debug, Default)]
#[must_use = "nothing runs before `start`"]
pub struct ControlPlaneBuilder {
    controllers: Vec<String>,
    apiserver_flags: Vec<String>,
    audit: bool,
}

impl ControlPlaneBuilder {
    /// Runs the controllers that collect garbage, empty deleted namespaces, aggregate roles, count quota, and make the
    /// default service accounts.
    pub fn with_controllers(self) -> Self {
        self.with_controllers_named(CONTROLLERS)
    }

    /// Runs these controllers of the controller manager.
    pub fn with_controllers_named<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.controllers.extend(names.into_iter().map(Into::into));
        self
    }

    /// Adds a flag of the API server, for example `--max-requests-inflight=1`.
    pub fn apiserver_flag(mut self, flag: impl Into<String>) -> Self {
        self.apiserver_flags.push(flag.into());
        self
    }

    /// Keeps an audit log, for [`ControlPlane::audit`].
    pub fn with_audit(mut self) -> Self {
        self.audit = true;
        self
    }

    /// Starts it, and waits until it is ready.
    pub async fn start(self) -> ControlPlane {
        let folder = Folder::new("control-plane", None);
        let [etcd_port, peer_port, apiserver_port] = [Port::claim(), Port::claim(), Port::claim()];
        let access = Access::new(&folder, apiserver_port.address()).await;
        let audit_log = self.audit.then(|| folder.path().join("audit.log"));

        let etcd = etcd(&folder, &etcd_port, &peer_port);
        let apiserver = Server::new("kube-apiserver", part("kube-apiserver"), folder.path())
            .args(self.apiserver_arguments(&folder, &etcd_port, &apiserver_port, audit_log.as_ref()));
        let controllers = (!self.controllers.is_empty()).then(|| self.controller_manager(&folder, &access));

        let control_plane = ControlPlane {
            controllers,
            apiserver,
            etcd,
            access,
            etcd_port,
            _etcd_peer_port: peer_port,
            apiserver_port,
            audit_log,
            folder,
        };
        // The API server tries until it reaches etcd.
        control_plane.etcd.spawn();
        control_plane.apiserver.spawn();
        control_plane.etcd_ready().await;
        control_plane.apiserver_ready().await;
        if let Some(controllers) = &control_plane.controllers {
            controllers.spawn();
        }
        control_plane
    }

    fn apiserver_arguments(
        &self,
        folder: &Folder,
        etcd: &Port,
        own: &Port,
        audit_log: Option<&PathBuf>,
    ) -> Vec<String> {
        let file = |name: &str| folder.path().join(name).display().to_string();
        let mut arguments = vec![
            format!("--etcd-servers=http://{}", etcd.address()),
            "--bind-address=127.0.0.1".to_owned(),
            "--advertise-address=127.0.0.1".to_owned(),
            format!("--secure-port={}", own.address().port()),
            format!("--tls-cert-file={}", file("apiserver.crt")),
            format!("--tls-private-key-file={}", file("apiserver.key")),
            "--service-cluster-ip-range=10.0.0.0/24".to_owned(),
            "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
            format!("--service-account-key-file={}", file("sa.pub")),
            format!("--service-account-signing-key-file={}", file("sa.key")),
            format!("--token-auth-file={}", file("tokens.csv")),
            "--authorization-mode=RBAC".to_owned(),
            "--allow-privileged=true".to_owned(),
            // There is nothing that could run a pod; its token is no matter.
            "--disable-admission-plugins=ServiceAccount".to_owned(),
            // One server has no peers to agree with, and ends sooner without trying.
            "--endpoint-reconciler-type=none".to_owned(),
            "--profiling=false".to_owned(),
        ];
        if let Some(log) = audit_log {
            let policy = folder.write("audit-policy.json", audit::POLICY);
            arguments.push(format!("--audit-policy-file={}", policy.display()));
            arguments.push(format!("--audit-log-path={}", log.display()));
        }
        arguments.extend(self.apiserver_flags.iter().cloned());
        arguments
    }

    fn controller_manager(&self, folder: &Folder, access: &Access) -> Server {
        Server::new("kube-controller-manager", part("kube-controller-manager"), folder.path()).args([
            format!("--kubeconfig={}", access.kubeconfig.display()),
            format!("--controllers={}", self.controllers.join(",")),
            // Nobody asks it anything, and no other competes with it.
            "--secure-port=0".to_owned(),
            "--leader-elect=false".to_owned(),
        ])
    }
}

fn etcd(folder: &Folder, port: &Port, peer_port: &Port) -> Server {
    let client = format!("http://{}", port.address());
    let peer = format!("http://{}", peer_port.address());
    Server::new("etcd", part("etcd"), folder.path()).args([
        format!("--data-dir={}", folder.path().join("etcd").display()),
        // What is killed here is the process, never the machine.
        "--unsafe-no-fsync".to_owned(),
        format!("--listen-client-urls={client}"),
        format!("--advertise-client-urls={client}"),
        format!("--listen-peer-urls={peer}"),
        format!("--initial-advertise-peer-urls={peer}"),
        format!("--initial-cluster=default={peer}"),
    ])
}

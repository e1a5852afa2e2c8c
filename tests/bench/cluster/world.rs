//! A repository of one size, the namespace that it is applied into, and the operator that applies it.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};
use sluice_crds::Repository;
use sluice_repo::testing::Upstream;
use sluice_test_parts::{ControlPlane, GitHttps, helm};
use tempfile::TempDir;

use crate::{
    board::Board,
    content::Content,
    cost::{Requests, child},
    program::{LIMIT, Program},
    usage::cpu,
};

/// Where the chart is installed.
pub const SYSTEM: &str = "sluice-system";
const PASSWORD: &str = "bench-password";
/// What webhooks are signed with.
pub const HOOK_SECRET: &str = "bench-hook-secret";

/// A control plane with the chart in it.
pub async fn control_plane() -> &'static ControlPlane {
    let control_plane: &'static ControlPlane =
        Box::leak(Box::new(ControlPlane::builder().with_audit().start().await));
    let chart = concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/sluice");
    let mut install = helm(control_plane);
    install.args(["install", "sluice", chart, "--namespace", SYSTEM, "--create-namespace"]);
    run(&mut install);
    control_plane
}

/// Runs a command that must succeed.
pub fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}\n{}", String::from_utf8_lossy(&output.stderr));
}

/// See the module.
pub struct World {
    pub control_plane: &'static ControlPlane,
    pub namespace: String,
    pub content: Content,
    pub upstream: Upstream,
    pub git: GitHttps,
    pub board: Board,
    pub requests: Requests,
    kubeconfig: PathBuf,
    folder: TempDir,
}

/// CPU seconds that were used until a moment.
#[derive(Debug, Clone, Copy)]
pub struct Cpu {
    /// Of the operator.
    pub operator: f64,
    /// Of API server and etcd.
    pub cluster: f64,
    at: Instant,
}

impl Cpu {
    /// Used since then.
    pub fn since(self, before: Self) -> Self {
        Self {
            operator: self.operator - before.operator,
            cluster: self.cluster - before.cluster,
            at: before.at,
        }
    }
}

impl World {
    /// A repository of this size that nobody follows yet.
    pub async fn new(control_plane: &'static ControlPlane, resources: usize) -> Self {
        let content = Content::of(resources);
        let upstream = Upstream::new();
        content.commit(&upstream);
        let namespace = control_plane.namespace().await;
        let git = GitHttps::serve(&upstream, "robot", PASSWORD).await;
        let board = Board::watch(&control_plane.client(), &namespace);
        let kubeconfig = control_plane.kubeconfig_for(SYSTEM, "sluice").await;
        let log = control_plane.folder().join("audit.log");
        let requests = Requests::of(log, format!("system:serviceaccount:{SYSTEM}:sluice"));
        let folder = tempfile::tempdir().unwrap();
        Self { control_plane, namespace, content, upstream, git, board, requests, kubeconfig, folder }
    }

    /// Starts the operator with the rights of the chart, and waits until it leads. `more` are further flags.
    pub async fn operator(&self, more: &[&str], variables: &[(&str, &str)]) -> Program {
        self.start(None, more, variables).await
    }

    /// The same with devices answered by it, and all of it on one core.
    pub async fn with_gateway_on(&self, core: &str, variables: &[(&str, &str)]) -> Program {
        self.start(Some(core), &["--gateway", "--listen", "127.0.0.1:0"], variables).await
    }

    async fn start(&self, core: Option<&str>, more: &[&str], variables: &[(&str, &str)]) -> Program {
        let data = self.folder.path().join("data").display().to_string();
        let mut arguments = vec![
            "operator",
            "--data",
            &data,
            "--namespaces",
            &self.namespace,
            "--lease-namespace",
            SYSTEM,
            "--hooks-listen",
            "127.0.0.1:0",
        ];
        arguments.extend(more);
        let kubeconfig = self.kubeconfig.display().to_string();
        let mut all = vec![("KUBECONFIG", kubeconfig.as_str())];
        all.extend(variables);
        match core {
            Some(core) => Program::start_on(core, &arguments, &all, self.folder.path()).await,
            None => Program::start(&arguments, &all, self.folder.path()).await,
        }
    }

    /// The same, with devices answered by it.
    pub async fn with_gateway(&self) -> Program {
        self.operator(&["--gateway", "--listen", "127.0.0.1:0"], &[]).await
    }

    /// A folder for logs.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Makes the Repository, or changes how it is followed.
    pub async fn follow(&self, more: Value) {
        let secret = |name: &str, data: Value| {
            json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": name }, "stringData": data })
                .to_string()
        };
        let login = json!({ "username": "robot", "password": PASSWORD, "ca.crt": self.git.certificate });
        let mut spec = json!({
            "url": self.git.url(), "interval": "1h", "apps": ["com.example.*"], "write": { "mode": "Off" },
            "secretRef": { "name": "bench-git" }, "webhook": { "secretRef": { "name": "bench-hook" } },
        });
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let repository = json!({
            "apiVersion": "sluice.dev/v1alpha1", "kind": "Repository", "metadata": { "name": "bench" }, "spec": spec,
        });
        for document in [
            secret("bench-git", login),
            secret("bench-hook", json!({ "token": HOOK_SECRET })),
            repository.to_string(),
        ] {
            self.control_plane.apply_yaml_in(&self.namespace, &document).await;
        }
    }

    /// Stops following, so that the next size has the machine for itself.
    pub async fn suspend(&self) {
        let api: Api<Repository> = Api::namespaced(self.control_plane.client(), &self.namespace);
        let patch = json!({ "spec": { "suspend": true } });
        api.patch("bench", &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
    }

    /// Waits until everything is there and says Ready.
    pub async fn await_ready(&self) -> Instant {
        let all = self.content.resources();
        self.board.until("everything is ready", LIMIT, |board| board.count() == (all, all)).await
    }

    /// What was used up to now.
    pub fn cpu(&self, operator: &Program) -> Cpu {
        let apiserver = self.control_plane.apiserver_id().unwrap();
        Cpu { operator: cpu(operator.id()), cluster: cpu(apiserver) + cpu(child("etcd")), at: Instant::now() }
    }
}

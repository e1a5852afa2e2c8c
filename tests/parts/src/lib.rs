//! Real parts for tests: a Kubernetes control plane, object storage, a database, a Git host, and a network that can fail.
//!
//! Programs come from `tests/parts/build` and from Debian; a part that is missing fails the test that needs it. Every
//! server runs on ports of its own in a temporary folder of its own and ends with the process that started it, however
//! that ends. Nothing here reads `KUBECONFIG`: tests never touch somebody's cluster.
//!
//! What is called here by tests panics when it cannot do what its name says.
#![expect(clippy::panic, reason = "a test that cannot have its part ends there, with the reason")]

mod control_plane;
mod demo;
mod folder;
mod git;
mod gitea;
mod kubelet;
mod minio;
mod ports;
mod postgres;
mod program;
mod proxy;
mod server;
mod wait;

pub use self::{
    control_plane::{AuditEntry, ControlPlane, ControlPlaneBuilder},
    demo::Demo,
    git::GitHttps,
    gitea::Gitea,
    kubelet::Kubelet,
    minio::Minio,
    postgres::Postgres,
    program::{helm, kubectl, part, promtool},
    proxy::Proxy,
    wait::{Observation, until},
};

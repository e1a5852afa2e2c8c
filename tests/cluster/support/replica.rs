//! One of several operators: a process of its own, with its own wires to the API server and to the bundle store.

use std::{path::PathBuf, process::Command, time::Duration};

use sluice_test_parts::Proxy;

use super::{Bucket, LIMIT, Operator, World, operator::SLUICE, until};

/// See the module. The process is named and keeps its name and its files over restarts, as the container of a pod does.
pub struct Replica {
    pub name: &'static str,
    /// The wire to the API server.
    pub api: Proxy,
    /// The wire to the bundle store.
    pub store: Proxy,
    /// Minutes by which its clock is wrong.
    skew: i32,
    namespace: String,
    data: PathBuf,
    kubeconfig: PathBuf,
    bucket: Bucket,
    lease: Duration,
    operator: Option<Operator>,
}

impl Replica {
    /// One that does not run yet.
    pub async fn new(world: &World, bucket: &Bucket, name: &'static str, lease: Duration) -> Self {
        let api = Proxy::to(world.control_plane.address()).await;
        let store = Proxy::to(bucket.address).await;
        let kubeconfig = world.control_plane.kubeconfig_via(&api, world.control_plane.kubeconfig());
        Self {
            name,
            api,
            store,
            skew: 0,
            namespace: world.namespace.clone(),
            data: world.file(&format!("data-{name}")),
            kubeconfig,
            bucket: bucket.clone(),
            lease,
            operator: None,
        }
    }

    /// The same with a clock that is wrong by this many minutes.
    pub fn with_clock(mut self, minutes: i32) -> Self {
        self.skew = minutes;
        self
    }

    /// Starts the process, and waits until it listens.
    pub async fn start(&mut self) {
        let mut command = Command::new(SLUICE);
        if self.skew != 0 {
            command.env("LD_PRELOAD", faketime()).env("FAKETIME", format!("{:+}m", self.skew));
            // How long something takes is measured by another clock, which a wrong time of day does not change.
            command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1").env("NO_FAKE_STAT", "1");
        }
        command.env("KUBECONFIG", &self.kubeconfig).envs(self.bucket.environment(self.store.address()));
        let lease = format!("{}s", self.lease.as_secs());
        let flags = [
            ("--store", self.bucket.url.as_str()),
            ("--admin-listen", "127.0.0.1:0"),
            ("--hooks-listen", "127.0.0.1:0"),
            ("--namespaces", &self.namespace),
            ("--lease-namespace", &self.namespace),
            ("--lease-duration", &lease),
            ("--identity", self.name),
            ("--log", "info,sluice_kube=debug,sluice_engine=debug"),
        ];
        let flags: Vec<&str> = flags.iter().flat_map(|(flag, value)| [*flag, *value]).collect();
        self.operator = Some(Operator::launch(command, &self.namespace, &self.data, &flags).await);
    }

    /// The process.
    pub fn process(&self) -> &Operator {
        self.operator.as_ref().expect("it runs")
    }

    /// Whether there is a process, paused or not.
    pub fn runs(&self) -> bool {
        self.operator.is_some()
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.operator.take().expect("it runs").kill();
    }

    /// Asks it to stop, and waits until it has.
    pub async fn stop(&mut self) {
        assert!(self.operator.take().expect("it runs").stop().await.success());
    }

    /// Whether it says that it leads.
    pub async fn says_it_leads(&self) -> bool {
        self.process().metric("sluice_leader").await > 0.5
    }

    /// Waits until it has looked around and waits for its turn.
    pub async fn follows(&self) {
        until(LIMIT, &format!("{} follows", self.name), async || {
            let (ready, body) = self.process().ready().await;
            let quiet = body["background"].as_array().is_none_or(Vec::is_empty);
            let leads = self.says_it_leads().await;
            if ready && quiet && !leads { Ok(()) } else { Err((leads, body)) }
        })
        .await;
    }
}

/// What gives a process another time of day. Its wrapper program would stand between a signal and the process.
fn faketime() -> PathBuf {
    let folders = std::fs::read_dir("/usr/lib").unwrap().map(|entry| entry.unwrap().path());
    let mut found = folders.map(|folder| folder.join("faketime/libfaketimeMT.so.1"));
    found.find(|library| library.exists()).expect("tests/run installs faketime")
}

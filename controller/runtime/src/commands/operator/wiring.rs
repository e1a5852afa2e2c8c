//! Puts the rooms together for a cluster: stores, operator, webhooks, admin side, and devices when asked.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use arc_swap::ArcSwap;
use jiff::Timestamp;
use sluice_core::{snapshot::Snapshot, status::Status};
use sluice_kube::{Hooks, Operator, OperatorParts, Scope, leader::LeaseSettings, review::Reviewer};
use sluice_repo::Mirrors;
use sluice_serve::{
    admin::Admin,
    device::{DeviceServer, DeviceSettings},
    hooks::{self, Verdict},
    listener::{self, Limits},
    metrics::Metrics,
    peer::TrustedProxies,
    views::Views,
};
use sluice_store::{
    control::{BrakeWatch, BundleStore, DataDir, Follower},
    fleet::FleetUrl,
    objects::{Objects, StoreUrl},
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{background::Background, config::OperatorConfig, fleet::LeaderFleet};
use crate::{
    people::People,
    wiring::{DRAIN, FILE_LOOK, bind, bundle_policy, public_url, tls, until_all_end, worker},
};

/// Between two tries to reach a bundle store that does not answer.
const AGAIN: Duration = Duration::from_secs(1);

/// Works until `stop` is cancelled, then drains and writes what waits.
pub(crate) async fn operate(config: OperatorConfig, stop: CancellationToken) -> anyhow::Result<()> {
    let data = DataDir::open(&config.data)?;
    let url = config.store.clone().unwrap_or_else(|| StoreUrl::directory(data.store()));
    let objects = url.open()?;
    let client = kube::Client::try_default().await.context(
        "no cluster: run in a pod with a ServiceAccount, or set KUBECONFIG to a file that names one",
    )?;

    // Bound before anything is followed: an address in use is found at once.
    let admin_listener = bind(config.admin_listen, "admin-listen").await?;
    let hooks_listener = bind(config.hooks_listen, "hooks-listen").await?;
    let device_listener = if config.gateway { Some(bind(config.listen, "listen").await?) } else { None };

    let snapshot = Arc::new(ArcSwap::from_pointee(Snapshot::empty()));
    let status = Arc::new(ArcSwap::from_pointee(Status::default()));
    let brakes = BrakeWatch::new(objects.clone(), Arc::default(), true);
    let follower = Follower::new(objects.clone(), snapshot.clone(), brakes.clone());
    let fleet = LeaderFleet::new(config.database.clone().unwrap_or_else(|| FleetUrl::file(data.fleet())));
    let mut views = Views {
        snapshot: snapshot.clone(),
        brakes: brakes.brakes().clone(),
        // The one change that is no resource of the cluster: any replica may brake, also one that does not lead.
        braking: Some(brakes.clone()),
        status: status.clone(),
        devices: Arc::new(fleet.clone()),
        fleet: None,
        freshness: Some(follower.freshness()),
        background: None,
        objects: objects.clone(),
    };
    if config.gateway {
        // One replica: the fleet store is its own before and after it leads.
        let opened = fleet.keep().await.context("the fleet store cannot be opened")?;
        views.fleet = Some(opened.clone());
        views.devices = opened;
    }
    let Some(store) = opened(&objects, &stop).await else { return Ok(()) };
    let hooks = Hooks::default();
    let operator = Operator::new(OperatorParts {
        client: client.clone(),
        scope: config.scope.clone(),
        lease: lease(&config, &client),
        store,
        fleet: Arc::new(fleet.clone()),
        brakes: brakes.clone(),
        snapshot,
        status,
        mirrors: Mirrors::new(data.mirrors(), worker()?),
        bundles: bundle_policy(config.allow_private_sources),
        hooks: hooks.clone(),
    });
    let health = operator.health();
    views.background = Some(Arc::new(Background(health, fleet.clone())));

    let tls = tls(config.tls.as_ref()).await?;
    let metrics = Metrics::new(&views);
    let listen = device_listener.as_ref().map_or(Ok(config.listen), tokio::net::TcpListener::local_addr)?;
    let public = public_url(config.public_url.as_ref(), config.download_url.as_ref(), tls.is_some(), listen);
    let device = DeviceServer::new(views, metrics.clone(), device_settings(&config, &public));
    let admin = Admin::new(device.clone(), People::new(Reviewer::new(client)), stop.clone());
    tracing::info!(store = %url, namespaces = named(&config.scope), identity = config.identity, "the operator starts");
    tracing::info!(url = %format!("http://{}", admin_listener.local_addr()?), "health, metrics and the API");
    tracing::info!(url = %format!("http://{}/hooks/<namespace>/<name>", hooks_listener.local_addr()?), "webhooks");

    let mut tasks = JoinSet::new();
    let followed = stop.clone();
    tasks.spawn(async move {
        tokio::select! { () = follower.run() => {}, () = followed.cancelled() => {} }
    });
    let stopped = stop.clone();
    tasks.spawn(async move {
        tokio::select! { () = brakes.run() => {}, () = stopped.cancelled() => {} }
    });
    if let Some(tls) = &tls {
        tasks.spawn(tls.watcher().watch(FILE_LOOK, stop.clone()));
    }
    if let Some(device_listener) = device_listener {
        tracing::info!(url = %public, %listen, "devices are answered");
        let limits = Limits { connections: config.max_connections, drain: DRAIN, ..Limits::default() };
        let (site, stop) = (device.site(), stop.clone());
        tasks.spawn(async move {
            listener::serve(device_listener, site, tls.as_ref(), limits, stop).await;
        });
    }
    for (listener, site) in
        [(admin_listener, admin.site()), (hooks_listener, hooks::site(judge(hooks), metrics))]
    {
        let stop = stop.clone();
        tasks.spawn(async move {
            let limits = Limits { drain: DRAIN, ..Limits::default() };
            listener::serve(listener, site, None, limits, stop).await;
        });
    }
    tasks.spawn(operator.run(stop.clone()));
    until_all_end(tasks, &stop, "operator").await;
    fleet.end().await.context("what devices reported last could not be written")?;
    tracing::info!("stopped");
    Ok(())
}

/// The bundle store, as soon as it answers. `None`: the process is asked to stop before.
async fn opened(objects: &Arc<dyn Objects>, stop: &CancellationToken) -> Option<Arc<BundleStore>> {
    let mut said = String::new();
    loop {
        match BundleStore::open(objects.clone(), &uuid::Uuid::new_v4().to_string()).await {
            Ok(store) => return Some(Arc::new(store)),
            Err(error) => {
                let error = error.to_string();
                if error != said {
                    tracing::warn!(error, at = %Timestamp::now(), "the bundle store cannot be opened; trying again");
                    said = error;
                }
            }
        }
        tokio::select! {
            () = tokio::time::sleep(AGAIN) => {}
            () = stop.cancelled() => return None,
        }
    }
}

fn lease(config: &OperatorConfig, client: &kube::Client) -> LeaseSettings {
    LeaseSettings {
        namespace: config.lease_namespace.clone().unwrap_or_else(|| client.default_namespace().to_owned()),
        name: config.lease_name.clone(),
        identity: config.identity.clone(),
        duration: config.lease_duration,
    }
}

fn named(scope: &Scope) -> String {
    match scope {
        Scope::Cluster => "all namespaces".to_owned(),
        Scope::Namespaces(names) => names.join(", "),
    }
}

fn device_settings(config: &OperatorConfig, public: &str) -> DeviceSettings {
    let download = config.download_url.as_ref().map_or(public.to_owned(), ToString::to_string);
    let mut settings = DeviceSettings::new(download);
    settings.trusted_proxies = TrustedProxies::new(config.trusted_proxies.iter().copied());
    settings
}

/// Takes the webhooks of every Repository.
fn judge(hooks: Hooks) -> hooks::Judge {
    Arc::new(move |name: &str, headers: &http::HeaderMap, body: &[u8], now: i64| {
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        match hooks.receive(name, header, body, now) {
            None => Verdict::Refused,
            Some(true) => Verdict::Look,
            Some(false) => Verdict::Ignored,
        }
    })
}

//! Puts the rooms of a gateway together: what is published is followed and answered from, and what devices say is
//! written for the leader.

use std::sync::Arc;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use sluice_core::snapshot::Snapshot;
use sluice_serve::{
    admin::Admin,
    device::{DeviceServer, DeviceSettings},
    listener::{self, Limits},
    metrics::Metrics,
    peer::TrustedProxies,
    views::Views,
};
use sluice_store::{
    control::{BrakeWatch, Follower},
    relay::{Outbox, OutboxLimits},
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::config::GatewayConfig;
use crate::wiring::{DRAIN, FILE_LOOK, bind, public_url, tls, until_all_end};

/// Answers until `stop` is cancelled, then drains and writes what waits. The store need not be there yet.
pub(crate) async fn answer(config: GatewayConfig, stop: CancellationToken) -> anyhow::Result<()> {
    let objects = config.store.open()?;
    // Bound before anything is followed: an address in use is found at once.
    let device_listener = bind(config.listen, "listen").await?;
    let admin_listener = bind(config.admin_listen, "admin-listen").await?;
    let tls = tls(config.tls.as_ref()).await?;

    let snapshot = Arc::new(ArcSwap::from_pointee(Snapshot::empty()));
    let brakes = BrakeWatch::new(objects.clone(), Arc::default(), false);
    let follower = Follower::new(objects.clone(), snapshot.clone(), brakes.clone());
    let clock = Arc::new(|| Timestamp::now().as_second());
    let outbox = Outbox::new(objects.clone(), snapshot.clone(), clock, OutboxLimits::default());
    let views = Views::of_a_gateway(
        snapshot,
        brakes.brakes().clone(),
        follower.freshness(),
        Arc::new(outbox.clone()),
        objects,
    );
    let listen = device_listener.local_addr()?;
    let (given, downloads) = (config.public_url.as_ref(), config.download_url.as_ref());
    let public = public_url(given, downloads, tls.is_some(), listen);
    let mut settings = DeviceSettings::new(downloads.map_or_else(|| public.clone(), ToString::to_string));
    settings.trusted_proxies = TrustedProxies::new(config.trusted_proxies.iter().copied());
    settings.presign = config.presign;
    let device = DeviceServer::new(views.clone(), Metrics::new(&views), settings);
    let admin = Admin::without_api(device.clone(), stop.clone());
    tracing::info!(url = %public, store = %config.store, "devices are answered");
    tracing::info!(url = %format!("http://{}", admin_listener.local_addr()?), "health and metrics");

    let mut tasks = JoinSet::new();
    if let Some(tls) = &tls {
        tasks.spawn(tls.watcher().watch(FILE_LOOK, stop.clone()));
    }
    let followed = stop.clone();
    tasks.spawn(async move {
        tokio::select! { () = follower.run() => {}, () = followed.cancelled() => {} }
    });
    let stopped = stop.clone();
    tasks.spawn(async move {
        tokio::select! { () = brakes.run() => {}, () = stopped.cancelled() => {} }
    });
    let (site, admin_site) = (device.site(), admin.site());
    let (device_stop, admin_stop) = (stop.clone(), stop.clone());
    let limits = Limits { connections: config.max_connections, drain: DRAIN, ..Limits::default() };
    tasks.spawn(async move {
        listener::serve(device_listener, site, tls.as_ref(), limits, device_stop).await;
    });
    tasks.spawn(async move {
        let limits = Limits { drain: DRAIN, ..Limits::default() };
        listener::serve(admin_listener, admin_site, None, limits, admin_stop).await;
    });
    // Beside the others: while they drain, devices still wait for what it writes.
    let writer = outbox.clone();
    let writing = tokio::spawn(async move { writer.run().await });
    until_all_end(tasks, &stop, "gateway").await;
    outbox.close().await;
    if let Err(error) = writing.await {
        tracing::error!(%error, "what devices reported last may not be written");
    }
    tracing::info!("stopped");
    Ok(())
}

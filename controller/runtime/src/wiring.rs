//! Puts the rooms together into one process: store, engine, device side and admin side over one data directory.

use std::{
    collections::HashMap,
    fs,
    io::Write as _,
    net::SocketAddr,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, bail};
use arc_swap::ArcSwap;
use jiff::Timestamp;
use sluice_bundle::address::AddressPolicy;
use sluice_core::{resolve::Owner, snapshot::Snapshot, status::Status};
use sluice_engine::{
    BundlePolicy, Committed, Engine, Folder, Parts, Settings, WRITE_DEADLINE, WriteBack, WriteMode,
    last_commit,
};
use sluice_notify::{Target, Teller};
use sluice_repo::{Access, CommitId, Launch, Mirrors, Reader, Source, SourceSettings, hooks};
use sluice_serve::{
    admin::{Admin, Token, Tokens},
    device::{DeviceServer, DeviceSettings},
    hooks::{Hook, Verdict},
    listener::{self, Limits},
    metrics::Metrics,
    peer::TrustedProxies,
    tls::{Tls, TlsFiles},
    views::Views,
};
use sluice_store::{
    control::{BrakeWatch, BundleStore, DataDir},
    fleet::Fleet,
    objects::{Directory, Objects},
    relay::Relay,
};
use tokio::{
    net::TcpListener,
    sync::{Notify, broadcast, oneshot},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use crate::{
    admin::{TOKEN_FILE, URL_FILE},
    config::ServeConfig,
};

pub(crate) mod background;

use background::Background;

/// How often certificate files and those of tokens are looked at.
pub(crate) const FILE_LOOK: Duration = Duration::from_secs(5);
/// Names of apps that wait for who tells of them; with more, all are looked at.
const DECIDED: usize = 256;
/// How long requests in work may go on once the process is asked to stop.
pub(crate) const DRAIN: Duration = Duration::from_secs(20);

/// Serves until `stop` is cancelled, then drains and writes what waits.
pub(crate) async fn serve(config: ServeConfig, stop: CancellationToken) -> anyhow::Result<()> {
    serve_and_tell(config, stop, oneshot::channel().0).await
}

/// The same, and tells how devices reach it once they do.
pub(crate) async fn serve_and_tell(
    mut config: ServeConfig,
    stop: CancellationToken,
    tell: oneshot::Sender<String>,
) -> anyhow::Result<()> {
    let data = DataDir::open(&config.data)?;
    let directory =
        Directory::open(data.store()).with_context(|| format!("cannot open {}", data.store().display()))?;
    let objects: Arc<dyn Objects> = Arc::new(directory);
    let store = Arc::new(BundleStore::open(objects.clone(), &uuid::Uuid::new_v4().to_string()).await?);
    let fleet = Arc::new(Fleet::open(&data.fleet(), Arc::new(|| Timestamp::now().as_second())).await?);

    // Bound before anything is followed: an address in use is found at once.
    let device_listener = bind(config.listen, "listen").await?;
    let admin_listener = bind(config.admin_listen, "admin-listen").await?;
    let tls = tls(config.tls.as_ref()).await?;

    // One process has the data directory, so whatever term stands there is its own.
    let epoch = store.root().await?.map_or(0, |(root, _)| root.epoch);
    let brakes = BrakeWatch::new(objects.clone(), Arc::default(), true);
    brakes
        .look()
        .await
        .context("the brakes cannot be read, and without them what was stopped would be offered")?;
    let mirrors = Mirrors::new(data.mirrors(), worker()?);
    let source = Arc::new(source(&config, &mirrors, last_commit(&store, &config.owner.name).await?)?);
    let parts = Parts {
        resources: Arc::new(Committed),
        epoch,
        source: Arc::clone(&source),
        write: Some(Arc::new(write_back(&config, &mirrors, &source)?)),
        store,
        fleet: fleet.clone(),
        brakes: brakes.clone(),
        snapshot: Arc::new(ArcSwap::from_pointee(Snapshot::empty())),
        status: Arc::new(ArcSwap::from_pointee(Status::default())),
        look: Arc::new(Notify::new()),
        decided: broadcast::Sender::new(DECIDED),
    };
    // For gateways that answer devices from the same store; without any it finds nothing to do.
    let relay = Relay::new(objects.clone(), fleet.clone());
    let mut views = Views::of_one_process(
        parts.snapshot.clone(),
        brakes.brakes().clone(),
        parts.status.clone(),
        fleet.clone(),
        objects,
    );
    views.braking = Some(brakes.clone());
    let teller = teller(config.notify.take(), &config.owner, &parts).await?;
    let delivery = teller.as_ref().map(Teller::delivery);
    views.background = Some(Arc::new(Background { segments: relay.pending(), delivery }));
    let engine = Engine::open(engine_settings(&config), parts.clone()).await?;

    let public = public_url(
        config.public_url.as_ref(),
        config.download_url.as_ref(),
        tls.is_some(),
        device_listener.local_addr()?,
    );
    let mut settings =
        DeviceSettings::new(config.download_url.as_ref().map_or(public.clone(), ToString::to_string));
    settings.trusted_proxies = TrustedProxies::new(config.trusted_proxies.iter().copied());
    settings.hooks = hook(&config, parts.look.clone());
    let device = DeviceServer::new(views.clone(), Metrics::new(&views), settings);
    let tokens = Tokens::new(token(data.path())?, std::mem::take(&mut config.brake_tokens));
    let admin = Admin::new(device.clone(), tokens.clone(), stop.clone());
    let admin_url = format!("http://{}", admin_listener.local_addr()?);
    if let Err(error) = write_private(&data.path().join(URL_FILE), &admin_url) {
        tracing::warn!(%error, "commands on this machine have to be told the admin address by --admin-url");
    }
    tracing::info!(url = %public, repository = %config.repository, "devices are answered");
    tracing::info!(url = %admin_url, token = %data.path().join(TOKEN_FILE).display(), "status, metrics and the API");
    // Nobody may want to know.
    let _ = tell.send(public);

    let mut tasks = JoinSet::new();
    if let Some(tls) = &tls {
        tasks.spawn(tls.watcher().watch(FILE_LOOK, stop.clone()));
    }
    if let Some(file) = config.brake_tokens_file.take() {
        tasks.spawn(tokens.follow(file, FILE_LOOK, stop.clone()));
    }
    let limits = Limits { connections: config.max_connections, drain: DRAIN, ..Limits::default() };
    let (device_site, device_stop) = (device.site(), stop.clone());
    tasks.spawn(async move {
        listener::serve(device_listener, device_site, tls.as_ref(), limits, device_stop).await;
    });
    let (admin_site, admin_stop) = (admin.site(), stop.clone());
    tasks.spawn(async move {
        let limits = Limits { drain: DRAIN, ..Limits::default() };
        listener::serve(admin_listener, admin_site, None, limits, admin_stop).await;
    });
    if let Some(teller) = teller {
        tasks.spawn(until(stop.clone(), teller.run()));
    }
    tasks.spawn(until(stop.clone(), async move { relay.run().await }));
    tasks.spawn(until(stop.clone(), async move { brakes.run().await }));
    let engine_stop = stop.clone();
    tasks.spawn(async move {
        tokio::select! {
            error = engine.run() => tracing::error!(%error, "somebody else publishes to this store"),
            () = engine_stop.cancelled() => {}
        }
    });
    until_all_end(tasks, &stop, "server").await;
    fleet.close().await.context("what devices reported last could not be written")?;
    tracing::info!("stopped");
    Ok(())
}

/// A part of the process that ends when that is asked to stop.
async fn until(stop: CancellationToken, part: impl Future<Output = ()>) {
    tokio::select! { () = part => {}, () = stop.cancelled() => {} }
}

/// Who tells what is decided, where somebody is to be told.
async fn teller(
    target: Option<Target>,
    owner: &Owner,
    parts: &Parts,
) -> anyhow::Result<Option<Teller<Target>>> {
    let Parts { store, epoch, decided, .. } = parts;
    let Some(target) = target else {
        // Whoever is told again later is not told what happened meanwhile.
        Teller::<Target>::forget(store, *epoch, owner).await?;
        return Ok(None);
    };
    Ok(Some(Teller::new(Arc::clone(store), *epoch, owner.clone(), target, decided.subscribe())))
}

/// Reads certificate chain and key, where devices connect by https.
pub(crate) async fn tls(files: Option<&(PathBuf, PathBuf)>) -> anyhow::Result<Option<Tls>> {
    let Some((certificate, key)) = files.cloned() else { return Ok(None) };
    Ok(Some(Tls::load(TlsFiles { certificate, key }).await?))
}

/// Waits until every part of a process has ended. One that ends by itself ends the others.
pub(crate) async fn until_all_end(mut tasks: JoinSet<()>, stop: &CancellationToken, process: &str) {
    while let Some(ended) = tasks.join_next().await {
        if !stop.is_cancelled() {
            stop.cancel();
            tracing::error!("a part of the {process} ended early; stopping");
        }
        if let Err(error) = ended {
            tracing::error!(%error, "a part of the {process} failed");
        }
    }
}

pub(crate) async fn bind(address: SocketAddr, flag: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!("cannot listen on {address}; is it in use? --{flag} chooses another address")
    })
}

fn source(config: &ServeConfig, mirrors: &Mirrors, known: Option<CommitId>) -> anyhow::Result<Source> {
    // At the first start a mistyped directory is a mistake; later it is an outage, and what is known is served.
    if let (None, Some(folder)) = (known, config.repository.local_path()) {
        let (_, inside) = Reader::discover(&folder)
            .map_err(|_| anyhow::anyhow!("--repository: {} is not a Git repository", folder.display()))?;
        if !inside.is_empty() {
            bail!(
                "--repository: {} is a folder of a repository; give the repository itself, and the folder by --path {inside}",
                folder.display()
            );
        }
    }
    let source = mirrors.source(source_settings(config, known))?;
    if let Err(error) = mirrors.remove_unused() {
        tracing::warn!(%error, "mirrors of repositories that are not followed any more could not be removed");
    }
    Ok(source)
}

fn source_settings(config: &ServeConfig, known: Option<CommitId>) -> SourceSettings {
    let mut settings = SourceSettings::new(config.repository.clone(), config.reference.clone());
    settings.known = known;
    settings.access = Access {
        credentials: config.credentials.clone(),
        known_hosts: config.known_hosts.clone(),
        certificates: config.ca.clone(),
        proxy: config.proxy.clone(),
        insecure_http: false,
    };
    settings
}

/// How Git is told of brakes.
fn write_back(config: &ServeConfig, mirrors: &Mirrors, source: &Source) -> anyhow::Result<WriteBack> {
    let branch = config.reference.as_branch().map(str::to_owned);
    // Somebody works in a clone with a work tree: the branch that is checked out is theirs.
    let folder = config.repository.local_path();
    let works = folder.is_some_and(|folder| Reader::has_work_tree(&folder));
    let mode = match config.write {
        WriteMode::Auto | WriteMode::Push if works => WriteMode::PullRequest,
        mode => mode,
    };
    let mut settings = source_settings(config, source.commit());
    settings.deadline = WRITE_DEADLINE;
    let source = Arc::new(mirrors.source(settings)?);
    let (forge, committer) = (config.forge.clone(), config.committer.clone());
    Ok(WriteBack { source, branch, mode, forge, committer })
}

fn engine_settings(config: &ServeConfig) -> Settings {
    Settings {
        owner: config.owner.clone(),
        folder: Folder { path: config.path.clone(), ..Folder::default() },
        poll: config.poll,
        bundles: bundle_policy(config.allow_private_sources),
        freezes: Arc::clone(&config.freezes),
    }
}

/// Limits of bundles and downloads.
pub(crate) fn bundle_policy(allow_private_sources: bool) -> BundlePolicy {
    let mut bundles = BundlePolicy::default();
    if allow_private_sources {
        let everything = ["0.0.0.0/0", "::/0"];
        let allowed = everything.iter().map(|net| net.parse().expect("a network")).collect();
        bundles.addresses = AddressPolicy { allowed, ..AddressPolicy::default() };
    }
    bundles
}

/// How the worker of network Git is started: this program again.
pub(crate) fn worker() -> anyhow::Result<Launch> {
    let program = std::env::current_exe().context("cannot find this program's own file")?;
    Ok(Launch::Process { program, args: vec!["git-worker".into()] })
}

/// How devices reach this process.
pub(crate) fn public_url(
    given: Option<&url::Url>,
    download_url: Option<&url::Url>,
    tls: bool,
    listen: SocketAddr,
) -> String {
    if let Some(url) = given {
        return url.to_string();
    }
    let scheme = if tls { "https" } else { "http" };
    if listen.ip().is_unspecified() && download_url.is_none() {
        tracing::warn!(
            "download URLs will begin with {scheme}://{listen}, which no phone can reach: give --public-url"
        );
    }
    format!("{scheme}://{listen}")
}

/// The webhook at `/hooks/default`. Without a secret there is none.
fn hook(config: &ServeConfig, look: Arc<Notify>) -> HashMap<String, Hook> {
    if config.hook_secrets.is_empty() {
        return HashMap::new();
    }
    let (secrets, reference) = (config.hook_secrets.clone(), config.reference.clone());
    let verify = Arc::new(move |headers: &http::HeaderMap, body: &[u8], now: i64| {
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        match hooks::verify(header, body, &secrets, now) {
            Err(_) => Verdict::Refused,
            Ok(hint) if hint.concerns(&reference) => Verdict::Look,
            Ok(_) => Verdict::Ignored,
        }
    });
    let look_now = Arc::new(move || look.notify_one());
    HashMap::from([(config.owner.name.clone(), Hook { verify, look_now })])
}

/// The admin token, made at the first start.
fn token(data: &Path) -> anyhow::Result<Token> {
    let path = data.join(TOKEN_FILE);
    if !path.exists() {
        let fresh: [u8; 32] = rand::random();
        write_private(&path, &hex::encode(fresh))?;
    }
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    match Token::new(&text) {
        Ok(token) => Ok(token),
        Err(weak) => bail!("{}: {weak}; delete the file to have a new one made", path.display()),
    }
}

/// Writes a file that only its owner can read, whole or not at all.
pub(crate) fn write_private(path: &Path, text: &str) -> anyhow::Result<()> {
    let fresh = path.with_extension("new");
    let write = || {
        let mut file =
            fs::OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&fresh)?;
        writeln!(file, "{text}")?;
        file.sync_all()?;
        fs::rename(&fresh, path)
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

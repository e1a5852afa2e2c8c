//! A served installation: one app, one bundle, a real directory, a real fleet store, a real listener.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write as _,
    net::SocketAddr,
    sync::{Arc, LazyLock, Mutex},
    time::Duration,
};

use arc_swap::ArcSwap;
use bytes::Bytes;
use sluice_core::{
    channel::{Access, Platforms, Target},
    digest::Digest,
    ids::{AppId, Version},
    record::Zip,
    release::RollbackPolicy,
    snapshot::{App, ChannelEntry, FORMAT, LineEntry, Offer, Root, Shard, Snapshot},
    status::Status,
};
use sluice_serve::{
    Site,
    admin::{Admin, Token},
    device::{DeviceServer, DeviceSettings},
    hooks::Hook,
    listener::{self, Drained, Limits},
    metrics::Metrics,
    tls::Tls,
    views::Views,
};
use sluice_store::{
    fleet::{self, Fleet},
    objects::{Content, Directory, Objects},
};
use tempfile::TempDir;
use tokio::{net::TcpListener, task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::wire::LIMIT;

pub const APP: &str = "com.example.shop";

/// A device id that no log line may hold, in any case.
pub const CANARY: &str = "c0ffee00-feed-4bad-8bad-deadbeefcafe";

pub const TOKEN: &str = "a-token-for-these-tests";

/// Everything that any test of this program logs, at every level, also from the libraries below.
pub static LOG: LazyLock<Arc<Mutex<String>>> = LazyLock::new(|| {
    let log = Arc::default();
    tracing::subscriber::set_global_default(Capture(Arc::clone(&log))).unwrap();
    log
});

struct Capture(Arc<Mutex<String>>);

struct Line(String);

impl tracing::field::Visit for Line {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
        _ = write!(self.0, " {field}={value:?}");
    }
}

impl Capture {
    fn write(&self, name: &str, record: impl FnOnce(&mut Line)) {
        let mut line = Line(name.to_owned());
        record(&mut line);
        *self.0.lock().unwrap() += &(line.0.replace('\n', " ") + "\n");
    }
}

impl tracing::Subscriber for Capture {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        self.write(span.metadata().name(), |line| span.record(line));
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, values: &tracing::span::Record<'_>) {
        self.write("record", |line| values.record(line));
    }

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        self.write(event.metadata().target(), |line| event.record(line));
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

pub struct World {
    pub dir: TempDir,
    pub views: Views,
    pub fleet: Arc<Fleet>,
    pub device: Arc<DeviceServer>,
    pub zip: Vec<u8>,
    pub sha256: Digest,
}

#[derive(Default)]
pub struct Wanted {
    pub objects: Option<Arc<dyn Objects>>,
    pub fleet: Option<fleet::Limits>,
    pub hooks: HashMap<String, Hook>,
    pub body_timeout: Option<Duration>,
    pub zip_size: Option<usize>,
}

impl World {
    pub async fn new() -> Self {
        Self::with(Wanted::default()).await
    }

    pub async fn with(wanted: Wanted) -> Self {
        LazyLock::force(&LOG);
        let dir = tempfile::tempdir().unwrap();
        let objects =
            wanted.objects.unwrap_or_else(|| Arc::new(Directory::open(dir.path().join("store")).unwrap()));
        let zip: Vec<u8> = (0..=250_u8).cycle().step_by(7).take(wanted.zip_size.unwrap_or(200_000)).collect();
        let sha256 = Digest::of(&zip);
        let content = Content::Bytes(Bytes::from(zip.clone()));
        objects.create(&format!("artefacts/{sha256}.zip"), content).await.unwrap();
        let clock: fleet::Clock = Arc::new(|| jiff::Timestamp::now().as_second());
        let limits = wanted.fleet.unwrap_or_default();
        let fleet = Fleet::open_with(&dir.path().join("fleet.sqlite"), clock, limits).await.unwrap();
        let version: Version = "1.4.2".parse().unwrap();
        let digest = Digest::of(b"the files");
        fleet.declare([fleet::Declared { app: APP, version: &version, digest }]);
        let snapshot = snapshot(&version, digest, Zip { sha256, crc32: 0x1234_abcd, size: zip.len() as u64 });
        let fleet = Arc::new(fleet);
        let views = Views::of_one_process(
            Arc::new(ArcSwap::from_pointee(snapshot)),
            Arc::default(),
            Arc::new(ArcSwap::from_pointee(Status { generation: 7, ..Status::default() })),
            fleet.clone(),
            objects,
        );
        let mut settings = DeviceSettings::new("https://ota.example.org/");
        settings.hooks = wanted.hooks;
        if let Some(time) = wanted.body_timeout {
            settings.body_timeout = time;
        }
        let device = DeviceServer::new(views.clone(), Metrics::new(&views), settings);
        Self { dir, views, fleet, device, zip, sha256 }
    }

    pub fn bundle(&self) -> String {
        format!("/bundles/{}.zip", self.sha256)
    }

    pub async fn serve(&self) -> Running {
        Running::start(self.device.site(), None, Limits::default()).await
    }

    pub async fn serve_admin(&self) -> Running {
        let admin = Admin::new(self.device.clone(), Token::new(TOKEN).unwrap(), CancellationToken::new());
        Running::start(admin.site(), None, Limits::default()).await
    }
}

fn snapshot(version: &Version, digest: Digest, zip: Zip) -> Snapshot {
    let app: AppId = APP.parse().unwrap();
    let offer = Offer {
        digest,
        zip,
        native: None,
        rollback: RollbackPolicy::default(),
        notes: None,
        link: None,
        key_id: None,
    };
    let channel = |name: &str, public: bool| ChannelEntry {
        channel: name.parse().unwrap(),
        access: Access { public, self_assign: !public, ..Access::default() },
        lines: vec![LineEntry::serving(None, Platforms::ALL, Some(Target::Release(version.clone())))],
        allow_held: Vec::new(),
        audience: None,
    };
    let channels = vec![channel("production", true), channel("beta", false)];
    let shard = Shard {
        app: app.clone(),
        offers: BTreeMap::from([(version.clone(), offer)]),
        channels: channels.clone(),
    };
    let root = Root {
        format: FORMAT,
        installation: "test".into(),
        epoch: 0,
        generation: 1_790_000_000_123,
        apps: BTreeMap::from([(app, digest)]),
    };
    Snapshot::new(root, [Arc::new(App::compile(shard).unwrap())])
}

#[expect(clippy::needless_pass_by_value, reason = "callers write `json!` in place")]
/// A request as a device sends it, with further fields, which win.
pub fn ask(further: serde_json::Value) -> Vec<u8> {
    let mut body = serde_json::json!({
        "platform": "android", "device_id": CANARY, "app_id": APP, "custom_id": "", "version_build": "1.0.0",
        "version_code": "1", "version_os": "15", "version_name": "builtin", "plugin_version": "8.51.23",
        "is_emulator": false, "is_prod": true, "defaultChannel": ""
    });
    let fields = body.as_object_mut().unwrap();
    fields.extend(further.as_object().unwrap().clone());
    body.to_string().into_bytes()
}

pub struct Running {
    pub address: SocketAddr,
    pub stop: CancellationToken,
    task: JoinHandle<Drained>,
}

impl Running {
    pub async fn start(site: Site, tls: Option<Tls>, limits: Limits) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            let drained = listener::serve(listener, site, tls.as_ref(), limits, stopped.clone());
            drained.await
        });
        Self { address, stop, task }
    }

    pub async fn drained(self) -> Drained {
        timeout(LIMIT, self.task).await.expect("it stops").unwrap()
    }
}

/// Waits until a condition holds.
pub async fn until<F: Future<Output = bool>>(mut holds: impl FnMut() -> F) {
    let waiting = async {
        while !holds().await {
            tokio::task::yield_now().await;
        }
    };
    timeout(LIMIT, waiting).await.expect("the condition holds in time");
}

//! Object storage that speaks S3 with conditional writes.

use std::{net::SocketAddr, time::Duration};

use object_store::{
    aws::{AmazonS3, AmazonS3Builder},
    path::Path,
    signer::Signer as _,
};
use rand::distr::{Alphanumeric, SampleString as _};
use tokio::sync::OnceCell;

use crate::{folder::Folder, ports::Port, program::part, server::Server};

static SHARED: OnceCell<Minio> = OnceCell::const_new();

/// A running S3 server, which keeps what it has over `kill` and `restart`.
#[derive(Debug)]
pub struct Minio {
    server: Server,
    port: Port,
    access_key: String,
    secret_key: String,
    _folder: Folder,
}

impl Minio {
    /// Starts one.
    pub async fn start() -> Self {
        let folder = Folder::new("minio", None);
        let port = Port::claim();
        let access_key = Alphanumeric.sample_string(&mut rand::rng(), 20);
        let secret_key = Alphanumeric.sample_string(&mut rand::rng(), 40);
        let server = Server::new("minio", part("minio"), folder.path())
            .args(["server", "data", "--quiet", "--address", &port.address().to_string()])
            .env("MINIO_ROOT_USER", &access_key)
            .env("MINIO_ROOT_PASSWORD", &secret_key)
            .env("MINIO_BROWSER", "off")
            // It would ask the Internet whether it is the newest.
            .env("MINIO_UPDATE", "off");
        let minio = Self { server, port, access_key, secret_key, _folder: folder };
        minio.restart().await;
        minio
    }

    /// The one that the tests of this process share: a bucket for each, and nobody stops it.
    pub async fn shared() -> &'static Self {
        SHARED.get_or_init(Self::start).await
    }

    /// Where it is, for example `http://127.0.0.1:20443`. Its region is `us-east-1`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address())
    }

    /// The address under which it listens, for a [`Proxy`](crate::Proxy).
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// Id of the only credential.
    pub fn access_key(&self) -> &str {
        &self.access_key
    }

    /// Secret of the only credential.
    pub fn secret_key(&self) -> &str {
        &self.secret_key
    }

    /// Makes a bucket.
    pub async fn create_bucket(&self, name: &str) {
        let sent = reqwest::Client::new().put(self.signed(http::Method::PUT, name).await).send().await;
        let answer = sent.unwrap_or_else(|error| panic!("bucket {name}: {}", error.without_url()));
        assert!(answer.status().is_success(), "bucket {name}: {}", answer.text().await.unwrap_or_default());
    }

    /// Makes a bucket with a name of its own.
    pub async fn bucket(&self) -> String {
        let name = format!("test-{}", Alphanumeric.sample_string(&mut rand::rng(), 10).to_lowercase());
        self.create_bucket(&name).await;
        name
    }

    /// A client for a bucket.
    pub fn store(&self, bucket: &str) -> AmazonS3 {
        AmazonS3Builder::new()
            .with_endpoint(self.endpoint())
            .with_allow_http(true)
            .with_region("us-east-1")
            .with_bucket_name(bucket)
            .with_access_key_id(&self.access_key)
            .with_secret_access_key(&self.secret_key)
            .build()
            .unwrap_or_else(|error| panic!("bucket {bucket}: {error}"))
    }

    /// Kills it.
    pub fn kill(&self) {
        self.server.kill();
    }

    /// Starts it again, under the same address and with what it had, and waits until it is ready.
    pub async fn restart(&self) {
        self.server.spawn();
        // Its health says yes a moment before it reads requests: it is ready once it knows that this is absent.
        let absent = self.signed(http::Method::GET, "absent").await;
        let client = reqwest::Client::new();
        self.server
            .ready(async || {
                let answer = client.get(absent.clone()).timeout(Duration::from_secs(5)).send().await;
                match answer.map(|answer| answer.status()) {
                    Ok(reqwest::StatusCode::NOT_FOUND) => Ok(()),
                    Ok(status) => Err(status.to_string()),
                    Err(error) => Err(error.without_url().to_string()),
                }
            })
            .await;
    }

    /// Lets it hang: connections stay open, and nothing is answered.
    pub fn pause(&self) {
        self.server.pause();
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.server.resume();
    }

    /// The URL of a bucket, with leave to do this to it.
    async fn signed(&self, method: http::Method, bucket: &str) -> reqwest::Url {
        let signed = self.store(bucket).signed_url(method, &Path::default(), Duration::from_mins(10)).await;
        signed.unwrap_or_else(|error| panic!("bucket {bucket}: {error}"))
    }
}

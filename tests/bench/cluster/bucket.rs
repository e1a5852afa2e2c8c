//! A bucket on S3, who publishes to it, and gateways that have nothing else.

use std::sync::Arc;

use sluice_store::objects::{Objects, StoreUrl};
use sluice_test_parts::Minio;

use crate::{program::Program, world::World};

pub struct Bucket {
    minio: Minio,
    store: String,
    endpoint: String,
}

impl Bucket {
    /// An empty one, on a server of its own.
    pub async fn new() -> Self {
        let minio = Minio::start().await;
        let store = format!("s3://{}/bench", minio.bucket().await);
        let endpoint = minio.endpoint();
        Self { minio, store, endpoint }
    }

    fn environment(&self) -> [(&str, &str); 5] {
        [
            ("AWS_ACCESS_KEY_ID", self.minio.access_key()),
            ("AWS_SECRET_ACCESS_KEY", self.minio.secret_key()),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ENDPOINT", &self.endpoint),
            ("AWS_ALLOW_HTTP", "true"),
        ]
    }

    /// Starts an operator that publishes to it, and answers no devices.
    pub async fn operator(&self, world: &World) -> Program {
        world.operator(&["--store", &self.store], &self.environment()).await
    }

    /// Starts a gateway.
    pub async fn gateway(&self, world: &World) -> Program {
        let arguments = ["gateway", "--store", &self.store, "--listen", "127.0.0.1:0"];
        Program::start(&arguments, &self.environment(), world.folder()).await
    }

    /// The bucket as a program of ours sees it.
    pub fn objects(&self) -> Arc<dyn Objects> {
        let url: StoreUrl = self.store.parse().unwrap();
        url.open_with(&self.environment()).unwrap()
    }
}

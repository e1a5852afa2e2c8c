//! A bundle store in a bucket, as a test sees it: what is published, whoever published it.

use std::{net::SocketAddr, sync::Arc};

use sluice_core::{record::AppRecord, snapshot::Root, snapshot::Shard};
use sluice_store::objects::{Objects, StoreUrl};
use sluice_test_parts::Minio;

use super::APP;

/// See the module.
#[derive(Clone)]
pub struct Bucket {
    pub url: String,
    pub address: SocketAddr,
    objects: Arc<dyn Objects>,
    keys: [String; 2],
}

impl Bucket {
    /// An empty one on the server that tests share.
    pub async fn new() -> Self {
        let minio = Minio::shared().await;
        let url = format!("s3://{}", minio.bucket().await);
        let keys = [minio.access_key().to_owned(), minio.secret_key().to_owned()];
        let settings = settings(minio.address(), &keys);
        let given: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let objects = url.parse::<StoreUrl>().unwrap().open_with(&given).unwrap();
        Self { url, address: minio.address(), objects, keys }
    }

    /// The environment of a process that reaches it at this address.
    pub fn environment(&self, address: SocketAddr) -> Vec<(&'static str, String)> {
        settings(address, &self.keys)
    }

    /// What gateways look at first.
    pub async fn root(&self) -> Option<Root> {
        let (bytes, _) = self.objects.get("root.json").await.unwrap()?;
        Some(serde_json::from_slice(&bytes).unwrap())
    }

    /// What is bound of the app.
    pub async fn record(&self) -> Option<AppRecord> {
        let (bytes, _) = self.objects.get(&format!("apps/{APP}/record.json")).await.unwrap()?;
        Some(serde_json::from_slice(&bytes).unwrap())
    }

    /// The term and generation that stand, and the version that devices of the production channel are offered.
    pub async fn serves(&self) -> (u64, u64, Option<String>) {
        let Some(root) = self.root().await else { return (0, 0, None) };
        let app = root.apps.iter().find(|(app, _)| app.as_str() == APP);
        let Some((_, digest)) = app else { return (root.epoch, root.generation, None) };
        let (bytes, _) = self.objects.get(&format!("shards/{digest}.json")).await.unwrap().unwrap();
        let shard: Shard = serde_json::from_slice(&bytes).unwrap();
        let production = shard.channels.iter().find(|entry| entry.channel.as_str() == "production");
        let stable = production.and_then(|entry| entry.lines.first()?.stable.clone());
        (root.epoch, root.generation, stable.map(|target| target.to_string()))
    }
}

fn settings(address: SocketAddr, keys: &[String; 2]) -> Vec<(&'static str, String)> {
    vec![
        ("AWS_ENDPOINT", format!("http://{address}")),
        ("AWS_ALLOW_HTTP", "true".to_owned()),
        ("AWS_REGION", "us-east-1".to_owned()),
        ("AWS_ACCESS_KEY_ID", keys[0].clone()),
        ("AWS_SECRET_ACCESS_KEY", keys[1].clone()),
    ]
}

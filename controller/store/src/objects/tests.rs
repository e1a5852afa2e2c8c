//! The conformance suite over every back end.

use std::sync::Arc;

use sluice_test_parts::{Minio, Proxy};

use super::*;
use crate::testing::conformance;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_directory_conforms() {
    let folder = tempfile::tempdir().unwrap();
    conformance(Arc::new(Directory::open(folder.path().join("store")).unwrap())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn memory_conforms() {
    conformance(Arc::new(Remote::in_memory())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_part_of_a_store_conforms_and_sees_only_itself() {
    let store: Arc<dyn object_store::ObjectStore> = Arc::new(object_store::memory::InMemory::new());
    let folder = tempfile::tempdir().unwrap();
    let other = Remote::new(store.clone(), "", folder.path());
    other.create("elsewhere/x", b"x".to_vec().into()).await.unwrap();
    conformance(Arc::new(Remote::new(store, "some/prefix", folder.path()))).await;
    assert_eq!(other.list("").await.unwrap().len(), 1);
}

/// A bucket of a real S3 server.
pub(crate) async fn bucket(prefix: &str) -> Arc<dyn Objects> {
    let minio = Minio::shared().await;
    let url: StoreUrl = format!("s3://{}{prefix}", minio.bucket().await).parse().unwrap();
    open_s3(&url, minio, &minio.endpoint())
}

pub(crate) fn open_s3(url: &StoreUrl, minio: &Minio, endpoint: &str) -> Arc<dyn Objects> {
    url.open_with(&[
        ("AWS_ENDPOINT", endpoint),
        ("AWS_ALLOW_HTTP", "true"),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", minio.access_key()),
        ("AWS_SECRET_ACCESS_KEY", minio.secret_key()),
    ])
    .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn s3_conforms() {
    conformance(bucket("").await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_prefix_of_s3_conforms() {
    conformance(bucket("/some/prefix").await).await;
}

#[tokio::test]
async fn presigned_urls_read_one_object() {
    let objects = bucket("/eu").await;
    let key = "artefacts/0000.zip";
    objects.create(key, Content::Bytes("zip".into())).await.unwrap();
    let valid = Duration::from_mins(1);
    let url = objects.presigned(Access::Get, key, valid).await.unwrap().expect("S3 can");
    let answer = reqwest::get(&url).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "application/zip");
    assert!(answer.headers()["cache-control"].to_str().unwrap().contains("immutable"));
    assert_eq!(answer.text().await.unwrap(), "zip");
    let part = reqwest::Client::new().get(&url).header("range", "bytes=1-").send().await.unwrap();
    assert_eq!(
        (part.status().as_u16(), part.headers()["content-range"].to_str().unwrap()),
        (206, "bytes 1-2/3")
    );
    let head = objects.presigned(Access::Head, key, valid).await.unwrap().unwrap();
    let head = reqwest::Client::new().head(&head).send().await.unwrap();
    assert_eq!((head.status().as_u16(), head.headers()["content-length"].to_str().unwrap()), (200, "3"));
    let other = url.replace("0000.zip", "0001.zip");
    assert_eq!(reqwest::get(&other).await.unwrap().status(), 403, "it is for one object");
    assert_eq!(
        objects.presigned(Access::Get, "../x", valid).await.unwrap_err().to_string(),
        "`../x` is not an object key"
    );
    let folder = tempfile::tempdir().unwrap();
    let directory = Directory::open(folder.path()).unwrap();
    assert_eq!(directory.presigned(Access::Get, key, valid).await.unwrap(), None);
}

/// One that is too large for one request says the same to those who download it from the bucket or a CDN before it.
#[tokio::test]
async fn a_large_zip_keeps_what_a_bucket_says_of_it() {
    use std::io::Write as _;

    let objects = bucket("/eu").await;
    for size in [1, (17 << 20) + 1] {
        let mut file = objects.scratch().unwrap();
        file.write_all(&vec![7; size]).unwrap();
        let key = format!("artefacts/{size}.zip");
        objects.create(&key, Content::File(file)).await.unwrap();
        let url = objects.presigned(Access::Head, &key, Duration::from_mins(1)).await.unwrap().unwrap();
        let answer = reqwest::Client::new().head(&url).send().await.unwrap();
        let said = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
        assert_eq!(said("content-length"), size.to_string());
        assert_eq!(said("content-type"), "application/zip", "{size}");
        assert_eq!(said("cache-control"), "public, max-age=31536000, immutable, no-transform", "{size}");
    }
}

/// An outage is an error, names no secret, and ends by itself.
#[tokio::test]
async fn s3_that_goes_away_and_comes_back() {
    let minio = Minio::shared().await;
    let proxy = Proxy::to(minio.address()).await;
    let url: StoreUrl = format!("s3://{}", minio.bucket().await).parse().unwrap();
    let objects = open_s3(&url, minio, &format!("http://{}", proxy.address()));
    objects.create("a", Content::Bytes("1".into())).await.unwrap();
    proxy.refuse().await;
    let away = objects.get("a").await.unwrap_err();
    assert!(matches!(away, ObjectsError::Remote { .. }), "{away}");
    assert!(!away.to_string().contains(minio.secret_key()), "{away}");
    assert!(objects.create("b", Content::Bytes("2".into())).await.is_err());
    proxy.heal().await;
    assert_eq!(objects.get("a").await.unwrap().unwrap().0, "1");
    objects.create("b", Content::Bytes("2".into())).await.unwrap();
}

#[test]
fn a_full_disk_has_its_own_error() {
    use std::io::Write as _;
    // The device that is always full.
    let mut full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let error = full.write_all(b"x").and_then(|()| full.flush()).unwrap_err();
    let error = ObjectsError::io("writing a", error);
    assert!(matches!(&error, ObjectsError::Full { doing } if doing == "writing a"), "{error}");
    let other = ObjectsError::io("writing a", std::io::Error::other("odd"));
    assert!(matches!(other, ObjectsError::Io { .. }));
}

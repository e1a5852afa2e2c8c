use object_store::{Error, ObjectStore, ObjectStoreExt as _, PutMode, UpdateVersion, path::Path};
use sluice_test_parts::{Minio, Postgres, until};
use tokio::time::timeout;

use crate::{LIMIT, NEVER};

#[tokio::test]
async fn object_storage_writes_on_condition() {
    let minio = Minio::shared().await;
    let store = minio.store(&minio.bucket().await);
    let key = Path::from("root");
    let first = store.put_opts(&key, "1".into(), PutMode::Create.into()).await.unwrap();
    let again = store.put_opts(&key, "2".into(), PutMode::Create.into()).await;
    assert!(matches!(again, Err(Error::AlreadyExists { .. })), "{again:?}");

    let first = UpdateVersion::from(first);
    store.put_opts(&key, "3".into(), PutMode::Update(first.clone()).into()).await.unwrap();
    let stale = store.put_opts(&key, "4".into(), PutMode::Update(first).into()).await;
    assert!(matches!(stale, Err(Error::Precondition { .. })), "{stale:?}");
    assert_eq!(store.get(&key).await.unwrap().bytes().await.unwrap(), "3");
}

#[tokio::test]
async fn object_storage_comes_back_with_what_it_had() {
    let minio = Minio::start().await;
    let store = minio.store(&minio.bucket().await);
    let key = Path::from("kept");
    store.put(&key, "1".into()).await.unwrap();
    let kept = async || match store.get(&key).await {
        Ok(found) => found.bytes().await.map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };

    minio.kill();
    assert!(!matches!(timeout(NEVER, kept()).await, Ok(Ok(_))), "a dead server answered");
    minio.restart().await;
    assert_eq!(until(LIMIT, "the object is there", kept).await, "1");

    minio.pause();
    assert!(timeout(NEVER, kept()).await.is_err(), "a paused server answered");
    minio.resume();
    assert_eq!(until(LIMIT, "the server goes on", kept).await, "1");
}

#[tokio::test]
async fn a_database_answers_and_is_nobody_elses() {
    let postgres = Postgres::shared().await;
    let (mine, other) = tokio::join!(postgres.database(), postgres.database());
    postgres.psql(&mine, "CREATE TABLE t (n int); INSERT INTO t VALUES (42)").await;
    assert_eq!(postgres.psql(&mine, "SELECT n FROM t").await, "42");
    assert_eq!(postgres.psql(&other, "SELECT count(*) FROM pg_tables WHERE tablename = 't'").await, "0");
}

#[tokio::test]
async fn a_database_comes_back_with_what_it_had() {
    let postgres = Postgres::start().await;
    let url = postgres.database().await;
    postgres.psql(&url, "CREATE TABLE t AS SELECT 42 AS n").await;
    postgres.kill();
    postgres.restart().await;
    assert_eq!(postgres.psql(&url, "SELECT n FROM t").await, "42");
}

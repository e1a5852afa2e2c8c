//! The conformance suite over every back end.

use std::sync::Arc;

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

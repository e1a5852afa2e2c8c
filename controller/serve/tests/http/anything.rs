//! Whatever is sent, the answer is JSON, no panic, and never of the 5xx class.

use std::net::SocketAddr;

use axum::body::Body;
use http::Request;
use http_body_util::BodyExt as _;
use proptest::{prelude::*, test_runner::TestRunner};
use serde_json::{Value, json};
use sluice_serve::Site;

use crate::world::{World, ask};

const PATHS: [&str; 8] = [
    "/updates",
    "/stats",
    "/channel_self",
    "/bundles/x.zip",
    "/hooks/default",
    "/",
    "/updates/",
    "/updates/manifest_size",
];

const METHODS: [&str; 8] = ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "SLUICE"];

const FIELDS: [&str; 15] = [
    "platform",
    "device_id",
    "app_id",
    "custom_id",
    "version_build",
    "version_code",
    "version_os",
    "version_name",
    "plugin_version",
    "is_emulator",
    "is_prod",
    "defaultChannel",
    "action",
    "timestamp",
    "channel",
];

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,80}".prop_map(Value::from),
        "[0-9]{1,30}(\\.[0-9]{1,30}){0,4}".prop_map(Value::from),
        Just(Value::from("x".repeat(10_000))),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::hash_map(".{0,8}", inner, 0..4).prop_map(|map| json!(map)),
        ]
    })
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    let changed = (proptest::sample::select(FIELDS.to_vec()), value())
        .prop_map(|(field, value)| ask(json!({ field: value })))
        .boxed();
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..200),
        value().prop_map(|value| value.to_string().into_bytes()),
        changed.clone(),
        proptest::collection::vec(changed.clone(), 0..4).prop_map(|items| {
            let items: Vec<_> = items.into_iter().map(|item| String::from_utf8(item).unwrap()).collect();
            format!("[{}]", items.join(",")).into_bytes()
        }),
        (changed, any::<proptest::sample::Index>()).prop_map(|(mut bytes, at)| {
            bytes.truncate(at.index(bytes.len()));
            bytes
        }),
    ]
}

fn request() -> impl Strategy<Value = (&'static str, String, Vec<u8>)> {
    let methods = proptest::sample::select(METHODS.to_vec());
    let paths = proptest::sample::select(PATHS.to_vec());
    (methods, paths, "[a-z_=&%0-9.+-]{0,60}", body()).prop_map(|(method, path, query, body)| {
        let uri = if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
        (method, uri, body)
    })
}

async fn try_one(site: &Site, method: &str, uri: &str, body: Vec<u8>) -> Result<(), TestCaseError> {
    let request = Request::builder().method(method).uri(uri).body(Body::from(body)).unwrap();
    let response = site.answer(SocketAddr::from(([127, 0, 0, 1], 4711)), request).await;
    prop_assert!(response.status().as_u16() < 500, "{method} {uri}: {}", response.status());
    prop_assert_eq!(response.headers()["content-type"].as_bytes(), b"application/json");
    let body = response.into_body().collect().await.unwrap().to_bytes();
    if method != "HEAD" {
        prop_assert!(serde_json::from_slice::<Value>(&body).is_ok());
    }
    Ok(())
}

#[test]
fn anything_is_answered() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let world = runtime.block_on(World::new());
    let site = world.device.site();
    TestRunner::new(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })
        .run(&request(), |(method, uri, body)| runtime.block_on(try_one(&site, method, &uri, body)))
        .unwrap();
}

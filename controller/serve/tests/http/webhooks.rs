//! Webhooks. How they are signed is tested where it is decided.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use sluice_serve::hooks::{Hook, Verdict};

use crate::{
    wire::{request, send},
    world::{Wanted, World},
};

#[tokio::test]
async fn only_a_genuine_one_makes_the_engine_look() {
    let looks = Arc::new(AtomicU32::new(0));
    let counted = looks.clone();
    let hook = Hook {
        verify: Arc::new(|headers, body, _| {
            match headers.get("x-signature").map(http::HeaderValue::as_bytes) {
                Some(b"right") if body == b"main" => Verdict::Look,
                Some(b"right") => Verdict::Ignored,
                _ => Verdict::Refused,
            }
        }),
        look_now: Arc::new(move || _ = counted.fetch_add(1, Ordering::Relaxed)),
    };
    let hooks = HashMap::from([("default".to_owned(), hook)]);
    let world = World::with(Wanted { hooks, ..Wanted::default() }).await;
    let at = world.serve().await.address;
    let call = async |path: &str, signature: &str, body: &[u8]| {
        send(at, request("POST", path, &[("x-signature", signature)], body)).await
    };
    let genuine = call("/hooks/default", "right", b"main").await;
    assert_eq!(genuine.status, 202);
    assert_eq!(looks.load(Ordering::Relaxed), 1);
    assert_eq!(call("/hooks/default", "right", b"other").await.status, 202);
    let unknown = call("/hooks/elsewhere", "right", b"main").await;
    let wrong = call("/hooks/default", "wrong", b"main").await;
    let unsigned = send(at, request("POST", "/hooks/default", &[], b"main")).await;
    for refused in [&unknown, &wrong, &unsigned] {
        assert_eq!(refused.status, 404);
        assert_eq!(refused.body, unknown.body);
    }
    let large = vec![b'x'; (1 << 20) + 1];
    assert_eq!(call("/hooks/default", "right", &large).await.status, 413);
    assert_eq!(call("/hooks/elsewhere", "right", &large).await.status, 413);
    assert_eq!(looks.load(Ordering::Relaxed), 1);
}

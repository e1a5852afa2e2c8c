//! Names and places; and against a real API server, with the rights that the operator has to Events and no more.

use sluice_core::{
    channel::Target,
    decisions::{Page, Row},
    record::{AppRecord, ChannelRecord},
};
use sluice_test_parts::ControlPlane;

use super::*;
use crate::cache::Cache;

const RIGHTS: &str = r"
apiVersion: v1
kind: ServiceAccount
metadata: { name: operator }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: { name: operator }
rules:
- { apiGroups: [events.k8s.io], resources: [events], verbs: [get, create, patch] }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: { name: operator }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: Role, name: operator }
subjects: [{ kind: ServiceAccount, name: operator }]
";

fn transition(kind: Kind, weight: u32) -> Transition {
    Transition {
        channel: "production".parse().unwrap(),
        line: "ios|*".into(),
        serial: 2,
        kind,
        release: Target::Release("1.1.0".parse().unwrap()),
        level: 1,
        weight,
        limited: false,
        reason: String::new(),
    }
}

#[test]
fn what_says_the_same_has_one_name() {
    let app: AppId = "com.example.shop".parse().unwrap();
    let one = name("shop-production", &app, &transition(Kind::Held, 10_000));
    assert_eq!(one, name("shop-production", &app, &transition(Kind::Held, 10_000)));
    for other in [
        name("shop-production", &app, &transition(Kind::Held, 20_000)),
        name("shop-production", &app, &transition(Kind::Resumed, 10_000)),
        name("shop-production", &"com.example.bank".parse().unwrap(), &transition(Kind::Held, 10_000)),
    ] {
        assert_ne!(one, other);
    }
    let long = name(&"a.".repeat(120), &app, &transition(Kind::Held, 1));
    assert!(long.len() < 253 && !long.contains(".."), "{long}");
}

#[test]
fn places_are_compared_as_numbers() {
    let place = |text| Place::of(text).unwrap();
    assert!(place("10-0") > place("9-3") && place("9-10") > place("9-9"));
    assert_eq!(place("7-2").to_string(), "7-2");
    assert_eq!(Place::of("x"), None);
}

/// A page of the log with one row.
fn page(sequence: u64, kind: Kind, sentence: &str) -> Page {
    let row = Row { transition: transition(kind, 10_000), sentence: sentence.into(), numbers: json!({}) };
    Page {
        app: "com.example.shop".parse().unwrap(),
        sequence,
        previous: None,
        at: jiff::Timestamp::now(),
        rows: vec![row],
    }
}

#[tokio::test]
async fn a_row_is_said_once_and_what_happens_again_is_a_series() {
    let plane = ControlPlane::shared().await;
    let namespace = plane.namespace().await;
    plane.apply_yaml_in(&namespace, RIGHTS).await;
    let kubeconfig = plane.kubeconfig_for(&namespace, "operator").await;
    let client = plane.client_of(&kubeconfig).await;
    let cache = Cache::default();
    // Each is another leader, who knows nothing of what the one before said.
    let leader = |name: &str| Announcer::new(client.clone(), cache.namespace(&namespace), &namespace, name);
    let mut record = AppRecord::new("com.example.shop".parse().unwrap(), "team/shop");
    let channel = ChannelRecord { name: "shop-production".into(), ..ChannelRecord::default() };
    record.channels.insert("production".parse().unwrap(), channel);
    let pages = [
        page(1, Kind::Held, "1.1.0 stays at 1 %: 12 of 400 devices have shown an outcome"),
        page(2, Kind::Resumed, "the rollout of 1.1.0 goes on at 1 %"),
        page(10, Kind::Held, "1.1.0 stays at 1 %: 30 of 400 devices have shown an outcome"),
    ];
    let hear = async |by: &Announcer, page: &Page| {
        let decided =
            Decided { installation: "i", page, index: 0, row: &page.rows[0], record: &record, id: "x" };
        by.hear(&decided).await.unwrap();
    };
    for page in &pages {
        hear(&leader("one"), page).await;
    }
    // The next leader was left at the beginning.
    for page in &pages {
        hear(&leader("two"), page).await;
    }
    let events =
        Api::<Event>::namespaced(plane.client(), &namespace).list(&kube::api::ListParams::default()).await;
    let mut said: Vec<_> = events
        .unwrap()
        .items
        .into_iter()
        .map(|event| {
            let times = event.series.map_or(1, |series| series.count);
            (event.reason.unwrap(), event.type_.unwrap(), event.note.unwrap(), times)
        })
        .collect();
    said.sort();
    let expected = |reason: &str, type_: &str, page: &Page, times| {
        (reason.to_owned(), type_.to_owned(), page.rows[0].sentence.clone(), times)
    };
    assert_eq!(
        said,
        [
            expected("RolloutHeld", "Warning", &pages[0], 2),
            expected("RolloutResumed", "Normal", &pages[1], 1),
        ]
    );
}

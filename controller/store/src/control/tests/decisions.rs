//! The decision log over every back end.

use sluice_core::decisions::{Kind, Row, Transition};

use super::*;

fn row(kind: Kind, level: u32) -> Row {
    let transition = Transition {
        channel: "production".parse().unwrap(),
        line: "ios|*".into(),
        serial: 2,
        kind,
        release: Target::Release(version("1.1.0")),
        level,
        weight: 10_000 * (level + 1),
        limited: false,
        reason: String::new(),
    };
    Row { sentence: format!("{kind} {level}"), transition, numbers: json!({ "level": level }) }
}

#[tokio::test]
async fn pages_follow_each_other_once() {
    let at = Timestamp::from_second(1_800_000_000).unwrap();
    for objects in stores().await.all {
        let (store, app) = (open(&objects).await, app("com.example.shop"));
        let (started, advanced) = (row(Kind::Started, 0), row(Kind::Advanced, 1));
        let head = store.append_decisions(&app, None, at, &mut vec![started.clone()]).await.unwrap();
        assert_eq!(head.unwrap().sequence, 1);
        assert_eq!(store.append_decisions(&app, head, at, &mut Vec::new()).await.unwrap(), head);
        // The process died before the record knew of it.
        let mut both = vec![started.clone(), advanced.clone()];
        let again = store.append_decisions(&app, None, at, &mut both).await.unwrap();
        assert_eq!((again.unwrap().sequence, both), (2, vec![advanced.clone()]));
        // What happens once more is told once more.
        let third = store.append_decisions(&app, again, at, &mut vec![started.clone()]).await.unwrap();
        assert_eq!(third.unwrap().sequence, 3);
        let pages = store.decisions(&app, 0, 10).await.unwrap();
        let rows: Vec<&Row> = pages.iter().flat_map(|page| &page.rows).collect();
        assert_eq!(rows, [&started, &advanced, &started]);
        assert_eq!(store.decisions(&app, 1, 1).await.unwrap(), pages[1..2]);
        assert_eq!(store.apps().await.unwrap(), [], "a log is no record");

        // A page that was changed does not go unseen.
        let key = "apps/com.example.shop/decisions/000000000001.json";
        edit(&objects, key, |page| page["at"] = json!("2026-01-01T00:00:00Z")).await;
        let error = store.decisions(&app, 0, 10).await.unwrap_err();
        assert!(
            matches!(&error, ControlError::Damaged { key, .. } if key.contains("000000000002")),
            "{error}"
        );
        let audit = store.audit_decisions(&app, 0, 10).await.unwrap();
        assert_eq!(audit.pages.len(), 1, "what stands before the broken place is shown");
        assert!(audit.broken.unwrap().contains("000000000002"));
    }
}

#[tokio::test]
async fn two_that_append_at_once_make_one_chain() {
    let at = Timestamp::UNIX_EPOCH;
    for objects in stores().await.all {
        let (store, app) = (open(&objects).await, app("com.example.shop"));
        let appends = (0..8).map(|level| {
            let (store, app) = (store.clone(), app.clone());
            let mut rows = vec![row(Kind::Advanced, level)];
            async move { store.append_decisions(&app, None, at, &mut rows).await.unwrap() }
        });
        futures::future::join_all(appends).await;
        let pages = store.decisions(&app, 0, 100).await.unwrap();
        let mut levels: Vec<u32> =
            pages.iter().flat_map(|page| &page.rows).map(|row| row.transition.level).collect();
        levels.sort_unstable();
        assert_eq!(levels, (0..8).collect::<Vec<_>>());
    }
}

//! The decision log over every back end.

use sluice_core::decisions::{Kind, Transition};

use super::*;

fn draft(kind: Kind, level: u32) -> Draft {
    let transition = Transition {
        channel: "production".parse().unwrap(),
        line: "ios|*".into(),
        serial: 2,
        kind,
        release: Target::Release(version("1.1.0")),
        level,
        weight: 10_000 * (level + 1),
        reason: String::new(),
    };
    Draft { transition, sentence: format!("{kind} at level {level}"), numbers: json!({ "level": level }) }
}

#[tokio::test]
async fn rows_follow_each_other_once() {
    let at = Timestamp::from_second(1_800_000_000).unwrap();
    for objects in stores().await.all {
        let (store, app) = (open(&objects).await, app("com.example.shop"));
        let (started, advanced) = (draft(Kind::Started, 0), draft(Kind::Advanced, 1));
        let (head, added) =
            store.append_decisions(&app, None, at, std::slice::from_ref(&started)).await.unwrap();
        assert_eq!((head.unwrap().sequence, added.len()), (1, 1));
        // The process died before the record knew of it.
        let both = [started.clone(), advanced.clone()];
        let (again, added) = store.append_decisions(&app, None, at, &both).await.unwrap();
        assert_eq!((again.unwrap().sequence, added.len()), (2, 1));
        // What happens once more is told once more.
        let (third, added) = store.append_decisions(&app, again, at, &[started]).await.unwrap();
        assert_eq!((third.unwrap().sequence, added.len()), (3, 1));
        let rows = store.decisions(&app, 0, 10).await.unwrap();
        let kinds: Vec<Kind> = rows.iter().map(|row| row.transition.kind).collect();
        assert_eq!(kinds, [Kind::Started, Kind::Advanced, Kind::Started]);
        assert_eq!(store.decisions(&app, 1, 1).await.unwrap(), rows[1..2]);
        assert_eq!(store.apps().await.unwrap(), [], "a log is no record");

        // A row that was changed does not go unseen.
        edit(&objects, "apps/com.example.shop/decisions/000000000001.json", |row| {
            row["sentence"] = json!("nothing")
        })
        .await;
        let error = store.decisions(&app, 0, 10).await.unwrap_err();
        assert!(
            matches!(&error, ControlError::Damaged { key, .. } if key.contains("000000000002")),
            "{error}"
        );
    }
}

#[tokio::test]
async fn two_that_append_at_once_make_one_chain() {
    let at = Timestamp::UNIX_EPOCH;
    for objects in stores().await.all {
        let (store, app) = (open(&objects).await, app("com.example.shop"));
        let appends =
            (0..8).map(|level| {
                let (store, app) = (store.clone(), app.clone());
                async move {
                    store.append_decisions(&app, None, at, &[draft(Kind::Advanced, level)]).await.unwrap()
                }
            });
        futures::future::join_all(appends).await;
        let rows = store.decisions(&app, 0, 100).await.unwrap();
        let mut levels: Vec<u32> = rows.iter().map(|row| row.transition.level).collect();
        levels.sort_unstable();
        assert_eq!(levels, (0..8).collect::<Vec<_>>());
    }
}

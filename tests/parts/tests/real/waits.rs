use std::{cell::Cell, time::Duration};

use sluice_test_parts::until;

#[tokio::test]
async fn the_value_is_given_once_it_is_there() {
    let looks = Cell::new(0);
    let value = until(Duration::from_secs(10), "the third look", async || {
        looks.set(looks.get() + 1);
        (looks.get() == 3).then_some("here")
    })
    .await;
    assert_eq!((value, looks.get()), ("here", 3));
}

#[tokio::test]
#[should_panic(expected = "until pigs fly; last seen: \"they walk\"")]
async fn the_limit_ends_it_with_what_was_seen() {
    until(Duration::from_millis(20), "pigs fly", async || Err::<(), _>("they walk")).await;
}

#[tokio::test]
#[should_panic(expected = "a look hung")]
async fn a_look_that_hangs_ends_at_the_limit() {
    until(Duration::from_millis(20), "it answers", async || std::future::pending::<bool>().await).await;
}

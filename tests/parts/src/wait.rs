//! Waiting for a condition, with a limit.

use std::{fmt, time::Duration};

use tokio::time::{Instant, sleep, timeout_at};

/// Between two looks at a condition: short at first, since most conditions are nearly met.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// What one look at a condition found: what was waited for, or how far it is.
pub trait Observation {
    /// What was waited for.
    type Value;

    /// The value, or words for what was seen instead.
    fn settle(self) -> Result<Self::Value, String>;
}

impl<T> Observation for Option<T> {
    type Value = T;

    fn settle(self) -> Result<T, String> {
        self.ok_or_else(|| "nothing yet".to_owned())
    }
}

impl<T, E: fmt::Debug> Observation for Result<T, E> {
    type Value = T;

    fn settle(self) -> Result<T, String> {
        self.map_err(|error| format!("{error:?}"))
    }
}

impl Observation for bool {
    type Value = ();

    fn settle(self) -> Result<(), String> {
        self.then_some(()).ok_or_else(|| "not yet".to_owned())
    }
}

/// Looks until there is what was waited for, and panics with `what` and the last observation after `limit`.
///
/// A look gives `Option`, `bool`, or `Result` whose error says what was seen instead. One that hangs ends at the limit.
pub async fn until<O: Observation>(
    limit: Duration,
    what: &str,
    mut look: impl AsyncFnMut() -> O,
) -> O::Value {
    let deadline = Instant::now() + limit;
    let mut pause = FIRST_PAUSE;
    let mut last = "the first look has not ended".to_owned();
    loop {
        let Ok(seen) = timeout_at(deadline, look()).await else {
            panic!("waited {limit:?} until {what}; a look hung; seen before: {last}");
        };
        match seen.settle() {
            Ok(value) => return value,
            Err(seen) => last = seen,
        }
        assert!(Instant::now() + pause < deadline, "waited {limit:?} until {what}; last seen: {last}");
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

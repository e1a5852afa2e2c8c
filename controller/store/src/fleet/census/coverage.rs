//! How long a release takes to reach so many of a channel's devices: noted when it happens, from sums, once a minute.

use std::collections::BTreeMap;

use crate::fleet::{
    active,
    dialect::{Connection, ListStatement},
};

/// Parts of the active devices, in percent.
pub(crate) const PERCENTS: [i64; 4] = [50, 90, 95, 99];

/// With fewer active devices a channel has no coverage to speak of.
const LEAST: i64 = 10;

/// A release that did not get there in so long will not, in seconds: 90 days.
const LONGEST: i64 = 90 * 24 * 3600;

static COVERAGE: ListStatement = ListStatement {
    head: "INSERT INTO coverage (app, channel, version, percent, at)",
    columns: 5,
    tail: "ON CONFLICT DO NOTHING",
};

/// Notes that versions are offered on channels for the first time, unless they were before.
pub(crate) async fn begin(
    connection: &mut Connection,
    mut begun: Vec<(u32, &str, &str)>,
    now: i64,
) -> Result<(), sqlx::Error> {
    begun.sort_unstable();
    begun.dedup();
    let write = COVERAGE.write(connection, &begun, |(app, channel, version), values| {
        values.add(i64::from(*app)).add(*channel).add(*version).add(0).add(now);
    });
    write.await.map(drop)
}

/// Notes which parts of the active devices run a version by now.
pub(crate) async fn cover(connection: &mut Connection, now: i64) -> Result<(), sqlx::Error> {
    let open = "SELECT app, channel, version, MAX(percent) FROM coverage GROUP BY app, channel, version \
                HAVING MAX(percent) < 99 AND MIN(at) > $1";
    let open = connection.fetch(open, |values| _ = values.add(now - LONGEST)).await?;
    if open.is_empty() {
        return Ok(());
    }
    let active = "SELECT app, channel, running, CAST(SUM(devices) AS BIGINT) FROM census WHERE day >= $1 \
                  GROUP BY app, channel, running";
    let since = active::oldest(now);
    let (mut totals, mut runs) = (BTreeMap::new(), BTreeMap::new());
    for row in connection.fetch(active, |values| _ = values.add(since)).await? {
        let (app, channel): (i64, String) = (row.try_get(0)?, row.try_get(1)?);
        let devices: i64 = row.try_get(3)?;
        *totals.entry((app, channel.clone())).or_insert(0) += devices;
        runs.insert((app, channel, row.try_get::<String>(2)?), devices);
    }
    let mut reached = Vec::new();
    for row in open {
        let (app, channel, version): (i64, String, String) =
            (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        let so_far: i64 = row.try_get(3)?;
        let all = totals.get(&(app, channel.clone())).copied().unwrap_or(0);
        let run = runs.get(&(app, channel.clone(), version.clone())).copied().unwrap_or(0);
        if all < LEAST {
            continue;
        }
        let fresh = PERCENTS.into_iter().filter(|percent| *percent > so_far && run * 100 >= all * percent);
        reached.extend(fresh.map(|percent| (app, channel.clone(), version.clone(), percent)));
    }
    let write = COVERAGE.write(connection, &reached, |(app, channel, version, percent), values| {
        values.add(*app).add(&**channel).add(&**version).add(*percent).add(now);
    });
    write.await.map(drop)
}

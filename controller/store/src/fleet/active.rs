//! How many devices use a channel, kept as they come and go.
//!
//! One row of a channel and a day holds the devices whose last contact was on that day, and a device that comes again
//! moves from its row to today's. So a question costs eight rows of each channel, whatever the fleet, and a batch writes
//! a row for each channel and day that it touches. Contacts are written once a session, and days are those of the
//! server's clock.
//!
//! A release that does not keep these rows leaves them as they are. What they then say wrongly is gone after eight days.

use std::collections::{BTreeMap, HashMap};

use super::{
    Fleet,
    dialect::{Connection, ListStatement},
    error::FleetError,
    hot::Key,
    model::DeviceRow,
    types::ActiveDevices,
};

const DAY: i64 = 24 * 3600;

/// Activity is counted over so many days, and today.
const DAYS: i64 = 7;

static ACTIVE: ListStatement = ListStatement {
    head: "INSERT INTO active (app, channel, day, devices)",
    columns: 4,
    tail: "ON CONFLICT (app, channel, day) DO UPDATE SET devices = active.devices + excluded.devices",
};

/// Where a device counts: its channel, and the day of its last contact.
type Place = (String, i64);

/// What a batch moves.
#[derive(Debug, Default)]
pub(crate) struct Moves {
    /// Where devices were before the batch; nothing for new ones.
    before: HashMap<Key, Option<Place>>,
}

impl Moves {
    /// Notes where a device is, before its row is changed. Nothing for a row that is about to be made.
    pub(crate) fn before(&mut self, key: Key, row: Option<&DeviceRow>) {
        self.before.entry(key).or_insert_with(|| row.map(place));
    }

    /// Writes what moved. `after` has the row of every device that was noted, unless it is gone.
    pub(crate) async fn write(
        &self,
        connection: &mut Connection,
        after: &HashMap<Key, DeviceRow>,
        now: i64,
    ) -> Result<(), sqlx::Error> {
        let mut moved: BTreeMap<(u32, &str, i64), i64> = BTreeMap::new();
        let places: Vec<_> =
            self.before.iter().map(|(key, old)| (key, old.as_ref(), after.get(key).map(place))).collect();
        for (key, old, new) in &places {
            if *old == new.as_ref() {
                continue;
            }
            for (place, by) in [(*old, -1), (new.as_ref(), 1)] {
                if let Some((channel, day)) = place.filter(|(_, day)| *day >= oldest(now)) {
                    *moved.entry((key.app, channel, *day)).or_default() += by;
                }
            }
        }
        let moved: Vec<_> = moved.into_iter().filter(|(_, by)| *by != 0).collect();
        let write = ACTIVE.write(connection, &moved, |((app, channel, day), by), values| {
            values.add(i64::from(*app)).add(*channel).add(*day).add(*by);
        });
        write.await.map(drop)
    }
}

fn place(row: &DeviceRow) -> Place {
    (row.about.channel.clone().unwrap_or_default(), row.last_seen.div_euclid(DAY))
}

/// The first day that counts.
pub(crate) fn oldest(now: i64) -> i64 {
    now.div_euclid(DAY) - DAYS
}

impl Fleet {
    /// Devices that were active today or on one of the last seven days, per app and channel, as far as it is written.
    pub async fn active_devices(&self) -> Result<Vec<ActiveDevices>, FleetError> {
        let active = "SELECT a.name, x.channel, CAST(SUM(x.devices) AS BIGINT) FROM active AS x \
                      JOIN apps AS a ON a.id = x.app WHERE x.day >= $1 GROUP BY a.name, x.channel \
                      ORDER BY a.name, x.channel";
        let since = oldest((self.shared.clock)());
        let mut counts = Vec::new();
        for row in self.shared.readers.fetch(active, |values| _ = values.add(since)).await? {
            let channel: String = row.try_get(1)?;
            let devices = u64::try_from(row.try_get::<i64>(2)?).unwrap_or(0);
            if devices > 0 {
                let channel = (!channel.is_empty()).then_some(channel);
                counts.push(ActiveDevices { app: row.try_get(0)?, channel, devices });
            }
        }
        Ok(counts)
    }
}

//! Bytes that were sent to devices, by zip and day: gathered in memory, written with the next transaction.
//!
//! What a process has not written when it is killed is lost: a few seconds of downloads.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde::{Deserialize, Serialize};
use sluice_core::digest::Digest;

use super::{
    Fleet,
    census::DAY,
    dialect::{Connection, ListStatement},
    error::FleetError,
    sql,
};

static TRAFFIC: ListStatement = ListStatement {
    head: "INSERT INTO traffic (day, zip, bytes)",
    columns: 3,
    tail: "ON CONFLICT (day, zip) DO UPDATE SET bytes = traffic.bytes + excluded.bytes",
};

/// Bytes of a zip that were sent on a day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sent {
    /// SHA-256 of the zip.
    pub zip: Digest,
    /// Days since 1970.
    pub day: i64,
    /// How many.
    pub bytes: u64,
}

/// What was sent and is not written.
#[derive(Debug, Default)]
pub(crate) struct Traffic(Mutex<BTreeMap<(i64, Digest), u64>>);

impl Traffic {
    /// Adds bytes that were sent at a time, in seconds since 1970.
    pub(crate) fn add(&self, zip: &Digest, bytes: u64, at: i64) {
        *self.waiting().entry((at.div_euclid(DAY), *zip)).or_default() += bytes;
    }

    /// Takes what waits.
    pub(crate) fn take(&self) -> Vec<Sent> {
        let waiting = std::mem::take(&mut *self.waiting());
        waiting.into_iter().map(|((day, zip), bytes)| Sent { zip, day, bytes }).collect()
    }

    /// Gives back what could not be written.
    pub(crate) fn give_back(&self, back: Vec<Sent>) {
        let mut waiting = self.waiting();
        for Sent { zip, day, bytes } in back {
            *waiting.entry((day, zip)).or_default() += bytes;
        }
    }

    fn waiting(&self) -> MutexGuard<'_, BTreeMap<(i64, Digest), u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes it.
pub(crate) async fn write(
    connection: &mut Connection,
    sent: impl Iterator<Item = &Sent>,
) -> Result<(), sqlx::Error> {
    let mut sums: BTreeMap<(i64, &Digest), u64> = BTreeMap::new();
    for Sent { zip, day, bytes } in sent {
        *sums.entry((*day, zip)).or_default() += bytes;
    }
    let sums: Vec<_> = sums.into_iter().collect();
    let write = TRAFFIC.write(connection, &sums, |((day, zip), bytes), values| {
        values.add(*day).add(&zip.as_bytes()[..]).add(i64::try_from(*bytes).unwrap_or(i64::MAX));
    });
    write.await.map(drop)
}

impl Fleet {
    /// Notes that bytes of a zip were sent to a device. Never waits.
    pub fn sent(&self, zip: &Digest, bytes: u64) {
        self.shared.traffic.add(zip, bytes, (self.shared.clock)());
    }

    /// Bytes that were sent since a day, by zip, as far as it is written. `since` is in seconds since 1970.
    pub async fn traffic(&self, since: i64) -> Result<BTreeMap<Digest, u64>, FleetError> {
        let all = "SELECT zip, CAST(SUM(bytes) AS BIGINT) FROM traffic WHERE day >= $1 GROUP BY zip";
        let since = since.div_euclid(DAY);
        let mut found = BTreeMap::new();
        for row in self.shared.readers.fetch(all, |values| _ = values.add(since)).await? {
            found.insert(sql::digest(row.try_get(0)?)?, u64::try_from(row.try_get::<i64>(1)?).unwrap_or(0));
        }
        Ok(found)
    }
}

//! Where devices stand, and what becomes of versions, as sums that are kept as devices come and report.
//!
//! Every device is in one cell of the census: its channel, platform and versions, the version that it was last offered,
//! what became of that, and the day of its last contact. A batch takes a device out of the cell that it was in before and
//! puts it into the one that it is in after, in the transaction that changes its row; so a cell is right whatever is
//! reported twice, in whatever order, and after whatever crash. What is counted of a device stands in its row
//! (`devices.standing`): nothing until its first contact after this was built.
//!
//! The funnel counts what became true of a version on a device. It is the difference of the rows of `outcomes` before and
//! after the batch, so a device counts once in each of its facts.
//!
//! A release that does not keep these sums leaves them as they are; devices that change meanwhile are counted twice until
//! their old day is over.

use std::collections::{BTreeMap, HashMap};

use super::{
    dialect::{Connection, ListStatement},
    hot::Key,
    model::{DeviceRow, OutcomeRow},
    sql::OutcomeKey,
};

mod coverage;
mod report;

pub(crate) use coverage::{begin, cover};
pub use report::{
    Adoption, CoverageOf, Daily, Facts, Failures, ReleaseCoverage, ReleaseReport, Report, ReportQuery,
};

pub(crate) const DAY: i64 = 24 * 3600;

/// What became of the version that a device was last offered, or that it runs when it was offered none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Standing {
    /// It was offered, and nothing was heard of it since.
    Offered,
    /// The device has its bytes.
    Downloaded,
    /// It was made active, and the device has not asked since.
    Installed,
    /// The device runs it.
    Running,
    /// The device runs it, and reported bad health on it.
    Unhealthy,
    /// Its bytes could not be fetched, verified or unpacked.
    DeliveryFailed,
    /// It could not be made active, or did not start.
    InstallationFailed,
    /// The device says that what it was answered does not fit it.
    Incompatible,
    /// The device ran it and runs another one.
    RolledBack,
}

impl Standing {
    /// Each of them; the place is the number in the database, from 1.
    pub const ALL: [Self; 9] = [
        Self::Offered,
        Self::Downloaded,
        Self::Installed,
        Self::Running,
        Self::Unhealthy,
        Self::DeliveryFailed,
        Self::InstallationFailed,
        Self::Incompatible,
        Self::RolledBack,
    ];

    pub(crate) fn number(self) -> i64 {
        self as i64 + 1
    }

    pub(crate) fn of_number(number: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|standing| standing.number() == number)
    }

    /// Where a device stands, given what became of its target.
    pub(crate) fn of(device: &DeviceRow, outcome: Option<&OutcomeRow>) -> Self {
        let runs = device.about.running == target(device);
        let Some(outcome) = outcome else { return if runs { Self::Running } else { Self::Offered } };
        let OutcomeRow { trial_at, success_at, launch, install, health, steps, .. } = outcome;
        let refused = steps.refused.as_ref().map(|first| first.at);
        let failed = install.as_ref().map(|first| first.at);
        match () {
            () if runs && health.is_some() => Self::Unhealthy,
            () if runs => Self::Running,
            () if launch.is_some() => Self::InstallationFailed,
            () if steps.ran_at.is_some() => Self::RolledBack,
            () if trial_at.is_some() || success_at.is_some() => Self::Installed,
            () if steps.downloaded_at.is_some() && steps.downloaded_at >= refused.max(failed) => {
                Self::Downloaded
            }
            () if failed.is_some() && failed >= refused => Self::DeliveryFailed,
            () if refused.is_some() => Self::Incompatible,
            () => Self::Offered,
        }
    }
}

/// The version that a device's standing is about.
pub(crate) fn target(device: &DeviceRow) -> &str {
    device.offered.as_ref().map_or(&device.about.running, |(version, _)| version)
}

/// What can be true of a version on a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub(crate) enum Fact {
    /// It was offered.
    Offered,
    /// It was offered, and the device has its bytes.
    Delivered,
    /// It was made active.
    Installed,
    /// It started.
    Started,
    /// Its bytes could not be fetched, verified or unpacked, at least once.
    DeliveryFailed,
    /// It could not be made active, or did not start, at least once.
    InstallationFailed,
    /// The device said that what it was answered does not fit it.
    Incompatible,
    /// The device reported bad health on it.
    HealthFailed,
    /// The device ran it, and an older one or its shipped bundle after that.
    RolledBack,
    /// It started, or failed when it was installed, started or run.
    Decided,
    /// It started, and did not fail when it was installed, started or run.
    Succeeded,
}

impl Fact {
    /// Each of them; the place is the number in the database.
    pub(crate) const ALL: [Self; 11] = [
        Self::Offered,
        Self::Delivered,
        Self::Installed,
        Self::Started,
        Self::DeliveryFailed,
        Self::InstallationFailed,
        Self::Incompatible,
        Self::HealthFailed,
        Self::RolledBack,
        Self::Decided,
        Self::Succeeded,
    ];
}

/// The facts that are true of a version on a device, a bit each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Bits(u16);

impl Bits {
    pub(crate) fn of(outcome: &OutcomeRow) -> Self {
        let OutcomeRow { trial_at, success_at, launch, install, health, steps, .. } = outcome;
        let started = success_at.is_some() || steps.ran_at.is_some();
        let installed = started || trial_at.is_some();
        let bad = launch.is_some() || health.is_some();
        let offered = steps.offered_at.is_some();
        let mut facts = 0;
        for (fact, is) in [
            (Fact::Offered, offered),
            (Fact::Delivered, offered && (installed || launch.is_some() || steps.downloaded_at.is_some())),
            (Fact::Installed, installed),
            (Fact::Started, started),
            (Fact::DeliveryFailed, install.is_some()),
            (Fact::InstallationFailed, launch.is_some()),
            (Fact::Incompatible, steps.refused.is_some()),
            (Fact::HealthFailed, health.is_some()),
            (Fact::RolledBack, steps.rolled_back_at.is_some()),
            (Fact::Decided, started || bad),
            (Fact::Succeeded, started && !bad),
        ] {
            facts |= u16::from(is) << fact as u16;
        }
        Self(facts)
    }

    fn has(self, fact: Fact) -> bool {
        self.0 >> fact as u16 & 1 == 1
    }
}

static CENSUS: ListStatement = ListStatement {
    head: "INSERT INTO census (app, day, channel, platform, native, running, target, standing, devices, seen)",
    columns: 10,
    tail: "ON CONFLICT (app, day, channel, platform, native, running, target, standing) \
           DO UPDATE SET devices = census.devices + excluded.devices, seen = census.seen + excluded.seen",
};

static FUNNEL: ListStatement = ListStatement {
    head: "INSERT INTO funnel (app, version, day, channel, platform, fact, devices)",
    columns: 7,
    tail: "ON CONFLICT (app, version, day, channel, platform, fact) \
           DO UPDATE SET devices = funnel.devices + excluded.devices",
};

/// Where a device is counted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Cell {
    app: u32,
    day: i64,
    channel: String,
    platform: &'static str,
    native: String,
    running: String,
    target: String,
    standing: i64,
}

impl Cell {
    /// Nothing for a device that is not counted yet.
    fn of(key: Key, row: &DeviceRow) -> Option<Self> {
        Some(Self {
            app: key.app,
            day: row.last_seen.div_euclid(DAY),
            channel: row.about.channel.clone().unwrap_or_default(),
            platform: row.about.platform,
            native: row.about.native.clone(),
            running: row.about.running.clone(),
            target: target(row).to_owned(),
            standing: row.standing?.number(),
        })
    }

    fn holds(&self, row: &DeviceRow) -> bool {
        self.day == row.last_seen.div_euclid(DAY)
            && self.channel == row.about.channel.as_deref().unwrap_or_default()
            && self.platform == row.about.platform
            && self.native == row.about.native
            && self.running == row.about.running
            && self.target == target(row)
            && Some(self.standing) == row.standing.map(Standing::number)
    }
}

/// The cells of a batch's devices before it.
#[derive(Debug, Default)]
pub(crate) struct Census {
    before: HashMap<Key, Option<Cell>>,
}

impl Census {
    /// Notes where devices are, before their rows are changed.
    pub(crate) fn of(devices: &HashMap<Key, DeviceRow>) -> Self {
        Self { before: devices.iter().map(|(key, row)| (*key, Cell::of(*key, row))).collect() }
    }

    /// Writes what moved. Devices that are not in `after` are gone.
    pub(crate) async fn write(
        mut self,
        connection: &mut Connection,
        after: &HashMap<Key, DeviceRow>,
    ) -> Result<(), sqlx::Error> {
        let mut moved: BTreeMap<Cell, (i64, i64)> = BTreeMap::new();
        let mut add = |cell: Cell, devices: i64, seen: i64| {
            let sums = moved.entry(cell).or_default();
            *sums = (sums.0 + devices, sums.1 + seen);
        };
        for (key, row) in after {
            let before = self.before.remove(key).flatten();
            if before.as_ref().is_some_and(|cell| cell.holds(row)) {
                continue;
            }
            let Some(cell) = Cell::of(*key, row) else { continue };
            // A day that is later, or the same in another cell, sees the device. A clock that was put back does not again.
            let seen = i64::from(before.as_ref().is_none_or(|before| cell.day >= before.day));
            if let Some(before) = before {
                let same_day = i64::from(before.day == cell.day);
                add(before, -1, -same_day);
            }
            add(cell, 1, seen);
        }
        for gone in self.before.into_values().flatten() {
            add(gone, -1, 0);
        }
        let moved: Vec<_> = moved.into_iter().filter(|(_, sums)| *sums != (0, 0)).collect();
        let write = CENSUS.write(connection, &moved, |(cell, (devices, seen)), values| {
            let Cell { app, day, channel, platform, native, running, target, standing } = cell;
            values.add(i64::from(*app)).add(*day).add(&**channel).add(*platform).add(&**native);
            values.add(&**running).add(&**target).add(*standing).add(*devices).add(*seen);
        });
        write.await.map(drop)
    }
}

/// Writes what became true of versions, or is not true any more, and returns how often what became true. `before` has the
/// facts of each outcome that changed.
pub(crate) async fn write_facts(
    connection: &mut Connection,
    before: &HashMap<OutcomeKey, Bits>,
    outcomes: &HashMap<OutcomeKey, OutcomeRow>,
    devices: &HashMap<Key, DeviceRow>,
    now: i64,
) -> Result<Facts, sqlx::Error> {
    let day = now.div_euclid(DAY);
    let mut sums: BTreeMap<(u32, &str, &str, &str, i64), i64> = BTreeMap::new();
    for (key, before) in before {
        // Whoever never asked for an update is no device.
        let (Some(outcome), Some(device)) = (outcomes.get(key), devices.get(&key.0)) else { continue };
        let after = Bits::of(outcome);
        if after == *before {
            continue;
        }
        let channel = device.about.channel.as_deref().unwrap_or_default();
        for fact in Fact::ALL {
            let by = i64::from(after.has(fact)) - i64::from(before.has(fact));
            if by != 0 {
                let place = (key.0.app, &*key.1, channel, device.about.platform, fact as i64);
                *sums.entry(place).or_default() += by;
            }
        }
    }
    let sums: Vec<_> = sums.into_iter().filter(|(_, by)| *by != 0).collect();
    let write = FUNNEL.write(connection, &sums, |((app, version, channel, platform, fact), by), values| {
        values.add(i64::from(*app)).add(*version).add(day).add(*channel).add(*platform).add(*fact).add(*by);
    });
    write.await?;
    let offered = sums.iter().filter(|((.., fact), by)| *fact == Fact::Offered as i64 && *by > 0);
    let begun: Vec<_> = offered.map(|((app, version, channel, ..), _)| (*app, *channel, *version)).collect();
    begin(connection, begun, now).await?;
    let mut fresh = Facts::default();
    for ((.., number), by) in &sums {
        if let Some(fact) = Fact::ALL.into_iter().find(|fact| *fact as i64 == *number) {
            fresh.add(fact, u64::try_from(*by).unwrap_or(0));
        }
    }
    Ok(fresh)
}

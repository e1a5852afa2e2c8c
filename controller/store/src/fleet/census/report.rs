//! The report on an app: sums of the census and the funnel, put together.
//!
//! Where devices stand is one statement, so that its parts always add up to the whole.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::Serialize;

use super::{DAY, Fact, Standing, coverage::PERCENTS};
use crate::fleet::{Fleet, dialect::Row, error::FleetError};

/// Days of a month.
const MONTH: i64 = 30;

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub struct ReportQuery<'a> {
    /// The app.
    pub app: &'a str,
    /// Only devices that this channel answered last.
    pub channel: Option<&'a str>,
    /// Only devices of this platform. Time to coverage is of a channel.
    pub platform: Option<&'a str>,
    /// Devices whose last contact was on this day or later, in seconds since 1970.
    pub since: i64,
}

/// A report. What each number is stands in `docs/analytics.md`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The app.
    pub app: String,
    /// The channel; nothing for all of them.
    pub channel: Option<String>,
    /// The platform; nothing for all of them.
    pub platform: Option<String>,
    /// The first day.
    pub since: String,
    /// When it was made, in seconds since 1970.
    pub at: i64,
    /// Devices whose last contact was on one of the days: the sum of `standing`.
    pub active: u64,
    /// Of those, devices that had a contact today.
    pub active_today: u64,
    /// Where they stand; `notOffered` are those that no release was ever offered to and that run none.
    pub standing: BTreeMap<&'static str, u64>,
    /// By release, in the order of versions.
    pub releases: Vec<ReleaseReport>,
    /// What runs, by channel, platform and native version.
    pub adoption: Vec<Adoption>,
    /// Devices that had a contact on a day, by what they ran.
    pub daily: Vec<Daily>,
    /// How long releases took to reach a part of a channel's active devices.
    pub coverage: Vec<CoverageOf>,
}

/// What became of one release.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReleaseReport {
    /// The version.
    pub version: String,
    /// Devices whose standing is about it: the sum of `standing`.
    pub devices: u64,
    /// Where they stand.
    pub standing: BTreeMap<&'static str, u64>,
    /// Devices that run it, whatever they are offered now.
    pub running: u64,
    /// Devices that had a contact today and run it.
    pub daily_active: u64,
    /// Devices that had a contact in the last 30 days and run it.
    pub monthly_active: u64,
    /// What became true of it, in devices.
    #[serde(flatten)]
    pub facts: Facts,
    /// `delivered` of `offered`, from 0 to 1.
    pub delivery_rate: Option<f64>,
    /// `succeeded` of `decided`, from 0 to 1.
    pub success_rate: Option<f64>,
    /// When it reached its devices, by channel.
    pub coverage: Vec<ReleaseCoverage>,
    /// Bytes of its zip that were sent on the days of the report; nothing when its zip is not known any more. Filled in by
    /// whoever knows zips.
    pub bytes: Option<u64>,
}

/// Devices of which something is true, each once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the fields are the facts")]
pub struct Facts {
    pub offered: u64,
    pub delivered: u64,
    pub installed: u64,
    pub started: u64,
    pub rolled_back: u64,
    pub decided: u64,
    pub succeeded: u64,
    /// Failures, at least one of the kind.
    pub failures: Failures,
}

/// Devices that failed, by kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the fields are the kinds")]
pub struct Failures {
    pub delivery: u64,
    pub installation: u64,
    pub compatibility: u64,
    pub health: u64,
}

/// How far a release came on a channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReleaseCoverage {
    /// The channel.
    pub channel: String,
    /// When it was first offered there, in seconds since 1970.
    pub offered_at: i64,
    /// Seconds from then until so many percent of the channel's active devices ran it.
    pub seconds_to_percent: BTreeMap<i64, i64>,
}

/// Devices of one kind that run a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Adoption {
    /// The channel that answered them last.
    pub channel: Option<String>,
    /// Their platform.
    pub platform: String,
    /// Their native version.
    pub native: String,
    /// The release; nothing for the shipped bundle and what was never a release.
    pub version: Option<String>,
    /// How many.
    pub devices: u64,
}

/// Devices that had a contact on a day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Daily {
    /// The day, in UTC.
    pub day: String,
    /// The release that they ran at the last one; nothing for the shipped bundle and what was never a release.
    pub version: Option<String>,
    /// How many.
    pub devices: u64,
}

/// How long releases took to reach a part of a channel's active devices.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CoverageOf {
    /// The part.
    pub percent: i64,
    /// How many releases reached it.
    pub releases: u64,
    /// Seconds that half of them needed at most.
    pub p50: Option<i64>,
    /// Seconds that nine of ten needed at most.
    pub p90: Option<i64>,
}

/// A cell of the census, over the days of the report.
struct Counted {
    channel: String,
    platform: String,
    native: String,
    running: String,
    target: String,
    standing: Option<Standing>,
    /// Last contact on one of the days of the report, today, in the last month.
    devices: u64,
    today: u64,
    month: u64,
}

impl Fleet {
    /// The report on an app, as far as it is written: see [`Fleet::flush`]. Nothing for an app that nobody asked for.
    pub async fn report(&self, query: &ReportQuery<'_>) -> Result<Option<Report>, FleetError> {
        let Some(app) = self.shared.registry.app(query.app) else { return Ok(None) };
        let (id, now) = (i64::from(app.id), (self.shared.clock)());
        let (today, since) = (now.div_euclid(DAY), query.since.div_euclid(DAY));
        let of_channel = |channel: &str| query.channel.is_none_or(|wanted| wanted == channel);
        let of_platform = |platform: &str| query.platform.is_none_or(|wanted| wanted == platform);
        let names: BTreeSet<String> = app.versions().iter().map(|known| known.version.to_string()).collect();
        let mut cells = self.cells(id, since, today).await?;
        cells.retain(|cell| of_channel(&cell.channel) && of_platform(&cell.platform));

        let mut releases: BTreeMap<&str, ReleaseReport> = BTreeMap::new();
        let mut standing = empty(true);
        let mut adoption: BTreeMap<(&str, &str, &str, Option<&str>), u64> = BTreeMap::new();
        let (mut active, mut active_today) = (0, 0);
        for cell in &cells {
            let known = |version: &str| names.get(version).map(String::as_str);
            (active, active_today) = (active + cell.devices, active_today + cell.today);
            let (target, running) = (known(&cell.target), known(&cell.running));
            let name = target.and(cell.standing).map_or("notOffered", name);
            *standing.entry(name).or_default() += cell.devices;
            if let Some(target) = target {
                let release = releases.entry(target).or_insert_with(|| ReleaseReport::new(target));
                release.devices += cell.devices;
                *release.standing.entry(name).or_default() += cell.devices;
            }
            if let Some(running) = running {
                let release = releases.entry(running).or_insert_with(|| ReleaseReport::new(running));
                release.running += cell.devices;
                release.daily_active += cell.today;
                release.monthly_active += cell.month;
            }
            let kind = (&*cell.channel, &*cell.platform, &*cell.native, running);
            *adoption.entry(kind).or_default() += cell.devices;
        }
        let mut daily: BTreeMap<(i64, Option<String>), u64> = BTreeMap::new();
        let seen = "SELECT day, channel, running, platform, CAST(SUM(seen) AS BIGINT) FROM census \
                    WHERE app = $1 AND day >= $2 GROUP BY day, channel, running, platform";
        for row in self.shared.readers.fetch(seen, |v| _ = v.add(id).add(since)).await? {
            if of_channel(row.try_get(1)?) && of_platform(row.try_get(3)?) {
                let version: String = row.try_get(2)?;
                let version = Some(version).filter(|version| names.contains(version));
                *daily.entry((row.try_get(0)?, version)).or_default() += count(&row, 4)?;
            }
        }
        let facts = "SELECT version, channel, fact, platform, CAST(SUM(devices) AS BIGINT) FROM funnel WHERE app = $1 \
                     GROUP BY version, channel, fact, platform";
        let mut of_facts: BTreeMap<String, Facts> = BTreeMap::new();
        for row in self.shared.readers.fetch(facts, |v| _ = v.add(id)).await? {
            let fact =
                Fact::ALL.into_iter().find(|fact| Ok(*fact as i64) == row.try_get::<i64>(2).map_err(drop));
            let counts = of_channel(row.try_get(1)?) && of_platform(row.try_get(3)?);
            if let Some(fact) = fact.filter(|_| counts) {
                of_facts.entry(row.try_get(0)?).or_default().add(fact, count(&row, 4)?);
            }
        }
        let covered = self.covered(id).await?;
        for (version, release) in &mut releases {
            release.learn(of_facts.get(*version).copied().unwrap_or_default());
            let of = covered.iter().filter(|((of, channel), _)| of == version && of_channel(channel));
            release.coverage = of.map(|(_, coverage)| coverage.clone()).collect();
        }
        let coverage = PERCENTS.map(|percent| {
            let of = covered
                .iter()
                .filter(|((_, channel), of)| of_channel(channel) && of.offered_at >= query.since);
            CoverageOf::of(percent, of.filter_map(|(_, of)| of.seconds_to_percent.get(&percent).copied()))
        });
        let mut releases: Vec<_> = releases.into_values().collect();
        releases.sort_by_key(|release| std::cmp::Reverse(version(&release.version)));
        let own = |channel: &str| (!channel.is_empty()).then(|| channel.to_owned());
        Ok(Some(Report {
            app: app.name.to_string(),
            channel: query.channel.map(str::to_owned),
            platform: query.platform.map(str::to_owned),
            since: date(since),
            at: now,
            active,
            active_today,
            standing,
            releases,
            adoption: adoption
                .into_iter()
                .filter(|(_, devices)| *devices > 0)
                .map(|((channel, platform, native, version), devices)| Adoption {
                    channel: own(channel),
                    platform: platform.to_owned(),
                    native: native.to_owned(),
                    version: version.map(str::to_owned),
                    devices,
                })
                .collect(),
            daily: daily
                .into_iter()
                .filter(|(_, devices)| *devices > 0)
                .map(|((day, version), devices)| Daily { day: date(day), version, devices })
                .collect(),
            coverage: coverage.into(),
        }))
    }

    async fn cells(&self, app: i64, since: i64, today: i64) -> Result<Vec<Counted>, FleetError> {
        let cells = "SELECT channel, platform, native, running, target, standing, \
                     CAST(SUM(CASE WHEN day >= $2 THEN devices ELSE 0 END) AS BIGINT), \
                     CAST(SUM(CASE WHEN day >= $3 THEN devices ELSE 0 END) AS BIGINT), \
                     CAST(SUM(CASE WHEN day > $4 THEN devices ELSE 0 END) AS BIGINT) \
                     FROM census WHERE app = $1 AND day >= $5 \
                     GROUP BY channel, platform, native, running, target, standing";
        let month = today - MONTH;
        let bind = |v: &mut crate::fleet::dialect::Values| {
            v.add(app).add(since).add(today).add(month).add(since.min(month));
        };
        let mut found = Vec::new();
        for row in self.shared.readers.fetch(cells, bind).await? {
            found.push(Counted {
                channel: row.try_get(0)?,
                platform: row.try_get(1)?,
                native: row.try_get(2)?,
                running: row.try_get(3)?,
                target: row.try_get(4)?,
                standing: Standing::of_number(row.try_get(5)?),
                devices: count(&row, 6)?,
                today: count(&row, 7)?.min(count(&row, 6)?),
                month: count(&row, 8)?,
            });
        }
        Ok(found)
    }

    /// What was noted of each version and channel.
    async fn covered(&self, app: i64) -> Result<BTreeMap<(String, String), ReleaseCoverage>, FleetError> {
        let all = "SELECT version, channel, percent, at FROM coverage WHERE app = $1 ORDER BY percent";
        let mut found: BTreeMap<(String, String), ReleaseCoverage> = BTreeMap::new();
        for row in self.shared.readers.fetch(all, |v| _ = v.add(app)).await? {
            let key: (String, String) = (row.try_get(0)?, row.try_get(1)?);
            let (percent, at): (i64, i64) = (row.try_get(2)?, row.try_get(3)?);
            if percent == 0 {
                let channel = key.1.clone();
                let fresh = ReleaseCoverage { channel, offered_at: at, seconds_to_percent: BTreeMap::new() };
                found.insert(key, fresh);
            } else if let Some(known) = found.get_mut(&key) {
                known.seconds_to_percent.insert(percent, at - known.offered_at);
            }
        }
        Ok(found)
    }
}

impl ReleaseReport {
    fn new(version: &str) -> Self {
        Self {
            version: version.to_owned(),
            devices: 0,
            standing: empty(false),
            running: 0,
            daily_active: 0,
            monthly_active: 0,
            facts: Facts::default(),
            delivery_rate: None,
            success_rate: None,
            coverage: Vec::new(),
            bytes: None,
        }
    }

    fn learn(&mut self, facts: Facts) {
        let rate = |part: u64, whole: u64| (whole > 0).then(|| part as f64 / whole as f64);
        self.delivery_rate = rate(facts.delivered, facts.offered);
        self.success_rate = rate(facts.succeeded, facts.decided);
        self.facts = facts;
    }
}

impl Facts {
    pub(super) fn add(&mut self, fact: Fact, devices: u64) {
        let sum = match fact {
            Fact::Offered => &mut self.offered,
            Fact::Delivered => &mut self.delivered,
            Fact::Installed => &mut self.installed,
            Fact::Started => &mut self.started,
            Fact::RolledBack => &mut self.rolled_back,
            Fact::Decided => &mut self.decided,
            Fact::Succeeded => &mut self.succeeded,
            Fact::DeliveryFailed => &mut self.failures.delivery,
            Fact::InstallationFailed => &mut self.failures.installation,
            Fact::Incompatible => &mut self.failures.compatibility,
            Fact::HealthFailed => &mut self.failures.health,
        };
        *sum += devices;
    }
}

impl Facts {
    /// Adds those of others.
    pub(crate) fn join(&mut self, others: &Self) {
        let Self { offered, delivered, installed, started, rolled_back, decided, succeeded, failures } =
            *others;
        let Failures { delivery, installation, compatibility, health } = failures;
        for (fact, devices) in [
            (Fact::Offered, offered),
            (Fact::Delivered, delivered),
            (Fact::Installed, installed),
            (Fact::Started, started),
            (Fact::RolledBack, rolled_back),
            (Fact::Decided, decided),
            (Fact::Succeeded, succeeded),
            (Fact::DeliveryFailed, delivery),
            (Fact::InstallationFailed, installation),
            (Fact::Incompatible, compatibility),
            (Fact::HealthFailed, health),
        ] {
            self.add(fact, devices);
        }
    }
}

impl CoverageOf {
    fn of(percent: i64, seconds: impl Iterator<Item = i64>) -> Self {
        let mut seconds: Vec<i64> = seconds.collect();
        seconds.sort_unstable();
        // The smallest that so many of a hundred do not exceed.
        let rank = |of: usize| seconds.get((seconds.len() * of).div_ceil(100).saturating_sub(1)).copied();
        Self { percent, releases: seconds.len() as u64, p50: rank(50), p90: rank(90) }
    }
}

/// The names of [`Standing`] as they are serialised.
const fn name(standing: Standing) -> &'static str {
    match standing {
        Standing::Offered => "offered",
        Standing::Downloaded => "downloaded",
        Standing::Installed => "installed",
        Standing::Running => "running",
        Standing::Unhealthy => "unhealthy",
        Standing::DeliveryFailed => "deliveryFailed",
        Standing::InstallationFailed => "installationFailed",
        Standing::Incompatible => "incompatible",
        Standing::RolledBack => "rolledBack",
    }
}

/// Every name, so that a number that is 0 is there.
fn empty(not_offered: bool) -> BTreeMap<&'static str, u64> {
    let names = Standing::ALL.into_iter().map(name).chain(not_offered.then_some("notOffered"));
    names.map(|name| (name, 0)).collect()
}

fn count(row: &Row, column: usize) -> Result<u64, sqlx::Error> {
    Ok(u64::try_from(row.try_get::<i64>(column)?).unwrap_or(0))
}

/// The order of versions; what is none comes first.
fn version(text: &str) -> Option<sluice_core::ids::Version> {
    text.parse().ok()
}

/// A day since 1970 as a date.
fn date(day: i64) -> String {
    let at = Timestamp::from_second(day.saturating_mul(DAY));
    at.map_or_else(|_| day.to_string(), |at| at.strftime("%F").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_releases() {
        let of = |seconds: &[i64]| CoverageOf::of(90, seconds.iter().copied());
        assert_eq!((of(&[]).p50, of(&[]).releases), (None, 0));
        assert_eq!((of(&[7]).p50, of(&[7]).p90), (Some(7), Some(7)));
        let ten: Vec<i64> = (1..=10).rev().collect();
        assert_eq!((of(&ten).p50, of(&ten).p90), (Some(5), Some(9)));
    }

    #[test]
    fn days_are_dates() {
        assert_eq!((date(0).as_str(), date(20_000).as_str()), ("1970-01-01", "2024-10-04"));
    }
}

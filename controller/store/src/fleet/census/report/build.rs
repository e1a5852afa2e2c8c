//! Puts a report together from the sums.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::{
    Adoption, CoverageOf, Daily, Facts, ReleaseCoverage, ReleaseReport, Report, ReportQuery, empty, name,
};
use crate::fleet::{
    Fleet,
    census::{DAY, Fact, Standing, coverage::PERCENTS},
    dialect::{Row, Values},
    error::FleetError,
};

/// Days of a month.
const MONTH: i64 = 30;

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
        let bind = |v: &mut Values| {
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
    fn days_are_dates() {
        assert_eq!((date(0).as_str(), date(20_000).as_str()), ("1970-01-01", "2024-10-04"));
    }
}

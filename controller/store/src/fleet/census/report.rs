//! The report on an app: sums of the census and the funnel, put together.
//!
//! Where devices stand is one statement, so that its parts always add up to the whole.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Fact, Standing};

mod build;

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
}

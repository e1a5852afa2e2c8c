//! Questions about the fleet, asked by people, status, metrics and garbage collection. None is on a device's path.

use std::collections::BTreeMap;

use super::{
    Fleet,
    error::FleetError,
    hot::Key,
    model::First,
    sql,
    types::{DeviceView, LastOffer, Offered, OutcomeCounts, OutcomeView},
};
use sluice_core::{digest::Digest, request::DeviceKey};

impl Fleet {
    /// What is known of a device, as far as it is written: see [`Fleet::flush`].
    pub async fn device(&self, app: &str, device: DeviceKey) -> Result<Option<DeviceView>, FleetError> {
        let Some(app) = self.shared.registry.app(app) else { return Ok(None) };
        let key = Key { app: app.id, device };
        let mut connection = self.shared.readers.acquire().await?;
        let Some(row) = sql::devices(&mut connection, &[key]).await?.remove(&key) else { return Ok(None) };
        let versions =
            app.versions().into_iter().map(|known| (key, known.version.to_string())).collect::<Vec<_>>();
        let outcomes = sql::outcomes(&mut connection, &versions).await?;
        let mut outcomes: Vec<_> = outcomes
            .into_iter()
            .map(|((_, version), row)| OutcomeView {
                version,
                trial_at: row.trial_at,
                success_at: row.success_at,
                launch_failed: row.launch.map(pair),
                install_failed: row.install.map(pair),
                health_failed: row.health.map(pair),
                offered_at: row.steps.offered_at,
                downloaded_at: row.steps.downloaded_at,
                ran_at: row.steps.ran_at,
                rolled_back_at: row.steps.rolled_back_at,
                refused: row.steps.refused.map(pair),
            })
            .collect();
        outcomes.sort_by(|a, b| a.version.cmp(&b.version));
        let offered = row.offered.map(|(version, at)| LastOffer {
            digest: app.version(&version).map(|known| known.digest),
            version,
            at,
        });
        Ok(Some(DeviceView {
            first_seen: row.first_seen,
            last_seen: row.last_seen,
            sessions: row.sessions,
            gaps: row.gaps,
            platform: row.about.platform.to_owned(),
            plugin: row.about.plugin,
            native: row.about.native,
            os: row.about.os,
            running: row.about.running,
            channel: row.about.channel,
            production: row.about.production,
            emulator: row.about.emulator,
            offered,
            outcomes,
            memory: self.shared.remembered.get(&key),
        }))
    }

    /// Devices per outcome, by version, without emulators and development builds.
    pub async fn outcome_counts(&self, app: &str) -> Result<BTreeMap<String, OutcomeCounts>, FleetError> {
        let mut counts = BTreeMap::new();
        let Some(app) = self.shared.registry.app(app) else { return Ok(counts) };
        let outcomes = "SELECT version, COUNT(*), COUNT(trial_at), COUNT(success_at), COUNT(launch_failed_at), \
                        COUNT(install_failed_at), COUNT(health_failed_at) FROM outcomes \
                        WHERE app = $1 AND evidence = 1 AND (trial_at IS NOT NULL OR success_at IS NOT NULL \
                        OR launch_failed_at IS NOT NULL OR install_failed_at IS NOT NULL OR install_attempts > 0 \
                        OR health_failed_at IS NOT NULL) GROUP BY version";
        let of = i64::from(app.id);
        for row in self.shared.readers.fetch(outcomes, |values| _ = values.add(of)).await? {
            let count = |column: usize| row.try_get(column).map(unsigned);
            let of = OutcomeCounts {
                devices: count(1)?,
                trials: count(2)?,
                successes: count(3)?,
                launch_failures: count(4)?,
                install_failures: count(5)?,
                health_failures: count(6)?,
            };
            counts.insert(row.try_get(0)?, of);
        }
        Ok(counts)
    }

    /// When a bundle was last offered to anybody, in seconds since 1970 and exact to a minute.
    pub fn last_offered(&self, digest: &Digest) -> Option<i64> {
        self.offered()
            .into_iter()
            .filter(|offered| offered.digest == *digest)
            .map(|offered| offered.last)
            .max()
    }

    /// Everything that was ever offered.
    pub fn offered(&self) -> Vec<Offered> {
        let mut all = Vec::new();
        for app in self.shared.registry.apps() {
            all.extend(app.versions().into_iter().filter(|known| known.last() > 0).map(|known| Offered {
                app: app.name.to_string(),
                version: known.version.to_string(),
                digest: known.digest,
                first: known.first,
                last: known.last(),
            }));
        }
        all.sort_by(|a, b| (&a.app, &a.version).cmp(&(&b.app, &b.version)));
        all
    }
}

fn pair(first: First) -> (i64, String) {
    (first.at, first.action)
}

fn unsigned(count: i64) -> u64 {
    u64::try_from(count).unwrap_or(0)
}

//! The generations of clients that a fleet consists of. Shares are of a fleet that is updated now and then: most phones
//! have a client of the last year, and some never change.

use sluice_core::{
    channel::Platform,
    client::{Client, Feature, PluginVersion},
};

/// A generation: what it states, and how many phones have it.
#[derive(Debug)]
pub(crate) struct Generation {
    pub(crate) platform: Platform,
    pub(crate) plugin: &'static str,
    pub(crate) os: &'static str,
    weight: u32,
}

const fn generation(platform: Platform, plugin: &'static str, os: &'static str, weight: u32) -> Generation {
    Generation { platform, plugin, os, weight }
}

pub(crate) const GENERATIONS: [Generation; 12] = [
    generation(Platform::Android, "8.51.23", "15", 22),
    generation(Platform::Android, "8.46.0", "14", 14),
    generation(Platform::Android, "8.40.8", "13", 8),
    generation(Platform::Android, "7.29.0", "12", 6),
    generation(Platform::Android, "6.14.20", "11", 3),
    generation(Platform::Android, "5.9.5", "9", 1),
    generation(Platform::Ios, "8.51.23", "18.1", 20),
    generation(Platform::Ios, "8.46.0", "17.6", 13),
    generation(Platform::Ios, "8.40.8", "16.7", 7),
    generation(Platform::Ios, "7.29.0", "15.8", 4),
    generation(Platform::Ios, "6.14.20", "15.2", 1),
    generation(Platform::Ios, "5.9.5", "14.8", 1),
];

impl Generation {
    pub(crate) fn client(&self) -> Client {
        Client::new(self.platform, PluginVersion::parse(self.plugin))
    }

    /// Whether events wait for an answer and are sent again (`device-protocol` section 0.2: from 8.51.5).
    pub(crate) fn repeats(&self) -> bool {
        self.client().has(Feature::RetryAfter)
    }

    /// Whether it reports crashes (from 8.46.0).
    pub(crate) fn reports_crashes(&self) -> bool {
        PluginVersion::parse(self.plugin) >= PluginVersion::new(8, 46, 0)
    }
}

/// The generation that a number between 0 and 1 draws.
pub(crate) fn draw(at: f64) -> usize {
    let all: u32 = GENERATIONS.iter().map(|generation| generation.weight).sum();
    let mut left = at * f64::from(all);
    for (index, generation) in GENERATIONS.iter().enumerate() {
        left -= f64::from(generation.weight);
        if left < 0.0 {
            return index;
        }
    }
    GENERATIONS.len() - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_generation_is_drawn() {
        let drawn: std::collections::BTreeSet<usize> =
            (0..1_000).map(|n| draw(f64::from(n) / 1_000.0)).collect();
        assert_eq!(drawn.len(), GENERATIONS.len());
        assert_eq!((draw(0.0), draw(1.0)), (0, GENERATIONS.len() - 1));
    }
}

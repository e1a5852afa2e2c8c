//! What most tools do: the share of failures among the attempts of the last hour, stopped when the lower end of its
//! Wilson interval (Wilson 1927) is above a limit. Each look is one more chance to be wrong, and failures are seen before
//! successes.

use super::world::{Chance, DAY};

/// Looks of the window.
const WINDOW: usize = 12;

/// The limit that a share of failures may not pass.
const LIMIT: f64 = 0.05;

/// The quantile for 95 % on two sides.
const Z: f64 = 1.959_963_984_540_054;

/// Runs a day with `canary` treatment devices between two looks, and says how many had enrolled when it stopped.
pub fn stop(mut chance: Chance, canary: u32, rate: f64, least: u32) -> Option<u32> {
    let mut seen = vec![(0_u32, 0_u32); DAY as usize + 80];
    for look in 0..DAY as usize {
        for _ in 0..20 * canary {
            if !chance.below(0.05) {
                continue;
            }
            if chance.below(rate) {
                seen[look].0 += 1;
            } else {
                seen[look + chance.hours()].1 += 1;
            }
        }
        let window = &seen[(look + 1).saturating_sub(WINDOW)..=look];
        let (failed, well) = window.iter().fold((0, 0), |(f, w), (a, b)| (f + a, w + b));
        let attempts = failed + well;
        if attempts >= least.max(1) && lower(f64::from(failed), f64::from(attempts)) > LIMIT {
            return Some(u32::try_from(look).unwrap_or(u32::MAX).saturating_add(1).saturating_mul(canary));
        }
    }
    None
}

fn lower(failed: f64, n: f64) -> f64 {
    let p = failed / n;
    let spread = Z * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
    (p + Z * Z / (2.0 * n) - spread) / (1.0 + Z * Z / n)
}

//! When a phone is opened next: at random, seldom or often, in the evening more than at night, in its own time zone.

use rand::{Rng, rngs::SmallRng};

/// How busy each hour of the local day is, beside the busiest.
const HOURS: [f64; 24] = [
    0.25, 0.15, 0.10, 0.08, 0.08, 0.12, 0.30, 0.55, 0.70, 0.65, 0.60, 0.65, 0.75, 0.70, 0.60, 0.60, 0.65,
    0.75, 0.90, 1.00, 1.00, 0.95, 0.75, 0.45,
];
/// Sessions a day of a phone, each for a quarter of the fleet, in the busiest hour's measure.
const OFTEN: [f64; 4] = [1.5, 5.0, 12.0, 30.0];
/// Hour of the day in UTC at which a simulation begins.
const BEGIN: f64 = 8.0;

/// Habits of a phone.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Habits {
    /// Sessions a day in the busiest hour's measure.
    often: f64,
    /// Hours ahead of UTC.
    zone: i8,
}

impl Habits {
    pub(crate) fn draw(random: &mut SmallRng) -> Self {
        Self { often: OFTEN[random.random_range(0..OFTEN.len())], zone: random.random_range(-8..=9) }
    }

    /// Simulated seconds from `now` until the phone is opened next, by thinning.
    pub(crate) fn gap(self, now: f64, random: &mut SmallRng) -> f64 {
        let mut at = now;
        loop {
            let unit: f64 = random.random_range(f64::EPSILON..1.0);
            at += -unit.ln() * 86_400.0 / self.often;
            if random.random::<f64>() < HOURS[self.hour(at)] {
                return at - now;
            }
        }
    }

    fn hour(self, at: f64) -> usize {
        let hour = (BEGIN + at / 3_600.0 + f64::from(self.zone)).rem_euclid(24.0);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 23")]
        let hour = hour as usize;
        hour.min(HOURS.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;

    use super::*;

    #[test]
    fn nights_are_quiet() {
        let mut random = SmallRng::seed_from_u64(1);
        let habits = Habits { often: 30.0, zone: 0 };
        let (mut now, mut hours) = (0.0, [0_u32; 24]);
        for _ in 0..20_000 {
            now += habits.gap(now, &mut random);
            hours[habits.hour(now)] += 1;
        }
        assert!(hours[3] * 5 < hours[20], "{hours:?}");
    }
}

//! The steps of a rollout as shares of its devices.

use crate::{
    channel::{Audience, Rollout, Size, Strategy},
    cohort::{ALL, Ppm},
};

/// Fewer devices than this are reached at once by `Auto`: there is nobody to compare the first ones with.
const SMALL: u64 = 200;
/// Devices of the steps of `Auto`, each with the seconds that it soaks. A step of a quarter of the fleet follows.
const AUTO: [(u64, u64); 3] = [(20, 30 * 60), (200, 2 * 3_600), (2_000, 6 * 3_600)];
/// The last step of `Auto`.
const QUARTER: (Ppm, u64) = (ALL / 4, 12 * 3_600);
/// Devices of the first level of the ramp.
const OPENING: u64 = 50;
/// Outcomes after which the ramp doubles.
const DOUBLES_AFTER: u64 = 10;

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// Its number in the channel, from 1: what approvals name.
    pub number: u32,
    /// The share of its audience that it reaches.
    pub weight: Ppm,
    /// Seconds that it lasts at least.
    pub soak: u64,
    /// Whether a person must approve what follows it.
    pub approval: bool,
    /// Whom it is limited to.
    pub audience: Option<Audience>,
}

/// The steps before everybody, of a fleet in which so many devices are active. None: everybody at once.
///
/// Weights of steps for everybody never fall. A step that reaches everybody, because the fleet has no more devices than
/// it says, is not one: reaching everybody is what follows the last step.
pub fn plan(rollout: &Rollout, active: u64) -> Vec<Planned> {
    match rollout.strategy {
        Strategy::Immediate => Vec::new(),
        Strategy::Auto if active < SMALL => Vec::new(),
        Strategy::Auto => {
            let shares = AUTO.map(|(devices, soak)| (share(devices, active), soak));
            let below = shares.into_iter().filter(|(weight, _)| *weight < QUARTER.0).chain([QUARTER]);
            let step =
                |(number, (weight, soak))| Planned { number, weight, soak, approval: false, audience: None };
            (1..).zip(below).map(step).collect()
        }
        Strategy::Steps => {
            let mut last = 0;
            let mut planned = Vec::new();
            for (number, step) in (1..).zip(&rollout.steps) {
                let mut weight = match step.size {
                    Size::Share(weight) => weight.min(ALL),
                    Size::Devices(devices) => share(devices, active),
                };
                if step.audience.is_none() {
                    weight = weight.max(last);
                    last = weight;
                    if weight == ALL {
                        break;
                    }
                }
                let (soak, approval, audience) = (step.soak, step.approval, step.audience.clone());
                planned.push(Planned { number, weight, soak, approval, audience });
            }
            planned
        }
    }
}

/// The share that so many devices are, not less.
fn share(devices: u64, active: u64) -> Ppm {
    let parts = u128::from(devices) * u128::from(ALL);
    let parts = parts
        .checked_div(u128::from(active))
        .map_or(u128::from(ALL), |whole| whole + u128::from(!parts.is_multiple_of(u128::from(active))));
    Ppm::try_from(parts).unwrap_or(ALL).min(ALL)
}

/// The weight that a first step has on its way to `target`, once so many devices on the candidate have shown an outcome:
/// before there can be evidence, few devices are exposed (`evidence-gate` section 5).
pub fn opening(target: Ppm, active: u64, shown: u64) -> Ppm {
    let doublings = u32::try_from(shown / DOUBLES_AFTER).unwrap_or(u32::MAX).min(Ppm::BITS);
    let weight = u64::from(share(OPENING, active)) << doublings;
    Ppm::try_from(weight).unwrap_or(ALL).min(target)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::Step;

    fn weights(rollout: &Rollout, active: u64) -> Vec<Ppm> {
        plan(rollout, active).iter().map(|step| step.weight).collect()
    }

    #[test]
    fn auto_follows_the_size_of_the_fleet() {
        let auto = Rollout::default();
        for (active, expected) in [
            (0, vec![]),
            (199, vec![]),
            (200, vec![100_000, 250_000]),
            (1_000, vec![20_000, 200_000, 250_000]),
            (10_000, vec![2_000, 20_000, 200_000, 250_000]),
            (10_000_000, vec![2, 20, 200, 250_000]),
        ] {
            assert_eq!(weights(&auto, active), expected, "{active}");
        }
        assert_eq!(weights(&Rollout { strategy: Strategy::Immediate, ..auto }, 10_000), Vec::<Ppm>::new());
    }

    #[test]
    fn steps_by_devices_are_shares_of_the_fleet() {
        let step = |size| Step { size, soak: 0, approval: false, audience: None };
        let of = |sizes: &[Size]| Rollout {
            strategy: Strategy::Steps,
            steps: sizes.iter().copied().map(step).collect(),
            ..Rollout::default()
        };
        let mixed = of(&[Size::Devices(30), Size::Share(100_000), Size::Devices(5_000)]);
        assert_eq!(weights(&mixed, 70_000), [429, 100_000, 100_000], "never lower than the step before");
        assert_eq!(weights(&mixed, 4_000), [7_500, 100_000], "the third is everybody");
        assert_eq!(weights(&mixed, 3), Vec::<Ppm>::new());
        assert_eq!(weights(&mixed, 0), Vec::<Ppm>::new());
        let mut staff = of(&[Size::Share(ALL), Size::Share(10_000)]);
        staff.steps[0].audience = Some(Audience::default());
        assert_eq!(weights(&staff, 100), [ALL, 10_000], "everybody of an audience is a step");
    }

    #[test]
    fn the_ramp_doubles_with_outcomes() {
        let at = |shown| opening(50_000, 100_000, shown);
        assert_eq!([0, 9, 10, 29, 70].map(at), [500, 500, 1_000, 2_000, 50_000]);
        assert_eq!(at(u64::MAX), 50_000);
        assert_eq!(opening(50_000, 40, 0), 50_000, "a small fleet has no ramp");
        assert_eq!(opening(50_000, 0, 0), 50_000);
        assert_eq!(opening(ALL, u64::MAX, 0), 1);
    }
}

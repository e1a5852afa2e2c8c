//! How many treatment devices a proof takes, for people who plan a rollout or wait for one.

use serde::{Deserialize, Serialize};

use super::{
    inversion::{PROOF, nearest},
    numeric::ln_beta,
};

/// Treatment devices past the horizon that a candidate needs which fails as often as the control.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Needed {
    /// Half of such rollouts need no more.
    pub expected: u32,
    /// Nine of ten need no more.
    pub at_most: u32,
}

/// What nine of ten rollouts need, in terms of what half of them do: 2.1 to 2.8 times as much in the simulations of the
/// evidence gate (failure rates 0.5 to 10 %, margins 2 and 5 points), and close to 2.2 where it is most. A tenth is added
/// because [`needed`] falls short of half of them where failures are frequent: 2,953 for 3,200 to 3,700 at 10 % and 2
/// points, of which nine of ten need no more than 7,000.
const NINE_OF_TEN: f64 = 2.45;

/// Devices that are needed to prove that treatment fails less than `margin` more often than control, when both fail at
/// `rate` and there are `control` control devices for each treatment device; at least `least`.
///
/// A treatment device and its controls are worth, on average, the divergence of the true pair (p, p) from the nearest
/// pair (θ + d, θ) of the hypothesis: `g = KL(p ‖ θ + d) + r KL(p ‖ θ)`, least over θ (the growth rate of Grünwald, de
/// Heide and Koolen, "Safe testing", JRSS-B 2024, for the test of [`super::inversion`]). What it costs to learn p is the
/// regret of predicting n devices under the prior. So n solves `n g = ln 20 + regret(n) / 2`: half of it, because most of
/// it falls due after few devices, and because the median run sees fewer failures than the mean. Against 1,000 simulated
/// rollouts per cell that is 0.9 to 1.5 times the median, the more too large the rarer failures are.
pub fn needed(rate: f64, margin: f64, control: f64, least: u32) -> Needed {
    let rate = if rate.is_finite() { rate.clamp(0.000_1, 0.98) } else { 0.01 };
    let margin = if margin.is_finite() { margin.clamp(0.001, 0.99 - rate.min(0.97)) } else { 0.05 };
    let control = if control.is_finite() { control.max(0.0) } else { 1.0 };
    let worth = worth(rate, margin, control).max(1e-9);
    let mut devices = PROOF.ln() / worth;
    // The regret grows with the logarithm of n, so this converges within a few rounds.
    for _ in 0..20 {
        let before = devices;
        devices = 0.5_f64.mul_add(regret(devices, rate).max(0.0), PROOF.ln()) / worth;
        if (devices - before).abs() < 0.5 {
            break;
        }
    }
    Needed { expected: whole(devices).max(least), at_most: whole(NINE_OF_TEN * devices).max(least) }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to what the type holds")]
fn whole(x: f64) -> u32 {
    x.ceil().clamp(0.0, f64::from(u32::MAX)) as u32
}

fn divergence(p: f64, q: f64) -> f64 {
    p * (p / q).ln() + (1.0 - p) * ((1.0 - p) / (1.0 - q)).ln()
}

/// Evidence per treatment device and its controls.
fn worth(rate: f64, margin: f64, control: f64) -> f64 {
    let theta = nearest(rate, rate, 1.0, control, margin).clamp(1e-9, 1.0 - margin - 1e-9);
    divergence(rate, theta + margin) + control * divergence(rate, theta)
}

/// What predicting `n` devices that fail at `rate` loses against knowing the rate, with the prior Beta(0.18, 18).
fn regret(n: f64, rate: f64) -> f64 {
    let failed = n * rate;
    let known = failed * rate.ln() + (n - failed) * (1.0 - rate).ln();
    known - (ln_beta(0.18 + failed, 18.0 + n - failed) - ln_beta(0.18, 18.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_near_what_simulated_rollouts_needed() {
        // Medians of 1,000 rollouts of a candidate that equals the control, 19 control devices for each.
        for (rate, margin, median) in [
            (0.005, 0.05, 61.0),
            (0.005, 0.02, 266.0),
            (0.02, 0.05, 111.0),
            (0.02, 0.02, 609.0),
            (0.1, 0.05, 498.0),
            (0.1, 0.02, 3_218.0),
        ] {
            let ratio = f64::from(needed(rate, margin, 19.0, 50).expected) / median;
            assert!((0.8..1.6).contains(&ratio), "{rate} {margin}: {ratio}");
        }
    }

    #[test]
    fn nine_of_ten_simulated_rollouts_needed_no_more() {
        // 90th percentiles; of two simulations the larger one.
        for (rate, margin, most) in [
            (0.005, 0.05, 168),
            (0.005, 0.02, 588),
            (0.02, 0.05, 307),
            (0.02, 0.02, 1_418),
            (0.1, 0.05, 1_199),
            (0.1, 0.02, 6_981),
        ] {
            let needed = needed(rate, margin, 19.0, 50);
            assert!(needed.at_most >= most, "{rate} {margin}: {needed:?}");
        }
    }

    #[test]
    fn a_wider_margin_and_fewer_failures_need_less() {
        let of = |rate, margin| needed(rate, margin, 1.0, 0).expected;
        assert!(of(0.02, 0.05) < of(0.02, 0.02));
        assert!(of(0.01, 0.02) < of(0.05, 0.02));
        assert_eq!(needed(0.0, 0.7, 1.0, 50), Needed { expected: 50, at_most: 50 });
    }

    #[test]
    fn no_number_is_too_odd() {
        for x in [f64::NAN, f64::INFINITY, -1.0, 0.0, 1.0, 1e300] {
            let odd = needed(x, x, x, 3);
            assert!(odd.expected >= 3 && odd.at_most >= odd.expected);
        }
    }
}

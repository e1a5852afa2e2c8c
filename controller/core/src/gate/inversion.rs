//! What lets a rollout advance: a test of non-inferiority at every margin at once.
//!
//! Turner and Grünwald, "Exact anytime-valid confidence intervals for contingency tables and beyond" (Statistics &
//! Probability Letters 2023, arXiv 2203.09785), sections 2 and 3: for "treatment fails at least `d` more often than
//! control" the factor of a block is the likelihood of what was predicted from earlier blocks, over that of the nearest
//! pair (θ + d, θ) on the border of the hypothesis, which is the reverse information projection. The prior of the
//! predictions is theirs too (Beta(0.18, 18) is the 0.18 of Turner, Ly and Grünwald, arXiv 2106.02693, with the mean at
//! 1 %, because most bundles hardly fail).

use super::numeric::exp;

/// Evidence at which a hypothesis counts as refuted: advancing is wrong in at most one of 20 rollouts that are worse by
/// exactly the margin.
pub const PROOF: f64 = 20.0;

/// Margins that are tested.
pub const MARGINS: usize = 40;

/// Prior of a failure rate.
const PRIOR: (f64, f64) = (0.18, 18.0);

/// Halvings of the interval that θ is sought in; at 2⁻⁴⁰ the factor is off by less than rounding.
const HALVINGS: u32 = 40;

/// Margin number `i`: every half point up to 10, every point up to 20, every five points up to 70.
pub fn margin(i: usize) -> f64 {
    let points = match i {
        0..20 => 5 * (i + 1),
        20..30 => 100 + 10 * (i - 19),
        _ => 200 + 50 * (i - 29),
    };
    points as f64 / 1_000.0
}

/// What became of consecutive enrolments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Block {
    /// Treatment devices.
    pub treatment: u32,
    /// Those of them that failed.
    pub treatment_failed: u32,
    /// Control devices.
    pub control: u32,
    /// Those of them that failed.
    pub control_failed: u32,
}

/// The running products of all margins, and what later blocks are predicted from.
#[derive(Debug, Clone, PartialEq)]
pub struct Inversion {
    ln: [f64; MARGINS],
    seen: [(u64, u64); 2],
}

impl Default for Inversion {
    fn default() -> Self {
        Self { ln: [0.0; MARGINS], seen: [(0, 0); 2] }
    }
}

impl Inversion {
    /// Folds in one block.
    pub fn fold(&mut self, block: Block) {
        let [n1, k1, n0, k0] =
            [block.treatment, block.treatment_failed, block.control, block.control_failed].map(f64::from);
        let [t1, t0] = self.predicted();
        let foreseen = likelihood(t1, n1, k1) + likelihood(t0, n0, k0);
        for (i, ln) in self.ln.iter_mut().enumerate() {
            let d = margin(i);
            if t1 - t0 < d {
                let theta = nearest(t1, t0, n1, n0, d);
                *ln += foreseen - likelihood(theta + d, n1, k1) - likelihood(theta, n0, k0);
            }
        }
        self.seen[0].0 += u64::from(block.treatment);
        self.seen[0].1 += u64::from(block.treatment_failed);
        self.seen[1].0 += u64::from(block.control);
        self.seen[1].1 += u64::from(block.control_failed);
    }

    /// Failure rates of treatment and control that the next block is predicted to have.
    fn predicted(&self) -> [f64; 2] {
        self.seen.map(|(n, k)| (k as f64 + PRIOR.0) / (n as f64 + PRIOR.0 + PRIOR.1))
    }

    /// Treatment and control devices in the blocks so far.
    pub fn devices(&self) -> [u64; 2] {
        self.seen.map(|(devices, _)| devices)
    }

    /// Failure rate of the control arm as predicted for the next block.
    pub fn control_rate(&self) -> f64 {
        self.predicted()[1]
    }

    /// Evidence against "treatment fails at least `limit` more often". Between two margins it is that of the smaller one,
    /// whose hypothesis includes the other; below the smallest there is none.
    pub fn against(&self, limit: f64) -> f64 {
        let i = (0..MARGINS).rev().find(|i| margin(*i) <= limit + 1e-9);
        i.map_or(1.0, |i| exp(self.ln[i]))
    }

    /// The smallest margin from which on every larger one is refuted: with 95 % confidence, valid at every look,
    /// treatment fails less than that more often than control. `None` when not even the largest is.
    pub fn bound(&self) -> Option<f64> {
        let refuted = self.ln.iter().rev().take_while(|ln| **ln >= PROOF.ln()).count();
        (refuted > 0).then(|| margin(MARGINS - refuted))
    }
}

/// `ln` of the likelihood of `k` failures of `n`; nothing is seen of no device, whatever the rate.
fn likelihood(rate: f64, n: f64, k: f64) -> f64 {
    let term = |count: f64, p: f64| if count > 0.0 { count * p.ln() } else { 0.0 };
    term(k, rate) + term(n - k, 1.0 - rate)
}

/// θ in (0, 1 − d) where the divergence of the predicted pair from (θ + d, θ) is least: the root of
/// `n1 (t1 − θ − d) / ((θ + d)(1 − θ − d)) + n0 (t0 − θ) / (θ (1 − θ))`, which falls, multiplied out so that the ends are
/// numbers too.
pub(super) fn nearest(t1: f64, t0: f64, n1: f64, n0: f64, d: f64) -> f64 {
    let (mut low, mut high) = (0.0, 1.0 - d);
    for _ in 0..HALVINGS {
        let theta = 0.5 * (low + high);
        let upper = theta + d;
        let slope = n1 * (t1 - upper) * (theta * (1.0 - theta)) + n0 * (t0 - theta) * (upper * (1.0 - upper));
        if slope > 0.0 { low = theta } else { high = theta }
    }
    0.5 * (low + high)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn block(treatment: u32, treatment_failed: u32, control: u32, control_failed: u32) -> Block {
        Block { treatment, treatment_failed, control, control_failed }
    }

    #[test]
    fn margins_ascend_and_have_those_of_the_policy() {
        assert!((1..MARGINS).all(|i| margin(i) > margin(i - 1)));
        for wanted in [0.02, 0.05, 0.7] {
            assert!((0..MARGINS).any(|i| (margin(i) - wanted).abs() < 1e-12));
        }
    }

    #[test]
    fn a_worked_example() {
        // Computed in Python from the formula with divisions and 200 halvings, `math.log` of the product:
        //   for n1, k1, n0, k0 in [(2,0,38,1), (3,1,37,0), (0,0,40,2), (5,0,35,1)]:
        //       t = (K + .18) / (N + 18.18) for either arm; if t1 - t0 < d: theta by bisection; E *= …
        let mut test = Inversion::default();
        for b in [block(2, 0, 38, 1), block(3, 1, 37, 0), block(0, 0, 40, 2), block(5, 0, 35, 1)] {
            test.fold(b);
        }
        for (d, expected) in [
            (0.02, -1.416_241_483_642_253_7),
            (0.05, -1.725_741_443_780_567_6),
            (0.1, -1.767_269_842_456_787_6),
        ] {
            let i = (0..MARGINS).find(|i| (margin(*i) - d).abs() < 1e-12).unwrap();
            assert!((test.ln[i] - expected).abs() < 1e-8, "{d}: {}", test.ln[i]);
        }
        assert_eq!((test.devices(), test.bound()), ([10, 150], Some(0.55)));
        assert!((nearest(0.0099, 0.0099, 2.0, 38.0, 0.05) - 0.009_462_808_457_662_859).abs() < 1e-10);
    }

    #[test]
    fn devices_that_never_fail_prove_ever_smaller_margins() {
        let mut test = Inversion::default();
        let mut bounds = Vec::new();
        for _ in 0..200 {
            test.fold(block(10, 0, 30, 0));
            bounds.push(test.bound().unwrap_or(1.0));
        }
        assert!(bounds.windows(2).all(|pair| pair[1] <= pair[0]));
        assert!(bounds[199] <= 0.01, "{}", bounds[199]);
        assert!(test.against(0.05) > PROOF && test.against(0.001) <= 1.0);
    }

    proptest! {
        /// On the border of the hypothesis a block is worth at most 1 on average: what makes the test valid. Summed over
        /// everything that can happen, exactly.
        #[test]
        fn a_block_on_the_border_is_worth_nothing_on_average(
            seen in prop::collection::vec((0_u32..6, 0_u32..6), 0..4),
            n1 in 0_u32..6, n0 in 0_u32..6, i in 0..MARGINS, place in 0.001_f64..0.999,
        ) {
            let mut before = Inversion::default();
            for (a, b) in seen {
                before.fold(block(6, a, 6, b));
            }
            let d = margin(i);
            let theta = place * (1.0 - d);
            let mut mean = 0.0;
            for k1 in 0..=n1 {
                for k0 in 0..=n0 {
                    let mut after = before.clone();
                    after.fold(block(n1, k1, n0, k0));
                    let chance = choose(n1, k1) * choose(n0, k0)
                        * (likelihood(theta + d, f64::from(n1), f64::from(k1))
                            + likelihood(theta, f64::from(n0), f64::from(k0))).exp();
                    mean += chance * (after.ln[i] - before.ln[i]).exp();
                }
            }
            prop_assert!(mean < 1.0 + 1e-6, "{mean}");
        }
    }

    fn choose(n: u32, k: u32) -> f64 {
        (0..k).map(|i| f64::from(n - i) / f64::from(i + 1)).product()
    }
}

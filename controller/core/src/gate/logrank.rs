//! The abort test: an anytime-valid stratified logrank test.
//!
//! ter Schure, Pérez-Ortiz, Ly and Grünwald, "The anytime-valid logrank test" (The New England Journal of Statistics in
//! Data Science 2024, arXiv 2011.06931): at each failure the likelihood of "the failing device is a treatment one" with
//! hazard ratio ψ, over that with ratio 1, given who was still at risk (their equation for the exact process). Under
//! "treatment fails no more than control" the product is a test martingale for every ψ ≥ 1, so is the mean over a grid,
//! and by Ville's inequality it ever reaches 1/alpha with probability at most alpha: looking more often costs nothing.

use super::numeric::ln_mean_exp;
use crate::trial::Arm;

/// Hazard ratios that the test bets on, equally.
pub const RATIOS: [f64; 7] = [1.5, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0];

/// The running product of one metric, over all strata.
#[derive(Debug, Clone, PartialEq)]
pub struct Logrank {
    /// `ln E_ψ` for each of [`RATIOS`].
    ln: [f64; RATIOS.len()],
    /// The largest `ln E` there ever was: the test may stop at any look, so that is what it found.
    peak: f64,
}

impl Default for Logrank {
    fn default() -> Self {
        Self { ln: [0.0; RATIOS.len()], peak: 0.0 }
    }
}

impl Logrank {
    /// A device failed while `treatment` and `control` devices of its stratum, it among them, were at risk. Says nothing
    /// when one side is empty.
    pub fn fail(&mut self, arm: Arm, treatment: u32, control: u32) {
        if treatment == 0 || control == 0 {
            return;
        }
        let share = f64::from(treatment) / f64::from(treatment + control);
        for (ln, ratio) in self.ln.iter_mut().zip(RATIOS) {
            // q/π = ψ / (ψπ + 1 − π), and (1 − q)/(1 − π) = 1 / (ψπ + 1 − π).
            *ln -= (ratio - 1.0).mul_add(share, 1.0).ln();
            if arm == Arm::Treatment {
                *ln += ratio.ln();
            }
        }
        self.peak = self.peak.max(self.ln());
    }

    /// `ln E` now.
    pub fn ln(&self) -> f64 {
        ln_mean_exp(&self.ln)
    }

    /// The largest `ln E` so far.
    pub const fn peak(&self) -> f64 {
        self.peak
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_worked_example() {
        // One stratum of 40 with 2 treatment devices: both fail, then one control device, then nobody is left to compare.
        //   def e(psi): # Python, as the page writes it
        //       E = 1
        //       for y1, y0, t in [(2, 38, 1), (1, 38, 1), (0, 38, 0)]:
        //           if y1 and y0:
        //               pi, q = y1/(y1+y0), psi*y1/(psi*y1+y0)
        //               E *= q/pi if t else (1-q)/(1-pi)
        //       return E
        //   math.log(sum(map(e, R)) / 7)
        let mut test = Logrank::default();
        test.fail(Arm::Treatment, 2, 38);
        test.fail(Arm::Treatment, 1, 38);
        test.fail(Arm::Control, 0, 38);
        assert!((test.ln() - TWO).abs() < 1e-12, "{}", test.ln());
        // A control device of another stratum of 3 and 37.
        test.fail(Arm::Control, 3, 37);
        assert!((test.ln() - THREE).abs() < 1e-12, "{}", test.ln());
        assert!((test.peak() - TWO).abs() < 1e-12);
    }

    const TWO: f64 = 4.694_950_487_343_694;
    const THREE: f64 = 3.471_832_353_959_587_4;

    proptest! {
        /// Failures of treatment devices speak the more for a ratio the larger it is, those of control devices against it.
        #[test]
        fn evidence_is_monotone_in_the_ratio(treatment in 1_u32..40, control in 1_u32..40) {
            for (arm, sign) in [(Arm::Treatment, 1.0), (Arm::Control, -1.0)] {
                let mut test = Logrank::default();
                test.fail(arm, treatment, control);
                prop_assert!(test.ln.windows(2).all(|pair| sign * (pair[1] - pair[0]) > 0.0));
                prop_assert!(test.ln.iter().all(|ln| sign * ln > 0.0));
            }
        }

        /// Whoever fails by the toss that the hypothesis says leaves every E as it is on average.
        #[test]
        fn a_fair_failure_is_worth_nothing_on_average(treatment in 1_u32..40, control in 1_u32..40) {
            let (mut t, mut c) = (Logrank::default(), Logrank::default());
            t.fail(Arm::Treatment, treatment, control);
            c.fail(Arm::Control, treatment, control);
            let share = f64::from(treatment) / f64::from(treatment + control);
            let mean = share * t.ln().exp() + (1.0 - share) * c.ln().exp();
            prop_assert!((mean - 1.0).abs() < 1e-9);
        }
    }
}

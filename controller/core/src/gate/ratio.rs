//! Whether the arms are as large as they must be. If they are not, enrolment or reports are broken, and a comparison of
//! the arms says nothing.

use super::numeric::ln_beta;

/// Weight of the prior: as if that many devices had been seen with the expected share.
const WEIGHT: f64 = 100.0;

/// Evidence at which the rollout holds.
pub const MISMATCH: f64 = 1_000.0;

/// `ln` of the Bayes factor of "any share" against the expected one, for `treatment` and `control` devices: a
/// beta-binomial with mean `expected` (Lindon and Malek, "Anytime-valid inference for multinomial count data", `NeurIPS`
/// 2022, equation for the Bayes factor with a Dirichlet prior, two categories). A test martingale, so valid at every look.
/// 0 when the expected share leaves one arm empty.
pub fn ln_factor(treatment: u32, control: u32, expected: f64) -> f64 {
    if !(expected > 0.0 && expected < 1.0) {
        return 0.0;
    }
    let (n1, n0) = (f64::from(treatment), f64::from(control));
    let (a, b) = (WEIGHT * expected, WEIGHT * (1.0 - expected));
    ln_beta(a + n1, b + n0) - ln_beta(a, b) - n1 * expected.ln() - n0 * (1.0 - expected).ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn worked_examples() {
        // lb = lambda a, b: lgamma(a) + lgamma(b) - lgamma(a+b)                    # Python
        // lb(100*p+n1, 100*(1-p)+n0) - lb(100*p, 100*(1-p)) - n1*log(p) - n0*log(1-p)
        for (treatment, control, expected, factor) in [
            (50, 950, 0.05, -1.214_117_064_714_351),
            (120, 880, 0.05, 33.430_460_204_333_095),
            (0, 500, 0.05, 16.560_099_046_082_396),
            (500_000, 9_500_000, 0.05, -5.773_156_130_744_61),
        ] {
            let ln = ln_factor(treatment, control, expected);
            assert!((ln - factor).abs() < 1e-6, "{treatment}/{control}: {ln}");
        }
    }

    #[test]
    fn a_share_that_leaves_an_arm_empty_is_not_tested() {
        for expected in [0.0, 1.0, f64::NAN] {
            assert!(ln_factor(10, 10, expected).abs() < f64::EPSILON);
        }
    }

    #[test]
    fn the_next_device_is_worth_nothing_on_average() {
        let mean = |n1: u32, n0: u32, p: f64| {
            let now = ln_factor(n1, n0, p);
            p * (ln_factor(n1 + 1, n0, p) - now).exp() + (1.0 - p) * (ln_factor(n1, n0 + 1, p) - now).exp()
        };
        for (n1, n0, p) in [(0, 0, 0.05), (3, 50, 0.05), (70, 30, 0.5)] {
            assert!((mean(n1, n0, p) - 1.0).abs() < 1e-9);
        }
    }
}

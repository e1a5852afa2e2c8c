//! Arithmetic on a logarithmic scale: products of many factors neither overflow nor vanish.

/// Coefficients of Lanczos' approximation for g = 7 (Godfrey 2001), good to about 15 digits.
const LANCZOS: [f64; 9] = [
    0.999_999_999_999_809_9,
    676.520_368_121_885_1,
    -1_259.139_216_722_402_8,
    771.323_428_777_653_1,
    -176.615_029_162_140_6,
    12.507_343_278_686_905,
    -0.138_571_095_265_720_12,
    9.984_369_578_019_572e-6,
    1.505_632_735_149_311_6e-7,
];

/// `ln Γ(x)` for `x > 0`.
pub(super) fn ln_gamma(x: f64) -> f64 {
    let x = x - 1.0;
    let sum = (1_u32..).zip(&LANCZOS[1..]).fold(LANCZOS[0], |sum, (i, c)| sum + c / (x + f64::from(i)));
    let t = x + 7.5;
    0.5 * std::f64::consts::TAU.ln() + (x + 0.5) * t.ln() - t + sum.ln()
}

/// `ln B(a, b)`.
pub(super) fn ln_beta(a: f64, b: f64) -> f64 {
    ln_gamma(a) + ln_gamma(b) - ln_gamma(a + b)
}

/// `ln` of the mean of `exp(x)`; 0, which is no evidence, for none.
pub(super) fn ln_mean_exp(values: &[f64]) -> f64 {
    let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if values.is_empty() || !most.is_finite() {
        return if values.is_empty() { 0.0 } else { most };
    }
    most + (values.iter().map(|v| (v - most).exp()).sum::<f64>() / values.len() as f64).ln()
}

/// A number from its logarithm, at most the largest that JSON can carry.
pub(super) fn exp(ln: f64) -> f64 {
    ln.exp().min(f64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_logarithm_of_the_gamma_function_is_that_of_c() {
        // `math.lgamma` of Python 3.11, which is the one of the C library.
        for (x, expected) in [
            (0.18, 1.635_460_604_085_722_5),
            (0.5, 0.572_364_942_924_700_1),
            (5.0, 3.178_053_830_347_945_8),
            (118.25, 444.666_964_226_217_7),
            (1e7, 151_180_949.369_473_9),
        ] {
            assert!((ln_gamma(x) - expected).abs() < 1e-11 * expected.abs().max(1.0), "{x}: {}", ln_gamma(x));
        }
    }

    #[test]
    fn a_mean_of_huge_and_tiny_numbers_is_finite() {
        assert!((ln_mean_exp(&[1_000.0, -1_000.0]) - (1_000.0 - 2_f64.ln())).abs() < 1e-9);
        assert!(ln_mean_exp(&[]).abs() < f64::EPSILON);
        assert!(exp(1e9).is_finite());
    }
}

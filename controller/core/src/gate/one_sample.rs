//! Tests of what only treatment devices can do: start the candidate, and install it.
//!
//! The hypothesis is that a device fails with probability at most `limit`. For each of a grid of worse rates the
//! likelihood ratio is a test supermartingale (Wald's sequential ratio; the mean of several is one too), so by Ville's
//! inequality it ever reaches 1/alpha with probability at most alpha. It depends on two counts only. A device that fails
//! after it first did well is moved over: what its success was worth is at most what is to be expected of its end, so
//! the product stays below a martingale.

use super::numeric::ln_mean_exp;

/// Multiples of the limit that the test bets on, equally, as far as they are probabilities.
const MULTIPLES: [f64; 7] = [1.5, 2.0, 3.0, 5.0, 8.0, 12.0, 18.0];

/// No alternative is surer than that.
const SUREST: f64 = 0.99;

/// The counts of one metric and the rate that they are held against.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OneSample {
    limit: f64,
    failed: u32,
    succeeded: u32,
}

impl OneSample {
    /// Nothing seen yet; `limit` is the failure rate that is not held against a bundle.
    pub const fn new(limit: f64) -> Self {
        Self { limit, failed: 0, succeeded: 0 }
    }

    /// What is known of one device changed; `Some(true)` is a failure.
    pub fn change(&mut self, before: Option<bool>, after: Option<bool>) {
        match before {
            Some(true) => self.failed = self.failed.saturating_sub(1),
            Some(false) => self.succeeded = self.succeeded.saturating_sub(1),
            None => {}
        }
        match after {
            Some(true) => self.failed = self.failed.saturating_add(1),
            Some(false) => self.succeeded = self.succeeded.saturating_add(1),
            None => {}
        }
    }

    /// Devices that failed.
    pub const fn failed(&self) -> u32 {
        self.failed
    }

    /// Devices with an outcome.
    pub const fn seen(&self) -> u32 {
        self.failed.saturating_add(self.succeeded)
    }

    /// The rate that is not held against a bundle.
    pub const fn limit(&self) -> f64 {
        self.limit
    }

    /// Share of the devices with an outcome that failed; 0 before there is one.
    pub fn rate(&self) -> f64 {
        f64::from(self.failed) / f64::from(self.seen().max(1))
    }

    /// `ln E`; 0 when the limit leaves no worse rate to bet on.
    pub fn ln(&self) -> f64 {
        let (failed, succeeded, limit) = (f64::from(self.failed), f64::from(self.succeeded), self.limit);
        let mut logs = [0.0; MULTIPLES.len()];
        let mut used = 0;
        for rate in MULTIPLES.map(|c| c * limit).into_iter().filter(|rate| *rate < SUREST) {
            logs[used] = failed * (rate / limit).ln() + succeeded * ((1.0 - rate) / (1.0 - limit)).ln();
            used += 1;
        }
        ln_mean_exp(&logs[..used])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn test(limit: f64, failed: u32, succeeded: u32) -> OneSample {
        OneSample { limit, failed, succeeded }
    }

    #[test]
    fn worked_examples() {
        // es = [c*L for c in (1.5, 2, 3, 5, 8, 12, 18) if c*L < .99]
        // math.log(sum((p/L)**k * ((1-p)/(1-L))**s for p in es) / len(es))     # Python
        for (limit, failed, succeeded, expected) in [
            (0.05, 5, 5, 7.008_137_644_688_512),
            (0.05, 2, 100, -3.692_363_665_478_956_2),
            (0.2, 9, 1, 8.137_311_805_030_851),
        ] {
            let ln = test(limit, failed, succeeded).ln();
            assert!((ln - expected).abs() < 1e-10, "{limit}: {ln}");
        }
    }

    #[test]
    fn a_device_counts_once_and_its_failure_stays() {
        let mut sample = OneSample::new(0.05);
        sample.change(None, Some(false));
        sample.change(Some(false), Some(true));
        assert_eq!((sample.failed(), sample.seen()), (1, 1));
        sample.change(Some(true), Some(true));
        assert_eq!((sample.failed(), sample.seen()), (1, 1));
    }

    #[test]
    fn a_limit_without_alternatives_finds_nothing() {
        assert!(test(0.9, 100, 0).ln().abs() < f64::EPSILON);
    }
}

//! The same comparison within parts of the fleet: a release that breaks one platform, one major version of an operating
//! system or one native version shows there first.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::strata::{Compared, Tests};
use crate::{
    channel::Platform,
    trial::{Metric, Traits},
};

/// A part of the fleet.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Segment {
    /// A platform.
    Platform(Platform),
    /// A platform with the first number of the version of its operating system; 0 when it is unknown.
    Os(Platform, u32),
    /// A native version of the app.
    Native(String),
    /// All operating systems after the first 24.
    OtherOs,
    /// All native versions after the first 32, and those whose name is too long to be one.
    OtherNative,
}

impl fmt::Display for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Platform(platform) => platform.fmt(f),
            Self::Os(platform, 0) => write!(f, "{platform} of unknown version"),
            Self::Os(platform, version) => write!(f, "{platform} {version}"),
            Self::Native(version) => write!(f, "native version {version}"),
            Self::OtherOs => f.write_str("other operating systems"),
            Self::OtherNative => f.write_str("other native versions"),
        }
    }
}

/// Operating systems that are followed one by one, the first to come.
const OPERATING_SYSTEMS: usize = 24;

/// Native versions that are followed one by one, the first to come.
const NATIVES: usize = 32;

/// Bytes of a native version.
const NATIVE_NAME: usize = 64;

/// Segments that a device is in.
pub const PER_DEVICE: usize = 3;

#[derive(Debug, Clone, PartialEq)]
struct Followed {
    segment: Segment,
    tests: Tests,
}

/// A segment in which treatment fails more than control.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// The segment.
    pub segment: Segment,
    /// What fails.
    pub metric: Metric,
    /// The evidence.
    pub evidence: f64,
}

/// All segments that are followed.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Segments(Vec<Followed>);

impl Segments {
    /// Numbers of the segments of a device, which are followed from now on.
    pub fn of(&mut self, traits: &Traits) -> [u8; PER_DEVICE] {
        let Traits { platform, os, native } = traits;
        let is_os = |s: &Segment| matches!(s, Segment::Os(..));
        let is_native = |s: &Segment| matches!(s, Segment::Native(_));
        [
            self.number(|s| *s == Segment::Platform(*platform), || Segment::Platform(*platform)),
            self.find(|s| *s == Segment::Os(*platform, *os)).unwrap_or_else(|| {
                if self.count(is_os) < OPERATING_SYSTEMS {
                    self.follow(Segment::Os(*platform, *os))
                } else {
                    self.number(|s| *s == Segment::OtherOs, || Segment::OtherOs)
                }
            }),
            self.find(|s| matches!(s, Segment::Native(name) if name == native)).unwrap_or_else(|| {
                if native.len() <= NATIVE_NAME && self.count(is_native) < NATIVES {
                    self.follow(Segment::Native(native.clone()))
                } else {
                    self.number(|s| *s == Segment::OtherNative, || Segment::OtherNative)
                }
            }),
        ]
    }

    fn find(&self, is: impl Fn(&Segment) -> bool) -> Option<u8> {
        self.0.iter().position(|f| is(&f.segment)).and_then(|n| u8::try_from(n).ok())
    }

    fn count(&self, is: impl Fn(&Segment) -> bool) -> usize {
        self.0.iter().filter(|f| is(&f.segment)).count()
    }

    fn number(&mut self, is: impl Fn(&Segment) -> bool, segment: impl Fn() -> Segment) -> u8 {
        self.find(is).unwrap_or_else(|| self.follow(segment()))
    }

    fn follow(&mut self, segment: Segment) -> u8 {
        self.0.push(Followed { segment, tests: Tests::default() });
        u8::try_from(self.0.len() - 1).expect("at most 3 + 24 + 32 + 2 segments are followed")
    }

    /// The tests of a segment.
    pub fn tests(&mut self, number: u8) -> Option<&mut Tests> {
        self.0.get_mut(usize::from(number)).map(|followed| &mut followed.tests)
    }

    /// Segments in which treatment fails more than control, the clearest first; of these at most a share of `alpha` is
    /// wrong on average. The procedure is e-BH: of `K` hypotheses the `k` with the most evidence are refuted, for the
    /// largest `k` of which the least has `E ≥ K / (k alpha)` (Wang and Ramdas, "False discovery rate control with
    /// e-values", JRSS-B 2022, section 4; valid whatever the dependence, and segments overlap). It reads what the evidence
    /// is now: the largest so far would not be an e-value.
    pub fn findings(&self, alpha: f64) -> Vec<Finding> {
        let mut all: Vec<(f64, usize, Compared)> = Vec::with_capacity(2 * self.0.len());
        for (n, followed) in self.0.iter().enumerate() {
            for compared in Compared::ALL {
                all.push((followed.tests[compared as usize].ln(), n, compared));
            }
        }
        let hypotheses = all.len() as f64;
        all.retain(|(ln, ..)| *ln >= -alpha.ln());
        all.sort_by(|a, b| b.0.total_cmp(&a.0));
        let refuted = (1..=all.len()).rev().find(|k| all[k - 1].0 >= (hypotheses / (*k as f64 * alpha)).ln());
        all.truncate(refuted.unwrap_or(0));
        all.into_iter()
            .map(|(ln, n, compared)| Finding {
                segment: self.0[n].segment.clone(),
                metric: match compared {
                    Compared::Health => Metric::Health,
                    Compared::Silence => Metric::Silence,
                },
                evidence: super::numeric::exp(ln),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trial::Arm;

    fn traits(platform: Platform, os: u32, native: &str) -> Traits {
        Traits { platform, os, native: native.to_owned() }
    }

    #[test]
    fn a_crowd_of_versions_is_followed_together() {
        let mut segments = Segments::default();
        for n in 0..500_u32 {
            for platform in Platform::ALL {
                segments.of(&traits(platform, n, &format!("1.0.{n}")));
            }
        }
        assert_eq!(segments.0.len(), 3 + OPERATING_SYSTEMS + NATIVES + 2);
        let of = segments.of(&traits(Platform::Ios, 499, &"9".repeat(1_000)));
        let named: Vec<Segment> = of.iter().map(|n| segments.0[usize::from(*n)].segment.clone()).collect();
        assert_eq!(named, [Segment::Platform(Platform::Ios), Segment::OtherOs, Segment::OtherNative]);
    }

    #[test]
    fn what_is_refuted_follows_the_step_up_procedure() {
        let mut segments = Segments::default();
        segments.of(&traits(Platform::Ios, 18, "1.0.0"));
        segments.of(&traits(Platform::Android, 15, "1.0.0"));
        // Five segments, two metrics each: K = 10. At alpha 1 % the first alone needs 1,000, two need 500 each.
        let raise = |segments: &mut Segments, number: u8, above: f64| {
            let test = &mut segments.tests(number).unwrap()[0];
            while test.ln() < above.ln() {
                test.fail(Arm::Treatment, 2, 38);
            }
            test.ln().exp()
        };
        let first = raise(&mut segments, 3, 1_000.0);
        assert_eq!(segments.findings(0.01).len(), 1);
        assert!(segments.findings(10.0 / first * 0.99).is_empty(), "just below its threshold");
        let second = raise(&mut segments, 4, 500.0);
        let found = segments.findings(10.0 / (2.0 * first.min(second)) * 1.01);
        assert_eq!(found.len(), 2);
        assert!(found[0].evidence >= found[1].evidence);
        assert!(found.iter().any(|f| f.segment == Segment::Os(Platform::Android, 15)));
    }
}

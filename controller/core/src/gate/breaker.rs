//! The breaker, which needs no statistics: when half of the first ten devices cannot start the candidate, everybody
//! knows. And what keeps it, and the one-sample tests, from sending devices back because of an incident.

use super::one_sample::OneSample;

/// Devices that the breaker looks at.
pub const FIRST: usize = 10;

/// Failures among them that trip it. With a base rate of 10 %, 5 of 10 stops 0.16 % of healthy releases and misses
/// 0.01 % of those that break 90 % (binomial).
pub const TRIPS: u32 = 5;

/// The first devices with an outcome at launch.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Breaker {
    first: Vec<(usize, u32)>,
    failed: u32,
    tripped: bool,
}

impl Breaker {
    /// What is known of the launch of `device` changed.
    pub fn change(&mut self, device: (usize, u32), before: Option<bool>, after: Option<bool>) {
        if before.is_none() && after.is_some() && self.first.len() < FIRST {
            self.first.push(device);
        } else if !self.first.contains(&device) {
            return;
        }
        if before != Some(true) && after == Some(true) {
            self.failed += 1;
        }
    }

    /// Trips it if enough failed, and they are not merely the quick ones among many: `offered` has every device that the
    /// candidate was offered, with its failure or, until then, a success. It stays tripped, whatever comes later.
    ///
    /// A device that cannot start shows that in a minute, one that can perhaps in hours, so the first ten of a thousand
    /// devices may all have failed at a rate of 2 %. Twice the rate that is not held against a bundle, of everybody, has
    /// five failures of healthy devices trip it once in 200 rollouts at 2 %.
    pub fn check(&mut self, offered: &OneSample) {
        self.tripped |= self.failed >= TRIPS && offered.rate() >= (2.0 * offered.limit()).min(0.5);
    }

    /// Whether it tripped.
    pub const fn tripped(&self) -> bool {
        self.tripped
    }

    /// Failures among the first, and how many these are so far.
    pub fn counts(&self) -> (u32, usize) {
        (self.failed, self.first.len())
    }
}

/// Failures of control devices below which nothing is called an incident.
const FEWEST: u32 = 3;

/// Control devices below which a rate says nothing.
pub const ENOUGH: u32 = 20;

/// Devices and failures of late: between one and two buckets.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Recent {
    buckets: [(u32, u32); 2],
    began: i64,
    /// A bucket ends after so many seconds.
    seconds: i64,
    /// And after so many enrolments: at a high rate an incident would hardly show in minutes.
    devices: u32,
}

impl Recent {
    const fn new(seconds: i64, devices: u32) -> Self {
        Self { buckets: [(0, 0); 2], began: i64::MIN, seconds, devices }
    }

    fn turn(&mut self, clock: i64) {
        let age = clock.saturating_sub(self.began);
        if age >= self.seconds || self.buckets[0].0 >= self.devices {
            let before = if age < self.seconds.saturating_mul(2) { self.buckets[0] } else { (0, 0) };
            self.buckets = [(0, 0), before];
            self.began = clock;
        }
    }

    const fn counts(&self) -> (u32, u32) {
        let [now, before] = self.buckets;
        (now.0.saturating_add(before.0), now.1.saturating_add(before.1))
    }
}

/// How the control arm fares, over the whole rollout, in the last hour or two, and in the last minutes: an incident in
/// the twentieth hour hardly shows in the mean of a day, and one that began a minute ago not in that of an hour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watch {
    total: (u32, u32),
    recent: [Recent; 2],
}

impl Default for Watch {
    fn default() -> Self {
        Self { total: (0, 0), recent: [Recent::new(3_600, u32::MAX), Recent::new(Self::PATIENCE, 100)] }
    }
}

impl Watch {
    /// How long a failure waits for control devices, in seconds, and how long a short bucket lasts.
    pub const PATIENCE: i64 = 300;

    /// A control device enrolled.
    pub fn enrolled(&mut self, clock: i64) {
        self.pass(clock);
        self.total.0 = self.total.0.saturating_add(1);
        for recent in &mut self.recent {
            recent.buckets[0].0 = recent.buckets[0].0.saturating_add(1);
        }
    }

    /// A control device failed in its health.
    pub fn failed(&mut self, clock: i64) {
        self.pass(clock);
        self.total.1 = self.total.1.saturating_add(1);
        for recent in &mut self.recent {
            recent.buckets[0].1 = recent.buckets[0].1.saturating_add(1);
        }
    }

    /// Time passes: what was seen of control is of late no more.
    pub fn pass(&mut self, clock: i64) {
        self.recent.iter_mut().for_each(|recent| recent.turn(clock));
    }

    /// Whether a failure that was reported at `reported` can be held against the candidate, if control is not elevated.
    ///
    /// While a few control devices have come, others will within minutes, and may show an incident: wait for them, but no
    /// longer than [`Watch::PATIENCE`], for a small fleet has no others. Where control never came, or comes no more,
    /// nothing can show an incident, and the bundle is worse to keep than to lose: what is known of the rollout decides.
    pub fn had_its_chance(&self, reported: i64, clock: i64) -> bool {
        self.total.0 == 0 || self.total.0 >= ENOUGH || clock.saturating_sub(reported) >= Self::PATIENCE
    }

    /// Whether the control arm fails so much more than it should that an incident explains the candidate's failures.
    ///
    /// With a `record` (its failure rate over earlier rollouts) that is more than twice the record, or twice 1 % if that
    /// is more: a rate at its record is taken for an incident in about 4 % of the cases at 2 % and 190 devices, which
    /// turns an Abort into a Pause, and the two-sample test still aborts. Without a record there is nothing to compare
    /// with but `launch`, the candidate's own failures: control must fail above the rate that is not held against a
    /// bundle, and at least a quarter as often as the candidate does. An app of which 10 % always fail then still has a
    /// breaker at half of ten, and an incident that hits half of everybody trips nothing. Without control devices
    /// nothing shows an incident, and the breakers work.
    pub fn elevated(&self, record: Option<f64>, launch: &OneSample) -> bool {
        let limit =
            record.map_or_else(|| launch.limit().max(launch.rate() / 4.0), |rate| 2.0 * rate.max(0.01));
        let [hours, minutes] = &self.recent;
        [self.total, hours.counts(), minutes.counts()].into_iter().any(|(devices, failed)| {
            devices >= ENOUGH && failed >= FEWEST && f64::from(failed) > limit * f64::from(devices)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watch(enrolled: u32, failed: u32) -> Watch {
        let mut watch = Watch::default();
        // Evenly: the short window sees as many of them as the long ones.
        for n in 0..enrolled {
            watch.enrolled(0);
            (0..(n + 1) * failed / enrolled - n * failed / enrolled).for_each(|_| watch.failed(0));
        }
        watch
    }

    fn launch(failed: u32, succeeded: u32) -> OneSample {
        let mut launch = OneSample::new(0.05);
        (0..failed).for_each(|_| launch.change(None, Some(true)));
        (0..succeeded).for_each(|_| launch.change(None, Some(false)));
        launch
    }

    #[test]
    fn the_chances_of_five_of_ten() {
        // sum(comb(10,k) * p**k * (1-p)**(10-k) for k in range(5, 11)): 0.0016349… at 0.1, 1 - 0.00014690… at 0.9
        let chance = |p: f64| {
            (5..=10)
                .map(|k| {
                    let ways: f64 = (0..k).map(|i| f64::from(10 - i) / f64::from(i + 1)).product();
                    ways * p.powi(k) * (1.0 - p).powi(10 - k)
                })
                .sum::<f64>()
        };
        assert!((chance(0.1) - 0.001_634_937_4).abs() < 1e-9);
        assert!((1.0 - chance(0.9) - 0.000_146_902_6).abs() < 1e-9);
    }

    #[test]
    fn half_of_the_first_ten_trip_it_and_later_ones_do_not() {
        let mut breaker = Breaker::default();
        for device in 0..10 {
            breaker.change((0, device), None, Some(device < 4));
        }
        for device in 10..100 {
            breaker.change((0, device), None, Some(true));
        }
        breaker.check(&launch(94, 6));
        assert!(!breaker.tripped());
        assert_eq!(breaker.counts(), (4, 10));
        breaker.change((0, 9), Some(false), Some(true));
        breaker.check(&launch(95, 905));
        assert!(!breaker.tripped(), "the quick ones of a thousand");
        breaker.check(&launch(95, 5));
        breaker.check(&launch(95, 905));
        assert!(breaker.tripped());
    }

    #[test]
    fn a_control_arm_at_its_record_is_no_incident() {
        assert!(!watch(200, 4).elevated(Some(0.02), &launch(9, 1)));
        assert!(watch(200, 20).elevated(Some(0.02), &launch(9, 1)));
        assert!(!watch(200, 20).elevated(Some(0.1), &launch(9, 1)));
    }

    #[test]
    fn without_a_record_the_candidate_is_the_measure() {
        assert!(!watch(200, 20).elevated(None, &launch(5, 5)), "10 % against 50 %");
        assert!(watch(200, 100).elevated(None, &launch(5, 5)));
        assert!(!watch(10, 10).elevated(None, &launch(5, 5)), "too few to say");
    }

    #[test]
    fn an_incident_of_the_last_hour_shows() {
        let mut watch = watch(10_000, 100);
        (0..100).for_each(|_| watch.enrolled(50_000));
        (0..30).for_each(|_| watch.failed(50_100));
        assert!(watch.elevated(Some(0.02), &launch(5, 5)));
    }

    #[test]
    fn an_incident_shows_after_a_hundred_devices_at_any_rate() {
        let mut watch = Watch::default();
        // Ten control devices a second for ten minutes, then 60 % fail.
        for n in 0..6_000 {
            watch.enrolled(n / 10);
            (n % 50 == 0).then(|| watch.failed(n / 10));
        }
        assert!(!watch.elevated(None, &launch(5, 0)));
        for n in 0..100 {
            watch.enrolled(600 + n / 10);
            (n % 5 < 3).then(|| watch.failed(600 + n / 10));
        }
        assert!(watch.elevated(None, &launch(5, 0)));
        watch.pass(20_000);
        assert!(
            !watch.elevated(Some(0.02), &launch(5, 0)),
            "it is over, though nobody of control came since"
        );
    }

    #[test]
    fn a_failure_waits_for_control_but_not_for_long() {
        assert!(watch(0, 0).had_its_chance(0, 0));
        assert!(!watch(5, 0).had_its_chance(0, 299));
        assert!(watch(5, 0).had_its_chance(0, 300));
        assert!(watch(20, 0).had_its_chance(0, 0));
    }
}

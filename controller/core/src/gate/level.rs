//! What is kept of one level: its strata, and fifteen bytes or so of every device.

use super::{
    segments::{PER_DEVICE, Segments},
    strata::{Closed, Compared, Strata, Tests},
};
use crate::trial::{Arm, Metric, Traits};

/// Devices of a level: the ordinal within a segment has 25 bits.
const DEVICES: u32 = 1 << 25;

/// Which device of which segment: the number of the segment above, the ordinal below.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place(u32);

impl Place {
    const ORDINAL: u32 = DEVICES - 1;

    const fn segment(self) -> u8 {
        self.0.to_be_bytes()[0] >> 1
    }

    const fn ordinal(self) -> u32 {
        self.0 & Self::ORDINAL
    }
}

/// What is known of one device, as bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known(u8);

impl Known {
    const TREATMENT: u8 = 1;
    const LAUNCHED: u8 = 2;
    const LAUNCH: u8 = 4;
    const INSTALL: u8 = 8;
    const HEALTH: u8 = 16;
    const SILENCE: u8 = 32;
    const LEFT: u8 = 64;

    const fn failure(metric: Metric) -> u8 {
        match metric {
            Metric::Health => Self::HEALTH,
            Metric::Silence => Self::SILENCE,
            Metric::Launch => Self::LAUNCH,
            Metric::Install => Self::INSTALL,
        }
    }

    const fn has(self, bit: u8) -> bool {
        self.0 & bit != 0
    }

    /// Its arm.
    pub const fn arm(self) -> Arm {
        if self.has(Self::TREATMENT) { Arm::Treatment } else { Arm::Control }
    }

    /// Whether the candidate failed to start; `None` while nobody knows. A failure stays one.
    pub const fn launch(self) -> Option<bool> {
        if self.has(Self::LAUNCH) {
            Some(true)
        } else if self.has(Self::LAUNCHED) {
            Some(false)
        } else {
            None
        }
    }

    /// Whether the candidate could not be installed. What was started, well or not, had been installed.
    pub const fn install(self) -> Option<bool> {
        if self.has(Self::INSTALL) {
            Some(true)
        } else if self.has(Self::LAUNCHED | Self::LAUNCH) {
            Some(false)
        } else {
            None
        }
    }

    /// Whether anything is known.
    pub const fn shown(self) -> bool {
        self.0 & !(Self::TREATMENT | Self::LEFT) != 0
    }
}

/// Devices of one arm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// That enrolled.
    pub enrolled: u32,
    /// That enrolled at least a horizon ago, in strata that are closed; counted of the treatment arm only.
    pub past: u32,
    /// With any outcome.
    pub shown: u32,
    /// That failed, by [`Compared`].
    pub failed: [u32; Compared::ALL.len()],
}

/// One level.
#[derive(Debug, Clone, PartialEq)]
pub struct Level {
    /// Its number in the rollout.
    pub number: u32,
    /// Treatment and control.
    pub tally: [Tally; 2],
    /// All of its devices.
    pub strata: Strata,
    segments: Vec<Strata>,
    places: Vec<[Place; PER_DEVICE]>,
    known: Vec<Known>,
}

impl Level {
    /// A level nobody enrolled in.
    pub fn new(number: u32) -> Self {
        Self {
            number,
            tally: [Tally::default(); 2],
            strata: Strata::default(),
            segments: Vec::new(),
            places: Vec::new(),
            known: Vec::new(),
        }
    }

    /// Whether there is room for another device.
    pub fn has_room(&self) -> bool {
        self.known.len() < DEVICES as usize
    }

    /// Enrols the next device.
    pub fn enrol(
        &mut self,
        arm: Arm,
        traits: &Traits,
        clock: i64,
        tests: &mut Tests,
        all: &mut Segments,
    ) -> Option<Closed> {
        let mut places = [Place(0); PER_DEVICE];
        for (place, number) in places.iter_mut().zip(all.of(traits)) {
            let index = usize::from(number);
            if self.segments.len() <= index {
                self.segments.resize_with(index + 1, Strata::default);
            }
            let strata = &mut self.segments[index];
            *place = Place(u32::from(number) << Place::ORDINAL.count_ones() | strata.devices());
            if let Some(tests) = all.tests(number) {
                strata.enrol(arm, clock, tests);
            }
        }
        self.places.push(places);
        self.known.push(Known(if arm == Arm::Treatment { Known::TREATMENT } else { 0 }));
        self.tally[arm as usize].enrolled += 1;
        self.strata.enrol(arm, clock, tests)
    }

    /// Notes that a device started the candidate, or fails. `None` when that was known, or cannot be.
    pub fn note(&mut self, ordinal: u32, failure: Option<Metric>) -> Option<(Known, Known)> {
        let bit = failure.map_or(Known::LAUNCHED, Known::failure);
        let known = self.known.get_mut(ordinal as usize)?;
        let before = *known;
        let both_arms = failure.is_some_and(|metric| Compared::of(metric).is_some());
        if before.has(bit | Known::LEFT) || (before.arm() == Arm::Control && !both_arms) {
            return None;
        }
        known.0 |= bit;
        let tally = &mut self.tally[before.arm() as usize];
        tally.shown += u32::from(!before.shown());
        if let Some(compared) = failure.and_then(Compared::of) {
            tally.failed[compared as usize] += 1;
        }
        Some((before, *known))
    }

    /// The device fails, for the first time: everybody that it is comparable with is compared.
    pub fn compare(&mut self, ordinal: u32, compared: Compared, tests: &mut Tests, all: &mut Segments) {
        self.strata.fail(ordinal, compared, tests);
        for place in self.places.get(ordinal as usize).into_iter().flatten() {
            let strata = self.segments.get_mut(usize::from(place.segment()));
            if let (Some(strata), Some(tests)) = (strata, all.tests(place.segment())) {
                strata.fail(place.ordinal(), compared, tests);
            }
        }
    }

    /// The device left: nothing is noted of it any more, and nobody is compared with it. False when it had, or never was.
    pub fn leave(&mut self, ordinal: u32, tests: &mut Tests, all: &mut Segments) -> bool {
        let Some(known) = self.known.get_mut(ordinal as usize).filter(|known| !known.has(Known::LEFT)) else {
            return false;
        };
        known.0 |= Known::LEFT;
        self.strata.leave(ordinal, tests);
        for place in self.places.get(ordinal as usize).into_iter().flatten() {
            let strata = self.segments.get_mut(usize::from(place.segment()));
            if let (Some(strata), Some(tests)) = (strata, all.tests(place.segment())) {
                strata.leave(place.ordinal(), tests);
            }
        }
        true
    }

    /// Closes what was opened too long ago, and says when the next is due.
    pub fn age(
        &mut self,
        clock: i64,
        tests: &mut Tests,
        all: &mut Segments,
    ) -> (Option<Closed>, Option<i64>) {
        let is_old = |strata: &Strata| strata.due().is_some_and(|due| due <= clock);
        let closed = is_old(&self.strata).then(|| self.strata.close(tests)).flatten();
        for (number, strata) in (0..).zip(&mut self.segments) {
            if is_old(strata)
                && let Some(tests) = all.tests(number)
            {
                strata.close(tests);
            }
        }
        let due = std::iter::once(&self.strata).chain(&self.segments).filter_map(Strata::due).min();
        (closed, due)
    }
}

//! How a release is brought to the audience of a channel.

use jiff::{Timestamp, civil::Time, civil::Weekday};
use serde::{Deserialize, Serialize};

use super::Audience;
use crate::{
    cohort::{Order, Ppm},
    ids::Version,
};

/// How long a rollout waits for evidence unless the channel says otherwise, in seconds.
pub const MAX_HOLD: u64 = 24 * 3_600;

/// How a release is brought to the audience.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rollout {
    /// Where the steps come from.
    #[serde(default)]
    pub strategy: Strategy,
    /// The steps of [`Strategy::Steps`]; everybody follows the last one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<Step>,
    /// Whether the first step is entered by few devices first.
    #[serde(default)]
    pub ramp: Ramp,
    /// When a rollout may start and go on; at any time when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<Window>,
    /// It does not start or go on before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Timestamp>,
    /// Seconds that it waits for evidence before the channel's `onInconclusive` is done.
    #[serde(default = "max_hold")]
    pub max_hold: u64,
    /// Who is first.
    #[serde(default)]
    pub order: Order,
    /// What an edit that lowers the weight of the present step does.
    #[serde(default)]
    pub on_decrease: OnDecrease,
    /// Most offers in a minute, for each gateway, of what is newest: the candidate, or without one what everybody gets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offers_per_minute: Option<u32>,
}

const fn max_hold() -> u64 {
    MAX_HOLD
}

impl Default for Rollout {
    fn default() -> Self {
        Self {
            strategy: Strategy::default(),
            steps: Vec::new(),
            ramp: Ramp::default(),
            window: None,
            not_before: None,
            max_hold: MAX_HOLD,
            order: Order::default(),
            on_decrease: OnDecrease::default(),
            offers_per_minute: None,
        }
    }
}

/// Where the steps of a rollout come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Strategy {
    /// Everybody at once for a small audience, computed steps otherwise.
    #[default]
    Auto,
    /// There are none: everybody at once.
    Immediate,
    /// The channel lists them.
    Steps,
}

/// One step of a rollout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// How many it reaches.
    pub size: Size,
    /// Seconds that it lasts at least, counted while evidence can arrive.
    #[serde(default)]
    pub soak: u64,
    /// Whether a person must approve what follows it.
    #[serde(default)]
    pub approval: bool,
    /// Whom it is limited to; everybody when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audience: Option<Audience>,
}

/// How many devices a step reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Size {
    /// A share of its audience.
    Share(Ppm),
    /// So many of the devices that were active in the seven days before the rollout.
    Devices(u64),
}

/// Whether the first step is entered by few devices first (`evidence-gate` section 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Ramp {
    /// By about fifty, and more as they do well.
    #[default]
    Auto,
    /// At once.
    Off,
}

/// What an edit that lowers the weight of the present step does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum OnDecrease {
    /// The weight stays as it is.
    #[default]
    Keep,
    /// The weight is lowered, and devices that are not reached any more are returned.
    Return,
}

/// Times of the week, on the clock of a time zone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Window {
    /// Days on which it begins; every day when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "days")]
    pub days: Vec<Weekday>,
    /// When it begins.
    pub from: Time,
    /// When it ends; not after `from` means the next day.
    pub to: Time,
    /// IANA name of the time zone.
    pub time_zone: String,
}

/// A time in which no rollout of a repository goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Freeze {
    /// Its name.
    pub name: String,
    /// When it begins.
    pub from: Timestamp,
    /// When it is over.
    pub to: Timestamp,
    /// Why, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A step that a person has approved: the rollout of the release may leave it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Approval {
    /// The release.
    pub release: Version,
    /// The step, from 1 as people count.
    pub step: u32,
}

/// A release that does not wait for windows and freezes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Urgent {
    /// The release; for any other one nothing is urgent.
    pub release: Version,
    /// Why, for people.
    pub reason: String,
}

/// Days of the week by their English names, cut to three letters.
mod days {
    use jiff::civil::Weekday;
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    const NAMES: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

    pub(super) fn serialize<S: Serializer>(days: &[Weekday], serializer: S) -> Result<S::Ok, S::Error> {
        let number = |day: &Weekday| usize::from(day.to_monday_zero_offset().unsigned_abs());
        serializer.collect_seq(days.iter().map(|day| NAMES[number(day) % NAMES.len()]))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Weekday>, D::Error> {
        let names = Vec::<String>::deserialize(deserializer)?;
        let day = |name: &String| {
            let place = (0_i8..).zip(NAMES).find(|(_, known)| known == name);
            place.and_then(|(number, _)| Weekday::from_monday_zero_offset(number).ok())
        };
        names.iter().map(|name| day(name).ok_or_else(|| D::Error::custom("not a day of the week"))).collect()
    }
}

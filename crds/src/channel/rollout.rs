//! How a release is brought to the audience of a channel.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Audience;
use crate::common::DURATION;

/// How a release is brought to the audience.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {"rule": "self.strategy != 'Steps' || has(self.steps)", "message": "strategy Steps needs steps"},
    {"rule": "self.strategy != 'Immediate' || !has(self.steps)", "message": "strategy Immediate has no steps; remove one of the two"}
]))]
pub struct Rollout {
    /// `Auto`: everybody at once for a small audience, computed steps otherwise. `Immediate`: everybody at once.
    /// `Steps`: the steps that are listed; given steps mean `Steps`.
    #[serde(default)]
    pub strategy: Strategy,
    /// Weights below 100 %, rising; 100 % follows the last one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(min = 1, max = 20),
        extend(
            "x-kubernetes-list-type" = "atomic",
            "x-kubernetes-validations" = [
                {"rule": "self.exists(s, !has(s.weight) || has(s.audience)) || self.map(s, double(s.weight.replace('%', ''))).isSorted()", "message": "the weights of the steps must rise"},
                {"rule": "self.exists(s, !has(s.weight) || has(s.audience)) || self.map(s, s.weight).all(a, self.map(s, s.weight).exists_one(b, double(a.replace('%', '')) == double(b.replace('%', ''))))", "message": "two steps have the same weight; the weights must rise"}
            ]
        )
    )]
    pub steps: Vec<Step>,
    /// Whether the first step is entered by about fifty devices, and by more as these do well.
    #[serde(default)]
    pub ramp: Ramp,
    /// When the weight may rise; at any time when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<Window>,
    /// The rollout does not begin before this time, RFC 3339, for example `2026-12-01T09:00:00Z`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), extend("format" = "date-time"))]
    pub not_before: Option<String>,
    /// How long a rollout may be held for lack of evidence.
    #[serde(default = "one_day")]
    #[schemars(length(min = 2, max = 32), regex(pattern = DURATION))]
    pub max_hold: String,
    /// Who is first: others at each rollout, at random each time, or the same devices always.
    #[serde(default)]
    pub order: Order,
    /// What an edit that lowers the weight of the present step does.
    #[serde(default)]
    pub on_decrease: OnDecrease,
    /// Most offers of the newest release in a minute, for each gateway: while it is rolled out, and when everybody gets it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub offers_per_minute: Option<u32>,
}

fn one_day() -> String {
    "24h".into()
}

impl Default for Rollout {
    fn default() -> Self {
        Self {
            strategy: Strategy::default(),
            steps: Vec::new(),
            ramp: Ramp::default(),
            window: None,
            not_before: None,
            max_hold: one_day(),
            order: Order::default(),
            on_decrease: OnDecrease::default(),
            offers_per_minute: None,
        }
    }
}

/// How a release is brought to the audience.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Strategy {
    /// Everybody at once for a small audience, computed steps otherwise.
    #[default]
    Auto,
    /// Everybody at once.
    Immediate,
    /// The listed steps.
    Steps,
}

/// How consecutive rollouts choose who is first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Order {
    /// Others each time, so that the burden is shared.
    #[default]
    Fair,
    /// At random each time.
    Independent,
    /// The same devices each time.
    Ring,
}

/// What an edit that lowers the weight of the present step does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnDecrease {
    /// The weight stays as it is.
    #[default]
    Keep,
    /// The weight is lowered, and devices that are not reached any more are returned.
    Return,
}

/// One step of a rollout: a share or a number of devices.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {"rule": "has(self.weight) ? !has(self.devices) : (has(self.devices) || has(self.audience))", "message": "a step needs one of weight and devices; with an audience neither means everybody of it"}
]))]
pub struct Step {
    /// Share of the audience, above 0 % and below 100 %, for example `10%` or `0.5%`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 2, max = 8),
        regex(pattern = r"^[0-9]{1,2}(\.[0-9]{1,4})?%$"),
        extend("x-kubernetes-validations" = [
            {"rule": "!self.matches('^0{1,2}([.]0{1,4})?%$')", "message": "a step of 0 % serves nobody; remove it"}
        ])
    )]
    pub weight: Option<String>,
    /// So many of the devices that were active in the seven days before the rollout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub devices: Option<i64>,
    /// Whom the step is limited to: the employees, a region or a platform first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audience: Option<Audience>,
    /// How long the weight stays at least, for example `30m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 32), regex(pattern = DURATION))]
    pub soak: Option<String>,
    /// Whether a person must approve the next weight.
    #[serde(default)]
    pub approval: StepApproval,
}

/// Whether a person must approve what follows a step.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum StepApproval {
    /// Evidence is enough.
    #[default]
    None,
    /// A person must approve.
    Required,
}

/// Whether the weight rises between two steps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Ramp {
    /// While evidence is good.
    #[default]
    Auto,
    /// Only from step to step.
    Off,
}

/// Times of the week in which the weight may rise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Window {
    /// Days of the week; every day when left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 7), extend("x-kubernetes-list-type" = "set"))]
    pub days: Vec<Day>,
    /// Begin, `HH:MM`.
    #[schemars(length(min = 5, max = 5), regex(pattern = "^([01][0-9]|2[0-3]):[0-5][0-9]$"))]
    pub from: String,
    /// End, `HH:MM`; before `from` it means the next day.
    #[schemars(length(min = 5, max = 5), regex(pattern = "^([01][0-9]|2[0-3]):[0-5][0-9]$"))]
    pub to: String,
    /// Name of a time zone, for example `Europe/Paris`.
    #[serde(default = "utc")]
    #[schemars(length(min = 1, max = 64), regex(pattern = "^[A-Za-z0-9_+/-]+$"))]
    pub time_zone: String,
}

fn utc() -> String {
    "UTC".into()
}

/// A day of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Day {
    /// Monday.
    Mon,
    /// Tuesday.
    Tue,
    /// Wednesday.
    Wed,
    /// Thursday.
    Thu,
    /// Friday.
    Fri,
    /// Saturday.
    Sat,
    /// Sunday.
    Sun,
}

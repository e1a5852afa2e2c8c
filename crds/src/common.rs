//! What several kinds have in common.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An app id: `^[A-Za-z0-9]+(\.[\w-]+)+$` in ASCII.
pub(crate) const APP: &str = r"^[A-Za-z0-9]+(\.[A-Za-z0-9_-]+)+$";
/// The name under which devices ask for a channel.
pub(crate) const CHANNEL: &str = r"^[A-Za-z0-9][A-Za-z0-9._-]*$";
/// A semantic version without build metadata.
pub(crate) const VERSION: &str =
    r"^(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)(-[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?$";
/// A version, or the bundle that the native app shipped with.
pub(crate) const TARGET: &str =
    r"^(builtin|(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)(-[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?)$";
/// A duration: numbers with units, the largest first, such as `1h30m`.
pub(crate) const DURATION: &str = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h|d))+$";
/// A duration, or `Forever`.
pub(crate) const DURATION_OR_FOREVER: &str = r"^(Forever|([0-9]+(\.[0-9]+)?(ms|s|m|h|d))+)$";
/// A share below 100 %.
pub(crate) const PERCENT: &str = r"^[0-9]{1,2}(\.[0-9]{1,4})?%$";
/// 64 lower-case hexadecimal characters.
pub(crate) const SHA256: &str = "^[0-9a-f]{64}$";
/// The name of a Kubernetes object.
pub(crate) const OBJECT_NAME: &str = r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$";
/// A URL of the web.
pub(crate) const HTTPS: &str = r"^https://[^\s/?#@]+([/?#]\S*)?$";

/// A Secret of the same namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretReference {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253), regex(pattern = OBJECT_NAME))]
    pub name: String,
}

/// One observation about an object, in the form that kubectl, Flux and Helm wait for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// `Ready`, `Reconciling`, `Stalled` or a condition of the kind itself.
    #[serde(rename = "type")]
    #[schemars(length(min = 1, max = 64))]
    pub type_: String,
    /// Whether it holds.
    pub status: ConditionStatus,
    /// CamelCase, for machines.
    #[schemars(length(min = 1, max = 128), regex(pattern = r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$"))]
    pub reason: String,
    /// A sentence for people.
    #[serde(default)]
    #[schemars(length(max = 20_000))]
    pub message: String,
    /// When `status` last changed, RFC 3339.
    #[schemars(length(max = 64), extend("format" = "date-time"))]
    pub last_transition_time: String,
    /// Generation of the spec that was observed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}

/// Whether a condition holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ConditionStatus {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// Not known.
    Unknown,
}

/// Reads a duration as the resources write it: numbers with the units d, h, m, s and ms, such as `1h30m`. `None`: it is
/// not one.
pub fn duration(text: &str) -> Option<Duration> {
    let (mut rest, mut seconds) = (text, 0.0);
    while !rest.is_empty() {
        let (number, tail) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit() && c != '.')?);
        let (unit, length) = match tail.as_bytes() {
            [b'm', b's', ..] => (0.001, 2),
            [b's', ..] => (1.0, 1),
            [b'm', ..] => (60.0, 1),
            [b'h', ..] => (3_600.0, 1),
            [b'd', ..] => (86_400.0, 1),
            _ => return None,
        };
        let well = number.starts_with(|c: char| c.is_ascii_digit())
            && number.ends_with(|c: char| c.is_ascii_digit());
        seconds += number.parse::<f64>().ok().filter(|_| well)? * unit;
        rest = &tail[length..];
    }
    if text.is_empty() { None } else { Duration::try_from_secs_f64(seconds).ok() }
}

/// The rule of a status that carries a term: it never goes back.
pub(crate) fn term_rules() -> serde_json::Value {
    serde_json::json!([{
        "rule": "!has(oldSelf.epoch) || (has(self.epoch) && self.epoch >= oldSelf.epoch)",
        "message": crate::LATER_LEADER,
    }])
}

pub(crate) const fn yes() -> bool {
    true
}

pub(crate) const fn not_observed() -> i64 {
    -1
}

//! Times in which no rollout goes on: from what a Repository says to the freezes of the domain.

use jiff::Timestamp;
use sluice_core::channel::Freeze;
use sluice_crds::repository as crd;

/// A freeze that means nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidFreeze {
    /// A begin or an end is no time.
    #[error(
        "{field} of freeze {name}: `{text}` is not a time: expected RFC 3339 with an offset, such as `2026-12-24T00:00:00Z`"
    )]
    Time {
        /// Which freeze.
        name: String,
        /// `from` or `to`.
        field: &'static str,
        /// What stands there.
        text: String,
    },
    /// It is over before it begins.
    #[error("freeze {0} ends before it begins; `from` must be before `to`")]
    Order(String),
    /// Nobody could tell which of two is on.
    #[error("two freezes are called {0}; give each a name of its own")]
    Twice(String),
}

/// The freezes of a Repository.
pub fn freezes(list: &[crd::Freeze]) -> Result<Vec<Freeze>, InvalidFreeze> {
    let mut read: Vec<Freeze> = Vec::new();
    for crd::Freeze { name, from, to, reason } in list {
        let time = |field, text: &str| {
            let invalid = |_| InvalidFreeze::Time { name: name.clone(), field, text: text.to_owned() };
            text.parse::<Timestamp>().map_err(invalid)
        };
        let (from, to) = (time("from", from)?, time("to", to)?);
        if to <= from {
            return Err(InvalidFreeze::Order(name.clone()));
        }
        if read.iter().any(|freeze| freeze.name == *name) {
            return Err(InvalidFreeze::Twice(name.clone()));
        }
        read.push(Freeze { name: name.clone(), from, to, reason: reason.clone() });
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn freeze(name: &str, from: &str, to: &str) -> crd::Freeze {
        crd::Freeze { name: name.into(), from: from.into(), to: to.into(), reason: None }
    }

    #[test]
    fn what_a_freeze_must_be() {
        let winter = freeze("winter", "2026-12-20T00:00:00+01:00", "2027-01-04T00:00:00+01:00");
        let read = freezes(std::slice::from_ref(&winter)).unwrap();
        assert_eq!(read[0].from.to_string(), "2026-12-19T23:00:00Z");
        for (list, says) in [
            (vec![winter.clone(), winter.clone()], "two freezes are called winter"),
            (vec![freeze("a", "tomorrow", "2027-01-04T00:00:00Z")], "from of freeze a: `tomorrow`"),
            (vec![freeze("a", "2027-01-04T00:00:00Z", "2027-01-04")], "to of freeze a"),
            (vec![freeze("a", "2027-01-04T00:00:00Z", "2027-01-04T00:00:00Z")], "ends before it begins"),
        ] {
            let error = freezes(&list).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}

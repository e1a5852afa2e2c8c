//! The rows of the database as values, apart from how they are written down.

use sluice_core::{
    digest::Digest,
    memory::{Override, OverrideBy},
    native::NativeVersion,
    outcome::Attempts,
};

use super::{acts::Author, census::Standing, hot::Key, types::SESSION_SECONDS};

/// How many gaps between sessions are kept.
pub(crate) const MOST_GAPS: usize = 8;

/// A row of `devices`, without its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DeviceRow {
    pub(crate) first_seen: i64,
    pub(crate) last_seen: i64,
    pub(crate) sessions: i64,
    pub(crate) gaps: Vec<u32>,
    pub(crate) about: About,
    pub(crate) offered: Option<(String, i64)>,
    /// What is counted of it in the census.
    pub(crate) standing: Option<Standing>,
}

/// What a device says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct About {
    pub(crate) platform: &'static str,
    pub(crate) plugin: String,
    pub(crate) native: String,
    pub(crate) os: String,
    pub(crate) running: String,
    pub(crate) channel: Option<String>,
    pub(crate) production: bool,
    pub(crate) emulator: bool,
    pub(crate) custom_id: Option<[u8; 16]>,
}

impl DeviceRow {
    /// A device that was never seen.
    pub(crate) fn new(at: i64, about: About) -> Self {
        Self {
            first_seen: at,
            last_seen: at,
            sessions: 1,
            gaps: Vec::new(),
            about,
            offered: None,
            standing: None,
        }
    }

    /// Notes a contact. `since` is the latest contact known in memory, which can be later than what was written.
    ///
    /// A time before the last contact is no gap. One that is more than a day before it means that the clock was wrong
    /// then, and the device starts from now.
    pub(crate) fn contact(&mut self, since: Option<i64>, at: i64) {
        let last = since.map_or(self.last_seen, |since| since.max(self.last_seen));
        if at - last > SESSION_SECONDS {
            self.gaps.insert(0, u32::try_from(at - last).unwrap_or(u32::MAX));
            self.gaps.truncate(MOST_GAPS);
            self.sessions += 1;
        }
        self.last_seen = if last - at > 24 * 3600 { at } else { last.max(at) };
    }
}

/// The column `gaps`.
pub(crate) fn gaps_to_bytes(gaps: &[u32]) -> Vec<u8> {
    gaps.iter().flat_map(|gap| gap.to_be_bytes()).collect()
}

/// The column `gaps`.
pub(crate) fn gaps_from_bytes(bytes: &[u8]) -> Vec<u32> {
    bytes.as_chunks::<4>().0.iter().map(|b| u32::from_be_bytes(*b)).collect()
}

/// A row of `outcomes`, without its key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct OutcomeRow {
    pub(crate) trial_at: Option<i64>,
    pub(crate) success_at: Option<i64>,
    pub(crate) launch: Option<First>,
    pub(crate) install: Option<First>,
    pub(crate) attempts: Attempts,
    pub(crate) health: Option<First>,
    /// Whether the reports came from a production build on a physical device.
    pub(crate) evidence: bool,
    /// The steps that analytics count beside.
    pub(crate) steps: Steps,
}

/// Further steps of a version on a device, the first of each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Steps {
    pub(crate) offered_at: Option<i64>,
    pub(crate) downloaded_at: Option<i64>,
    /// The device asked while it ran it.
    pub(crate) ran_at: Option<i64>,
    /// It ran it, and then an older one or its shipped bundle.
    pub(crate) rolled_back_at: Option<i64>,
    /// The device said that what it was answered does not fit it.
    pub(crate) refused: Option<First>,
}

/// The first failure of a kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct First {
    pub(crate) at: i64,
    pub(crate) action: String,
}

/// A row of `events`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EventRow {
    pub(crate) id: EventId,
    pub(crate) key: Key,
    pub(crate) action: String,
    pub(crate) version: String,
    pub(crate) sent_at: Option<i64>,
    pub(crate) received: i64,
    pub(crate) neutral: bool,
}

/// The identity of an event: its minute, and a hash over what makes it the same report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct EventId {
    pub(crate) slot: i64,
    pub(crate) hash: [u8; 16],
}

/// A row of `failed`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FailedRow {
    pub(crate) key: Key,
    pub(crate) digest: Digest,
    pub(crate) native: NativeVersion,
    pub(crate) at: i64,
}

/// A row of `overrides`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OverrideRow {
    pub(crate) key: Key,
    pub(crate) chosen: Override,
    pub(crate) at: i64,
    pub(crate) expires: Option<i64>,
    /// Who chose it and why, when a person did.
    pub(crate) author: Option<Author>,
}

/// The column `chosen_by`.
pub(crate) fn chosen_by(by: OverrideBy) -> &'static str {
    match by {
        OverrideBy::Device => "device",
        OverrideBy::Support => "support",
    }
}

/// Cuts a text to `most` bytes at a character.
pub(crate) fn cut(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(at: i64) -> DeviceRow {
        let about = About {
            platform: "ios",
            plugin: String::new(),
            native: String::new(),
            os: String::new(),
            running: String::new(),
            channel: None,
            production: true,
            emulator: false,
            custom_id: None,
        };
        DeviceRow::new(at, about)
    }

    #[test]
    fn a_session_is_contacts_within_thirty_minutes() {
        let mut row = device(0);
        for at in [600, 1200, 3000] {
            row.contact(None, at);
        }
        assert_eq!((row.sessions, row.gaps.len(), row.last_seen), (1, 0, 3000));
        row.contact(Some(4000), 4000 + SESSION_SECONDS + 1);
        assert_eq!((row.sessions, row.gaps.clone()), (2, vec![1801]));
        for n in 1..=20_i64 {
            row.contact(None, 10_000 + n * 10_000);
        }
        assert_eq!((row.sessions, row.gaps.len(), row.gaps[0]), (22, 8, 10_000));
        assert_eq!(gaps_from_bytes(&gaps_to_bytes(&row.gaps)), row.gaps);
    }

    #[test]
    fn a_clock_that_goes_back_makes_no_gap() {
        let mut row = device(100_000);
        row.contact(None, 90_000);
        assert_eq!((row.last_seen, row.sessions), (100_000, 1));
        row.contact(None, 1_000);
        assert_eq!((row.last_seen, row.sessions, row.gaps.len()), (1_000, 1, 0));
    }

    #[test]
    fn cuts_at_characters() {
        assert_eq!(cut("aé", 2), "a");
        assert_eq!(cut("abc", 64), "abc");
    }
}

//! A segment as an object: compressed lines of JSON, each a check-in, an event, a choice, an offer or bytes that were sent.
//!
//! A line of a kind that this program does not know is skipped: a later release wrote it.

use std::io::{self, Read as _, Write as _};

use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use jiff::{Timestamp, tz::TimeZone};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::fleet::{Choice, Noted, OfferMade, Reported, Segment, Sent};

/// Where segments are.
pub(super) const FOLDER: &str = "segments";
const SUFFIX: &str = ".jsonl.gz";
/// More than any gateway writes, so that a broken object does not fill the memory.
const MOST_BYTES: u64 = 256 << 20;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Line {
    CheckIn(Noted),
    Event(Reported),
    Choice(Choice),
    Offer(OfferMade),
    Lost(i64),
    Sent(Sent),
}

/// What the name of a segment says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Name {
    /// Its id: random, and in the order of time within a gateway.
    pub(super) id: Uuid,
    /// Which gateway, from its start to its end.
    pub(super) gateway: Gateway,
    /// Rises within a gateway.
    pub(super) number: u64,
}

/// A gateway, from its start to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Gateway(pub(super) u64);

impl Gateway {
    pub(super) fn random() -> Self {
        Self(rand::random())
    }

    pub(super) fn text(self) -> String {
        format!("{:016x}", self.0)
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        (text.len() == 16).then(|| u64::from_str_radix(text, 16).ok().map(Self)).flatten()
    }
}

impl Name {
    /// The key, in the folder of the minute `at`.
    pub(super) fn key(&self, at: Timestamp) -> String {
        let Self { id, gateway, number } = self;
        format!("{}/{}.{}.{number}{SUFFIX}", minute(at), id.simple(), gateway.text())
    }

    /// Reads a key; `None` for what is no segment.
    pub(super) fn of(key: &str) -> Option<Self> {
        let name = key.strip_prefix(FOLDER)?.rsplit('/').next()?.strip_suffix(SUFFIX)?;
        let mut parts = name.split('.');
        let (id, gateway, number) = (parts.next()?, parts.next()?, parts.next()?);
        let name = Self {
            id: Uuid::try_parse(id).ok()?,
            gateway: Gateway::parse(gateway)?,
            number: number.parse().ok()?,
        };
        parts.next().is_none().then_some(name)
    }
}

/// The folder of the segments of a minute.
pub(super) fn minute(at: Timestamp) -> String {
    format!("{FOLDER}/{}", at.to_zoned(TimeZone::UTC).strftime("%Y%m%d/%H%M"))
}

/// Writes it down.
pub(super) fn encode(segment: Segment) -> io::Result<Vec<u8>> {
    let Segment { id: _, check_ins, events, choices, offers, lost, sent } = segment;
    let lines = (check_ins.into_iter().map(Line::CheckIn))
        .chain(events.into_iter().map(Line::Event))
        .chain(choices.into_iter().map(Line::Choice))
        .chain(offers.into_iter().map(Line::Offer))
        .chain(lost.map(Line::Lost))
        .chain(sent.into_iter().map(Line::Sent));
    let mut writer = GzEncoder::new(Vec::new(), Compression::fast());
    for line in lines {
        serde_json::to_writer(&mut writer, &line)?;
        writer.write_all(b"\n")?;
    }
    writer.finish()
}

/// Reads it; an object that is cut off or no such thing is an error as a whole.
pub(super) fn decode(id: Uuid, bytes: &[u8]) -> io::Result<Segment> {
    let mut text = String::new();
    GzDecoder::new(bytes).take(MOST_BYTES).read_to_string(&mut text)?;
    let mut segment = Segment { id: id.into_bytes(), ..Segment::default() };
    for line in text.lines() {
        match serde_json::from_str(line) {
            Ok(Line::CheckIn(noted)) => segment.check_ins.push(noted),
            Ok(Line::Event(reported)) => segment.events.push(reported),
            Ok(Line::Choice(choice)) => segment.choices.push(choice),
            Ok(Line::Offer(offer)) => segment.offers.push(offer),
            Ok(Line::Sent(sent)) => segment.sent.push(sent),
            Ok(Line::Lost(until)) => segment.lost = Some(until),
            Err(error) => {
                // JSON that is none is damage; JSON of another shape is of another release.
                serde_json::from_str::<serde::de::IgnoredAny>(line)?;
                tracing::debug!(%error, "a line of a segment is skipped");
            }
        }
    }
    Ok(segment)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::testing::{START, check, device, event};

    #[test]
    fn names_come_back() {
        let at: Timestamp = "2026-11-24T20:31:59Z".parse().unwrap();
        let name = Name { id: Uuid::now_v7(), gateway: Gateway(0xabc), number: 17 };
        let key = name.key(at);
        assert!(key.starts_with("segments/20261124/2031/"), "{key}");
        assert!(crate::objects::check_key(&key).is_ok());
        assert_eq!(Name::of(&key), Some(name));
        for other in
            ["segments/x", "segments/20261124/2031/x.y.z.jsonl.gz", "root.json", &key[..key.len() - 1]]
        {
            assert_eq!(Name::of(other), None, "{other}");
        }
    }

    #[test]
    fn what_is_written_comes_back() {
        let mut noted = Noted::of(&check(1, START, "1.0.0", None), Some(START - 5), None).unwrap();
        noted.custom_id = Some([7; 16]);
        let segment = Segment {
            id: [3; 16],
            check_ins: vec![noted],
            events: vec![
                Reported::of(event(1, "set", Some("2.0.0"), Some(5)), START),
                Reported::of(event(1, "odd\0\u{2028}\n\"", None, None), START),
            ],
            choices: vec![Choice {
                app: "com.example.shop".parse().unwrap(),
                device: device(1),
                chosen: None,
                at: 1,
                expires: Some(2),
            }],
            offers: Vec::new(),
            lost: Some(START),
            sent: vec![Sent { zip: crate::fleet::testing::bundle("2.0.0"), day: 3, bytes: 5 }],
        };
        let bytes = encode(segment.clone()).unwrap();
        assert_eq!(decode(Uuid::from_bytes([3; 16]), &bytes).unwrap(), segment);
        for cut in [0, 1, bytes.len() / 2, bytes.len() - 1] {
            assert!(decode(Uuid::nil(), &bytes[..cut]).is_err(), "{cut} of {}", bytes.len());
        }
        assert!(decode(Uuid::nil(), b"no gzip at all").is_err());
    }

    #[test]
    fn lines_of_later_releases_are_skipped() {
        let mut writer = GzEncoder::new(Vec::new(), Compression::fast());
        writer.write_all(b"{\"tomorrow\":{\"a\":1}}\n").unwrap();
        let known = Line::Event(Reported::of(event(1, "set", None, None), START));
        serde_json::to_writer(&mut writer, &known).unwrap();
        let bytes = writer.finish().unwrap();
        assert_eq!(decode(Uuid::nil(), &bytes).unwrap().events.len(), 1);
        let mut writer = GzEncoder::new(Vec::new(), Compression::fast());
        writer.write_all(b"{\"event\":\n").unwrap();
        assert!(decode(Uuid::nil(), &writer.finish().unwrap()).is_err());
    }
}

//! What the text of a field must be, beyond its type: one function per sort of value, each with a reason when it is not.

use std::{sync::OnceLock, time::Duration};

use jiff::{Timestamp, tz::TimeZoneDatabase};
use sluice_core::{
    channel::Target,
    diagnostic::Code,
    digest::Digest,
    ids::{AppId, ChannelName, Version},
    native::NativeRange,
    request::DeviceKey,
};
use url::Url;

/// Why a value is refused.
pub(crate) type Reason = (Code, String);

/// A check of one value.
pub(crate) type Check = fn(&str) -> Result<(), Reason>;

fn invalid(reason: impl Into<String>) -> Reason {
    (Code::InvalidValue, reason.into())
}

pub(crate) fn app(text: &str) -> Result<(), Reason> {
    text.parse::<AppId>().map(drop).map_err(|e| invalid(e.to_string()))
}

pub(crate) fn version(text: &str) -> Result<(), Reason> {
    text.parse::<Version>().map(drop).map_err(|e| invalid(version_hint(text, e)))
}

pub(crate) fn target(text: &str) -> Result<(), Reason> {
    Target::try_from(text.to_owned()).map(drop).map_err(|e| {
        if text.eq_ignore_ascii_case("builtin") {
            return invalid(format!("write `builtin` in lower case instead of `{text}`"));
        }
        invalid(format!("{}; or write `builtin` for the bundle of the native app", version_hint(text, e)))
    })
}

/// Adds what was probably meant: two numbers, or a leading `v`.
fn version_hint(text: &str, error: impl std::fmt::Display) -> String {
    let bare = text.strip_prefix(['v', 'V']).unwrap_or(text);
    let padded = match bare.split('.').count() {
        1 => format!("{bare}.0.0"),
        2 => format!("{bare}.0"),
        _ => bare.to_owned(),
    };
    if padded != text && padded.parse::<Version>().is_ok() {
        format!("{error}; write `{padded}`")
    } else {
        error.to_string()
    }
}

pub(crate) fn channel(text: &str) -> Result<(), Reason> {
    text.parse::<ChannelName>().map(drop).map_err(|e| invalid(e.to_string()))
}

pub(crate) fn native_range(text: &str) -> Result<(), Reason> {
    text.parse::<NativeRange>().map(drop).map_err(|e| invalid(e.to_string()))
}

/// A pattern of the id that an app gives its devices.
pub(crate) fn custom_id(text: &str) -> Result<(), Reason> {
    if text.trim() == text && !text.contains(char::is_control) {
        return Ok(());
    }
    Err(invalid("a custom id neither begins nor ends with a space, and has no control characters"))
}

/// The key of a device, from its id or from `sha256:` and the SHA-256 of the lower-cased id.
pub(crate) fn device_key(text: &str) -> Option<DeviceKey> {
    if let Some(digest) = text.strip_prefix("sha256:") {
        let digest: Digest = digest.to_ascii_lowercase().parse().ok()?;
        return Some(DeviceKey::from_bytes(digest.as_bytes()[..16].try_into().ok()?));
    }
    let is_uuid = text.len() == 36
        && text.bytes().enumerate().all(|(index, byte)| match index {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        });
    is_uuid.then(|| DeviceKey::of(text))
}

/// What is refused is not repeated: it may be the id of a person's device.
pub(crate) fn device_id(text: &str) -> Result<(), Reason> {
    device_key(text).map(drop).ok_or_else(|| {
        invalid(
            "this is no device id: expected a UUID as devices send it, or `sha256:` and the SHA-256 of the lower-cased id \
             in 64 hexadecimal characters",
        )
    })
}

pub(crate) fn locale(text: &str) -> Result<(), Reason> {
    let mut parts = text.split(['-', '_']);
    let language = parts
        .next()
        .is_some_and(|part| (2..=8).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphabetic()));
    let rest =
        parts.all(|part| (1..=8).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric()));
    if language && rest {
        return Ok(());
    }
    Err(invalid(format!("`{text}` is not a language: expected one such as `fr` or `fr-CA`")))
}

pub(crate) fn country(text: &str) -> Result<(), Reason> {
    if text.len() == 2 && text.bytes().all(|b| b.is_ascii_alphabetic()) {
        return Ok(());
    }
    Err(invalid(format!("`{text}` is not a country: expected the two letters of ISO 3166, such as `FR`")))
}

pub(crate) fn sha256(text: &str) -> Result<(), Reason> {
    if text.parse::<Digest>().is_ok() {
        return Ok(());
    }
    let lower = text.strip_prefix("sha256:").unwrap_or(text).to_lowercase();
    let hint = if lower.parse::<Digest>().is_ok() { format!("; write `{lower}`") } else { String::new() };
    Err(invalid(format!("this is no SHA-256 digest: expected 64 lower-case hexadecimal characters{hint}")))
}

pub(crate) fn oci_digest(text: &str) -> Result<(), Reason> {
    match text.strip_prefix("sha256:").map(str::parse::<Digest>) {
        Some(Ok(_)) => Ok(()),
        _ => Err(invalid("expected `sha256:` and 64 lower-case hexadecimal characters")),
    }
}

/// An `https` URL without credentials. What is refused is not repeated: it may hold a password.
pub(crate) fn https(text: &str) -> Result<(), Reason> {
    let url = Url::parse(text)
        .map_err(|e| invalid(format!("this is no URL ({e}); expected `https://host/path`")))?;
    if url.scheme() != "https" {
        let message = format!("the scheme `{}` is refused; only `https` URLs are followed", url.scheme());
        return Err((Code::BundleAddressRefused, message));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(invalid("a URL in Git must not hold credentials; remove what stands before the `@`"));
    }
    if url.host().is_none() || text.contains(char::is_whitespace) {
        return Err(invalid("this is no URL; expected `https://host/path` without spaces"));
    }
    Ok(())
}

/// A page that people open.
pub(crate) fn link(text: &str) -> Result<(), Reason> {
    https(text).map_err(|(_, message)| invalid(message))
}

/// Longest duration that a file may ask for.
const LONGEST_DURATION: Duration = Duration::from_hours(24 * 366);

pub(crate) fn duration(text: &str) -> Result<(), Reason> {
    let Some(duration) = sluice_crds::common::duration(text) else {
        return Err(invalid(format!(
            "`{text}` is not a duration: expected numbers with the units d, h, m, s or ms, such as `30m` or `1h30m`"
        )));
    };
    if duration.is_zero() {
        return Err(invalid("a duration of nothing waits for nothing; remove the line or give a longer one"));
    }
    if duration > LONGEST_DURATION {
        return Err(invalid("a duration may be 366 days at most"));
    }
    Ok(())
}

/// A share above 0 % and below 100 %, in parts per million.
pub(crate) fn parts_per_million(text: &str) -> Option<u32> {
    let number = text.strip_suffix('%')?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let digits =
        |t: &str, most: usize| (1..=most).contains(&t.len()) && t.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole, 2) || !digits(fraction, 4) {
        return None;
    }
    let parts = whole.parse::<u32>().ok()? * 10_000 + format!("{fraction:0<4}").parse::<u32>().ok()?;
    (parts > 0).then_some(parts)
}

pub(crate) fn share(text: &str) -> Result<(), Reason> {
    parts_per_million(text).map(drop).ok_or_else(|| {
        invalid(format!(
            "`{text}` is not a share: expected one above 0 % and below 100 % with at most four decimals, such as `1%`"
        ))
    })
}

pub(crate) fn weight(text: &str) -> Result<(), Reason> {
    match parts_per_million(text) {
        Some(_) => Ok(()),
        None if text.strip_suffix('%').unwrap_or(text).parse() == Ok(100.0) => {
            Err(invalid("100 % follows the last step by itself; remove this step"))
        }
        None => Err(invalid(format!(
            "`{text}` is not a weight: expected a share above 0 % and below 100 % with at most four decimals, such as `10%`"
        ))),
    }
}

pub(crate) fn time_of_day(text: &str) -> Result<(), Reason> {
    let well = match text.as_bytes() {
        [h1, h2, b':', m1, m2] => {
            [h1, h2, m1, m2].iter().all(|b| b.is_ascii_digit())
                && (*h1 < b'2' || (*h1 == b'2' && *h2 < b'4'))
                && *m1 < b'6'
        }
        _ => false,
    };
    if well {
        Ok(())
    } else {
        Err(invalid(format!("`{text}` is not a time of day: expected `HH:MM` from 00:00 to 23:59")))
    }
}

pub(crate) fn time_zone(text: &str) -> Result<(), Reason> {
    static ZONES: OnceLock<TimeZoneDatabase> = OnceLock::new();
    let zones = ZONES.get_or_init(TimeZoneDatabase::bundled);
    if zones.get(text).is_ok() {
        return Ok(());
    }
    let names: Vec<String> = zones.available().map(|name| name.to_string()).collect();
    let hint = sluice_core::suggest::closest(text, names.iter().map(String::as_str))
        .map_or_else(String::new, |name| format!("; did you mean `{name}`?"));
    Err(invalid(format!(
        "`{text}` is not a time zone: expected a name such as `Europe/Paris` or `UTC`{hint}"
    )))
}

pub(crate) fn timestamp(text: &str) -> Result<(), Reason> {
    text.parse::<Timestamp>().map(drop).map_err(|_| {
        invalid(format!(
            "`{text}` is not a time: expected RFC 3339 with an offset, such as `2026-12-01T09:00:00Z`"
        ))
    })
}

/// The name of an object: what Kubernetes calls a DNS subdomain.
pub(crate) fn object_name(text: &str) -> Result<(), Reason> {
    let label = |l: &str| {
        !l.is_empty()
            && !l.starts_with('-')
            && !l.ends_with('-')
            && l.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    if text.split('.').all(label) {
        return Ok(());
    }
    Err(invalid(format!(
        "`{text}` is not an object name: expected lower-case letters, digits, `-` and `.`, beginning and ending with a \
         letter or digit"
    )))
}

pub(crate) fn namespace(text: &str) -> Result<(), Reason> {
    if text.len() <= 63 && !text.contains('.') && object_name(text).is_ok() {
        return Ok(());
    }
    Err(invalid(format!(
        "`{text}` is not a namespace: expected at most 63 lower-case letters, digits and `-`"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for good in ["30m", "1h30m", "1.5h", "7d", "500ms"] {
            assert_eq!(duration(good), Ok(()), "{good}");
        }
        for bad in ["", "30", "m", "1.h", ".5h", "-1h", "0s", "1y", "400d", "1h 30m", "1hé", "1.2.3h"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn weights() {
        assert_eq!(parts_per_million("1%"), Some(10_000));
        assert_eq!(parts_per_million("0.5%"), Some(5_000));
        assert_eq!(parts_per_million("99.9999%"), Some(999_999));
        for bad in ["0%", "100%", "1", "1.23456%", "-1%", "%", ".5%", "1.%"] {
            assert_eq!(parts_per_million(bad), None, "{bad}");
        }
    }

    #[test]
    fn times_and_zones() {
        assert!(time_of_day("09:00").is_ok() && time_of_day("23:59").is_ok());
        for bad in ["9:00", "24:00", "09:60", "09-00", "0900", "é9:00"] {
            assert!(time_of_day(bad).is_err(), "{bad}");
        }
        assert_eq!(time_zone("Europe/Paris"), Ok(()));
        assert!(time_zone("Europe/Pariss").unwrap_err().1.contains("did you mean `Europe/Paris`"));
    }

    #[test]
    fn credentials_are_not_repeated() {
        let (code, message) = https("https://user:hunter2@example.org/x.zip").unwrap_err();
        assert_eq!(code, Code::InvalidValue);
        assert!(!message.contains("hunter2"));
        assert_eq!(https("http://example.org/x.zip").unwrap_err().0, Code::BundleAddressRefused);
    }
}

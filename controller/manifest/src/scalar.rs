//! Which type a scalar without quotes has, in the way of kubectl, so that a file means the same in Git and in a cluster.

/// The type of a scalar without quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plain {
    /// Nothing, or `null`.
    Null,
    /// `true` or `false`.
    Flag(bool),
    /// `yes`, `off` and the like, which kubectl reads as a truth value and many editors as text.
    OldFlag(bool),
    /// A whole number, when it fits.
    Whole(Option<i64>),
    /// A number with a fraction or an exponent.
    Fraction,
    /// Anything else.
    Text,
}

/// The type of `text`.
pub(crate) fn plain(text: &str) -> Plain {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Plain::Null,
        "true" | "True" | "TRUE" => Plain::Flag(true),
        "false" | "False" | "FALSE" => Plain::Flag(false),
        "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => Plain::OldFlag(true),
        "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => Plain::OldFlag(false),
        _ => number(text),
    }
}

fn number(text: &str) -> Plain {
    let (negative, digits) = match text.as_bytes() {
        [b'-', ..] => (true, &text[1..]),
        [b'+', ..] => (false, &text[1..]),
        _ => (false, text),
    };
    if matches!(digits, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN") {
        return Plain::Fraction;
    }
    for (prefix, radix) in [("0x", 16), ("0o", 8), ("0b", 2)] {
        if let Some(rest) = digits.strip_prefix(prefix) {
            let rest = rest.replace('_', "");
            let well = !rest.is_empty() && rest.chars().all(|c| c.is_digit(radix));
            return if well {
                Plain::Whole(signed(negative, i64::from_str_radix(&rest, radix).ok()))
            } else {
                Plain::Text
            };
        }
    }
    if digits.starts_with(|c: char| c.is_ascii_digit())
        && digits.bytes().all(|b| b.is_ascii_digit() || b == b'_')
    {
        return Plain::Whole(signed(negative, digits.replace('_', "").parse().ok()));
    }
    if is_fraction(digits) { Plain::Fraction } else { Plain::Text }
}

fn signed(negative: bool, number: Option<i64>) -> Option<i64> {
    if negative { number.and_then(i64::checked_neg) } else { number }
}

/// `1.5`, `1.`, `.5`, `1e3`.
fn is_fraction(text: &str) -> bool {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (text, None),
    };
    let digits = |t: &str| t.bytes().all(|b| b.is_ascii_digit());
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let exponent = exponent.is_none_or(|e| {
        let e = e.strip_prefix(['+', '-']).unwrap_or(e);
        !e.is_empty() && digits(e)
    });
    exponent && digits(whole) && digits(fraction) && !(whole.is_empty() && fraction.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_those_of_kubectl() {
        for (text, expected) in [
            ("", Plain::Null),
            ("~", Plain::Null),
            ("true", Plain::Flag(true)),
            ("yes", Plain::OldFlag(true)),
            ("12", Plain::Whole(Some(12))),
            ("-0x1F", Plain::Whole(Some(-31))),
            ("1_000", Plain::Whole(Some(1000))),
            ("99999999999999999999", Plain::Whole(None)),
            ("1.4", Plain::Fraction),
            ("1e3", Plain::Fraction),
            (".5", Plain::Fraction),
            (".inf", Plain::Fraction),
            ("1.4.2", Plain::Text),
            (".", Plain::Text),
            ("-", Plain::Text),
            ("e3", Plain::Text),
            ("1e", Plain::Text),
            ("09:00", Plain::Text),
            ("2026-12-01T09:00:00Z", Plain::Text),
            ("é", Plain::Text),
        ] {
            assert_eq!(plain(text), expected, "{text:?}");
        }
    }
}

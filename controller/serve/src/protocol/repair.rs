//! Mends what clients are known to send and JSON readers refuse: texts that were cut in the middle of a character.
//!
//! A device that crashed reports it in `metadata`, cut to a length in UTF-16 units; half a character must not cost the
//! whole batch. It runs only when a body was refused as it is.

/// The body with broken characters replaced by U+FFFD, raw control characters in strings by spaces, and numbers that no
/// double can hold by 0. What is not JSON for another reason stays so.
pub(crate) fn repair(body: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(body);
    let text = text.trim_start_matches('\u{feff}');
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut string = false;
    while let Some(c) = rest.chars().next() {
        let taken = match c {
            '\\' if string => escape(rest, &mut out),
            '"' => {
                string = !string;
                out.push(c);
                1
            }
            _ if string => {
                out.push(if c.is_control() { ' ' } else { c });
                c.len_utf8()
            }
            '-' | '0'..='9' => number(rest, &mut out),
            _ => {
                out.push(c);
                c.len_utf8()
            }
        };
        rest = &rest[taken..];
    }
    out.into_bytes()
}

/// Copies the escape that `rest` begins with; half a surrogate pair becomes U+FFFD. Returns the bytes that it took.
fn escape(rest: &str, out: &mut String) -> usize {
    let unit = |at: usize| -> Option<u16> {
        let text = rest.get(at..at + 6)?.strip_prefix("\\u")?;
        u16::from_str_radix(text, 16).ok()
    };
    let taken = match (unit(0), unit(6)) {
        (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => 12,
        (Some(0xd800..=0xdfff), _) => {
            out.push('\u{fffd}');
            return 6;
        }
        (Some(_), _) => 6,
        (None, _) => 1 + rest[1..].chars().next().map_or(0, char::len_utf8),
    };
    out.push_str(&rest[..taken]);
    taken
}

fn number(rest: &str, out: &mut String) -> usize {
    let end =
        rest.find(|c: char| !matches!(c, '0'..='9' | '+' | '-' | '.' | 'e' | 'E')).unwrap_or(rest.len());
    let token = &rest[..end];
    let infinite = token.parse::<f64>().is_ok_and(f64::is_infinite);
    out.push_str(if infinite { "0" } else { token });
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mended(body: &[u8]) -> serde_json::Value {
        serde_json::from_slice(&repair(body)).unwrap()
    }

    #[test]
    fn cut_characters_cost_only_themselves() {
        assert_eq!(mended(br#"{"a":"x\ud83d"}"#)["a"], "x\u{fffd}");
        assert_eq!(mended(br#"{"a":"\ud83d\ude00\\u"}"#)["a"], "\u{1f600}\\u");
        assert_eq!(mended(b"\xef\xbb\xbf{\"a\":\"\xff\x01b\"}")["a"], "\u{fffd} b");
        assert_eq!(
            mended(br#"{"a":1e999,"b":-2.5e3,"c":"1e999"}"#),
            serde_json::json!({"a":0,"b":-2500.0,"c":"1e999"})
        );
    }

    #[test]
    fn what_is_not_json_stays_so() {
        for body in [&b"{\"a\":"[..], b"\"\\", b"{\"a\":\"\\ud8", b"nope", b"{\"a\" \"\\u12\xc3\xa9\"}"] {
            assert!(serde_json::from_slice::<serde_json::Value>(&repair(body)).is_err());
        }
    }
}

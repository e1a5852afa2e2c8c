//! Which bytes of a file a request asks for (RFC 9110 section 14). Pure.

/// What to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Selected {
    /// The whole file.
    Whole,
    /// `first` to `last`, both included.
    Part {
        /// First byte.
        first: u64,
        /// Last byte.
        last: u64,
    },
    /// Nothing: the file has no such bytes.
    Unsatisfiable,
}

/// Reads a `Range` header for a file of `size` bytes. What is no valid single range of bytes is ignored, as the
/// standard wants; a range that begins at the end of the file or beyond is unsatisfiable, which is what keeps clients
/// from trying for ever (`device-protocol` section 7.3).
pub(super) fn select(header: &[u8], size: u64) -> Selected {
    read(header, size).unwrap_or(Selected::Whole)
}

fn read(header: &[u8], size: u64) -> Option<Selected> {
    let text = std::str::from_utf8(header).ok()?;
    let (unit, range) = text.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let (first, last) = range.trim().split_once('-')?;
    let (first, last) = match (first.trim(), last.trim()) {
        ("", suffix) => {
            let suffix = number(suffix)?;
            (size.saturating_sub(suffix), if suffix == 0 { 0 } else { size })
        }
        (first, "") => (number(first)?, size),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            if last < first {
                return None;
            }
            (first, last.saturating_add(1).min(size))
        }
    };
    Some(if first < last { Selected::Part { first, last: last - 1 } } else { Selected::Unsatisfiable })
}

/// A number that is too large is as good as the largest one.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::{Selected::*, *};

    #[rstest]
    #[case("bytes=0-", Part { first: 0, last: 99 })]
    #[case("bytes=10-", Part { first: 10, last: 99 })]
    #[case("bytes=99-", Part { first: 99, last: 99 })]
    #[case("bytes=100-", Unsatisfiable)]
    #[case("bytes=101-", Unsatisfiable)]
    #[case("bytes=99999999999999999999999-", Unsatisfiable)]
    #[case("bytes=10-19", Part { first: 10, last: 19 })]
    #[case("bytes=10-10", Part { first: 10, last: 10 })]
    #[case("bytes=10-100", Part { first: 10, last: 99 })]
    #[case("bytes=10-99999999999999999999999", Part { first: 10, last: 99 })]
    #[case("bytes=100-200", Unsatisfiable)]
    #[case("bytes=-1", Part { first: 99, last: 99 })]
    #[case("bytes=-100", Part { first: 0, last: 99 })]
    #[case("bytes=-1000", Part { first: 0, last: 99 })]
    #[case("bytes=-0", Unsatisfiable)]
    #[case("Bytes = 0-9", Part { first: 0, last: 9 })]
    #[case("bytes= 0 - 9", Part { first: 0, last: 9 })]
    #[case("bytes=19-10", Whole)]
    #[case("bytes=-", Whole)]
    #[case("bytes=", Whole)]
    #[case("bytes", Whole)]
    #[case("", Whole)]
    #[case("items=0-9", Whole)]
    #[case("bytes=0-9,20-29", Whole)]
    #[case("bytes=a-b", Whole)]
    #[case("bytes=+1-", Whole)]
    #[case("bytes=0x1-", Whole)]
    #[case("bytes=1-2-3", Whole)]
    fn of_a_hundred_bytes(#[case] header: &str, #[case] expected: Selected) {
        assert_eq!(select(header.as_bytes(), 100), expected);
    }

    #[test]
    fn bytes_that_are_not_text_are_ignored() {
        assert_eq!(select(b"bytes=\xff-", 100), Whole);
    }

    #[test]
    fn an_empty_file_has_no_part() {
        for header in ["bytes=0-", "bytes=0-0", "bytes=-5"] {
            assert_eq!(select(header.as_bytes(), 0), Unsatisfiable, "{header}");
        }
    }
}

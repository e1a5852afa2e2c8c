//! A short text on the stack, so that the hot path does not allocate for a version number.

use std::fmt::{self, Write as _};

const MOST: usize = 48;

/// The first bytes of what was displayed.
pub(super) struct ShortText {
    bytes: [u8; MOST],
    len: usize,
}

impl ShortText {
    pub(super) fn of(value: impl fmt::Display) -> Self {
        let mut text = Self { bytes: [0; MOST], len: 0 };
        // What does not fit is cut, which is the only error there is.
        _ = write!(text, "{value}");
        text
    }

    pub(super) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..self.len]).unwrap_or_default()
    }
}

impl fmt::Write for ShortText {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let fits = text.floor_char_boundary(MOST - self.len);
        self.bytes[self.len..self.len + fits].copy_from_slice(&text.as_bytes()[..fits]);
        self.len += fits;
        if fits < text.len() { Err(fmt::Error) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_between_characters() {
        assert_eq!(ShortText::of("8.51.23").as_str(), "8.51.23");
        assert_eq!(ShortText::of("ü".repeat(100)).as_str(), "ü".repeat(24));
        assert_eq!(ShortText::of(format!("x{}", "ü".repeat(100))).as_str(), format!("x{}", "ü".repeat(23)));
    }
}

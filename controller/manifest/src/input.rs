//! From bytes to the pieces of text that may be documents of ours.

use sluice_core::diagnostic::Code;

use crate::limits;

/// Every document of ours names the group.
const GROUP: &str = sluice_crds::GROUP;

const LFS: &[u8] = b"version https://git-lfs.github.com/spec/";

/// Why a file cannot be read at all.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) code: Code,
    pub(crate) line: u32,
    pub(crate) column: u32,
    pub(crate) message: String,
}

impl Refused {
    fn whole(code: Code, message: String) -> Self {
        Self { code, line: 0, column: 0, message }
    }
}

/// The text of a file; `None` when nothing in it can be ours.
pub(crate) fn decode(bytes: &[u8]) -> Result<Option<&str>, Refused> {
    if bytes.starts_with(LFS) {
        let message = "the file is a Git LFS pointer, and LFS content is not fetched; store manifests in Git itself \
                       (`git lfs untrack`, then commit the file again)";
        return Err(Refused::whole(Code::LfsPointer, message.into()));
    }
    let wide = bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) || bytes.contains(&0);
    if !mentions(bytes, wide) {
        return Ok(None);
    }
    if bytes.len() > limits::FILE_BYTES {
        let message = format!(
            "the file has {} bytes, and manifests may have {} at most; split it",
            bytes.len(),
            limits::FILE_BYTES
        );
        return Err(Refused::whole(Code::TooLarge, message));
    }
    let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
    match std::str::from_utf8(bytes) {
        Ok(text) => match text.find('\0') {
            None => Ok(Some(text)),
            Some(at) => {
                Err(misplaced(text, at, "there is a NUL character here; save the file as plain UTF-8 text"))
            }
        },
        Err(_) if wide => {
            let message = "the file is UTF-16 or binary; save it as UTF-8 without a byte-order mark";
            Err(Refused::whole(Code::Encoding, message.into()))
        }
        Err(e) => {
            let valid = std::str::from_utf8(&bytes[..e.valid_up_to()]).unwrap_or_default();
            Err(misplaced(
                valid,
                valid.len(),
                "there is a byte here that is not UTF-8; save the file as UTF-8",
            ))
        }
    }
}

/// An encoding problem at byte `at` of `text`.
fn misplaced(text: &str, at: usize, message: &str) -> Refused {
    let before = &text[..at];
    let line = before.bytes().filter(|b| *b == b'\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    Refused { code: Code::Encoding, line: narrow(line), column: narrow(column), message: message.into() }
}

/// A count that fits by the limit on the size of files.
pub(crate) fn narrow(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn mentions(bytes: &[u8], wide: bool) -> bool {
    if wide {
        let narrow: Vec<u8> = bytes.iter().copied().filter(|b| *b != 0).collect();
        return contains(&narrow);
    }
    contains(bytes)
}

fn contains(bytes: &[u8]) -> bool {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.contains(GROUP),
        Err(_) => bytes.windows(GROUP.len()).any(|w| w == GROUP.as_bytes()),
    }
}

/// A part of a file between two document markers.
#[derive(Debug)]
pub(crate) struct Chunk<'a> {
    pub(crate) text: &'a str,
    /// Line of the file on which it begins, from 1.
    pub(crate) line: usize,
}

/// The parts of `text` that mention the group.
///
/// `---` and `...` at the start of a line end a document wherever they stand, also inside quotes and block scalars, so
/// documents can be told apart before any of them is parsed, and a broken one does not take its neighbours along.
pub(crate) fn chunks(text: &str) -> impl Iterator<Item = Chunk<'_>> {
    let mut rest = Some((text, 1));
    std::iter::from_fn(move || {
        let (text, line) = rest.take()?;
        let (end, lines) = first_document(text);
        if end < text.len() {
            rest = Some((&text[end..], line + lines));
        }
        Some(Chunk { text: &text[..end], line })
    })
    .filter(|chunk| chunk.text.contains(GROUP) && !is_blank(chunk.text))
}

/// Length and lines of the part of `text` before its next marker.
fn first_document(text: &str) -> (usize, usize) {
    let mut at = 0;
    let mut lines = 0;
    while let Some(newline) = text[at..].find('\n') {
        at += newline + 1;
        lines += 1;
        if is_marker(&text[at..]) {
            return (at, lines);
        }
    }
    (text.len(), lines)
}

fn is_marker(line: &str) -> bool {
    (line.starts_with("---") || line.starts_with("..."))
        && line.as_bytes().get(3).is_none_or(|b| matches!(b, b' ' | b'\t' | b'\r' | b'\n'))
}

/// Whether there are only comments and directives, which belong to the next document.
fn is_blank(text: &str) -> bool {
    text.lines().all(|line| {
        let line = line.trim();
        line.is_empty() || line.starts_with(['#', '%']) || is_bare_marker(line)
    })
}

fn is_bare_marker(line: &str) -> bool {
    (line.starts_with("---") || line.starts_with("...")) && {
        let rest = line[3..].trim_start();
        rest.is_empty() || rest.starts_with('#')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_begin_at_markers_and_know_their_lines() {
        let text = "# sluice.dev\n---\na: sluice.dev\n---\nb: 1\n--- # c\nc: |\n  ---\n  sluice.dev\n...\n%YAML 1.2\n---\nd: sluice.dev";
        let found: Vec<(usize, &str)> =
            chunks(text).map(|c| (c.line, c.text.lines().nth(1).unwrap())).collect();
        assert_eq!(found, [(2, "a: sluice.dev"), (6, "c: |"), (12, "d: sluice.dev")]);
    }

    #[test]
    fn what_looks_like_a_marker_and_is_none() {
        assert!(!is_marker("----\n"));
        assert!(!is_marker("---a"));
        assert!(is_marker("---\r\n"));
        assert!(is_marker("---"));
        assert!(is_marker("--- {}"));
    }
}

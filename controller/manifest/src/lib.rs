//! Manifests: the bytes of a YAML file in, checked objects and precise problems out.
//!
//! A file may hold many documents. Those of group `sluice.dev` are checked against the same schemas that the API
//! server uses, field by field, so that one reading reports everything that is wrong; those of anybody else are left
//! alone, whatever they are. No input makes it panic, and none costs more than the budgets in [`limits`] allow.

use std::sync::Arc;

use serde::Deserialize as _;
use sluice_core::{
    diagnostic::{Code, Diagnostic, Location},
    inventory::{FileEntry, Located},
};

mod channel;
mod document;
mod freezes;
mod input;
pub mod limits;
mod point;
mod release;
mod scalar;
mod shape;
mod tree;
mod unread;
mod values;
mod walk;

pub use freezes::{InvalidFreeze, freezes};
pub use point::{PointError, point};
pub use unread::Unread;

/// What one file declares.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ParsedFile {
    /// Its objects, in the order of their documents.
    pub objects: Vec<Located>,
    /// Its problems, by line.
    pub problems: Vec<Diagnostic>,
    /// Whether every document of ours became an object. If not, what the file declared before is Unknown, not absent.
    pub complete: bool,
}

impl ParsedFile {
    /// The entry of the inventory for content with the object id `oid`; nothing when the file holds nothing of ours.
    pub fn into_entry(self, oid: String) -> Option<FileEntry> {
        let Self { objects, problems, complete } = self;
        let ours = !objects.is_empty() || !problems.is_empty() || !complete;
        // Not collected: that would keep the room of the objects themselves for their pointers, in every file of thousands.
        let mut shared = Vec::with_capacity(objects.len());
        shared.extend(objects.into_iter().map(Arc::new));
        let objects = shared;
        ours.then_some(FileEntry { oid, objects, problems, complete })
    }
}

/// Whether a file of this name may hold manifests.
pub fn is_candidate(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.rsplit_once('.').is_some_and(|(stem, extension)| {
        !stem.is_empty() && (extension.eq_ignore_ascii_case("yaml") || extension.eq_ignore_ascii_case("yml"))
    })
}

/// Whether bytes are documents that somebody may have written on purpose: text in YAML whose documents are mappings or
/// lists. For a file that declared something before and now does not: garbage in its place says nothing.
pub fn is_plausible(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    bytes.len() <= limits::FILE_BYTES
        && !text.contains('\0')
        && serde_yaml::Deserializer::from_str(text).all(|document| {
            serde_yaml::Value::deserialize(document)
                .is_ok_and(|value| value.is_null() || value.is_mapping() || value.is_sequence())
        })
}

/// Reads the file at `path` (from the repository's root, with `/` separators).
pub fn parse_file(path: &str, bytes: &[u8]) -> ParsedFile {
    parse(path, bytes, &mut |_, _| ())
}

/// A document of ours without a mistake, as the API server takes it.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// The object it declares, and where.
    pub located: Located,
    /// The whole document as JSON.
    pub json: serde_json::Value,
}

/// The documents of the file at `path` that are without mistakes, in their order.
pub fn documents(path: &str, bytes: &[u8]) -> Vec<Document> {
    let mut documents = Vec::new();
    parse(path, bytes, &mut |located, json| documents.push(Document { located: located.clone(), json }));
    documents
}

/// Reads a file, and hands out each document without a mistake.
fn parse(path: &str, bytes: &[u8], each: &mut impl FnMut(&Located, serde_json::Value)) -> ParsedFile {
    let text = match input::decode(bytes) {
        Ok(Some(text)) => text,
        Ok(None) => return ParsedFile { complete: true, ..ParsedFile::default() },
        Err(input::Refused { code, line, column, message }) => {
            let at = Location { file: path.to_owned(), line, column };
            return ParsedFile {
                problems: vec![Diagnostic::new(code, at, message)],
                ..ParsedFile::default()
            };
        }
    };
    let mut file = ParsedFile { complete: true, ..ParsedFile::default() };
    for (index, chunk) in input::chunks(text).enumerate() {
        if index == limits::DOCUMENTS {
            let at = Location { file: path.to_owned(), line: input::narrow(chunk.line), column: 1 };
            let message = format!("the file has more than {} documents; split it", limits::DOCUMENTS);
            file.problems.push(Diagnostic::new(Code::TooLarge, at, message));
            file.complete = false;
            break;
        }
        read_chunk(path, &chunk, &mut file, each);
    }
    file.problems.sort();
    file.problems.truncate(limits::FILE_PROBLEMS);
    file
}

/// Reads the documents of one chunk, normally one.
fn read_chunk(
    path: &str,
    chunk: &input::Chunk<'_>,
    file: &mut ParsedFile,
    each: &mut impl FnMut(&Located, serde_json::Value),
) {
    let mut documents = tree::Documents::new(chunk.text, chunk.line);
    loop {
        match documents.next() {
            Ok(None) => return,
            Ok(Some(tree)) => {
                if let Some(read) = document::read(path, tree) {
                    file.complete &= read.object.is_some();
                    if let Some(located) = &read.object {
                        each(located, read.json);
                    }
                    file.objects.extend(read.object);
                    file.problems.extend(read.problems);
                }
            }
            Err(failure) => {
                let at = Location { file: path.to_owned(), line: failure.at.line, column: failure.at.column };
                file.problems.push(Diagnostic::new(failure.code, at, walk::printable(&failure.message)));
                file.complete = false;
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::is_plausible;

    #[test]
    fn garbage_is_not_plausible() {
        for good in ["", "# nothing\n", "a: 1\n---\n- b\n", "kind: ConfigMap\n"] {
            assert!(is_plausible(good.as_bytes()), "{good}");
        }
        let bad: [&[u8]; 5] =
            [b"\xff\xfe", b"a\0b", b"<!doctype html>", b"a: [", b"-----BEGIN AGE ENCRYPTED FILE-----\nYWdl"];
        for bad in bad {
            assert!(!is_plausible(bad), "{}", String::from_utf8_lossy(bad));
        }
    }
}

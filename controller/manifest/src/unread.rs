//! Why a path that may hold manifests is not read: the same words whether it stands in a commit or on a disk.

use sluice_core::{
    diagnostic::{Code, Diagnostic, Location},
    inventory::FileEntry,
};

use crate::limits;

/// Why a path is not read. What it declared before is Unknown, not absent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unread {
    /// A submodule.
    Submodule,
    /// A symbolic link.
    Symlink,
    /// A name that is not usable text.
    Unnameable,
    /// A file of this many bytes, more than [`limits::FILE_BYTES`].
    TooLarge(u64),
    /// A file that declared something before and is nothing that anybody would write now.
    Garbage,
    /// It could not be read this time, for this reason.
    Failed(String),
}

impl Unread {
    fn problem(self) -> (Code, String) {
        match self {
            Self::Submodule => (
                Code::Submodule,
                "submodules are never read; move the manifests into this repository".to_owned(),
            ),
            Self::Symlink => {
                (Code::Symlink, "symbolic links are never followed; put the file itself here".to_owned())
            }
            Self::Unnameable => {
                (Code::Encoding, "the name of this file is not usable text; rename it".to_owned())
            }
            Self::TooLarge(size) => {
                let limit = limits::FILE_BYTES;
                let message =
                    format!("the file has {size} bytes, more than the {limit} that a manifest may have; split it");
                (Code::TooLarge, message)
            }
            Self::Garbage => (
                Code::Syntax,
                "this file declared releases or channels and is no YAML any more; they stay as they were. Restore \
                 the file, or delete it to remove them"
                    .to_owned(),
            ),
            Self::Failed(reason) => (Code::Unreadable, format!("{reason}; it will be tried again")),
        }
    }

    /// The entry of the file at `path`, whose content has the object id `oid`; empty when it has none.
    pub fn entry(self, path: &str, oid: String) -> FileEntry {
        let at = Location { file: path.to_owned(), line: 0, column: 0 };
        let (code, message) = self.problem();
        let problems = vec![Diagnostic::new(code, at, message)];
        FileEntry { oid, objects: Vec::new(), problems, complete: false }
    }
}

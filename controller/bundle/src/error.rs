//! Why something is not a bundle.

use std::{fmt, io};

use sluice_core::diagnostic::Code;

use crate::names::NameProblem;

/// A name as it stands in error messages: control characters escaped, shortened, in backquotes.
#[derive(Clone, PartialEq, Eq)]
pub struct Shown(String);

impl Shown {
    pub(crate) fn new(name: &str) -> Self {
        const CHARACTERS: usize = 160;
        let mut text: String = name.escape_debug().take(CHARACTERS).collect();
        if name.escape_debug().nth(CHARACTERS).is_some() {
            text.push('…');
        }
        Self(text)
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.0)
    }
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why something cannot be packed. Every variant that is about an entry names it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// No `index.html` anywhere that would help.
    #[error("there is no index.html at the root of the bundle")]
    NoIndex,
    /// The web app sits one folder too deep.
    #[error(
        "index.html was found in {folder} and must be at the root; point to that folder, or pack its content"
    )]
    NestedIndex {
        /// The only top-level folder, with a final `/`.
        folder: Shown,
    },
    /// A name that some phones refuse, or write elsewhere.
    #[error("the file name {name} {problem}")]
    Name {
        /// The entry.
        name: Shown,
        /// What is wrong with it.
        problem: NameProblem,
    },
    /// One name twice.
    #[error("{name} stands in the bundle twice")]
    Duplicate {
        /// The entry.
        name: Shown,
    },
    /// Two names that are one file on some devices.
    #[error("{first} and {second} are the same name on devices that ignore case or Unicode normalisation")]
    Collision {
        /// The one that came first.
        first: Shown,
        /// The other.
        second: Shown,
    },
    /// A name that is a file and also a folder.
    #[error("{name} is both a file and a folder")]
    FileAndFolder {
        /// The entry.
        name: Shown,
    },
    /// Too many files.
    #[error("the bundle holds {count} entries, the limit is {limit}")]
    TooManyFiles {
        /// How many.
        count: usize,
        /// How many may be.
        limit: usize,
    },
    /// One file is too large.
    #[error("{name} is larger than {limit} bytes")]
    FileTooLarge {
        /// The entry.
        name: Shown,
        /// Bytes that it may have.
        limit: u64,
    },
    /// All files together are too large.
    #[error("with {name} the bundle is larger than {limit} bytes")]
    TooLarge {
        /// The entry that exceeds the limit.
        name: Shown,
        /// Bytes that all may have.
        limit: u64,
    },
    /// An entry that unpacks to suspiciously much.
    #[error("{name} unpacks to more than {limit} times its compressed size")]
    Ratio {
        /// The entry.
        name: Shown,
        /// The limit.
        limit: u64,
    },
    /// An encrypted entry.
    #[error("{name} is encrypted inside the zip; pack it without a password")]
    Encrypted {
        /// The entry.
        name: Shown,
    },
    /// A compression method that phones do not know.
    #[error("{name} is compressed in a way that phones cannot read; use deflate or store")]
    Method {
        /// The entry.
        name: Shown,
    },
    /// A symbolic link.
    #[error("{name} is a symbolic link; put the file itself there")]
    Symlink {
        /// The entry.
        name: Shown,
    },
    /// The content does not match its checksum.
    #[error("{name} is damaged: its CRC-32 does not match")]
    Crc {
        /// The entry.
        name: Shown,
    },
    /// The content has another length than was declared.
    #[error("{name} is not as long as declared ({declared} bytes)")]
    Length {
        /// The entry.
        name: Shown,
        /// Declared bytes.
        declared: u64,
    },
    /// Not a zip, or one that its readers would understand differently.
    #[error("not a usable zip file: {reason}")]
    Zip {
        /// What was found.
        reason: String,
    },
    /// A source file could not be read.
    #[error("could not read {name}: {source}")]
    Read {
        /// The entry.
        name: Shown,
        /// Why.
        source: io::Error,
    },
    /// The zip could not be written.
    #[error("could not write the zip: {0}")]
    Write(#[source] io::Error),
}

impl BundleError {
    /// The file `name` could not be read.
    pub fn read(name: &str, source: io::Error) -> Self {
        Self::Read { name: Shown::new(name), source }
    }

    /// The code under which it is reported.
    pub fn code(&self) -> Code {
        match self {
            Self::NoIndex | Self::NestedIndex { .. } => Code::BundleWithoutIndex,
            Self::Name { .. }
            | Self::Duplicate { .. }
            | Self::Collision { .. }
            | Self::FileAndFolder { .. } => Code::BundleFileName,
            Self::TooManyFiles { .. }
            | Self::FileTooLarge { .. }
            | Self::TooLarge { .. }
            | Self::Ratio { .. } => Code::BundleTooLarge,
            Self::Symlink { .. }
            | Self::Encrypted { .. }
            | Self::Method { .. }
            | Self::Crc { .. }
            | Self::Length { .. }
            | Self::Zip { .. } => Code::BundleFormat,
            Self::Read { .. } => Code::Unreadable,
            Self::Write(_) => Code::BundleNotStored,
        }
    }

    /// Whether the same input may succeed later.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Read { .. } | Self::Write(_))
    }
}

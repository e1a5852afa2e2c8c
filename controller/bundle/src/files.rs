//! Where the packer takes files from: a list with one opener per file here, or an existing zip in `archive`.

use std::io::{self, Read};

use crate::error::BundleError;

/// What is known of a file before it is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileMeta {
    /// Relative path with `/` separators.
    pub path: String,
    /// Plaintext bytes. Reading another number is an error.
    pub size: u64,
    /// CRC-32 that the content must have, where the source states one.
    pub crc32: Option<u32>,
}

/// A set of files that can be read one at a time, each more than once.
pub trait Files {
    /// Every file, in any order.
    fn list(&self) -> &[FileMeta];
    /// Names of folders that the source states as entries of their own; they are checked and not packed.
    fn folders(&self) -> &[String] {
        &[]
    }
    /// The content of `list()[index]`.
    fn open(&mut self, index: usize) -> Result<Box<dyn Read + '_>, BundleError>;
}

type Opener<'a> = Box<dyn FnMut() -> io::Result<Box<dyn Read + 'a>> + Send + 'a>;

/// Files by path, size and a function that opens the content.
#[derive(Default)]
pub struct FileList<'a> {
    metas: Vec<FileMeta>,
    openers: Vec<Opener<'a>>,
}

impl<'a> FileList<'a> {
    /// An empty list.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a file. `open` is called again when the file turns out not to be compressible.
    pub fn push(
        &mut self,
        path: impl Into<String>,
        size: u64,
        open: impl FnMut() -> io::Result<Box<dyn Read + 'a>> + Send + 'a,
    ) {
        self.metas.push(FileMeta { path: path.into(), size, crc32: None });
        self.openers.push(Box::new(open));
    }

    /// Adds a file whose content is at hand.
    pub fn push_bytes(&mut self, path: impl Into<String>, content: &'a [u8]) {
        self.push(path, content.len() as u64, move || Ok(Box::new(content)));
    }
}

impl Files for FileList<'_> {
    fn list(&self) -> &[FileMeta] {
        &self.metas
    }

    fn open(&mut self, index: usize) -> Result<Box<dyn Read + '_>, BundleError> {
        (self.openers[index])().map_err(|source| BundleError::Read {
            name: crate::error::Shown::new(&self.metas[index].path),
            source,
        })
    }
}

//! An existing zip as a source of files. Only archives that all readers understand alike are taken: nothing before or
//! behind, no overlaps, local headers that agree with the directory.

use std::io::{BufReader, Read, Seek};

use zip::{CompressionMethod, ZipArchive, read::ZipReadOptions};

use crate::{
    error::{BundleError, Shown},
    files::{FileMeta, Files},
    limits::Limits,
    names::NameProblem,
};

/// The files of a zip.
pub struct ZipFiles<R> {
    archive: ZipArchive<BufReader<R>>,
    metas: Vec<FileMeta>,
    folders: Vec<String>,
    /// Where each of `metas` is in the archive.
    indexes: Vec<usize>,
}

impl<R: Read + Seek> ZipFiles<R> {
    /// Reads the directory of a zip (a `File`, or `Cursor` over bytes) and checks every entry's header.
    pub fn open(mut reader: R, limits: &Limits) -> Result<Self, BundleError> {
        let not_zip = |reason: String| BundleError::Zip { reason };
        check_ends(&mut reader, limits)?;
        let mut archive = ZipArchive::new(BufReader::new(reader)).map_err(|e| not_zip(e.to_string()))?;
        if archive.offset() != 0 {
            return Err(not_zip("something stands before the archive".into()));
        }
        if archive.has_duplicate_names() {
            return Err(find_duplicate(archive));
        }
        let (mut metas, mut folders, mut indexes) = (Vec::new(), Vec::new(), Vec::new());
        for index in 0..archive.len() {
            let entry = archive.by_index_raw(index).map_err(|e| not_zip(e.to_string()))?;
            let Ok(name) = std::str::from_utf8(entry.name_raw()) else {
                let name = Shown::new(&String::from_utf8_lossy(entry.name_raw()));
                return Err(BundleError::Name { name, problem: NameProblem::NotUtf8 });
            };
            let shown = || Shown::new(name);
            if entry.is_symlink() {
                return Err(BundleError::Symlink { name: shown() });
            }
            if entry.encrypted() {
                return Err(BundleError::Encrypted { name: shown() });
            }
            if !matches!(entry.compression(), CompressionMethod::Stored | CompressionMethod::Deflated) {
                return Err(BundleError::Method { name: shown() });
            }
            if name.ends_with('/') {
                if entry.size() != 0 {
                    return Err(not_zip(format!("the folder {} has content", shown())));
                }
                folders.push(name.to_owned());
                continue;
            }
            let (size, compressed) = (entry.size(), entry.compressed_size());
            if size > limits.ratio_free_bytes && size > compressed.saturating_mul(limits.ratio) {
                return Err(BundleError::Ratio { name: shown(), limit: limits.ratio });
            }
            metas.push(FileMeta { path: name.to_owned(), size, crc32: Some(entry.crc32()) });
            indexes.push(index);
        }
        archive.validate_header_consistency().map_err(|e| not_zip(e.to_string()))?;
        Ok(Self { archive, metas, folders, indexes })
    }
}

impl<R: Read + Seek> Files for ZipFiles<R> {
    fn list(&self) -> &[FileMeta] {
        &self.metas
    }

    fn folders(&self) -> &[String] {
        &self.folders
    }

    fn open(&mut self, index: usize) -> Result<Box<dyn Read + '_>, BundleError> {
        // The packer compares the CRC itself, to name the entry.
        let options = ZipReadOptions::new().ignore_crc32(true);
        let entry = self.archive.by_index_with_options(self.indexes[index], options).map_err(|e| {
            BundleError::Zip {
                reason: format!("{} cannot be read: {e}", Shown::new(&self.metas[index].path)),
            }
        })?;
        Ok(Box::new(entry))
    }
}

/// The first and the last record: a zip starts with a local header and ends with the directory's end record, whose
/// comment fills the rest. The number of entries is bounded before anything is allocated for them.
fn check_ends<R: Read + Seek>(reader: &mut R, limits: &Limits) -> Result<(), BundleError> {
    const END_BYTES: u64 = 22;
    let not_zip = |reason: &str| BundleError::Zip { reason: reason.to_owned() };
    let io = |source| BundleError::Read { name: Shown::new("the zip file"), source };
    let size = reader.seek(std::io::SeekFrom::End(0)).map_err(io)?;
    if size < END_BYTES {
        return Err(not_zip("it is too short"));
    }
    let tail = size.min(END_BYTES + u64::from(u16::MAX));
    reader.seek(std::io::SeekFrom::Start(size - tail)).map_err(io)?;
    let mut bytes = Vec::new();
    reader.take(tail).read_to_end(&mut bytes).map_err(io)?;
    let word = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
    let ends = |at: &usize| {
        bytes[*at..].starts_with(b"PK\x05\x06") && at + 22 + usize::from(word(at + 20)) == bytes.len()
    };
    let Some(end) = (0..=bytes.len() - 22).rev().find(ends) else {
        return Err(not_zip("its directory is missing, or something stands behind the archive"));
    };
    let count = usize::from(word(end + 10));
    if count != usize::from(u16::MAX) && count > limits.entries {
        return Err(BundleError::TooManyFiles { count, limit: limits.entries });
    }
    reader.seek(std::io::SeekFrom::Start(0)).map_err(io)?;
    let mut magic = [0_u8; 4];
    reader.read_exact(&mut magic).map_err(io)?;
    match &magic {
        b"PK\x03\x04" => Ok(()),
        b"PK\x05\x06" => Err(BundleError::NoIndex),
        _ => Err(not_zip("it does not start with an entry")),
    }
}

/// The archive reader keeps the last of several entries of one name; this walks the directory for the name.
fn find_duplicate<R: Read + Seek>(archive: ZipArchive<BufReader<R>>) -> BundleError {
    let start = archive.central_directory_start();
    let mut directory = Vec::new();
    let mut reader = archive.into_inner();
    let read = reader.seek(std::io::SeekFrom::Start(start)).and_then(|_| reader.read_to_end(&mut directory));
    let mut seen = std::collections::HashSet::new();
    let mut rest = directory.as_slice();
    while read.is_ok() && rest.len() >= 46 && rest.starts_with(b"PK\x01\x02") {
        let length = |at: usize| usize::from(u16::from_le_bytes([rest[at], rest[at + 1]]));
        let (name, end) = (46 + length(28), 46 + length(28) + length(30) + length(32));
        if rest.len() < end {
            break;
        }
        if !seen.insert(&rest[46..name]) {
            return BundleError::Duplicate { name: Shown::new(&String::from_utf8_lossy(&rest[46..name])) };
        }
        rest = &rest[end..];
    }
    BundleError::Zip { reason: "an entry name stands in its directory twice".into() }
}

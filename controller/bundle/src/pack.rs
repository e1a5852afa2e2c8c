//! Packing: check everything that can be checked by name and size, then write file by file.

use std::{fs::File, io};

use sluice_core::{
    digest::{BundleFile, Digest, bundle_digest},
    record::Zip,
};

use crate::{
    error::{BundleError, Shown},
    files::Files,
    limits::Limits,
    names,
    writer::{Failure, ZipWriter},
};

/// A bundle, packed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packed {
    /// Identity of the set of files.
    pub digest: Digest,
    /// The files, sorted by the bytes of their paths.
    pub files: Vec<BundleFile>,
    /// Figures of the zip that was written.
    pub zip: Zip,
}

/// Writes the files as one deterministic zip into `out` (from its beginning, former content is dropped).
///
/// The same files give the same bytes, whatever their order. One buffer of each file is in memory at a time. Nothing is
/// left out: `.DS_Store` and the like are files as any other, so that the zip holds what the source holds.
///
/// Blocking: call it where blocking is allowed. `out` is not synced to disk.
pub fn pack(files: &mut dyn Files, limits: &Limits, out: &mut File) -> Result<Packed, BundleError> {
    check(files, limits)?;
    let mut order: Vec<usize> = (0..files.list().len()).collect();
    order.sort_unstable_by(|a, b| files.list()[*a].path.as_bytes().cmp(files.list()[*b].path.as_bytes()));

    let mut writer = ZipWriter::new(out).map_err(BundleError::Write)?;
    let mut packed = Vec::with_capacity(order.len());
    for index in order {
        let meta = files.list()[index].clone();
        let name = || Shown::new(&meta.path);
        let length = || BundleError::Length { name: name(), declared: meta.size };
        let written = writer.add(files, index).map_err(|failure| match failure {
            Failure::Source(error) => error,
            // Only archives state a CRC, and only their readers fail over content.
            Failure::Read(source) if meta.crc32.is_some() && is_about_content(&source) => {
                BundleError::Zip { reason: format!("{} cannot be unpacked: {source}", name()) }
            }
            Failure::Read(source) => BundleError::Read { name: name(), source },
            Failure::Write(source) => BundleError::Write(source),
            Failure::Longer => length(),
        })?;
        if written.size != meta.size {
            return Err(length());
        }
        if meta.crc32.is_some_and(|stated| stated != written.crc32) {
            return Err(BundleError::Crc { name: name() });
        }
        packed.push(BundleFile { path: meta.path, size: written.size, sha256: written.sha256 });
    }
    let zip = writer.finish().map_err(BundleError::Write)?;
    Ok(Packed { digest: bundle_digest(&packed), files: packed, zip })
}

fn is_about_content(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
    matches!(error.kind(), InvalidData | InvalidInput | UnexpectedEof)
}

/// Finds what is wrong without reading a byte of content: names, sizes, a missing `index.html`.
pub fn check(files: &dyn Files, limits: &Limits) -> Result<(), BundleError> {
    let list = files.list();
    let count = list.len() + files.folders().len();
    if count > limits.entries {
        return Err(BundleError::TooManyFiles { count, limit: limits.entries });
    }
    names::check_all(
        list.iter().map(|f| f.path.as_str()),
        files.folders().iter().map(String::as_str),
        limits,
    )?;
    let mut total = 0_u64;
    for file in list {
        if file.size > limits.file_bytes {
            return Err(BundleError::FileTooLarge { name: Shown::new(&file.path), limit: limits.file_bytes });
        }
        total = total.saturating_add(file.size);
        if total > limits.total_bytes {
            return Err(BundleError::TooLarge { name: Shown::new(&file.path), limit: limits.total_bytes });
        }
    }
    if list.iter().any(|f| f.path == "index.html") {
        return Ok(());
    }
    let mut tops = list.iter().map(|f| f.path.split_once('/').map(|(top, _)| top));
    let first = tops.next().flatten();
    Err(match first {
        Some(top)
            if tops.all(|other| other == first)
                && list.iter().any(|f| f.path == format!("{top}/index.html")) =>
        {
            BundleError::NestedIndex { folder: Shown::new(&format!("{top}/")) }
        }
        _ => BundleError::NoIndex,
    })
}

#[cfg(test)]
mod tests;

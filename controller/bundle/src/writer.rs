//! A zip writer for exactly one dialect: what old Android's stream reader and iOS both understand, with nothing in it
//! that differs from run to run.
//!
//! Sizes and CRC stand in every local header (no data descriptors), times are 1980-01-01, there are no permissions, no
//! folder entries, no extra fields and no zip64. A general writer would follow its library's next major version; the
//! bytes of this one change only when this file or the deflate implementation does.

use std::{
    fs::File,
    io::{self, BufReader, Read, Seek as _, SeekFrom, Write},
};

use flate2::{Compression, write::DeflateEncoder};
use sha2::{Digest as _, Sha256};
use sluice_core::{digest::Digest, record::Zip};

use crate::{
    error::BundleError,
    files::{FileMeta, Files},
};

const LOCAL_HEADER: u32 = 0x0403_4b50;
const CENTRAL_HEADER: u32 = 0x0201_4b50;
const END_OF_DIRECTORY: u32 = 0x0605_4b50;
/// Version 2.0: deflate. The upper byte of "made by" is 0 (no permissions of any system).
const VERSION: u16 = 20;
/// Names are UTF-8.
const FLAGS: u16 = 1 << 11;
const STORED: u16 = 0;
const DEFLATED: u16 = 8;
/// 1980-01-01, the earliest date that can be written.
const DATE: u16 = (1 << 5) | 1;
const LOCAL_HEADER_BYTES: u64 = 30;

/// Plaintext figures of a file that was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) size: u64,
    pub(crate) sha256: Digest,
    pub(crate) crc32: u32,
}

/// Where adding a file failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The source said so.
    Source(BundleError),
    /// Reading the source.
    Read(io::Error),
    /// Writing the zip.
    Write(io::Error),
    /// The source holds more than was declared.
    Longer,
}

struct Entry {
    name: String,
    offset: u32,
    method: u16,
    crc32: u32,
    compressed: u32,
    size: u32,
}

/// Writes one zip from the beginning of a file.
pub(crate) struct ZipWriter<'a> {
    out: &'a mut File,
    /// End of the last complete entry.
    at: u64,
    entries: Vec<Entry>,
}

impl<'a> ZipWriter<'a> {
    /// Starts at the beginning of `out`, whose former content is dropped.
    pub(crate) fn new(out: &'a mut File) -> io::Result<Self> {
        out.set_len(0)?;
        Ok(Self { out, at: 0, entries: Vec::new() })
    }

    /// Adds `files.list()[index]`, deflated, or stored when that is not larger; then it is opened twice.
    pub(crate) fn add(&mut self, files: &mut dyn Files, index: usize) -> Result<Written, Failure> {
        let FileMeta { path: name, size: declared, .. } = files.list()[index].clone();
        let start = self.at + LOCAL_HEADER_BYTES + name.len() as u64;
        self.out.seek(SeekFrom::Start(start)).map_err(Failure::Write)?;
        let content = files.open(index).map_err(Failure::Source)?;
        let (mut written, mut compressed) = deflate(content, declared, self.out)?;
        let mut method = DEFLATED;
        if compressed >= written.size {
            self.out.set_len(start).map_err(Failure::Write)?;
            self.out.seek(SeekFrom::Start(start)).map_err(Failure::Write)?;
            let content = files.open(index).map_err(Failure::Source)?;
            written = pump(content, declared, self.out)?;
            (compressed, method) = (written.size, STORED);
        }
        let entry = Entry {
            name,
            offset: small(self.at).map_err(Failure::Write)?,
            method,
            crc32: written.crc32,
            compressed: small(compressed).map_err(Failure::Write)?,
            size: small(written.size).map_err(Failure::Write)?,
        };
        self.out.seek(SeekFrom::Start(self.at)).map_err(Failure::Write)?;
        self.out.write_all(&entry.local_header()).map_err(Failure::Write)?;
        self.at = start + compressed;
        self.entries.push(entry);
        Ok(written)
    }

    /// Writes the directory and returns the figures of the whole file, read back from it.
    pub(crate) fn finish(self) -> io::Result<Zip> {
        let Self { out, at, entries } = self;
        out.seek(SeekFrom::Start(at))?;
        let mut directory = Vec::new();
        for entry in &entries {
            directory.extend_from_slice(&entry.central_header());
        }
        let count = u16::try_from(entries.len()).map_err(|_| too_large())?;
        let mut end = Vec::with_capacity(22);
        put32(&mut end, END_OF_DIRECTORY);
        put16s(&mut end, &[0, 0, count, count]);
        put32(&mut end, small(directory.len() as u64)?);
        put32(&mut end, small(at)?);
        put16s(&mut end, &[0]);
        out.write_all(&directory)?;
        out.write_all(&end)?;
        out.flush()?;

        out.seek(SeekFrom::Start(0))?;
        let (size, sha256, crc32) = figures(&mut *out)?;
        Ok(Zip { sha256, crc32, size })
    }
}

impl Entry {
    fn local_header(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(30 + self.name.len());
        put32(&mut bytes, LOCAL_HEADER);
        self.common(&mut bytes);
        bytes.extend_from_slice(self.name.as_bytes());
        bytes
    }

    fn central_header(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(46 + self.name.len());
        put32(&mut bytes, CENTRAL_HEADER);
        put16s(&mut bytes, &[VERSION]);
        self.common(&mut bytes);
        // Comment length, disk, internal attributes, external attributes.
        put16s(&mut bytes, &[0, 0, 0, 0, 0]);
        put32(&mut bytes, self.offset);
        bytes.extend_from_slice(self.name.as_bytes());
        bytes
    }

    /// The part that both headers share: version needed up to the length of the extra field.
    fn common(&self, bytes: &mut Vec<u8>) {
        put16s(bytes, &[VERSION, FLAGS, self.method, 0, DATE]);
        put32(bytes, self.crc32);
        put32(bytes, self.compressed);
        put32(bytes, self.size);
        let length = u16::try_from(self.name.len()).expect("names are checked to be shorter");
        put16s(bytes, &[length, 0]);
    }
}

/// Size, SHA-256 and CRC-32 of everything that `from` still holds.
pub(crate) fn figures(from: impl Read) -> io::Result<(u64, Digest, u32)> {
    let mut from = BufReader::with_capacity(1 << 16, from);
    let (mut sha, mut crc, mut size) = (Sha256::new(), crc32fast::Hasher::new(), 0);
    loop {
        let chunk = io::BufRead::fill_buf(&mut from)?;
        if chunk.is_empty() {
            return Ok((size, Digest::from_bytes(sha.finalize().into()), crc.finalize()));
        }
        sha.update(chunk);
        crc.update(chunk);
        size += chunk.len() as u64;
        let used = chunk.len();
        io::BufRead::consume(&mut from, used);
    }
}

/// Copies `from` into `to`, deflated, and returns the compressed size as well.
fn deflate(from: Box<dyn Read + '_>, declared: u64, to: &mut File) -> Result<(Written, u64), Failure> {
    let counted = Counted { inner: io::BufWriter::new(to), bytes: 0 };
    let mut encoder = DeflateEncoder::new(counted, Compression::best());
    let written = pump(from, declared, &mut encoder)?;
    let Counted { mut inner, bytes } = encoder.finish().map_err(Failure::Write)?;
    inner.flush().map_err(Failure::Write)?;
    Ok((written, bytes))
}

/// Copies `from` into `to`, and stops as soon as it is longer than `declared`.
fn pump(mut from: Box<dyn Read + '_>, declared: u64, to: &mut dyn Write) -> Result<Written, Failure> {
    let mut buffer = vec![0_u8; 1 << 16];
    let (mut sha, mut crc, mut size) = (Sha256::new(), crc32fast::Hasher::new(), 0_u64);
    loop {
        let count = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(Failure::Read(e)),
        };
        size += count as u64;
        if size > declared {
            return Err(Failure::Longer);
        }
        sha.update(&buffer[..count]);
        crc.update(&buffer[..count]);
        to.write_all(&buffer[..count]).map_err(Failure::Write)?;
    }
    Ok(Written { size, sha256: Digest::from_bytes(sha.finalize().into()), crc32: crc.finalize() })
}

struct Counted<W> {
    inner: W,
    bytes: u64,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.bytes += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

fn put16s(bytes: &mut Vec<u8>, values: &[u16]) {
    for value in values {
        bytes.extend_from_slice(&value.to_le_bytes());
    }
}

fn put32(bytes: &mut Vec<u8>, value: u32) {
    bytes.extend_from_slice(&value.to_le_bytes());
}

fn small(value: u64) -> io::Result<u32> {
    // 0xffffffff announces zip64.
    u32::try_from(value).ok().filter(|v| *v != u32::MAX).ok_or_else(too_large)
}

fn too_large() -> io::Error {
    io::Error::new(io::ErrorKind::FileTooLarge, "the zip would need zip64, which phones do not read")
}

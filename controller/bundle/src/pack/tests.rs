//! Round trips, refusals, and what old clients need of the bytes.

use std::{
    collections::BTreeMap,
    io::{Cursor, Read as _, Seek as _, Write as _},
};

use proptest::prelude::*;
use sluice_core::diagnostic::Code;
use zip::{CompressionMethod, ZipArchive, write::SimpleFileOptions};

use super::*;
use crate::{archive::ZipFiles, files::FileList};

type Tree = BTreeMap<String, Vec<u8>>;

fn tree(files: &[(&str, &[u8])]) -> Tree {
    files.iter().map(|(path, content)| ((*path).to_owned(), content.to_vec())).collect()
}

fn listed<'a>(files: impl IntoIterator<Item = (&'a String, &'a Vec<u8>)>) -> FileList<'a> {
    let mut list = FileList::new();
    for (path, content) in files {
        list.push_bytes(path.clone(), content);
    }
    list
}

fn run(files: &mut dyn Files, limits: &Limits) -> Result<(Packed, Vec<u8>), BundleError> {
    let mut out = tempfile::tempfile().unwrap();
    let packed = pack(files, limits, &mut out)?;
    let mut bytes = Vec::new();
    out.seek(std::io::SeekFrom::Start(0)).unwrap();
    out.read_to_end(&mut bytes).unwrap();
    assert_eq!(packed.zip.size, bytes.len() as u64);
    assert_eq!(packed.zip.sha256, Digest::of(&bytes));
    assert_eq!(packed.zip.crc32, crc32fast::hash(&bytes));
    Ok((packed, bytes))
}

fn pack_zip(bytes: &[u8]) -> Result<(Packed, Vec<u8>), BundleError> {
    let limits = Limits::default();
    run(&mut ZipFiles::open(Cursor::new(bytes), &limits)?, &limits)
}

fn unpack(bytes: &[u8]) -> Tree {
    let mut archive = ZipArchive::new(Cursor::new(bytes)).unwrap();
    (0..archive.len())
        .map(|index| {
            let mut entry = archive.by_index(index).unwrap();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            (String::from_utf8(entry.name_raw().to_vec()).unwrap(), content)
        })
        .collect()
}

fn foreign(files: &[(&str, &[u8])], options: SimpleFileOptions) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in files {
        writer.start_file(*name, options).unwrap();
        writer.write_all(content).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

/// A hand-made zip of stored entries, for names and flags that no writer would produce.
struct Raw {
    locals: Vec<u8>,
    directory: Vec<u8>,
    count: u16,
}

impl Raw {
    fn new() -> Self {
        Self { locals: Vec::new(), directory: Vec::new(), count: 0 }
    }

    fn add(
        mut self,
        name: &[u8],
        content: &[u8],
        flags: u16,
        method: u16,
        crc: u32,
        attributes: u32,
    ) -> Self {
        let offset = u32::try_from(self.locals.len()).unwrap();
        let size = u32::try_from(content.len()).unwrap();
        let mut common = Vec::new();
        for value in [20, flags, method, 0, 33] {
            common.extend_from_slice(&u16::to_le_bytes(value));
        }
        for value in [crc, size, size] {
            common.extend_from_slice(&value.to_le_bytes());
        }
        common.extend_from_slice(&u16::try_from(name.len()).unwrap().to_le_bytes());
        common.extend_from_slice(&[0, 0]);
        self.locals.extend_from_slice(b"PK\x03\x04");
        self.locals.extend_from_slice(&common);
        self.locals.extend_from_slice(name);
        self.locals.extend_from_slice(content);
        // Made by Unix, so that attributes count.
        self.directory.extend_from_slice(b"PK\x01\x02\x14\x03");
        self.directory.extend_from_slice(&common);
        self.directory.extend_from_slice(&[0; 6]);
        self.directory.extend_from_slice(&attributes.to_le_bytes());
        self.directory.extend_from_slice(&offset.to_le_bytes());
        self.directory.extend_from_slice(name);
        self.count += 1;
        self
    }

    fn file(self, name: &[u8], content: &[u8]) -> Self {
        self.add(name, content, 1 << 11, 0, crc32fast::hash(content), 0o100_644 << 16)
    }

    fn finish(self) -> Vec<u8> {
        let mut bytes = self.locals;
        let at = u32::try_from(bytes.len()).unwrap();
        bytes.extend_from_slice(&self.directory);
        bytes.extend_from_slice(b"PK\x05\x06\0\0\0\0");
        bytes.extend_from_slice(&self.count.to_le_bytes());
        bytes.extend_from_slice(&self.count.to_le_bytes());
        bytes.extend_from_slice(&u32::try_from(self.directory.len()).unwrap().to_le_bytes());
        bytes.extend_from_slice(&at.to_le_bytes());
        bytes.extend_from_slice(&[0, 0]);
        bytes
    }
}

fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

fn sample() -> Tree {
    tree(&[
        ("index.html", b"<html></html>"),
        ("assets/app.js", &b"let a = 1;\n".repeat(5_000)),
        ("assets/noise.bin", &noise(200_000)),
        ("assets/\u{fc}ber \u{65e5}.txt", b"x"),
        ("__MACOSX/._index.html", b"junk"),
        (".DS_Store", b""),
        ("z-noise", &noise(70_000)),
    ])
}

#[test]
fn deterministic_whatever_the_order() {
    let tree = sample();
    let (first, bytes) = run(&mut listed(&tree), &Limits::default()).unwrap();
    let (second, again) = run(&mut listed(tree.iter().rev()), &Limits::default()).unwrap();
    assert_eq!(first, second);
    assert_eq!(bytes, again);
    assert_eq!(unpack(&bytes), tree);
    assert_eq!(first.files.len(), tree.len());
    assert!(first.files.is_sorted_by(|a, b| a.path.as_bytes() < b.path.as_bytes()));
    assert_eq!(first.digest, bundle_digest(&first.files));
}

#[test]
fn former_content_of_the_file_is_dropped() {
    let mut out = tempfile::tempfile().unwrap();
    out.write_all(&noise(500_000)).unwrap();
    let tree = tree(&[("index.html", b"x")]);
    let packed = pack(&mut listed(&tree), &Limits::default(), &mut out).unwrap();
    assert_eq!(out.metadata().unwrap().len(), packed.zip.size);
}

/// What a stream reader (Java's `ZipInputStream`) needs: it sees local headers only.
#[test]
fn readable_as_a_stream() {
    let tree = sample();
    let (_, bytes) = run(&mut listed(&tree), &Limits::default()).unwrap();
    let word = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
    let long = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
    let mut at = 0;
    let mut names = Vec::new();
    let mut methods = BTreeMap::new();
    while bytes[at..].starts_with(b"PK\x03\x04") {
        assert_eq!(word(at + 6), 1 << 11, "no data descriptor, no encryption, names are UTF-8");
        assert_eq!((word(at + 10), word(at + 12)), (0, 33), "1980-01-01");
        assert_eq!(word(at + 28), 0, "no extra field");
        let (compressed, size, length) = (long(at + 18), long(at + 22), usize::from(word(at + 26)));
        let name = String::from_utf8(bytes[at + 30..at + 30 + length].to_vec()).unwrap();
        let data = &bytes[at + 30 + length..at + 30 + length + compressed];
        let plain = match word(at + 8) {
            0 => data.to_vec(),
            8 => {
                let mut plain = Vec::new();
                flate2::read::DeflateDecoder::new(data).read_to_end(&mut plain).unwrap();
                plain
            }
            other => panic!("method {other}"),
        };
        assert_eq!(plain.len(), size);
        assert_eq!(u32::try_from(long(at + 14)).unwrap(), crc32fast::hash(&plain));
        assert_eq!(plain, tree[&name]);
        methods.insert(name.clone(), word(at + 8));
        names.push(name);
        at += 30 + length + compressed;
    }
    assert_eq!(names.len(), tree.len());
    assert!(names.is_sorted());
    assert_eq!(methods["assets/app.js"], 8);
    assert_eq!(methods["assets/noise.bin"], 0);
    assert_eq!(methods[".DS_Store"], 0);
}

/// The program, where it is installed; the other tests do not depend on it.
#[test]
fn unzip_agrees() {
    let (_, bytes) = run(&mut listed(&sample()), &Limits::default()).unwrap();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&bytes).unwrap();
    match std::process::Command::new("unzip").arg("-tq").arg(file.path()).output() {
        Ok(output) => assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout)),
        Err(e) => assert_eq!(e.kind(), std::io::ErrorKind::NotFound, "{e}"),
    }
}

/// Java's own stream reader, which old Android's is.
#[test]
fn java_agrees() {
    const PROGRAM: &str = "import java.io.*; import java.util.zip.*; public class Z {
        public static void main(String[] a) throws Exception {
            try (var z = new ZipInputStream(new FileInputStream(a[0]))) {
                ZipEntry e; int n = 0; long bytes = 0;
                while ((e = z.getNextEntry()) != null) { n++; bytes += z.readAllBytes().length; }
                System.out.println(n + \" \" + bytes);
            } } }";
    let tree = sample();
    let (_, bytes) = run(&mut listed(&tree), &Limits::default()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (zip, program) = (folder.path().join("x.zip"), folder.path().join("Z.java"));
    std::fs::write(&zip, bytes).unwrap();
    std::fs::write(&program, PROGRAM).unwrap();
    let output = std::process::Command::new("java").arg(program).arg(zip).output();
    let output = output.unwrap_or_else(|e| panic!("`java` (a JDK) reads the zip: {e}"));
    let expected = format!("{} {}", tree.len(), tree.values().map(Vec::len).sum::<usize>());
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(said.trim(), expected, "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_zip_and_its_files_are_one_bundle() {
    let files: &[(&str, &[u8])] =
        &[("index.html", b"<html>"), ("a/b.js", &[b'x'; 9_000]), (".DS_Store", b"m")];
    let zip = foreign(files, SimpleFileOptions::default().compression_method(CompressionMethod::Deflated));
    let from_zip = pack_zip(&zip).unwrap();
    let from_list = run(&mut listed(&tree(files)), &Limits::default()).unwrap();
    assert_eq!(from_zip, from_list);
}

#[test]
fn folder_entries_are_checked_and_not_packed() {
    let good = Raw::new().file(b"index.html", b"x").file(b"img/", b"").file(b"img/a", b"1").finish();
    assert_eq!(unpack(&pack_zip(&good).unwrap().1), tree(&[("index.html", b"x"), ("img/a", b"1")]));
    for (bad, code) in [
        (Raw::new().file(b"index.html", b"x").file(b"img/", b"1").finish(), Code::BundleFormat),
        (
            Raw::new().file(b"index.html", b"x").file(b"img/", b"").file(b"img", b"1").finish(),
            Code::BundleFileName,
        ),
        (Raw::new().file(b"index.html", b"x").file(b"../", b"").finish(), Code::BundleFileName),
    ] {
        assert_eq!(pack_zip(&bad).unwrap_err().code(), code);
    }
}

#[test]
fn index_html_must_be_at_the_root() {
    for (files, expected) in [
        (
            &[("dist/index.html", &b"x"[..]), ("dist/a.js", b"")][..],
            "found in `dist/` and must be at the root",
        ),
        (&[("dist/index.html", b"x"), ("other/a.js", b"")], "there is no index.html at the root"),
        (&[("a.js", b"x")], "there is no index.html at the root"),
        (&[("Index.html", b"x")], "there is no index.html at the root"),
        (&[], "there is no index.html at the root"),
    ] {
        let error = run(&mut listed(&tree(files)), &Limits::default()).unwrap_err();
        assert_eq!(error.code(), Code::BundleWithoutIndex);
        assert!(error.to_string().contains(expected), "{error}");
    }
    let empty = Raw::new().finish();
    assert_eq!(pack_zip(&empty).unwrap_err().code(), Code::BundleWithoutIndex);
}

#[test]
fn refused_entries_are_named() {
    let with = |name: &[u8]| Raw::new().file(b"index.html", b"x").file(name, b"y").finish();
    let odd = |flags, method, attributes| {
        let crc = crc32fast::hash(b"y");
        Raw::new().file(b"index.html", b"x").add(b"odd", b"y", flags, method, crc, attributes).finish()
    };
    for (bytes, code, expected) in [
        (with(b"../evil"), Code::BundleFileName, "`../evil` holds a `.` or `..` segment"),
        (with(b"/etc/passwd"), Code::BundleFileName, "`/etc/passwd` is absolute"),
        (with(b"C:\\x"), Code::BundleFileName, "`C:\\\\x` starts with a drive letter"),
        (with(b"a\\b"), Code::BundleFileName, "`a\\\\b` holds a backslash"),
        (with(b"a\0b"), Code::BundleFileName, "`a\\0b` holds a control character"),
        (with(b"caf\xe9"), Code::BundleFileName, "is not UTF-8"),
        (with(b"index.html"), Code::BundleFileName, "`index.html` stands in the bundle twice"),
        (with(b"INDEX.html"), Code::BundleFileName, "`index.html` and `INDEX.html` are the same name"),
        (odd(1, 0, 0), Code::BundleFormat, "`odd` is encrypted"),
        (odd(0, 12, 0), Code::BundleFormat, "`odd` is compressed in a way"),
        (odd(0, 0, 0o120_777 << 16), Code::BundleFormat, "`odd` is a symbolic link"),
        (
            Raw::new().file(b"index.html", b"x").add(b"odd", b"y", 0, 0, 7, 0).finish(),
            Code::BundleFormat,
            "`odd` is damaged: its CRC-32",
        ),
        (
            Raw::new().file(b"index.html", b"x").add(b"odd", b"\xff\xff\xff", 0, 8, 7, 0).finish(),
            Code::BundleFormat,
            "`odd` ",
        ),
    ] {
        let error = pack_zip(&bytes).unwrap_err();
        assert!(error.to_string().contains(expected), "{error} should hold {expected}");
        assert_eq!(error.code(), code, "{error}");
    }
}

#[test]
fn archives_that_readers_see_differently() {
    let good = Raw::new().file(b"index.html", b"x").file(b"a", b"y").finish();
    assert!(pack_zip(&good).is_ok());
    let prefixed = [b"#!/bin/sh\n", good.as_slice()].concat();
    let trailed = [good.as_slice(), b"more"].concat();
    let mut lying = good.clone();
    // The local header of the first entry says `index.htmX`.
    lying[39] = b'X';
    let truncated = &good[..good.len() - 10];
    for bytes in [&prefixed, &trailed, &lying, truncated, b"", b"PK", &noise(500)] {
        let error = pack_zip(bytes).unwrap_err();
        assert_eq!(error.code(), Code::BundleFormat, "{error}");
    }
    let mut commented = good.clone();
    let length = commented.len();
    commented[length - 2] = 5;
    commented.extend_from_slice(b"hello");
    assert_eq!(pack_zip(&commented).unwrap().0, pack_zip(&good).unwrap().0);
}

#[test]
fn bombs() {
    let limits = Limits { entries: 3, file_bytes: 2 << 20, total_bytes: 3 << 20, ..Limits::default() };
    let deflated = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
    let zeros = vec![0_u8; (1 << 20) + 1];
    let bomb = foreign(&[("index.html", b"x"), ("zeros", &zeros)], deflated);
    let Err(error) = ZipFiles::open(Cursor::new(&bomb), &limits) else { panic!("a bomb was opened") };
    assert_eq!(error.to_string(), "`zeros` unpacks to more than 200 times its compressed size");
    let small = foreign(&[("index.html", b"x"), ("zeros", &zeros[..1 << 20])], deflated);
    assert!(pack_zip(&small).is_ok());

    for (sizes, expected) in [
        (
            &[("index.html", 1_u64), ("a", 2 << 20), ("b", 2 << 20)][..],
            "with `b` the bundle is larger than 3145728",
        ),
        (&[("index.html", 1), ("a", (2 << 20) + 1)], "`a` is larger than 2097152 bytes"),
        (&[("index.html", 1), ("a", 1), ("b", 1), ("c", 1)], "the bundle holds 4 entries, the limit is 3"),
        (&[("index.html", 1), ("a", u64::MAX)], "`a` is larger than"),
    ] {
        let mut list = FileList::new();
        for (name, size) in sizes {
            list.push(*name, *size, || panic!("nothing is read"));
        }
        let error = run(&mut list, &limits).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert_eq!(error.code(), Code::BundleTooLarge);
    }
    let many: Vec<(String, Vec<u8>)> = (0..4).map(|n| (format!("f{n}"), Vec::new())).collect();
    let many: Vec<(&str, &[u8])> = many.iter().map(|(n, c)| (n.as_str(), c.as_slice())).collect();
    let Err(error) = ZipFiles::open(Cursor::new(foreign(&many, deflated)), &limits) else { panic!("opened") };
    assert_eq!(error.code(), Code::BundleTooLarge);
}

#[test]
fn content_must_be_as_long_as_declared() {
    for declared in [0_u64, 2, 4, 100] {
        let mut list = FileList::new();
        list.push("index.html", declared, || Ok(Box::new(&b"abc"[..])));
        let error = run(&mut list, &Limits::default()).unwrap_err();
        assert!(matches!(error, BundleError::Length { .. }), "{error}");
    }
}

#[test]
fn unreadable_content_is_transient() {
    let mut list = FileList::new();
    list.push("index.html", 1, || Err(std::io::Error::other("gone")));
    let error = run(&mut list, &Limits::default()).unwrap_err();
    assert_eq!((error.code(), error.is_transient()), (Code::Unreadable, true));
}

#[test]
fn a_full_disk_is_not_the_bundles_fault() {
    let tree = sample();
    // A file opened for reading only refuses every write, as a full disk does.
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut out = File::open(file.path()).unwrap();
    let error = pack(&mut listed(&tree), &Limits::default(), &mut out).unwrap_err();
    assert_eq!((error.code(), error.is_transient()), (Code::BundleNotStored, true));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn packing_a_packed_zip_changes_nothing(
        names in proptest::collection::btree_set("[a-z\u{e0}-\u{ff}]{1,8}(/[a-z0-9 ._-]{1,6}x){0,2}", 0..12),
        seed in any::<u64>(),
    ) {
        let mut tree = tree(&[("index.html", b"<html>")]);
        for (index, name) in names.into_iter().enumerate() {
            let length = usize::try_from(seed.rotate_left(u32::try_from(index).unwrap()) % 5_000).unwrap();
            let content = if index % 2 == 0 { noise(length) } else { vec![b'a'; length] };
            tree.insert(name, content);
        }
        match run(&mut listed(&tree), &Limits::default()) {
            Ok((first, bytes)) => {
                prop_assert_eq!(&unpack(&bytes), &tree);
                let (second, again) = pack_zip(&bytes).unwrap();
                prop_assert_eq!(first, second);
                prop_assert_eq!(bytes, again);
            }
            // Random names may meet.
            Err(error) => prop_assert_eq!(error.code(), Code::BundleFileName),
        }
    }

    #[test]
    fn no_bytes_make_the_reader_panic(mut bytes in Just(Raw::new().file(b"index.html", b"x").file(b"a/b", b"y").finish()),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        let _ = pack_zip(&bytes);
    }
}

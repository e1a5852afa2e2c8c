//! Files, zips and digests.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    io::{Cursor, Read as _},
    path::Path,
    process::Command,
};

use sha2::{Digest as _, Sha256};

use super::tool;

/// Every file below a folder, by its path with `/` separators.
pub fn read_tree(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    walkdir::WalkDir::new(folder)
        .into_iter()
        .map(Result::unwrap)
        .filter(|entry| entry.file_type().is_file())
        .map(|entry| {
            let path = entry.path().strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
            (path, fs::read(entry.path()).unwrap())
        })
        .collect()
}

/// Every file of a zip.
pub fn unzip(bytes: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).unwrap();
    let mut files = BTreeMap::new();
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).unwrap();
        if entry.is_dir() {
            continue;
        }
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        let name = entry.name().unwrap().into_owned();
        drop(entry);
        assert!(files.insert(name.clone(), content).is_none(), "{name} stands twice in the zip");
    }
    files
}

/// Has the program `unzip` test the zip and unpack it, and returns what came out.
pub fn run_unzip(bytes: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let folder = tempfile::tempdir().unwrap();
    let zip = folder.path().join("bundle.zip");
    fs::write(&zip, bytes).unwrap();
    let tested = tool(Command::new("unzip").arg("-t").arg(&zip));
    assert!(tested.contains("No errors detected"), "{tested}");
    let into = folder.path().join("files");
    tool(Command::new("unzip").arg("-q").arg(&zip).arg("-d").arg(&into));
    read_tree(&into)
}

/// SHA-256 in lower-case hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    hexadecimal(&Sha256::digest(bytes))
}

/// CRC-32 in lower-case hexadecimal, eight characters.
pub fn crc32(bytes: &[u8]) -> String {
    format!("{:08x}", crc32fast::hash(bytes))
}

/// HMAC-SHA-256 in lower-case hexadecimal, by its definition (RFC 2104).
pub fn hmac_sha256(key: &str, message: &[u8]) -> String {
    let block = |pad: u8| -> Vec<u8> {
        (0..64).map(|at| key.as_bytes().get(at).copied().unwrap_or(0) ^ pad).collect()
    };
    let inner = Sha256::digest([block(0x36).as_slice(), message].concat());
    hexadecimal(&Sha256::digest([block(0x5c).as_slice(), &inner].concat()))
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

//! Which file names every phone writes to the same place (`device-protocol` sections 7.1 and 7.4).

use std::{collections::HashMap, fmt};

use unicode_normalization::UnicodeNormalization as _;

use crate::{
    error::{BundleError, Shown},
    limits::Limits,
};

/// What is wrong with a name. Displayed after the name: "… is absolute".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum NameProblem {
    /// No characters at all.
    Empty,
    /// Starts with `/`.
    Absolute,
    /// Starts with a drive letter.
    Drive,
    /// Holds `\`.
    Backslash,
    /// Holds NUL, or another control character.
    Control,
    /// Holds `//` or ends with `/`.
    EmptySegment,
    /// Holds a segment `.` or `..`.
    DotSegment,
    /// A segment or the path is too long.
    TooLong,
    /// Not UTF-8.
    NotUtf8,
}

impl fmt::Display for NameProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "is empty",
            Self::Absolute => "is absolute; names must be relative to the bundle",
            Self::Drive => "starts with a drive letter",
            Self::Backslash => "holds a backslash; use `/`",
            Self::Control => "holds a control character",
            Self::EmptySegment => "holds an empty path segment",
            Self::DotSegment => "holds a `.` or `..` segment",
            Self::TooLong => "is too long for the file systems of phones",
            Self::NotUtf8 => "is not UTF-8",
        })
    }
}

/// Checks one name by itself.
pub(crate) fn check(name: &str, limits: &Limits) -> Result<(), NameProblem> {
    let bytes = name.as_bytes();
    match bytes {
        [] => return Err(NameProblem::Empty),
        [b'/', ..] => return Err(NameProblem::Absolute),
        [drive, b':', ..] if drive.is_ascii_alphabetic() => return Err(NameProblem::Drive),
        _ => {}
    }
    if bytes.contains(&b'\\') {
        return Err(NameProblem::Backslash);
    }
    if name.chars().any(char::is_control) {
        return Err(NameProblem::Control);
    }
    if bytes.len() > limits.path_bytes {
        return Err(NameProblem::TooLong);
    }
    for segment in name.split('/') {
        match segment {
            "" => return Err(NameProblem::EmptySegment),
            "." | ".." => return Err(NameProblem::DotSegment),
            long if long.len() > limits.segment_bytes => return Err(NameProblem::TooLong),
            _ => {}
        }
    }
    Ok(())
}

/// Checks every name by itself and against the others.
pub(crate) fn check_all<'a>(
    files: impl Iterator<Item = &'a str> + Clone,
    folders: impl Iterator<Item = &'a str> + Clone,
    limits: &Limits,
) -> Result<(), BundleError> {
    let mut seen: HashMap<String, &str> = HashMap::new();
    let mut as_folder: HashMap<String, &str> = HashMap::new();
    for name in files.clone() {
        check(name, limits).map_err(|problem| BundleError::Name { name: Shown::new(name), problem })?;
        if let Some(first) = seen.insert(fold(name), name) {
            return Err(if first == name {
                BundleError::Duplicate { name: Shown::new(name) }
            } else {
                BundleError::Collision { first: Shown::new(first), second: Shown::new(name) }
            });
        }
        // The last segment is the file; all before it are folders. Stop at the first one that is known already.
        let mut end = name.len();
        while let Some(slash) = name[..end].rfind('/') {
            end = slash;
            if as_folder.insert(fold(&name[..end]), &name[..end]).is_some() {
                break;
            }
        }
    }
    for stated in folders {
        let name = stated.trim_end_matches('/');
        check(name, limits).map_err(|problem| BundleError::Name { name: Shown::new(stated), problem })?;
        as_folder.entry(fold(name)).or_insert(name);
    }
    for name in files {
        if let Some(folder) = as_folder.get(&fold(name)) {
            return Err(if *folder == name {
                BundleError::FileAndFolder { name: Shown::new(name) }
            } else {
                BundleError::Collision { first: Shown::new(folder), second: Shown::new(name) }
            });
        }
    }
    Ok(())
}

/// The name as file systems see it that ignore case and normalisation.
fn fold(name: &str) -> String {
    if name.is_ascii() {
        name.to_ascii_lowercase()
    } else {
        name.nfd().collect::<String>().to_lowercase().nfc().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(files: &[&str], folders: &[&str]) -> Result<(), String> {
        check_all(files.iter().copied(), folders.iter().copied(), &Limits::default())
            .map_err(|e| e.to_string())
    }

    #[test]
    fn good_names() {
        let names =
            ["index.html", "a b/ü.js", ".well-known/x", "a..b", "...", "__MACOSX/._x", "é/日本.js", "x.br"];
        assert_eq!(all(&names, &["a b/", "empty/"]), Ok(()));
    }

    #[test]
    fn bad_names_are_named() {
        use NameProblem::{Absolute, Backslash, Control, DotSegment, Drive, Empty, EmptySegment, TooLong};
        let long = "x".repeat(256);
        let deep = "abcdefg/".repeat(100) + "x";
        for (name, expected) in [
            ("", Empty),
            ("/etc/passwd", Absolute),
            ("C:/x", Drive),
            ("c:x", Drive),
            ("a\\b", Backslash),
            ("a\0b", Control),
            ("a\nb", Control),
            ("a\u{85}b", Control),
            ("a//b", EmptySegment),
            ("a/", EmptySegment),
            ("../x", DotSegment),
            ("a/../b", DotSegment),
            ("./a", DotSegment),
            ("a/.", DotSegment),
            (&long, TooLong),
            (&deep, TooLong),
        ] {
            assert_eq!(check(name, &Limits::default()), Err(expected), "{name:?}");
            let message = all(&["index.html", name], &[]).unwrap_err();
            assert!(message.contains(&name.escape_debug().take(100).collect::<String>()), "{message}");
        }
    }

    #[test]
    fn names_that_meet() {
        for (files, folders, expected) in [
            (&["a", "a"][..], &[][..], "`a` stands in the bundle twice"),
            (&["A.js", "a.js"], &[], "`A.js` and `a.js` are the same name"),
            (&["é", "e\u{301}"], &[], "are the same name"),
            (&["É", "e\u{301}"], &[], "are the same name"),
            (&["a/b/c", "a/b"], &[], "`a/b` is both a file and a folder"),
            (&["a", "a/b/c"], &[], "`a` is both a file and a folder"),
            (&["A/b", "a"], &[], "`A` and `a` are the same name"),
            (&["a"], &["a/"], "`a` is both a file and a folder"),
            (&["a"], &["../"], "`../` holds a `.` or `..` segment"),
        ] {
            let message = all(files, folders).unwrap_err();
            assert!(message.contains(expected), "{message} should hold {expected}");
        }
    }
}

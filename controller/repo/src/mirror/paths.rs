//! Paths inside a repository: taking them apart, and which of them are wanted.

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use crate::error::{ReadError, SettingsError};

/// Which files are wanted, by glob patterns relative to the watched folder.
///
/// `*` does not cross folders, `**` does. Without include patterns everything is included; exclude patterns win.
#[derive(Debug, Clone, Default)]
pub struct PathFilter {
    include: Option<GlobSet>,
    exclude: GlobSet,
}

impl PathFilter {
    /// A filter of patterns.
    pub fn new<S: AsRef<str>>(include: &[S], exclude: &[S]) -> Result<Self, SettingsError> {
        let include = if include.is_empty() { None } else { Some(globs(include)?) };
        Ok(Self { include, exclude: globs(exclude)? })
    }

    /// Whether a path, relative to the watched folder, is wanted.
    pub fn matches(&self, path: &str) -> bool {
        self.include.as_ref().is_none_or(|globs| globs.is_match(path)) && !self.exclude.is_match(path)
    }
}

fn globs<S: AsRef<str>>(patterns: &[S]) -> Result<GlobSet, SettingsError> {
    let mut builder = GlobSetBuilder::new();
    for pattern in patterns {
        let pattern = pattern.as_ref();
        let refuse = |error: &globset::Error| SettingsError::Glob {
            pattern: pattern.to_owned(),
            reason: error.kind().to_string(),
        };
        // `build/` and `build` both mean the folder with all that is in it.
        let bare = pattern.trim_start_matches("./").trim_end_matches('/');
        for text in [bare.to_owned(), format!("{bare}/**")] {
            builder.add(
                GlobBuilder::new(&text).literal_separator(true).build().map_err(|error| refuse(&error))?,
            );
        }
    }
    builder.build().map_err(|error| SettingsError::Glob { pattern: String::new(), reason: error.to_string() })
}

/// The folders and the name that a path consists of.
pub(super) fn parts(path: &str) -> Result<Vec<&str>, ReadError> {
    let mut parts = Vec::new();
    if path.starts_with('/') || path.contains('\0') {
        return Err(ReadError::BadPath(path.to_owned()));
    }
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => return Err(ReadError::BadPath(path.to_owned())),
            name => parts.push(name),
        }
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(&[], &[], "a/b.yaml", true)]
    #[case(&["*.yaml"], &[], "b.yaml", true)]
    #[case(&["*.yaml"], &[], "a/b.yaml", false)]
    #[case(&["**/*.yaml"], &[], "a/b.yaml", true)]
    #[case(&["apps"], &[], "apps/a/b.yaml", true)]
    #[case(&[], &["old/"], "old/b.yaml", false)]
    #[case(&["**/*.yaml"], &["**/test/**"], "a/test/b.yaml", false)]
    fn patterns(
        #[case] include: &[&str],
        #[case] exclude: &[&str],
        #[case] path: &str,
        #[case] wanted: bool,
    ) {
        assert_eq!(PathFilter::new(include, exclude).unwrap().matches(path), wanted);
    }

    #[test]
    fn a_bad_pattern_is_named() {
        let error = PathFilter::new(&["a[b"], &[]).unwrap_err();
        assert!(error.to_string().contains("a[b"), "{error}");
    }

    #[rstest]
    #[case("", Some(vec![]))]
    #[case(".", Some(vec![]))]
    #[case("./a//b/", Some(vec!["a", "b"]))]
    #[case("../a", None)]
    #[case("a/../../b", None)]
    #[case("/etc", None)]
    fn paths_are_taken_apart(#[case] path: &str, #[case] expected: Option<Vec<&str>>) {
        assert_eq!(parts(path).ok(), expected);
    }
}

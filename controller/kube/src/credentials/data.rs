//! The data of a Secret, and how texts are taken out of it.

use std::{collections::BTreeMap, fmt};

use secrecy::{ExposeSecret as _, SecretSlice, SecretString};

use super::mistake::Mistake;

/// The data of a Secret. Its values are wiped when it is dropped, and never printed.
#[derive(Clone)]
pub struct Data(BTreeMap<String, SecretSlice<u8>>);

impl fmt::Debug for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Data {
    /// Keys and values.
    pub fn new(data: impl IntoIterator<Item = (String, Vec<u8>)>) -> Self {
        Self(data.into_iter().map(|(key, value)| (key, value.into())).collect())
    }

    /// The names of its keys.
    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Whether a key is there and holds more than white space. Templates leave keys empty that are not used.
    pub(super) fn has(&self, key: &str) -> bool {
        self.0.get(key).is_some_and(|value| !value.expose_secret().trim_ascii().is_empty())
    }

    /// A text as it stands, nothing when the key is absent or empty.
    pub(super) fn text(&self, key: &'static str, mistakes: &mut Vec<Mistake>) -> Option<SecretString> {
        let value = self.0.get(key).filter(|_| self.has(key))?;
        let text = std::str::from_utf8(value.expose_secret());
        text.map(SecretString::from).map_err(|_| mistakes.push(Mistake::NotText(key))).ok()
    }

    /// A text of one line. The line break at the end is not part of it: files and `base64` pipelines put one there.
    pub(super) fn line(&self, key: &'static str, mistakes: &mut Vec<Mistake>) -> Option<SecretString> {
        let text = self.text(key, mistakes)?;
        let line = text.expose_secret().trim_end_matches(['\r', '\n']);
        if line.contains(['\r', '\n', '\0']) {
            mistakes.push(Mistake::NotOneLine(key));
            return None;
        }
        Some(line.into())
    }

    /// A value that two keys are customary for. Both may be there when they say the same.
    pub(super) fn either(
        &self,
        [first, second]: [&'static str; 2],
        mistakes: &mut Vec<Mistake>,
        take: fn(&Self, &'static str, &mut Vec<Mistake>) -> Option<SecretString>,
    ) -> Option<SecretString> {
        match (take(self, first, mistakes), take(self, second, mistakes)) {
            (Some(a), Some(b)) => {
                if a.expose_secret() != b.expose_secret() {
                    mistakes.push(Mistake::Disagree(first, second));
                }
                Some(a)
            }
            (a, b) => a.or(b),
        }
    }
}

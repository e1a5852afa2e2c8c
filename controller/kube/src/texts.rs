//! Labels and annotations.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

/// A few short texts by name. Each of thousands of objects has them, so they take no more room than they need.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Texts(Box<[(Box<str>, Box<str>)]>);

impl Texts {
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| **known == *name).map(|(_, text)| &**text)
    }

    /// Whether these are all among them.
    pub(crate) fn contain(&self, others: &Self) -> bool {
        others.0.iter().all(|(name, text)| self.get(name) == Some(text))
    }
}

impl From<&BTreeMap<String, String>> for Texts {
    fn from(texts: &BTreeMap<String, String>) -> Self {
        Self(texts.iter().map(|(name, text)| (name.as_str().into(), text.as_str().into())).collect())
    }
}

impl Serialize for Texts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, text)| (name, text)))
    }
}

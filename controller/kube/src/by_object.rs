//! Something for each object: looked up without a key of one's own, because every pass looks up thousands.

use std::collections::HashMap;

use sluice_core::inventory::{Kind, ObjectId};

/// A map whose keys are kind and name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ByObject<T> {
    releases: HashMap<String, T>,
    channels: HashMap<String, T>,
}

impl<T> Default for ByObject<T> {
    fn default() -> Self {
        Self { releases: HashMap::new(), channels: HashMap::new() }
    }
}

impl<T> ByObject<T> {
    fn of(&self, kind: Kind) -> &HashMap<String, T> {
        match kind {
            Kind::Release => &self.releases,
            Kind::Channel => &self.channels,
        }
    }

    fn of_mut(&mut self, kind: Kind) -> &mut HashMap<String, T> {
        match kind {
            Kind::Release => &mut self.releases,
            Kind::Channel => &mut self.channels,
        }
    }

    pub(crate) fn get(&self, id: ObjectId<'_>) -> Option<&T> {
        self.of(id.kind).get(id.name)
    }

    pub(crate) fn get_mut(&mut self, id: ObjectId<'_>) -> Option<&mut T> {
        self.of_mut(id.kind).get_mut(id.name)
    }

    pub(crate) fn insert(&mut self, id: ObjectId<'_>, value: T) -> Option<T> {
        let map = self.of_mut(id.kind);
        // A key that is there is not made again.
        match map.get_mut(id.name) {
            Some(known) => Some(std::mem::replace(known, value)),
            None => map.insert(id.name.to_owned(), value),
        }
    }

    pub(crate) fn remove(&mut self, id: ObjectId<'_>) -> Option<T> {
        self.of_mut(id.kind).remove(id.name)
    }

    /// Keeps the entries of these objects.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(ObjectId<'_>) -> bool) {
        for kind in [Kind::Release, Kind::Channel] {
            self.of_mut(kind).retain(|name, _| keep(ObjectId { kind, name }));
        }
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &T> {
        self.releases.values().chain(self.channels.values())
    }

    pub(crate) fn len(&self) -> usize {
        self.releases.len() + self.channels.len()
    }
}

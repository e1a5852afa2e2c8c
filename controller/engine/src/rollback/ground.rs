//! What a rollback is planned on: the tip of the branch as it is now, and what is known of the app.

use std::{
    cell::RefCell,
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use sluice_core::{
    brake::Brakes,
    channel::{Channel, Target},
    digest::Digest,
    ids::{AppId, ChannelName, Version},
    inventory::{FileEntry, Inventory, Located, Object},
    record::AppRecord,
    release::Release,
    rollback::Rollback,
};
use sluice_manifest::{limits::FILE_BYTES, parse_file};
use sluice_repo::{CommitId, Kind, ReadError, Reader};

use crate::{Folder, observe};

/// See the module.
pub(super) struct Ground<'a> {
    pub(super) reader: &'a Reader,
    pub(super) tip: CommitId,
    /// What the tip declares.
    pub(super) inventory: Inventory,
    pub(super) record: &'a AppRecord,
    pub(super) brakes: &'a Brakes,
    pub(super) rollback: &'a Rollback,
    /// Whether the channel refers to the bad bundle in a file, by the content of that file.
    refers: RefCell<HashMap<String, bool>>,
}

impl<'a> Ground<'a> {
    /// Reads the tip; `known` is what the engine read last.
    pub(super) fn read(
        reader: &'a Reader,
        tip: CommitId,
        folder: &Folder,
        known: &Inventory,
        (record, brakes, rollback): (&'a AppRecord, &'a Brakes, &'a Rollback),
    ) -> Result<Self, ReadError> {
        let since = known.commit.parse().ok();
        let files = observe::files(reader, tip, folder, known, &known.parser, since)?.files;
        let inventory = known.step(tip.to_string(), known.parser.clone(), files).next;
        Ok(Self { reader, tip, inventory, record, brakes, rollback, refers: RefCell::default() })
    }

    /// The channel as the tip declares it, with its place.
    pub(super) fn channel(&self) -> Option<(&Located, &Channel)> {
        channel(self.inventory.objects(), self.rollback)
    }

    /// Whether a target is the bad bundle, under whatever version.
    pub(super) fn is_bad(&self, target: &Target) -> bool {
        self.digest(target).is_some_and(|digest| digest == self.rollback.digest)
    }

    /// Whether it is known which bundle a target is.
    pub(super) fn is_known(&self, target: &Target) -> bool {
        *target == Target::Builtin || self.digest(target).is_some()
    }

    fn digest(&self, target: &Target) -> Option<Digest> {
        match target {
            Target::Builtin => None,
            Target::Release(version) => self.record.versions.get(version).map(|binding| binding.digest),
        }
    }

    /// Whether devices of the channel may be sent to a target: it is declared, and nothing is on its bundle.
    pub(super) fn is_good(&self, target: &Target, channel: &Channel) -> bool {
        let lifted: Vec<String> = channel.allow_held.iter().cloned().collect();
        let brakes = self.brakes.of(self.rollback.app.as_str());
        let free = |digest: &Digest| {
            brakes.is_none_or(|brakes| brakes.on(digest, self.rollback.channel.as_str(), &lifted).is_none())
        };
        !self.is_bad(target) && self.digest(target).is_none_or(|digest| free(&digest))
    }

    /// What a line goes back to: what a person asks for, else what did well last.
    pub(super) fn good(&self, channel: &Channel, line: &str) -> Option<Target> {
        if let Some(to) = &self.rollback.to {
            return Some(to.clone()).filter(|to| self.is_good(to, channel));
        }
        let known = self.record.channels.get(&self.rollback.channel)?.lines.get(line)?;
        let healthy = known.history.iter().map(|healthy| Target::Release(healthy.release.clone()));
        known.stable.iter().cloned().chain(healthy).find(|target| self.is_good(target, channel))
    }

    /// Whether the channel refers to the bad bundle in the file at `path` of a commit.
    pub(super) fn refers_at(&self, commit: CommitId, path: &str) -> Result<bool, ReadError> {
        let entry = self.reader.find(commit, path)?;
        let Some(entry) = entry.filter(|entry| matches!(entry.kind, Kind::Blob | Kind::Executable)) else {
            return Ok(false);
        };
        let id = entry.oid.to_string();
        if let Some(known) = self.refers.borrow().get(&id) {
            return Ok(*known);
        }
        let bytes = self.reader.read(entry.oid, FILE_BYTES as u64)?;
        let objects: Vec<Arc<Located>> = parse_file(path, &bytes).objects.into_iter().map(Arc::new).collect();
        let refers = channel(&objects, self.rollback)
            .is_some_and(|(_, channel)| channel.lines.iter().any(|line| self.is_bad(&line.target)));
        self.refers.borrow_mut().insert(id, refers);
        Ok(refers)
    }

    /// What the lines of the channel refer to in the file at `path` of a commit.
    pub(super) fn targets(&self, commit: CommitId, path: &str) -> Result<Vec<Target>, ReadError> {
        let file = self.file(commit, path)?;
        let objects = file.as_ref().map_or(&[][..], |file| &file.objects);
        let found = channel(objects, self.rollback);
        Ok(found.map_or_else(Vec::new, |(_, channel)| {
            channel.lines.iter().map(|line| line.target.clone()).collect()
        }))
    }

    /// What the file at `path` of a commit declares; nothing where there is none, or nothing of ours in it.
    pub(super) fn file(&self, commit: CommitId, path: &str) -> Result<Option<FileEntry>, ReadError> {
        let entry = self.reader.find(commit, path)?;
        let Some(entry) = entry.filter(|entry| matches!(entry.kind, Kind::Blob | Kind::Executable)) else {
            return Ok(None);
        };
        if !sluice_manifest::is_candidate(path) {
            return Ok(None);
        }
        let bytes = self.reader.read(entry.oid, FILE_BYTES as u64)?;
        Ok(parse_file(path, &bytes).into_entry(entry.oid.to_string()))
    }
}

/// The channel of a rollback, with its place.
pub(super) fn channel<'o>(
    objects: impl IntoIterator<Item = &'o Arc<Located>>,
    rollback: &Rollback,
) -> Option<(&'o Located, &'o Channel)> {
    objects.into_iter().find_map(|located| match &located.object {
        Object::Channel(channel)
            if (&channel.app, &channel.channel) == (&rollback.app, &rollback.channel) =>
        {
            Some((&**located, &**channel))
        }
        _ => None,
    })
}

/// The release of a version, as it is declared.
pub(super) fn release<'o>(
    objects: impl IntoIterator<Item = &'o Arc<Located>>,
    app: &AppId,
    version: &Version,
) -> Option<&'o Release> {
    objects.into_iter().find_map(|located| match &located.object {
        Object::Release(release) if release.app == *app && release.version == *version => Some(&**release),
        _ => None,
    })
}

/// The channels of an app that refer to a version which is not declared.
pub(super) fn dangling<'o>(
    inventory: &'o Inventory,
    app: &AppId,
) -> BTreeSet<(&'o ChannelName, &'o Version)> {
    let (mut releases, mut references) = (BTreeSet::new(), BTreeSet::new());
    for located in inventory.objects() {
        match &located.object {
            Object::Release(release) if release.app == *app => _ = releases.insert(&release.version),
            Object::Channel(channel) if channel.app == *app => {
                references.extend(channel.lines.iter().filter_map(|line| match &line.target {
                    Target::Release(version) => Some((&channel.channel, version)),
                    Target::Builtin => None,
                }));
            }
            _ => {}
        }
    }
    references.retain(|(_, version)| !releases.contains(version));
    references
}

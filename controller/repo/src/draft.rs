//! Commits that are not pushed yet: values that can be looked at, and that are the same whoever makes them again.

use std::collections::BTreeSet;

use git2::{FileMode, ObjectType, Oid, Repository, Signature, Time, Tree, build::TreeUpdateBuilder};
use serde::{Deserialize, Serialize};

use crate::{
    error::ReadError,
    ids::{CommitId, ObjectId},
    mirror::Reader,
    signing::{SigningKey, signed},
};

/// A change of one path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// Path from the root of the repository.
    pub path: String,
    /// What is there afterwards.
    pub content: Content,
}

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// A file whose content the repository has.
    Known {
        /// The content.
        id: ObjectId,
        /// Whether it has the executable bit.
        executable: bool,
    },
    /// A file with this content; its executable bit stays as it is.
    Written(Vec<u8>),
    /// Nothing.
    Absent,
}

/// Who commits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Name.
    pub name: String,
    /// Mail address.
    pub email: String,
}

/// Who makes commits, and what they are signed with.
#[derive(Debug, Clone)]
pub struct Committer {
    /// Author and committer.
    pub identity: Identity,
    /// The key; without it commits are not signed.
    pub key: Option<SigningKey>,
}

/// A commit and the objects that it needs beyond those of its parent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Draft {
    /// Its id.
    pub id: CommitId,
    /// Its only parent.
    pub parent: CommitId,
    objects: Vec<Raw>,
}

/// An object as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Raw {
    kind: RawKind,
    /// In base64, since drafts are passed to the worker as JSON.
    #[serde(with = "base64_bytes")]
    data: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum RawKind {
    Blob,
    Tree,
    Commit,
}

impl RawKind {
    fn git(self) -> ObjectType {
        match self {
            Self::Blob => ObjectType::Blob,
            Self::Tree => ObjectType::Tree,
            Self::Commit => ObjectType::Commit,
        }
    }
}

impl Reader {
    /// The commit of `edits` on top of `parent`, at `time` (seconds since 1970). The same arguments give the same commit.
    /// Nothing is written.
    pub fn draft(
        &self,
        parent: CommitId,
        edits: &[Edit],
        committer: &Committer,
        time: i64,
        message: &str,
    ) -> Result<Draft, ReadError> {
        let failed = |error: git2::Error| ReadError::Object {
            id: parent.to_string(),
            detail: error.message().to_owned(),
        };
        // A handle of its own: what is made here stays in its memory.
        let repository =
            Repository::open(self.path()).map_err(|error| ReadError::Open(error.message().into()))?;
        let odb = repository.odb().map_err(failed)?;
        // Before every other back end, so that writes go there.
        let _memory = odb.add_new_mempack_backend(i32::MAX).map_err(failed)?;
        write(&repository, parent, edits, committer, time, message).map_err(failed)
    }
}

fn write(
    repository: &Repository,
    parent: CommitId,
    edits: &[Edit],
    committer: &Committer,
    time: i64,
    message: &str,
) -> Result<Draft, git2::Error> {
    let commit = repository.find_commit(parent.git())?;
    let tree = edited(repository, &commit.tree()?, edits)?;
    let written = edits.iter().filter_map(|edit| match &edit.content {
        Content::Written(bytes) => Some(Raw { kind: RawKind::Blob, data: bytes.clone() }),
        Content::Known { .. } | Content::Absent => None,
    });
    let mut objects: Vec<Raw> = written.collect();
    let odb = repository.odb()?;
    for id in new_folders(repository, tree, edits)? {
        objects.push(Raw { kind: RawKind::Tree, data: odb.read(id)?.data().to_vec() });
    }
    let Committer { identity, key } = committer;
    let signature = Signature::new(&identity.name, &identity.email, &Time::new(time, 0))?;
    let tree = repository.find_tree(tree)?;
    let buffer = repository.commit_create_buffer(&signature, &signature, message, &tree, &[&commit])?;
    let data = match key {
        Some(key) => signed(&buffer, &key.sign(&buffer)?),
        None => buffer.to_vec(),
    };
    let id = odb.write(ObjectType::Commit, &data)?;
    objects.push(Raw { kind: RawKind::Commit, data });
    Ok(Draft { id: CommitId::from_git(id), parent, objects })
}

/// The tree of `edits` on top of `base`.
pub(crate) fn edited(repository: &Repository, base: &Tree<'_>, edits: &[Edit]) -> Result<Oid, git2::Error> {
    let mut update = TreeUpdateBuilder::new();
    for Edit { path, content } in edits {
        let (id, executable) = match content {
            Content::Absent => {
                update.remove(path);
                continue;
            }
            Content::Known { id, executable } => (id.git(), *executable),
            Content::Written(bytes) => {
                let entry = base.get_path(std::path::Path::new(path)).ok();
                (repository.blob(bytes)?, entry.is_some_and(|entry| entry.filemode() & 0o100 != 0))
            }
        };
        let mode = if executable { FileMode::BlobExecutable } else { FileMode::Blob };
        update.upsert(path.as_str(), id, mode);
    }
    update.create_updated(repository, base)
}

/// The folders of `tree` that lie above an edit.
fn new_folders(repository: &Repository, tree: Oid, edits: &[Edit]) -> Result<Vec<Oid>, git2::Error> {
    let mut found = BTreeSet::from([tree]);
    let root = repository.find_tree(tree)?;
    for edit in edits {
        for (slash, _) in edit.path.match_indices('/') {
            // The folder of what was removed may be gone with it.
            if let Ok(entry) = root.get_path(std::path::Path::new(&edit.path[..slash])) {
                found.insert(entry.id());
            }
        }
    }
    Ok(found.into_iter().collect())
}

impl Draft {
    /// Puts its objects into a repository.
    pub(crate) fn store(&self, repository: &Repository) -> Result<(), git2::Error> {
        let odb = repository.odb()?;
        for Raw { kind, data } in &self.objects {
            odb.write(kind.git(), data)?;
        }
        Ok(())
    }

    /// The commit as it is stored: its headers, an empty line, its message.
    pub fn text(&self) -> String {
        let commit = self.objects.iter().rev().find(|raw| raw.kind == RawKind::Commit);
        commit.map_or_else(String::new, |raw| String::from_utf8_lossy(&raw.data).into_owned())
    }
}

mod base64_bytes {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        STANDARD.decode(String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

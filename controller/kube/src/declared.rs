//! The documents that a commit declares, and objects of the cluster read as such documents.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use serde_json::json;
use sluice_core::inventory::{Located, ObjectId, ObjectKey};
use sluice_crds::API_VERSION;
use sluice_engine::{COMMIT_UNREADABLE, Declared, Unavailable};
use sluice_manifest::limits::FILE_BYTES;
use sluice_repo::{Mirror, Reader};

use crate::{
    by_object::ByObject,
    cache::{Body, Held, Namespace, Substance},
    desired::Desired,
};

/// What each object of a commit shall be, by the content of the file that declares it. Of an object that is as it shall
/// be only that is remembered: its document is read again when somebody changes the object.
#[derive(Debug, Default)]
pub(crate) struct Documents(ByObject<Document>);

/// While place and content of its file are the same, so is what a document says.
#[derive(Debug)]
struct Document {
    path: String,
    oid: String,
    line: u32,
    is: Is,
}

#[derive(Debug)]
enum Is {
    /// This is what the object shall be.
    Read(Arc<Desired>),
    /// The object was found to be so.
    Right(Arc<Substance>),
}

/// The objects that count, by kind and name.
pub(crate) type Holders<'a> = HashMap<ObjectId<'a>, &'a Arc<Located>>;

/// Documents of one file that have to be read.
#[derive(Debug)]
pub(crate) struct Missing {
    path: String,
    oid: String,
    wanted: Vec<(ObjectKey, u32)>,
    /// The file cannot be read in this commit: its last content that could is looked for.
    stale: bool,
}

impl Documents {
    /// What the object shall be; `None` while its document cannot be read, or when it is so.
    pub(crate) fn get(&self, id: ObjectId<'_>) -> Option<&Arc<Desired>> {
        match &self.0.get(id)?.is {
            Is::Read(desired) => Some(desired),
            Is::Right(_) => None,
        }
    }

    /// Notes that an object is as it shall be.
    pub(crate) fn found_right(&mut self, id: ObjectId<'_>, held: &Held) {
        if let Some(document) = self.0.get_mut(id) {
            document.is = Is::Right(Arc::clone(&held.substance));
        }
    }

    /// The documents of `objects` that have to be read before they can be compared with what `space` holds. Forgets
    /// what is not declared any more.
    pub(crate) fn missing(
        &mut self,
        objects: &Holders<'_>,
        declared: &Declared,
        space: &Namespace,
    ) -> Vec<Missing> {
        let mut missing: BTreeMap<(String, String), Missing> = BTreeMap::new();
        let mut want = |path: &str, oid: &str, stale: bool, id: ObjectId<'_>, line: u32| {
            let file = (path.to_owned(), oid.to_owned());
            let new = || Missing { path: path.to_owned(), oid: oid.to_owned(), wanted: Vec::new(), stale };
            missing.entry(file).or_insert_with(new).wanted.push((id.key(), line));
        };
        for (id, located) in objects {
            let Some(file) = declared.inventory.files.get(&located.at.file) else { continue };
            let known = self.0.get_mut(*id).filter(|known| {
                // A document that cannot be read now stands as it was read before.
                located.stale
                    || (&known.oid, known.line, &known.path) == (&file.oid, located.at.line, &located.at.file)
            });
            match known {
                Some(Document { is: Is::Read(_), .. }) => {}
                Some(Document { path, oid, line, is: Is::Right(right) }) => match space.get(*id) {
                    Some(held) if *right == held.substance => {}
                    _ => want(path, oid, located.stale, *id, *line),
                },
                None if located.stale => {}
                None => want(&located.at.file, &file.oid, false, *id, located.at.line),
            }
        }
        if self.0.len() > objects.len() {
            self.0.retain(|id| objects.contains_key(&id));
        }
        missing.into_values().collect()
    }

    /// Takes in what was read.
    pub(crate) fn put(&mut self, found: Found) {
        for (key, document) in found.0 {
            self.0.insert(key.id(), document);
        }
    }
}

/// Documents that were read.
#[derive(Debug)]
pub(crate) struct Found(Vec<(ObjectKey, Document)>);

/// Reads documents.
pub(crate) async fn read_files(
    files: Vec<Missing>,
    mirror: &Mirror,
    repository: &str,
) -> Result<Found, Unavailable> {
    let fail = |message| Unavailable { reason: COMMIT_UNREADABLE, message };
    let (mirror, repository) = (mirror.clone(), repository.to_owned());
    let reading = tokio::task::spawn_blocking(move || {
        let reader = mirror.open().map_err(|error| error.to_string())?;
        let mut found = Vec::new();
        for file in files {
            match read_file(&file, &reader, &repository, &mut found) {
                Err(error) if file.stale => {
                    tracing::warn!(path = file.path, error, "what an unreadable file said last is gone");
                }
                read => read?,
            }
        }
        Ok(Found(found))
    });
    reading.await.unwrap_or_else(|_| Err("reading was interrupted".to_owned())).map_err(fail)
}

fn read_file(
    Missing { path, oid, wanted, .. }: &Missing,
    reader: &Reader,
    repository: &str,
    found: &mut Vec<(ObjectKey, Document)>,
) -> Result<(), String> {
    let id: sluice_repo::ObjectId = oid.parse().map_err(|_| format!("{path} was not read in full"))?;
    let bytes = reader.read(id, FILE_BYTES as u64).map_err(|error| format!("{path}: {error}"))?;
    for document in sluice_manifest::documents(path, &bytes) {
        let (key, line) = (document.located.object.key(), document.located.at.line);
        if !wanted.contains(&(key.clone(), line)) {
            continue;
        }
        if let Some(desired) = Desired::of(key.kind, &document.json, path, repository) {
            let (path, oid, is) = (path.clone(), oid.clone(), Is::Read(Arc::new(desired)));
            found.push((key, Document { path, oid, line, is }));
        }
    }
    Ok(())
}

/// An object of the cluster, read like a document, at the place where Git has it. `None`: it is not one that could be
/// served.
pub(crate) fn as_held(held: &Held, at: &Located) -> Option<Located> {
    let mut located = read(held, &at.at.file)?;
    located.at = at.at.clone();
    located.fields.clone_from(&at.fields);
    located.held = at.held;
    Some(located)
}

/// Reads an object of the cluster like a document in `file`: the checks are the same.
pub(crate) fn read(held: &Held, file: &str) -> Option<Located> {
    let (kind, spec) = match &held.body {
        Body::Release(body) => ("Release", json!(body.0)),
        Body::Channel(body) => ("Channel", json!(body.0)),
        Body::Unreadable(_) => return None,
    };
    let document = json!({
        "apiVersion": API_VERSION,
        "kind": kind,
        "metadata": { "name": held.key.name },
        "spec": spec,
    });
    // JSON is YAML.
    let parsed = sluice_manifest::parse_file(file, document.to_string().as_bytes());
    parsed.objects.into_iter().next()
}

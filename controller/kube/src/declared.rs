//! The documents that a commit declares, and objects of the cluster read as such documents.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use serde_json::json;
use sluice_core::inventory::{Located, ObjectId, ObjectKey};
use sluice_crds::API_VERSION;
use sluice_engine::{Declared, Unavailable};
use sluice_manifest::limits::FILE_BYTES;

use crate::{
    by_object::ByObject,
    cache::{Body, Held},
    desired::Desired,
};

/// What each object of a commit shall be, by the content of the file that declares it.
#[derive(Debug, Default)]
pub(crate) struct Documents(ByObject<Document>);

/// While place and content of its file are the same, so is what a document says.
#[derive(Debug)]
struct Document {
    path: String,
    oid: String,
    line: u32,
    desired: Arc<Desired>,
    /// The object that was found to be so. While it is the same, nothing has to be compared.
    right: Option<Arc<Held>>,
}

/// The objects that count, by kind and name.
pub(crate) type Holders<'a> = HashMap<ObjectId<'a>, &'a Arc<Located>>;

/// The documents of one file that are not known.
struct Missing<'a> {
    oid: &'a str,
    wanted: Vec<(ObjectId<'a>, u32)>,
}

impl Documents {
    /// What the object shall be; `None` while its document cannot be read.
    pub(crate) fn get(&self, id: ObjectId<'_>) -> Option<&Arc<Desired>> {
        self.0.get(id).map(|document| &document.desired)
    }

    /// Whether this object was found right already.
    pub(crate) fn is_right(&self, id: ObjectId<'_>, held: &Arc<Held>) -> bool {
        let right = self.0.get(id).and_then(|document| document.right.as_ref());
        right.is_some_and(|right| Arc::ptr_eq(right, held))
    }

    /// Notes that it is.
    pub(crate) fn found_right(&mut self, id: ObjectId<'_>, held: &Arc<Held>) {
        if let Some(document) = self.0.get_mut(id) {
            document.right = Some(Arc::clone(held));
        }
    }

    /// Reads the documents of `objects` that are not known, and forgets the others. Says how many files were read.
    pub(crate) async fn load(
        &mut self,
        objects: &Holders<'_>,
        declared: &Declared,
        repository: &str,
    ) -> Result<usize, Unavailable> {
        let mut missing: BTreeMap<&str, Missing<'_>> = BTreeMap::new();
        for (id, located) in objects {
            let Some(file) = declared.inventory.files.get(&located.at.file) else { continue };
            let is_known = self.0.get(*id).is_some_and(|known| {
                // A document that cannot be read now stands as it was read before.
                located.stale
                    || (&known.oid, known.line, &known.path) == (&file.oid, located.at.line, &located.at.file)
            });
            if !is_known && !located.stale {
                let new = Missing { oid: &file.oid, wanted: Vec::new() };
                missing.entry(&located.at.file).or_insert(new).wanted.push((*id, located.at.line));
            }
        }
        let read = missing.len();
        if read > 0 {
            let files = missing.into_iter().map(|(path, Missing { oid, wanted })| {
                let wanted = wanted.into_iter().map(|(id, line)| (id.key(), line)).collect();
                (path.to_owned(), oid.to_owned(), wanted)
            });
            let (mirror, repository, files) =
                (declared.mirror.clone(), repository.to_owned(), files.collect());
            let reading = tokio::task::spawn_blocking(move || read_files(&mirror, files, &repository));
            let found = reading.await.unwrap_or_else(|_| Err("reading was interrupted".to_owned()));
            let found = found.map_err(|message| Unavailable { reason: "CommitUnreadable", message })?;
            for (key, document) in found {
                self.0.insert(key.id(), document);
            }
        }
        if self.0.len() > objects.len() {
            self.0.retain(|id| objects.contains_key(&id));
        }
        Ok(read)
    }
}

fn read_files(
    mirror: &sluice_repo::Mirror,
    files: Vec<(String, String, Vec<(ObjectKey, u32)>)>,
    repository: &str,
) -> Result<Vec<(ObjectKey, Document)>, String> {
    let reader = mirror.open().map_err(|error| error.to_string())?;
    let mut found = Vec::new();
    for (path, oid, wanted) in files {
        let id: sluice_repo::ObjectId = oid.parse().map_err(|_| format!("{path} was not read in full"))?;
        let bytes = reader.read(id, FILE_BYTES as u64).map_err(|error| format!("{path}: {error}"))?;
        for document in sluice_manifest::documents(&path, &bytes) {
            let (key, line) = (document.located.object.key(), document.located.at.line);
            if !wanted.contains(&(key.clone(), line)) {
                continue;
            }
            if let Some(desired) = Desired::of(key.kind, &document.json, &path, repository) {
                let (path, oid, desired) = (path.clone(), oid.clone(), Arc::new(desired));
                found.push((key, Document { path, oid, line, desired, right: None }));
            }
        }
    }
    Ok(found)
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

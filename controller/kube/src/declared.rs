//! The documents that a commit declares, and objects of the cluster read as such documents.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use serde_json::json;
use sluice_core::inventory::{Located, ObjectKey};
use sluice_crds::API_VERSION;
use sluice_engine::{Declared, Unavailable};
use sluice_manifest::limits::FILE_BYTES;
use sluice_repo::ObjectId;

use crate::{
    cache::{Body, Held},
    desired::Desired,
};

/// What each object of a commit shall be, by the content of the file that declares it.
#[derive(Debug, Default)]
pub(crate) struct Documents(HashMap<ObjectKey, (Source, Arc<Desired>)>);

/// Path and object id of a file, and the line of the document: while these are the same, so is what it says.
type Source = (String, String, u32);

impl Documents {
    /// What the object shall be; `None` while its document cannot be read.
    pub(crate) fn get(&self, key: &ObjectKey) -> Option<Arc<Desired>> {
        self.0.get(key).map(|(_, desired)| Arc::clone(desired))
    }

    /// Reads the documents of `objects` that are not known, and forgets the others. Says how many files were read.
    pub(crate) async fn load(
        mut self,
        objects: &BTreeMap<ObjectKey, &Located>,
        declared: &Declared,
        repository: &str,
    ) -> Result<(Self, usize), Unavailable> {
        let mut known = HashMap::with_capacity(objects.len());
        let mut missing: BTreeMap<String, (String, Vec<(ObjectKey, u32)>)> = BTreeMap::new();
        for (key, located) in objects {
            let Some(file) = declared.inventory.files.get(&located.at.file) else { continue };
            let source = (located.at.file.clone(), file.oid.clone(), located.at.line);
            match self.0.remove(key) {
                // A document that cannot be read now stands as it was read before.
                Some(entry) if located.stale || entry.0 == source => _ = known.insert(key.clone(), entry),
                _ if located.stale => {}
                _ => {
                    let file = missing.entry(source.0).or_insert_with(|| (source.1, Vec::new()));
                    file.1.push((key.clone(), source.2));
                }
            }
        }
        let read = missing.len();
        if read > 0 {
            let (mirror, repository) = (declared.mirror.clone(), repository.to_owned());
            let reading = tokio::task::spawn_blocking(move || read_files(&mirror, missing, &repository));
            let found = reading.await.unwrap_or_else(|_| Err("reading was interrupted".to_owned()));
            let found = found.map_err(|message| Unavailable { reason: "CommitUnreadable", message })?;
            known.extend(found);
        }
        Ok((Self(known), read))
    }
}

type Found = Vec<(ObjectKey, (Source, Arc<Desired>))>;

fn read_files(
    mirror: &sluice_repo::Mirror,
    files: BTreeMap<String, (String, Vec<(ObjectKey, u32)>)>,
    repository: &str,
) -> Result<Found, String> {
    let reader = mirror.open().map_err(|error| error.to_string())?;
    let mut found = Vec::new();
    for (path, (oid, wanted)) in files {
        let id: ObjectId = oid.parse().map_err(|_| format!("{path} was not read in full"))?;
        let bytes = reader.read(id, FILE_BYTES as u64).map_err(|error| format!("{path}: {error}"))?;
        for document in sluice_manifest::documents(&path, &bytes) {
            let (key, line) = (document.located.object.key(), document.located.at.line);
            if !wanted.contains(&(key.clone(), line)) {
                continue;
            }
            if let Some(desired) = Desired::of(key.kind, &document.json, &path, repository) {
                found.push((key, ((path.clone(), oid.clone(), line), Arc::new(desired))));
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

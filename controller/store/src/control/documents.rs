//! Documents of the engine that only it understands, such as the inventory of a repository.

use serde::{Serialize, de::DeserializeOwned};

use super::{BundleStore, ControlError, decode, encode};
use crate::objects::{Etag, ObjectsError};

impl BundleStore {
    /// The document `name` (key segments), when there is one, and its version.
    pub async fn document<T: DeserializeOwned>(&self, name: &str) -> Result<Option<(T, Etag)>, ControlError> {
        let key = key(name);
        self.objects.get(&key).await?.map(|(bytes, etag)| Ok((decode(&key, &bytes)?, etag))).transpose()
    }

    /// Writes the document `name` over the version `over`, as the leader of term `epoch`. Whoever else changed it
    /// meanwhile is overwritten only if their term is not later (rule 3).
    pub async fn put_document<T: Serialize + Sync>(
        &self,
        epoch: u64,
        name: &str,
        value: &T,
        over: Option<&Etag>,
    ) -> Result<Etag, ControlError> {
        let (key, bytes) = (key(name), bytes::Bytes::from(encode(value)));
        if let Some(over) = over {
            match self.objects.replace(&key, bytes.clone(), Some(over)).await {
                Ok(etag) => return Ok(etag),
                Err(ObjectsError::Conflict(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        if let Some((root, _)) = self.root().await?
            && root.epoch > epoch
        {
            return Err(ControlError::Deposed { found: root.epoch, held: epoch });
        }
        Ok(self.objects.replace(&key, bytes, None).await?)
    }
}

fn key(name: &str) -> String {
    format!("inventory/{name}.json")
}

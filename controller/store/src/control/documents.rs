//! Documents of the engine that only it understands, such as the inventory of a repository.

use serde::{Serialize, de::DeserializeOwned};

use super::{BundleStore, ControlError, encode, read};

impl BundleStore {
    /// The document `name` (one key segment), when there is one.
    pub async fn document<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, ControlError> {
        read(&*self.objects, &key(name)).await
    }

    /// Writes the document `name`, whatever was there.
    pub async fn put_document<T: Serialize + Sync>(&self, name: &str, value: &T) -> Result<(), ControlError> {
        self.objects.replace(&key(name), encode(value).into(), None).await?;
        Ok(())
    }
}

fn key(name: &str) -> String {
    format!("inventory/{name}.json")
}

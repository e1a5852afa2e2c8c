//! Objects in any back end of `object_store`: S3 and its like, and memory for tests.

use std::{fmt, io::SeekFrom, ops::Range, path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::{
    Attribute, Attributes, Error, GetOptions, GetRange, GetResult, ObjectStore, ObjectStoreExt as _, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, UpdateVersion, path::Path, signer::Signer,
};
use tempfile::NamedTempFile;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};

use super::{Access, Content, Etag, Fetched, Meta, Objects, ObjectsError, Reading, check_key, cut};

/// Files up to this size are created by one request, larger ones in parts.
const ONE_REQUEST: u64 = 16 << 20;
const PART: usize = 8 << 20;

/// A bundle store in an object store.
#[derive(Clone)]
pub struct Remote {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
    scratch: PathBuf,
    signer: Option<Arc<dyn Signer>>,
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Remote({}, {})", self.store, self.prefix)
    }
}

impl Remote {
    /// The part of `store` below `prefix`. Temporary files are made in the local directory `scratch`.
    pub fn new(store: Arc<dyn ObjectStore>, prefix: &str, scratch: impl Into<PathBuf>) -> Self {
        Self { store, prefix: Path::from(prefix), scratch: scratch.into(), signer: None }
    }

    /// The same store, which can also make presigned URLs.
    #[must_use]
    pub fn with_signer(self, signer: Arc<dyn Signer>) -> Self {
        Self { signer: Some(signer), ..self }
    }

    /// A store in memory, for tests and demonstrations.
    pub fn in_memory() -> Self {
        Self::new(Arc::new(object_store::memory::InMemory::new()), "", std::env::temp_dir())
    }

    fn path(&self, key: &str) -> Result<Path, ObjectsError> {
        check_key(key)?;
        Ok(self.below(key))
    }

    fn below(&self, key: &str) -> Path {
        self.prefix.parts().chain(Path::from(key).parts()).collect()
    }

    async fn fetch(&self, key: &str, options: GetOptions) -> Result<Option<GetResult>, Error> {
        match self.store.get_opts(&self.below(key), options).await {
            Ok(found) => Ok(Some(found)),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(e) => Err(e),
        }
    }

    async fn put(&self, path: &Path, payload: PutPayload, mode: PutMode) -> Result<Etag, Error> {
        let options = PutOptions { mode, attributes: attributes(path), ..PutOptions::default() };
        let put = self.store.put_opts(path, payload, options).await?;
        Ok(Etag { tag: put.e_tag, version: put.version })
    }

    /// Uploads in parts, of which nothing is seen before the last one. No store completes such an upload only if there is
    /// nothing yet, and a copy from another name, which some do on a condition, loses the attributes on S3: so two that
    /// upload at one time both succeed, with what both were told to write.
    async fn create_large(
        &self,
        key: &str,
        path: &Path,
        mut file: tokio::fs::File,
    ) -> Result<(), ObjectsError> {
        let failed = |e| failure("uploading", key, e);
        let reading = |e| ObjectsError::io(format!("reading the file for {key}"), e);
        let options = PutMultipartOptions { attributes: attributes(path), ..PutMultipartOptions::default() };
        let mut upload = self.store.put_multipart_opts(path, options).await.map_err(failed)?;
        let sent = async {
            loop {
                let mut part = Vec::with_capacity(PART);
                (&mut file).take(PART as u64).read_to_end(&mut part).await.map_err(reading)?;
                if part.is_empty() {
                    break;
                }
                upload.put_part(part.into()).await.map_err(failed)?;
            }
            upload.complete().await.map_err(failed)
        }
        .await;
        if let Err(error) = sent {
            // Best effort: buckets remove unfinished uploads by a rule as well.
            let _ = upload.abort().await;
            return Err(error);
        }
        Ok(())
    }
}

#[async_trait]
impl Objects for Remote {
    async fn get(&self, key: &str) -> Result<Option<(Bytes, Etag)>, ObjectsError> {
        check_key(key)?;
        let failed = |e| failure("reading", key, e);
        let Some(found) = self.fetch(key, GetOptions::default()).await.map_err(failed)? else {
            return Ok(None);
        };
        let etag = Etag { tag: found.meta.e_tag.clone(), version: found.meta.version.clone() };
        Ok(Some((found.bytes().await.map_err(failed)?, etag)))
    }

    async fn get_if_changed(&self, key: &str, known: &Etag) -> Result<Fetched, ObjectsError> {
        check_key(key)?;
        let failed = |e| failure("reading", key, e);
        let options = GetOptions { if_none_match: known.tag.clone(), ..GetOptions::default() };
        match self.fetch(key, options).await {
            Ok(None) => Ok(Fetched::Missing),
            Err(Error::NotModified { .. }) => Ok(Fetched::Unchanged),
            Err(e) => Err(failed(e)),
            Ok(Some(found)) => {
                let etag = Etag { tag: found.meta.e_tag.clone(), version: found.meta.version.clone() };
                Ok(Fetched::Changed(found.bytes().await.map_err(failed)?, etag))
            }
        }
    }

    async fn head(&self, key: &str) -> Result<Option<Meta>, ObjectsError> {
        let path = self.path(key)?;
        match self.store.head(&path).await {
            Ok(found) => Ok(Some(Meta {
                key: key.to_owned(),
                size: found.size,
                modified: found.last_modified.timestamp(),
            })),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(e) => Err(failure("looking at", key, e)),
        }
    }

    async fn create(&self, key: &str, content: Content) -> Result<(), ObjectsError> {
        let path = self.path(key)?;
        let reading = |e| ObjectsError::io(format!("reading the file for {key}"), e);
        let bytes = match content {
            Content::Bytes(bytes) => bytes,
            Content::File(file) => {
                let mut from = tokio::fs::File::from_std(file.reopen().map_err(reading)?);
                from.seek(SeekFrom::Start(0)).await.map_err(reading)?;
                if from.metadata().await.map_err(reading)?.len() > ONE_REQUEST {
                    if self.head(key).await?.is_some() {
                        return Err(ObjectsError::AlreadyExists(key.to_owned()));
                    }
                    return self.create_large(key, &path, from).await;
                }
                let mut bytes = Vec::new();
                from.read_to_end(&mut bytes).await.map_err(reading)?;
                bytes.into()
            }
        };
        self.put(&path, bytes.into(), PutMode::Create).await.map_err(|e| failure("writing", key, e))?;
        Ok(())
    }

    async fn replace(
        &self,
        key: &str,
        content: Bytes,
        expected: Option<&Etag>,
    ) -> Result<Etag, ObjectsError> {
        let path = self.path(key)?;
        let mode = expected.map_or(PutMode::Overwrite, |Etag { tag, version }| {
            PutMode::Update(UpdateVersion { e_tag: tag.clone(), version: version.clone() })
        });
        self.put(&path, content.into(), mode).await.map_err(|e| match e {
            Error::NotFound { .. } => ObjectsError::Conflict(key.to_owned()),
            e => failure("writing", key, e),
        })
    }

    async fn delete(&self, key: &str) -> Result<bool, ObjectsError> {
        let path = self.path(key)?;
        match self.store.delete(&path).await {
            Ok(()) => Ok(true),
            Err(Error::NotFound { .. }) => Ok(false),
            Err(e) => Err(failure("deleting", key, e)),
        }
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Meta>, ObjectsError> {
        let prefix = prefix.trim_end_matches('/');
        if !prefix.is_empty() {
            check_key(prefix)?;
        }
        let below = self.below(prefix);
        let skip = self.prefix.parts().count();
        let mut found: Vec<Meta> = self
            .store
            .list(Some(&below))
            .map_ok(|meta| {
                let parts: Vec<_> = meta.location.parts().skip(skip).collect();
                let key = parts.iter().map(AsRef::as_ref).collect::<Vec<&str>>().join("/");
                Meta { key, size: meta.size, modified: meta.last_modified.timestamp() }
            })
            .try_collect()
            .await
            .map_err(|e| failure("listing", prefix, e))?;
        found.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        Ok(found)
    }

    async fn read(&self, key: &str, range: Option<Range<u64>>) -> Result<Option<Reading>, ObjectsError> {
        let failed = |e| failure("reading", key, e);
        let Some(meta) = self.head(key).await? else { return Ok(None) };
        let range = cut(range, meta.size);
        if range.is_empty() {
            return Ok(Some(Reading { size: meta.size, range, chunks: futures::stream::empty().boxed() }));
        }
        let options = GetOptions { range: Some(GetRange::Bounded(range.clone())), ..GetOptions::default() };
        let Some(found) = self.fetch(key, options).await.map_err(failed)? else { return Ok(None) };
        let key = key.to_owned();
        let chunks = found.into_stream().map_err(move |e| failure("reading", &key, e)).boxed();
        Ok(Some(Reading { size: meta.size, range, chunks }))
    }

    async fn presigned(
        &self,
        access: Access,
        key: &str,
        valid: Duration,
    ) -> Result<Option<String>, ObjectsError> {
        let path = self.path(key)?;
        let Some(signer) = &self.signer else { return Ok(None) };
        let method = match access {
            Access::Get => object_store::signer::Method::GET,
            Access::Head => object_store::signer::Method::HEAD,
        };
        let url = signer.signed_url(method, &path, valid).await;
        Ok(Some(url.map_err(|e| failure("making a URL for", key, e))?.into()))
    }

    fn local_path(&self, _: &str) -> Option<PathBuf> {
        None
    }

    fn scratch(&self) -> Result<NamedTempFile, ObjectsError> {
        NamedTempFile::new_in(&self.scratch).map_err(|e| ObjectsError::io("making a temporary file", e))
    }
}

/// What a bucket tells those who download from it directly.
fn attributes(path: &Path) -> Attributes {
    if path.extension() != Some("zip") {
        return Attributes::new();
    }
    Attributes::from_iter([
        (Attribute::ContentType, "application/zip"),
        (Attribute::CacheControl, "public, max-age=31536000, immutable, no-transform"),
    ])
}

fn failure(doing: &str, key: &str, error: Error) -> ObjectsError {
    match error {
        Error::AlreadyExists { .. } => ObjectsError::AlreadyExists(key.to_owned()),
        Error::Precondition { .. } => ObjectsError::Conflict(key.to_owned()),
        error => ObjectsError::Remote { doing: format!("{doing} {key}"), source: error.into() },
    }
}

//! The bundle store by URL: a directory, S3 and its like, Google Cloud Storage, Azure.
//!
//! Credentials come from the environment, under the names that `object_store` reads: `AWS_*` (also the files and
//! addresses of workload identity), `GOOGLE_*`, `AZURE_*`. None is ever taken from the URL.

use std::{fmt, path::PathBuf, str::FromStr, sync::Arc, time::Duration};

use object_store::{
    BackoffConfig, ClientConfigKey, ObjectStore, RetryConfig,
    aws::{AmazonS3Builder, AmazonS3ConfigKey},
    azure::{AzureConfigKey, MicrosoftAzureBuilder},
    gcp::{GoogleCloudStorageBuilder, GoogleConfigKey},
    signer::Signer,
};
use url::Url;

use super::{Directory, Objects, ObjectsError, Remote};

/// No byte for 20 seconds is an outage. A whole request has in effect no limit: it may be a phone's slow download.
const TIMES: [(ClientConfigKey, &str); 3] = [
    (ClientConfigKey::ConnectTimeout, "5s"),
    (ClientConfigKey::ReadTimeout, "20s"),
    (ClientConfigKey::Timeout, "1day"),
];
/// Repetitions of a failed request, and how long after the first attempt one still begins. Whoever waits for the store
/// tries again by itself and says so, which nobody sees while a request is silently repeated.
const REPEATS: usize = 3;
const REPEAT_FOR: Duration = Duration::from_secs(8);

/// Where a bundle store is. Printing it shows no secret, because it cannot hold one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreUrl {
    kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Directory(PathBuf),
    Bucket { scheme: Scheme, bucket: String, prefix: String },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scheme {
    S3,
    Gs,
    Az,
}

/// A text that is not the URL of a bundle store.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidStoreUrl {
    /// No URL, or of something else. The text is not repeated: it may hold a password.
    #[error(
        "is not the URL of a bundle store; write file:///DIR, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or \
         az://CONTAINER/PREFIX"
    )]
    Unknown,
    /// Credentials or settings in the URL.
    #[error(
        "holds credentials or settings; take them out and put them into the environment (AWS_*, GOOGLE_* or AZURE_*)"
    )]
    NotPlain,
    /// A path that has `..`, an empty segment, or characters that keys do not have.
    #[error("has a prefix that is no path of letters, digits, `.`, `_` and `-`")]
    Prefix,
}

impl FromStr for StoreUrl {
    type Err = InvalidStoreUrl;

    fn from_str(text: &str) -> Result<Self, InvalidStoreUrl> {
        let url: Url = text.parse().map_err(|_| InvalidStoreUrl::Unknown)?;
        let plain = url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none();
        let scheme = match url.scheme() {
            "file" => {
                let path = url.to_file_path().map_err(|()| InvalidStoreUrl::Unknown)?;
                return if plain { Ok(Self::directory(path)) } else { Err(InvalidStoreUrl::NotPlain) };
            }
            "s3" => Scheme::S3,
            "gs" => Scheme::Gs,
            "az" => Scheme::Az,
            _ => return Err(InvalidStoreUrl::Unknown),
        };
        if !plain || url.port().is_some() {
            return Err(InvalidStoreUrl::NotPlain);
        }
        let bucket =
            url.host_str().filter(|host| !host.is_empty()).ok_or(InvalidStoreUrl::Unknown)?.to_owned();
        let prefix = url.path().trim_matches('/').to_owned();
        if !prefix.is_empty() && super::check_key(&prefix).is_err() {
            return Err(InvalidStoreUrl::Prefix);
        }
        Ok(Self { kind: Kind::Bucket { scheme, bucket, prefix } })
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Directory(path) => write!(f, "file://{}", path.display()),
            Kind::Bucket { scheme, bucket, prefix } => {
                let scheme = match scheme {
                    Scheme::S3 => "s3",
                    Scheme::Gs => "gs",
                    Scheme::Az => "az",
                };
                write!(f, "{scheme}://{bucket}")?;
                if prefix.is_empty() { Ok(()) } else { write!(f, "/{prefix}") }
            }
        }
    }
}

/// Why a bundle store cannot be used. It says nothing of whether the store answers: that shows at the first request.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The URL is wrong.
    #[error("the bundle store's URL {0}")]
    Url(#[from] InvalidStoreUrl),
    /// The directory cannot be made or locked.
    #[error("the bundle store {url} cannot be opened: {source}")]
    Directory {
        /// Which.
        url: StoreUrl,
        /// Why.
        source: ObjectsError,
    },
    /// The settings in the environment do not make a client.
    #[error(
        "the bundle store {url} cannot be reached with the settings of the environment ({variables}): {reason}"
    )]
    Settings {
        /// Which.
        url: StoreUrl,
        /// Where settings are looked for.
        variables: &'static str,
        /// Why.
        reason: String,
    },
}

/// Opens the bundle store at `url`, with temporary files in the system's folder for them.
pub fn open(url: &str) -> Result<Arc<dyn Objects>, OpenError> {
    url.parse::<StoreUrl>()?.open()
}

impl StoreUrl {
    /// The store in a directory.
    pub fn directory(path: impl Into<PathBuf>) -> Self {
        Self { kind: Kind::Directory(path.into()) }
    }

    /// Whether it is a directory of this machine.
    pub fn is_directory(&self) -> bool {
        matches!(self.kind, Kind::Directory(_))
    }

    /// Makes a client. Only a directory is touched.
    pub fn open(&self) -> Result<Arc<dyn Objects>, OpenError> {
        self.open_with(&[])
    }

    /// The same with settings beside those of the environment, under the same names.
    pub fn open_with(&self, settings: &[(&str, &str)]) -> Result<Arc<dyn Objects>, OpenError> {
        let more = settings;
        let (scheme, bucket, prefix) = match &self.kind {
            Kind::Directory(path) => {
                return match Directory::open(path) {
                    Ok(directory) => Ok(Arc::new(directory)),
                    Err(source) => Err(OpenError::Directory { url: self.clone(), source }),
                };
            }
            Kind::Bucket { scheme, bucket, prefix } => (scheme, bucket, prefix),
        };
        let settings = |variables| {
            move |error: object_store::Error| OpenError::Settings {
                url: self.clone(),
                variables,
                reason: error.to_string(),
            }
        };
        let remote = match scheme {
            Scheme::S3 => remote(s3(bucket, more).map_err(settings("AWS_*"))?, prefix),
            Scheme::Gs => remote(gcs(bucket, more).map_err(settings("GOOGLE_*"))?, prefix),
            Scheme::Az => remote(azure(bucket, more).map_err(settings("AZURE_*"))?, prefix),
        };
        Ok(Arc::new(remote))
    }
}

type Settings<'a> = &'a [(&'a str, &'a str)];

fn remote<S: ObjectStore + Signer>(store: S, prefix: &str) -> Remote {
    let store = Arc::new(store);
    Remote::new(store.clone(), prefix, std::env::temp_dir()).with_signer(store)
}

fn s3(bucket: &str, more: Settings<'_>) -> Result<impl ObjectStore + Signer + use<>, object_store::Error> {
    let mut builder = AmazonS3Builder::from_env().with_bucket_name(bucket).with_retry(retry());
    for (key, value) in unless_set("AWS") {
        builder = builder.with_config(AmazonS3ConfigKey::Client(key), value);
    }
    for (name, value) in more {
        builder = builder.with_config(name.to_ascii_lowercase().parse::<AmazonS3ConfigKey>()?, *value);
    }
    if builder.get_config_value(&AmazonS3ConfigKey::ConditionalPut).as_deref() == Some("disabled") {
        return Err(object_store::Error::NotSupported {
            source: "AWS_CONDITIONAL_PUT=disabled: two writers could not be told apart".into(),
        });
    }
    builder.build()
}

fn gcs(bucket: &str, more: Settings<'_>) -> Result<impl ObjectStore + Signer + use<>, object_store::Error> {
    let mut builder = GoogleCloudStorageBuilder::from_env().with_bucket_name(bucket).with_retry(retry());
    for (key, value) in unless_set("GOOGLE") {
        builder = builder.with_config(GoogleConfigKey::Client(key), value);
    }
    for (name, value) in more {
        builder = builder.with_config(name.to_ascii_lowercase().parse::<GoogleConfigKey>()?, *value);
    }
    builder.build()
}

fn azure(
    container: &str,
    more: Settings<'_>,
) -> Result<impl ObjectStore + Signer + use<>, object_store::Error> {
    let mut builder = MicrosoftAzureBuilder::from_env().with_container_name(container).with_retry(retry());
    for (key, value) in unless_set("AZURE") {
        builder = builder.with_config(AzureConfigKey::Client(key), value);
    }
    for (name, value) in more {
        builder = builder.with_config(name.to_ascii_lowercase().parse::<AzureConfigKey>()?, *value);
    }
    builder.build()
}

/// Times that differ from the library's, unless the environment says otherwise.
fn unless_set(prefix: &'static str) -> impl Iterator<Item = (ClientConfigKey, &'static str)> {
    TIMES.into_iter().filter(move |(key, _)| {
        std::env::var_os(format!("{prefix}_{}", key.as_ref().to_ascii_uppercase())).is_none()
    })
}

fn retry() -> RetryConfig {
    let (init_backoff, max_backoff) = (Duration::from_millis(100), Duration::from_secs(2));
    RetryConfig {
        backoff: BackoffConfig { init_backoff, max_backoff, base: 2.0 },
        max_retries: REPEATS,
        retry_timeout: REPEAT_FOR,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_say_where_and_hold_no_secret() {
        for (text, shown) in [
            ("file:///var/lib/sluice/store", "file:///var/lib/sluice/store"),
            ("s3://updates", "s3://updates"),
            ("s3://updates/", "s3://updates"),
            ("s3://updates/eu/prod/", "s3://updates/eu/prod"),
            ("gs://updates/eu", "gs://updates/eu"),
            ("az://updates/eu", "az://updates/eu"),
        ] {
            assert_eq!(text.parse::<StoreUrl>().map(|url| url.to_string()), Ok(shown.to_owned()));
        }
        for (text, error) in [
            ("", InvalidStoreUrl::Unknown),
            ("/var/lib/sluice", InvalidStoreUrl::Unknown),
            ("file://host/var/lib", InvalidStoreUrl::Unknown),
            ("https://updates.example.org", InvalidStoreUrl::Unknown),
            ("s3:///prefix", InvalidStoreUrl::Unknown),
            ("s3://canary:canary@updates", InvalidStoreUrl::NotPlain),
            ("s3://canary@updates/eu", InvalidStoreUrl::NotPlain),
            ("s3://updates?AWS_SECRET_ACCESS_KEY=canary", InvalidStoreUrl::NotPlain),
            ("s3://updates#canary", InvalidStoreUrl::NotPlain),
            ("s3://updates:9000/eu", InvalidStoreUrl::NotPlain),
            ("s3://updates/a//b", InvalidStoreUrl::Prefix),
            ("s3://updates/a%20b", InvalidStoreUrl::Prefix),
        ] {
            let found = text.parse::<StoreUrl>().unwrap_err();
            assert_eq!(found, error, "{text}");
            assert!(!OpenError::from(found).to_string().contains("canary"), "{text}");
        }
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = open(&format!("file://{}/store", file.path().display())).unwrap_err().to_string();
        assert!(error.contains("the bundle store file://") && error.contains("cannot be opened"), "{error}");
    }
}

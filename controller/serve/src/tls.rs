//! TLS from a certificate and a key file, read again when they change. A new pair that cannot be used is reported, and
//! the old one stays.

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use rustls::{
    ServerConfig,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use sluice_core::digest::Digest;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// Where certificate and key are.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// PEM: the certificate of this server first, then the chain.
    pub certificate: PathBuf,
    /// PEM: its private key.
    pub key: PathBuf,
}

/// Why a pair cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// A file is not what it should be.
    #[error("{} holds no usable PEM {what}: {error}", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What was looked for.
        what: &'static str,
        /// Why. It never quotes the file.
        error: rustls::pki_types::pem::Error,
    },
    /// The two do not go together, or use algorithms that are not supported.
    #[error("the certificate and its key cannot be used together: {0}")]
    Pair(rustls::Error),
    /// No TLS version that this program supports.
    #[error("cannot set up TLS: {0}")]
    Setup(rustls::Error),
}

/// The pair in use. Handshakes read it without a lock.
struct Current(ArcSwap<CertifiedKey>);

impl fmt::Debug for Current {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Current(…)")
    }
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

/// TLS of one listener.
pub struct Tls {
    watcher: Watcher,
    config: Arc<ServerConfig>,
}

/// Looks whether the files have changed.
#[derive(Clone)]
pub struct Watcher {
    files: TlsFiles,
    provider: Arc<CryptoProvider>,
    current: Arc<Current>,
    /// Digest of the files in use.
    seen: Digest,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("files", &self.watcher.files).finish_non_exhaustive()
    }
}

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watcher").field("files", &self.files).finish_non_exhaustive()
    }
}

impl Tls {
    /// Reads the pair.
    pub async fn load(files: TlsFiles) -> Result<Self, TlsError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let bytes = read(&files).await?;
        let current = Arc::new(Current(ArcSwap::from_pointee(pair(&files, &bytes, &provider)?)));
        let mut config = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Setup)?
            .with_no_client_auth()
            .with_cert_resolver(current.clone());
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let watcher = Watcher { files, provider, current, seen: bytes.digest() };
        Ok(Self { watcher, config: Arc::new(config) })
    }

    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.config.clone())
    }

    /// What takes new pairs; run [`Watcher::watch`] beside the listener.
    pub fn watcher(&self) -> Watcher {
        self.watcher.clone()
    }
}

impl Watcher {
    /// Looks at the files again and again, until `stop` is cancelled.
    pub async fn watch(mut self, every: Duration, stop: CancellationToken) {
        let mut said = String::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(every) => {}
            }
            match self.look().await {
                Ok(false) => {}
                Ok(true) => {
                    said.clear();
                    tracing::info!(certificate = %self.files.certificate.display(), "the TLS certificate was replaced");
                }
                Err(error) => {
                    let text = error.to_string();
                    if text != said {
                        tracing::error!(error = %text, "the new TLS certificate cannot be used, the old one stays");
                        said = text;
                    }
                }
            }
        }
    }

    /// Takes a new pair. True when there is one.
    async fn look(&mut self) -> Result<bool, TlsError> {
        let bytes = read(&self.files).await?;
        let seen = bytes.digest();
        if seen == self.seen {
            return Ok(false);
        }
        let pair = pair(&self.files, &bytes, &self.provider)?;
        self.current.0.store(Arc::new(pair));
        self.seen = seen;
        Ok(true)
    }
}

/// What the files hold.
struct Bytes {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Bytes {
    fn digest(&self) -> Digest {
        Digest::of(&[self.certificate.as_slice(), b"\0", &self.key].concat())
    }
}

async fn read(files: &TlsFiles) -> Result<Bytes, TlsError> {
    let read = async |path: &PathBuf| {
        tokio::fs::read(path).await.map_err(|error| TlsError::Read { path: path.clone(), error })
    };
    Ok(Bytes { certificate: read(&files.certificate).await?, key: read(&files.key).await? })
}

fn pair(files: &TlsFiles, bytes: &Bytes, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
    let bad = |path: &PathBuf, what, error| TlsError::Pem { path: path.clone(), what, error };
    let bad_certificate = |error| bad(&files.certificate, "certificate", error);
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&bytes.certificate)
        .collect::<Result<_, _>>()
        .map_err(bad_certificate)?;
    if chain.is_empty() {
        return Err(bad_certificate(rustls::pki_types::pem::Error::NoItemsFound));
    }
    let key =
        PrivateKeyDer::from_pem_slice(&bytes.key).map_err(|error| bad(&files.key, "private key", error))?;
    CertifiedKey::from_der(chain, key, provider).map_err(TlsError::Pair)
}

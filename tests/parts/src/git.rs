//! A Git server behind https, with an account and a certificate of its own.

use std::{net::SocketAddr, sync::Arc};

use sluice_repo::testing::{SmartHttp, Upstream};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{TlsAcceptor, rustls};

/// Serves one repository to one account, at `https://127.0.0.1:PORT/releases.git`.
#[derive(Debug)]
pub struct GitHttps {
    /// Its certificate, which is its own authority, as PEM.
    pub certificate: String,
    /// The server behind it.
    pub http: Arc<SmartHttp>,
    address: SocketAddr,
}

impl GitHttps {
    /// Serves from now on, for as long as the runtime that this is called in.
    pub async fn serve(upstream: &Upstream, user: &str, password: &str) -> Self {
        let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]);
        let made = made.unwrap_or_else(|error| panic!("a certificate: {error}"));
        let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der());
        let key = key.unwrap_or_else(|error| panic!("a key: {error}"));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap_or_else(|error| panic!("versions of TLS: {error}"))
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap_or_else(|error| panic!("the certificate: {error}"));
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let http = Arc::new(SmartHttp::with_account(upstream, user, password));
        let behind: SocketAddr =
            http.base().trim_start_matches("http://").parse().unwrap_or_else(|error| panic!("{error}"));
        let listener = TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.unwrap_or_else(|error| panic!("a port: {error}"));
        let address = listener.local_addr().unwrap_or_else(|error| panic!("its address: {error}"));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    // A client that goes away is its own affair.
                    let Ok(mut tls) = acceptor.accept(stream).await else { return };
                    let Ok(mut plain) = TcpStream::connect(behind).await else { return };
                    let _ = copy_bidirectional(&mut tls, &mut plain).await;
                });
            }
        });
        Self { certificate: made.cert.pem(), http, address }
    }

    /// The address of the repository.
    pub fn url(&self) -> String {
        format!("https://{}/releases.git", self.address)
    }
}

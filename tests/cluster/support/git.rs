//! A Git server behind https, with an account and a certificate of its own.

use std::{net::SocketAddr, sync::Arc};

use sluice_repo::testing::{SmartHttp, Upstream};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{TlsAcceptor, rustls};

/// The robot's password: nothing may ever show it.
pub const PASSWORD: &str = "canary-password-1";
/// What webhooks are signed with.
pub const HOOK_SECRET: &str = "canary-hook-secret-1";

/// See the module.
pub struct GitHttps {
    /// PEM.
    pub certificate: String,
    pub http: Arc<SmartHttp>,
    address: SocketAddr,
}

impl GitHttps {
    pub async fn serve(upstream: &Upstream) -> Self {
        let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
        let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let http = Arc::new(SmartHttp::with_account(upstream, "robot", PASSWORD));
        let behind: SocketAddr = http.base().trim_start_matches("http://").parse().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
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

    pub fn url(&self) -> String {
        format!("https://{}/releases.git", self.address)
    }
}

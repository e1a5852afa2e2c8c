//! Against real TLS servers on loopback that send what each test dictates.

use std::{net::IpAddr, sync::Arc};

use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

use super::*;

/// What the server does after it has read a request's head.
#[derive(Clone)]
enum Act {
    Send(Vec<u8>),
    SendThenStall(Vec<u8>),
}

struct Server {
    port: u16,
    policy: AddressPolicy,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Serves `acts` by path; every other path is 404.
async fn server(acts: Vec<(&'static str, Act)>) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    server_on(listener, port, acts)
}

fn server_on(listener: TcpListener, port: u16, acts: Vec<(&'static str, Act)>) -> Server {
    let issued =
        rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    let der = issued.cert.der().to_vec();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(issued.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![issued.cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let task = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, acts) = (acceptor.clone(), acts.clone());
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let Ok(byte) = stream.read_u8().await else { return };
                    head.push(byte);
                }
                let head = String::from_utf8(head).unwrap();
                assert!(head.contains("accept-encoding: identity"), "{head}");
                let path = head.split(' ').nth(1).unwrap();
                let act = acts.iter().find(|(p, _)| *p == path).map(|(_, act)| act.clone());
                let (bytes, stall) = match act {
                    Some(Act::Send(bytes)) => (bytes, false),
                    Some(Act::SendThenStall(bytes)) => (bytes, true),
                    None => (answer("404 Not Found", "", b""), false),
                };
                let _ = stream.write_all(&bytes).await;
                let _ = stream.flush().await;
                if stall {
                    std::future::pending::<()>().await;
                }
                let _ = stream.shutdown().await;
            });
        }
    });
    let policy = AddressPolicy { allowed: vec!["127.0.0.1/32".parse().unwrap()], authorities: vec![der] };
    Server { port, policy, task }
}

fn answer(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes =
        format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n{headers}\r\n", body.len())
            .into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

fn redirect_to(location: &str) -> Act {
    Act::Send(answer("302 Found", &format!("location: {location}\r\n"), b""))
}

async fn get(
    server: &Server,
    path: &str,
    sha256: Digest,
    limits: DownloadLimits,
) -> Result<Vec<u8>, DownloadError> {
    let mut into = Vec::new();
    let url = format!("https://127.0.0.1:{}{path}", server.port);
    let size = download(&url, sha256, &limits, &server.policy, &mut into).await?;
    assert_eq!(size, into.len() as u64);
    Ok(into)
}

const BODY: &[u8] = b"PK and so on";

fn quick() -> DownloadLimits {
    DownloadLimits { idle: Duration::from_millis(200), ..DownloadLimits::default() }
}

#[tokio::test]
async fn good_with_redirects() {
    let server = server(vec![
        ("/a", redirect_to("/b?token=canary")),
        ("/b?token=canary", Act::Send(answer("200 OK", "", BODY))),
    ])
    .await;
    assert_eq!(get(&server, "/a", Digest::of(BODY), DownloadLimits::default()).await.unwrap(), BODY);
}

#[tokio::test]
async fn host_names_are_resolved_and_pinned() {
    let server = server(vec![("/a", Act::Send(answer("200 OK", "", BODY)))]).await;
    let mut policy = server.policy.clone();
    policy.allowed.push("::1/128".parse().unwrap());
    let mut into = Vec::new();
    let url = format!("https://localhost:{}/a", server.port);
    download(&url, Digest::of(BODY), &DownloadLimits::default(), &policy, &mut into).await.unwrap();
    assert_eq!(into, BODY);
    let error =
        download(&url, Digest::of(BODY), &DownloadLimits::default(), &AddressPolicy::default(), &mut into)
            .await
            .unwrap_err();
    assert_eq!(error.code(), Code::BundleAddressRefused, "{error}");
}

#[tokio::test]
async fn unknown_authorities_are_refused() {
    let server = server(vec![("/a", Act::Send(answer("200 OK", "", BODY)))]).await;
    let policy = AddressPolicy { authorities: Vec::new(), ..server.policy.clone() };
    let url = format!("https://127.0.0.1:{}/a", server.port);
    let error = download(&url, Digest::of(BODY), &DownloadLimits::default(), &policy, &mut Vec::new())
        .await
        .unwrap_err();
    assert!(matches!(error, DownloadError::Connection { .. }), "{error}");
}

#[tokio::test]
async fn wrong_digest_wrong_status_and_encoding() {
    let gzip = answer("200 OK", "content-encoding: gzip\r\n", BODY);
    let server =
        server(vec![("/a", Act::Send(answer("200 OK", "", BODY))), ("/gzip", Act::Send(gzip))]).await;
    let error = get(&server, "/a", Digest::of(b"other"), DownloadLimits::default()).await.unwrap_err();
    assert_eq!(error.code(), Code::BundleDigestMismatch);
    let error =
        get(&server, "/none?token=canary", Digest::of(BODY), DownloadLimits::default()).await.unwrap_err();
    assert_eq!(error.code(), Code::BundleUnavailable);
    assert_eq!(error.to_string(), "127.0.0.1 answered 404 Not Found");
    let error = get(&server, "/gzip", Digest::of(BODY), DownloadLimits::default()).await.unwrap_err();
    assert!(matches!(error, DownloadError::Encoded { .. }), "{error}");
}

#[tokio::test]
async fn too_large_with_and_without_a_length() {
    let mut chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    for _ in 0..20 {
        chunked.extend_from_slice(b"8\r\n12345678\r\n");
    }
    chunked.extend_from_slice(b"0\r\n\r\n");
    let server = server(vec![
        ("/stated", Act::Send(answer("200 OK", "", &[b'x'; 101]))),
        ("/chunked", Act::Send(chunked)),
    ])
    .await;
    let limits = DownloadLimits { bytes: 100, ..DownloadLimits::default() };
    for path in ["/stated", "/chunked"] {
        let error = get(&server, path, Digest::of(BODY), limits).await.unwrap_err();
        assert!(matches!(error, DownloadError::TooLarge(100)), "{path}: {error}");
    }
}

#[tokio::test]
async fn redirects_are_checked_like_the_first_url() {
    let server = server(vec![
        ("/private", redirect_to("https://10.0.0.1/x")),
        ("/metadata", redirect_to("https://169.254.169.254/latest")),
        ("/mapped", redirect_to("https://[::ffff:127.0.0.1]/x")),
        ("/number", redirect_to("https://0x7f000002/x")),
        ("/plain", redirect_to("http://127.0.0.1/x")),
        ("/file", redirect_to("file:///etc/passwd")),
        ("/user", redirect_to("https://me:secret@127.0.0.1/x")),
        ("/loop", redirect_to("/loop")),
        ("/nowhere", Act::Send(answer("302 Found", "", b""))),
    ])
    .await;
    for path in ["/private", "/metadata", "/mapped", "/number", "/plain", "/file", "/user", "/nowhere"] {
        let error = get(&server, path, Digest::of(BODY), DownloadLimits::default()).await.unwrap_err();
        assert_eq!(error.code(), Code::BundleAddressRefused, "{path}: {error}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
    let error = get(&server, "/loop", Digest::of(BODY), DownloadLimits::default()).await.unwrap_err();
    assert!(matches!(error, DownloadError::Redirects(5)), "{error}");
}

#[tokio::test]
async fn slow_servers_time_out() {
    let head = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nsome".to_vec();
    let server =
        server(vec![("/head", Act::SendThenStall(Vec::new())), ("/body", Act::SendThenStall(head))]).await;
    for path in ["/head", "/body"] {
        let error = get(&server, path, Digest::of(BODY), quick()).await.unwrap_err();
        assert!(matches!(error, DownloadError::TimedOut { .. }), "{path}: {error}");
    }
    let limits = DownloadLimits { total: Duration::from_millis(200), ..DownloadLimits::default() };
    let error = get(&server, "/body", Digest::of(BODY), limits).await.unwrap_err();
    assert!(matches!(error, DownloadError::TimedOut { .. }), "{error}");
}

#[tokio::test]
async fn truncated_bodies_are_noticed() {
    let short = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nPK and so on".to_vec();
    let server = server(vec![("/a", Act::Send(short))]).await;
    let error = get(&server, "/a", Digest::of(BODY), DownloadLimits::default()).await.unwrap_err();
    assert!(matches!(error, DownloadError::Connection { .. }), "{error}");
    assert_eq!(error.code(), Code::BundleUnavailable);
}

#[tokio::test]
async fn one_private_address_spoils_the_host() {
    let policy = AddressPolicy::default();
    for url in ["https://localhost/x", "https://127.0.0.1/x", "https://[::1]/x"] {
        let error = download(url, Digest::of(BODY), &DownloadLimits::default(), &policy, &mut Vec::new())
            .await
            .unwrap_err();
        let DownloadError::Address { address, .. } = error else { panic!("{url}: {error}") };
        assert!(matches!(address, IpAddr::V4(_) | IpAddr::V6(_)) && address.is_loopback(), "{address}");
    }
}

//! Connections: limits, draining, TLS, HTTP/2.

use std::{path::Path, sync::Arc, time::Duration};

use serde_json::json;
use sluice_serve::{
    listener::{Drained, Limits},
    tls::{Tls, TlsError, TlsFiles},
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs, pki_types::CertificateDer},
};
use tokio_util::sync::CancellationToken;

use crate::{
    wire::{LIMIT, connect, ended, read_head, receive, request},
    world::{Running, Wanted, World, ask, until},
};

const SHORT: Duration = Duration::from_millis(150);

fn limits() -> Limits {
    Limits { head_timeout: LIMIT, idle_timeout: LIMIT, ..Limits::default() }
}

#[tokio::test]
async fn a_head_that_trickles_is_cut_off() {
    let world = World::new().await;
    let running = Running::start(world.device.site(), None, Limits { head_timeout: SHORT, ..limits() }).await;
    let mut silent = connect(running.address).await;
    ended(&mut silent).await;
    let mut stream = connect(running.address).await;
    // The second request of a connection is limited like the first one.
    stream.write_all(&request("POST", "/updates", &[], &ask(json!({})))).await.unwrap();
    assert_eq!(receive(&mut stream, false).await.status, 200);
    let mut pace = tokio::time::interval(Duration::from_millis(10));
    let trickle = async {
        loop {
            let mut byte = [0; 1];
            tokio::select! {
                _ = pace.tick() => drop(stream.try_write(b"X")),
                read = stream.readable() => {
                    read.unwrap();
                    match stream.try_read(&mut byte) {
                        Ok(0) => break,
                        Ok(_) => panic!("an answer to half a head"),
                        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                        Err(_) => break,
                    }
                }
            }
        }
    };
    tokio::time::timeout(LIMIT, trickle).await.expect("it is cut off");
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let world = World::new().await;
    let running = Running::start(world.device.site(), None, Limits { idle_timeout: SHORT, ..limits() }).await;
    let mut stream = connect(running.address).await;
    stream.write_all(&request("POST", "/updates", &[], &ask(json!({})))).await.unwrap();
    assert_eq!(receive(&mut stream, false).await.status, 200);
    ended(&mut stream).await;
}

#[tokio::test]
async fn a_peer_that_stops_reading_is_cut_off() {
    let world = World::with(Wanted { zip_size: Some(32_000_000), ..Wanted::default() }).await;
    let running = Running::start(world.device.site(), None, Limits { idle_timeout: SHORT, ..limits() }).await;
    let mut stream = connect(running.address).await;
    stream.write_all(&request("GET", &world.bundle(), &[], b"")).await.unwrap();
    assert_eq!(read_head(&mut stream).await.0, 200);
    running.stop.cancel();
    // The listener ends only when the connection has, while the peer still holds it open.
    assert_eq!(running.drained().await, Drained::Complete);
}

#[tokio::test]
async fn a_body_that_does_not_come_is_answered() {
    let world = World::with(Wanted { body_timeout: Some(SHORT), ..Wanted::default() }).await;
    let running = Running::start(world.device.site(), None, limits()).await;
    let mut stream = connect(running.address).await;
    stream.write_all(b"POST /stats HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{").await.unwrap();
    let answer = receive(&mut stream, false).await;
    assert_eq!((answer.status, answer.header("connection")), (408, Some("close")));
    ended(&mut stream).await;
}

#[tokio::test]
async fn further_connections_wait_for_their_turn() {
    let world = World::new().await;
    let running = Running::start(world.device.site(), None, Limits { connections: 1, ..limits() }).await;
    let ask = request("POST", "/updates", &[], &ask(json!({})));
    let mut first = connect(running.address).await;
    first.write_all(&ask).await.unwrap();
    assert_eq!(receive(&mut first, false).await.status, 200);
    let mut second = connect(running.address).await;
    second.write_all(&ask).await.unwrap();
    first.write_all(&ask).await.unwrap();
    assert_eq!(receive(&mut first, false).await.status, 200);
    assert_eq!(second.try_read(&mut [0; 1]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    drop(first);
    assert_eq!(receive(&mut second, false).await.status, 200);
}

#[tokio::test]
async fn a_download_is_finished_while_the_listener_drains() {
    let world = World::with(Wanted { zip_size: Some(16_000_000), ..Wanted::default() }).await;
    let running = Running::start(world.device.site(), None, limits()).await;
    let mut idle = connect(running.address).await;
    idle.write_all(&request("POST", "/updates", &[], &ask(json!({})))).await.unwrap();
    assert_eq!(receive(&mut idle, false).await.status, 200);
    let mut stream = connect(running.address).await;
    stream.write_all(&request("GET", &world.bundle(), &[], b"")).await.unwrap();
    assert_eq!(read_head(&mut stream).await.0, 200);
    running.stop.cancel();
    ended(&mut idle).await;
    let address = running.address;
    until(|| async move { tokio::net::TcpStream::connect(address).await.is_err() }).await;
    let mut body = vec![0; world.zip.len()];
    stream.read_exact(&mut body).await.unwrap();
    assert!(body == world.zip);
    ended(&mut stream).await;
    assert_eq!(running.drained().await, Drained::Complete);
}

#[tokio::test]
async fn a_drain_has_a_limit() {
    let world = World::with(Wanted { zip_size: Some(32_000_000), ..Wanted::default() }).await;
    let running = Running::start(world.device.site(), None, Limits { drain: SHORT, ..limits() }).await;
    let mut stream = connect(running.address).await;
    stream.write_all(&request("GET", &world.bundle(), &[], b"")).await.unwrap();
    assert_eq!(read_head(&mut stream).await.0, 200);
    running.stop.cancel();
    assert_eq!(running.drained().await, Drained::Cut { connections: 1 });
}

#[tokio::test]
async fn http_2_without_tls() {
    let world = World::new().await;
    let running = Running::start(world.device.site(), None, limits()).await;
    let (client, connection) = h2::client::handshake(connect(running.address).await).await.unwrap();
    tokio::spawn(connection);
    let mut client = client.ready().await.unwrap();
    let uri = format!("http://ota.example.org{}", world.bundle());
    let (response, _) = client.send_request(http::Request::get(uri).body(()).unwrap(), true).unwrap();
    let response = response.await.unwrap();
    assert_eq!(response.status(), 200);
    let mut body = response.into_body();
    let mut sum = 0;
    while let Some(chunk) = body.data().await {
        let chunk = chunk.unwrap();
        sum += chunk.len();
        body.flow_control().release_capacity(chunk.len()).unwrap();
    }
    assert_eq!(sum, world.zip.len());
    let request = http::Request::post("http://ota.example.org/updates").body(()).unwrap();
    let (response, mut sender) = client.send_request(request, false).unwrap();
    sender.send_data(ask(json!({})).into(), true).unwrap();
    assert_eq!(response.await.unwrap().status(), 200);
}

/// Writes a new pair and returns the certificate.
fn write_pair(files: &TlsFiles) -> CertificateDer<'static> {
    let pair = rcgen::generate_simple_self_signed(vec!["ota.example.org".to_owned()]).unwrap();
    std::fs::write(&files.key, pair.signing_key.serialize_pem()).unwrap();
    std::fs::write(&files.certificate, pair.cert.pem()).unwrap();
    CertificateDer::from(pair.cert.der().to_vec())
}

fn files(dir: &Path) -> TlsFiles {
    TlsFiles { certificate: dir.join("tls.crt"), key: dir.join("tls.key") }
}

#[tokio::test]
async fn a_new_certificate_is_taken_and_a_broken_one_is_not() {
    let world = World::new().await;
    let files = files(world.dir.path());
    let first = write_pair(&files);
    let serving = Tls::load(files.clone()).await.unwrap();
    let stop = CancellationToken::new();
    let watching = tokio::spawn(serving.watcher().watch(Duration::from_millis(1), stop.clone()));
    let running = Running::start(world.device.site(), Some(serving), limits()).await;
    let address = running.address;
    let handshake = async |trusted: &CertificateDer<'static>, alpn: &str| {
        let mut roots = RootCertStore::empty();
        roots.add(trusted.clone()).unwrap();
        let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
        let name = "ota.example.org".try_into().unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, connect(address).await).await
    };
    let mut stream = handshake(&first, "http/1.1").await.unwrap();
    stream.write_all(&request("POST", "/updates", &[], &ask(json!({})))).await.unwrap();
    assert_eq!(receive(&mut stream, false).await.status, 200);
    let h2 = handshake(&first, "h2").await.unwrap();
    assert_eq!(h2.get_ref().1.alpn_protocol(), Some(b"h2".as_slice()));
    std::fs::write(&files.certificate, "-----BEGIN CERTIFICATE-----\nnonsense\n").unwrap();
    let log = || crate::world::LOG.lock().unwrap().clone();
    until(|| async { log().contains("the old one stays") }).await;
    assert!(handshake(&first, "http/1.1").await.is_ok());
    let second = write_pair(&files);
    until(|| async { handshake(&second, "http/1.1").await.is_ok() }).await;
    assert!(handshake(&first, "http/1.1").await.is_err());
    stop.cancel();
    watching.await.unwrap();
    running.stop.cancel();
    running.drained().await;
}

#[tokio::test]
async fn a_pair_that_cannot_be_used_is_refused_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let files = files(dir.path());
    assert!(matches!(Tls::load(files.clone()).await, Err(TlsError::Read { .. })));
    write_pair(&files);
    let key = std::fs::read(&files.key).unwrap();
    write_pair(&files);
    std::fs::write(&files.key, key).unwrap();
    assert!(matches!(Tls::load(files.clone()).await, Err(TlsError::Pair(_))));
    std::fs::write(&files.certificate, "").unwrap();
    assert!(matches!(Tls::load(files).await, Err(TlsError::Pem { .. })));
}

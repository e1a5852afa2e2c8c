use std::{net::SocketAddr, time::Duration};

use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use sluice_test_parts::{ControlPlane, Proxy};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy},
    net::{TcpListener, TcpStream},
    time::{Instant, timeout},
};

use crate::{LIMIT, NEVER};

/// A server that says everything back.
async fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = stream.split();
                let _ = copy(&mut from, &mut to).await;
                let _ = to.shutdown().await;
            });
        }
    });
    address
}

async fn said_back(stream: &mut TcpStream, word: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut back = vec![0; word.len()];
    stream.write_all(word).await?;
    stream.read_exact(&mut back).await?;
    Ok(back)
}

#[tokio::test]
async fn a_cut_holds_bytes_up_and_healing_delivers_them() {
    let proxy = Proxy::to(echo().await).await;
    let mut old = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(said_back(&mut old, b"one").await.unwrap(), b"one");

    proxy.cut();
    old.write_all(b"two").await.unwrap();
    let mut back = [0; 3];
    assert!(timeout(NEVER, old.read_exact(&mut back)).await.is_err(), "delivered over a cut wire");
    let mut new = TcpStream::connect(proxy.address()).await.unwrap();
    assert!(timeout(NEVER, said_back(&mut new, b"new")).await.is_err(), "delivered over a cut wire");

    proxy.heal().await;
    timeout(LIMIT, old.read_exact(&mut back)).await.unwrap().unwrap();
    assert_eq!(&back, b"two");
    let mut back = [0; 3];
    timeout(LIMIT, new.read_exact(&mut back)).await.unwrap().unwrap();
    assert_eq!(&back, b"new");
}

#[tokio::test]
async fn what_ends_on_one_side_ends_on_the_other() {
    let proxy = Proxy::to(echo().await).await;
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    let sent = vec![7; 200_000];
    stream.write_all(&sent).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut back = Vec::new();
    timeout(LIMIT, stream.read_to_end(&mut back)).await.unwrap().unwrap();
    assert!(back == sent, "{} bytes came back", back.len());
}

#[tokio::test]
async fn refusing_ends_connections_until_it_heals() {
    let proxy = Proxy::to(echo().await).await;
    let mut old = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(said_back(&mut old, b"one").await.unwrap(), b"one");

    proxy.refuse().await;
    TcpStream::connect(proxy.address()).await.unwrap_err();
    timeout(LIMIT, said_back(&mut old, b"two")).await.unwrap().unwrap_err();

    proxy.heal().await;
    let mut new = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(said_back(&mut new, b"two").await.unwrap(), b"two");
}

#[tokio::test]
async fn a_delay_counts_in_each_direction() {
    let delay = Duration::from_millis(100);
    let proxy = Proxy::to(echo().await).await;
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    proxy.delay(delay);
    let began = Instant::now();
    said_back(&mut stream, b"one").await.unwrap();
    assert!(began.elapsed() >= 2 * delay, "{:?}", began.elapsed());
}

#[tokio::test]
async fn the_api_server_can_be_cut_off() {
    let control_plane = ControlPlane::shared().await;
    let proxy = Proxy::to(control_plane.address()).await;
    let kubeconfig = control_plane.kubeconfig_via(&proxy, control_plane.kubeconfig());
    let namespaces = Api::<Namespace>::all(control_plane.client_of(&kubeconfig).await);
    namespaces.get("default").await.unwrap();
    proxy.cut();
    assert!(timeout(NEVER, namespaces.get("default")).await.is_err(), "answered over a cut wire");
    proxy.heal().await;
    timeout(LIMIT, namespaces.get("default")).await.unwrap().unwrap();
}

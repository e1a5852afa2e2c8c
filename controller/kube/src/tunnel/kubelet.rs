//! The end of a port-forward that a node has: TLS, a WebSocket, and frames whose first byte is a channel. A kubelet
//! needs a container runtime and cannot run in tests; what stands between this and the caller is the real API server.

use std::sync::Arc;

use futures::{SinkExt as _, StreamExt as _};
use rcgen::CertifiedKey;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, crypto::aws_lc_rs, pki_types::PrivatePkcs8KeyDer},
};
use tokio_tungstenite::tungstenite::{
    Message,
    handshake::server::{ErrorResponse, Request, Response},
};

const PROTOCOL: &str = "v4.channel.k8s.io";
/// Data of the first port, and what is wrong with it.
const DATA: u8 = 0;
const ERROR: u8 = 1;

/// Starts a node that forwards to a local address, whatever the pod and port; gives the node's port. Without a target
/// it answers as a kubelet does when nothing listens in the pod.
pub(super) async fn start(pod_port: u16, target: Option<std::net::SocketAddr>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let acceptor = acceptor();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(forward(acceptor.clone(), stream, pod_port, target));
        }
    });
    port
}

fn acceptor() -> TlsAcceptor {
    let CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let key = PrivatePkcs8KeyDer::from(signing_key.serialize_der()).into();
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

async fn forward(
    acceptor: TlsAcceptor,
    stream: TcpStream,
    pod_port: u16,
    target: Option<std::net::SocketAddr>,
) {
    let Ok(stream) = acceptor.accept(stream).await else { return };
    let socket = tokio_tungstenite::accept_hdr_async(stream, protocol).await.unwrap();
    let (mut sink, mut source) = socket.split();
    for channel in [DATA, ERROR] {
        let [low, high] = pod_port.to_le_bytes();
        sink.send(Message::binary(vec![channel, low, high])).await.unwrap();
    }
    let Some(target) = target else {
        let said = [[ERROR].as_slice(), b"connection refused inside the pod"].concat();
        sink.send(Message::binary(said)).await.unwrap();
        sink.send(Message::Close(None)).await.unwrap();
        return;
    };
    let (mut read, mut write) = TcpStream::connect(target).await.unwrap().into_split();
    let up = async {
        while let Some(Ok(message)) = source.next().await {
            if let Message::Binary(bytes) = message
                && let Some((&DATA, data)) = bytes.split_first()
            {
                write.write_all(data).await.unwrap();
            }
        }
    };
    let down = async {
        let mut part = vec![DATA; 1 << 14];
        while let Ok(length @ 1..) = read.read(&mut part[1..]).await {
            sink.send(Message::binary(part[..=length].to_vec())).await.unwrap();
        }
        // The other side may be gone by now.
        _ = sink.send(Message::Close(None)).await;
    };
    tokio::join!(up, down);
}

#[expect(clippy::result_large_err, clippy::unnecessary_wraps, reason = "the library's signature")]
fn protocol(request: &Request, mut response: Response) -> Result<Response, ErrorResponse> {
    assert!(request.uri().path().starts_with("/portForward/"), "{}", request.uri());
    let asked = request.headers().get("sec-websocket-protocol").unwrap().to_str().unwrap();
    // Of what the client offers, the only one that kubelets know for ports.
    assert!(asked.split(", ").any(|offered| offered == PROTOCOL), "{asked}");
    response.headers_mut().insert("sec-websocket-protocol", PROTOCOL.parse().unwrap());
    Ok(response)
}

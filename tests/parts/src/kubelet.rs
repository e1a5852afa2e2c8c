//! The end of a port-forward that a node has. A kubelet needs a container runtime and cannot run in tests, so this end
//! is imitated: TLS, a WebSocket, and frames whose first byte is a channel. Everything before it is the real API server.

use std::{net::SocketAddr, sync::Arc};

use futures::{SinkExt as _, StreamExt as _};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use rcgen::CertifiedKey;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, crypto::aws_lc_rs, pki_types::PrivatePkcs8KeyDer},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        self, Message,
        handshake::server::{ErrorResponse, Request, Response},
    },
};

use crate::ControlPlane;

/// The only protocol that kubelets know for ports.
const PROTOCOL: &str = "v4.channel.k8s.io";
/// Data of the first port, and what is wrong with it.
const DATA: u8 = 0;
const ERROR: u8 = 1;
const CHUNK: usize = 16 * 1024;

/// A node that runs no pods and forwards the port of any of them. It belongs to the runtime that it is started in.
#[derive(Debug)]
pub struct Kubelet {
    address: SocketAddr,
    pod_port: u16,
    task: JoinHandle<()>,
}

impl Kubelet {
    /// Forwards this port of its pods to an address. Without one it answers as when nothing listens in the pod.
    pub async fn forwarding(pod_port: u16, target: Option<SocketAddr>) -> Self {
        let listening = async {
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            listener.local_addr().map(|address| (listener, address))
        };
        let (listener, address) = listening.await.unwrap_or_else(|error| panic!("a port: {error}"));
        let acceptor = acceptor().unwrap_or_else(|error| panic!("a certificate: {error}"));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // A caller that goes away is no matter of this end.
                tokio::spawn(forward(acceptor.clone(), stream, pod_port, target));
            }
        });
        Self { address, pod_port, task }
    }

    /// Makes a pod with these labels that says it is ready, on a node of its own with this kubelet.
    pub async fn ready_pod(
        &self,
        control_plane: &ControlPlane,
        namespace: &str,
        name: &str,
        labels: &[(&str, &str)],
    ) {
        let node = format!("{namespace}-{name}");
        control_plane
            .apply_yaml(
                &json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": node } }).to_string(),
            )
            .await;
        let status = json!({ "status": {
            "addresses": [{ "type": "InternalIP", "address": self.address.ip() }],
            "daemonEndpoints": { "kubeletEndpoint": { "Port": self.address.port() } },
        } });
        let nodes = Api::<Node>::all(control_plane.client());
        let patched = nodes.patch_status(&node, &PatchParams::default(), &Patch::Merge(&status)).await;
        patched.unwrap_or_else(|error| panic!("a node: {error}"));

        let labels: serde_json::Map<_, _> =
            labels.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect();
        let ports = json!([{ "name": "admin", "containerPort": self.pod_port }]);
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name, "labels": labels },
            "spec": { "nodeName": node, "containers": [{ "name": "main", "image": "none", "ports": ports }] },
        });
        control_plane.apply_yaml_in(namespace, &pod.to_string()).await;
        let conditions = json!([{ "type": "Ready", "status": "True" }]);
        let status = json!({ "status": { "phase": "Running", "conditions": conditions } });
        let pods = Api::<Pod>::namespaced(control_plane.client(), namespace);
        let patched = pods.patch_status(name, &PatchParams::default(), &Patch::Merge(&status)).await;
        patched.unwrap_or_else(|error| panic!("a pod: {error}"));
    }
}

impl Kubelet {
    /// Ends it: its address refuses connections from now on.
    pub async fn stop(mut self) {
        self.task.abort();
        // Cancelled is what was asked for.
        _ = (&mut self.task).await;
    }
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn acceptor() -> Result<TlsAcceptor, Box<dyn std::error::Error>> {
    let CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()])?;
    let key = PrivatePkcs8KeyDer::from(signing_key.serialize_der()).into();
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

async fn forward(
    acceptor: TlsAcceptor,
    stream: TcpStream,
    pod_port: u16,
    target: Option<SocketAddr>,
) -> Result<(), tungstenite::Error> {
    let stream = acceptor.accept(stream).await?;
    let mut socket = tokio_tungstenite::accept_hdr_async(stream, agree).await?;
    for channel in [DATA, ERROR] {
        let [low, high] = pod_port.to_le_bytes();
        socket.send(Message::binary(vec![channel, low, high])).await?;
    }
    if let Some(target) = target {
        return pass(socket, TcpStream::connect(target).await?).await;
    }
    let said = [[ERROR].as_slice(), b"connection refused inside the pod"].concat();
    socket.send(Message::binary(said)).await?;
    socket.close(None).await
}

/// Passes bytes on until the target ends its side.
async fn pass(
    socket: WebSocketStream<impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin>,
    target: TcpStream,
) -> Result<(), tungstenite::Error> {
    let (mut sink, mut source) = socket.split();
    let (mut read, mut write) = target.into_split();
    let up = async {
        while let Some(message) = source.next().await {
            if let Message::Binary(bytes) = message?
                && let Some((&DATA, data)) = bytes.split_first()
            {
                write.write_all(data).await?;
            }
        }
        Ok(())
    };
    let down = async {
        let mut part = vec![DATA; CHUNK];
        loop {
            let length = read.read(&mut part[1..]).await?;
            if length == 0 {
                return sink.send(Message::Close(None)).await;
            }
            sink.send(Message::binary(part[..=length].to_vec())).await?;
        }
    };
    tokio::try_join!(up, down).map(|((), ())| ())
}

#[expect(clippy::result_large_err, reason = "the library's signature")]
fn agree(request: &Request, mut response: Response) -> Result<Response, ErrorResponse> {
    let offered = request.headers().get("sec-websocket-protocol").and_then(|value| value.to_str().ok());
    let known = offered.is_some_and(|offered| offered.split(", ").any(|one| one == PROTOCOL));
    if !known || !request.uri().path().starts_with("/portForward/") {
        return Err(ErrorResponse::new(Some("not a port-forward".to_owned())));
    }
    response.headers_mut().insert("sec-websocket-protocol", http::HeaderValue::from_static(PROTOCOL));
    Ok(response)
}

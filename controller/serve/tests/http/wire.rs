//! A client that sends exactly the bytes that a test wants, and reads exactly what comes back.

use std::{fmt::Write as _, net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

/// Nothing in these tests takes this long unless it hangs.
pub const LIMIT: Duration = Duration::from_secs(30);

#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

pub async fn connect(address: SocketAddr) -> TcpStream {
    timeout(LIMIT, TcpStream::connect(address)).await.unwrap().unwrap()
}

/// One request on a connection of its own.
pub async fn send(address: SocketAddr, request: impl AsRef<[u8]>) -> Answer {
    let mut stream = connect(address).await;
    stream.write_all(request.as_ref()).await.unwrap();
    let head_only = request.as_ref().starts_with(b"HEAD");
    receive(&mut stream, head_only).await
}

pub async fn get(address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Answer {
    send(address, request("GET", path, headers, b"")).await
}

pub async fn post(address: SocketAddr, path: &str, body: impl AsRef<[u8]>) -> Answer {
    send(address, request("POST", path, &[("content-type", "application/json")], body.as_ref())).await
}

pub fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut text = format!("{method} {path} HTTP/1.1\r\nhost: ota.example.org\r\n");
    for (name, value) in headers {
        _ = write!(text, "{name}: {value}\r\n");
    }
    if !body.is_empty() || method == "POST" {
        _ = write!(text, "content-length: {}\r\n", body.len());
    }
    let mut bytes = format!("{text}\r\n").into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// Reads one answer.
pub async fn receive(stream: &mut (impl AsyncRead + Unpin), head_only: bool) -> Answer {
    timeout(LIMIT, read(stream, head_only)).await.expect("an answer")
}

async fn read(stream: &mut (impl AsyncRead + Unpin), head_only: bool) -> Answer {
    let (status, headers) = read_head(stream).await;
    let mut answer = Answer { status, headers, body: Vec::new() };
    let length: usize = answer.header("content-length").map_or(0, |length| length.parse().unwrap());
    if !head_only && status != 304 {
        answer.body.resize(length, 0);
        stream.read_exact(&mut answer.body).await.unwrap();
    }
    answer
}

/// Reads status line and headers.
pub async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> (u16, Vec<(String, String)>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers = lines.filter_map(|line| line.split_once(':'));
    (status, headers.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect())
}

/// Waits until the other side ends the connection.
pub async fn ended(stream: &mut (impl AsyncRead + Unpin)) {
    let mut rest = Vec::new();
    // A reset is an end as well.
    _ = timeout(LIMIT, stream.read_to_end(&mut rest)).await.expect("the connection ends");
    assert!(rest.is_empty(), "{}", String::from_utf8_lossy(&rest));
}

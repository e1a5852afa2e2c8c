//! One HTTP request over a stream that somebody else opened.

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Body as _, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

/// Most bytes of an answer: the status of a hundred thousand resources has a tenth of it.
const MOST: usize = 256 << 20;

/// Sends a request and reads the whole answer.
pub(super) async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    method: Method,
    path: &str,
    token: &str,
    body: Option<Vec<u8>>,
) -> anyhow::Result<(StatusCode, String)> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // It ends with the sender.
    tokio::spawn(connection);
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, "sluice")
        .header(header::AUTHORIZATION, format!("Bearer {token}"))
        .header(header::CONNECTION, "close");
    if body.is_some() {
        request = request.header(header::CONTENT_TYPE, "application/json");
    }
    let request = request.body(Full::new(Bytes::from(body.unwrap_or_default())))?;
    let (head, mut answer) = sender.send_request(request).await?.into_parts();
    let mut text = Vec::with_capacity(usize::try_from(answer.size_hint().lower()).unwrap_or(0).min(MOST));
    while let Some(frame) = answer.frame().await {
        let frame = frame.context("the answer was cut off")?;
        if let Some(data) = frame.data_ref() {
            ensure!(text.len() + data.len() <= MOST, "the answer is longer than {MOST} bytes");
            text.extend_from_slice(data);
        }
    }
    Ok((head.status, String::from_utf8(text).context("the answer is not a text")?))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

    use super::*;

    /// The other end: reads one request and writes an answer, byte for byte.
    async fn answers(mut stream: DuplexStream, answer: &[u8]) -> String {
        let mut seen = Vec::new();
        while !seen.ends_with(b"{}") && !seen.ends_with(b"\r\n\r\n") {
            let mut part = [0; 64];
            let read = stream.read(&mut part).await.unwrap();
            assert!(read > 0, "the request is whole");
            seen.extend_from_slice(&part[..read]);
        }
        for part in answer.chunks(7) {
            // Who has seen enough does not read on.
            if stream.write_all(part).await.is_err() {
                break;
            }
        }
        String::from_utf8(seen).unwrap()
    }

    async fn talk(answer: &[u8], body: Option<Vec<u8>>) -> (String, anyhow::Result<(StatusCode, String)>) {
        // Smaller than a head, so that both ends have to wait for each other.
        let (near, far) = duplex(16);
        let method = if body.is_some() { Method::POST } else { Method::GET };
        tokio::join!(answers(far, answer), exchange(near, method, "/api/v1/status", "abc", body))
    }

    #[tokio::test]
    async fn a_request_goes_over_any_stream() {
        let answer = b"HTTP/1.1 403 Forbidden\r\ncontent-length: 5\r\n\r\nhello";
        let (seen, got) = talk(answer, None).await;
        assert_eq!(got.unwrap(), (StatusCode::FORBIDDEN, "hello".to_owned()));
        assert!(seen.starts_with("GET /api/v1/status HTTP/1.1\r\n"), "{seen}");
        assert!(
            seen.contains("authorization: Bearer abc\r\n") && seen.contains("host: sluice\r\n"),
            "{seen}"
        );

        let answer = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
        let (seen, got) = talk(answer, Some(b"{}".to_vec())).await;
        assert_eq!(got.unwrap(), (StatusCode::OK, "abcde".to_owned()));
        assert!(
            seen.contains("content-type: application/json\r\n") && seen.ends_with("\r\n\r\n{}"),
            "{seen}"
        );
    }

    #[tokio::test]
    async fn a_stream_that_ends_early_is_an_error() {
        for answer in [
            b"".as_slice(),
            b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf",
            b"SSH-2.0-OpenSSH_9.2\r\n",
            b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n\xff",
        ] {
            let (_, got) = talk(answer, None).await;
            assert!(got.is_err(), "{}", String::from_utf8_lossy(answer));
        }
    }
}

//! Load over HTTP/1.1 with keep-alive, on one core: an open loop that offers a steady rate, with latency from the moment a
//! request was due, so that a slow answer does not hide the next ones.

use std::{
    net::SocketAddr,
    rc::Rc,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::wrk::Run;

/// What is sent, how, and for how long.
pub struct Load {
    /// Where.
    pub to: SocketAddr,
    /// Connections at one time.
    pub connections: usize,
    /// Whole requests; connection `c` sends them in turn, beginning at another place.
    pub requests: Vec<Vec<u8>>,
    /// Requests per second over all connections; `None`: as fast as answers come.
    pub rate: Option<f64>,
    /// How long.
    pub time: Duration,
}

/// Runs the load on this thread.
pub fn run(load: Load) -> Run {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let set = tokio::task::LocalSet::new();
    set.block_on(&runtime, async move {
        let load = Rc::new(load);
        let start = Instant::now();
        let tasks: Vec<_> = (0..load.connections)
            .map(|c| tokio::task::spawn_local(connection(load.clone(), c, start)))
            .collect();
        let (mut latency, mut failed) = (histogram(), 0);
        for task in tasks {
            let one = task.await.unwrap();
            latency.add(&one.0).unwrap();
            failed += one.1;
        }
        let rate = latency.len() as f64 / start.elapsed().as_secs_f64();
        let ms = |percentile| latency.value_at_percentile(percentile) as f64 / 1e6;
        Run { rate, latency: [ms(50.0), ms(99.0), ms(99.9)], failed }
    })
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1_000, 60_000_000_000, 3).unwrap()
}

async fn connection(load: Rc<Load>, index: usize, start: Instant) -> (Histogram<u64>, u64) {
    let (mut latency, mut failed) = (histogram(), 0);
    let Ok(mut stream) = TcpStream::connect(load.to).await else { return (latency, 1) };
    stream.set_nodelay(true).unwrap();
    let mut buffer = vec![0_u8; 256 * 1024];
    let gap = load.rate.map(|rate| Duration::from_secs_f64(load.connections as f64 / rate));
    let mut due = start + gap.unwrap_or_default().mul_f64(index as f64 / load.connections as f64);
    let mut next = index * load.requests.len() / load.connections.max(1);
    while start.elapsed() < load.time {
        let began = match gap {
            None => Instant::now(),
            Some(gap) => {
                if due > Instant::now() {
                    tokio::time::sleep_until(due.into()).await;
                }
                let began = due;
                due += gap;
                began
            }
        };
        let request = &load.requests[next % load.requests.len()];
        next += 1;
        if stream.write_all(request).await.is_err() {
            failed += 1;
            break;
        }
        let Some(ok) = answer(&mut stream, &mut buffer).await else {
            failed += 1;
            break;
        };
        failed += u64::from(!ok);
        latency.saturating_record(u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX));
    }
    (latency, failed)
}

/// Reads one answer with `Content-Length`. Returns whether its status was 200 or 206.
async fn answer(stream: &mut TcpStream, buffer: &mut [u8]) -> Option<bool> {
    let mut filled = 0;
    let (head, length) = loop {
        let n = stream.read(&mut buffer[filled..]).await.ok().filter(|n| *n > 0)?;
        filled += n;
        if let Some(head) = find(&buffer[..filled], b"\r\n\r\n") {
            break (head + 4, content_length(&buffer[..head])?);
        }
    };
    let ok = matches!(&buffer[9..12], b"200" | b"206");
    let mut left = (head as u64 + length).checked_sub(filled as u64)?;
    while left > 0 {
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        left -= stream.read(&mut buffer[..most]).await.ok().filter(|n| *n > 0)? as u64;
    }
    Some(ok)
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|w| w == needle)
}

fn content_length(head: &[u8]) -> Option<u64> {
    const NAME: &[u8] = b"content-length: ";
    let at = head.windows(NAME.len()).position(|w| w.eq_ignore_ascii_case(NAME))? + NAME.len();
    let digits = head[at..].iter().take_while(|b| b.is_ascii_digit());
    Some(digits.fold(0, |n, d| n * 10 + u64::from(d - b'0')))
}

/// A POST with a JSON body.
pub fn post(path: &str, body: &str) -> Vec<u8> {
    post_with(path, body, "")
}

/// A POST with a JSON body and further header lines, each with its end.
pub fn post_with(path: &str, body: &str, headers: &str) -> Vec<u8> {
    format!(
        "POST {path} HTTP/1.1\r\nHost: bench\r\n{headers}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// A GET.
pub fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n").into_bytes()
}

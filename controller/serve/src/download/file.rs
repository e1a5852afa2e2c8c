//! A part of a file as a response body: read in pieces, each of which is handed on before the next one is read, so that
//! a slow reader costs one piece of memory.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt as _,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use prometheus_client::metrics::counter::Counter;
use tokio::task::JoinHandle;

/// Large enough that handing over to the blocking pool does not count, small enough for thousands at once.
const PIECE: usize = 64 * 1024;

/// The body.
pub(super) struct FileBody {
    file: Arc<File>,
    at: u64,
    left: u64,
    reading: Option<JoinHandle<io::Result<Bytes>>>,
    sent: Counter,
}

impl FileBody {
    pub(super) fn new(file: File, first: u64, length: u64, sent: Counter) -> Self {
        Self { file: Arc::new(file), at: first, left: length, reading: None, sent }
    }
}

impl Body for FileBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let (at, length) = (self.at, usize::try_from(self.left).unwrap_or(PIECE).min(PIECE));
        let file = &self.file.clone();
        let reading = self.reading.get_or_insert_with(|| {
            let file = Arc::clone(file);
            tokio::task::spawn_blocking(move || {
                let mut piece = BytesMut::zeroed(length);
                // A file that became shorter ends the connection, so that nobody takes half of it for the whole.
                file.read_exact_at(&mut piece, at)?;
                Ok(piece.freeze())
            })
        });
        let read = ready!(Pin::new(reading).poll(cx));
        self.reading = None;
        let piece = match read.map_err(io::Error::other).flatten() {
            Ok(piece) => piece,
            Err(error) => {
                self.left = 0;
                return Poll::Ready(Some(Err(error)));
            }
        };
        self.at += piece.len() as u64;
        self.left -= piece.len() as u64;
        self.sent.inc_by(piece.len() as u64);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

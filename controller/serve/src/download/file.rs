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
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinHandle,
};
use tokio_util::sync::PollSemaphore;

use super::Sent;

/// Large enough that handing over to the blocking pool does not count, small enough for thousands at once.
const PIECE: usize = 64 * 1024;

/// Reads at once. It bounds the threads and the memory that thousands of downloads take.
pub(crate) const READS: usize = 32;

/// The body.
pub(super) struct FileBody {
    file: Arc<File>,
    at: u64,
    left: u64,
    turn: PollSemaphore,
    reading: Option<JoinHandle<io::Result<Bytes>>>,
    sent: Sent,
}

impl FileBody {
    pub(super) fn new(file: File, first: u64, length: u64, reads: Arc<Semaphore>, sent: Sent) -> Self {
        let turn = PollSemaphore::new(reads);
        Self { file: Arc::new(file), at: first, left: length, turn, reading: None, sent }
    }

    /// Starts to read the next piece. The memory comes from this thread: many threads that allocate and few that free
    /// leave several times as much behind.
    fn read(&self, turn: Option<OwnedSemaphorePermit>) -> JoinHandle<io::Result<Bytes>> {
        let (at, length) = (self.at, usize::try_from(self.left).unwrap_or(PIECE).min(PIECE));
        let mut piece = BytesMut::zeroed(length);
        let file = Arc::clone(&self.file);
        tokio::task::spawn_blocking(move || {
            let _turn = turn;
            // A file that became shorter ends the connection, so that nobody takes half of it for the whole.
            file.read_exact_at(&mut piece, at)?;
            Ok(piece.freeze())
        })
    }
}

impl Body for FileBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let mut reading = if let Some(reading) = self.reading.take() {
            reading
        } else {
            let turn = ready!(self.turn.poll_acquire(cx));
            self.read(turn)
        };
        let Poll::Ready(read) = Pin::new(&mut reading).poll(cx) else {
            self.reading = Some(reading);
            return Poll::Pending;
        };
        let piece = match read.map_err(io::Error::other).flatten() {
            Ok(piece) => piece,
            Err(error) => {
                self.left = 0;
                return Poll::Ready(Some(Err(error)));
            }
        };
        self.at += piece.len() as u64;
        self.left -= piece.len() as u64;
        self.sent.add(piece.len() as u64);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
